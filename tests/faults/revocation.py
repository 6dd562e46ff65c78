"""R7: authority is taken away while it is used, on every node; the log says which came first.

Agents decide as fast as they can, on SQLite in one process, on PostgreSQL at two nodes; meanwhile
each loses what it rests on at one of them, in each of the ways that there are (`authority.WAYS`). Afterwards the log is read from
its leaves alone: no permit may stand behind a revocation of what it depends on, whoever was told
what when. The product's own verifier must say the same. And after the answer to a revocation no
permit is acknowledged.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

from tests.conftest import Clock
from tests.faults.authority import WAYS, Ruler, Stage, stage
from tests.faults.harness import Plan, Rig, Tally, in_processes
from tests.faults.node import START, Node, Parts, Setting, entries
from tests.faults.places import Places, kinds

from actfor.delegation import DelegationService
from actfor.delegation.model import Delegation
from actfor.errors import Kind, Refused
from actfor.store import Tx
from actfor.wire.log_entry import LogEntry

AGENTS = len(WAYS)
DECIDERS = 3
LONGEST = 20.0
OVER = {Kind.DENIED, Kind.EXPIRED, Kind.CONFLICT, Kind.UNAUTHENTICATED}


def run(plan: Plan) -> Tally:
    """``cycles`` is how many revocations."""
    tally, revoked, turn = Tally(), 0, 0
    used: set[int] = set()
    with ExitStack() as stack:
        places = Places(plan.folder, stack)
        while not plan.over(revoked, tally):
            kind = kinds()[turn % len(kinds())]
            turn += 1
            with places.fresh(kind) as (url, nodes):
                scene = asyncio.run(stage(url, plan.folder / f"w{turn}"))
                when = [plan.rng.uniform(0.02, 0.25) for _ in range(AGENTS)]
                work = partial(_node, scene, when, plan.mutant)
                told = in_processes(work, nodes)
                asyncio.run(_judge(scene.setting, told, tally))
                used |= {int(n) for one in told for n, *_ in one["acknowledged"]}
                revoked += AGENTS
    tally.figures["revocations"] = revoked
    if plan.mutant is None:
        tally.problems += [f"{WAYS[n]} was never used" for n in range(AGENTS) if n not in used]
    return tally


def _node(scene: Stage, when: list[float], mutant: str | None, number: int) -> dict[str, Any]:
    return asyncio.run(_run_node(scene, when, mutant, number))


async def _run_node(
    scene: Stage, when: list[float], mutant: str | None, number: int
) -> dict[str, Any]:
    node, setting = MAKE[mutant](scene), scene.setting
    if number == 0:
        await node.begin()
    acknowledged: list[list[float]] = []  # number of the agent, index of the leaf, time of asking
    ended: dict[int, float] = {}
    deadline = time.monotonic() + LONGEST

    async def decide(agent: int, decider: int) -> None:
        n, refused = 0, 0
        while refused < 3 and time.monotonic() < deadline:
            n += 1
            name = number * 10_000_000 + agent * 1_000_000 + decider * 100_000 + n
            asked = time.monotonic()
            try:
                index = await node.decide(setting.delegations[agent], name, f"once-{name}")
                acknowledged.append([agent, index, asked])
            except Refused as cause:
                refused += cause.kind in OVER

    async def revoke(agent: int) -> None:
        await asyncio.sleep(when[agent])
        await node.take(agent)
        ended[agent] = time.monotonic()

    work = [decide(agent, k) for agent in range(AGENTS) for k in range(DECIDERS)]
    if number == 0:
        work += [revoke(agent) for agent in range(AGENTS)]
    try:
        await asyncio.gather(*work)
    finally:
        await node.close()
    return {"acknowledged": acknowledged, "ended": ended}


async def _judge(setting: Setting, told: list[dict[str, Any]], tally: Tally) -> None:
    node = Node.open(setting, Clock(START))
    try:
        found = await node.database.read(entries)
        tally.permits_after_revoke += law(found)
        ended = {int(agent): at for agent, at in told[0]["ended"].items()}
        if len(ended) < AGENTS:
            tally.problems.append("a revocation was not answered")
        for one in told:
            for agent, index, asked in one["acknowledged"]:
                tally.acknowledged += 1
                # One clock: the processes are of one machine.
                if agent in ended and asked > ended[agent]:
                    tally.permits_after_revoke += 1
                if index >= len(found) or found[index].type != "decide":
                    tally.lost += 1
        tally.problems += (await node.audit.verify()).problems
    finally:
        await node.close()


def law(found: list[LogEntry]) -> int:
    """How many permits stand behind a revocation of something they depend on."""
    revoked: dict[tuple[str, str], int] = {}
    violations = 0
    for entry in found:
        for kind, ids in _nested(entry.facts.get("revoked")):
            for id_, epoch in ids.items():
                revoked[kind, id_] = max(epoch, revoked.get((kind, id_), 0))
        if entry.type == "decide" and entry.facts.get("decision") == "permit":
            violations += any(
                epoch < revoked.get((kind, id_), 0)
                for kind, ids in _nested(entry.facts.get("epochs"))
                for id_, epoch in ids.items()
            )
    return violations


def _nested(value: Any) -> list[tuple[str, dict[str, int]]]:
    return list(value.items()) if isinstance(value, dict) else []


# -- mutants -----------------------------------------------------------------------------------------


class DoesNotCheck(DelegationService):
    """The part both mutants share: the transaction takes the proof and looks at nothing else."""

    def consume(self, tx: Tx, delegation: Delegation, *_: Any, proof: str | None = None) -> None:
        assert proof is not None
        self.spend(tx, proof)


class ChecksBefore(Ruler):
    """Mutant: whether authority still stands is looked at just before the transaction."""

    in_unit = False

    async def decide(
        self, delegation: Delegation, number: int, once: str, approval: str | None = None
    ) -> int:
        await self.look(delegation)
        return await super().decide(delegation, number, once, approval)

    async def look(self, delegation: Delegation) -> None:
        def unit(tx: Tx) -> None:
            self.delegation.check_live(tx, delegation)
            self.rely(tx, delegation)

        await self.database.read(unit)


class Caches(ChecksBefore):
    """Mutant: what was found is believed for a quarter of a second."""

    async def look(self, delegation: Delegation) -> None:
        seen: dict[str, float] = self.__dict__.setdefault("seen", {})
        if seen.get(delegation.grant_id, 0.0) < time.monotonic():
            await super().look(delegation)
            seen[delegation.grant_id] = time.monotonic() + 0.25


_UNCHECKED = Parts(delegation=DoesNotCheck)
MAKE: dict[str | None, Any] = {
    None: Ruler.at,
    "checks-before": lambda scene: ChecksBefore.at(scene, _UNCHECKED),
    "caches-standing": lambda scene: Caches.at(scene, _UNCHECKED),
}

RIG = Rig(
    "R7", "authority revoked while it is used, on every node", run, short=64, release=100_000,
    mutants={"checks-before": 800, "caches-standing": 160},
)  # fmt: skip
