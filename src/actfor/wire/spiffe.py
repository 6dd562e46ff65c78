"""SPIFFE identities (SPIFFE-ID §2) and JWT-SVIDs (JWT-SVID §3) as this server makes them.

A ``SpiffeId`` cannot be wrong: ``parse`` is the only door. Ours have two shapes,
``spiffe://<td>/agent/<name>`` for a registered agent and
``spiffe://<td>/agent/<name>/i/<id>`` for one attested, running instance of it.

Our JWT-SVIDs are bound to a key the agent made (``cnf.jkt``, RFC 7800) and name the manifest
that was appraised; a plain SPIFFE consumer ignores both claims and sees a valid JWT-SVID.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Self

from actfor.errors import Kind, Refused
from actfor.wire import jose
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.jose import SigningKey, VerifyKey

PRIVATE_CLAIM: Final = "https://agentic-iam.dev/claims/v1"
"""The one collision-resistant name under which we put what no standard names."""

JWT_SVID_TYPE: Final = "JWT"
MAX_ID_BYTES: Final = 2048
MAX_TRUST_DOMAIN_BYTES: Final = 255

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")
_AGENT_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """``spiffe://<trust_domain><path>``; ``path`` is empty or starts with a slash."""

    trust_domain: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse strictly: no percent-encoding, port, user, query, fragment, or empty segment.

        Raises:
            Refused: MALFORMED.
        """
        if not text.startswith("spiffe://") or len(text.encode(errors="replace")) > MAX_ID_BYTES:
            raise Refused(Kind.MALFORMED, "not a SPIFFE ID")
        domain, slash, rest = text.removeprefix("spiffe://").partition("/")
        if not _TRUST_DOMAIN.fullmatch(domain) or len(domain) > MAX_TRUST_DOMAIN_BYTES:
            raise Refused(Kind.MALFORMED, "SPIFFE ID has no valid trust domain")
        for segment in rest.split("/") if slash else ():
            if not _SEGMENT.fullmatch(segment) or segment in {".", ".."}:
                raise Refused(Kind.MALFORMED, "SPIFFE ID has a path segment that is not allowed")
        return cls(domain, slash + rest)

    @classmethod
    def for_agent(cls, trust_domain: str, name: str) -> Self:
        """The identity of a registered agent; ``name`` is 1 to 64 of lowercase ``a-z0-9._-``.

        Raises:
            Refused: MALFORMED, so that look-alike and upper-case names cannot be registered.
        """
        if not _AGENT_NAME.fullmatch(name):
            raise Refused(
                Kind.MALFORMED, "agent name must be 1 to 64 of `a-z0-9._-`, not starting with `._-`"
            )
        return cls.parse(f"spiffe://{trust_domain}/agent/{name}")

    def instance(self, instance: str) -> Self:
        """The identity of one running instance of this agent."""
        return type(self).parse(f"{self}/i/{instance}")

    @property
    def agent(self) -> Self | None:
        """The registered agent this is, or is an instance of; None for other workloads."""
        path = _agent_path(self.path)
        return None if path is None else type(self)(self.trust_domain, path)

    @property
    def agent_name(self) -> str | None:
        """The name in ``/agent/<name>``, or None for other workloads."""
        path = _agent_path(self.path)
        return None if path is None else path.removeprefix("/agent/")

    @property
    def authority(self) -> str:
        """``spiffe://<trust domain>``: the namespace of the identity, as ``act.iss`` has it."""
        return f"spiffe://{self.trust_domain}"

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}{self.path}"


@lru_cache(maxsize=4096)  # asked several times in each call, of the same few
def _agent_path(path: str) -> str | None:
    """``/agent/<name>`` of an agent's path or an instance's; None for others."""
    parts = path.split("/")
    whole = len(parts) == 3 or (len(parts) == 5 and parts[3] == "i")
    return "/".join(parts[:3]) if whole and parts[1] == "agent" else None


@dataclass(frozen=True, slots=True)
class JwtSvid:
    """What a verified JWT-SVID says. ``jkt`` is the RFC 7638 thumbprint of the agent's key."""

    id: SpiffeId
    jkt: str
    jti: str
    issued_at: datetime
    expires_at: datetime
    private: JsonObject

    @property
    def manifest(self) -> str | None:
        """Digest of the appraised agent manifest, if the issuer named one."""
        manifest = self.private.get("manifest")
        return manifest if isinstance(manifest, str) else None


def sign_jwt_svid(
    identity: SpiffeId,
    *,
    audience: str,
    jkt: str,
    jti: str,
    now: datetime,
    ttl: timedelta,
    key: SigningKey,
    private: Mapping[str, JsonValue],
    issuer: str | None = None,
) -> str:
    """A JWT-SVID for one audience, bound to the key whose thumbprint is ``jkt``."""
    issued = int(now.timestamp())
    claims: dict[str, JsonValue] = {
        "sub": str(identity),
        "aud": audience,
        "iat": issued,
        "exp": issued + int(ttl.total_seconds()),
        "jti": jti,
        "cnf": {"jkt": jkt},
        PRIVATE_CLAIM: dict(private),
    }
    if issuer is not None:
        claims["iss"] = issuer
    return jose.sign(claims, typ=JWT_SVID_TYPE, key=key)


def verify_jwt_svid(
    token: str,
    *,
    trust_domain: str,
    audience: str,
    keys: Mapping[str, VerifyKey],
    now: datetime,
) -> JwtSvid:
    """Verify one of our JWT-SVIDs: signature, audience, lifetime, trust domain, key binding.

    Does not check that the presenter holds the key, nor that the agent is still valid.

    Raises:
        Refused: MALFORMED, EXPIRED or UNAUTHENTICATED.
    """
    claims = jose.verify(
        token, typ=JWT_SVID_TYPE, keys=keys, issuer=None, audience=audience, now=now
    )
    identity = SpiffeId.parse(jose.text(claims, "sub"))
    if identity.trust_domain != trust_domain:
        raise Refused(Kind.UNAUTHENTICATED, "SVID is of another trust domain")
    private = claims.get(PRIVATE_CLAIM)
    return JwtSvid(
        id=identity,
        jkt=confirmation(claims),
        jti=jose.text(claims, "jti"),
        issued_at=datetime.fromtimestamp(jose.numeric_date(claims, "iat"), UTC),
        expires_at=datetime.fromtimestamp(jose.numeric_date(claims, "exp"), UTC),
        private=private if isinstance(private, Mapping) else {},
    )


def confirmation(claims: JsonObject) -> str:
    """``cnf.jkt`` (RFC 9449 §6.1), required and alone in ``cnf``.

    Raises:
        Refused: UNAUTHENTICATED if the token is not bound to one key in that way.
    """
    cnf = claims.get("cnf")
    jkt = cnf.get("jkt") if isinstance(cnf, Mapping) and len(cnf) == 1 else None
    if not isinstance(jkt, str) or len(jkt) != 43:
        raise Refused(Kind.UNAUTHENTICATED, "token is not bound to a key")
    return jkt
