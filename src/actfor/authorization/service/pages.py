"""Tokens of pages: sealed, so that a client can neither read nor make one.

A token holds where the next page begins and the fingerprint of the question it belongs to; it opens
only for that question, for an hour. The key is shared by all nodes of a deployment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from actfor.errors import Kind, Refused
from actfor.wire.base64_text import base64url, unbase64url

LIFETIME = timedelta(hours=1)
_NONCE = 12


class Pages:
    """``secrets`` gives the keys, newest first: the first seals, each opens."""

    def __init__(
        self, secrets: Callable[[], Sequence[bytes]], clock: Callable[[], datetime]
    ) -> None:
        self._secrets = secrets
        self._clock = clock

    def seal(self, fingerprint: str, after: str, limit: int) -> str:
        """The token of the page that begins after the result named ``after``."""
        until = int((self._clock() + LIFETIME).timestamp())
        nonce = os.urandom(_NONCE)
        text = orjson.dumps([after, limit, until])
        sealed = _cipher(self._secrets()[0]).encrypt(nonce, text, fingerprint.encode())
        return base64url(nonce + sealed)

    def open(self, token: str, fingerprint: str) -> tuple[str, int]:
        """Where the page begins, and how long the one before it was.

        Raises:
            Refused: MALFORMED for a token that is not ours, is too old, or belongs to another
                question.
        """
        try:
            data = unbase64url(token)
        except Refused:
            data = b""
        for secret in self._secrets():
            try:
                text = _cipher(secret).decrypt(data[:_NONCE], data[_NONCE:], fingerprint.encode())
            except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
                continue
            after, limit, until = orjson.loads(text)
            if until > self._clock().timestamp():
                return after, limit
        raise Refused(
            Kind.MALFORMED,
            "`page.token` is unknown, too old, or was given for other parameters; begin again",
        )


def _cipher(secret: bytes) -> AESGCM:
    derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"actfor authzen page token")
    return AESGCM(derived.derive(secret))
