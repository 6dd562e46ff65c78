"""A KEK that ends with the process: for tests and tools that make a database to throw away."""

from __future__ import annotations

import secrets
from typing import Final

from actfor.errors import Kind, Refused
from actfor.keys.envelope import Cipher, Place, new_key


class MemoryKek:
    """What it wrapped opens in this process only."""

    def __init__(self) -> None:
        self._cipher = Cipher(new_key())
        self._id = f"memory-{secrets.token_hex(8)}"

    @property
    def id(self) -> str:
        """Another one in each process."""
        return self._id

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """See ``Kek``."""
        return self._cipher.seal(key, _place(context))

    def unwrap(self, wrapped: bytes, context: bytes, kek_id: str) -> bytes:
        """See ``Kek``."""
        if kek_id != self._id:
            raise Refused(Kind.CONFLICT, f"the keys were wrapped by `{kek_id}`, another process")
        return self._cipher.open(wrapped, _place(context))


PROCESS: Final = MemoryKek()
"""The one of this process, so that a database it closed and opened again still opens."""


def _place(context: bytes) -> Place:
    return Place("kek", context.hex(), "wrapped")
