"""R15: a second history: a restored backup, a fork that went on, a second writer, a fenced node.

Whoever restores an older copy of the database brings back what was revoked since; whoever runs two
copies makes two logs of one name. A node must refuse to serve such a copy where a checkpoint was
kept outside it, however the copy went on; a witness must refuse the second history; a second
process must not write to a file that has a writer; and a node that was fenced must not write.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.conftest import Clock
from tests.fakes.witness_process import make as make_witness
from tests.faults.harness import Plan, Rig, Tally, in_lanes, in_processes
from tests.faults.node import ORIGIN, START, Node, Parts, Setting, prepare
from tests.faults.places import Places, kinds, started
from tests.faults.tamper import ForgetsWhatWasKept

from actfor.errors import Refused
from actfor.sdk.witness import Keeper
from actfor.store.places import parse
from actfor.store.postgres import Link, Location
from actfor.store.postgres_writer import PostgresWriter
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.note import Note
from actfor.wire.witness import AddCheckpoint, WitnessRefusal

WITNESS = "witness.example/rig"
LONGEST = 180.0


def run(plan: Plan) -> Tally:
    started()
    return in_lanes(plan, histories)


def histories(plan: Plan) -> Tally:
    tally, cycle, places = Tally(), 0, Places(plan.folder)
    while not plan.over(cycle, tally):
        seed = plan.rng.randrange(1 << 30)
        told = in_processes(partial(_in_files, plan, seed, cycle), 1, LONGEST)
        if "postgresql" in kinds() and cycle % 4 == 0:
            with places.fresh("postgresql") as (url, _):
                told += in_processes(partial(_fenced, plan, url, cycle), 1, LONGEST)
        for one in told:
            tally.acknowledged += one["refused"]
            tally.permits_after_revoke += one["revived"]
            tally.problems += one["problems"]
        cycle += 1
    return tally


# -- copies of a file --------------------------------------------------------------------------------


def _in_files(plan: Plan, seed: int, cycle: int, _: int) -> dict[str, Any]:
    own = Plan(1, seed, plan.folder / f"c{cycle}", plan.mutant)
    return asyncio.run(Copies(own).tried())


class Copies:
    """One log, a copy of it from before, and a witness who saw both of its futures."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.folder = plan, plan.folder
        self.parts = (
            Parts(audit=ForgetsWhatWasKept)
            if plan.mutant == "forgets-the-kept-checkpoint"
            else Parts()
        )
        self.problems: list[str] = []
        self.refused = self.revived = self.number = 0

    async def tried(self) -> dict[str, Any]:
        self.path = self.folder / "t.db"
        self.setting = await prepare(f"sqlite:///{self.path}", self.folder / "w", agents=2)
        node = Node.open(self.setting, Clock(START))
        keeper = self._witness(node)
        await self._grow(node)
        await self._cosigned(node, keeper)
        await node.close()
        shutil.copy(self.path, self.folder / "backup.db")

        node = Node.open(self.setting, Clock(START))
        self._second_writer()
        seen = (await node.audit.head()).size
        mandate = self.setting.delegations[1].mandate
        await node.delegation.revoke_mandate(self.setting.person, mandate.id, "stolen")
        await self._grow(node)
        kept = await self._cosigned(node, keeper)
        await node.close()

        shutil.copy(self.folder / "backup.db", self.path)
        await self._serve_again(kept, "an older copy")
        await self._fork(keeper, seen)
        await self._serve_again(kept, "a fork that went on")
        return {"refused": self.refused, "revived": self.revived, "problems": self.problems}

    def _witness(self, node: Node) -> Keeper:
        kind = Forgetful if self.plan.mutant == "forgetful-witness" else Keeper
        make_witness(self.folder / "witness", WITNESS, node.audit.verifier_key)
        return kind.open(self.folder / "witness")

    async def _grow(self, node: Node) -> None:
        for _ in range(self.plan.rng.randrange(1, 40)):
            self.number += 1
            n = self.plan.rng.randrange(1 << 40)  # another future has other numbers
            await node.decide(self.setting.delegations[0], n, f"once-{n}")

    async def _cosigned(self, node: Node, keeper: Keeper) -> str:
        """A checkpoint that the witness has cosigned, as the log asks for it."""
        note = await node.audit.checkpoint()
        known = keeper.latest(ORIGIN)
        old = known.size if known is not None else 0
        size = Checkpoint.parse(Note.parse(note).text).size
        proof = await node.audit.consistency(old, size)
        keeper.add_checkpoint(AddCheckpoint(old, tuple(proof), note).text(), 1_790_000_000)
        return note

    def _second_writer(self) -> None:
        try:
            second = Node.open(self.setting, Clock(START))
        except Refused:
            self.refused += 1
        else:
            self.problems.append("a second process writes to the same file")
            second.database.close_sync()

    async def _serve_again(self, kept: str, what: str) -> None:
        """The server's start, with the checkpoint that was kept outside the database."""
        node = Node.open(self.setting, Clock(START), self.parts)
        try:
            await node.audit.start(kept)
        except Refused:
            self.refused += 1
        else:
            self.problems.append(f"{what} is served, although a later checkpoint was kept")
            revived = self.setting.delegations[1]
            try:
                await node.decide(revived, 1, "once-revived")
                self.revived += 1
            except Refused:
                pass
        finally:
            await node.close()

    async def _fork(self, keeper: Keeper, seen: int) -> None:
        """The copy goes on by itself, signs, and asks the witness, in every way it might."""
        node = Node.open(self.setting, Clock(START), replace(self.parts, audit=ForgetsWhatWasKept))
        try:
            for _ in range(3):
                await self._grow(node)
            note = await node.audit.checkpoint()
            size = Checkpoint.parse(Note.parse(note).text).size
            known = keeper.latest(ORIGIN)
            assert known is not None
            for old in {0, min(seen, size), min(known.size, size), size}:
                proof = await node.audit.consistency(old, size)
                body = AddCheckpoint(old, tuple(proof), note).text()
                try:
                    keeper.add_checkpoint(body, 1_790_000_001)
                except WitnessRefusal:
                    self.refused += 1
                else:
                    self.problems.append(f"the witness cosigned a second history (old {old})")
        finally:
            await node.close()


class Forgetful(Keeper):
    """Mutant: a witness that forgets what it cosigned when that stands in the way."""

    def add_checkpoint(self, body: str, now: int) -> str:
        try:
            return super().add_checkpoint(body, now)
        except WitnessRefusal:
            self._state(ORIGIN).unlink(missing_ok=True)
            return super().add_checkpoint(body, now)


# -- a fenced node -----------------------------------------------------------------------------------


class IgnoresTheFence(PostgresWriter):
    """Mutant: takes whatever epoch is in the database for its own."""

    def begin(self) -> None:
        try:
            super().begin()
        except Exception:
            if not self.fenced:
                raise
            self.fenced = False
            self.rollback()
            ((self._epoch,),) = self._linked().fetch(
                "SELECT epoch FROM store_node WHERE id = $1", self._node
            )
            super().begin()


def _fenced(plan: Plan, url: str, cycle: int, _: int) -> dict[str, Any]:
    return asyncio.run(_two_nodes(url, plan.folder / f"f{cycle}", plan.mutant))


async def _two_nodes(url: str, folder: Path, mutant: str | None) -> dict[str, Any]:
    setting = await prepare(url, folder, agents=1)
    first, second = (Node.open(setting, Clock(START)) for _ in range(2))
    problems: list[str] = []
    refused = 0
    if mutant == "ignores-the-fence":
        first.database._writer.__class__ = IgnoresTheFence
    writer: Any = first.database._writer
    await _decided(first, setting, 1)
    await _decided(second, setting, 2)
    await asyncio.to_thread(_fence, setting, writer._node)
    for n in (3, 4):
        try:
            await _decided(first, setting, n)
            problems.append("a node that was fenced still writes")
        except Refused:
            refused += 1
    await _decided(second, setting, 5)
    problems += (await second.audit.verify()).problems
    await first.close()
    await second.close()
    return {"refused": refused, "revived": 0, "problems": problems}


async def _decided(node: Node, setting: Setting, n: int) -> None:
    await node.decide(setting.delegations[0], n, f"once-{n}")


def _fence(setting: Setting, node: str) -> None:
    """What an operator or a successor does: raise the epoch of a node."""
    location = parse(setting.url)
    assert isinstance(location, Location)
    link = Link(location)
    link.fetch("UPDATE store_node SET epoch = epoch + 1 WHERE id = $1", node)
    link.close()


RIG = Rig(
    "R15", "a second history: restored, forked, written twice, fenced", run,
    short=3, release=1_000,
    mutants={"forgets-the-kept-checkpoint": 2, "forgetful-witness": 2}
    | ({"ignores-the-fence": 2} if "postgresql" in kinds() else {}),
)  # fmt: skip
