"""Agents: registered, taken out of service, brought back, retired.

Reference values are measured by this server from the paths that the owner names, so that
nobody has to trust a digest that somebody typed; a given digest is taken as given.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from actfor.audit import AuditLog, Event, EventType, Revocable
from actfor.errors import Kind, Refused
from actfor.identity.measure import Measurer, resolve
from actfor.identity.model import (
    Agent,
    AgentDraft,
    AgentState,
    Person,
    Reference,
    ReferenceDraft,
    Role,
    Tree,
    Wanted,
    parse_name,
)
from actfor.identity.repository import agents as rows
from actfor.identity.repository import people as people_rows
from actfor.store import Ask, Database, Tx
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.spiffe import SpiffeId

Hook = Callable[[Tx, Agent], None]


class Registry:
    """The registered agents and their states.

    ``on_invalidated`` hooks run in the transaction that takes an agent out of service, whether by
    measurement, quarantine or retirement; ``after_invalidated`` once that is durable.
    """

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        trust_domain: str,
        clock: Callable[[], datetime],
    ) -> None:
        self.database = database
        self.audit = audit
        self.trust_domain = SpiffeId.parse(f"spiffe://{trust_domain}").trust_domain
        self._now = clock
        self.on_invalidated: list[Hook] = []
        self.after_invalidated: list[Callable[[Agent], None]] = []

    async def register(self, owner: Person, draft: AgentDraft) -> Agent:
        """Register an agent that ``owner`` answers for.

        Raises:
            Refused: MALFORMED (name, purpose, nothing to measure), CONFLICT (the name was ever
                used, or looks like one that was), DENIED (the owner's account is disabled).
        """
        # 1. Check what was asked before touching a file.
        agent_id = SpiffeId.for_agent(self.trust_domain, parse_name(draft.name))
        # 2. Measure, outside the transaction: it may take seconds.
        reference, tree = await asyncio.to_thread(_measure_draft, draft.reference)
        agent = Agent.register(
            draft, owner=owner.id, agent_id=agent_id, reference=reference, now=self._now()
        )

        # 3. Record; the name is taken by a constraint, not by looking first.
        def unit(tx: Tx) -> None:
            _require_active(tx, owner)
            if not rows.add_agent(tx, agent):
                raise Refused(
                    Kind.CONFLICT,
                    f"agent name `{agent.name}` was registered before, or looks like one that was",
                )
            rows.keep_tree(tx, agent.name, tree)
            self._log(tx, agent, "registered", by=owner.id, tier=agent.tier.value)

        await self.database.write(unit)
        return agent

    async def show(self, name: str) -> Agent:
        """The agent with this name.

        Raises:
            Refused: NOT_FOUND.
        """
        return await self.database.read(lambda tx: _load(tx, name))

    async def list(self) -> Sequence[Agent]:
        """Every agent, by name, retired ones included."""
        return await self.database.read(rows.agents)

    async def update_reference(self, admin: Person, name: str, draft: ReferenceDraft) -> Agent:
        """Accept new reference values: a new manifest; what was issued before no longer counts."""
        admin.require(Role.ADMIN)
        reference, tree = await asyncio.to_thread(_measure_draft, draft)

        def change(tx: Tx, agent: Agent) -> Agent:
            rows.keep_tree(tx, name, tree)
            return agent.with_reference(reference)

        return await self._leave(admin, name, "reference-updated", change)

    async def quarantine(self, by: Person, name: str, reason: str) -> Agent:
        """Take the agent out of service at once; its owner or an admin may."""
        return await self._leave(
            by, name, "quarantined", lambda tx, agent: agent.quarantine(reason), owner_may=True
        )

    async def retire(self, by: Person, name: str, reason: str) -> Agent:
        """Take the agent out of service for good; its name is never given out again."""
        return await self._leave(
            by, name, "retired", lambda tx, agent: agent.retire(reason), owner_may=True
        )

    async def reinstate(self, admin: Person, name: str, reason: str = "") -> Agent:
        """Trust the same reference values again, after a person looked at the cause."""
        admin.require(Role.ADMIN)
        return await self._leave(
            admin, name, "reinstated", lambda tx, agent: agent.reinstate(), reason=reason
        )

    async def invalidate(self, agent: Agent, cause: str) -> Agent:
        """What runs is not what was registered; nothing happens if the agent changed meanwhile."""

        def unit(tx: Tx) -> Agent:
            current = _load(tx, agent.name)
            if (current.epoch, current.state) != (agent.epoch, agent.state):
                return current
            return self._replace(tx, current, current.invalidate(cause), "invalidated", None)

        return await self.database.write(unit)

    async def follow(self, agent_id: str) -> None:
        """Another node changed this agent: tell who is connected here if it may not act any more.

        An empty id means that any agent may have changed.
        """
        for agent in await self.database.read(rows.agents):
            if agent_id in {"", str(agent.id)} and agent.state is not AgentState.ACTIVE:
                self._notify(agent)

    def take_back_all(self, tx: Tx, by: int, cause: str) -> int:
        """Quarantine every agent that is not retired; epochs rise ``by`` so much. How many.

        For a database that is an older copy of itself; see ``PeopleService.take_back_all``.
        """
        all_ = [agent for agent in rows.agents(tx) if agent.state is not AgentState.RETIRED]
        for old in all_:
            new = replace(
                old, state=AgentState.QUARANTINED, cause=old.cause or cause, epoch=old.epoch + by
            )
            self._replace(tx, old, new, "recovered", None)
        return len(all_)

    def check_live(self, tx: Tx, name: str, epoch: int) -> None:
        """Refuse unless the agent may act now and nothing was taken from it since ``epoch``.

        For the transaction that records a decision: no permit can follow an invalidation.

        Raises:
            Refused: DENIED with the cause, NOT_FOUND.
        """
        found = rows.standing(tx, name)
        if found is None:
            raise Refused(Kind.NOT_FOUND, f"there is no agent `{name}`")
        state, current, cause = found
        if state != AgentState.ACTIVE.value:
            raise Refused(
                Kind.DENIED, f"agent `{name}` is {state}" + (f": {cause}" if cause else "")
            )
        if current != epoch:
            raise Refused(Kind.DENIED, f"agent `{name}` was invalidated since the token was issued")

    @staticmethod
    def asked(name: str) -> Ask:
        """What ``check_live`` will ask, for ``Database.write``."""
        return rows.standing_asked(name)

    async def _leave(
        self,
        by: Person,
        name: str,
        action: str,
        change: Callable[[Tx, Agent], Agent],
        *,
        owner_may: bool = False,
        reason: str | None = None,
    ) -> Agent:
        def unit(tx: Tx) -> Agent:
            current = _load(tx, name)
            if not (owner_may and current.owner == by.id):
                by.require(Role.ADMIN)
            _require_active(tx, by)
            return self._replace(tx, current, change(tx, current), action, by.id, reason)

        return await self.database.write(unit)

    def _replace(
        self,
        tx: Tx,
        old: Agent,
        new: Agent,
        action: str,
        by: str | None,
        reason: str | None = None,
    ) -> Agent:
        """Every way out of service: state, instances, hooks and record in one transaction."""
        if not rows.swap_agent(tx, old, new):
            raise Refused(Kind.CONFLICT, f"agent `{old.name}` was changed meanwhile")
        rows.end_instances_of(tx, new.name, new.cause or action)
        for hook in self.on_invalidated:
            hook(tx, new)
        # Every change of epoch: what was issued under an earlier one is dead from here on.
        self.audit.append(
            tx,
            Event.revoked(
                Revocable.AGENT,
                str(new.id),
                new.epoch,
                trace=str(new.id),
                facts={"action": f"agent-{action}", "agent": str(new.id)},
            ),
        )
        self._log(tx, new, action, by=by, reason=reason or None)
        tx.on_commit(lambda: self._notify(new))
        return new

    def _notify(self, agent: Agent) -> None:
        for callback in self.after_invalidated:
            callback(agent)

    def _log(
        self,
        tx: Tx,
        agent: Agent,
        action: str,
        *,
        by: str | None,
        reason: str | None = None,
        **more: JsonValue,
    ) -> None:
        """Who did it and their words are theirs; a cause may name files in somebody's folder."""
        facts: dict[str, JsonValue] = {
            "action": action,
            "agent": str(agent.id),
            "agent_epoch": agent.epoch,
            "state": agent.state.value,
            "manifest": agent.manifest_digest,
            **more,
        }
        said: dict[str, JsonValue] = {"person": by, "reason": reason, "cause": agent.cause}
        known = {name: value for name, value in said.items() if value is not None}
        self.audit.append(tx, Event(EventType.AGENT, str(agent.id), facts, known))


def attest_event(agent: Agent, facts: JsonObject) -> Event:
    """A record about this agent's credentials."""
    full = {"agent": str(agent.id), "manifest": agent.manifest_digest, **facts}
    cause = full.pop("cause", None)  # may name files in somebody's folder
    private = {} if cause is None else {"cause": cause}
    return Event(EventType.ATTEST, str(agent.id), full, private)


def _load(tx: Tx, name: str) -> Agent:
    agent = rows.agent_by_name(tx, name)
    if agent is None:
        raise Refused(Kind.NOT_FOUND, f"there is no agent {name[:80]!a}")
    return agent


def _require_active(tx: Tx, person: Person) -> None:
    state = people_rows.person_state(tx, person.id)
    if state is None:
        raise Refused(Kind.DENIED, "the person's account is unknown")
    replace(person, state=state).require_active()


def _measure_draft(draft: ReferenceDraft) -> tuple[Reference, Tree | None]:
    """Reference values and, where the code was measured here, the listing behind its digest."""
    code, executable = _located(draft.code), _located(draft.executable)
    prompt = _located(draft.prompt) if draft.prompt else None
    tools = _located(draft.tools) if draft.tools else None
    measurer = Measurer()
    tree = None
    if code.digest is None and code.path is not None:
        tree = measurer.tree(code.path)
    reference = Reference(
        code=code.component(tree.digest if tree else None),
        executable=executable.component(_measured(measurer, executable)),
        model=draft.model,
        image=draft.image,
        prompt=prompt.component(_measured(measurer, prompt)) if prompt else None,
        tools=tools.component(_measured(measurer, tools)) if tools else None,
    )
    return reference, tree


def _located(wanted: Wanted) -> Wanted:
    """Links followed, so that the path that is watched is the path that was measured."""
    if wanted.path is None:
        return wanted
    if not wanted.path.startswith("/"):
        raise Refused(Kind.MALFORMED, f"path `{wanted.path[:200]}` is not absolute")
    given = wanted.digest is not None
    return Wanted(os.path.realpath(wanted.path) if given else resolve(wanted.path), wanted.digest)


def _measured(measurer: Measurer, wanted: Wanted) -> str | None:
    if wanted.digest is not None or wanted.path is None:
        return None
    return measurer.file(wanted.path)
