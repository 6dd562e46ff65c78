"""Signing keys: made, published, used, retired and destroyed by the clock; killed by a person.

Every step is one unit with its leaf. Nodes beside one database each run the loop; the rows are read
again inside the unit, so one of them takes each step. The ring in memory is swapped when the step
is durable, and on other nodes within ``RELOAD_SECONDS``; that a key is dead is read inside every
transaction that relies on a token (``check``), so no node permits anything with a key after the
leaf that says it was revoked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from actfor.errors import Kind, Refused
from actfor.keys import repository
from actfor.keys.envelope import Place
from actfor.keys.kek.file import FileKek
from actfor.keys.model import (
    FIXED,
    Change,
    Key,
    KeyState,
    Purpose,
    Rewrapped,
    Schedule,
    Step,
    due,
)
from actfor.keys.service import material
from actfor.keys.service.vault import Vault
from actfor.store import Database, Tx
from actfor.wire.jose import SigningKey
from actfor.wire.note import Cosigner, NoteSigner

logger = logging.getLogger(__name__)

RELOAD_SECONDS: Final = 1.0
Recorder = Callable[[Tx, Change | Rewrapped], None]


@dataclass(frozen=True, slots=True)
class Held:
    """A live key with its private part."""

    key: Key
    secret: bytes


class KeyService:
    """All signing and sealing keys of an installation."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        clock: Callable[[], datetime],
        *,
        schedules: Mapping[Purpose, Schedule] | None = None,
        log_name: str = "log",
    ) -> None:
        self._database = database
        self._vault = vault
        self._now = clock
        self._schedules = schedules or {}
        self._log_name = log_name  # of a first log; a log that there is keeps its own
        self._record: Recorder = _too_early
        # Swapped whole, on the event loop or before there is one; never changed.
        self._ring: Mapping[Purpose, tuple[Held, ...]] = MappingProxyType({})
        self._seen: tuple[Key, ...] = ()
        self.on_change: list[Callable[[], None]] = []

    # -- what others use -----------------------------------------------------------------------

    def held(self, purpose: Purpose) -> tuple[Held, ...]:
        """The live keys of a purpose, the one that signs first."""
        return self._ring.get(purpose, ())

    def signers(self, purpose: Purpose) -> tuple[SigningKey, ...]:
        """The live ES256 keys of a purpose: the first signs, all verify."""
        return tuple(SigningKey.from_pem(held.secret) for held in self.held(purpose))

    def secrets(self, purpose: Purpose) -> tuple[bytes, ...]:
        """The live secrets of a purpose: the first seals, all open."""
        return tuple(held.secret for held in self.held(purpose))

    def log_signer(self) -> NoteSigner:
        """The log's key."""
        (held,) = self.held(Purpose.LOG)
        return NoteSigner.from_text(held.secret.decode())

    @staticmethod
    def log_signer_of(tx: Tx, vault: Vault) -> NoteSigner:
        """The log's key, read in a transaction of a database that is not served.

        Raises:
            Refused: CONFLICT if there is none, or the KEK is not the one that wrapped it.
        """
        for one in repository.live(tx):
            if one.key.purpose is Purpose.LOG and one.sealed is not None:
                return NoteSigner.from_text(
                    vault.open(tx, one.sealed, _place(one.key.kid)).decode()
                )
        raise Refused(Kind.CONFLICT, "the database has no log key")

    def log_cosigner(self) -> Cosigner:
        """The log's second key, ML-DSA-44, under the same name."""
        (held,) = self.held(Purpose.LOG_POST_QUANTUM)
        return Cosigner.from_text(held.secret.decode())

    def check(self, tx: Tx, kid: str) -> None:
        """Refuse what a dead or unknown key signed. For the transaction that relies on it.

        Raises:
            Refused: UNAUTHENTICATED.
        """
        if kid not in _Standing.of(tx).live:
            raise Refused(Kind.UNAUTHENTICATED, "the token's signing key was revoked")

    @property
    def kek_id(self) -> str:
        """What wraps the root key now."""
        return self._vault.kek.id

    async def listing(self) -> list[Key]:
        """Every key there ever was, oldest first."""
        stored = await self._database.read(repository.keys)
        return [one.key for one in stored]

    # -- starting ------------------------------------------------------------------------------

    async def open(self, adopt: Mapping[Purpose, bytes] | None = None) -> None:
        """Load the keys, making those that are missing; ``adopt`` are keys of an older release.

        New keys wait as `pending` until ``start``, which tells the log of them.

        Raises:
            Refused: CONFLICT if the KEK is not the one that wrapped them.
        """

        def unit(tx: Tx) -> None:
            self._vault.ensure(tx)
            there = {one.key.purpose for one in repository.live(tx)}
            for purpose in Purpose:
                if purpose not in there:
                    self._make(tx, purpose, KeyState.PENDING, (adopt or {}).get(purpose))
            self._swap_on_commit(tx)

        await self._database.write(unit)

    async def start(self, record: Recorder) -> None:
        """From now on ``record`` tells the log of every step; take those that are due."""
        self._record = record
        await self.advance()

    async def run(self) -> None:
        """Background loop: learn of other nodes' steps, take our own, until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                await self.reload()
                if self._is_due():
                    await self.advance()
            except Refused as refused:
                logger.warning("keys were not looked after: %s", refused.detail)

    # -- steps ---------------------------------------------------------------------------------

    async def advance(self) -> None:
        """Take every step that is due."""
        await self._database.write(self._advance)

    async def reload(self) -> None:
        """Take over what other nodes changed."""

        def unit(tx: Tx) -> Callable[[], None] | None:
            stored = repository.live(tx)
            if tuple(one.key for one in stored) == self._seen:
                return None
            return self._swapper(tx, stored)

        swap = await self._database.read(unit)
        if swap is not None:
            swap()

    async def rotate(self, purpose: Purpose, *, by: str) -> None:
        """Have a successor published now, and take over once it was published long enough.

        Raises:
            Refused: CONFLICT for a key that does not rotate.
        """
        _require_rotating(purpose)

        def unit(tx: Tx) -> None:
            for one in repository.live(tx):
                if one.key.purpose is purpose and one.key.state is KeyState.ACTIVE:
                    repository.reschedule(tx, one.key.kid, tx.now)
            self._advance(tx, by=by)

        await self._database.write(unit)

    async def revoke(self, purpose: Purpose, *, by: str, cause: str, kid: str | None = None) -> Key:
        """An emergency: the keys of a purpose (or one) are dead at once, a new one signs.

        Everything they signed is refused from this transaction on. All live keys of the purpose
        go, the successor that was published too: whoever read one could read the other.

        Raises:
            Refused: CONFLICT for a key that does not rotate; NOT_FOUND for an unknown ``kid``.
        """
        _require_rotating(purpose)
        why = cause.strip()[:200]
        if not why or not why.isprintable():
            raise Refused(Kind.MALFORMED, "an emergency rotation needs a cause")

        def unit(tx: Tx) -> Key:
            live = [k for k in self._keys(tx, purpose) if k.is_live and kid in (None, k.kid)]
            if not live:
                raise Refused(Kind.NOT_FOUND, f"there is no live {purpose} key of that name")
            for key in live:
                self._move(tx, key, key.killed(why, tx.now), by)
            active = [k for k in self._keys(tx, purpose) if k.state is KeyState.ACTIVE]
            new = active[0] if active else self._activated(tx, purpose, by)
            self._swap_on_commit(tx)
            return new

        return await self._database.write(unit)

    def renew_all(self, tx: Tx, log_name: str, *, cause: str) -> NoteSigner:
        """Every key is dead, the log's too; new ones sign, the log under another name: its signer.

        For a database that is an older copy of itself (``server.recovery``): a key revoked since is
        alive in it, and its log would sign a second history under the name of the first.
        """
        for one in repository.live(tx):
            if one.key.is_live:
                self._move(tx, one.key, one.key.killed(cause, tx.now), None)
        self._log_name = log_name
        text = material.generate(Purpose.LOG, log_name)
        for purpose in Purpose:
            if purpose in FIXED:
                secret = text if purpose is Purpose.LOG else None
                made = self._make(tx, purpose, KeyState.PENDING, secret)
                self._move(tx, made, made.moved(KeyState.ACTIVE, tx.now), None)
            else:
                self._activated(tx, purpose, None)
        self._swap_on_commit(tx)
        return NoteSigner.from_text(text.decode())

    async def rewrap(self, *, by: str, new_kek: bool = False) -> int:
        """A new root key, every data key wrapped again; how many.

        ``new_kek`` replaces the KEK itself: only a file can be replaced from here, the others are
        rotated where they live. The old KEK stays in its file until nothing needs it.

        Raises:
            Refused: CONFLICT for ``new_kek`` with another provider than a file.
        """
        kek = self._vault.kek
        if new_kek:
            if not isinstance(kek, FileKek):
                raise Refused(Kind.CONFLICT, "rotate this KEK at its provider, then rewrap")
            kek = kek.rotated()

        def unit(tx: Tx) -> int:
            count = self._vault.rewrap(tx, kek)
            self._record(tx, Rewrapped(kek.id, count, by))
            return count

        count = await self._database.write(unit)
        if isinstance(kek, FileKek):
            self._vault.use(kek.only_current())
        return count

    def _advance(self, tx: Tx, by: str | None = None) -> None:
        stored = [one.key for one in repository.live(tx)]
        changed = False
        for purpose in Purpose:
            keys = [key for key in stored if key.purpose is purpose]
            for step in due(purpose, keys, self._schedule(purpose), tx.now):
                self._take(tx, step, by)
                changed = True
        if changed:
            self._swap_on_commit(tx)

    def _take(self, tx: Tx, step: Step, by: str | None) -> None:
        if step.key is None:
            made = self._make(tx, step.purpose, KeyState.PENDING)
            if step.to is KeyState.PENDING:
                self._record(tx, Change(made, by))
                return
            step = replace(step, key=made)
        assert step.key is not None  # noqa: S101 - made just above
        until = None
        if step.to is KeyState.ACTIVE and step.purpose not in FIXED:
            until = tx.now + self._schedule(step.purpose).rotate_every
        self._move(tx, step.key, step.key.moved(step.to, tx.now, rotate_at=until), by)

    def _activated(self, tx: Tx, purpose: Purpose, by: str | None) -> Key:
        made = self._make(tx, purpose, KeyState.PENDING)
        until = tx.now + self._schedule(purpose).rotate_every
        new = made.moved(KeyState.ACTIVE, tx.now, rotate_at=until)
        self._move(tx, made, new, by)
        return new

    def _move(self, tx: Tx, old: Key, new: Key, by: str | None) -> None:
        if not repository.move_key(tx, old, new):
            raise Refused(Kind.CONFLICT, "the key was changed by another node")
        if not new.is_live:
            _Standing.of(tx).killed(new.kid)
        self._record(tx, Change(new, by))

    def _make(self, tx: Tx, purpose: Purpose, state: KeyState, secret: bytes | None = None) -> Key:
        secret = secret or material.generate(purpose, self._name_of_log(tx))
        key = Key(material.kid_of(purpose, secret), purpose, state, tx.now, tx.now)
        repository.add_key(tx, key, self._vault.seal(tx, secret, _place(key.kid)))
        _Standing.of(tx).added(key.kid)
        return key

    def _name_of_log(self, tx: Tx) -> str:
        for one in repository.live(tx):
            if one.key.purpose is Purpose.LOG and one.key.is_live and one.sealed is not None:
                text = self._vault.open(tx, one.sealed, _place(one.key.kid)).decode()
                return NoteSigner.from_text(text).verifier.name
        return self._log_name

    # -- the ring in memory --------------------------------------------------------------------

    def _swap_on_commit(self, tx: Tx) -> None:
        tx.on_commit(self._swapper(tx, repository.live(tx)))

    def _swapper(self, tx: Tx, stored: Iterable[repository.StoredKey]) -> Callable[[], None]:
        """Built from rows inside the transaction, put in place when they are durable."""
        stored = list(stored)
        ring: dict[Purpose, list[Held]] = {}
        for one in stored:
            if one.key.is_live and one.sealed is not None:
                secret = self._vault.open(tx, one.sealed, _place(one.key.kid))
                ring.setdefault(one.key.purpose, []).append(Held(one.key, secret))
        new = {purpose: tuple(sorted(all_, key=_order)) for purpose, all_ in ring.items()}
        seen = tuple(one.key for one in stored)

        def swap() -> None:
            self._ring, self._seen = MappingProxyType(new), seen
            for callback in self.on_change:
                callback()

        return swap

    def _is_due(self) -> bool:
        now = self._now()
        return any(
            due(
                purpose,
                [k for k in self._seen if k.purpose is purpose],
                self._schedule(purpose),
                now,
            )
            for purpose in Purpose
        )

    def _keys(self, tx: Tx, purpose: Purpose) -> list[Key]:
        return [one.key for one in repository.live(tx) if one.key.purpose is purpose]

    def _schedule(self, purpose: Purpose) -> Schedule:
        return self._schedules.get(purpose, _DEFAULT)


class _Standing:
    """The live keys as this transaction sees them, read once for all its units."""

    def __init__(self, live: frozenset[str]) -> None:
        self.live = live

    @classmethod
    def of(cls, tx: Tx) -> _Standing:
        return tx.participant(cls, lambda: cls(repository.live_kids(tx)))

    def killed(self, kid: str) -> None:
        self.live -= {kid}

    def added(self, kid: str) -> None:
        self.live |= {kid}

    def mark(self) -> object:
        return self.live

    def rewind(self, mark: object) -> None:
        assert isinstance(mark, frozenset)  # noqa: S101 - our own mark
        self.live = mark

    def flush(self, tx: Tx) -> None:
        """Nothing to write: the rows are."""


_DEFAULT: Final = Schedule()
_STATE_ORDER: Final = (KeyState.ACTIVE, KeyState.PENDING, KeyState.RETIRING)


def _order(held: Held) -> tuple[int, datetime]:
    return _STATE_ORDER.index(held.key.state), held.key.since


def _place(kid: str) -> Place:
    return Place("signing_key", kid, "sealed")


def _require_rotating(purpose: Purpose) -> None:
    if purpose in FIXED:
        raise Refused(
            Kind.CONFLICT,
            f"the {purpose} key does not rotate: another key would be another {purpose};"
            " see docs/security/keys.md",
        )


def _too_early(_tx: Tx, _change: Change | Rewrapped) -> None:
    raise RuntimeError("keys change only after `start` has said where that is recorded")


__all__ = ["RELOAD_SECONDS", "Held", "KeyService"]
