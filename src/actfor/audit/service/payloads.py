"""What is kept beside a leaf so that its commitments can be opened, encrypted by person.

An event's private members belong to the person in ``private["person"]`` (or to the installation),
those in ``Event.others`` to someone else. Each owner's part has a salt of its own and is encrypted,
salt and all, with the owner's data key:

    part = key id (1 byte of length before it) ‖ ciphertext (4 bytes of length before it)

Erasing a person is forgetting that one key: no row of the log is touched, every commitment and
proof stands, and what it committed to can be neither opened nor guessed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from actfor.audit import repository
from actfor.audit.model import Event
from actfor.audit.repository import StoredLeaf
from actfor.errors import Kind, Refused
from actfor.keys import INSTALLATION, Cipher, Erased, Place, Vault
from actfor.store import Tx
from actfor.wire.log_entry import SALT_BYTES, Opening, member_salt, seal
from actfor.wire.quick_json import compact_object
from actfor.wire.strict_json import load_object

_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Opened:
    """What opens of a leaf, and the leaves that say why the rest does not."""

    openings: dict[str, Opening]
    erased_by: tuple[int, ...] = ()


def keep(tx: Tx, vault: Vault, index: int, event: Event) -> dict[str, str]:
    """Seal an event's private members for leaf ``index``; the commitments that go into it.

    What belongs to a person who was erased is committed to and not kept.
    """
    commitments: dict[str, str] = {}
    parts: list[bytes] = []
    owners = list(event.owners())
    salts = os.urandom(SALT_BYTES * len(owners))  # at once: each call lets other threads run
    for number, (owner, members) in enumerate(owners):
        salt = salts[number * SALT_BYTES : (number + 1) * SALT_BYTES]
        made, body = seal(members, salt)
        commitments |= made
        key = vault.key_of(tx, owner)
        if isinstance(key, Erased):
            parts.append(_part(key.id, b""))
        else:
            sealed = key.cipher.seal(salt + body, _place(index, number))
            parts.append(_part(key.id, sealed))
    if parts:
        repository.add_sealed(tx, index, b"".join(parts))
    return commitments


def seal_old(tx: Tx, vault: Vault, most: int) -> int:
    """Seal what a release before encryption left in clear; how many, at most ``most``."""
    found = repository.old_payloads(tx, most)
    for index, salt, body in found:
        person = load_object(body.encode(), max_depth=_DEPTH).get("person")
        key = vault.key_of(tx, person if isinstance(person, str) else INSTALLATION)
        sealed = b""
        if not isinstance(key, Erased):
            sealed = key.cipher.seal(salt + body.encode(), _place(index, 0))
        repository.add_sealed(tx, index, _part(key.id, sealed))
        repository.drop_old_payload(tx, index)
    return len(found)


def expire(tx: Tx, before: datetime) -> tuple[int, int]:
    """Delete what opens the entries older than ``before``: below which entry, and of how many."""
    oldest, size = repository.oldest_payload(tx), repository.head(tx).size
    if oldest is None:
        return size, 0
    first = repository.first_since(tx, oldest, before)
    below = size if first is None else first
    return below, repository.drop_payloads(tx, below)


class Reader:
    """Opens payloads in one transaction; each key is looked up once. Without a vault, none.

    ``of_copy``: the database is a copy, and may be older than an erasure: then payloads may be gone
    without a leaf in it that says so.
    """

    def __init__(self, tx: Tx, vault: Vault | None, *, of_copy: bool = False) -> None:
        self._tx, self._vault, self._of_copy = tx, vault, of_copy
        self._keys: dict[str, Cipher | Erased | None] = {}

    def open(self, found: StoredLeaf) -> Opened:
        """What can be opened of a leaf.

        Raises:
            Refused: CONFLICT, MALFORMED: what is kept was changed.
        """
        if self._vault is None:
            return Opened({})
        if found.sealed is None:
            return Opened(_of_older_release(found))
        openings: dict[str, Opening] = {}
        erased: set[int] = set()
        for number, (key_id, sealed) in enumerate(_parts(found.sealed)):
            key = self._key(key_id)
            if key is None:
                raise Refused(Kind.CONFLICT, f"there is no data key `{key_id[:40]}`")
            if isinstance(key, Erased):
                if key.leaf or not self._of_copy:
                    erased.add(key.leaf)
                continue
            plain = key.open(sealed, _place(found.index, number))
            openings |= _openings(plain[:SALT_BYTES], plain[SALT_BYTES:])
        return Opened(openings, tuple(sorted(erased)))

    def _key(self, key_id: str) -> Cipher | Erased | None:
        if key_id not in self._keys:
            assert self._vault is not None  # noqa: S101 - `open` has looked
            self._keys[key_id] = self._vault.find(self._tx, key_id)
        return self._keys[key_id]


def _openings(salt: bytes, body: bytes) -> dict[str, Opening]:
    private = compact_object(body)
    if private is None:
        private = load_object(body, max_depth=_DEPTH)
    return {name: Opening(member_salt(salt, name), value) for name, value in private.items()}


def _of_older_release(found: StoredLeaf) -> dict[str, Opening]:
    """Before payloads were encrypted; `AuditLog.start` seals what it finds of these."""
    if found.salt is None or found.body is None:
        return {}
    return _openings(found.salt, found.body.encode())


def _place(index: int, number: int) -> Place:
    return Place("log_sealed", f"{index}/{number}", "body")


def _part(key_id: str, sealed: bytes) -> bytes:
    name = key_id.encode()
    return bytes([len(name)]) + name + len(sealed).to_bytes(4, "big") + sealed


def _parts(body: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(body):
        start = at + 1 + body[at]
        size = int.from_bytes(body[start : start + 4], "big")
        end = start + 4 + size
        if end > len(body):
            raise Refused(Kind.MALFORMED, "a sealed payload is cut short")
        yield body[at + 1 : start].decode("ascii", "replace"), body[start + 4 : end]
        at = end
