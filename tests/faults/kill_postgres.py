"""R2: SIGKILL of one of two nodes beside one PostgreSQL, while the other goes on.

The backend of a killed node may still commit what it was sent, after others have read the head:
who kept the head in memory would write over it. Clients ask both nodes for each thing. After each
kill the other node must go on, and the killed one must come back and serve.
"""

from __future__ import annotations

import asyncio
import time

from tests.conftest import Clock
from tests.faults.clusters import cluster, needed
from tests.faults.crowd import Crowd, Making, Server, early_ack, judge, two_transactions
from tests.faults.harness import Plan, Rig, Tally, in_lanes
from tests.faults.node import START, Node, Parts, Setting, prepare

from actfor.audit import AuditLog, Event
from actfor.audit.service.tree import Growth
from actfor.store import Tx
from actfor.wire.merkle import Frontier

LINEAGE = 100
NODES = 2
PATIENCE = 10.0


class RemembersHead(AuditLog):
    """Mutant: the tree head is kept in memory between transactions instead of being read anew."""

    _known: Frontier | None = None

    def append(self, tx: Tx, event: Event) -> int:
        if self._known is not None:
            known = self._known
            tx.participant(Growth, lambda: Growth(known))
        index = super().append(tx, event)
        grown = Growth.of(tx)
        tx.on_commit(lambda: setattr(self, "_known", grown.frontier))
        return index


def remembers_head(setting: Setting) -> Node:
    return Node.open(setting, Clock(START), Parts(audit=RemembersHead))


MAKE: dict[str | None, Making] = {
    None: Node.open,
    "head-in-memory": remembers_head,
    "early-ack": early_ack,
    "two-transactions": two_transactions,
}


def run(plan: Plan) -> Tally:
    cluster()  # one for all lanes
    return in_lanes(plan, kills)


def kills(plan: Plan) -> Tally:
    tally, cycle = Tally(), 0
    while not plan.over(cycle, tally):
        with cluster().database() as url:
            cycle = lineage(plan, tally, url, cycle)
    return tally


def lineage(plan: Plan, tally: Tally, url: str, cycle: int) -> int:
    """Up to 100 kills on one database."""
    make = MAKE[plan.mutant]
    setting = asyncio.run(prepare(url, plan.folder / f"w{cycle}", agents=2, approvals=16))
    crowd = Crowd(setting, plan, NODES)
    nodes = [Server(setting, make, number=number) for number in range(NODES)]
    for node in nodes:
        node.ready(tally)
    crowd.talk(nodes, time.monotonic() + 0.05)
    for _ in range(min(LINEAGE if plan.mutant is None else 12, plan.cycles - cycle)):
        victim = plan.rng.randrange(NODES)
        nodes[victim].kill()
        crowd.drain(nodes[victim])
        nodes[victim].socket.close()
        nodes[victim] = Server(setting, make, number=victim, retained=crowd.notes.retained)
        others = [node for node in nodes if node.number != victim]
        crowd.talk(others, time.monotonic() + 0.02, start=False)
        if nodes[victim].ready(tally) is None:
            tally.problems.append("the killed node did not start again")
            break
        crowd.resume(nodes[victim])
        crowd.talk(nodes, time.monotonic() + plan.rng.uniform(0.002, 0.060), start=False)
        cycle += 1
        if plan.late:
            break
    _both_serve(crowd, nodes, tally)
    for node in nodes:
        node.end()
    asyncio.run(judge(setting, crowd.notes, tally))
    return cycle


def _both_serve(crowd: Crowd, nodes: list[Server], tally: Tally) -> None:
    """A node that can only refuse is no node: each acknowledges something before long."""
    for node in nodes:
        before, deadline = len(crowd.notes.acknowledged), time.monotonic() + PATIENCE
        while len(crowd.notes.acknowledged) == before:
            if time.monotonic() > deadline:
                tally.problems.append(f"node {node.number} acknowledges nothing any more")
                break
            crowd.talk([node], time.monotonic() + 0.05, start=False)


RIG = Rig(
    "R2", "kill -9 of one of two nodes on PostgreSQL", run, short=200, release=10_000,
    mutants={"head-in-memory": 200, "early-ack": 60, "two-transactions": 60}, needs=needed,
)  # fmt: skip
