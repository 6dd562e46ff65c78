"""R1: SIGKILL of the server on SQLite, again and again, while clients that live on take notes.

Each cycle starts a server on the same file, lets 16 clients at it, and kills it after 2 to 60 ms.
What was acknowledged must be in the log, what may happen once must be there once, budgets must
count what the log says, and no checkpoint that a client was given may be contradicted.
"""

from __future__ import annotations

import asyncio
import time

from tests.faults.crowd import Crowd, Making, Server, early_ack, judge, two_transactions
from tests.faults.harness import Plan, Rig, Tally, in_lanes
from tests.faults.node import Node, prepare

LINEAGE = 200  # kills on one database; then a fresh one, so that checking stays quick
MAKE: dict[str | None, Making] = {
    None: Node.open,
    "early-ack": early_ack,
    "two-transactions": two_transactions,
}


def run(plan: Plan) -> Tally:
    return in_lanes(plan, kills)


def kills(plan: Plan) -> Tally:
    tally, cycle = Tally(), 0
    while not plan.over(cycle, tally):
        url, folder = f"sqlite:///{plan.folder}/{cycle}.db", plan.folder / f"w{cycle}"
        setting = asyncio.run(prepare(url, folder, agents=2, approvals=32))
        crowd = Crowd(setting, plan)
        for _ in range(min(LINEAGE if plan.mutant is None else 40, plan.cycles - cycle)):
            server = Server(setting, MAKE[plan.mutant], retained=crowd.notes.retained)
            size = server.ready(tally)
            if size is None:
                tally.problems.append("the server did not start again")
            elif size < crowd.notes.retained_size:
                tally.problems.append("the log is shorter than a checkpoint a client holds")
            crowd.talk([server], time.monotonic() + plan.rng.uniform(0.002, 0.060))
            server.kill()
            crowd.drain(server)
            server.socket.close()
            cycle += 1
            if plan.late:
                break
        asyncio.run(judge(setting, crowd.notes, tally))
    return tally


RIG = Rig(
    "R1", "kill -9 of the server on SQLite", run, short=500, release=10_000,
    mutants={"early-ack": 120, "two-transactions": 120},
)  # fmt: skip
