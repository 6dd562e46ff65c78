"""A process that dies at one exact step of its writing connection, and what is left then."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.faults.harness import fork

from actfor.audit import AuditLog, Event
from actfor.store import Database, Tx
from actfor.store.batched import Queued
from actfor.store.sequencer import Job, Writer
from actfor.store.sqlite_writer import SqliteWriter


class RowByRow(SqliteWriter):
    """The product's writer; rows that wait are written one at a time, and each is told before."""

    tell: Callable[[str], None]

    def _put(self, rows: Sequence[Queued]) -> None:
        for row in rows:
            self.tell("row")
            super()._put([row])

    def _send_all(self) -> None:
        super()._send_all()
        self.tell("commit")


class Dying:
    """A writing connection that counts its steps, and kills the process before one of them."""

    def __init__(self, inner: Writer, die_before: int | None) -> None:
        self._inner: Any = inner
        self._inner.__class__ = RowByRow
        self._inner.tell = self.step
        self._die_before = die_before
        self.steps: list[str] = []
        self.shapes: list[Any] = []  # what stands after each commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def step(self, what: str) -> None:
        if len(self.steps) == self._die_before:
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps.append(what)

    def begin(self) -> None:
        self.step("begin")
        self._inner.begin()

    def run(self, statement: Any, params: Any) -> Any:
        self.step("statement")
        return self._inner.run(statement, params)

    def savepoint(self) -> None:
        self.step("savepoint")
        self._inner.savepoint()

    def release(self) -> None:
        self.step("release")
        self._inner.release()

    def rollback_to(self) -> None:
        self.step("rollback to savepoint")
        self._inner.rollback_to()

    def commit(self) -> None:
        self._inner.commit()
        self.step("committed")
        if self._die_before is None:
            self.shapes.append(shape(lambda sql: self._inner._connection.control(sql).fetchall()))


class Unanswered:
    """The units of a database that were asked for and are not answered yet, also the posted ones.

    A callback of a durable unit may ask for another: that is asked for before the first is over.
    """

    def __init__(self, database: Database) -> None:
        self._jobs: set[int] = set()
        sequencer = database._sequencer
        sequencer.submit = self._counting(sequencer.submit)  # type: ignore[assignment,method-assign] # only looks on
        sequencer.defer = self._counting(sequencer.defer)  # type: ignore[assignment,method-assign] # only looks on

    def _counting(self, ask: Callable[[Job], None]) -> Callable[[Job], None]:
        def counted(job: Job) -> None:
            settle = job.settle

            def settled(of: Job) -> None:
                settle(of)
                self._jobs.discard(id(of))

            job.settle = settled
            self._jobs.add(id(job))
            ask(job)

        return counted

    async def none(self) -> None:
        """Until there are none."""
        while self._jobs:
            await asyncio.sleep(0.001)


def in_a_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do it in a process of its own; what it told, ``crashed`` if it failed, empty if it died."""
    receiving, sending = os.pipe()
    child = fork()
    if child == 0:
        try:
            told = work()
        except BaseException as cause:
            told = {"crashed": repr(cause)}
        finally:
            with os.fdopen(sending, "w") as out:
                json.dump(told, out)
            os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as told_by:
        text = told_by.read()
    os.waitpid(child, 0)
    found: dict[str, Any] = json.loads(text) if text else {}
    return found


# -- what is found afterwards ------------------------------------------------------------------------


def shape(run: Callable[[str], list[Any]]) -> dict[str, Any]:
    """What stands in the database, without what is random: counts, sums, states, by table."""
    found: dict[str, Any] = {}
    for (table,) in run("SELECT name FROM sqlite_master WHERE type='table' ORDER BY name"):
        columns = run(f"PRAGMA table_info({table})")
        parts = ["count(*)"]
        parts += [f"total({name})" for _, name, kind, *_ in columns if kind == "INTEGER"]
        parts += [
            f"group_concat({name})" for _, name, *_ in columns if name in {"state", "type", "kind"}
        ]
        (row,) = run(f"SELECT {', '.join(parts)} FROM (SELECT * FROM {table} ORDER BY 1)")  # noqa: S608 - names from the schema
        found[table] = [
            dict(Counter(value.split(","))) if isinstance(value, str) else value for value in row
        ]
    return found


def shape_of(path: Path) -> dict[str, Any]:
    """``shape`` of a file, as JSON gives it back."""
    with closing(sqlite3.connect(path)) as database:
        made: dict[str, Any] = json.loads(
            json.dumps(shape(lambda sql: database.execute(sql).fetchall()))
        )
        return made


def dump(path: Path) -> list[str]:
    """The content of every table, as a reader who recovers the write-ahead log sees it."""
    with closing(sqlite3.connect(path)) as database:
        return [line for line in database.iterdump() if line.startswith("INSERT")]


def difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Which tables differ, and how."""
    return "; ".join(
        f"{table}: {found.get(table)} instead of {wanted.get(table)}"
        for table in sorted({*found, *wanted})
        if found.get(table) != wanted.get(table)
    )


# -- mutants -----------------------------------------------------------------------------------------


class CommitsEachUnit(Dying):
    """Mutant: a unit is committed as soon as it ends, before the tree head is written."""

    def release(self) -> None:
        super().release()
        self._inner.tell = lambda what: None
        self._inner.commit()
        self._inner.begin()
        self._inner.tell = self.step


class LogsAfterwards(AuditLog):
    """Mutant: the event is written in a transaction of its own, when the first is durable."""

    def append(self, tx: Tx, event: Event) -> int:
        tx.on_commit(lambda: self._database.post(lambda later: super(LogsAfterwards, self).append(later, event)))  # fmt: skip
        return 0
