"""R23: the process dies at every step of a backup and of a restore.

Steps are what changes a file (written, flushed, synced, renamed, removed, locked) and every
statement that changes a database (`steps`). A backup that is killed leaves nothing that passes for
a whole one and the database as it was, and the next one under the same name works. A restore that
is killed leaves what was there before, or what is restored, or something that no server starts on;
in none of them is alive what was taken back after the backup; and the next restore works.

Two restores: over the database of which the backup was made, and where that is lost.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from tests.fakes.backup_world import Scene, backed_up, configured, running
from tests.fakes.gateway_world import counting_http
from tests.faults.dying import dump, in_a_child
from tests.faults.harness import Plan, Rig, Tally
from tests.faults.steps import ANSWERED, Step, at_each, killed_at, some

from actfor.audit import EventType
from actfor.errors import Refused
from actfor.gateway.model import Http
from actfor.server import restore, verify_backup, write_backup
from actfor.server.settings import Settings
from actfor.store import snapshot

SHORT = 6
DECISIVE = {
    "posix.fsync",
    "posix.rename",
    "posix.replace",
    "posix.rmdir",
    "commit",
    "COMMIT",
    "VACUUM",
    ANSWERED[0],
}
"""At each of these it is killed also in the short column."""


def run(plan: Plan) -> Tally:
    """``cycles`` is at how many steps of each it is killed, besides those that decide."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="actfor-r22-") as short:  # sockets want short paths
        _all_kinds(plan, tally, Path(short))
    if tally.figures.get("not_reached", 0) * 10 > tally.figures["crashes"]:
        tally.problems.append(f"too many were not killed: {tally.figures}")
    return tally


def _all_kinds(plan: Plan, tally: Tally, folder: Path) -> None:
    with counting_http(folder / "journal") as url:
        scene = asyncio.run(backed_up(folder, Http(url)))
    for ballast in scene.data.glob("*.ballast"):
        ballast.unlink()  # sixteen megabytes of nothing in each copy
    for kind in WHAT[plan.mutant]:
        _killed(plan, tally, kind(folder, scene))


def _killed(plan: Plan, tally: Tally, what: Backups | Restores) -> None:
    wrong = WRONG[plan.mutant]
    first = what.fresh()
    told = killed_at(lambda: wrong(what.act, first), None)
    if "steps" not in told:
        raise RuntimeError(f"{what.name} that nobody interrupts does not work: {told}")
    steps: list[Step] = [(name, at) for name, at in told["steps"]]
    few = [step for step in steps if step[0] in DECISIVE]
    few += some([step for step in steps if step not in few], plan.rng, plan.cycles)

    def one(own: Tally, step: Step) -> None:
        folder = what.fresh()
        where = f"{what.name}, killed before {step[0]} ({step[1] + 1})"
        told = killed_at(lambda: wrong(what.act, folder), step)
        if "crashed" in told:
            own.problems.append(f"{where}: failed before: {told['crashed']}")
        own.count("not_reached", bool(told))
        problems = [f"{where}: {problem}" for problem in what.left(folder)]
        own.problems += problems
        own.acknowledged += not problems

    at_each(plan, tally, few, one)


class Backups:
    """A backup of a served database, under a name that is asked for again."""

    name = "a backup"

    def __init__(self, folder: Path, scene: Scene) -> None:
        self._folder, self._scene = folder, scene
        self._before = dump(scene.data / "actfor.db")
        self._rows = verify_backup(scene.settings, self._made(folder / "whole")).backup.rows

    def _made(self, file: Path) -> Path:
        write_backup(self._scene.settings, file)
        return file

    def fresh(self) -> Path:
        return _emptied(self._folder / f"backups-{os.getpid()}")

    def act(self, folder: Path) -> None:
        self._made(folder / "tuesday")

    def left(self, folder: Path) -> Iterator[str]:
        """What is wrong afterwards."""
        if dump(self._scene.data / "actfor.db") != self._before:
            yield "the database is another one"
        passing = [file for file in folder.iterdir() if self._passes(file)]
        for file in passing:
            rows = verify_backup(self._scene.settings, file).backup.rows
            if rows != self._rows:
                yield f"`{file.name}` passes for whole, with {rows} of {self._rows} rows"
        if folder / "tuesday" in passing:
            return  # it is there, and only nobody was told
        if told := in_a_child(lambda: self._again(folder)):
            yield f"no other can be made: {told['crashed']}"
        elif [file.name for file in folder.iterdir()] != ["tuesday"]:
            yield f"the next one leaves {sorted(file.name for file in folder.iterdir())}"
        elif not self._passes(folder / "tuesday"):
            yield "the next one is none"

    def _again(self, folder: Path) -> dict[str, Any]:
        self.act(folder)
        return {}

    def _passes(self, file: Path) -> bool:
        try:
            return not verify_backup(self._scene.settings, file, self._scene.cast.key).problems
        except Refused:
            return False


class Restores:
    """A restore over the database that the backup was made of."""

    name = "a restore"
    lost = False

    def __init__(self, folder: Path, scene: Scene) -> None:
        self._folder, self._scene = folder, scene

    def fresh(self) -> Path:
        """A copy of the data folder; of the keys only, where the rest is lost."""
        folder = _emptied(self._folder / f"restores-{os.getpid()}")
        there = self._scene.data / "keys" if self.lost else self._scene.data
        shutil.copytree(there, folder / "data/keys" if self.lost else folder / "data")
        return folder

    def act(self, folder: Path) -> None:
        settings = configured(folder / "data")
        there = (folder / "data/actfor.db").exists()
        asyncio.run(
            restore(
                settings, self._scene.file, key=self._scene.cast.key, replace=there,
                operators=() if there else ("Olivia",), erasures=self._scene.data / "erasures.jsonl",
            )
        )  # fmt: skip

    def left(self, folder: Path) -> Iterator[str]:
        """What is wrong afterwards: with what a server finds, and with the next restore."""
        look = _emptied(folder / "look")
        shutil.copytree(
            folder / "data", look / "data", ignore=shutil.ignore_patterns("*.ballast", "*.sock")
        )
        found = in_a_child(lambda: asyncio.run(_served(self._scene, configured(look / "data"))))
        yield from self._alive(found)
        if told := in_a_child(lambda: self._again(folder)):
            yield f"cannot be restored any more: {told['crashed']}"
            return
        found = in_a_child(lambda: asyncio.run(_served(self._scene, configured(folder / "data"))))
        yield from (f"restored again: {problem}" for problem in self._alive(found))
        if found.get("recoveries", 0) < 1:
            yield f"restored again, it is not what was restored: {found}"

    def _again(self, folder: Path) -> dict[str, Any]:
        self.act(folder)
        return {}

    def _alive(self, found: dict[str, Any]) -> Iterator[str]:
        if "crashed" in found:
            yield f"a server fails: {found['crashed']}"
        elif found.get("empty") and not self.lost:
            yield "a server starts on an empty database"
        yield from (f"a server starts, and {what}" for what in found.get("alive", ()))


class RestoresOfWhatIsLost(Restores):
    """A restore where only the keys are left."""

    name = "a restore of a lost database"
    lost = True


async def _served(scene: Scene, settings: Settings) -> dict[str, Any]:
    """What a server that starts on it makes of what was taken back; or why it does not start."""
    try:
        async with running(settings) as services:
            everyone = await services.people.people()
            if not everyone:
                return {"empty": True}
            states = {
                "a mandate that was revoked": (
                    await services.delegation.mandate(scene.cast.mandate)
                ).state,
                "an agent that was retired": (await services.agents.show("bookkeeper")).state,
                "Bob": (await services.people.person(scene.cast.bob.id)).state,
                "Carol": (await services.people.person(scene.cast.carol.id)).state,
            }
            alive = [f"{what} is active" for what, state in states.items() if state == "active"]
            alive += (await services.audit.verify()).problems
            recovered = await services.audit.search(limit=200)
            return {
                "alive": alive,
                "recoveries": sum(one.type == EventType.RECOVER for one in recovered),
            }
    except Refused as refused:
        return {"refused": refused.detail}


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


# -- mutants -----------------------------------------------------------------------------------------

Act = Callable[[Path], None]


def _as_it_is(act: Act, folder: Path) -> None:
    act(folder)


def _under_its_name(act: Act, folder: Path) -> None:
    """Mutant: a backup is written where it is asked for."""

    @contextmanager
    def there(file: Path) -> Iterator[IO[bytes]]:
        with file.open("xb") as raw:
            yield raw

    sys.modules[write_backup.__module__].__dict__["_named_when_whole"] = there
    act(folder)


def _in_place(act: Act, folder: Path) -> None:
    """Mutant: the database is filled where it is served, open to all; then everything is ended."""
    module = sys.modules[restore.__module__].__dict__
    module["_work"] = lambda settings, target: (None, settings)
    module["store"] = SimpleNamespace(
        load=lambda *given, closed: snapshot.load(*given, closed=False), finish=lambda tx: None
    )
    act(folder)


WHAT: dict[str | None, list[type[Backups | Restores]]] = {
    None: [Backups, Restores, RestoresOfWhatIsLost],
    "backs-up-under-its-name": [Backups],
    "restores-in-place": [RestoresOfWhatIsLost],
}
WRONG: dict[str | None, Callable[[Act, Path], None]] = {
    None: _as_it_is,
    "backs-up-under-its-name": _under_its_name,
    "restores-in-place": _in_place,
}

RIG = Rig(
    "R23", "the process dies while it backs up or restores", run, short=SHORT, release=10_000,
    mutants={"backs-up-under-its-name": SHORT, "restores-in-place": SHORT},
)  # fmt: skip
