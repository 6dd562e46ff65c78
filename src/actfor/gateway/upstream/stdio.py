"""A server we run ourselves: one process, one MCP session over its stdin and stdout.

The official SDK speaks the protocol; this module owns the life of the process. A session lives in
one task, because the SDK's scopes must be left by the task that entered them. Many calls share it.
When the process ends, calls in flight are lost (nobody knows whether they were executed) and the
next call starts it again, later and later if it keeps dying.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TextIO, cast

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequest,
    CallToolRequestParams,
    Implementation,
    ListToolsRequest,
    PaginatedRequestParams,
    ToolListChangedNotification,
)
from mcp_types.jsonrpc import REQUEST_TIMEOUT
from pydantic import TypeAdapter, ValidationError

import actfor
from actfor.errors import Refused
from actfor.gateway.model import Definition, Stdio, read_listing
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

logger = logging.getLogger(__name__)

# Any: the SDK wants a model here; we pass results on as they are, which its adapter arm allows.
_RAW: Any = TypeAdapter(dict[str, Any])
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0
_STABLE_SECONDS = 30.0
"""A process that lived so long may be restarted at once when it dies."""


@dataclass(slots=True)
class _Live:
    """One session of one process. ``gone`` is set when its stdout ends."""

    client: Client
    gone: asyncio.Event
    listed: Mapping[str, Definition]


class StdioUpstream:
    """See ``protocol.Upstream``."""

    def __init__(
        self,
        name: str,
        transport: Stdio,
        *,
        on_listed: OnListed,
        limits: Limits,
        stderr: Path | None,
    ) -> None:
        self._name = name
        self._transport = transport
        self._on_listed = on_listed
        self._limits = limits
        self._stderr = stderr
        self._live: _Live | None = None
        self._runner: asyncio.Task[None] | None = None
        self._started: asyncio.Future[_Live] | None = None
        self._stop = asyncio.Event()
        self._listing = asyncio.Lock()
        self._relist: set[asyncio.Task[None]] = set()
        self._pause = 0.0
        self._not_before = 0.0

    async def refresh(self) -> Mapping[str, Definition]:
        """See ``protocol.Upstream.refresh``."""
        fresh = self._live is None
        live = await self._session()
        if not fresh:  # a new session has just listed them
            await self._list(live)
        return live.listed

    async def call(self, tool: str, digest: str, arguments: JsonObject) -> JsonObject:
        """See ``protocol.Upstream.call``."""
        live = self._live
        if live is None or live.gone.is_set():
            live = await self._session()
        check_listed(self._name, live.listed, tool, digest)
        params = CallToolRequestParams(name=tool, arguments=cast("dict[str, Any]", arguments))
        return await self._ask(live, CallToolRequest(params=params), self._limits.call_seconds)

    async def close(self) -> None:
        """See ``protocol.Upstream.close``."""
        self._stop.set()
        for task in [*self._relist, *([self._runner] if self._runner else [])]:
            await asyncio.wait([task])

    async def _ask(
        self, live: _Live, request: CallToolRequest | ListToolsRequest, seconds: float
    ) -> JsonObject:
        try:
            answer = await live.client.session.send_request(
                request, _RAW, request_read_timeout_seconds=seconds
            )
        except MCPError as cause:
            if live.gone.is_set():
                raise UpstreamLost(f"`{self._name}` ended before it answered", sent=True) from None
            # The SDK's own number for a time-out; a server that sends it is read the same way.
            if cause.code == REQUEST_TIMEOUT:
                detail = f"`{self._name}` did not answer within {seconds:g} seconds"
                raise UpstreamLost(detail, sent=True) from None
            raise UpstreamError(cause.code, cause.message, cause.error.data) from None
        except ValidationError as cause:
            raise UpstreamLost(
                f"`{self._name}` answered with something that is no MCP result", sent=True
            ) from cause
        return cast("JsonObject", answer)

    async def _session(self) -> _Live:
        """The live session; starts the process unless it is already starting."""
        live = self._live
        if live is not None and not live.gone.is_set():
            return live
        if self._runner is not None and self._started is not None and self._started.done():
            await asyncio.wait([self._runner])  # the old process is still being cleared away
        if self._stop.is_set():
            raise UpstreamLost(f"`{self._name}` was stopped", sent=False)
        if self._started is None:
            self._started = asyncio.get_running_loop().create_future()
            # A failure that nobody waited for is in the log already.
            self._started.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._runner = asyncio.create_task(self._run(self._started), name=f"mcp-{self._name}")
        return await asyncio.shield(self._started)

    async def _run(self, started: asyncio.Future[_Live]) -> None:
        loop = asyncio.get_running_loop()
        wait = self._not_before - loop.time()
        if wait > 1.0:
            detail = f"`{self._name}` keeps ending; it will be started again in {wait:.0f} seconds"
            self._over(started, UpstreamLost(detail, sent=False))
            return
        await asyncio.sleep(max(0.0, wait))
        begun = loop.time()
        try:
            await self._live_once(started)
        except (Exception, asyncio.CancelledError) as cause:
            if not self._stop.is_set():
                logger.warning("MCP server %s failed: %r", self._name, cause)
            failure: Exception = UpstreamLost(f"`{self._name}` could not be started", sent=False)
            for refused in _refusals(cause):
                failure = refused
            self._over(started, failure, loop.time() - begun)
            if isinstance(cause, asyncio.CancelledError):
                raise
        else:
            self._over(
                started, UpstreamLost(f"`{self._name}` ended", sent=False), loop.time() - begun
            )

    async def _live_once(self, started: asyncio.Future[_Live]) -> None:
        gone = asyncio.Event()
        with self._errlog() as errlog:
            client = Client(
                _watched(self._parameters(), errlog, gone),
                client_info=Implementation(name="actfor", version=actfor.__version__),
                cache=None,
                message_handler=self._on_message,
            )
            async with asyncio.timeout(self._limits.start_seconds) as starting, client:
                live = _Live(client, gone, {})
                await self._list(live)
                starting.reschedule(None)
                self._live = live
                started.set_result(live)
                await _first(gone, self._stop)

    async def _list(self, live: _Live) -> None:
        async with self._listing:
            tools: list[JsonValue] = []
            seen: set[str] = set()
            cursor: str | None = None
            while True:
                params = PaginatedRequestParams(cursor=cursor) if cursor else None
                page = await self._ask(
                    live, ListToolsRequest(params=params), self._limits.start_seconds
                )
                tools.extend(tools_of(page))
                if (cursor := next_cursor(page, seen)) is None:
                    break
            # Calls that compare with the new listing wait until the catalogue knows it as well.
            listed = read_listing(tools)
            await self._on_listed(self._name, listed)
            live.listed = listed

    async def _on_message(self, message: object) -> None:
        """What a server says on its own: only "my tools changed" is heard."""
        live = self._live
        if live is not None and isinstance(message, ToolListChangedNotification):
            task = asyncio.create_task(self._relisted(live))
            self._relist.add(task)
            task.add_done_callback(self._relist.discard)

    async def _relisted(self, live: _Live) -> None:
        try:
            await self._list(live)
        except (UpstreamError, UpstreamLost, Refused) as cause:
            # What it lists is unknown, so nothing of it is called until it can be listed again.
            live.listed = {}
            logger.warning("MCP server %s could not be listed again: %s", self._name, cause)

    def _over(
        self, started: asyncio.Future[_Live], failure: Exception, lived: float | None = None
    ) -> None:
        """The process is gone: remember when it may be started again, answer who waits."""
        self._live, self._started = None, None
        if lived is not None:
            longer = min(max(_FIRST_PAUSE, self._pause * 2), _LONGEST_PAUSE)
            self._pause = 0.0 if lived >= _STABLE_SECONDS else longer
            self._not_before = asyncio.get_running_loop().time() + self._pause
        if not started.done():
            started.set_exception(failure)

    def _parameters(self) -> StdioServerParameters:
        transport = self._transport
        secrets = {
            name: Path(path).read_text().strip() for name, path in transport.env_files.items()
        }
        return StdioServerParameters(
            command=transport.command,
            args=list(transport.args),
            env={**transport.env, **secrets},
            cwd=transport.cwd,
        )

    def _errlog(self) -> TextIO:
        if self._stderr is None:
            return Path(os.devnull).open("w")
        self._stderr.parent.mkdir(parents=True, exist_ok=True)
        return self._stderr.open("a")


class _Watched:
    """A read stream that says when it ended: the SDK keeps that to itself."""

    def __init__(
        self, stream: Any, gone: asyncio.Event
    ) -> None:  # Any: the SDK's stream protocol is private
        self._stream, self._gone = stream, gone

    async def receive(self) -> Any:
        try:
            return await self._stream.receive()
        except BaseException:
            self._gone.set()
            raise

    async def aclose(self) -> None:
        self._gone.set()
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except BaseException:
            self._gone.set()
            raise

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *cause: object) -> bool | None:
        self._gone.set()
        done: bool | None = await self._stream.__aexit__(*cause)
        return done


@asynccontextmanager
async def _watched(
    parameters: StdioServerParameters, errlog: TextIO, gone: asyncio.Event
) -> AsyncIterator[Any]:  # Any: as `_Watched`
    async with stdio_client(parameters, errlog) as (read, write):
        yield _Watched(read, gone), write


async def _first(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _refusals(cause: BaseException) -> list[Refused]:
    if isinstance(cause, Refused):
        return [cause]
    if isinstance(cause, BaseExceptionGroup):
        return [found for inner in cause.exceptions for found in _refusals(inner)]
    return []
