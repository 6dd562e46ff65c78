"""Token exchange (RFC 8693) as we take it: a delegation, never an impersonation.

The request is read whole or not at all. Parameters that RFC 6749 §3.2 lets a server ignore are
ignored here only if no security document gives them a meaning; one that could have narrowed the
request and that we do not implement must not be dropped silently.

``expires_in`` (ours; whole seconds) asks for a shorter life. There is no standard parameter.
``requested_actor`` names the agent that the caller passes its token on to; the answer is then no
access token but one for that agent to exchange, by RFC 8693 §4.4. The name is that of
draft-oauth-ai-agents-on-behalf-of-user (expired), where it names who shall act as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire import strict_json
from actfor.wire.canonical import JsonValue
from actfor.wire.rar.details import INVALID_DETAILS
from actfor.wire.spiffe import SpiffeId

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type's name
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"

NOT_APPLICABLE: Final = "N_A"
"""RFC 8693 §2.2.1: the type of a token that opens no resource by itself."""

ACTOR_UNAUTHORIZED: Final = "actor_unauthorized"
INVALID_GRANT: Final = "invalid_grant"
INVALID_REQUEST: Final = "invalid_request"
INVALID_SCOPE: Final = "invalid_scope"
INVALID_TARGET: Final = "invalid_target"

SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")

_NOT_TAKEN: Final = frozenset(
    {
        # Understood elsewhere, and each would change what the token means.
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "request",
        "request_uri",
        "mission_intent",
        "completion_mode",
        "request_context",
        "request_details",
        "assertion",
        "code",
        "refresh_token",
    }
)
_MAX_VALUE: Final = 16_384


@dataclass(frozen=True, slots=True)
class ExchangeRequest:
    """A well-formed request. Its tokens are not verified; their types are."""

    subject_token: str = field(repr=False)
    actor_token: str = field(repr=False)
    audience: str
    scope: frozenset[str] | None = None
    authorization_details: JsonValue | None = None
    expires_in: int | None = None
    client_id: str | None = None
    requested_actor: SpiffeId | None = None


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A successful answer (RFC 8693 §2.2.1, RFC 9449 §5, RFC 9396 §7)."""

    access_token: str = field(repr=False)
    expires_in: int
    scope: str
    authorization_details: JsonValue | None = None
    token_type: str = "DPoP"  # noqa: S105 - a type's name
    issued_token_type: str | None = ACCESS_TOKEN

    def to_json(self) -> dict[str, JsonValue]:
        """The response body; send it with ``Cache-Control: no-store``."""
        body: dict[str, JsonValue] = {
            "access_token": self.access_token,
            "token_type": self.token_type,
            "expires_in": self.expires_in,
            "scope": self.scope,
        }
        if self.issued_token_type is not None:
            body["issued_token_type"] = self.issued_token_type
        if self.authorization_details is not None:
            body["authorization_details"] = self.authorization_details
        return body


def parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Form parameters as a map, each at most once and none empty.

    RFC 6749 §3.2 treats an empty parameter as absent; we refuse it, because "absent" is what an
    attacker who strips the actor wants it to mean. ``resource`` and ``audience`` may repeat in
    RFC 8693 §2.1; we issue for exactly one audience, so a second is `invalid_target`.

    Raises:
        Refused: MALFORMED.
    """
    found = list(pairs)
    for name, times in Counter(name for name, _ in found).items():
        if times > 1:
            code = INVALID_TARGET if name in {"resource", "audience"} else INVALID_REQUEST
            raise _malformed(f"parameter `{shown(name)}` is given more than once", code)
    for name, value in found:
        if not value.strip():
            raise _malformed(f"parameter `{shown(name)}` is empty")
        if len(value) > _MAX_VALUE:
            raise _malformed(f"parameter `{shown(name)}` is too long")
    return dict(found)


def parse(pairs: Iterable[tuple[str, str]]) -> ExchangeRequest:
    """Parse an exchange request from the decoded form, in order.

    Raises:
        Refused: MALFORMED with `invalid_request`, `invalid_target`, `invalid_scope` or
            `invalid_authorization_details`; `unsupported_grant_type` for another grant.
    """
    params = parameters(pairs)
    grant = params.get("grant_type")
    if grant is None:
        raise _malformed("`grant_type` is required")
    if grant != GRANT_TYPE:
        raise _malformed(f"grant_type `{shown(grant)}` is not supported", "unsupported_grant_type")
    for name in sorted(params.keys() & _NOT_TAKEN):
        raise _malformed(f"parameter `{name}` is not accepted in an exchange")
    subject = _token(params, "subject_token", ACCESS_TOKEN)
    # Without an actor this would be impersonation (RFC 8693 §1.1), which we never do.
    actor = _token(params, "actor_token", JWT)
    if actor == subject:
        raise _malformed("subject_token and actor_token must differ")
    if params.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
        raise _malformed("requested_token_type is not an access token")
    return ExchangeRequest(
        subject_token=subject,
        actor_token=actor,
        audience=_target(params),
        scope=_scope(params.get("scope")),
        authorization_details=_details(params.get("authorization_details")),
        expires_in=_seconds(params.get("expires_in")),
        client_id=params.get("client_id"),
        requested_actor=_actor(params.get("requested_actor")),
    )


def _token(params: Mapping[str, str], name: str, kind: str) -> str:
    token, given = params.get(name), params.get(f"{name}_type")
    if token is None:
        raise _malformed(f"`{name}` is required")
    if given is None:
        raise _malformed(f"`{name}_type` is required")
    if given != kind:
        raise _malformed(f"{name}_type `{shown(given)}` is not `{kind}`")
    return token


def _actor(value: str | None) -> SpiffeId | None:
    if value is None:
        return None
    try:
        return SpiffeId.parse(value)
    except Refused as refused:
        raise _malformed(f"requested_actor: {refused.detail}") from refused


def _target(params: Mapping[str, str]) -> str:
    given = [params[name] for name in ("resource", "audience") if name in params]
    if not given:
        raise _malformed("`resource` is required", INVALID_TARGET)
    if len(set(given)) > 1:
        raise _malformed("`resource` and `audience` name different targets", INVALID_TARGET)
    return given[0]


def _scope(value: str | None) -> frozenset[str] | None:
    if value is None:
        return None
    tokens = value.split(" ")
    if any(not SCOPE_TOKEN.fullmatch(token) for token in tokens):
        raise _malformed("scope is not a list of scope tokens", INVALID_SCOPE)
    return frozenset(tokens)


def _details(value: str | None) -> JsonValue | None:
    if value is None:
        return None
    try:
        details = strict_json.loads(value.encode(errors="surrogatepass"))
    except Refused as refused:
        raise _malformed(f"authorization_details: {refused.detail}", INVALID_DETAILS) from refused
    if details is None:
        # `null` would read as "not asked for", which is the widest request there is.
        raise _malformed("authorization_details is a list of objects", INVALID_DETAILS)
    return details


def _seconds(value: str | None) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,5}", value):
        raise _malformed("expires_in is a whole number of seconds")
    return int(value)


def shown(text: str) -> str:
    """A caller's text inside a one-line message."""
    return text[:80].encode("unicode_escape").decode("ascii")


def _malformed(detail: str, code: str = INVALID_REQUEST) -> Refused:
    return Refused(Kind.MALFORMED, detail, code=code)
