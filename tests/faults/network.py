"""R10: the way to PostgreSQL is slow, half-open, one-way, or cut in the middle of a message.

Two nodes behind a proxy that misbehaves. Every request gets an answer soon, a refusal where the
record could not be made durable; each acknowledged permit is in the log, whichever answer to a
COMMIT was lost; the nodes serve again by themselves when the way is clear.
"""

from __future__ import annotations

import asyncio
import time

from tests.faults.clusters import cluster, needed
from tests.faults.crowd import Crowd, Making, Server, judge
from tests.faults.harness import Plan, Rig, Tally, in_lanes
from tests.faults.node import Node, Setting, prepare
from tests.faults.proxy import Proxy

from actfor.store.postgres import Link
from actfor.store.postgres_writer import PostgresWriter

NODES = 2
LONGEST_ANSWER = 4.0
"""Two seconds from the question to the answer, whatever they were spent on; the rest is a machine's
on which four tests share two cores. Who waits without end takes eight.
"""
LONGEST_RECOVERY = 5.0
WEATHER = (
    "lose-commit", "stall", "mute-commit", "cut", "deaf", "cut-after", "mute", "delay",
)  # fmt: skip


class BelievesItself(PostgresWriter):
    """Mutant: a COMMIT whose answer is lost is taken for done."""

    def _was_committed(self) -> bool:
        return True


class Patient(Link):
    """Mutant: waits for the database for as long as it takes."""

    def patience(self, seconds: float = 0) -> None:
        self._granted = self._left = 1e6


class WaitsForever(PostgresWriter):
    def _connected(self, seconds: float) -> Link:
        link = super()._connected(seconds)
        link.__class__ = Patient
        link.patience()
        return link


def _with(kind: type[PostgresWriter]) -> Making:
    def make(setting: Setting) -> Node:
        node = Node.open(setting)
        node.database._writer.__class__ = kind
        return node

    return make


MAKE: dict[str | None, Making] = {
    None: Node.open,
    "lost-answer-is-yes": _with(BelievesItself),
    "no-timeout": _with(WaitsForever),
}


def run(plan: Plan) -> Tally:
    cluster()  # one for all lanes
    return in_lanes(plan, storms)


def storms(plan: Plan) -> Tally:
    """A proxy of this lane's own."""
    tally, cycle, server = Tally(), 0, cluster()
    proxy = Proxy(server.port)
    try:
        while not plan.over(cycle, tally):
            name = server.new_database()
            there = server.url(name, tcp=True)
            url = there.replace(f":{server.port}/", f":{proxy.port}/")
            setting = asyncio.run(prepare(url, plan.folder / f"w{cycle}", agents=2))
            cycle = lineage(plan, tally, setting, proxy, cycle)
            server.drop(name)
    finally:
        proxy.close()
    return tally


def lineage(plan: Plan, tally: Tally, setting: Setting, proxy: Proxy, cycle: int) -> int:
    crowd = Crowd(setting, plan, NODES)
    nodes = [Server(setting, MAKE[plan.mutant], number=n) for n in range(NODES)]
    for node in nodes:
        node.ready(tally)
    crowd.talk(nodes, time.monotonic() + 0.1)
    for _ in range(min(10 if plan.mutant is None else 2, plan.cycles - cycle)):
        storm(plan, tally, proxy, crowd, nodes, cycle)
        cycle += 1
    for node in nodes:
        node.end()
    asyncio.run(judge(setting, crowd.notes, tally))
    tally.worst("slowest_answer_s", crowd.notes.slowest)
    if crowd.notes.slowest > LONGEST_ANSWER:
        tally.problems.append(f"an answer took {crowd.notes.slowest:.1f} s")
    return cycle


def storm(
    plan: Plan, tally: Tally, proxy: Proxy, crowd: Crowd, nodes: list[Server], cycle: int
) -> None:
    mode = WEATHER[cycle % len(WEATHER)]
    amount = {"delay": plan.rng.uniform(0.01, 1.0), "cut-after": plan.rng.randrange(8, 4000)}
    crowd.talk(nodes, time.monotonic() + plan.rng.uniform(0.01, 0.1), start=False)
    proxy.set(mode, amount.get(mode, 0))
    lasts = 8.0 if mode == "stall" and cycle % 16 == 1 else plan.rng.uniform(0.2, 2.5)
    crowd.talk(nodes, time.monotonic() + lasts, start=False)
    proxy.set("pass")
    cleared = time.monotonic()
    for node in nodes:
        before = len(crowd.notes.acknowledged)
        while len(crowd.notes.acknowledged) == before:
            if time.monotonic() > cleared + LONGEST_RECOVERY + 5:
                tally.problems.append(f"node {node.number} does not serve again after {mode}")
                break
            crowd.talk([node], time.monotonic() + 0.02, start=False)
    took = time.monotonic() - cleared
    tally.worst("recovery_s", took)
    if took > LONGEST_RECOVERY:
        tally.problems.append(f"the nodes took {took:.1f} s to serve again after {mode}")


RIG = Rig(
    "R10", "the way to PostgreSQL is slow, half-open, one-way or cut", run, short=30, release=2_000,
    mutants={"lost-answer-is-yes": 16, "no-timeout": 16}, needs=needed,
)  # fmt: skip
