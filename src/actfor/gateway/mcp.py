"""`/mcp/<server>`: one governed MCP server, for clients of 2025-11-25 and of 2026-07-28.

A thin ASGI endpoint. It reads and writes protocol; what may happen is decided in ``enforce``.

    request -> source -> credential -> body -> era -> method -> enforce -> protocol's own answer

Tools only: prompts, resources and what nobody has heard of are "method not found", never passed on.
No state is kept: a 2025-11-25 session is whole inside its sealed id, and is given out only to a
client that said it can open a page, because that is all there is to remember.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from actfor.errors import Kind, Refused
from actfor.gateway import replies
from actfor.gateway.calls import (
    Answered,
    Attempt,
    Client,
    Denied,
    Failed,
    Outcome,
    Pending,
    Settings,
    Stage,
)
from actfor.gateway.case import Caller
from actfor.gateway.enforce import Enforcer
from actfor.gateway.transport import Head, Message, Reply, Stop, answer, parse, read_body, stop
from actfor.wire import mcp
from actfor.wire.canonical import JsonObject

if TYPE_CHECKING:
    # At run time it is loaded with the first server that is governed (`upstream.loaded`).
    from mcp.shared.inbound import InboundLadderRejection

_PROOF: Final = frozenset({Stage.CREDENTIAL, Stage.MANDATE})
_AUTHENTICATION: Final = frozenset({Kind.UNAUTHENTICATED, Kind.EXPIRED, Kind.REPLAYED})
_SESSION_SECONDS: Final = 24 * 3600
_MAX_ENDED: Final = 10_000
_MAX_NAME: Final = 128
_DEFAULT_VERSION: Final = "2025-03-26"  # MCP 2025-11-25, transports: what no header means


class McpFront:
    """The endpoint and its metadata. Add `routes` to the application.

    ``hosts`` are the ``Host`` values and ``origins`` the ``Origin`` values that are accepted,
    besides those of the issuer itself.
    """

    def __init__(
        self,
        enforcer: Enforcer,
        settings: Settings,
        issuer: str,
        clock: Callable[[], datetime],
        *,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
    ) -> None:
        self._enforcer = enforcer
        self._settings = settings
        self._issuer = issuer.rstrip("/")
        self._now = clock
        parts = urlsplit(self._issuer)
        self._hosts = frozenset({parts.netloc.lower(), *(host.lower() for host in hosts)})
        self._origins = frozenset({self._issuer.lower(), *(one.lower() for one in origins)})
        # Owned by the event loop. Sessions a client ended, oldest first; forgetting one is
        # harmless, since a session gives no authority.
        self._ended: OrderedDict[str, None] = OrderedDict()

    @property
    def routes(self) -> Sequence[Route]:
        """For the Starlette application."""
        return [
            Route("/mcp/{server}", self),
            Route("/.well-known/oauth-protected-resource/mcp/{server}", _Metadata(self)),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Whatever is not an answer of ours is the application's 500."""
        try:
            reply = await self._serve(scope, receive)
        except Stop as stopped:
            reply = stopped.reply
        await answer(reply, send)

    def metadata(self, server: str) -> Reply:
        """RFC 9728 metadata of one server."""
        if self._enforcer.server(server) is None:
            return replies.no_server().reply
        body = mcp.protected_resource(
            self._settings.url(server),
            issuer=self._issuer,
            scopes=self._scopes(server),
            title=f"{server}, governed by actfor",
        )
        return Reply(200, body)

    # -- from bytes to a message ----------------------------------------------------------------

    async def _serve(self, scope: Scope, receive: Receive) -> Reply:
        head, server = Head.of(scope), scope["path_params"]["server"]
        head.check_source(self._hosts, self._origins)
        if head.doubled is not None:
            raise stop(400, mcp.HEADER_MISMATCH, f"the header {head.doubled} is there twice")
        if self._enforcer.server(server) is None:
            raise replies.no_server()
        if head.method not in {"POST", "DELETE"}:
            # No stream is offered: nothing here speaks unasked.
            raise stop(405, mcp.INVALID_REQUEST, "use POST", headers=(("allow", "POST, DELETE"),))
        caller = await self._authenticated(head, server)
        try:
            if head.method == "DELETE":
                return self._end_session(head, caller)
            head.check_body_kind()
            message = parse(await read_body(head, receive))
            return await self._dispatch(head, caller, message)
        finally:
            # INVARIANT: a proof is spent by whatever it came with. Otherwise the proof of a
            # harmless request could be taken and used once for a call (RFC 9449 covers no bodies).
            if not caller.spent:
                await self._spend(caller)

    async def _authenticated(self, head: Head, server: str) -> Caller:
        credentials = head.credentials(self._settings.url(server))
        if credentials is None:
            raise self._unauthorized(server, None, "a token for this server is needed")
        try:
            return await self._enforcer.authenticate(server, credentials)
        except Refused as refused:
            if refused.kind is Kind.BUSY:
                raise Stop(replies.busy(None)) from None
            code = refused.code or "invalid_token"
            raise self._unauthorized(server, code, refused.detail) from None

    async def _spend(self, caller: Caller) -> None:
        try:
            await self._enforcer.spend(caller)
        except Refused as refused:
            if refused.kind is Kind.BUSY:
                raise Stop(replies.busy(None)) from None
            raise self._unauthorized(
                caller.server, refused.code or "invalid_dpop_proof", refused.detail
            ) from None

    async def _dispatch(self, head: Head, caller: Caller, message: Message) -> Reply:
        version = head.headers.get("mcp-protocol-version")
        legacy = version is None or version in mcp.HANDSHAKE_VERSIONS
        if "id" not in message.body:
            # There is nothing a client could tell us: a call is ended by closing its connection.
            return (
                Reply(202)
                if legacy or version in mcp.MODERN_VERSIONS
                else replies.unsupported(None, version)
            )
        if legacy:
            return await self._handshake_era(head, caller, message, version or _DEFAULT_VERSION)
        return await self._modern_era(head, caller, message, version or "")

    # -- 2025-11-25 and before ------------------------------------------------------------------

    async def _handshake_era(
        self, head: Head, caller: Caller, message: Message, version: str
    ) -> Reply:
        if message.method == "initialize":
            return self._initialize(caller, message)
        session = self._session(head, caller)
        client = Client(modern=False, can_open_url=session is not None and session.can_open_url)
        if message.method == "ping":
            return Reply(200, mcp.result(message.id, {}))
        if message.method == "tools/list":
            return replies.listed(message, self._enforcer.tools(caller), modern=False)
        if message.method == "tools/call":
            return await self._call(caller, message, client)
        return Reply(200, mcp.error(message.id, mcp.METHOD_NOT_FOUND, "method not found"))

    def _initialize(self, caller: Caller, message: Message) -> Reply:
        asked = message.params.get("protocolVersion")
        version = str(asked) if asked in mcp.HANDSHAKE_VERSIONS else mcp.HANDSHAKE_VERSIONS[-1]
        body: JsonObject = {
            "protocolVersion": version,
            "capabilities": {"tools": {"listChanged": False}},
            "serverInfo": replies.server_info(caller.server),
            "instructions": replies.INSTRUCTIONS,
        }
        can_open_url = version == "2025-11-25" and replies.opens_urls(
            message.params.get("capabilities")
        )
        headers: tuple[tuple[str, str], ...] = ()
        if can_open_url:
            session = mcp.Session(
                id=secrets.token_urlsafe(16),
                principal=caller.principal,
                version=version,
                can_open_url=True,
                expires_at=int(self._now().timestamp()) + _SESSION_SECONDS,
            )
            headers = (("mcp-session-id", session.seal(self._settings.keys[0])),)
        return Reply(200, mcp.result(message.id, body), headers)

    def _session(self, head: Head, caller: Caller) -> mcp.Session | None:
        """The session the client names; 404 makes a client begin a new one."""
        token = head.headers.get("mcp-session-id")
        if token is None:
            return None
        try:
            session = mcp.Session.open(token, *self._settings.keys, now=self._now())
        except Refused as refused:
            raise stop(404, mcp.INVALID_REQUEST, refused.detail) from None
        # State handles are keyed by who holds them (threats-and-faults C7).
        if session.principal != caller.principal or session.id in self._ended:
            raise stop(404, mcp.INVALID_REQUEST, "no such session")
        return session

    def _end_session(self, head: Head, caller: Caller) -> Reply:
        session = self._session(head, caller)
        if session is None:
            raise stop(400, mcp.INVALID_REQUEST, "there is no session to end")
        self._ended[session.id] = None
        while len(self._ended) > _MAX_ENDED:
            self._ended.popitem(last=False)
        return Reply(204)

    # -- 2026-07-28 -----------------------------------------------------------------------------

    async def _modern_era(
        self, head: Head, caller: Caller, message: Message, version: str
    ) -> Reply:
        from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request

        # The header chose this road; the ladder makes header and body agree (-32020).
        verdict = classify_inbound_request(message.body, headers=head.headers)
        if isinstance(verdict, InboundLadderRejection):
            if verdict.code == mcp.UNSUPPORTED_VERSION:
                return replies.unsupported(message.id, version)
            return replies.rejected(message.id, verdict)
        client = Client(modern=True, can_open_url=replies.opens_urls(verdict.client_capabilities))
        if message.method == "server/discover":
            return replies.discovered(message, caller.server)
        if message.method == "tools/list":
            return replies.listed(message, self._enforcer.tools(caller), modern=True)
        if message.method == "tools/call":
            if (wrong := self._mirrored_wrongly(head, caller, message)) is not None:
                return replies.rejected(message.id, wrong)
            return await self._call(caller, message, client)
        return Reply(404, mcp.error(message.id, mcp.METHOD_NOT_FOUND, "method not found"))

    def _mirrored_wrongly(
        self, head: Head, caller: Caller, message: Message
    ) -> InboundLadderRejection | None:
        """Whether ``Mcp-Param-*`` headers say other things than the arguments they mirror."""
        tool = self._enforcer.tool(caller, str(message.params.get("name")))
        arguments = message.params.get("arguments") or {}
        if tool is None or not tool.mirrors_headers or not isinstance(arguments, dict):
            return None
        from mcp.shared.inbound import validate_mcp_param_headers

        schema = (tool.pinned or {}).get("inputSchema")
        return validate_mcp_param_headers(schema, arguments, head.headers)

    # -- tools/call, both eras ------------------------------------------------------------------

    async def _call(self, caller: Caller, message: Message, client: Client) -> Reply:
        name, arguments = message.params.get("name"), message.params.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return replies.failure(
                message.id, mcp.INVALID_PARAMS, "`name` is a string, `arguments` an object",
                modern=client.modern,
            )  # fmt: skip
        state, words = message.params.get("requestState"), message.meta.get(mcp.REASON_KEY)
        attempt = Attempt(
            server=caller.server,
            tool=name,
            arguments=arguments,
            client=client,
            # An accepted elicitation (`inputResponses`) is not looked at: it approves nothing.
            request_state=state if isinstance(state, str) and client.modern else None,
            agent_text=words if isinstance(words, str) else None,
        )
        return self._told(message.id, attempt, await self._enforcer.call(caller, attempt))

    def _told(self, request_id: mcp.RequestId, attempt: Attempt, outcome: Outcome) -> Reply:
        """The outcome in the words of the client's era."""
        modern = attempt.client.modern
        match outcome:
            case Answered(result=result):
                return Reply(200, mcp.result(request_id, replies.shaped(result, modern=modern)))
            case Failed(code=code, message=text, data=data):
                return Reply(200, mcp.error(request_id, code, text, data))
            case Pending():
                return replies.pending(request_id, attempt, outcome)
            case Denied():
                return self._refusal(request_id, attempt, outcome)

    def _refusal(self, request_id: mcp.RequestId, attempt: Attempt, denied: Denied) -> Reply:
        modern = attempt.client.modern
        if denied.kind is Kind.BUSY:
            return replies.busy(request_id)
        if denied.stage in _PROOF and denied.kind in _AUTHENTICATION:
            code = denied.code or "invalid_token"
            return self._unauthorized(attempt.server, code, denied.reason).reply
        if denied.kind is Kind.NOT_FOUND and denied.stage is Stage.TOOL:
            text = f"unknown tool: {attempt.tool[:_MAX_NAME]}"
            return replies.failure(request_id, mcp.INVALID_PARAMS, text, modern=modern)
        if denied.kind is Kind.MALFORMED:
            return replies.failure(request_id, mcp.INVALID_PARAMS, denied.reason, modern=modern)
        data: JsonObject = {
            "decision": "deny",
            "stage": denied.stage.value,
            "kind": denied.kind.value,
            "policies": list(denied.policies),
            "trace": denied.trace,
        }
        body = mcp.error(request_id, mcp.DENIED, f"denied: {denied.reason}", data)
        if denied.scope is None:
            return Reply(200, body)
        error = "insufficient_scope"
        return Reply(403, body, self._challenge(attempt.server, error, denied.reason, denied.scope))

    # -- challenges -----------------------------------------------------------------------------

    def _unauthorized(self, server: str, error: str | None, detail: str) -> Stop:
        scopes = " ".join(self._scopes(server))
        challenge = self._challenge(server, error, detail if error else None, scopes)
        return stop(401, mcp.INVALID_REQUEST, f"unauthorized: {detail}", headers=challenge)

    def _challenge(
        self, server: str, error: str | None, detail: str | None, scope: str
    ) -> tuple[tuple[str, str], ...]:
        metadata = f"{self._issuer}/.well-known/oauth-protected-resource/mcp/{server}"
        values = mcp.challenges(resource_metadata=metadata, scope=scope, error=error, detail=detail)
        return tuple(("www-authenticate", value) for value in values)

    def _scopes(self, name: str) -> list[str]:
        """Every ``<server>:<effect>`` that its approved tools may have."""
        server = self._enforcer.server(name)
        tools = server.tools.values() if server is not None else ()
        return sorted(
            {
                f"{name}:{effect}"
                for tool in tools
                if tool.is_pinned
                for effect in tool.overlay.possible
            }
        )


class _Metadata:
    """ASGI: RFC 9728 metadata, for anyone."""

    def __init__(self, front: McpFront) -> None:
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await answer(Reply(405, None, (("allow", "GET"),)), send)
            return
        await answer(self._front.metadata(scope["path_params"]["server"]), send)
