"""Names of records: a prefix that says what it is, and 130 random bits."""

from __future__ import annotations

import os

_BASE32 = b"abcdefghijklmnopqrstuvwxyz234567" * 8  # each byte picks one of 32, without bias


def new_id(prefix: str) -> str:
    """``new_id("mdt")`` is ``mdt_`` and 26 characters of lowercase base32, unguessable."""
    return f"{prefix}_{os.urandom(26).translate(_BASE32).decode()}"
