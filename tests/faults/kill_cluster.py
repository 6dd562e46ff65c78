"""R3: SIGKILL of the whole of PostgreSQL under two nodes that live on.

While it is dead everything is refused, and refused soon; when it is back, the nodes serve again by
themselves; nothing that was acknowledged is gone.
"""

from __future__ import annotations

import asyncio
import time

from tests.fakes.postgres import Cluster
from tests.faults.clusters import cluster, needed
from tests.faults.crowd import Crowd, Making, Server, early_ack, judge
from tests.faults.harness import Plan, Rig, Tally
from tests.faults.node import Node, Setting, prepare

from actfor.store.postgres_writer import PostgresWriter

NODES = 2
IN_FLIGHT = 0.25  # seconds after the kill in which an earlier answer may still arrive
LONGEST_REFUSAL = 2.5
LONGEST_RECOVERY = 10.0


class CommitsAsynchronously(PostgresWriter):
    """Mutant: the commit returns before its WAL is flushed, although the server was checked."""

    def commit(self) -> None:
        self._linked().control("SET LOCAL synchronous_commit = off")
        super().commit()


def asynchronous(setting: Setting) -> Node:
    node = Node.open(setting)
    node.database._writer.__class__ = CommitsAsynchronously
    return node


MAKE: dict[str | None, Making] = {
    None: Node.open,
    "asynchronous-commit": asynchronous,
    "early-ack": early_ack,
}


def run(plan: Plan) -> Tally:
    tally, cycle = Tally(), 0
    while not plan.over(cycle, tally):
        with cluster().database() as url:
            cycle = lineage(plan, tally, url, cycle)
    return tally


def lineage(plan: Plan, tally: Tally, url: str, cycle: int) -> int:
    """Up to five outages of one database."""
    setting = asyncio.run(prepare(url, plan.folder / f"w{cycle}", agents=2))
    crowd = Crowd(setting, plan, NODES)
    nodes = [Server(setting, MAKE[plan.mutant], number=n) for n in range(NODES)]
    for node in nodes:
        node.ready(tally)
    crowd.talk(nodes, time.monotonic() + 0.1)
    for _ in range(min(5 if plan.mutant is None else 2, plan.cycles - cycle)):
        outage(plan, tally, cluster(), crowd, nodes)
        cycle += 1
    for node in nodes:
        node.end()
    asyncio.run(judge(setting, crowd.notes, tally))
    tally.worst("slowest_answer_s", crowd.notes.slowest)
    if crowd.notes.slowest > LONGEST_REFUSAL:
        tally.problems.append(f"an answer took {crowd.notes.slowest:.1f} s")
    return cycle


def outage(plan: Plan, tally: Tally, server: Cluster, crowd: Crowd, nodes: list[Server]) -> None:
    crowd.talk(nodes, time.monotonic() + plan.rng.uniform(0.05, 0.4), start=False)
    server.kill()
    crowd.talk(nodes, time.monotonic() + IN_FLIGHT, start=False)
    acknowledged = len(crowd.notes.acknowledged)
    crowd.talk(nodes, time.monotonic() + plan.rng.uniform(0.2, 2.0), start=False)
    if len(crowd.notes.acknowledged) > acknowledged:
        tally.problems.append("a permit was acknowledged while the database was dead")
    began = time.monotonic()
    server.start()
    tally.worst("database_start_s", time.monotonic() - began)
    for node in nodes:
        before = len(crowd.notes.acknowledged)
        while len(crowd.notes.acknowledged) == before:
            if time.monotonic() > began + LONGEST_RECOVERY:
                tally.problems.append(
                    f"node {node.number} did not serve {LONGEST_RECOVERY} s after"
                )
                break
            crowd.talk([node], time.monotonic() + 0.02, start=False)
    tally.worst("recovery_s", time.monotonic() - began)


RIG = Rig(
    "R3", "kill -9 of the whole of PostgreSQL", run, short=5, release=1_000,
    mutants={"asynchronous-commit": 20, "early-ack": 20}, needs=needed,
)  # fmt: skip
