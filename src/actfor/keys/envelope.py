"""Encryption at rest: AES-256-GCM, each ciphertext bound to the one place it belongs to.

    sealed = 0x01 ‖ nonce (12 random bytes) ‖ ciphertext and tag

The associated data names tenant, table, row, column and version, each with its length before it,
so that no other place has the same bytes. A ciphertext that was moved to another row or column,
or put back from an older version of its own row, does not open.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actfor.errors import Kind, Refused

KEY_BYTES: Final = 32
_FORMAT: Final = b"\x01"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ciphertext stands. ``version`` rises when the row gets another secret."""

    table: str
    row: str
    column: str
    version: int = 1
    tenant: str = "default"

    def encode(self) -> bytes:
        """Associated data: five fields, each after its length in four bytes."""
        fields = (self.tenant, self.table, self.row, self.column, str(self.version))
        parts = (field.encode() for field in fields)
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class Cipher:
    """One 256-bit key. Random nonces: a key seals at most 2³² times (NIST SP 800-38D §8.3)."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("an encryption key is 32 bytes")
        self._aead = AESGCM(key)

    def seal(self, data: bytes, place: Place) -> bytes:
        """Encrypt for one place."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + nonce + self._aead.encrypt(nonce, data, place.encode())

    def open(self, sealed: bytes, place: Place) -> bytes:
        """Decrypt what was sealed for this place with this key.

        Raises:
            Refused: CONFLICT if it was changed, moved, or sealed with another key.
        """
        if sealed[:1] != _FORMAT or len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES:
            raise _wrong(place)
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, body, place.encode())
        except InvalidTag as cause:
            raise _wrong(place) from cause


def new_key() -> bytes:
    """256 bits from the operating system's randomness."""
    return os.urandom(KEY_BYTES)


def _wrong(place: Place) -> Refused:
    where = f"`{place.table}.{place.column}` of `{place.row}`"
    return Refused(Kind.CONFLICT, f"{where} does not decrypt: it was changed, moved or restored")
