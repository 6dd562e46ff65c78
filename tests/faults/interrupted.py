"""One operation of R5: counted once, then killed at its steps, each on a fresh copy."""

from __future__ import annotations

import asyncio
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.conftest import Clock
from tests.faults.dying import (
    CommitsEachUnit,
    Dying,
    LogsAfterwards,
    Unanswered,
    difference,
    dump,
    in_a_child,
    shape_of,
)
from tests.faults.harness import Plan, Tally
from tests.faults.node import START, Node, Parts, Setting
from tests.faults.operations import Context, Operation

from actfor.errors import Refused


class Interrupted:
    """One operation on copies of one database."""

    def __init__(self, plan: Plan, tally: Tally, setting: Setting, operation: Operation) -> None:
        self.plan, self.tally, self.operation = plan, tally, operation
        self.rng = random.Random(f"{plan.seed}/{operation.name}")  # noqa: S311 - a schedule, not a secret
        folder = plan.folder / operation.name.replace(" ", "-")
        folder.mkdir()
        self.base, self.work = folder / "base.db", folder / "work.db"
        shutil.copy(setting.url.removeprefix("sqlite:///"), self.base)
        self.setting = _at(setting, self.base)
        self.context = asyncio.run(self._arrange())
        self.before = dump(self.base)
        self.met = False
        """Whether it was opened as a server opens it. Then its schema is only compared, which a
        rig of its own kills (R21): looking through all migrations takes longer than the rest."""

    async def _arrange(self) -> Context:
        node = Node.open(self.setting, Clock(START))
        try:
            if self.operation.arrange is not None:
                return await self.operation.arrange(node, self.setting)
        finally:
            await node.close()
        return None

    def everywhere(self, *, exhaustive: bool) -> None:
        first = self._child(None)
        steps, shapes = first["steps"], first["shapes"]
        wanted = self.operation.transactions
        if wanted and len(shapes) != wanted:
            self._wrong("-", f"{len(shapes)} transactions instead of {wanted}")
        for at in range(len(steps)) if exhaustive else self._some(steps):
            if self.plan.mutant is not None and not self.tally.sound:
                return
            committed = steps[:at].count("commit")
            self._child(at)
            self._examine(f"{steps[at]} ({at} of {len(steps)})", committed, shapes)
            self.tally.count("crashes")
        self.tally.count("operations")

    def _some(self, steps: list[str]) -> list[int]:
        """Just before the last commit, just behind it, and one step anywhere."""
        last = len(steps) - 1 - steps[::-1].index("commit")
        return sorted({last, last + 1, self.rng.randrange(len(steps))})

    def _child(self, die_before: int | None) -> dict[str, Any]:
        """Run the operation in a process of its own, on a copy; what it told before it ended."""
        for old in self.work.parent.glob("work.db*"):
            if old.is_file():
                old.unlink()
        shutil.copy(self.base, self.work)
        told = in_a_child(lambda: asyncio.run(self._act(die_before)))
        if "crashed" in told or (die_before is not None and told):
            self._wrong(die_before, f"was not interrupted: {told}")
        return {"steps": [], "shapes": []} | told

    async def _act(self, die_before: int | None) -> dict[str, Any]:
        parts = Parts(audit=LogsAfterwards) if self.plan.mutant == "logs-afterwards" else Parts()
        setting = _at(self.setting, self.work)
        node = Node.open(setting, Clock(START), parts, unfinished=True)  # it was opened before
        kind = CommitsEachUnit if self.plan.mutant == "commits-each-unit" else Dying
        dying = kind(node.database._writer, die_before)
        node.database._sequencer._writer = dying
        unanswered = Unanswered(node.database)
        await self.operation.act(node, setting, self.context)
        await unanswered.none()
        dying.step("answered")
        return {"steps": dying.steps, "shapes": dying.shapes}

    def _examine(self, where: str, committed: int, shapes: list[Any]) -> None:
        found = shape_of(self.work)
        if committed == 0:
            if dump(self.work) != self.before:
                self._wrong(where, "left something behind before it was committed")
        elif found != (after := shapes[min(committed, len(shapes)) - 1]):
            self._wrong(where, f"left neither before nor after: {difference(found, after)}")
        asyncio.run(self._come_back(where, committed, len(shapes)))

    async def _come_back(self, where: str, committed: int, of: int) -> None:
        setting = _at(self.setting, self.work)
        node = Node.open(setting, Clock(START), unfinished=self.met)
        self.met = True
        try:
            await node.audit.start()
            for problem in (await node.audit.verify()).problems:
                self._wrong(where, problem)
            refused = await self._again(node, setting)
            if self.operation.holds is not None:
                wrong = self.operation.holds(node, setting, self.context)
                if wrong is not None:
                    self._wrong(where, wrong)
        except Refused as cause:
            self._wrong(where, f"cannot start: {cause.detail}")
            return
        finally:
            await node.close()
        self.tally.acknowledged += 1
        if committed == 0 and refused is not None:
            self._wrong(where, f"nothing had happened, and it is refused afterwards: {refused}")
        if committed == of and self.operation.once and refused is None:
            self.tally.double_spent += 1

    async def _again(self, node: Node, setting: Setting) -> str | None:
        try:
            await self.operation.act(node, setting, self.context)
        except Refused as refused:
            return refused.detail
        return None

    def _wrong(self, where: object, what: str) -> None:
        self.tally.problems.append(f"{self.operation.name}, killed before {where}: {what}")


def _at(setting: Setting, path: Path) -> Setting:
    return replace(setting, url=f"sqlite:///{path}")
