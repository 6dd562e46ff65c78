"""What every request meets first: an id, a host check, limits, a log line, and a last resort.

Order: request id → Host allow-list → lease of the node → body limit and time → strict JSON → the
application. A node that is cut off from its database answers nothing but for itself.
Anything the application did not expect becomes a 500 that says nothing but the request id.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection, Mapping
from secrets import token_hex

import structlog
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actfor.errors import Kind, Refused
from actfor.server.telemetry import Metrics, request_line
from actfor.wire import strict_json

MAX_BODY = 256 * 1024
BODY_SECONDS = 30.0
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ROUTES = frozenset(
    {
        "token", "device_authorization", "access", "mcp", "v1", "log", "webauthn", "approvals",
        "agents", "mandates", "policies", "decisions", "people", "signin", "signout", "setup",
        "device", "static", "livez", "readyz", "metrics", ".well-known", "",
    }
)  # fmt: skip
_OF_THE_NODE = frozenset({"/livez", "/readyz", "/metrics"})
"""What a node answers even when it is cut off from its database."""

log = structlog.get_logger("actfor.http")


class Edge:
    """Pure ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        metrics: Metrics,
        check_fresh: Callable[[], None] = lambda: None,
    ) -> None:
        """``check_fresh`` raises Refused while what this node remembers may be out of date."""
        self._app = app
        self._hosts = frozenset(host.encode() for host in hosts)
        self._metrics = metrics
        self._check_fresh = check_fresh

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; websockets are refused, lifespan passes through."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        scope["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started, status, begun = time.perf_counter(), 500, False

        async def answer(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                # AuthZEN answers with the caller's own id, unchanged; then ours stays in the log.
                if all(name != b"x-request-id" for name, _ in message["headers"]):
                    ours = (b"x-request-id", request_id.encode())
                    message["headers"] = [*message["headers"], ours]
            await send(message)

        try:
            await self._app(scope, await self._admit(scope, headers, receive), answer)
        except _Rejected as rejected:
            await _problem(rejected.status, rejected.title, request_id)(scope, receive, answer)
        except Exception:
            log.exception("unexpected failure", path=scope["path"])
            if not begun:
                await _problem(500, "internal error", request_id)(scope, receive, answer)
        finally:
            self._account(scope, status, time.perf_counter() - started)
            structlog.contextvars.clear_contextvars()

    async def _admit(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        # DNS rebinding (threats-and-faults D3): a page of another site may reach this port by name.
        if headers.get(b"host", b"").lower() not in self._hosts:
            raise _Rejected(421, "this server is not known by that host name")
        if scope["path"] not in _OF_THE_NODE:
            try:
                self._check_fresh()
            except Refused as refused:
                raise _Rejected(503, refused.detail) from None
        if (
            scope["method"] in {"GET", "HEAD", "DELETE", "OPTIONS"}
            and b"content-length" not in headers
        ):
            return receive
        body = await _body(headers, receive)
        _check_json(scope["path"], headers, body)
        return _replay(body, receive)

    def _account(self, scope: Scope, status: int, seconds: float) -> None:
        first = scope["path"].split("/", 2)[1] if "/" in scope["path"] else ""
        route = first if first in _ROUTES else "other"
        self._metrics.answered(route, scope["method"], status, seconds)
        if route not in {"livez", "readyz", "metrics", "static"}:
            request_line(scope["request_id"], scope["method"], scope["path"], status, seconds)


class Hot:
    """Paths that are asked for often are found by method and name, before a router looks.

    What stands here answers refusals itself; anything unexpected is the edge's, as ever.
    """

    def __init__(
        self,
        app: ASGIApp,
        found: Mapping[tuple[str, str], ASGIApp],
        below: Mapping[str, tuple[str, ASGIApp]],
    ) -> None:
        """``found`` are whole paths by method; ``below`` serves what is one segment below a path,
        whatever the method, and is given that segment as the path parameter of this name.
        """
        self._app = app
        self._found = found
        self._below = below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        app = self._found.get((scope.get("method", ""), path))
        if app is None:
            above, _, segment = path.rpartition("/")
            below = self._below.get(above)
            if below is None or not segment:
                app = self._app
            else:
                name, app = below
                scope["path_params"] = {name: segment}
        await app(scope, receive, send)


class Later:
    """An application that is made with its first request, once, beside the event loop."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._made: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._made or await self._first()
        await app(scope, receive, send)

    async def _first(self) -> ASGIApp:
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
            return self._made


class _Rejected(Exception):  # noqa: N818 - an answer, not a malfunction
    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        self.status, self.title = status, title


def _request_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else token_hex(8)


async def _body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY:
        raise _Rejected(413, f"the body is larger than {MAX_BODY} bytes")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Rejected(400, "the body ended early")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MAX_BODY:
                    raise _Rejected(413, f"the body is larger than {MAX_BODY} bytes")
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise _Rejected(408, f"the body took longer than {BODY_SECONDS:.0f} seconds") from None


def _check_json(path: str, headers: dict[bytes, bytes], body: bytes) -> None:
    """Refuse ambiguous JSON before any library reads it; some read strictly themselves."""
    if not body or path.startswith(("/mcp/", "/access/v1/")):
        return
    if headers.get(b"content-type", b"").split(b";")[0].strip().lower() == b"application/json":
        try:
            strict_json.loads(body)
        except Refused as refused:
            if refused.kind is Kind.MALFORMED:
                raise _Rejected(400, refused.detail) from None
            raise


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()  # disconnects still arrive
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _problem(status: int, title: str, request_id: str) -> JSONResponse:
    # RFC 9457: no detail beyond the title, because the cause may hold what the caller may not see.
    return JSONResponse(
        {"type": "about:blank", "status": status, "title": title, "request_id": request_id},
        status_code=status,
        media_type="application/problem+json",
    )
