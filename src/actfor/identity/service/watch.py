"""Watching: what was attested stays so, or its identity ends within a second.

Looks at the code of every agent with a live SVID and at the processes that hold one. An agent
without a live SVID is measured when it next asks for one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from actfor.errors import Kind, Refused
from actfor.identity.attestors import Attestor
from actfor.identity.attestors.process import this_machine
from actfor.identity.model import Agent, AgentState, Instance, appraise
from actfor.identity.repository import agents as rows
from actfor.identity.service.registry import Registry, attest_event
from actfor.store import Tx

logger = logging.getLogger(__name__)

WATCH_INTERVAL = 0.25
"""Seconds between two looks at running agents' code; a change shows within twice that."""

_MAX_PAUSE = 0.5
_FRESH_EVERY = timedelta(minutes=1)


class Watch:
    """The background look at one registry's running agents."""

    def __init__(
        self, registry: Registry, attestors: Sequence[Attestor], clock: Callable[[], datetime]
    ) -> None:
        self._registry = registry
        self._database = registry.database
        self._audit = registry.audit
        self._attestors = tuple(attestors)
        self._now = clock
        self._looked: dict[str, datetime] = {}  # by agent: when every byte was last read

    async def run(self, interval: float = WATCH_INTERVAL) -> None:
        """Keep looking at the code and processes behind live SVIDs, until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self.once()
            except Exception:  # a background loop's boundary: log and look again
                logger.exception("watching the agents failed; looking again")
            # Large trees are looked at less often, so that looking stays below a quarter of a core.
            took = time.monotonic() - began
            await asyncio.sleep(max(interval, min(4 * took, _MAX_PAUSE)))

    async def once(self) -> None:
        """Invalidate every agent whose code changed, end every instance whose process is gone.

        Of this machine only: another node's processes and files are looked at there.
        """
        now = self._now()
        live = await self._database.read(
            lambda tx: rows.live_instances_here(tx, now, this_machine())
        )
        for instance in live:
            await self._look_at_process(instance)
        watched = {instance.agent for instance in live}
        for name in watched:
            await self._look_at_code(name, now)
        for name in self._looked.keys() - watched:
            del self._looked[name]

    async def _look_at_process(self, instance: Instance) -> None:
        for attestor in self._attestors:
            cause = await asyncio.to_thread(attestor.ended, instance)
            if cause is not None:
                await self._end_instance(instance, cause)

    async def _end_instance(self, instance: Instance, cause: str) -> None:
        def unit(tx: Tx) -> None:
            agent = rows.agent_by_name(tx, instance.agent)
            if agent is not None and rows.end_instance(tx, str(instance.id), cause):
                facts = {"action": "instance-ended", "instance": str(instance.id), "cause": cause}
                self._audit.append(tx, attest_event(agent, facts))

        await self._database.write(unit)

    async def _look_at_code(self, name: str, now: datetime) -> None:
        agent = await self._registry.show(name)
        if agent.state is not AgentState.ACTIVE:
            return
        last = self._looked.setdefault(name, now)
        fresh = now - last >= _FRESH_EVERY
        if fresh:
            self._looked[name] = now
        for attestor in self._attestors:
            cause = await asyncio.to_thread(_look, attestor, agent, fresh=fresh)
            if cause is not None:
                await self._registry.invalidate(agent, await self._named(attestor, agent, cause))

    async def _named(self, attestor: Attestor, agent: Agent, cause: str) -> str:
        """The same finding, naming the file where the server knows the listing."""
        listing = await self._database.read(
            lambda tx: rows.tree_of(tx, agent.name, agent.reference.code.digest)
        )
        if listing is None:
            return cause
        try:
            found = await asyncio.to_thread(attestor.remeasure, agent.reference)
        except Refused:
            return cause
        return appraise(agent.reference, listing, found) or cause


def _look(attestor: Attestor, agent: Agent, *, fresh: bool) -> str | None:
    try:
        return appraise(agent.reference, None, attestor.remeasure(agent.reference, fresh=fresh))
    except Refused as refused:
        if refused.kind is not Kind.MALFORMED:
            raise
        return refused.detail
