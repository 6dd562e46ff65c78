"""The keys of persons that can be destroyed for good, outside the database and every copy of it.

A person's data key is sealed twice in its row: by the root key, and inside of that by a key that
follows from this file. Erasing a person cuts their key out of the file. Old rows, the database's
write-ahead log, replicas and backups still hold the sealed data key, and nothing opens it; the
keys of all others follow from the file as before, so that old backups still restore *them*.

It is a puncturable pseudorandom function: the tree of Goldreich, Goldwasser and Micali ("How to
construct random functions", J. ACM 33(4), 1986), of depth 64, over HMAC-SHA256. A new file holds
its root. Cutting out one leaf replaces the node above it by the at most 64 siblings of its path,
from which that leaf cannot be computed. So the file changes when somebody is erased, never when
somebody joins, and grows by at most 6 KB for each erasure.

    actfor-erasable/v1 <id>
    <depth> <prefix, 16 hex digits> <seed, 64 hex digits>        one line for each node that is left

Cutting is idempotent and in any order the same, so nodes that have a copy each cut for themselves.
Not covered: copies of the file made before, and what the file system keeps of overwritten blocks.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

from actfor.errors import Kind, Refused
from actfor.keys import private_file
from actfor.keys.envelope import Cipher, new_key

_BITS: Final = 64
_HEAD: Final = re.compile(r"actfor-erasable/v1 (er-[0-9a-f]{16})")
_LINE: Final = re.compile(r"([0-9]{1,2}) ([0-9a-f]{16}) ([0-9a-f]{64})")

_Nodes: TypeAlias = dict[tuple[int, int], bytes]
"""Seeds by depth and prefix. None stands above another; a leaf below none of them is cut out."""


class Erasable:
    """One such file. Its ``id`` stands beside every key that needs it."""

    def __init__(self, path: Path) -> None:
        """Read the file, making it where it is missing.

        Raises:
            Refused: MALFORMED if others may read it, or it is not such a file.
        """
        self._path = path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(path.parent):
                if not path.exists():
                    _write(path, f"er-{new_key()[:8].hex()}", {(0, 0): new_key()})
        self.id, self._nodes = _read(path)

    def cipher(self, key_id: str) -> Cipher | None:
        """The key that seals the data key of this id; None for ever once it was cut out."""
        key = self._key_of(key_id)
        return None if key is None else Cipher(key)

    def _key_of(self, key_id: str) -> bytes | None:
        at, nodes = _leaf(key_id), self._nodes  # another thread may cut meanwhile
        covering = _covering(nodes, at)
        if covering is None:
            return None
        seed = nodes[covering]
        for depth in range(covering[0], _BITS):
            seed = _child(seed, at >> (_BITS - depth - 1) & 1)
        return hmac.digest(seed, b"key", "sha256")

    def holds(self, key_id: str) -> bool:
        """Whether the key that seals the data key of this id was not cut out."""
        return _covering(self._nodes, _leaf(key_id)) is not None

    def cut(self, key_ids: Iterable[str]) -> int:
        """Destroy these keys, durably; how many there still were."""
        with _locked(self._path.parent):
            id_, nodes = _read(self._path)  # another process may have cut meanwhile
            gone = sum(_puncture(nodes, _leaf(key_id)) for key_id in key_ids)
            if gone:
                _write(self._path, id_, nodes)
        self._nodes = nodes
        return gone


def _puncture(nodes: _Nodes, at: int) -> bool:
    covering = _covering(nodes, at)
    if covering is None:
        return False
    seed = nodes.pop(covering)
    for depth in range(covering[0] + 1, _BITS + 1):
        prefix = at >> (_BITS - depth)
        nodes[depth, prefix ^ 1] = _child(seed, prefix & 1 ^ 1)
        seed = _child(seed, prefix & 1)
    return True


def _covering(nodes: _Nodes, at: int) -> tuple[int, int] | None:
    """The node above a leaf, if there is one."""
    paths = ((depth, at >> (_BITS - depth)) for depth in range(_BITS + 1))
    return next((node for node in paths if node in nodes), None)


def _leaf(key_id: str) -> int:
    return int.from_bytes(sha256(b"actfor/erasable\x00" + key_id.encode()).digest()[:8], "big")


def _child(seed: bytes, bit: int) -> bytes:
    return hmac.digest(seed, b"\x01" if bit else b"\x00", "sha256")


def _read(path: Path) -> tuple[str, _Nodes]:
    private_file.require_private(path)
    head, *lines = path.read_text().splitlines() or [""]
    named, found = _HEAD.fullmatch(head), [_LINE.fullmatch(line) for line in lines]
    if named is None or not all(found):
        raise Refused(Kind.MALFORMED, f"key file `{path}` does not hold the keys of persons")
    nodes = {(int(one[1]), int(one[2], 16)): bytes.fromhex(one[3]) for one in found if one}
    return named[1], nodes


def _write(path: Path, id_: str, nodes: _Nodes) -> None:
    """In its place, whole; what was there before is overwritten."""
    lines = [f"actfor-erasable/v1 {id_}"]
    lines += [f"{depth} {prefix:016x} {seed.hex()}" for (depth, prefix), seed in nodes.items()]
    old = os.open(path, os.O_RDWR) if path.exists() else None
    private_file.replace(path, "\n".join(lines) + "\n")
    if old is not None:
        with os.fdopen(old, "r+b") as before:
            before.write(b"\0" * os.fstat(old).st_size)
            before.flush()
            os.fsync(old)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nodes of one machine may share the file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
