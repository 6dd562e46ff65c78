"""R11: there are no file descriptors left, or no memory, for a while.

Every request is answered: recorded, or refused, or failed with what the machine said; none hangs,
no neighbour in the same transaction is harmed, and nothing of a failed unit stays. When there is
room again the node serves as before. Once a run the same over HTTP (`http_descriptors`).
"""

from __future__ import annotations

import asyncio
import os
import resource
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tests.conftest import Clock
from tests.faults.harness import Plan, Rig, Tally, in_processes
from tests.faults.http_descriptors import OVER_HTTP, without_descriptors
from tests.faults.node import START, Node, Setting, examine, permitted, prepare

from actfor.delegation.model import Delegation
from actfor.errors import Refused
from actfor.store import Tx
from actfor.store.sequencer import Job, Sequencer

PATIENCE = 10.0


def run(plan: Plan) -> Tally:
    tally, cycle = Tally(), 0
    if plan.mutant in {None, OVER_HTTP}:
        without_descriptors(tally, plan.mutant)
    while not plan.over(cycle, tally):
        seed = plan.rng.randrange(1 << 30)
        (told,) = in_processes(partial(_cycle, plan, seed, cycle), 1)
        tally.acknowledged += told["acknowledged"]
        tally.lost += told["lost"]
        tally.double_spent += told["double_spent"]
        tally.problems += told["problems"]
        tally.count("failed", told["failed"])
        cycle += 1
    return tally


def _cycle(plan: Plan, seed: int, cycle: int, _: int) -> dict[str, Any]:
    return asyncio.run(_starved(plan, seed, cycle))


async def _starved(plan: Plan, seed: int, cycle: int) -> dict[str, Any]:
    own = Plan(1, seed, plan.folder / f"c{cycle}")
    setting = await prepare(f"sqlite:///{own.folder}/t.db", own.folder / "w", agents=2)
    node = _made(setting, plan.mutant)
    tally, crowd = Tally(), _Crowd(node, setting)
    await crowd.ask(range(20))
    if cycle % 2:
        held = _no_descriptors()
        await crowd.ask(range(20, 60), read=True)
        for descriptor in held:
            os.close(descriptor)
    else:
        await crowd.ask(range(20, 60), failing=own.rng.randrange(1, 4))
    await crowd.ask(range(60, 80))
    if not any(number in crowd.acknowledged for number in range(60, 80)):
        tally.problems.append("there is room again, and nothing is recorded")
    tally.problems += crowd.problems
    if "no answer" not in " ".join(crowd.problems):
        await node.close()
        again = Node.open(setting, Clock(START))
        await examine(again, setting, crowd.acknowledged, tally, None)
        await again.close()
    return {
        "acknowledged": len(crowd.acknowledged), "lost": tally.lost, "failed": crowd.failed,
        "double_spent": tally.double_spent, "problems": tally.problems,
    }  # fmt: skip


class _Crowd:
    """Asks in batches, so that those who fail have neighbours."""

    def __init__(self, node: Node, setting: Setting) -> None:
        self._node, self._setting = node, setting
        self.acknowledged: dict[int, int] = {}
        self.failed = 0
        self.problems: list[str] = []

    async def ask(self, numbers: range, *, failing: int = 0, read: bool = False) -> None:
        for start in range(numbers.start, numbers.stop, 8):
            if "no answer at all" in self.problems:
                return  # there will be none
            batch = range(start, min(start + 8, numbers.stop))
            asked = [self._one(n, failing=bool(failing) and n % 4 < failing) for n in batch]
            try:
                async with asyncio.timeout(PATIENCE):
                    answers = await asyncio.gather(*asked, return_exceptions=True)
            except TimeoutError:
                self.problems.append("no answer at all")
                return
            for n, answer in zip(batch, answers, strict=True):
                self._note(n, answer)
            if read:
                with suppress(Refused):
                    await asyncio.to_thread(self._node.database.read_sync, lambda tx: None)

    async def _one(self, number: int, *, failing: bool) -> int:
        delegation = self._setting.delegations[number % 2]
        if not failing:
            return await self._node.decide(delegation, number, f"once-{number}")
        return await self._node.database.write(partial(self._runs_out, delegation, number))

    def _runs_out(self, delegation: Delegation, number: int, tx: Tx) -> int:
        """All but the leaf, and then the memory is gone."""
        self._node.delegation.consume(tx, delegation, proof=f"once-{number}")
        if number % 8 < 4:
            self._node.audit.append(tx, permitted(delegation, number))
        raise MemoryError

    def _note(self, number: int, answer: object) -> None:
        if isinstance(answer, int):
            self.acknowledged[number] = answer
        elif isinstance(answer, Refused | MemoryError | OSError):
            self.failed += 1
        else:
            self.problems.append(f"an answer nobody should get: {answer!r}")


def _no_descriptors() -> list[int]:
    """Hold every file descriptor that this process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_ones = Path("/proc/self/fd")
    used = len([*open_ones.iterdir()]) if open_ones.is_dir() else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(used + 16, hard), hard))
    held: list[int] = []
    with suppress(OSError):
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    return held


# -- mutants -----------------------------------------------------------------------------------------


class KeepsHalf:
    """Mutant: what a failed unit wrote is not undone."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def rollback_to(self) -> None:
        pass


class Dies(Sequencer):
    """Mutant: a unit that runs out of memory takes the writer's thread with it."""

    def _apply(self, job: Job, *more: Any) -> None:
        super()._apply(job, *more)
        if isinstance(job.error, MemoryError):
            raise SystemExit

    def _give_up(self, batch: list[Job], cause: BaseException) -> None:
        if isinstance(cause, SystemExit):
            raise cause
        super()._give_up(batch, cause)


def _made(setting: Setting, mutant: str | None) -> Node:
    node = Node.open(setting, Clock(START))
    if mutant == "keeps-half-units":
        node.database._sequencer._writer = KeepsHalf(node.database._writer)
    elif mutant == "writer-dies":
        node.database._sequencer.__class__ = Dies
    return node


RIG = Rig(
    "R11", "no file descriptors, no memory, for a while", run, short=10, release=200,
    mutants={"keeps-half-units": 2, "writer-dies": 2, OVER_HTTP: 0},
)  # fmt: skip
