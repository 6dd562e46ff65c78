"""Signed JWTs: one algorithm, one key per purpose, one reading of each token.

JOSE itself (RFC 7515, 7517, 7638) is joserfc's. This module narrows what it accepts:

- ES256 only (RFC 8725 §3.1), fixed by us and never chosen by the token;
- the key comes from the caller's map by ``kid`` (an RFC 7638 thumbprint), never from the
  token: ``jwk``, ``jku``, ``x5u``, ``x5c``, ``crit``, ``b64`` in a header are refused;
- ``typ`` must match exactly (RFC 8725 §3.11), so no token passes as another kind;
- header and payload are parsed once, strictly, before the signature is looked at, and what
  was parsed is what is returned (a general parser takes the last of two members).

INVARIANT: no claim leaves ``verify`` that was not in the signed bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Final, Self, cast

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from actfor.errors import Kind, Refused
from actfor.wire.base64_text import unbase64url
from actfor.wire.canonical import JsonObject, JsonValue, canonical
from actfor.wire.strict_json import load_object

ALGORITHM: Final = "ES256"
MAX_TOKEN_BYTES: Final = 8192
"""Longer tokens are refused before anything is decoded."""

_MAX_HEADER_BYTES: Final = 1024
_MAX_DEPTH: Final = 24
_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, the last a datetime can hold
_MEMBERS: Final = frozenset({"alg", "typ", "kid"})
_P256 = {"kty": "EC", "crv": "P-256"}


class _Registry(jws.JWSRegistry):
    """joserfc's limits, with room for a header that carries a public key (DPoP)."""

    max_header_length = _MAX_HEADER_BYTES


_REGISTRY = _Registry(algorithms=[ALGORITHM])


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A P-256 public key that verifies ES256. ``kid`` is its RFC 7638 thumbprint."""

    kid: str
    x: str
    y: str
    _key: ECKey = field(repr=False, compare=False)

    @classmethod
    def from_jwk(cls, jwk: object) -> Self:
        """Parse an untrusted public JWK (RFC 7517 §4).

        Raises:
            Refused: MALFORMED unless it is a P-256 public key on the curve, in canonical form,
                without private members.
        """
        if not isinstance(jwk, Mapping) or any(jwk.get(n) != v for n, v in _P256.items()):
            raise Refused(Kind.MALFORMED, "key is not a P-256 public key")
        if "d" in jwk:
            raise Refused(Kind.MALFORMED, "key is private and must never be sent")
        x, y = jwk.get("x"), jwk.get("y")
        if not isinstance(x, str) or not isinstance(y, str):
            raise Refused(Kind.MALFORMED, "key is not a P-256 public key")
        if len(unbase64url(x)) != 32 or len(unbase64url(y)) != 32:
            raise Refused(Kind.MALFORMED, "key coordinates are not 32 bytes")
        return cls._of(_import({**_P256, "x": x, "y": y}))

    @classmethod
    def _of(cls, key: ECKey) -> Self:
        public = cast("dict[str, str]", key.as_dict(private=False))
        return cls(key.thumbprint(), public["x"], public["y"], key)

    @property
    def jwk(self) -> dict[str, str]:
        """The required public members alone, as a DPoP header and a thumbprint have them."""
        return {**_P256, "x": self.x, "y": self.y}

    @property
    def published(self) -> dict[str, str]:
        """The key as a JWK Set publishes it (RFC 7517 §5)."""
        return {**self.jwk, "kid": self.kid, "use": "sig", "alg": ALGORITHM}


class SigningKey:
    """A P-256 private key that signs ES256."""

    def __init__(self, key: ECKey) -> None:
        if key.private_key is None or key.curve_name != "P-256":
            raise Refused(Kind.MALFORMED, "a signing key must be a P-256 private key")
        self._key = key

    @classmethod
    def generate(cls) -> Self:
        """A new key from the operating system's randomness."""
        return cls(ECKey.generate_key("P-256"))

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read an unencrypted PKCS#8 PEM.

        Raises:
            Refused: MALFORMED if it is not a P-256 private key.
        """
        try:
            return cls(ECKey.import_key(pem))
        except (JoseError, ValueError, TypeError, KeyError) as cause:
            raise Refused(Kind.MALFORMED, "not a PEM of a P-256 private key") from cause

    def to_pem(self) -> bytes:
        """The private key as unencrypted PKCS#8 PEM; keep it 0600."""
        return self._key.as_pem(private=True)

    @cached_property
    def public(self) -> VerifyKey:
        """The public half."""
        return VerifyKey._of(_import(cast("dict[str, str]", self._key.as_dict(private=False))))  # noqa: SLF001 - same module

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint (SHA-256, base64url without padding)."""
        return self.public.kid

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r})"


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token taken apart and parsed, before any signature was checked: trust nothing in it."""

    header: JsonObject
    claims: JsonObject
    payload: bytes
    segments: tuple[str, str, str]


def jwks(keys: Iterable[VerifyKey]) -> dict[str, JsonValue]:
    """A JWK Set of public keys (RFC 7517 §5)."""
    return {"keys": [dict(key.published) for key in keys]}


def key_map(keys: Iterable[VerifyKey]) -> dict[str, VerifyKey]:
    """Keys by ``kid``, as ``verify`` takes them."""
    return {key.kid: key for key in keys}


def sign(
    claims: JsonObject, *, typ: str, key: SigningKey, jwk: Mapping[str, str] | None = None
) -> str:
    """A compact JWS of ``claims``; the header names ``typ`` and the key's thumbprint.

    ``jwk`` puts the public key into the header instead (RFC 9449 §4.2). Checks nothing in the
    claims; ``verify`` does.
    """
    header: dict[str, Any] = {"typ": typ, "alg": ALGORITHM}
    header |= {"jwk": dict(jwk)} if jwk else {"kid": key.kid}
    return jws.serialize_compact(header, canonical(claims), key._key, registry=_REGISTRY)  # noqa: SLF001 - same module


def verify(
    token: str,
    *,
    typ: str,
    keys: Mapping[str, VerifyKey],
    issuer: str | None,
    audience: str,
    now: datetime,
    leeway: timedelta = timedelta(0),
) -> JsonObject:
    """The claims of a token signed by one of ``keys``, for exactly this audience, live at ``now``.

    Checks header, signature, ``iss`` (not at all when ``issuer`` is None), ``aud`` (this string,
    or a list of only it; RFC 7519 §4.1.3), ``exp`` (required), ``nbf`` and ``iat``. Does not check
    ``jti`` replay, revocation, ``cnf`` or ``sub``.

    Raises:
        Refused: MALFORMED if it is not a token, EXPIRED at or after ``exp``, else UNAUTHENTICATED.
    """
    seen = unverified(token)
    check_header(seen.header, typ=typ, members=_MEMBERS)
    kid = seen.header.get("kid")
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise Refused(Kind.UNAUTHENTICATED, "token is not signed by a known key")
    claims = verify_with(seen, key)
    if issuer is not None and claims.get("iss") != issuer:
        raise Refused(Kind.UNAUTHENTICATED, "token has another issuer")
    if claims.get("aud") not in (audience, [audience]):
        raise Refused(Kind.UNAUTHENTICATED, "token is for another audience")
    check_times(claims, now=now, leeway=leeway)
    return claims


def kid_of(token: str) -> str:
    """The ``kid`` in the header of a token that was verified; empty without one."""
    kid = header_of(token.split(".", 1)[0]).get("kid")
    return kid if isinstance(kid, str) else ""


def unverified(token: str) -> Unverified:
    """Take a compact JWS apart and parse it strictly, without checking its signature.

    Raises:
        Refused: MALFORMED if it is longer than ``MAX_TOKEN_BYTES``, not three canonical
            base64url segments, or header or payload is not one unambiguous JSON object.
    """
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise Refused(Kind.MALFORMED, "token is too long or not ASCII")
    segments = token.split(".")
    if len(segments) != 3 or len(segments[0]) > _MAX_HEADER_BYTES:
        raise Refused(Kind.MALFORMED, "token is not a compact JWS")
    header, payload = header_of(segments[0]), unbase64url(segments[1])
    if len(unbase64url(segments[2])) != 64:
        raise Refused(Kind.UNAUTHENTICATED, "token signature is not an ES256 signature")
    return Unverified(
        header=header,
        claims=load_object(payload, max_depth=_MAX_DEPTH),
        payload=payload,
        segments=(segments[0], segments[1], segments[2]),
    )


# Pure memory of a pure function: our own tokens share one header, a client's proofs another.
# Refusals are not remembered; what is remembered cannot be changed.
@lru_cache(maxsize=1024)
def header_of(segment: str) -> JsonObject:
    """Parse the first segment of a token strictly, unverified.

    Raises:
        Refused: MALFORMED.
    """
    return MappingProxyType(dict(load_object(unbase64url(segment), max_depth=4)))


def check_header(header: JsonObject, *, typ: str, members: frozenset[str]) -> None:
    """Refuse a header with another ``alg`` or ``typ`` or with any member beyond ``members``.

    Raises:
        Refused: UNAUTHENTICATED.
    """
    if header.get("alg") != ALGORITHM:
        raise Refused(Kind.UNAUTHENTICATED, "token algorithm is not ES256")
    if header.get("typ") != typ:
        raise Refused(Kind.UNAUTHENTICATED, f"token type is not `{typ}`")
    if not members >= header.keys():
        raise Refused(Kind.UNAUTHENTICATED, "token header has a member that is not accepted")


def verify_with(seen: Unverified, key: VerifyKey) -> JsonObject:
    """The claims, if ``key`` signed them. Checks the signature alone.

    Raises:
        Refused: UNAUTHENTICATED.
    """
    signed = jws.CompactSignature(dict(seen.header), seen.payload)
    header, payload, signature = (segment.encode() for segment in seen.segments)
    signed.segments.update({"header": header, "payload": payload, "signature": signature})
    try:
        valid = jws.validate_compact(signed, key._key, registry=_REGISTRY)  # noqa: SLF001 - same module
    except JoseError as cause:
        raise Refused(Kind.UNAUTHENTICATED, "token header is not accepted") from cause
    if not valid:
        raise Refused(Kind.UNAUTHENTICATED, "token signature is not valid")
    return seen.claims


def check_times(claims: JsonObject, *, now: datetime, leeway: timedelta) -> None:
    """Refuse claims without ``exp``, at or past it, or before ``nbf`` or ``iat`` (RFC 7519 §4.1).

    Raises:
        Refused: EXPIRED, or UNAUTHENTICATED for the others.
    """
    seconds, slack = now.timestamp(), leeway.total_seconds()
    if seconds >= numeric_date(claims, "exp") + slack:
        raise Refused(Kind.EXPIRED, "token has expired")
    for name in ("nbf", "iat"):
        if name in claims and numeric_date(claims, name) > seconds + slack:
            raise Refused(Kind.UNAUTHENTICATED, f"token is not valid yet (`{name}`)")


def numeric_date(claims: JsonObject, name: str) -> int:
    """A NumericDate claim in whole seconds; booleans, text and fractions are refused.

    Raises:
        Refused: UNAUTHENTICATED if it is absent or not an integer.
    """
    value = claims.get(name)
    if type(value) is not int or not 0 <= value <= _LAST_SECOND:
        raise Refused(Kind.UNAUTHENTICATED, f"token has no whole-second `{name}`")
    return value


def text(claims: JsonObject, name: str) -> str:
    """A claim that must be non-empty text.

    Raises:
        Refused: UNAUTHENTICATED if it is absent, empty or not text.
    """
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(Kind.UNAUTHENTICATED, f"token has no `{name}`")
    return value


def _import(jwk: dict[str, str]) -> ECKey:
    try:
        return ECKey.import_key(cast("dict[str, str | list[str]]", jwk))
    except (JoseError, ValueError, KeyError) as cause:
        raise Refused(Kind.MALFORMED, "key is not a P-256 public key") from cause
