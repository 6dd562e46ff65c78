"""R9: the clock is set, by a second or by ten years, forward and back, under load.

While it is wrong, no token is accepted that has expired by it, and what is issued lives as long as
it should by it; the order of the log is not the clock's affair. When it is right again, nothing
that was spent before can be spent a second time, however much was swept meanwhile.

The clock is the one that the services are given; the steady clock beside it goes on. Once a run
it is the machine's, under a whole server (`http_clock`).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

from tests.conftest import Clock
from tests.fakes.delegation_world import CRM, World
from tests.faults.arranged import world_of
from tests.faults.harness import Plan, Rig, Tally, in_processes
from tests.faults.http_clock import OVER_HTTP, set_clocks
from tests.faults.node import START, Node, Parts, Setting, examine, prepare

from actfor.delegation import DelegationService, Proved
from actfor.errors import Refused

SECOND, DAY = 1.0, 86_400.0
STEPS = [
    sign * step
    for step in (SECOND, 6, 59, 61, 290, 310, 3_600, DAY, 31 * DAY, 366 * DAY, 3_650 * DAY)
    for sign in (1, -1)
]
SKEW = 60.0
LOAD = 8


def run(plan: Plan) -> Tally:
    """``cycles`` is how often the clock is set (and set back)."""
    tally, cycle = Tally(), 0
    if plan.mutant in {None, OVER_HTTP}:
        set_clocks(tally, plan.mutant)
    while not plan.over(cycle, tally):
        steps = [STEPS[(cycle + n) % len(STEPS)] for n in range(len(STEPS) // 2)]
        (told,) = in_processes(partial(_set, plan, cycle, steps), 1)
        tally.acknowledged += told["acknowledged"]
        tally.lost += told["lost"]
        tally.double_spent += told["double_spent"]
        tally.problems += told["problems"]
        cycle += len(steps)
    return tally


def _set(plan: Plan, cycle: int, steps: list[float], _: int) -> dict[str, Any]:
    return asyncio.run(_all_steps(plan, cycle, steps))


async def _all_steps(plan: Plan, cycle: int, steps: list[float]) -> dict[str, Any]:
    setting = await prepare(f"sqlite:///{plan.folder}/{cycle}.db", plan.folder / f"w{cycle}")
    clock, tally = Clock(START), Tally()
    node = Node.open(setting, clock, PARTS[plan.mutant])
    stepping = Stepping(node, setting, clock, tally)
    await node.delegation.tidy(0)
    for number, step in enumerate(steps):
        await stepping.there_and_back(step, number)
        clock.advance(1)
    await examine(node, setting, stepping.acknowledged, tally, None)
    await node.close()
    return {
        "acknowledged": len(stepping.acknowledged), "lost": tally.lost,
        "double_spent": tally.double_spent, "problems": tally.problems,
    }  # fmt: skip


class Stepping:
    """One agent that works while its server's clock is set."""

    def __init__(self, node: Node, setting: Setting, clock: Clock, tally: Tally) -> None:
        self.node, self.setting, self.clock, self.tally = node, setting, clock, tally
        self.acknowledged: dict[int, int] = {}
        self.number = 0

    async def there_and_back(self, step: float, number: int) -> None:
        world = world_of(self.node, self.setting)
        holder = await world.attest(self.setting.delegations[0].agent_name)
        subject = await world.subject(self.setting.delegations[0].mandate)
        token = (await world.exchange(holder, subject)).access_token
        sent = world.proof(holder.key, CRM, token=token)
        proved = await world.authenticate(holder, token, proof=sent)
        await self._decide(proved)

        await self._load(step, world, holder, token, proved)
        self.clock.advance(-step)
        try:
            again = await world.authenticate(holder, token, proof=sent)
            await self._decide(again)
        except Refused:
            pass
        else:
            self.tally.double_spent += 1

    async def _load(
        self, step: float, world: World, holder: Any, token: str, proved: Proved
    ) -> None:
        """Decisions before, during and after the step; what the wrong clock makes of a token."""
        working = asyncio.gather(*(self._fresh(world, holder, token) for _ in range(LOAD)))
        await asyncio.sleep(0)
        self.clock.advance(step)
        await working
        await self.node.delegation.tidy(0.1)
        await self.node.approvals.sweep()
        expired = self.clock.now() >= proved.delegation.expires_at + timedelta(seconds=SKEW)
        if await self._fresh(world, holder, token) and expired:
            self.tally.problems.append(f"an expired token is accepted after a step of {step:.0f} s")
        await self._issue(world, holder, step)

    async def _fresh(self, world: World, holder: Any, token: str) -> bool:
        """Whether a call with a fresh proof is let in; what it is let in for is recorded."""
        try:
            proved = await world.authenticate(holder, token)
        except Refused:
            return False
        try:
            await self._decide(proved)
        except Refused:
            pass
        return True

    async def _issue(self, world: World, holder: Any, step: float) -> None:
        try:
            subject = await world.subject(self.setting.delegations[0].mandate)
            issued = await world.exchange(holder, subject)
        except Refused:
            return
        if not 0 < issued.expires_in <= 3600:
            self.tally.problems.append(
                f"a token lives {issued.expires_in} s when issued after a step of {step:.0f} s"
            )

    async def _decide(self, proved: Proved) -> None:
        self.number += 1
        number = self.number
        self.acknowledged[number] = await self.node.decide(proved.delegation, number, proved.proof)


# -- mutants -----------------------------------------------------------------------------------------


class SweepsRegardless(DelegationService):
    """Mutant: forgets what is stale by the clock, whatever happened to the clock."""

    async def tidy(self, passed: float) -> int:
        return await self.sweep()


class Remembers(DelegationService):
    """Mutant: a token that was found good is good."""

    async def authenticate(self, token: str, **request: Any) -> Proved:
        seen: dict[str, Proved] = self.__dict__.setdefault("seen", {})
        try:
            seen[token] = await super().authenticate(token, **request)
        except Refused:
            if token not in seen:
                raise
        return seen[token]


PARTS: dict[str | None, Parts] = {
    None: Parts(),
    OVER_HTTP: Parts(),
    "sweeps-regardless": Parts(delegation=SweepsRegardless),
    "remembers-tokens": Parts(delegation=Remembers),
}

RIG = Rig(
    "R9", "the clock is set, by a second or by ten years", run, short=30, release=2_200,
    mutants={"sweeps-regardless": 22, "remembers-tokens": 22, OVER_HTTP: 0},
)  # fmt: skip
