"""What every rig shares: a seed that is printed, a history, a tally, and mutants it must catch.

A rig injects one kind of fault and counts what must never happen. It runs first on the product as
it is, where it must find nothing, and then on each of its *mutants*, where it must find something:
a rig that cannot fail shows nothing. A mutant is a subclass or a wrapper defined here, on the
test's side, and wired in the process under test; product code knows nothing of it.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

MOST_SHOWN = 20
MINUTES_OF_A_MUTANT = 2.0
"""Who was not caught by then is reported as not caught: a mutant must not keep a run from ending."""


class NotHere(Exception):  # noqa: N818 - a fact about the machine
    """This machine cannot stage the fault (no tmpfs, no PostgreSQL): reported, never passed over."""


@dataclass
class Tally:
    """What one run found. All but ``acknowledged`` and ``figures`` must stay empty."""

    acknowledged: int = 0
    lost: int = 0
    double_spent: int = 0
    permits_after_revoke: int = 0
    problems: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    largest: list[str] = field(default_factory=list)
    """Which figures are the largest seen; the others are sums."""

    @property
    def sound(self) -> bool:
        return not (self.lost or self.double_spent or self.permits_after_revoke or self.problems)

    def worst(self, name: str, value: float) -> None:
        """Keep the largest value seen of a figure."""
        if name not in self.largest:
            self.largest.append(name)
        self.figures[name] = max(self.figures.get(name, value), value)

    def count(self, name: str, value: float = 1) -> None:
        self.figures[name] = self.figures.get(name, 0) + value

    def add(self, other: Tally) -> None:
        """What was found elsewhere, too."""
        self.acknowledged += other.acknowledged
        self.lost += other.lost
        self.double_spent += other.double_spent
        self.permits_after_revoke += other.permits_after_revoke
        self.problems += other.problems
        for name, value in other.figures.items():
            (self.worst if name in other.largest else self.count)(name, value)

    def found(self) -> dict[str, Any]:
        """What was wrong, for people."""
        shown = {
            name: value
            for name in ("lost", "double_spent", "permits_after_revoke")
            if (value := getattr(self, name))
        }
        return shown | ({"problems": self.problems[:MOST_SHOWN]} if self.problems else {})


@dataclass
class Plan:
    """One run: how long, from which seed, where, and with which mutant (None: the product)."""

    cycles: int
    seed: int
    folder: Path
    mutant: str | None = None
    minutes: float | None = None
    lane: int | None = None  # which of the processes that share a run

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        dice = f"{self.seed}/{self.mutant}" + ("" if self.lane is None else f"/{self.lane}")
        self.rng = random.Random(dice)  # noqa: S311 - a schedule, not a secret
        self.began = time.monotonic()
        self.done = 0
        self._history: TextIO | None = None

    def remember(self, **what: Any) -> None:
        """One line of the history: client, operation, result; unknown where it was never told."""
        if self._history is None:
            self._history = (self.folder / "history.jsonl").open("a")
        self._history.write(json.dumps({"t": round(time.monotonic() - self.began, 6), **what}))
        self._history.write("\n")

    @property
    def late(self) -> bool:
        """Whether the time it was given is over."""
        return self.minutes is not None and time.monotonic() > self.began + self.minutes * 60

    def over(self, cycle: int, tally: Tally) -> bool:
        """Whether it is long enough; a mutant that was caught need not go on."""
        self.done = cycle
        if self.late:
            return True
        if self.mutant is None and cycle and cycle % max(1, self.cycles // 20) == 0:
            said = f"{tally.acknowledged} acknowledged, {tally.found() or 'nothing found'}"
            lane = "" if self.lane is None else f" in lane {self.lane}"
            print(f"  {cycle} of {self.cycles}{lane}: {said}", file=sys.stderr, flush=True)
        return cycle >= self.cycles or (self.mutant is not None and not tally.sound)

    def close(self) -> None:
        if self._history is not None:
            self._history.close()


@dataclass(frozen=True)
class Rig:
    """One fault. ``mutants`` gives for each how many cycles it may take to be caught."""

    name: str
    title: str
    run: Callable[[Plan], Tally]
    short: int
    release: int
    mutants: Mapping[str, int]
    needs: Callable[[], None] = lambda: None
    """Raises NotHere."""


def execute(
    rig: Rig,
    *,
    cycles: int,
    seed: int,
    folder: Path,
    mutants: bool = True,
    minutes: float | None = None,
) -> dict[str, Any]:
    """Run the rig and its mutants; the report's ``ok`` says whether all is as it must be."""
    began = time.monotonic()
    report: dict[str, Any] = {"rig": rig.name, "title": rig.title, "seed": seed, "cycles": cycles}
    try:
        rig.needs()
    except NotHere as reason:
        return report | {"ok": None, "not_run": str(reason)}
    plan = Plan(cycles, seed, folder / "product", minutes=minutes)
    tally = _one(rig, plan)
    report |= {
        "cycles": plan.done or cycles,
        "acknowledged": tally.acknowledged,
        "lost": tally.lost,
        "double_spent": tally.double_spent,
        "permits_after_revoke": tally.permits_after_revoke,
        "problems": tally.problems[:MOST_SHOWN],
        **{name: round(value, 3) for name, value in tally.figures.items()},
        "product_seconds": round(time.monotonic() - began, 1),
    }
    caught = {}
    for name, most in (rig.mutants if mutants else {}).items():
        run = _one(rig, Plan(most, seed, folder / name, name, MINUTES_OF_A_MUTANT))
        caught[name] = not run.sound
        print(f"  mutant {name}: {run.found() or 'SURVIVED'}", file=sys.stderr, flush=True)
    report |= {
        "mutants": len(caught),
        "mutants_caught": sum(caught.values()),
        "survived": [name for name, seen in caught.items() if not seen],
        "seconds": round(time.monotonic() - began, 1),
        "ok": tally.sound and all(caught.values()),
    }
    return report


def _one(rig: Rig, plan: Plan) -> Tally:
    try:
        return rig.run(plan)
    finally:
        plan.close()


def seed_or_new(given: str | None) -> int:
    """The seed to repeat, or a fresh one: every run is another run, and can be run again."""
    return int(given) if given else int.from_bytes(os.urandom(4), "big")


def scratch(where: str | None) -> Path:
    """A folder on a real disk: what is to survive must have been written somewhere."""
    return Path(tempfile.mkdtemp(prefix="actfor-faults-", dir=where))


def fork() -> int:
    """``os.fork`` once threads that were joined have really ended.

    ``Thread.join`` returns a little before the system's thread does. What OpenSSL cleans up in
    between it does under a lock, and a child that is forked then can never take it.
    """
    tasks, last = Path("/proc/self/task"), time.monotonic() + 1
    while tasks.is_dir() and len([*tasks.iterdir()]) > threading.active_count():
        if time.monotonic() > last:
            break  # threads of some library's own, that do not end
        time.sleep(0.0005)
    return os.fork()


def in_processes(work: Callable[[int], Any], count: int, seconds: float | None = None) -> list[Any]:
    """Run ``work(0)`` … in a process each, at the same time; what each returned, as JSON.

    Those that have not ended after so many ``seconds`` are killed, and the rig fails.
    """
    pipes = []
    for number in range(count):
        receiving, sending = os.pipe()
        child = fork()
        if child == 0:
            told: dict[str, Any] = {}
            try:
                told["done"] = work(number)
            except BaseException as cause:
                told["failed"] = repr(cause)
            finally:
                with os.fdopen(sending, "w") as out:
                    json.dump(told, out)
                os._exit(0)
        os.close(sending)
        pipes.append((child, receiving))
    results, until = [], None if seconds is None else time.monotonic() + seconds
    for child, receiving in pipes:
        if until is not None and not _told(receiving, until):
            for each, _ in pipes:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        with os.fdopen(receiving) as told_by:
            text = told_by.read()
        os.waitpid(child, 0)
        found = json.loads(text) if text else {"failed": "it died, or had to be ended"}
        if "failed" in found:
            raise RuntimeError(f"a process of the rig failed: {found['failed']}")
        results.append(found["done"])
    return results


def _told(receiving: int, until: float) -> bool:
    """Whether something came in time; a process tells all it has to tell at its end."""
    return bool(select.select([receiving], [], [], max(0.0, until - time.monotonic()))[0])


def in_lanes(plan: Plan, work: Callable[[Plan], Tally], lanes: int = 2) -> Tally:
    """Share the cycles among processes that know nothing of each other; what all of them found.

    For rigs that wait more than they work. A mutant has one lane: it ends at the first thing found.
    """
    if plan.mutant is not None or plan.cycles < lanes:
        return work(plan)
    tally = Tally()
    for done, told in in_processes(partial(_lane, plan, work, lanes), lanes):
        plan.done += done
        tally.add(Tally(**told))
    return tally


def _lane(
    plan: Plan, work: Callable[[Plan], Tally], lanes: int, number: int
) -> tuple[int, dict[str, Any]]:
    share = plan.cycles // lanes + (number < plan.cycles % lanes)
    folder = plan.folder / f"lane{number}"
    own = Plan(share, plan.seed, folder, plan.mutant, plan.minutes, number)
    try:
        tally = work(own)
        return own.done, asdict(tally)
    finally:
        own.close()
