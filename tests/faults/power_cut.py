"""R4: the power goes while records are written, on a disk that may lose or tear what is not synced.

`kill -9` cannot see a missing fsync: the page cache outlives the process. Here the store's own
writer, sequencer and log run over an SQLite whose file system is `tests.faults.disk`; the power goes
at a random write, sync or truncation, in the middle of commits, of checkpoints of the write-ahead
log, of recovery from the cut before. Then: every acknowledged leaf is there byte for byte, the once
that was spent with it is spent, the database is not corrupt, and the log continues every checkpoint
that was given out.

One connection does all (SQLite's shared memory has no place in such a VFS, so the lock is
exclusive); the pages and frames that are written are the product's.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import apsw
from tests.conftest import Clock, import_tables
from tests.faults.disk import Disk, DiskVfs
from tests.faults.harness import Plan, Rig, Tally
from tests.faults.node import ORIGIN, START

from actfor.audit import AuditLog, Event, EventType, NoteSigner
from actfor.audit import repository as log_rows
from actfor.delegation.repository import grants
from actfor.delegation.repository.tables import proof as proof_table
from actfor.errors import Refused
from actfor.store import Tx, metadata
from actfor.store import sqlite as dialect
from actfor.store.ballast import Ballast
from actfor.store.failures import StorageFailure
from actfor.store.sequencer import Job, Sequencer
from actfor.store.sqlite import Location, SqliteConnection
from actfor.store.sqlite_writer import SqliteWriter
from actfor.wire.log_entry import LogEntry

T = TypeVar("T")
LINEAGE = 16  # cuts of one disk, each after the recovery from the one before
TABLES = ("log_", "data_key", "root_key", "spent_proof")


# -- the store over the disk -----------------------------------------------------------------------


class Raw:
    """An apsw connection that looks like sqlite3's to `SqliteConnection`."""

    def __init__(self, vfs: str, path: Path) -> None:
        self._db = apsw.Connection(str(path), vfs=vfs, statementcachesize=512)
        self.execute("PRAGMA locking_mode=EXCLUSIVE")

    def execute(self, sql: str, params: Any = ()) -> RawCursor:
        try:
            before = self._db.total_changes()
            cursor = self._db.execute(sql, params)
            return RawCursor(cursor, self._db.total_changes() - before)
        except apsw.Error as cause:
            raise _translated(cause) from cause

    @property
    def in_transaction(self) -> bool:
        return bool(self._db.in_transaction)

    def close(self) -> None:
        try:
            self._db.close(True)
        except apsw.Error:
            pass  # there is no power to close it with


class RawCursor:
    def __init__(self, cursor: apsw.Cursor, changed: int) -> None:
        self._cursor, self.rowcount = cursor, changed

    def fetchall(self) -> list[Any]:
        try:
            return list(self._cursor.fetchall())
        except apsw.Error as cause:
            raise _translated(cause) from cause

    def fetchone(self) -> Any:
        try:
            return self._cursor.fetchone()
        except apsw.Error as cause:
            raise _translated(cause) from cause


def _translated(cause: apsw.Error) -> sqlite3.Error:
    error = (
        sqlite3.IntegrityError if isinstance(cause, apsw.ConstraintError) else sqlite3.OperationalError
    )(str(cause))  # fmt: skip
    error.sqlite_errorcode = getattr(cause, "extendedresult", 0) or apsw.SQLITE_IOERR
    return error


class DiskWriter(SqliteWriter):
    """The product's writer; only the way to the file differs, and nobody else can lock it."""

    def __init__(self, location: Location, vfs: str, level: str, pages: int) -> None:
        self._path = location.path
        self._lock = os.open(os.devnull, os.O_RDONLY)
        self._ballast = Ballast(location.path, 0)
        connection = SqliteConnection(Raw(vfs, location.path))  # type: ignore[arg-type] # it looks like one
        try:
            dialect._expect(connection, "journal_mode", "WAL", {"wal"})
            dialect._expect(connection, "synchronous", location.synchronous, {2, 3})
            connection.control(f"PRAGMA wal_autocheckpoint={pages}").fetchall()
            connection.control(f"PRAGMA synchronous={level}").fetchall()  # FULL, or a mutant's
        except BaseException:
            connection.close()
            os.close(self._lock)
            raise
        self._connection = connection
        self._files = []
        self._broken = False

    def let_go(self) -> None:
        """The process is gone; nothing is folded in."""
        self._connection.close()
        os.close(self._lock)


class DiskDatabase:
    """`Database` for a log that runs on one connection: reads take their turn with the writes."""

    def __init__(self, writer: DiskWriter, clock: Clock) -> None:
        self._writer = writer
        self._sequencer = Sequencer(writer, clock.now)

    def submit(self, unit: Callable[[Tx], T]) -> Future[T]:
        answer: Future[T] = Future()

        def settle(job: Job) -> None:
            if job.error is None:
                answer.set_result(job.result)
            else:
                answer.set_exception(job.error)

        self._sequencer.submit(Job(unit, settle, None))
        return answer

    def read_sync(self, unit: Callable[[Tx], T]) -> T:
        return self.submit(unit).result(60)

    async def read(self, unit: Callable[[Tx], T]) -> T:
        return self.read_sync(unit)

    async def write(self, unit: Callable[[Tx], T]) -> T:
        return self.read_sync(unit)

    def control(self, sql: str) -> list[Any]:
        """A text on the writing connection, in its thread's turn, inside a transaction."""
        return self.read_sync(lambda tx: self._writer._connection.control(sql).fetchall())

    def let_go(self) -> None:
        self._sequencer.close()
        self._writer.let_go()


# -- the rig ---------------------------------------------------------------------------------------


class Machine:
    """A computer with one disk: switched on, worked on, cut, and switched on again."""

    def __init__(self, plan: Plan, tally: Tally, runner: asyncio.Runner) -> None:
        self.plan, self.tally, self.runner = plan, tally, runner
        self.level = {"normal": "NORMAL", "off": "OFF"}.get(plan.mutant or "", "FULL")
        self.vfs = DiskVfs("actfor-disk")
        self.path = plan.folder / "cut.db"
        for name in ("cut.db", "cut.db-wal"):  # the writer looks whether its files are still there
            (plan.folder / name).touch()
        self.signer = NoteSigner.generate(ORIGIN)
        self.clock = Clock(START)
        self.factory = self._factory()
        self.renew()

    def _factory(self) -> Disk:
        """A disk with empty tables, all of it synced."""
        disk = self.vfs.disk = Disk(self.plan.rng)
        raw = SqliteConnection(Raw(self.vfs.name, self.path))  # type: ignore[arg-type] # it looks like one
        raw.control("PRAGMA journal_mode=WAL").fetchall()
        raw.control("PRAGMA synchronous=FULL").fetchall()
        for table in metadata.sorted_tables:
            if table.name.startswith(TABLES):
                raw.control(dialect._ddl(dialect.CreateTable(table))).fetchall()
                for index in table.indexes:
                    raw.control(dialect._ddl(dialect.CreateIndex(index))).fetchall()
        raw.control("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        raw.close()
        return disk

    def renew(self) -> None:
        """A new disk, as from the factory: nothing was acknowledged on it."""
        lying = self.plan.mutant == "lying-disk"
        self.disk = Disk(self.plan.rng, lying=lying)
        for name, stored in self.factory.files.items():
            copy = type(stored)(bytearray(stored.seen), bytearray(stored.seen))
            self.disk.files[name] = copy
        self.acknowledged: dict[int, int] = {}  # number: index of its leaf
        self.leaves: dict[int, bytes] = {}  # those that were seen after a cut, as they were
        self.numbers: dict[int, Any] = {}
        self.number = 0
        self.retained: str | None = None

    def start(self) -> tuple[DiskDatabase, AuditLog]:
        self.vfs.disk = self.disk
        pages = self.plan.rng.choice((4, 16, 1000))
        writer = DiskWriter(Location(self.path), self.vfs.name, self.level, pages)
        database = DiskDatabase(writer, self.clock)
        return database, AuditLog(database, self.signer, ORIGIN, self.clock.now)  # type: ignore[arg-type] # it looks like one

    def cut(self) -> None:
        """Work until the power goes; the dice decide what is left on the disk."""
        self.disk.left = self.plan.rng.randrange(1, self.plan.rng.choice((20, 80, 400)))
        try:
            database, log = self.start()
        except (Refused, StorageFailure, sqlite3.Error):
            self.tally.count("cut_during_recovery")
        else:
            self._work(database, log)
            database.let_go()
        self.disk = self.disk.after_the_cut()

    def _work(self, database: DiskDatabase, log: AuditLog) -> None:
        while self.disk.on:
            if self.plan.rng.random() < 0.15:
                try:
                    self.retained = self.runner.run(log.checkpoint())
                except Refused as refused:
                    self._refused(refused)
                    return
            batch = [self._unit(log) for _ in range(self.plan.rng.choice((1, 1, 2, 5)))]
            sent = [(number, database.submit(unit)) for number, unit in batch]
            for number, answer in sent:
                try:
                    self.acknowledged[number] = answer.result(60)
                    self.tally.acknowledged += 1
                except Refused as refused:
                    if self._refused(refused):
                        return
                except Exception as cause:  # a corrupt file may give back anything
                    self._spoiled(f"fails at work: {cause!r}")
                    return  # it may never write again, and the power would never go

    def _refused(self, why: Refused) -> bool:
        """Without power that is the right answer; with it, nothing was asked that may be refused."""
        if self.disk.on:
            self._spoiled(f"refuses to work: {why}")
        return self.disk.on

    def _unit(self, log: AuditLog) -> tuple[int, Callable[[Tx], int]]:
        self.number += 1
        number = self.number
        facts: dict[str, Any] = {"n": number, "decision": "deny"}
        event = Event(EventType.DECIDE, f"dec_{number}", facts, {"secret": "x" * (number % 900)})

        def unit(tx: Tx) -> int:
            grants.spend(tx, f"once-{number}", START)
            return log.append(tx, event)

        return number, unit

    def check(self, *, thorough: bool) -> None:
        """Switch on with the power there to stay, and compare."""
        try:
            database, log = self.start()
        except (Refused, StorageFailure, sqlite3.Error) as cause:
            self._spoiled(f"does not open: {cause}")
            return
        try:
            self._compare(database, log)
            if thorough:
                self.tally.problems += self.runner.run(log.verify()).problems
        except Exception as cause:  # a corrupt file may give back anything
            self._spoiled(f"cannot be read: {cause!r}")
        finally:
            database.let_go()

    def _spoiled(self, how: str) -> None:
        self.tally.count("corrupt")
        self.tally.problems.append(f"after a cut the database {how}")

    def _compare(self, database: DiskDatabase, log: AuditLog) -> None:
        (integrity,) = database.control("PRAGMA quick_check")[0]
        if integrity != "ok":
            self._spoiled(f"is corrupt: {integrity}")
        found = database.read_sync(lambda tx: log_rows.leaves(tx, 0, log_rows.head(tx).size))
        spent = database.read_sync(lambda tx: {row[0] for row in tx.run(_SPENT)})
        for index, leaf in self.leaves.items():
            if index < len(found) and found[index][0] != leaf:
                self.tally.problems.append(f"leaf {index} is another one after the cut")
        numbers = [self._number_of(index, leaf) for index, (leaf, _) in enumerate(found)]
        for number, index in self.acknowledged.items():
            self.tally.lost += not (index < len(numbers) and numbers[index] == number)
        if spent != {f"once-{number}" for number in numbers}:
            self.tally.problems.append("what is spent is not what is in the log")
        self.runner.run(log.start(self.retained))

    def _number_of(self, index: int, leaf: bytes) -> Any:
        """The number in a leaf; each is decoded once, and must stay the one it was."""
        if index not in self.leaves:
            self.leaves[index] = leaf
            self.numbers[index] = LogEntry.decode(leaf).facts["n"]
        return self.numbers[index]


_SPENT = proof_table.select().with_only_columns(proof_table.c.once)


def run(plan: Plan) -> Tally:
    import_tables()
    tally = Tally()
    with asyncio.Runner() as runner:
        machine, cycle = Machine(plan, tally, runner), 0
        while not plan.over(cycle, tally):
            machine.cut()
            cycle += 1
            last = cycle % LINEAGE == 0 or cycle == plan.cycles
            if plan.rng.random() < 0.75 or last:  # else the next cut comes during recovery
                machine.check(thorough=last)
            if last:
                machine.renew()
    return tally


RIG = Rig(
    "R4", "power cut on a disk that loses and tears what was not synced", run,
    short=2_000, release=100_000, mutants={"normal": 200, "off": 200, "lying-disk": 200},
)  # fmt: skip
