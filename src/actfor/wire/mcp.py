"""Model Context Protocol 2025-11-25 and 2026-07-28: the messages a gateway makes itself.

Bodies are plain JSON objects, ready for the encoder. What a person must decide about is
announced in three ways, by what the client said it can do:

- 2026-07-28: an ``input_required`` result with a URL-mode elicitation and a sealed request state,
- 2025-11-25: error -32042 (retired in 2026-07-28, never sent there),
- neither: a tool result that says "pending, open this, call again".

Whatever a client sends back (an accepted elicitation, an echoed state) only says *which*
question it means. It is never the answer; the answer is in the server's own database.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final, TypeAlias

from actfor.errors import Kind, Refused
from actfor.wire import strict_json
from actfor.wire.canonical import JsonObject, JsonValue, canonical, digest
from actfor.wire.problem import description

RequestId: TypeAlias = int | str | None

HANDSHAKE_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Revisions that begin with ``initialize``, oldest first."""

MODERN_VERSIONS: Final = ("2026-07-28",)
"""Revisions whose every request carries its own envelope, oldest first."""

# JSON-RPC 2.0 §5.1
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
# MCP 2026-07-28, basic: error codes
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022
# MCP 2025-11-25 only
URL_ELICITATION_REQUIRED: Final = -32042
# COAZ-MCP: a denial by policy. MCP 2026-07-28 gives the number no meaning, so `data` says it again.
DENIED: Final = -32001

REASON_KEY: Final = "agentic-iam.dev/reason"
"""Where an agent may say in ``_meta`` why it calls: shown to the approver as its own words."""

MAX_TOKEN: Final = 4096
"""The longest sealed token that is looked at, in characters."""


def result(request_id: RequestId, value: JsonValue) -> JsonObject:
    """A JSON-RPC success."""
    return {"jsonrpc": "2.0", "id": request_id, "result": value}


def error(
    request_id: RequestId, code: int, message: str, data: JsonValue | None = None
) -> JsonObject:
    """A JSON-RPC failure; ``request_id`` is None where the request could not be read."""
    body: dict[str, JsonValue] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return {"jsonrpc": "2.0", "id": request_id, "error": body}


def pinned_definition(definition: JsonObject) -> JsonObject:
    """The members of a tool's definition that are approved, digested and shown to agents.

    Everything but ``_meta``, which servers fill with what changes from day to day, and which
    therefore reaches no agent.
    """
    return {name: member for name, member in definition.items() if name != "_meta"}


def tool_digest(definition: JsonObject) -> str:
    """Which definition was approved: the digest of `pinned_definition`.

    Name, title, description, both schemas, annotations, icons: one changed byte of text that a
    model reads is another tool (tool poisoning, CVE-2025-54136).

    Raises:
        Refused: MALFORMED where the definition has no canonical form.
    """
    return digest(pinned_definition(definition))


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked: the page to open, and until when."""

    approval_id: str
    url: str
    tool: str
    expires_at: datetime

    @property
    def message(self) -> str:
        """One sentence of ours. Nothing an agent or a server wrote is in it but the tool's name."""
        return (
            f"`{self.tool}` needs a person's approval. Open the page, check the exact call, decide."
        )


def input_required(question: Question, request_state: str) -> JsonObject:
    """The 2026-07-28 result that asks the client to have ``question`` answered and to retry."""
    return {
        "resultType": "input_required",
        "inputRequests": {
            "approval": {
                "method": "elicitation/create",
                "params": {"mode": "url", "message": question.message, "url": question.url},
            }
        },
        "requestState": request_state,
    }


def url_elicitation_required(question: Question) -> JsonObject:
    """The ``data`` of the 2025-11-25 error -32042 (``ElicitationRequiredErrorData``)."""
    return {
        "elicitations": [
            {
                "mode": "url",
                "message": question.message,
                "url": question.url,
                "elicitationId": question.approval_id,
            }
        ]
    }


def pending_result(question: Question, *, modern: bool) -> JsonObject:
    """The tool result for a client that can show no page: what is pending, where, what to do."""
    return tool_failure(
        f"Approval pending: a person must decide about this exact call of `{question.tool}`. "
        f"Open {question.url} to decide. Then retry the same call with the same arguments, "
        f"before {question.expires_at:%Y-%m-%dT%H:%M:%SZ}. Nothing has been executed.",
        modern=modern,
    )


def tool_failure(text: str, *, modern: bool) -> JsonObject:
    """A tool result that the model reads as a failure."""
    body: dict[str, JsonValue] = {"content": [{"type": "text", "text": text}], "isError": True}
    return {"resultType": "complete", **body} if modern else body


def protected_resource(
    resource: str, *, issuer: str, scopes: Sequence[str], title: str
) -> JsonObject:
    """RFC 9728 metadata of one governed server. ``resource`` is its audience, to the byte."""
    return {
        "resource": resource,
        "resource_name": title,
        "authorization_servers": [issuer],
        "scopes_supported": list(scopes),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "dpop_bound_access_tokens_required": True,
        "authorization_details_types_supported": ["mission_resource_access"],
    }


def challenges(
    *, resource_metadata: str, scope: str, error: str | None = None, detail: str | None = None
) -> tuple[str, str]:
    """The two ``WWW-Authenticate`` values: DPoP (RFC 9449 §7.1) and Bearer (RFC 6750 §3).

    MCP defines only Bearer; agents that use our SDK answer the first. ``error`` is left out where
    the request had no credentials (RFC 6750 §3.1).
    """
    parameters = {"resource_metadata": resource_metadata, "scope": scope}
    if error is not None:
        parameters["error"] = error
    if detail is not None:
        parameters["error_description"] = detail
    rest = ", ".join(f'{name}="{description(text)}"' for name, text in parameters.items())
    return f'DPoP algs="ES256", {rest}', f"Bearer {rest}"


class Purpose:
    """What a sealed token is for; it is part of the seal, so that none passes as another."""

    REQUEST_STATE: Final = b"actfor/mcp/request-state/v1"
    SESSION: Final = b"actfor/mcp/session/v1"


@dataclass(frozen=True, slots=True)
class RequestState:
    """What a client carries from a question to its retry.

    ``principal`` is the digest of person and agent, ``call`` that of the exact call. It opens
    nothing: a retry with a state is checked harder than one without.
    """

    approval_id: str
    principal: str
    call: str
    expires_at: int

    def seal(self, key: bytes) -> str:
        """The text for ``requestState``. ``expires_at`` is in unix seconds."""
        return seal(
            Purpose.REQUEST_STATE,
            {
                "approval": self.approval_id,
                "principal": self.principal,
                "call": self.call,
                "exp": self.expires_at,
            },
            key,
        )

    @classmethod
    def open(cls, token: str, *keys: bytes, now: datetime) -> RequestState:
        """Read a state that came back. Does not compare principal or call; the caller must.

        Raises:
            Refused: MALFORMED if it is not ours to the byte, EXPIRED if it is too old.
        """
        body = unseal(Purpose.REQUEST_STATE, token, *keys)
        approval_id, principal, call = body["approval"], body["principal"], body["call"]
        expires_at = body["exp"]
        if not (
            isinstance(approval_id, str)
            and isinstance(principal, str)
            and isinstance(call, str)
            and isinstance(expires_at, int)
        ):
            raise Refused(Kind.MALFORMED, "the request state is not one of ours")
        if now.timestamp() >= expires_at:
            raise Refused(Kind.EXPIRED, "the request state has expired: make the call again")
        return cls(approval_id, principal, call, expires_at)


@dataclass(frozen=True, slots=True)
class Session:
    """A 2025-11-25 session, whole inside its own id: no server state, valid on every node.

    It carries what ``initialize`` said, and no authority: each request brings its own token, and
    a session of another principal is no session.
    """

    id: str
    principal: str
    version: str
    can_open_url: bool
    expires_at: int

    def seal(self, key: bytes) -> str:
        """The text for ``Mcp-Session-Id``. ``expires_at`` is in unix seconds."""
        return seal(
            Purpose.SESSION,
            {
                "id": self.id,
                "principal": self.principal,
                "version": self.version,
                "url": self.can_open_url,
                "exp": self.expires_at,
            },
            key,
        )

    @classmethod
    def open(cls, token: str, *keys: bytes, now: datetime) -> Session:
        """Read a session id that came back. Does not compare the principal; the caller must.

        Raises:
            Refused: NOT_FOUND if it is not ours, or over (the client then initializes again).
        """
        try:
            body = unseal(Purpose.SESSION, token, *keys)
        except Refused as cause:
            raise Refused(Kind.NOT_FOUND, "no such session") from cause
        session_id, principal, version = body["id"], body["principal"], body["version"]
        can_open_url, expires_at = body["url"], body["exp"]
        if not (
            isinstance(session_id, str)
            and isinstance(principal, str)
            and isinstance(version, str)
            and isinstance(can_open_url, bool)
            and isinstance(expires_at, int)
            and now.timestamp() < expires_at
        ):
            raise Refused(Kind.NOT_FOUND, "no such session")
        return cls(session_id, principal, version, can_open_url, expires_at)


def seal(purpose: bytes, body: JsonObject, key: bytes) -> str:
    """``v1.<body>.<HMAC-SHA256>``: readable by its holder, writable by nobody else.

    Nothing in it is secret. ``key`` is 32 bytes or more.
    """
    payload = _encode(canonical(body))
    return f"v1.{payload}.{_encode(_mac(purpose, payload, key))}"


def unseal(purpose: bytes, token: str, *keys: bytes) -> JsonObject:
    """Read what `seal` made for the same purpose with one of ``keys``.

    Raises:
        Refused: MALFORMED for anything else, without saying what was wrong with it.
    """
    version, _, rest = token.partition(".")
    payload, _, mac = rest.partition(".")
    if len(token) <= MAX_TOKEN and version == "v1":
        try:
            made = _decode(mac)
            if any(hmac.compare_digest(made, _mac(purpose, payload, key)) for key in keys):
                return strict_json.load_object(_decode(payload))
        except ValueError:
            pass
    raise Refused(Kind.MALFORMED, "the request state is not one of ours")


def _mac(purpose: bytes, payload: str, key: bytes) -> bytes:
    return hmac.digest(key, purpose + b"\0" + payload.encode(), sha256)


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Strict inverse of `_encode`: one text for one value. Raises ValueError."""
    data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    if _encode(data) != text:
        raise ValueError("not the canonical form")
    return data
