"""What a key of each purpose is made of, and how it is called."""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Final

from actfor.keys.model import Purpose
from actfor.wire.base64_text import base64url
from actfor.wire.canonical import canonical
from actfor.wire.jose import SigningKey
from actfor.wire.note import Cosigner, NoteSigner

ES256: Final = frozenset({Purpose.ACCESS_TOKEN, Purpose.SVID})


def generate(purpose: Purpose, log_name: str) -> bytes:
    """A new private key or secret, as it is sealed."""
    if purpose in ES256:
        return SigningKey.generate().to_pem()
    if purpose is Purpose.LOG:
        return NoteSigner.generate(log_name).to_text().encode()
    if purpose is Purpose.LOG_POST_QUANTUM:
        return Cosigner.generate(log_name, post_quantum=True).to_text().encode()
    return secrets.token_bytes(32)


def kid_of(purpose: Purpose, secret: bytes) -> str:
    """The RFC 7638 thumbprint of the public key; of a symmetric key, of the key itself (§3.2.2):
    its 256 bits are not found from a hash.
    """
    if purpose in ES256:
        return SigningKey.from_pem(secret).kid
    if purpose is Purpose.LOG:
        public = NoteSigner.from_text(secret.decode()).verifier.public
        return _thumbprint({"crv": "Ed25519", "kty": "OKP", "x": base64url(public)})
    if purpose is Purpose.LOG_POST_QUANTUM:
        public = Cosigner.from_text(secret.decode()).verifier.public
        return _thumbprint({"alg": "ML-DSA-44", "kty": "AKP", "pub": base64url(public)})
    return _thumbprint({"k": base64url(secret), "kty": "oct"})


def _thumbprint(members: dict[str, str]) -> str:
    return base64url(sha256(canonical(members)).digest())
