"""Remembering what was verified, for as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MAX_REMEMBERED: Final = 4096


class Verified(Generic[T]):
    """What verified tokens said, by the token's digest; the least recently used is forgotten.

    Only what can never change about a token belongs here; its end and its standing do not. Owned
    by the event loop.
    """

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        self._most = most
        self._known: OrderedDict[bytes, T] = OrderedDict()

    def get(self, token: str) -> T | None:
        """What the token said, if it was verified and is remembered."""
        name = _name(token)
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
        return known

    def put(self, token: str, said: T) -> None:
        """Remember a token that was just verified."""
        self._known[_name(token)] = said
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def drop(self, token: str) -> None:
        """Forget one token."""
        self._known.pop(_name(token), None)

    def __len__(self) -> int:
        return len(self._known)


def _name(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()
