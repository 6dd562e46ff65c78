"""Everything that authority can be taken from, and how R7 takes it.

`TAKEN` answers for every kind that the log can name as revoked (`Revocable`): a test fails where a
new kind has no way to be taken under load, and no reason why not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from sqlalchemy import bindparam, update
from tests.conftest import Clock
from tests.faults.arranged import world_of
from tests.faults.node import START, Node, Parts, Setting, permitted, prepare

from actfor.audit import Revocable
from actfor.delegation.model import Delegation
from actfor.delegation.repository.tables import issued
from actfor.gateway import repository as gateway_rows
from actfor.gateway.catalog import Catalog
from actfor.gateway.model import Definition, Http, Server, Tool, read_listing
from actfor.identity.model import PersonState
from actfor.keys import KeyService, Purpose, Vault
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
    Revocable.APPROVAL: "used once: R6 races for it; taken back with its agent or mandate",
    Revocable.EVERYTHING: "by a recovery, of a database that nobody serves (R15)",
}


PLAIN = Parts()


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
    """A database in which the n-th delegation is to be ended in the n-th of `WAYS`."""

    setting: Setting
    other: str  # the person whose mandate is that of "person"
    kid: str  # the key that is to die
    relied: Mapping[str, Relied]


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
        node.keys = make_keys(node)
        node.delegation._check_key = node.keys.check
        return node

    catalog: Catalog
    keys: KeyService

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
        stage, delegation = self.stage, self.stage.setting.delegations[n]
        person, relied = stage.setting.person, self.relied(self.stage.setting.delegations[n])
        mandate = delegation.mandate.id
        match WAYS[n]:
            case "agent":
                await self.agents.quarantine(person, delegation.agent_name, "rig")
            case "person":
                await self.people.change(person, stage.other, state=PersonState.DISABLED)
            case "mandate":
                await self.delegation.revoke_mandate(person, mandate, "rig")
            case "grant":
                await self.delegation.revoke_grant(person, mandate, delegation.grant_id, "rig")
            case "subtree":
                assert relied.root is not None
                await self.delegation.revoke_grant(person, mandate, relied.root, "rig")
            case "tool":
                await self._change_tool()
            case "key":
                await self.keys.revoke(
                    Purpose.ACCESS_TOKEN, by=person.id, cause="stolen", kid=stage.kid
                )
            case _:
                assert relied.endorsement is not None
                await self.delegation.withdraw_endorsement(person, mandate, relied.endorsement)

    async def _change_tool(self) -> None:
        """Its server lists another definition: what was approved is not what it does."""
        await self.catalog.follow("")
        await self.catalog._listed("tools", {"t": _definition("does something else")})

    async def begin(self) -> None:
        """Before anything: whose steps the log is told of."""
        await self.keys.open()
        await self.keys.start(recorder(self.audit))

    async def close(self) -> None:
        await self.catalog.close()
        await super().close()


def make_keys(node: Node) -> KeyService:
    return KeyService(node.database, Vault(), node.clock.now)


def _definition(says: str) -> Definition:
    listed: JsonObject = {"name": "t", "description": says, "inputSchema": {"type": "object"}}
    return read_listing([listed])["t"]


async def stage(url: str, folder: Path) -> Stage:
    """The database, made by a node that is closed before anybody races."""
    setting = await prepare(url, folder, agents=len(WAYS))
    node = Node.open(setting, Clock(START))
    try:
        other = await _of_another_person(node, setting)
        below, root = await _below(node, setting, setting.delegations[WAYS.index("subtree")])
        endorsed = await _endorsed(node, setting, WAYS.index("endorsement"))
        tool = await _pinned(node, setting)
        dying, living = await _two_keys(node)
    finally:
        await node.close()
    delegations = list(setting.delegations)
    delegations[WAYS.index("person")] = other
    delegations[WAYS.index("subtree")] = below
    delegations = [
        replace(one, kid=dying if WAYS[n] == "key" else living) for n, one in enumerate(delegations)
    ]
    relied = {
        below.grant_id: Relied(root=root),
        delegations[WAYS.index("tool")].grant_id: Relied(tool=tool),
        delegations[WAYS.index("endorsement")].grant_id: Relied(endorsement=endorsed),
    }
    setting = replace(setting, delegations=tuple(delegations))
    return Stage(setting, other.person_id, dying, relied)


async def _of_another_person(node: Node, setting: Setting) -> Delegation:
    world = world_of(node, setting)
    name = setting.delegations[WAYS.index("person")].agent_name
    bob, _ = await world.house.invite(setting.person, "Bob", "member")
    mandate = await node.delegation.commit_mandate(bob, _draft(node, setting, name))
    holder = await world.attest(name)
    issued_ = await world.exchange(holder, await node.delegation.subject_token(bob, mandate.id))
    return (await world.authenticate(holder, issued_.access_token)).delegation


async def _below(node: Node, setting: Setting, root: Delegation) -> tuple[Delegation, str]:
    """A token of a sub-agent: its grant hangs below another one."""
    world = world_of(node, setting)
    holder = await world.attest(root.agent_name)
    made = await world.exchange(holder, await world.subject(root.mandate))
    child = (await world.authenticate(holder, made.access_token)).delegation
    hang = update(issued).where(issued.c.id == bindparam("child")).values(parent=bindparam("root"))
    await node.database.write(lambda tx: tx.changed(hang, child=child.grant_id, root=root.grant_id))
    return replace(child, chain=(*child.chain, *child.chain)), root.grant_id


def _draft(node: Node, setting: Setting, name: str) -> Any:
    grant = {"server": "crm", "tools": ["read_query"], "effects": ["read"]}
    return world_of(node, setting).draft(name, grants=[grant], budget={"calls": 1_000_000})


async def _endorsed(node: Node, setting: Setting, n: int) -> str:
    mandate = setting.delegations[n].mandate.id
    await node.database.write(
        lambda tx: node.delegation.endorse(
            tx, mandate_id=mandate, tool="crm/read_query", slots=[("/query", "x")],
            by=setting.person.id, approval_id=new_id("apr"),
        )
    )  # fmt: skip
    (known,) = await node.delegation.endorsements(mandate)
    return known.id


async def _pinned(node: Node, setting: Setting) -> Tool:
    seen = Tool.first_seen("tools", _definition("does nothing"))
    tool = seen.approve(seen.listed_digest, setting.person.id, node.clock.now())

    def unit(tx: Tx) -> None:
        server = Server("tools", Http("http://127.0.0.1:9/mcp"), setting.person.id, tx.now)
        gateway_rows.add_server(tx, server)
        gateway_rows.put_tool(tx, tool)

    await node.database.write(unit)
    return tool


async def _two_keys(node: Node) -> tuple[str, str]:
    """The key that signs, and its successor, which is published already."""
    keys = make_keys(node)
    await keys.open()
    await keys.start(recorder(node.audit))
    await keys.rotate(Purpose.ACCESS_TOKEN, by="usr_rig")
    dying, living, *_ = (held.key.kid for held in keys.held(Purpose.ACCESS_TOKEN))
    return dying, living
