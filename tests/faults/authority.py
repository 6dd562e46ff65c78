"""Everything that authority can be taken from, and how R7 takes it.

`TAKEN` answers for every kind that the log can name as revoked (`Revocable`): a test fails where a
new kind has no way to be taken under load, and no reason why not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from sqlalchemy import bindparam, update
from tests.conftest import Clock
from tests.fakes.delegation_world import Holder
from tests.faults.arranged import world_of
from tests.faults.node import START, Node, Parts, Setting, permitted, prepare

from actfor.audit import Revocable
from actfor.delegation.model import Delegation
from actfor.delegation.repository.tables import issued
from actfor.gateway import repository as gateway_rows
from actfor.gateway.catalog import Catalog
from actfor.gateway.model import Definition, Http, Server, Tool, read_listing
from actfor.identity import Person
from actfor.identity.model import PersonState
from actfor.keys import KeyService, Purpose, Schedule, Vault
from actfor.server.keyring import recorder
from actfor.store import Database, Tx, new_id
from actfor.wire.canonical import JsonObject

WAYS = ("agent", "person", "mandate", "grant", "subtree", "tool", "key", "endorsement")

TAKEN: Mapping[Revocable, tuple[str, ...] | str] = {
    Revocable.AGENT: ("agent",),
    Revocable.PERSON: ("person",),
    Revocable.MANDATE: ("mandate",),
    Revocable.GRANT: ("grant", "subtree"),
    Revocable.TOOL: ("tool",),
    Revocable.KEY: ("key",),
    Revocable.ENDORSEMENT: ("endorsement",),
    Revocable.APPROVAL: "used once: R6 races for it; taken back with its agent or mandate, or by who asked (R6)",
    Revocable.EVERYTHING: "by a recovery, of a database that nobody serves (R15)",
}


PLAIN = Parts()
SERVER, AS_PINNED = "tools", "does nothing"


@dataclass(frozen=True)
class Relied:
    """What a delegation's calls rest on besides the delegation."""

    tool: Tool | None = None
    endorsement: str | None = None
    root: str | None = None  # the grant that its own was made from

    def epochs(self) -> dict[str, dict[str, int]]:
        told: dict[str, dict[str, int]] = {}
        if self.tool is not None:
            told["tool"] = {f"{self.tool.server}/{self.tool.name}": self.tool.epoch}
        if self.endorsement is not None:
            told["endorsement"] = {self.endorsement: 0}
        if self.root is not None:
            told["grant"] = {self.root: 0}
        return told


@dataclass(frozen=True)
class Stage:
    """A database in which each delegation is to be ended in one of `WAYS`, in turn."""

    setting: Setting
    relied: Mapping[str, Relied]


def way(n: int) -> str:
    """How the n-th delegation is ended."""
    return WAYS[n % len(WAYS)]


class Ruler(Node):
    """A node that looks, in the transaction, at all that `gateway.enforce` looks at."""

    stage: Stage
    in_unit = True

    @classmethod
    def at(cls, stage: Stage, parts: Parts = PLAIN) -> Self:
        given, clock = stage.setting, Clock(START)
        database = Database.open(given.url, clock=clock.now)
        node = cls(database, given.signer, given.svid_key, given.token_key, clock, parts)
        node.stage = stage
        node.catalog = Catalog(node.database, node.audit, node.clock.now)
        node.listing = {
            relied.tool.name: _definition(AS_PINNED)
            for relied in stage.relied.values()
            if relied.tool is not None
        }
        node.keys = make_keys(node)
        node.delegation._check_key = node.keys.check
        return node

    catalog: Catalog
    keys: KeyService
    listing: dict[str, Definition]

    def permit(
        self, tx: Tx, delegation: Delegation, number: int, once: str, approval: str | None = None
    ) -> int:
        self.delegation.consume(tx, delegation, proof=once)
        if self.in_unit:
            self.rely(tx, delegation)
        event = permitted(delegation, number)
        epochs: Any = dict(event.facts["epochs"])  # type: ignore[arg-type] # an object
        for kind, ids in self.relied(delegation).epochs().items():
            epochs[kind] = {**epochs.get(kind, {}), **ids}
        return self.audit.append(tx, replace(event, facts={**event.facts, "epochs": epochs}))

    def rely(self, tx: Tx, delegation: Delegation) -> None:
        relied = self.relied(delegation)
        if relied.tool is not None:
            self.catalog.check_pinned(tx, relied.tool)
        if relied.endorsement is not None:
            self.delegation.check_endorsed(tx, [relied.endorsement])

    def relied(self, delegation: Delegation) -> Relied:
        return self.stage.relied.get(delegation.grant_id, Relied())

    async def take(self, n: int) -> None:
        """End the n-th delegation in its way; it is over when this returns."""
        delegation = self.stage.setting.delegations[n]
        person, relied = self.stage.setting.person, self.relied(delegation)
        mandate = delegation.mandate.id
        match way(n):
            case "agent":
                await self.agents.quarantine(person, delegation.agent_name, "rig")
            case "person":
                await self.people.change(person, delegation.person_id, state=PersonState.DISABLED)
            case "mandate":
                await self.delegation.revoke_mandate(person, mandate, "rig")
            case "grant":
                await self.delegation.revoke_grant(person, mandate, delegation.grant_id, "rig")
            case "subtree":
                assert relied.root is not None
                await self.delegation.revoke_grant(person, mandate, relied.root, "rig")
            case "tool":
                assert relied.tool is not None
                await self._change_tool(relied.tool.name)
            case "key":
                await self.keys.revoke(
                    Purpose.ACCESS_TOKEN, by=person.id, cause="stolen", kid=delegation.kid
                )
            case _:
                assert relied.endorsement is not None
                await self.delegation.withdraw_endorsement(person, mandate, relied.endorsement)

    async def _change_tool(self, name: str) -> None:
        """Its server lists another definition: what was approved is not what it does."""
        self.listing[name] = _definition("does something else")
        await self.catalog._listed(SERVER, dict(self.listing))

    async def begin(self) -> None:
        """Before anything: whose steps the log is told of."""
        await self.keys.open()
        await self.keys.start(recorder(self.audit))
        await self.catalog.follow("")

    async def close(self) -> None:
        await self.catalog.close()
        await super().close()


def make_keys(node: Node) -> KeyService:
    return KeyService(node.database, Vault(), node.clock.now)


def _definition(says: str) -> Definition:
    listed: JsonObject = {"name": "t", "description": says, "inputSchema": {"type": "object"}}
    return read_listing([listed])["t"]


# -- the database, made by a node that is closed before anybody races ----------------------------


async def stage(url: str, folder: Path, rounds: int) -> Stage:
    """``rounds`` delegations for each of `WAYS`. They share an agent, but for those who lose it."""
    setting = await prepare(url, folder)
    *dying, living = await _keys(setting, rounds)
    assert len(dying) == rounds
    node = Node.open(setting, Clock(START))
    try:
        made = await Making(node, setting, folder).all(rounds)
    finally:
        await node.close()
    delegations = [
        replace(one, kid=dying[n // len(WAYS)] if way(n) == "key" else living)
        for n, (one, _) in enumerate(made)
    ]
    relied = {one.grant_id: on for one, on in made}
    return Stage(replace(setting, delegations=tuple(delegations)), relied)


class Making:
    """What each delegation needs, for many at once: they wait for the same commits."""

    def __init__(self, node: Node, setting: Setting, folder: Path) -> None:
        self._node, self._setting = node, setting
        self._world = replace(world_of(node, setting), folder=folder)
        self._holder: Holder | None = None

    async def all(self, rounds: int) -> list[tuple[Delegation, Relied]]:
        self._holder = await self._world.attest(self._setting.delegations[0].agent_name)
        await self._node.database.write(self._add_server)
        made = []
        for turn in range(rounds):
            numbers = range(turn * len(WAYS), (turn + 1) * len(WAYS))
            made += await asyncio.gather(*(self._one(n) for n in numbers))
        return made

    async def _one(self, n: int) -> tuple[Delegation, Relied]:
        match way(n):
            case "agent":
                return await self._issued(await self._world.agent(f"lost-{n}")), Relied()
            case "person":
                bob, _ = await self._world.house.invite(self._setting.person, f"Bob{n}", "member")
                return await self._issued(by=bob), Relied()
            case "subtree":
                return await self._below(await self._issued())
            case "tool":
                return await self._issued(), Relied(tool=await self._pinned(f"t{n}"))
            case "endorsement":
                delegation = await self._issued()
                return delegation, Relied(endorsement=await self._endorsed(delegation))
            case _:
                return await self._issued(), Relied()

    async def _issued(self, holder: Holder | None = None, by: Person | None = None) -> Delegation:
        """A token for a mandate of its own."""
        holder, person = holder or self._holder, by or self._setting.person
        assert holder is not None
        grant = {"server": "crm", "tools": ["read_query"], "effects": ["read"]}
        draft = self._world.draft(holder.agent.name, grants=[grant], budget={"calls": 1_000_000})
        mandate = await self._node.delegation.commit_mandate(person, draft)
        subject = await self._node.delegation.subject_token(person, mandate.id)
        issued_ = await self._world.exchange(holder, subject)
        return (await self._world.authenticate(holder, issued_.access_token)).delegation

    async def _below(self, root: Delegation) -> tuple[Delegation, Relied]:
        """A token of a sub-agent: its grant hangs below another one."""
        assert self._holder is not None
        made = await self._world.exchange(self._holder, await self._world.subject(root.mandate))
        child = (await self._world.authenticate(self._holder, made.access_token)).delegation
        ids = {"child": child.grant_id, "root": root.grant_id}
        await self._node.database.write(lambda tx: tx.changed(_HANG, **ids))
        child = replace(child, chain=(*child.chain, *child.chain))
        return child, Relied(root=root.grant_id)

    async def _endorsed(self, delegation: Delegation) -> str:
        mandate = delegation.mandate.id
        await self._node.database.write(
            lambda tx: self._node.delegation.endorse(
                tx, mandate_id=mandate, tool="crm/read_query", slots=[("/query", "x")],
                by=self._setting.person.id, approval_id=new_id("apr"),
            )
        )  # fmt: skip
        (known,) = await self._node.delegation.endorsements(mandate)
        return known.id

    def _add_server(self, tx: Tx) -> None:
        transport = Http("http://127.0.0.1:9/mcp")
        gateway_rows.add_server(tx, Server(SERVER, transport, self._setting.person.id, tx.now))

    async def _pinned(self, name: str) -> Tool:
        seen = replace(Tool.first_seen(SERVER, _definition(AS_PINNED)), name=name)
        tool = seen.approve(seen.listed_digest, self._setting.person.id, self._node.clock.now())
        await self._node.database.write(lambda tx: gateway_rows.put_tool(tx, tool))
        return tool


_HANG = update(issued).where(issued.c.id == bindparam("child")).values(parent=bindparam("root"))


async def _keys(setting: Setting, dying: int) -> list[str]:
    """So many keys that are to die, all of them alive, and the one after them."""
    node = Node.open(setting, Clock(START))
    quick = Schedule(timedelta(seconds=10), timedelta(seconds=5), timedelta(hours=1))
    schedules = dict.fromkeys(Purpose, quick)
    keys = KeyService(node.database, Vault(), node.clock.now, schedules=schedules)
    try:
        await keys.open()
        await keys.start(recorder(node.audit))
        for _ in range(2 * dying + 2):
            node.clock.advance(5)
            await keys.advance()
        known = sorted(keys.held(Purpose.ACCESS_TOKEN), key=lambda held: held.key.since)
    finally:
        await node.close()
    return [held.key.kid for held in known[: dying + 1]]
