"""Names of records: a prefix that says what it is, and 130 random bits."""

from __future__ import annotations

import os

_BASE32 = b"abcdefghijklmnopqrstuvwxyz234567" * 8  # each byte picks one of 32, without bias


def new_id(prefix: str) -> str:
    """``new_id("mdt")`` is ``mdt_`` and 26 characters of lowercase base32, unguessable."""
    return f"{prefix}_{_random().translate(_BASE32).decode()}"


def _random() -> bytes:
    """From the system's generator, asked for many at once.

    Each question to the system lets other threads run, and waits for them to be done.
    """
    try:
        return _drawn.pop()
    except IndexError:
        many = os.urandom(_LENGTH * _MANY)
        _drawn.extend(many[at : at + _LENGTH] for at in range(_LENGTH, len(many), _LENGTH))
        return many[:_LENGTH]


_LENGTH, _MANY = 26, 64
_drawn: list[bytes] = []  # taken from by any thread: `pop` gives each element to one of them
os.register_at_fork(after_in_child=_drawn.clear)  # two processes never share one
