"""DPoP proofs (RFC 9449): the sender of this request holds the private key.

``verify_proof`` is everything but memory: the caller spends ``(jkt, jti)`` once, in the database,
until ``DpopProof.expires_at``. Until then a proof is acceptable again and again.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from actfor.errors import Kind, Refused
from actfor.wire import jose
from actfor.wire.base64_text import base64url
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.jose import SigningKey, VerifyKey

PROOF_TYPE: Final = "dpop+jwt"
WINDOW: Final = timedelta(seconds=30)
"""How far ``iat`` may be from our clock, either way (RFC 9449 §11.1)."""

MAX_PROOF_BYTES: Final = 2048
INVALID_PROOF: Final = "invalid_dpop_proof"
USE_NONCE: Final = "use_dpop_nonce"

_MEMBERS: Final = frozenset({"alg", "typ", "jwk"})
_JTI_LENGTH: Final = range(16, 129)


@dataclass(frozen=True, slots=True)
class DpopProof:
    """A proof that was verified. ``jkt`` is the RFC 7638 thumbprint of the proving key."""

    jkt: str
    jti: str
    iat: datetime

    @property
    def expires_at(self) -> datetime:
        """From here on the proof is stale by itself and its ``jti`` may be forgotten."""
        return self.iat + 2 * WINDOW

    @property
    def once(self) -> str:
        """The name under which the proof is spent: digest of key and ``jti``."""
        return base64url(sha256(f"{self.jkt}.{self.jti}".encode()).digest())


def build_proof(
    *,
    key: SigningKey,
    method: str,
    url: str,
    now: datetime,
    jti: str,
    access_token: str | None = None,
    nonce: str | None = None,
) -> str:
    """A proof for one request (RFC 9449 §4.2). ``jti`` must be fresh and random, ≥ 96 bits."""
    claims: dict[str, JsonValue] = {
        "jti": jti,
        "htm": method,
        "htu": target(url),
        "iat": int(now.timestamp()),
    }
    if access_token is not None:
        claims["ath"] = access_token_hash(access_token)
    if nonce is not None:
        claims["nonce"] = nonce
    return jose.sign(claims, typ=PROOF_TYPE, key=key, jwk=key.public.jwk)


def verify_proof(
    proof: str,
    *,
    method: str,
    url: str,
    now: datetime,
    access_token: str | None = None,
    jkt: str | None = None,
    nonce: str | None = None,
) -> DpopProof:
    """Check a proof against the request it came with (RFC 9449 §4.3, but for replay).

    ``url`` is what the server knows itself to be, never built from a forwarded host. With
    ``access_token`` the proof must hash it (``ath``); without, it must not carry an ``ath``. With
    ``jkt`` the proving key must have that thumbprint. With ``nonce`` the proof must carry it.
    Does not check that the ``jti`` is new: spend ``DpopProof.once``.

    Raises:
        Refused: UNAUTHENTICATED with code `invalid_dpop_proof` or `use_dpop_nonce`.
    """
    try:
        return _verify(proof, method, url, now, access_token, jkt, nonce)
    except Refused as refused:
        code = refused.code or INVALID_PROOF
        raise Refused(Kind.UNAUTHENTICATED, refused.detail, code=code) from refused


def _verify(
    proof: str,
    method: str,
    url: str,
    now: datetime,
    access_token: str | None,
    jkt: str | None,
    nonce: str | None,
) -> DpopProof:
    if len(proof) > MAX_PROOF_BYTES:
        raise _invalid("DPoP proof is too long")
    seen = jose.unverified(proof)
    key = _proving_key(seen.segments[0])
    if jkt is not None and not hmac.compare_digest(key.kid, jkt):
        raise _invalid("DPoP proof is by another key than the token is bound to")
    claims = jose.verify_with(seen, key)
    _check_request(claims, method, url)
    _check_token(claims, access_token)
    if nonce is not None and claims.get("nonce") != nonce:
        raise Refused(Kind.UNAUTHENTICATED, "DPoP proof lacks the server's nonce", code=USE_NONCE)
    iat = datetime.fromtimestamp(jose.numeric_date(claims, "iat"), UTC)
    if not -WINDOW <= now - iat <= WINDOW:
        raise _invalid("DPoP proof is not fresh")
    jti = jose.text(claims, "jti")
    if len(jti) not in _JTI_LENGTH:
        raise _invalid("DPoP proof `jti` must be 16 to 128 characters")
    return DpopProof(key.kid, jti, iat)


# Pure memory of a pure function: clients send the same header with each proof, and importing
# the key and its thumbprint cost as much as half a verification. Refusals are not remembered.
@lru_cache(maxsize=1024)
def _proving_key(header_segment: str) -> VerifyKey:
    header = jose.header_of(header_segment)
    jose.check_header(header, typ=PROOF_TYPE, members=_MEMBERS)
    return VerifyKey.from_jwk(header.get("jwk"))


def _check_request(claims: JsonObject, method: str, url: str) -> None:
    if claims.get("htm") != method:
        raise _invalid("DPoP proof is for another method")
    htu = claims.get("htu")
    if not isinstance(htu, str) or (htu != url and target(htu) != target(url)):
        raise _invalid("DPoP proof is for another URL")


def _check_token(claims: JsonObject, access_token: str | None) -> None:
    ath = claims.get("ath")
    if access_token is None:
        if ath is not None:
            raise _invalid("DPoP proof was made for a request with an access token")
        return
    expected = access_token_hash(access_token)
    if not isinstance(ath, str) or not hmac.compare_digest(ath.encode(), expected.encode()):
        raise _invalid("DPoP proof is for another access token")


def access_token_hash(access_token: str) -> str:
    """``ath``: base64url of SHA-256 over the token's ASCII (RFC 9449 §4.2)."""
    return base64url(sha256(access_token.encode()).digest())


def target(url: str) -> str:
    """``url`` without query and fragment, scheme and host lower-cased, default port dropped.

    RFC 9449 §4.3 asks for no more than syntax- and scheme-based normalization (RFC 3986 §6.2.2,
    §6.2.3); paths are compared as they are.

    Raises:
        Refused: UNAUTHENTICATED if it is not an absolute http(s) URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as cause:
        raise _invalid("DPoP proof URL is not a URL") from cause
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
        raise _invalid("DPoP proof URL is not an http(s) URL")
    shown = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    authority = shown if port in {None, default} else f"{shown}:{port}"
    return f"{parts.scheme}://{authority}{parts.path or '/'}"


def thumbprint(jwk: Mapping[str, JsonValue]) -> str:
    """RFC 7638 thumbprint of a public JWK, checked as ``VerifyKey.from_jwk`` does."""
    return VerifyKey.from_jwk(jwk).kid


def _invalid(detail: str) -> Refused:
    return Refused(Kind.UNAUTHENTICATED, detail, code=INVALID_PROOF)
