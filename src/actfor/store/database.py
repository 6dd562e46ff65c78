"""The face of the store: open, write, read, close."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TypeVar

from sqlalchemy import MetaData

from actfor.store import nodes, sqlite
from actfor.store.ballast import Ballast
from actfor.store.failures import StorageFailure, not_readable
from actfor.store.feed import Feed
from actfor.store.nodes import register
from actfor.store.places import Location, parse
from actfor.store.postgres import apart
from actfor.store.postgres_writer import PostgresWriter
from actfor.store.readers import PostgresReaders, Readers, SqliteReaders
from actfor.store.sequencer import Job, Sequencer, Writer
from actfor.store.sqlite_writer import SqliteWriter
from actfor.store.tables import metadata
from actfor.store.transaction import Ask, Tx

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Database:
    """One database: its sequencer, its readers, its change feed. Make it with ``open``."""

    def __init__(
        self, location: Location, clock: Callable[[], datetime], *, reserve: int = 0
    ) -> None:
        self._writer, self._readers, self.feed = _opened(location, clock, reserve)
        self._sequencer = Sequencer(self._writer, clock)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Callable[[], datetime],
        create_all: bool = False,
        unfinished: bool = False,
        reserve: int = 0,
    ) -> Database:
        """Open the database, bring its schema up to date, start the sequencer.

        ``clock`` returns the current time as an aware datetime; it stamps ``Tx.now``.
        ``create_all`` makes the tables from ``metadata`` instead of running migrations: for tests
        and tools that own the file; never for a database that another release has to read.
        ``unfinished`` opens what ``snapshot.load`` filled and closed, of this release's schema:
        for the restore that is under way, and for nobody who serves.
        ``reserve`` bytes beside an SQLite file are kept for revocations on a full disk.

        Raises:
            Refused: MALFORMED for a bad url or setting (named), CONFLICT where durability is not
                granted or the schema is newer than this release, BUSY where the database cannot be
                opened or, on SQLite, another writer holds it.
        """
        location = parse(url)
        if reserve and isinstance(location, sqlite.Location) and location.path.exists():
            Ballast.make_way(location.path)
        if create_all:
            make_tables(location, metadata)
        elif not unfinished:
            from actfor.store.migrations import migrate

            if isinstance(location, sqlite.Location):
                migrate(url)
            else:
                apart(lambda: migrate(url))
        return cls(location, clock, reserve=reserve)

    async def write(self, unit: Callable[[Tx], T], ahead: Sequence[Ask] = ()) -> T:
        """Run a unit in the sequencer; return when its effects are durable.

        Units that wait together share one transaction and one fsync; one that fails is undone by
        itself. If the caller is cancelled, the unit may or may not have happened. ``ahead`` is what
        the unit will ask first, so that it can be asked in one round trip; what is told there is
        not trusted, and a unit may ask something else.

        Raises:
            Refused: BUSY when the record could not be made durable; no effect is visible then.
            Exception: whatever the unit raises; its own effects are rolled back.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(job: Job) -> None:
            if answer.done():
                return
            if job.error is None:
                answer.set_result(job.result)
            else:
                answer.set_exception(job.error)

        self._sequencer.submit(Job(unit, settle, loop, ahead=ahead))
        return await answer

    def post(self, unit: Callable[[Tx], object]) -> None:
        """Queue a unit that nobody waits for; ``close`` still commits it. Failures are logged.

        It shares the commit of the next unit that somebody waits for, and runs before that one;
        without one it is committed by itself a moment later (``sequencer.COMPANY_SECONDS``).

        Raises:
            Refused: BUSY when it cannot even be queued.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        self._sequencer.defer(Job(unit, _log_failure, loop))

    def write_sync(self, unit: Callable[[Tx], T]) -> T:
        """``write`` for code without an event loop: the CLI, recovery, tests."""
        if self._sequencer.is_current_thread():
            raise RuntimeError("a unit cannot wait for another unit")
        answer: Future[T] = Future()

        def settle(job: Job) -> None:
            if job.error is None:
                answer.set_result(job.result)
            else:
                answer.set_exception(job.error)

        self._sequencer.submit(Job(unit, settle, None))
        return answer.result()

    async def compact(self, tables: Sequence[str]) -> None:
        """Leave nothing of what was deleted from ``tables`` in the database's own files.

        SQLite writes the file anew and empties the write-ahead log; PostgreSQL writes these tables
        anew. Nothing else is written meanwhile. Not covered: copies (backups, replicas, the
        write-ahead log of PostgreSQL until it is recycled) and freed blocks of the file system.

        Raises:
            Refused: BUSY when it could not be done, for lack of room or because of a long reader.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()

        def settle(job: Job) -> None:
            if answer.done():
                return
            if job.error is None:
                answer.set_result(None)
            else:
                answer.set_exception(job.error)

        self._sequencer.submit(Job(lambda _: None, settle, loop, compacts=tuple(tables)))
        await answer

    async def read(self, unit: Callable[[Tx], T]) -> T:
        """Run a unit on a snapshot of what is committed; it cannot write.

        On SQLite it runs at once, on the event loop, without a thread: keep it small. On PostgreSQL
        it runs in another thread.

        Raises:
            Refused: BUSY when the database cannot be read.
        """
        try:
            return await self._readers.read(unit)
        except StorageFailure as cause:
            logger.exception("the database could not be read")
            raise not_readable() from cause

    def read_sync(self, unit: Callable[[Tx], T]) -> T:
        """``read`` without an event loop."""
        try:
            return self._readers.read_sync(unit)
        except StorageFailure as cause:
            logger.exception("the database could not be read")
            raise not_readable() from cause

    async def close(self) -> None:
        """Commit what is queued, fold the write-ahead log into the file, close."""
        await asyncio.to_thread(self.close_sync)

    def close_sync(self) -> None:
        """``close`` without an event loop."""
        self._sequencer.close()
        self._readers.close()
        self._writer.close()

    @property
    def commits(self) -> int:
        """How many transactions were committed since ``open``."""
        return self._sequencer.commits

    @property
    def units(self) -> int:
        """How many units those transactions held."""
        return self._sequencer.units


def _opened(
    location: Location, clock: Callable[[], datetime], reserve: int
) -> tuple[Writer, Readers, Feed]:
    if isinstance(location, sqlite.Location):
        return SqliteWriter(location, reserve), SqliteReaders(location, clock), Feed(None, "", 0)
    node, last = register(location, clock())
    return (
        PostgresWriter(location, node),
        PostgresReaders(location, clock),
        Feed(location, node, last),
    )


def make_readers(location: Location, clock: Callable[[], datetime]) -> Readers:
    """Readers of a database that somebody else may be writing."""
    if isinstance(location, sqlite.Location):
        return SqliteReaders(location, clock)
    return PostgresReaders(location, clock)


def make_tables(location: Location, tables: MetaData) -> None:
    """Make these tables where they are not there yet, without migrations."""
    if isinstance(location, sqlite.Location):
        sqlite.create_all(location, tables)
    else:
        nodes.create_all(location, tables)


def _log_failure(job: Job) -> None:
    if job.error is not None:
        logger.error("a posted unit failed", exc_info=job.error)
