"""A server somewhere else: Streamable HTTP of either era over one shared connection pool.

Our own thin client, because this is the hot path: one pool per process, no new client per call, no
models. The era is found once: ``server/discover`` first, ``initialize`` for who does not know it.
The only credential that leaves is our own, from its file; redirects are not followed and cookies
not kept, so it goes nowhere else.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import aiohttp
import orjson
from mcp.shared.inbound import encode_header_value, mcp_param_headers, x_mcp_header_map

import actfor
from actfor.gateway.model import Definition, Http, read_listing
from actfor.gateway.upstream.pool import Pool
from actfor.gateway.upstream.protocol import (
    Limits,
    OnListed,
    UpstreamError,
    UpstreamLost,
    check_listed,
    next_cursor,
    tools_of,
)
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.mcp import HANDSHAKE_VERSIONS, MODERN_VERSIONS

logger = logging.getLogger(__name__)

_CLIENT: Final = {"name": "actfor", "version": actfor.__version__}
_META: Final = "io.modelcontextprotocol/"
_HEADERS: Final = {
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
}


@dataclass(frozen=True, slots=True)
class _Link:
    """What was agreed with the server: the version, the session if it wants one, its tools.

    ``mirrors`` is, for tools that ask for it, which arguments go into which headers.
    """

    version: str
    session_id: str | None = None
    listed: Mapping[str, Definition] = field(default_factory=dict)
    mirrors: Mapping[str, Mapping[tuple[str, ...], str]] = field(default_factory=dict)

    @property
    def modern(self) -> bool:
        return self.version in MODERN_VERSIONS

    def listing(self, listed: Mapping[str, Definition]) -> _Link:
        """The link with what the server lists now."""
        maps = {
            name: x_mcp_header_map(definition.body.get("inputSchema"))
            for name, definition in listed.items()
        }
        mirrors = {name: found for name, found in maps.items() if found}
        return _Link(self.version, self.session_id, listed, mirrors)


class _SessionOver(Exception):  # noqa: N818 - the server forgot us; nothing was executed
    pass


class HttpUpstream:
    """See ``protocol.Upstream``."""

    def __init__(
        self,
        name: str,
        transport: Http,
        *,
        on_listed: OnListed,
        limits: Limits,
        pool: Pool,
    ) -> None:
        self._name = name
        self._url = transport.url
        self._credential_file = transport.credential_file
        self._on_listed = on_listed
        self._limits = limits
        self._pool = pool
        self._link: _Link | None = None
        self._linking = asyncio.Lock()
        self._ids = itertools.count(1)
        self._credential: str | None = None

    async def refresh(self) -> Mapping[str, Definition]:
        """See ``protocol.Upstream.refresh``."""
        async with self._linking:
            if self._link is None:
                return (await self._connect()).listed
            try:
                return (await self._list(self._link)).listed
            except _SessionOver:
                return (await self._connect()).listed

    async def call(self, tool: str, digest: str, arguments: JsonObject) -> JsonObject:
        """See ``protocol.Upstream.call``."""
        for _ in range(2):
            link = self._link or await self._linked()
            check_listed(self._name, link.listed, tool, digest)
            try:
                return await self._tool(link, tool, arguments)
            except _SessionOver:
                # The server forgot the session (404): it executed nothing, and we begin again.
                if self._link is link:
                    self._link = None
        raise UpstreamLost(f"`{self._name}` ends every session at once", sent=False)

    async def close(self) -> None:
        """See ``protocol.Upstream.close``. The pool is its owner's to close."""
        self._link = None

    async def _tool(self, link: _Link, tool: str, arguments: JsonObject) -> JsonObject:
        params: JsonObject = {"name": tool, "arguments": arguments}
        headers: dict[str, str] = {}
        if link.modern:
            headers["mcp-name"] = encode_header_value(tool)
            if (mirrored := link.mirrors.get(tool)) is not None:
                headers |= mcp_param_headers(mirrored, arguments)
        answer = await self._request(link, "tools/call", params, headers, self._limits.call_seconds)
        if answer.get("resultType") == "input_required":
            # We never said that we could ask anybody; the person belongs to our caller, not to it.
            raise UpstreamLost(f"`{self._name}` asks for input that is not passed on", sent=True)
        return answer

    async def _linked(self) -> _Link:
        async with self._linking:
            return self._link or await self._connect()

    async def _connect(self) -> _Link:
        """Agree on a version, list the tools. Holds ``_linking``."""
        self._credential = self._read_credential()
        link = await self._discover() or await self._initialize()
        return await self._list(link)

    async def _discover(self) -> _Link | None:
        probe = _Link(MODERN_VERSIONS[-1])
        try:
            answer = await self._request(
                probe, "server/discover", {}, {}, self._limits.start_seconds
            )
        except UpstreamError:
            return None
        versions = answer.get("supportedVersions")
        common = [v for v in MODERN_VERSIONS if isinstance(versions, list) and v in versions]
        return _Link(common[-1]) if common else None

    async def _initialize(self) -> _Link:
        params: JsonObject = {
            "protocolVersion": HANDSHAKE_VERSIONS[-1],
            "capabilities": {},
            "clientInfo": _CLIENT,
        }
        fresh = _Link("")
        try:
            status, head, body = await self._post(
                fresh, "initialize", params, {}, self._limits.start_seconds
            )
            answer = _result(self._name, status, body)
        except UpstreamError as cause:
            detail = f"`{self._name}` refused the connection: {cause.message[:200]}"
            raise UpstreamLost(detail, sent=False) from None
        version = answer.get("protocolVersion")
        if version not in HANDSHAKE_VERSIONS:
            raise UpstreamLost(f"`{self._name}` speaks no version of MCP that we do", sent=False)
        link = _Link(str(version), head.get("mcp-session-id"))
        await self._post(
            link, "notifications/initialized", None, {}, self._limits.start_seconds, notify=True
        )
        return link

    async def _list(self, link: _Link) -> _Link:
        tools: list[JsonValue] = []
        seen: set[str] = set()
        cursor: str | None = None
        while True:
            params: JsonObject = {"cursor": cursor} if cursor else {}
            try:
                page = await self._request(
                    link, "tools/list", params, {}, self._limits.start_seconds
                )
            except UpstreamError as cause:
                detail = f"`{self._name}` does not list its tools: {cause.message[:200]}"
                raise UpstreamLost(detail, sent=False) from None
            tools.extend(tools_of(page))
            if (cursor := next_cursor(page, seen)) is None:
                break
        listed = read_listing(tools)
        await self._on_listed(self._name, listed)
        self._link = link.listing(listed)
        return self._link

    async def _request(
        self,
        link: _Link,
        method: str,
        params: JsonObject,
        headers: Mapping[str, str],
        seconds: float,
    ) -> JsonObject:
        status, _, body = await self._post(link, method, params, headers, seconds)
        if status == 401 and self._renewed_credential():
            # Refused before it was looked at: a credential that was rotated is tried once.
            status, _, body = await self._post(link, method, params, headers, seconds)
        if status == 404 and link.session_id is not None:
            raise _SessionOver
        return _result(self._name, status, body)

    async def _post(
        self,
        link: _Link,
        method: str,
        params: JsonObject | None,
        headers: Mapping[str, str],
        seconds: float,
        *,
        notify: bool = False,
    ) -> tuple[int, Mapping[str, str], JsonValue]:
        """One POST: status, headers, and the JSON-RPC message that answers it (None if none)."""
        message: dict[str, object] = {"jsonrpc": "2.0", "method": method}
        request_id = None if notify else next(self._ids)
        if request_id is not None:
            message["id"] = request_id
        if params is not None:
            message["params"] = {**params, "_meta": _envelope(link)} if link.modern else params
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(
                    orjson.dumps(message), {**self._head(link, method), **headers}, request_id
                )
        except TimeoutError:
            detail = f"`{self._name}` did not answer within {seconds:g} seconds"
            raise UpstreamLost(detail, sent=True) from None
        except aiohttp.ClientConnectorError as cause:
            logger.warning("MCP server %s cannot be reached: %s", self._name, cause)
            raise UpstreamLost(f"`{self._name}` cannot be reached", sent=False) from None
        except (aiohttp.ClientError, OSError, ValueError) as cause:
            logger.warning("MCP server %s failed: %r", self._name, cause)
            raise UpstreamLost(f"`{self._name}` broke off its answer", sent=True) from None

    async def _exchange(
        self, body: bytes, headers: Mapping[str, str], request_id: int | None
    ) -> tuple[int, Mapping[str, str], JsonValue]:
        async with self._pool.session().post(
            self._url, data=body, headers=headers, allow_redirects=False, timeout=_NO_TIMEOUT
        ) as response:
            kind = response.content_type
            if kind == "text/event-stream" and request_id is not None:
                return response.status, response.headers, await self._event(response, request_id)
            text = await self._body(response)
            message = orjson.loads(text) if kind == "application/json" and text else None
            return response.status, response.headers, message

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._limits.answer_bytes:
                raise aiohttp.ClientPayloadError("the answer is too large")
            parts.append(part)
        return b"".join(parts)

    async def _event(self, response: aiohttp.ClientResponse, request_id: int) -> JsonValue:
        """The message with our id from a stream of server-sent events; others are dropped."""
        data: list[bytes] = []
        size = 0
        buffer = b""
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._limits.answer_bytes:
                raise aiohttp.ClientPayloadError("the answer is too large")
            *lines, buffer = (buffer + part).split(b"\n")
            for line in lines:
                text = line.rstrip(b"\r")
                if text.startswith(b"data:"):
                    data.append(text[5:].removeprefix(b" "))
                elif not text and data:
                    message = orjson.loads(b"\n".join(data))
                    data.clear()
                    if _answers(message, request_id):
                        return cast("JsonValue", message)
        raise aiohttp.ClientPayloadError("the stream ended without an answer")

    def _head(self, link: _Link, method: str) -> dict[str, str]:
        headers = dict(_HEADERS)
        if link.version:
            headers["mcp-protocol-version"] = link.version
        if link.modern:
            headers["mcp-method"] = method
        if link.session_id is not None:
            headers["mcp-session-id"] = link.session_id
        if self._credential is not None:
            headers["authorization"] = f"Bearer {self._credential}"
        return headers

    def _read_credential(self) -> str | None:
        if self._credential_file is None:
            return None
        try:
            return Path(self._credential_file).read_text().strip()
        except OSError as cause:
            # Fail closed: a server that should know us is not asked as a stranger.
            logger.warning("credential file of MCP server %s: %s", self._name, cause)
            detail = f"the credential for `{self._name}` cannot be read"
            raise UpstreamLost(detail, sent=False) from None

    def _renewed_credential(self) -> bool:
        former, self._credential = self._credential, self._read_credential()
        return self._credential != former


_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)  # `asyncio.timeout` bounds the exchange


def _envelope(link: _Link) -> JsonObject:
    """MCP 2026-07-28: what every request says about itself."""
    return {
        f"{_META}protocolVersion": link.version,
        f"{_META}clientInfo": _CLIENT,
        f"{_META}clientCapabilities": {},
    }


def _answers(message: object, request_id: int) -> bool:
    return (
        isinstance(message, dict)
        and message.get("id") == request_id
        and ("result" in message or "error" in message)
    )


def _result(name: str, status: int, message: JsonValue) -> JsonObject:
    """The result in a JSON-RPC answer; its error, whatever the HTTP status, is passed on."""
    if isinstance(message, dict):
        result, error = message.get("result"), message.get("error")
        if isinstance(result, dict):
            return result
        if isinstance(error, dict):
            code, text = error.get("code"), error.get("message")
            if isinstance(code, int) and isinstance(text, str):
                raise UpstreamError(code, text, error.get("data"))
    if status >= 400 or 300 <= status < 400:
        # A proxy or an HTTP-level refusal: nothing of it is the tool's answer.
        raise UpstreamError(-32603, f"the server `{name}` answered with HTTP status {status}")
    raise UpstreamLost(f"`{name}` answered with something that is no MCP result", sent=True)
