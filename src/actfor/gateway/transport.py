"""Streamable HTTP as the gateway accepts it: what a request must be before it is understood.

JSON in, JSON out. Every refusal is a JSON-RPC error with an HTTP status, because that is what both
kinds of client look for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import orjson
from starlette.types import Receive, Scope, Send

from actfor.errors import Refused
from actfor.gateway.calls import Credentials
from actfor.wire import mcp, strict_json
from actfor.wire.canonical import JsonObject, JsonValue

MAX_BODY: Final = 256 * 1024

_SINGLE: Final = frozenset(
    {
        b"authorization",
        b"dpop",
        b"content-type",
        b"content-length",
        b"host",
        b"origin",
        b"mcp-session-id",
        b"mcp-protocol-version",
        b"mcp-method",
        b"mcp-name",
    }
)
"""Two copies of these are a request that two readers understand differently."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; ``body`` None is an empty one."""

    status: int
    body: JsonObject | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Stop(Exception):  # noqa: N818 - an answer, not a malfunction
    """The request is answered here and goes no further."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply.status))
        self.reply = reply


def stop(
    status: int, code: int, message: str, *, headers: tuple[tuple[str, str], ...] = ()
) -> Stop:
    """A refusal before the request's id is known."""
    return Stop(Reply(status, mcp.error(None, code, message), headers))


@dataclass(frozen=True, slots=True)
class Head:
    """The request without its body. ``headers`` has lower-case names, each once."""

    method: str
    headers: Mapping[str, str]
    doubled: str | None

    @classmethod
    def of(cls, scope: Scope) -> Head:
        """Read an ASGI scope."""
        headers: dict[str, str] = {}
        doubled = None
        for name, value in scope["headers"]:
            key = name.decode("latin-1")
            if key in headers and (name in _SINGLE or key.startswith("mcp-param-")):
                doubled = key
            headers[key] = value.decode("latin-1")
        return cls(scope["method"], headers, doubled)

    def check_source(self, hosts: Collection[str], origins: Collection[str]) -> None:
        """Refuse pages of other sites: DNS rebinding (CVE-2025-66416), cross-origin posts.

        MCP 2026-07-28, transports: servers MUST validate ``Origin``.
        """
        if self.headers.get("host", "").lower() not in hosts:
            raise stop(421, mcp.INVALID_REQUEST, "this server is not known by that host name")
        origin = self.headers.get("origin")
        if origin is not None and origin.lower() not in origins:
            raise stop(403, mcp.INVALID_REQUEST, "requests from that origin are not accepted")

    def credentials(self, url: str) -> Credentials | None:
        """What the request proves itself with, or None. Only the header counts, never the query."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        known = {"dpop": "DPoP", "bearer": "Bearer"}.get(scheme.lower())
        if known is None or not token:
            return None
        return Credentials(known, token.strip(), self.headers.get("dpop"), self.method, url)

    def check_body_kind(self) -> None:
        """JSON, plain, and the client reads JSON."""
        headers = self.headers
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise stop(415, mcp.INVALID_REQUEST, "the content type must be application/json")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise stop(415, mcp.INVALID_REQUEST, "compressed bodies are not accepted")
        accept = headers.get("accept", "*/*").lower()
        if not any(kind in accept for kind in ("application/json", "application/*", "*/*")):
            raise stop(406, mcp.INVALID_REQUEST, "the client must accept application/json")


async def read_body(head: Head, receive: Receive) -> bytes:
    """The body, at most `MAX_BODY` bytes of it."""
    length = head.headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length[:20]) > MAX_BODY:
        raise _too_large()
    message = await receive()
    body = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise _too_large()
    if len(body) > MAX_BODY:
        raise _too_large()
    if message["type"] == "http.disconnect":
        raise stop(400, mcp.INVALID_REQUEST, "the body ended early")
    return bytes(body)


def _too_large() -> Stop:
    return stop(413, mcp.INVALID_REQUEST, f"the body is larger than {MAX_BODY} bytes")


@dataclass(frozen=True, slots=True)
class Message:
    """One JSON-RPC request, or a notification where ``id`` is None."""

    id: int | str | None
    method: str
    params: JsonObject
    body: JsonObject

    @property
    def meta(self) -> JsonObject:
        """``params._meta``, empty where there is none."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}


def parse(body: bytes) -> Message:
    """The single request or notification in a body (JSON-RPC 2.0 §4).

    Batches were removed in MCP 2025-06-18; answers are never asked for, so none is accepted.
    """
    try:
        value = strict_json.loads(body)
    except Refused as refused:
        raise stop(400, mcp.PARSE_ERROR, f"parse error: {refused.detail}") from None
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0" or "method" not in value:
        raise stop(400, mcp.INVALID_REQUEST, "the body must be one JSON-RPC 2.0 request")
    method, params, request_id = value["method"], value.get("params", {}), value.get("id")
    if not isinstance(method, str) or not isinstance(params, dict):
        raise stop(400, mcp.INVALID_REQUEST, "`method` is a string and `params` an object")
    if "id" in value and (isinstance(request_id, bool) or not isinstance(request_id, int | str)):
        raise stop(400, mcp.INVALID_REQUEST, "`id` is a string or an integer")
    return Message(_id(request_id), method, params, value)


def _id(value: JsonValue) -> int | str | None:
    return value if isinstance(value, int | str) else None


async def answer(reply: Reply, send: Send) -> None:
    """Write the reply. Nothing of it is for caches: it was made for one caller."""
    body = b"" if reply.body is None else orjson.dumps(reply.body)
    headers = [
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *((name.encode(), value.encode("latin-1")) for name, value in reply.headers),
    ]
    if body:
        headers.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
