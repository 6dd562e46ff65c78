"""The default provider: 256 random bits in a file that only the server's account can read.

One line per key, ``<id> <64 hex digits>``, the one that wraps first. A second line is there only
while a rotation is under way.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from actfor.errors import Kind, Refused
from actfor.keys.envelope import Cipher, Place, new_key

_LINE: Final = re.compile(r"(file-[0-9a-f]{16}) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class FileKek:
    """The keys of one file, the current one first."""

    path: Path
    keys: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the file, making it where it is missing.

        Raises:
            Refused: MALFORMED if others may read it, or it does not hold keys.
        """
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = cls(path, (new_key(),))
            fresh._write(exclusive=True)
            return fresh
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Refused(Kind.MALFORMED, f"key file `{path}` is readable by others; chmod 600 it")
        return cls(path, tuple(_key(path, line) for line in path.read_text().splitlines()))

    def __post_init__(self) -> None:
        if not self.keys:
            raise Refused(Kind.MALFORMED, f"key file `{self.path}` is empty")

    @property
    def id(self) -> str:
        """Named by its own digest."""
        return _id(self.keys[0])

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """See ``Kek``."""
        return Cipher(self.keys[0]).seal(key, _place(context))

    def unwrap(self, wrapped: bytes, context: bytes, kek_id: str) -> bytes:
        """See ``Kek``."""
        for key in self.keys:
            if _id(key) == kek_id:
                return Cipher(key).open(wrapped, _place(context))
        raise Refused(
            Kind.CONFLICT, f"the keys were wrapped by `{kek_id}`, which is not in `{self.path}`"
        )

    def rotated(self) -> FileKek:
        """A new key in front of the old ones, on disk. ``only_current`` drops those later."""
        return self._replaced((new_key(), *self.keys))

    def only_current(self) -> FileKek:
        """Without the keys that wrap nothing any more."""
        return self._replaced(self.keys[:1])

    def _replaced(self, keys: tuple[bytes, ...]) -> FileKek:
        made = FileKek(self.path, keys)
        made._write(exclusive=False)
        return made

    def _write(self, *, exclusive: bool) -> None:
        # A file beside it first: the key that everything depends on is never half written.
        beside = self.path if exclusive else self.path.with_name(self.path.name + ".new")
        beside.unlink(missing_ok=not exclusive) if not exclusive else None
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.writelines(f"{_id(key)} {key.hex()}\n" for key in self.keys)
            file.flush()
            os.fsync(file.fileno())
        if beside != self.path:
            beside.replace(self.path)
        _sync(self.path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _key(path: Path, line: str) -> bytes:
    found = _LINE.fullmatch(line)
    key = bytes.fromhex(found[2]) if found else b""
    if found is None or found[1] != _id(key) or len(set(key)) < 8:
        raise Refused(Kind.MALFORMED, f"key file `{path}` does not hold 256 random bits")
    return key


def _id(key: bytes) -> str:
    return "file-" + sha256(b"actfor kek id" + key).hexdigest()[:16]


def _place(context: bytes) -> Place:
    return Place("kek", context.hex(), "wrapped")
