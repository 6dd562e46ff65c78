"""R8: the disk is full, in the middle of everything; revoking still works.

The database is on a small tmpfs that a filler file exhausts. What is acknowledged is there; what
cannot be made durable is refused; a revocation is recorded even now, out of the reserve that the
store keeps for it; and when there is room again nobody has to do anything.
"""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.conftest import Clock
from tests.faults.harness import NotHere, Plan, Rig, Tally, in_lanes, in_processes
from tests.faults.node import START, Node, Setting, examine, prepare

from actfor.errors import Refused
from actfor.store.ballast import BALLAST_BYTES
from actfor.store.failures import StorageFailure
from actfor.store.sqlite_writer import SqliteWriter

MEGABYTES = 64
AGENTS = 4
RECOVERY_SECONDS = 5.0
LONGEST = 180.0


def needed() -> None:
    """Raises NotHere where no tmpfs can be mounted."""
    if os.geteuid() != 0:
        raise NotHere("mounting a small tmpfs takes root")
    try:
        with TemporaryDirectory() as folder, small_disk(Path(folder) / "try"):
            pass
    except (OSError, subprocess.CalledProcessError) as cause:
        raise NotHere(f"a small tmpfs cannot be mounted here: {cause}") from cause


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={MEGABYTES}m"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def run(plan: Plan) -> Tally:
    return in_lanes(plan, filled)


def filled(plan: Plan) -> Tally:
    tally, cycle = Tally(), 0
    while not plan.over(cycle, tally):
        with small_disk(plan.folder / f"disk{cycle}") as disk:
            seed = plan.rng.randrange(1 << 30)
            (told,) = in_processes(
                partial(_cycle, disk, plan.folder, seed, plan.mutant), 1, LONGEST
            )
        tally.acknowledged += told["acknowledged"]
        tally.lost += told["lost"]
        tally.double_spent += told["double_spent"]
        tally.problems += told["problems"]
        tally.permits_after_revoke += told["after"]
        tally.count("refused_while_full", told["refused"])
        tally.count("revoked_while_full", told["revoked"])
        cycle += 1
    return tally


def _cycle(disk: Path, folder: Path, seed: int, mutant: str | None, _: int) -> dict[str, Any]:
    return asyncio.run(_full(disk, folder, seed, mutant))


async def _full(disk: Path, folder: Path, seed: int, mutant: str | None) -> dict[str, Any]:
    plan = Plan(1, seed, folder / f"p{seed}")
    setting = await prepare(f"sqlite:///{disk}/t.db", plan.folder / "w", agents=AGENTS)
    reserve = 0 if mutant == "no-reserve" else BALLAST_BYTES
    node = Node.open(setting, Clock(START), reserve=reserve)
    if mutant in MUTANTS:
        node.database._writer.__class__ = MUTANTS[mutant]
    tally, acknowledged, refused, number = Tally(), dict[int, int](), 0, 0

    async def some(count: int) -> None:
        nonlocal number, refused
        for _ in range(count):
            batch = range(number, number + plan.rng.choice((1, 4)))
            number += len(batch)
            # The last agent's mandate is the one that is revoked.
            asked = [
                node.decide(setting.delegations[n % (AGENTS - 1)], n, f"once-{n}") for n in batch
            ]
            for n, answer in zip(
                batch, await asyncio.gather(*asked, return_exceptions=True), strict=True
            ):
                if isinstance(answer, int):
                    acknowledged[n] = answer
                elif isinstance(answer, Refused):
                    refused += 1
                else:
                    tally.problems.append(f"a decision on a full disk: {answer!r}")

    await some(plan.rng.randrange(5, 60))
    filler = _fill(disk, leave=plan.rng.randrange(0, 64 * 1024))
    await some(60)
    if not refused:
        tally.problems.append("the disk never became full")
    revoked = await _revoke(node, setting, tally)
    filler.unlink()
    before, deadline = len(acknowledged), time.monotonic() + RECOVERY_SECONDS
    while len(acknowledged) == before and time.monotonic() < deadline:
        await some(5)
        await asyncio.sleep(0.05)
    if len(acknowledged) == before:
        tally.problems.append("there is room again, and nothing is recorded")
    after = await _refused_now(node, setting) if revoked else 0
    await node.close()
    again = Node.open(setting, Clock(START))
    await examine(again, setting, acknowledged, tally, None)
    await again.close()
    return {
        "acknowledged": len(acknowledged), "lost": tally.lost, "problems": tally.problems,
        "double_spent": tally.double_spent, "refused": refused, "revoked": revoked, "after": after,
    }  # fmt: skip


def _fill(disk: Path, *, leave: int) -> Path:
    """Take all the room there is but so many bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(64 * 1024))
        except OSError as cause:
            if cause.errno != errno.ENOSPC:
                raise
        out.truncate(max(0, out.tell() - leave))
    return filler


async def _revoke(node: Node, setting: Setting, tally: Tally) -> int:
    try:
        mandate = setting.delegations[-1].mandate
        await node.delegation.revoke_mandate(setting.person, mandate.id, "disk full")
    except Refused as refused:
        tally.problems.append(f"a mandate cannot be revoked on a full disk: {refused.detail}")
        return 0
    return 1


async def _refused_now(node: Node, setting: Setting) -> int:
    with suppress(Refused):
        await node.decide(setting.delegations[-1], 99_999_999, "once-after")
        return 1
    return 0


class Swallows(SqliteWriter):
    """Mutant: a commit that failed for want of room is taken for done."""

    def commit(self) -> None:
        with suppress(StorageFailure):
            super().commit()

    def run(self, statement: Any, params: Any, /) -> Any:
        try:
            return super().run(statement, params)
        except StorageFailure:
            return _Nothing()


class _Nothing:
    rowcount = 1

    def fetchall(self) -> list[Any]:
        return []

    def fetchone(self) -> None:
        return None


class GivesUp(SqliteWriter):
    """Mutant: after the first failure nothing is written any more until somebody restarts it."""

    def rollback(self) -> None:
        self._broken = True
        super().rollback()


MUTANTS: dict[str, type[SqliteWriter]] = {"failure-is-success": Swallows, "gives-up": GivesUp}

RIG = Rig(
    "R8", "the disk is full; revoking still works", run, short=20, release=1_000,
    mutants={"failure-is-success": 1, "gives-up": 1, "no-reserve": 4}, needs=needed,
)  # fmt: skip
