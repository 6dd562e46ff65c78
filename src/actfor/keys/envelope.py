"""Encryption at rest: AES-256-GCM, each ciphertext bound to the one place it belongs to.

    sealed = 0x01 ‖ nonce (12 random bytes) ‖ ciphertext and tag, under HMAC-SHA256(key, place)

The associated data names tenant, table, row, column and version, each with its length before it,
so that no other place has the same bytes. A ciphertext that was moved to another row or column,
or put back from an older version of its own row, does not open.

Each place has a key of its own, derived from the data key. A key may seal at most 2³² times with
random nonces (NIST SP 800-38D §8.3); a busy log would get there, a single row never does.
"""

from __future__ import annotations

import hmac
import os
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from actfor.errors import Kind, Refused

KEY_BYTES: Final = 32
_FORMAT: Final = b"\x01"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


class Place(NamedTuple):
    """Where a ciphertext stands. ``version`` rises when the row gets another secret."""

    table: str
    row: str
    column: str
    version: int = 1
    tenant: str = "default"

    def encode(self) -> bytes:
        """Associated data: five fields, each after its length in four bytes."""
        before, column = _usual(self.tenant) + _usual(self.table), _usual(self.column)
        return before + _field(self.row) + column + _usual(str(self.version))


class Cipher:
    """One 256-bit key, and the keys of places that follow from it."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("an encryption key is 32 bytes")
        self._keyed = HMAC(key, SHA256())  # only ever copied

    def seal(self, data: bytes, place: Place) -> bytes:
        """Encrypt for one place."""
        nonce, at = os.urandom(_NONCE_BYTES), place.encode()
        return _FORMAT + nonce + self._of(at).encrypt(nonce, data, at)

    def open(self, sealed: bytes, place: Place) -> bytes:
        """Decrypt what was sealed for this place with this key.

        Raises:
            Refused: CONFLICT if it was changed, moved, or sealed with another key.
        """
        if sealed[:1] != _FORMAT or len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES:
            raise _wrong(place)
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        at = place.encode()
        try:
            return self._of(at).decrypt(nonce, body, at)
        except InvalidTag as cause:
            raise _wrong(place) from cause

    def blind(self, data: bytes, place: Place) -> bytes:
        """A keyed digest (HMAC-SHA-256): equal for equal data in one place, and says nothing else.

        For what is only compared. Whoever has not the key can neither read it nor guess.
        """
        return hmac.digest(self._derived(b"blind" + place.encode()), data, "sha256")

    def _of(self, place: bytes) -> AESGCM:
        return AESGCM(self._derived(place))

    def _derived(self, label: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(label)
        return keyed.finalize()


def _field(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(4, "big") + encoded


_usual = lru_cache(maxsize=256)(_field)
"""The same for what is the same in place after place: names of tables, not of rows."""


def new_key() -> bytes:
    """256 bits from the operating system's randomness."""
    return os.urandom(KEY_BYTES)


def _wrong(place: Place) -> Refused:
    where = f"`{place.table}.{place.column}` of `{place.row}`"
    return Refused(Kind.CONFLICT, f"{where} does not decrypt: it was changed, moved or restored")
