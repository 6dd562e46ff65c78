"""What operators say about servers: which are governed, which tools are approved, what they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from actfor.audit import EventType
from actfor.errors import Kind, Refused
from actfor.gateway import repository
from actfor.gateway.effects import Overlay
from actfor.gateway.model import Definition, Server, Tool, changes, check_server_name
from actfor.gateway.shelf import Shelf, take_listing, with_all
from actfor.gateway.targets import Transport
from actfor.gateway.upstream import loaded
from actfor.identity import Person, Role
from actfor.store import Tx, new_id
from actfor.wire.canonical import JsonValue


class Catalog(Shelf):
    """`Shelf` and the use cases of administrators."""

    async def preview(self, person: Person, name: str, transport: Transport) -> Server:
        """What a server lists, without keeping anything: for an operator to look at.

        A stdio server is started for it. Raises as `add_server` does.
        """
        person.require(Role.ADMIN)
        await loaded()
        server = Server(check_server_name(name), transport, person.id, self._clock())
        upstream = self._connect(server, _forget)
        try:
            listing = await take_listing(upstream)
        finally:
            await upstream.close()
        return with_all(server, changes(server, listing))

    async def add_server(
        self,
        person: Person,
        name: str,
        transport: Transport,
        *,
        approve: Mapping[str, str] | None = None,
        approve_listed: bool = False,
        overlays: Mapping[str, Overlay] | None = None,
    ) -> Server:
        """Govern a server. ``approve`` maps tools to the digests that `preview` showed.

        With ``approve_listed`` the operator approves all it lists now, unseen; that is for servers
        whose code they know. What a tool does is never taken from the server: see ``overlays``.

        1. Only an administrator: a stdio server is a program run on this machine. 2. Connect, list.
        3. What is approved must be what is listed. 4. Write, with its leaves. 5. Serve it.

        Raises:
            Refused: DENIED, MALFORMED, CONFLICT (the name is taken, a digest is not the listed
                one), NOT_FOUND (an approved tool is not listed), BUSY (it cannot be reached).
        """
        person.require(Role.ADMIN)
        await loaded()
        server = Server(check_server_name(name), transport, person.id, self._clock())
        if name in self._snapshot:
            raise Refused(Kind.CONFLICT, f"there is a server `{name}` already")
        upstream = self._connect(server, self._listed)
        self._adding.add(name)
        try:
            tools = changes(server, await take_listing(upstream))
            if approve_listed:
                approve = {tool.name: tool.listed_digest for tool in tools} | dict(approve or {})
            server = with_all(server, self._prepared(tools, person, approve or {}, overlays or {}))
            await self._database.write(lambda tx: self._added(tx, person, server))
            self._swap(server, upstream)
        except BaseException:
            await upstream.close()
            raise
        finally:
            self._adding.discard(name)
        return server

    def _prepared(
        self,
        tools: list[Tool],
        person: Person,
        approve: Mapping[str, str],
        overlays: Mapping[str, Overlay],
    ) -> list[Tool]:
        names = {tool.name for tool in tools}
        for name in (*approve, *overlays):
            if name not in names:
                raise Refused(Kind.NOT_FOUND, f"the server lists no tool `{name[:128]}`")
        described = [
            replace(tool, overlay=overlays[tool.name]) if tool.name in overlays else tool
            for tool in tools
        ]
        return [
            tool.approve(approve[tool.name], person.id, self._clock())
            if tool.name in approve
            else tool
            for tool in described
        ]

    def _added(self, tx: Tx, person: Person, server: Server) -> None:
        if not repository.add_server(tx, server):
            raise Refused(Kind.CONFLICT, f"there is a server `{server.name}` already")
        trace = new_id("evt")
        self._log(
            tx,
            EventType.ADMIN,
            trace,
            {"action": "server-added", "server": server.name, "transport": server.transport.kind},
            {"person": person.id, "transport": server.transport.shown()},
        )
        for tool in server.tools.values():
            repository.put_tool(tx, tool)
            self._log_tool(tx, tool, trace, person)

    async def remove_server(self, person: Person, name: str) -> None:
        """Govern it no more: its audience, tools and process are gone. The log keeps the record."""
        person.require(Role.ADMIN)
        governed = self._known(name)

        def unit(tx: Tx) -> None:
            pinned = repository.tools_of(tx, name)
            if not repository.remove_server(tx, name):
                raise Refused(Kind.NOT_FOUND, f"there is no server `{name}`")
            facts: dict[str, JsonValue] = {"action": "server-removed", "server": name}
            trace = new_id("evt")
            self._log(tx, EventType.ADMIN, trace, facts, {"person": person.id})
            for tool in pinned:
                self._take_pin(tx, tool, trace)

        await self._database.write(unit)
        self._snapshot = MappingProxyType(
            {other: one for other, one in self._snapshot.items() if other != name}
        )
        await governed.upstream.close()

    async def approve_tool(self, person: Person, server: str, name: str, digest: str) -> Tool:
        """Pin the definition that the operator saw as ``digest``.

        Raises:
            Refused: DENIED, NOT_FOUND, CONFLICT if the server lists another definition by now.
        """
        person.require(Role.ADMIN)
        return await self._edit(
            person, server, name, lambda tool: tool.approve(digest, person.id, self._clock())
        )

    async def set_overlay(self, person: Person, server: str, name: str, overlay: Overlay) -> Tool:
        """Say what the tool does. Calls already waiting for a person are asked about again.

        Raises:
            Refused: DENIED, NOT_FOUND.
        """
        person.require(Role.ADMIN)
        return await self._edit(person, server, name, lambda tool: replace(tool, overlay=overlay))

    async def _edit(
        self, person: Person, server: str, name: str, change: Callable[[Tool], Tool]
    ) -> Tool:
        self.tool(server, name)

        def unit(tx: Tx) -> Tool:
            known = repository.tool(tx, server, name)
            if known is None:
                raise Refused(Kind.NOT_FOUND, f"`{server}` has no tool `{name}`")
            changed = change(known)
            repository.put_tool(tx, changed)
            self._log_tool(tx, changed, new_id("evt"), person)
            return changed

        tool = await self._database.write(unit)
        governed = self._known(server)
        self._swap(governed.server.with_tool(tool), governed.upstream)
        return tool


async def _forget(server: str, listing: Mapping[str, Definition]) -> None:
    """A preview's listing changes nothing."""
