"""R6: everybody wants the same one-time thing at once.

For each kind of thing that may be taken once (or so many times), some are made, and then each is
asked for several times at the same moment: on SQLite by tasks of one process, on PostgreSQL by two
nodes. Exactly so many must get it as there are; and the log and the counters must agree.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import bindparam
from tests.conftest import Clock
from tests.faults.harness import Plan, Rig, Tally, in_lanes, in_processes
from tests.faults.node import START, Node, Parts, Setting, examine, prepare
from tests.faults.one_time import TAKE, Thing, make, unlimited
from tests.faults.places import Places, kinds, started

from actfor.approval import ApprovalService
from actfor.approval import repository as approval_rows
from actfor.delegation import DelegationService
from actfor.delegation.model import Delegation
from actfor.delegation.repository import grants
from actfor.delegation.repository.tables import proof as proof_table
from actfor.errors import Refused
from actfor.store import Tx

AT_ONCE = 48
LONGEST = 180.0
CROWDS = {"proof": 16, "approval": 12, "budget": 60, "limit": 24}
"""Who want each thing of a kind that is asked for by number: more than its kind would have."""


async def make_things(setting: Setting, rounds: int, budgets: int) -> tuple[Setting, list[Thing]]:
    """Made by a node that is closed before the race."""
    node = Node.open(setting, Clock(START))
    try:
        first = await unlimited(node, setting)
        setting = replace(setting, delegations=(first, *setting.delegations[1:]))
        things = await make(node, setting, rounds, budgets)
        crowded = [replace(one, racers=CROWDS.get(one.kind, one.racers)) for one in things]
        return setting, crowded
    finally:
        await node.close()


def run(plan: Plan) -> Tally:
    """``cycles`` is how many attempts, about."""
    started()
    return in_lanes(plan, raced)


def raced(plan: Plan) -> Tally:
    tally, attempts, turn, places = Tally(), 0, 0, Places(plan.folder)
    while not plan.over(attempts, tally):
        kind = kinds()[turn % len(kinds())]
        turn += 1
        with places.fresh(kind) as (url, nodes):
            attempts += one_database(plan, tally, url, nodes, turn)
    tally.count("attempts", attempts)
    return tally


def one_database(plan: Plan, tally: Tally, url: str, nodes: int, turn: int) -> int:
    """One database: make things, fork the nodes, race, compare."""
    setting = asyncio.run(
        prepare(url, plan.folder / f"w{turn}", agents=4, approvals=12, among=1, calls=7)
    )
    setting, things = asyncio.run(make_things(setting, 4 if plan.mutant is None else 1, 3))
    order = [(at, racer) for at, thing in enumerate(things) for racer in range(thing.racers)]
    plan.rng.shuffle(order)
    order.sort(key=lambda pair: (pair[0] // 8, plan.rng.random()))  # the same thing close together
    told = in_processes(partial(_race, setting, things, order, nodes, plan.mutant), nodes, LONGEST)
    got: Counter[int] = Counter()
    for won, odd in told:
        got.update(won)
        tally.problems += odd
    for at, thing in enumerate(things):
        tally.acknowledged += got[at]
        tally.double_spent += max(0, got[at] - thing.worth)
        if got[at] < thing.worth:
            tally.problems.append(f"{thing.kind} {thing.key}: {got[at]} of {thing.worth} got it")
        plan.remember(kind=thing.kind, key=thing.key, worth=thing.worth, got=got[at])
    asyncio.run(_judge(setting, tally))
    return len(order)


def _race(
    setting: Setting,
    things: list[Thing],
    order: list[tuple[int, int]],
    nodes: int,
    mutant: str | None,
    number: int,
) -> tuple[list[int], list[str]]:
    """One node: its share of the attempts (of each thing, so that all nodes want it)."""
    mine = [pair for pair in order if pair[1] % nodes == number]
    return asyncio.run(_run_race(setting, things, mine, mutant))


async def _run_race(
    setting: Setting, things: list[Thing], mine: list[tuple[int, int]], mutant: str | None
) -> tuple[list[int], list[str]]:
    node = MAKE[mutant](setting)
    won: list[int] = []
    odd: list[str] = []

    async def attempt(at: int, racer: int) -> None:
        thing = things[at]
        try:
            await TAKE[thing.kind](node, setting, thing.made, racer)
            won.append(at)
        except Refused:
            pass
        except Exception as cause:
            odd.append(f"{thing.kind}: {cause!r}")

    try:
        for start in range(0, len(mine), AT_ONCE):
            await asyncio.gather(*(attempt(*pair) for pair in mine[start : start + AT_ONCE]))
    finally:
        await node.close()
    return won, odd


async def _judge(setting: Setting, tally: Tally) -> None:
    node = Node.open(setting, Clock(START))
    try:
        await examine(node, setting, {}, tally, None)
    finally:
        await node.close()


# -- mutants: looking first, taking afterwards -------------------------------------------------------


class LooksFirst(Node):
    """Mutant: whether a proof was spent is looked at before the transaction that spends it."""

    async def decide(
        self, delegation: Delegation, number: int, once: str, approval: str | None = None
    ) -> int:
        spent = await self.database.read(lambda tx: tx.one(_SPENT, which=once))
        if spent is not None:
            raise Refused("replayed", "seen before")
        return await super().decide(delegation, number, once, approval)


class SpendsRegardless(DelegationService):
    def spend(self, tx: Tx, proof: str) -> None:
        grants.spend(tx, proof, tx.now)


class ApprovesFromMemory(ApprovalService):
    """Mutant: an approval that was seen as approved is used, whoever used it meanwhile."""

    def consume(self, tx: Tx, digest: str, agent: str | None = None) -> Any:
        seen: dict[str, Any] = self.__dict__.setdefault("seen", {})
        known = seen.setdefault(digest, approval_rows.latest(tx, self._texts, digest))
        assert known is not None
        spent = known.consume(digest, tx.now)
        approval_rows.consume(tx, known.id, digest, tx.now)
        return spent


_SPENT = proof_table.select().where(proof_table.c.once == bindparam("which"))

MAKE: dict[str | None, Callable[[Setting], Node]] = {
    None: lambda setting: Node.open(setting, Clock(START)),
    "looks-first": lambda setting: LooksFirst.open(
        setting, Clock(START), Parts(delegation=SpendsRegardless)
    ),
    "approves-from-memory": lambda setting: Node.open(
        setting, Clock(START), Parts(approvals=ApprovesFromMemory)
    ),
}

RIG = Rig(
    "R6", "races for everything that may be taken once", run, short=20_000, release=1_000_000,
    mutants={"looks-first": 2_000, "approves-from-memory": 2_000},
)  # fmt: skip
