"""Remembering what was verified or can never change, for as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MAX_REMEMBERED: Final = 4096


class Remembered(Generic[T]):
    """Values by the digest of a text (a token, an id); the least recently used is forgotten.

    Only what can never change belongs here: what a verified token says, what a mandate grants.
    Whether it has ended or was revoked is looked at each time. Owned by the event loop.
    """

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        self._most = most
        self._known: OrderedDict[bytes, T] = OrderedDict()

    def get(self, text: str) -> T | None:
        """What is remembered under ``text``."""
        name = _name(text)
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
        return known

    def put(self, text: str, value: T) -> None:
        """Remember ``value`` under ``text``."""
        self._known[_name(text)] = value
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def drop(self, text: str) -> None:
        """Forget what is under ``text``."""
        self._known.pop(_name(text), None)

    def __len__(self) -> int:
        return len(self._known)


def _name(text: str) -> bytes:
    return sha256(text.encode(errors="surrogatepass")).digest()
