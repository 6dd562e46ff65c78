"""Kills a process before one exact thing that it asks of the system or of a database.

No code is changed for it: the interpreter tells of every call of a C function (`sys.setprofile`),
and some of them are steps: what changes a file, and every statement but those that only read.
A step is named by what it does and by how often that was done before.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from random import Random
from types import FrameType
from typing import Any, Self

from tests.faults.dying import in_a_child
from tests.faults.harness import Plan, Tally, in_processes

FILES = frozenset(
    {
        "posix.chmod", "posix.fsync", "posix.ftruncate", "posix.link", "posix.mkdir",
        "posix.posix_fallocate", "posix.remove", "posix.rename", "posix.replace", "posix.rmdir",
        "posix.truncate", "posix.unlink", "posix.write", "fcntl.flock", "BufferedRandom.write",
        "BufferedWriter.close", "BufferedWriter.flush", "BufferedWriter.write", "FileIO.write",
        "TextIOWrapper.close", "TextIOWrapper.write",
    }
)  # fmt: skip
SQL = frozenset({"execute", "executemany", "commit", "rollback"})
AT_ONCE = 2
READS = ("SELECT", "PRAGMA", "EXPLAIN", "WITH")

Step = tuple[str, int]
"""What is done, and how often it was done before."""


ANSWERED: Step = ("answered", 0)
"""All is done, and nobody was told."""


class Steps:
    """Entered, it counts the steps of this process, also in threads that start later."""

    def __init__(self, die_before: Step | None = None) -> None:
        self._die_before = die_before
        self._times: Counter[str] = Counter()
        self.seen: list[Step] = []

    def __enter__(self) -> Self:
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type] # as `sys.setprofile`, it takes None

    def __call__(self, what: str) -> None:
        """One step. Killed here if it is the one."""
        step = (what, self._times[what])
        if step == self._die_before:
            os.kill(os.getpid(), signal.SIGKILL)
        self._times[what] += 1
        self.seen.append(step)

    def _called(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            what = _c_function(frame, called)
        elif event == "call" and frame.f_code.co_filename.endswith("/store/postgres_dbapi.py"):
            what = _postgres(frame)
        else:
            return
        if what is not None:
            self(what)


def _c_function(frame: FrameType, called: Any) -> str | None:
    name = called.__name__
    owner = getattr(called, "__self__", None)
    kind = type(owner).__name__
    if name in SQL and kind in {"Connection", "Cursor"}:
        return _statement(frame, name)
    full = f"{called.__module__ if kind in {'module', 'NoneType'} else kind}.{name}"
    return full if full in FILES else None


def _statement(frame: FrameType, name: str) -> str | None:
    if name in {"commit", "rollback"}:
        return name
    found = frame.f_locals.get("statement", frame.f_locals.get("sql", "?"))
    text = " ".join(str(found).split()[:3]).upper()
    return None if text in {"BEGIN", "ROLLBACK"} or text.startswith(READS) else text  # a reader's


def _postgres(frame: FrameType) -> str | None:
    if frame.f_code.co_name not in SQL:
        return None
    return _statement(frame, frame.f_code.co_name)


def killed_at(work: Callable[[], object], die_before: Step | None) -> dict[str, Any]:
    """Do it in a process of its own; empty if it was killed, else its ``steps``, or ``crashed``."""

    def watched() -> dict[str, Any]:
        with Steps(die_before) as steps:
            work()
        steps(ANSWERED[0])
        return {"steps": steps.seen}

    return in_a_child(watched)


def at_each(
    plan: Plan, tally: Tally, chosen: Sequence[Step], one: Callable[[Tally, Step], None]
) -> None:
    """Call ``one`` for each step, two at a time, each in a process that has a tally of its own."""

    def share(number: int) -> dict[str, Any]:
        own = Tally()
        gc.freeze()  # what stands here is not written to in each of many children
        for step in chosen[number::AT_ONCE]:
            if plan.mutant is None or own.sound:
                one(own, step)
                own.count("crashes")
        return asdict(own)

    for told in in_processes(share, AT_ONCE):
        tally.add(Tally(**told))


def some(steps: Iterable[Step], rng: Random, most: int) -> list[Step]:
    """The first and the last time that each thing is done, and others by dice: ``most`` in all."""
    steps = [*steps]
    times = Counter(what for what, _ in steps)
    edges = [step for step in steps if step[1] in {0, times[step[0]] - 1}]
    if len(edges) > most:
        edges = rng.sample(edges, most)
    rest = [step for step in steps if step not in edges]
    chosen = {*edges, *rng.sample(rest, min(len(rest), most - len(edges)))}
    return [step for step in steps if step in chosen]
