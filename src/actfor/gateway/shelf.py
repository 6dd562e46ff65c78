"""The governed servers as the hot path sees them, and what they say of their own tools.

The snapshot is immutable; every change is written with its leaf in the log first, and swapped in
after it is durable. Whether a tool is still pinned is asked again in the transaction that records a
call (`check_pinned`): no permit follows the leaf that took its tool.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from actfor.audit import AuditLog, Event, EventType, Revocable
from actfor.errors import Kind, Refused
from actfor.gateway import repository
from actfor.gateway.model import Definition, Server, Tool, ToolState, changes
from actfor.gateway.upstream import (
    Limits,
    OnListed,
    Pool,
    Upstream,
    UpstreamError,
    UpstreamLost,
    connect,
    loaded,
)
from actfor.identity import Person
from actfor.store import Database, Tx, new_id
from actfor.wire.canonical import JsonValue, digest

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Governed:
    """One server as the hot path sees it: what was approved, and the way to it."""

    server: Server
    upstream: Upstream


class Shelf:
    """The one owner of the upstreams. Call `start` before use and `close` at the end.

    ``refresh_seconds`` is how often every server is asked whether its tools are still the same.
    """

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        clock: Callable[[], datetime],
        *,
        limits: Limits | None = None,
        logs: Path | None = None,
        refresh_seconds: float = 60.0,
    ) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._limits = limits
        self._logs = logs
        self._refresh_seconds = refresh_seconds
        self._pool = Pool()
        self._adding: set[str] = set()
        # Owned by the event loop; replaced as a whole, never changed.
        self._snapshot: Mapping[str, Governed] = MappingProxyType({})

    # -- the hot path -------------------------------------------------------------------------

    def governed(self, server: str) -> Governed | None:
        """The server of that name, if it is governed."""
        return self._snapshot.get(server)

    def servers(self) -> list[Server]:
        """All of them, by name."""
        return [governed.server for governed in self._snapshot.values()]

    def server(self, name: str) -> Server:
        """One of them.

        Raises:
            Refused: NOT_FOUND.
        """
        return self._known(name).server

    def tool(self, server: str, name: str) -> Tool:
        """One tool.

        Raises:
            Refused: NOT_FOUND.
        """
        found = self.server(server).tools.get(name)
        if found is None:
            raise Refused(Kind.NOT_FOUND, f"`{server}` has no tool `{name[:128]}`")
        return found

    def check_pinned(self, tx: Tx, tool: Tool) -> None:
        """The tool is approved now, as it was when the call was decided.

        Raises:
            Refused: DENIED if its definition, or what an operator says of it, changed meanwhile.
        """
        found = repository.pin(tx, tool.server, tool.name)
        if found != ("pinned", tool.pinned_digest, tool.overlay.text, tool.epoch):
            raise Refused(Kind.DENIED, f"`{tool.name}` changed while the call was decided")

    # -- what servers say ---------------------------------------------------------------------

    async def refresh(self, server: str) -> Server:
        """Ask the server for its tools; what changed is written down and denied from then on.

        Raises:
            Refused: NOT_FOUND, BUSY if it cannot be reached, MALFORMED if its list is not usable.
        """
        await take_listing(self._known(server).upstream)
        return self._known(server).server

    async def _listed(self, server: str, listing: Mapping[str, Definition]) -> None:
        """A connection took a listing: compare it with what is known before anything is called."""
        governed = self._snapshot.get(server)
        if governed is None or not changes(governed.server, listing):
            return

        def unit(tx: Tx) -> list[Tool]:
            stored = Server(
                server,
                governed.server.transport,
                governed.server.added_by,
                governed.server.added_at,
                {
                    name: tool
                    for name in {*governed.server.tools, *listing}
                    if (tool := repository.tool(tx, server, name)) is not None
                },
            )
            changed = changes(stored, listing)
            trace = new_id("evt")
            for tool in changed:
                repository.put_tool(tx, tool)
                self._log_tool(tx, tool, trace, None)
                if tool.state is ToolState.CHANGED:
                    self._take_pin(tx, stored.tools.get(tool.name), trace)
            return changed

        changed = await self._database.write(unit)
        now = self._snapshot.get(server)
        if now is not None:
            self._swap(with_all(now.server, changed), now.upstream)
        for tool in changed:
            logger.warning("MCP server %s: tool %s is %s", server, tool.name, tool.state)

    # -- what other nodes write ---------------------------------------------------------------

    async def follow(self, name: str = "") -> None:
        """See this server (all of them, for an empty name) as it is written down now."""
        stored = {
            one.name: one
            for one in await self._database.read(repository.servers)
            if name in {"", one.name}
        }
        if stored:
            await loaded()
        seen = dict(self._snapshot)
        left: list[Upstream] = []
        for known in list(seen.values()):
            new = stored.pop(known.server.name, None)
            if name not in {"", known.server.name} or new == known.server:
                continue
            if new is not None and new.transport == known.server.transport:
                seen[new.name] = Governed(new, known.upstream)
                continue
            left.append(known.upstream)
            del seen[known.server.name]
            if new is not None:
                stored[new.name] = new
        for new in stored.values():
            if new.name not in self._adding:  # being added here, with its connection
                seen[new.name] = Governed(new, self._connect(new, self._listed))
        self._snapshot = MappingProxyType(dict(sorted(seen.items())))
        await asyncio.gather(*(one.close() for one in left))

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read what is governed. Servers are connected when they are first needed."""
        stored = await self._database.read(repository.servers)
        if stored:
            await loaded()
        self._snapshot = MappingProxyType(
            {one.name: Governed(one, self._connect(one, self._listed)) for one in stored}
        )

    async def run(self) -> None:
        """Background loop: look at every server's tools again and again, until cancelled."""
        while True:
            await asyncio.gather(*(self._look(name) for name in self._snapshot))
            await asyncio.sleep(self._refresh_seconds)

    async def _look(self, name: str) -> None:
        try:
            await self.refresh(name)
        except Refused as refused:
            logger.warning("MCP server %s: %s", name, refused.detail)
        except Exception:  # a background loop's boundary: one server must not end it for all
            logger.exception("MCP server %s could not be looked at", name)

    async def close(self) -> None:
        """End all connections and processes."""
        governed, self._snapshot = self._snapshot, MappingProxyType({})
        await asyncio.gather(*(one.upstream.close() for one in governed.values()))
        await self._pool.close()

    def _connect(self, server: Server, on_listed: OnListed) -> Upstream:
        return connect(
            server.name,
            server.transport,
            on_listed=on_listed,
            pool=self._pool,
            limits=self._limits,
            logs=self._logs,
        )

    def _known(self, name: str) -> Governed:
        governed = self._snapshot.get(name)
        if governed is None:
            raise Refused(Kind.NOT_FOUND, f"there is no server `{name[:64]}`")
        return governed

    def _swap(self, server: Server, upstream: Upstream) -> None:
        changed = {**self._snapshot, server.name: Governed(server, upstream)}
        self._snapshot = MappingProxyType(dict(sorted(changed.items())))

    def _log_tool(self, tx: Tx, tool: Tool, trace: str, person: Person | None) -> None:
        self._log(
            tx,
            EventType.TOOL,
            trace,
            {
                "server": tool.server,
                "tool": tool.name,
                "state": tool.state.value,
                "listed_digest": tool.listed_digest,
                "pinned_digest": tool.pinned_digest,
                "overlay_digest": digest(tool.overlay.to_json()),
            },
            {"person": person.id} if person is not None else {},
        )

    def _take_pin(self, tx: Tx, tool: Tool | None, trace: str) -> None:
        """The approval of this definition is over; only another one lets the tool be called."""
        if tool is None or tool.approved_at is None or tool.state is ToolState.CHANGED:
            return
        event = Event.revoked(
            Revocable.TOOL,
            f"{tool.server}/{tool.name}",
            tool.epoch + 1,
            trace=trace,
            facts={"action": "pin-taken", "server": tool.server, "tool": tool.name},
        )
        self._audit.append(tx, event)

    def _log(
        self,
        tx: Tx,
        kind: EventType,
        trace: str,
        facts: dict[str, JsonValue],
        private: dict[str, JsonValue],
    ) -> None:
        self._audit.append(tx, Event(kind, trace, facts, private))


def with_all(server: Server, tools: list[Tool]) -> Server:
    """The server with these tools in place of their former selves."""
    return replace(server, tools={**server.tools, **{tool.name: tool for tool in tools}})


async def take_listing(upstream: Upstream) -> Mapping[str, Definition]:
    """A fresh listing; what goes wrong becomes a refusal."""
    try:
        return await upstream.refresh()
    except UpstreamLost as lost:
        raise Refused(Kind.BUSY, lost.detail) from lost
    except UpstreamError as error:
        raise Refused(Kind.BUSY, f"the server refused: {error.message[:200]}") from error
