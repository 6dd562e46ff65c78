"""Reading: one consistent snapshot for each unit, on either database."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from actfor.store import postgres, sqlite
from actfor.store.failures import StorageFailure
from actfor.store.statements import Scalar, Statement
from actfor.store.transaction import ReadOnly, Result, Tx

logger = logging.getLogger(__name__)
T = TypeVar("T")

THREADS = 4
"""Connections to PostgreSQL that read. A read takes a millisecond or two of one."""

_RETRY_SECONDS = 0.5
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Readers(Protocol):
    """How units read on a dialect. Both raise ``StorageFailure`` where nothing can be read."""

    async def read(self, unit: Callable[[Tx], T]) -> T:
        """Run a unit on a snapshot, without keeping the event loop waiting for a network."""
        ...

    def read_sync(self, unit: Callable[[Tx], T]) -> T:
        """``read`` without an event loop."""
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...


class SqliteReaders:
    """A connection for each thread that reads; a read is a few microseconds in the same process."""

    def __init__(self, location: sqlite.Location, clock: Callable[[], datetime]) -> None:
        self._location = location
        self._clock = clock
        self._local = threading.local()
        self._all: list[sqlite.SqliteConnection] = []  # to close
        self._lock = threading.Lock()

    async def read(self, unit: Callable[[Tx], T]) -> T:
        """At once, on the event loop."""
        return self.read_sync(unit)

    def read_sync(self, unit: Callable[[Tx], T]) -> T:
        """See ``Readers``."""
        reader = self._reader()
        reader.control("BEGIN")
        tx = Tx(reader, self._clock(), {})
        try:
            return unit(tx)
        finally:
            tx.close()
            reader.control("ROLLBACK")

    def close(self) -> None:
        """See ``Readers``."""
        with self._lock:
            while self._all:
                self._all.pop().close()

    def _reader(self) -> sqlite.SqliteConnection:
        known: sqlite.SqliteConnection | None = getattr(self._local, "reader", None)
        if known is None:
            known = self._local.reader = sqlite.open_reader(self._location)
            with self._lock:
                self._all.append(known)
        return known


class _Reading(ReadOnly):
    """A link as units see it while they read."""

    def __init__(self, link: postgres.Link) -> None:
        self._link = link

    def run(self, statement: Statement, params: Mapping[str, Scalar], /) -> Result:
        return self._link.run(statement, params)

    def patience(self) -> None:
        self._link.patience()


class _Job:
    __slots__ = ("answer", "asked", "unit")

    def __init__(self, unit: Callable[[Tx], Any]) -> None:
        self.unit = unit
        self.answer: Future[Any] = Future()
        self.asked = time.monotonic()


class PostgresReaders:
    """A few threads with a connection each, made when first needed and again after a failure."""

    def __init__(self, location: postgres.Location, clock: Callable[[], datetime]) -> None:
        self._location = location
        self._clock = clock
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._threads: list[threading.Thread] | None = None
        self._refused_until = 0.0  # after a failed connect; any thread may write it

    async def read(self, unit: Callable[[Tx], T]) -> T:
        """In one of the threads."""
        value: T = await asyncio.wrap_future(self._submit(unit))
        return value

    def read_sync(self, unit: Callable[[Tx], T]) -> T:
        """In one of the threads, too: the caller's may have an event loop that turns."""
        value: T = self._submit(unit).result()
        return value

    def close(self) -> None:
        """See ``Readers``."""
        with self._closing:
            threads, self._threads = self._threads or [], []
            for _ in threads:
                self._queue.put(None)
        for thread in threads:
            thread.join()

    def _submit(self, unit: Callable[[Tx], Any]) -> Future[Any]:
        job = _Job(unit)
        with self._closing:
            if self._threads is None:
                self._threads = [
                    threading.Thread(target=self._serve, name=f"actfor-reader-{n}", daemon=True)
                    for n in range(THREADS)
                ]
                for thread in self._threads:
                    thread.start()
            if not self._threads:
                raise StorageFailure("the database is closed")
            self._queue.put(job)
        return job.answer

    def _serve(self) -> None:
        link: postgres.Link | None = None
        while (job := self._queue.get()) is not None:
            if not job.answer.set_running_or_notify_cancel():
                continue
            try:
                until = job.asked + postgres.WAIT_SECONDS
                if time.monotonic() > until:
                    raise StorageFailure("too many reads wait for the database")  # noqa: TRY301
                link = self._begun(link, until)
                value = self._run(link, job.unit)
            except BaseException as cause:  # noqa: BLE001 - whatever the unit raises is its caller's
                job.answer.set_exception(cause)
            else:
                job.answer.set_result(value)
            link = _ended(link)  # after the answer: nobody waits for the end
        if link is not None:
            link.close()

    def _run(self, link: postgres.Link, unit: Callable[[Tx], T]) -> T:
        tx = Tx(_Reading(link), self._clock(), {})
        try:
            return unit(tx)
        finally:
            tx.close()

    def _begun(self, link: postgres.Link | None, until: float) -> postgres.Link:
        if link is not None:
            try:
                link.patience(until - time.monotonic())
                link.control(_BEGIN)
            except StorageFailure:
                link.close()
                if link.is_out_of_patience:
                    self._refused_until = time.monotonic() + _RETRY_SECONDS
                    raise
                # It died while nobody used it, and nothing has been asked yet: once more, anew.
            else:
                return link
        if time.monotonic() < self._refused_until:
            raise StorageFailure("the database could not be reached a moment ago")
        try:
            left = until - time.monotonic()
            link = postgres.Link(self._location, read_only=True, connect_seconds=left)
        except StorageFailure:
            self._refused_until = time.monotonic() + _RETRY_SECONDS
            raise
        link.patience(until - time.monotonic())
        link.control(_BEGIN)
        return link


def _ended(link: postgres.Link | None) -> postgres.Link | None:
    if link is None:
        return None
    try:
        if link.in_transaction:
            link.patience()
            link.control("ROLLBACK")
    except StorageFailure:
        logger.debug("a reading connection was dropped", exc_info=True)
    if link.dead:
        link.close()
        return None
    return link
