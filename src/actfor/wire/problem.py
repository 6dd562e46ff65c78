"""From ``Refused`` to each protocol's own error: one total table per protocol.

A test proves that every table has every ``Kind``. ``Refused.code`` is an OAuth error code and is
used by the OAuth table only; the other tables speak their own words.
"""

from __future__ import annotations

from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue

PROBLEM_TYPE: Final = "https://agentic-iam.dev/problems/"
"""RFC 9457 `type` URIs are this and the kind; they identify, and need not be fetched."""

# RFC 6749 §5.2, RFC 8628 §3.5, RFC 8693 §2.2.2: what the token endpoint says, and with what status.
OAUTH: Final[dict[Kind, tuple[str, int]]] = {
    Kind.MALFORMED: ("invalid_request", 400),
    Kind.UNAUTHENTICATED: ("invalid_grant", 400),
    Kind.DENIED: ("access_denied", 400),
    Kind.STEP_UP_REQUIRED: ("authorization_pending", 400),
    Kind.REPLAYED: ("invalid_grant", 400),
    Kind.EXPIRED: ("invalid_grant", 400),
    Kind.NOT_FOUND: ("invalid_grant", 400),
    Kind.CONFLICT: ("invalid_grant", 400),
    Kind.BUSY: ("temporarily_unavailable", 503),
}
# RFC 6750 §3.1, RFC 9449 §7.1: what a protected resource says in `WWW-Authenticate`.
BEARER: Final[dict[Kind, tuple[str, int]]] = {
    Kind.MALFORMED: ("invalid_request", 400),
    Kind.UNAUTHENTICATED: ("invalid_token", 401),
    Kind.DENIED: ("insufficient_scope", 403),
    Kind.STEP_UP_REQUIRED: ("insufficient_user_authentication", 401),
    Kind.REPLAYED: ("invalid_token", 401),
    Kind.EXPIRED: ("invalid_token", 401),
    Kind.NOT_FOUND: ("invalid_token", 401),
    Kind.CONFLICT: ("invalid_token", 401),
    Kind.BUSY: ("temporarily_unavailable", 503),
}
# RFC 9110 status and RFC 9457 title.
HTTP: Final[dict[Kind, tuple[int, str]]] = {
    Kind.MALFORMED: (400, "The request is malformed"),
    Kind.UNAUTHENTICATED: (401, "Authentication is required"),
    Kind.DENIED: (403, "This is not permitted"),
    Kind.STEP_UP_REQUIRED: (403, "A person must approve this first"),
    Kind.REPLAYED: (409, "This was already used"),
    Kind.EXPIRED: (410, "This has expired"),
    Kind.NOT_FOUND: (404, "There is no such thing"),
    Kind.CONFLICT: (409, "This changed meanwhile"),
    Kind.BUSY: (503, "The server cannot do this right now"),
}
# JSON-RPC 2.0 §5.1 and its range for implementations; -32042 is MCP 2025-11-25's
# URLElicitationRequired.
JSON_RPC: Final[dict[Kind, int]] = {
    Kind.MALFORMED: -32602,
    Kind.UNAUTHENTICATED: -32001,
    Kind.DENIED: -32001,  # COAZ-MCP: a denial
    Kind.STEP_UP_REQUIRED: -32042,
    Kind.REPLAYED: -32009,
    Kind.EXPIRED: -32010,
    Kind.NOT_FOUND: -32602,
    Kind.CONFLICT: -32009,
    Kind.BUSY: -32603,
}
# 0 ok · 1 error · 2 usage · 3 not found · 4 authentication · 5 denied · 6 approval pending ·
# 7 conflict · 8 verification failed · 9 server unavailable
EXIT: Final[dict[Kind, int]] = {
    Kind.MALFORMED: 2,
    Kind.UNAUTHENTICATED: 4,
    Kind.DENIED: 5,
    Kind.STEP_UP_REQUIRED: 6,
    Kind.REPLAYED: 7,
    Kind.EXPIRED: 4,
    Kind.NOT_FOUND: 3,
    Kind.CONFLICT: 7,
    Kind.BUSY: 9,
}
EXIT_VERIFICATION_FAILED: Final = 8

# RFC 6749 §5.2: 401 belongs to `invalid_client` alone.
_OAUTH_STATUS: Final = {"invalid_client": 401, "temporarily_unavailable": 503, "server_error": 500}


def oauth_error(refused: Refused) -> tuple[int, dict[str, str]]:
    """Status and body of a token-endpoint error (RFC 6749 §5.2); ``code`` wins over the kind."""
    code, status = OAUTH[refused.kind]
    if refused.code is not None:
        code, status = refused.code, _OAUTH_STATUS.get(refused.code, 400)
    return status, {"error": code, "error_description": description(refused.detail)}


def bearer_error(refused: Refused) -> tuple[int, str]:
    """Status and error code of a protected resource's refusal (RFC 6750 §3.1, RFC 9449 §7.1)."""
    code, status = BEARER[refused.kind]
    if refused.code in {"invalid_dpop_proof", "use_dpop_nonce"}:
        return 401, refused.code
    if refused.code == "actor_unauthorized":  # Actor Profile: 403 at a resource server
        return 403, refused.code
    return status, code


def problem(refused: Refused, *, instance: str | None = None) -> tuple[int, dict[str, JsonValue]]:
    """Status and body of ``application/problem+json`` (RFC 9457 §3)."""
    status, title = HTTP[refused.kind]
    body: dict[str, JsonValue] = {
        "type": PROBLEM_TYPE + refused.kind.value,
        "title": title,
        "status": status,
        "detail": refused.detail,
        "kind": refused.kind.value,
    }
    if instance is not None:
        body["instance"] = instance
    return status, body


def json_rpc_error(refused: Refused) -> dict[str, JsonValue]:
    """The ``error`` member of a JSON-RPC response (JSON-RPC 2.0 §5.1)."""
    return {
        "code": JSON_RPC[refused.kind],
        "message": refused.detail,
        "data": {"kind": refused.kind.value},
    }


def exit_code(kind: Kind) -> int:
    """The command line's exit code for a refusal."""
    return EXIT[kind]


def description(detail: str) -> str:
    """``detail`` in the characters RFC 6749 §5.2 allows: ASCII without quote and backslash."""
    return "".join(
        "'" if char == '"' else char if " " <= char <= "~" and char != "\\" else "?"
        for char in detail
    )
