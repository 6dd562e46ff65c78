"""R5: the process dies at every single step of every write operation, one after the other.

A first run counts the steps that an operation makes on the writing connection (begin, savepoint,
statement, release, commit, answered). Then, for each step, a fresh copy of the database, a fresh
process, and SIGKILL exactly there. What is found afterwards must be what stood before the
transaction or what stands after it, and the log must verify; nothing in between exists. If nothing
was committed, the same request must then succeed; if all was, what works once must be refused.

A governed call by the real enforcement point to a tool server that lives on is one of them
(`governed`). Operations are interrupted two at a time, each with databases of its own.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

from tests.faults.governed import governed_calls
from tests.faults.harness import Plan, Rig, Tally, in_processes
from tests.faults.interrupted import Interrupted
from tests.faults.node import Setting, prepare
from tests.faults.operations import OPERATIONS

AT_ONCE = 2


def run(plan: Plan) -> Tally:
    """``cycles`` is how many operations are interrupted at every step; the others at three."""
    tally = Tally()
    setting = asyncio.run(
        prepare(f"sqlite:///{plan.folder}/template.db", plan.folder / "w", approvals=1)
    )
    todo = _numbered(plan)
    for told in in_processes(partial(_interrupt, plan, setting, todo), AT_ONCE):
        tally.add(Tally(**told))
    os.close(todo)
    return tally


def _numbered(plan: Plan) -> int:
    """A pipe with a byte for each thing to do, for whoever is free; 0 is the governed call."""
    operations = len(OPERATIONS) if plan.mutant is None else plan.cycles
    governed = plan.mutant in {None, "acts-before-it-records"}
    reading, writing = os.pipe()
    os.write(writing, bytes([0] * governed + [*range(1, operations + 1)]))
    os.close(writing)
    return reading


def _interrupt(plan: Plan, setting: Setting, todo: int, _: int) -> dict[str, Any]:
    tally = Tally()
    gc.freeze()  # what stands here is not written to in each of hundreds of children
    for number in _taken(todo):
        if plan.late or (plan.mutant is not None and not tally.sound):
            break
        if number == 0:
            governed_calls(plan, tally)
        else:
            operation = Interrupted(plan, tally, setting, OPERATIONS[number - 1])
            operation.everywhere(exhaustive=number <= plan.cycles)
    return asdict(tally)


def _taken(todo: int) -> Iterator[int]:
    while one := os.read(todo, 1):
        yield one[0]


RIG = Rig(
    "R5", "the process dies at every step of every write operation", run,
    short=len(OPERATIONS), release=len(OPERATIONS),
    mutants={"commits-each-unit": 2, "logs-afterwards": 2, "acts-before-it-records": 0},
)  # fmt: skip
