"""R7: authority is taken away while it is used, on every node; the log says which came first.

Agents decide as fast as they can, on SQLite in one process, on PostgreSQL at two nodes; meanwhile
each delegation loses what it rests on at one of them, in each of the ways that there are
(`authority.WAYS`). Some of them are in use at a time; where one has ended at a node, the next begins.
Afterwards the log is read from its leaves alone: no permit may stand behind a revocation of what it
depends on, whoever was told what when. The product's own verifier must say the same. And after the
answer to a revocation no permit is acknowledged.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

from tests.conftest import Clock
from tests.faults.authority import WAYS, Ruler, Stage, stage, way
from tests.faults.harness import Plan, Rig, Tally, in_lanes, in_processes
from tests.faults.node import START, Node, Parts, Setting, entries
from tests.faults.places import Places, kinds, started

from actfor.delegation import DelegationService
from actfor.delegation.model import Delegation
from actfor.errors import Kind, Refused
from actfor.store import Tx
from actfor.wire.log_entry import LogEntry

ROUNDS = 24  # of each way in one database
AT_ONCE = 16  # delegations that are in use at a node
DECIDERS = 2  # who use each
LONGEST = 90.0
OVER = {Kind.DENIED, Kind.EXPIRED, Kind.CONFLICT, Kind.UNAUTHENTICATED}


def run(plan: Plan) -> Tally:
    """``cycles`` is how many revocations."""
    started()
    return in_lanes(plan, revoked_in_use)


def revoked_in_use(plan: Plan) -> Tally:
    tally, revoked, turn, places = Tally(), 0, 0, Places(plan.folder)
    used: set[str] = set()
    while not plan.over(revoked, tally):
        kind = kinds()[turn % len(kinds())]
        turn += 1
        left = -(-(plan.cycles - revoked) // len(WAYS))
        rounds = min(ROUNDS if plan.mutant is None else 4, left)
        with places.fresh(kind) as (url, nodes):
            scene = asyncio.run(stage(url, plan.folder / f"w{turn}", rounds))
            count = len(scene.setting.delegations)
            when = [plan.rng.uniform(0.01, 0.15) for _ in range(count)]
            told = in_processes(partial(_node, scene, when, plan.mutant), nodes, 2 * LONGEST)
            asyncio.run(_judge(scene.setting, told, tally))
            used |= {way(int(n)) for one in told for n, *_ in one["acknowledged"]}
            revoked += count
    tally.count("revocations", revoked)
    if plan.mutant is None and not plan.late:
        tally.problems += [f"{one} was never used" for one in WAYS if one not in used]
    return tally


def _node(scene: Stage, when: list[float], mutant: str | None, number: int) -> dict[str, Any]:
    return asyncio.run(_run_node(scene, when, mutant, number))


async def _run_node(
    scene: Stage, when: list[float], mutant: str | None, number: int
) -> dict[str, Any]:
    node: Ruler = MAKE[mutant](scene)
    using = Using(node, number)
    try:
        if number == 0:
            await node.begin()
        await asyncio.gather(*(using.one(n, at) for n, at in enumerate(when)))
    finally:
        await node.close()
    return {"acknowledged": using.acknowledged, "ended": using.ended}


class Using:
    """One node whose delegations are used, some at a time, until they end; the first ends them."""

    def __init__(self, node: Ruler, number: int) -> None:
        self._node, self._number = node, number
        self._places = asyncio.Semaphore(AT_ONCE)
        self._deadline = time.monotonic() + LONGEST
        self.acknowledged: list[list[float]] = []  # delegation, index of the leaf, time of asking
        self.ended: dict[int, float] = {}

    async def one(self, n: int, at: float) -> None:
        """The n-th delegation, from its first use until it is refused everywhere here."""
        async with self._places:
            work = [self._decide(n, decider) for decider in range(DECIDERS)]
            if self._number == 0:
                work.append(self._take(n, at))
            await asyncio.gather(*work)

    async def _decide(self, n: int, decider: int) -> None:
        count, refused = 0, 0
        while refused < 3 and time.monotonic() < self._deadline:
            count += 1
            name = ((self._number * 1_000 + n) * 10 + decider) * 1_000_000 + count
            asked = time.monotonic()
            try:
                delegation = self._node.stage.setting.delegations[n]
                index = await self._node.decide(delegation, name, f"once-{name}")
                self.acknowledged.append([n, index, asked])
            except Refused as cause:
                refused += cause.kind in OVER

    async def _take(self, n: int, at: float) -> None:
        """Take it away; again where the record could not be made durable."""
        await asyncio.sleep(at)
        again = False
        while n not in self.ended and time.monotonic() < self._deadline:
            try:
                await self._node.take(n)
            except Refused as cause:
                if cause.kind is not Kind.BUSY and not again:
                    raise
                if cause.kind is Kind.BUSY:
                    again = True
                    continue
            self.ended[n] = time.monotonic()


async def _judge(setting: Setting, told: list[dict[str, Any]], tally: Tally) -> None:
    node = Node.open(setting, Clock(START))
    try:
        found = await node.database.read(entries)
        tally.permits_after_revoke += law(found)
        ended = {int(agent): at for agent, at in told[0]["ended"].items()}
        if len(ended) < len(setting.delegations):
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
    "R7", "authority revoked while it is used, on every node", run, short=2_000, release=100_000,
    mutants={"checks-before": 800, "caches-standing": 160},
)  # fmt: skip
