"""The default provider: 256 random bits in a file that only the server's account can read.

One line per key, ``<id> <64 hex digits>``, the one that wraps first. A second line is there only
while a rotation is under way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from actfor.errors import Kind, Refused
from actfor.keys import private_file
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
            private_file.create(path, fresh._text)
            return fresh
        private_file.require_private(path)
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
        private_file.replace(self.path, made._text)
        return made

    @property
    def _text(self) -> str:
        return "".join(f"{_id(key)} {key.hex()}\n" for key in self.keys)


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
