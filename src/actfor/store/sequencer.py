"""The one writer: what queued during the last fsync becomes the next transaction.

Each unit runs in its own SAVEPOINT, so that one failing unit does not take its
neighbours with it; all share one COMMIT and one fsync. There is no timer: a lone unit
commits at once, a crowd commits together.

INVARIANT: a unit's caller is answered only after the COMMIT that holds it returned.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from queue import Empty, SimpleQueue
from types import CoroutineType
from typing import Any, Protocol

from actfor.errors import Kind, Refused
from actfor.store.failures import (
    DiskFull,
    OutcomeUnknown,
    StorageFailure,
    no_space,
    not_durable,
    unknown,
)
from actfor.store.transaction import Ask, Connection, Participant, Tx

logger = logging.getLogger(__name__)

MAX_BATCH = 512
"""Units in one transaction: bounds how long the first of them waits."""

BATCH_SECONDS = 0.2
"""How long units are added to one transaction. On a slow database fewer share one, so that none is
refused for its neighbours' sake, and other nodes get their turn."""

SHORTEST = 0.25
"""The part of a writer's patience that a transaction needs: a unit that waited until there is less
left is refused, and nothing of it has happened."""

MAX_WAITING = 20_000
"""Units in the queue; beyond that callers are refused rather than kept."""

COMPANY_SECONDS = 0.02
"""How long a unit that nobody waits for may wait for another, to share its commit."""

_MOST_DEFERRED = 64


class Writer(Connection, Protocol):
    """The writing connection of a dialect."""

    @property
    def patience(self) -> float | None:
        """Seconds within which a unit is answered, from when it was queued; None for a disk, which
        answers or fails.
        """
        ...

    def allow(self, seconds: float) -> None:
        """The next transaction may take so long, from here until its fate is known."""
        ...

    def expect(self, asks: Sequence[Ask]) -> None:
        """What units of the next transaction will ask: it may be asked together."""
        ...

    def begin(self) -> None:
        """Open a transaction that excludes every other writer."""
        ...

    def commit(self) -> None:
        """Return only when the transaction is durable."""
        ...

    def rollback(self) -> None:
        """End the transaction without effects; must leave the connection usable."""
        ...

    @property
    def is_for_vital_only(self) -> bool:
        """Whether the last space is being used, and is kept for vital units."""
        ...

    def make_space(self) -> None:
        """The disk is full: let go what was kept for this."""
        ...

    def savepoint(self) -> None:
        """Begin one unit."""
        ...

    def release(self) -> None:
        """Keep one unit."""
        ...

    def rollback_to(self) -> None:
        """Undo one unit."""
        ...

    def compact(self, tables: Sequence[str]) -> None:
        """Outside any transaction: leave nothing of deleted rows in the database's files."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class Job:
    """One unit and where its answer goes. Owned by the sequencer's thread until settled.

    With ``compacts`` it is no unit: the files are compacted between two transactions.
    """

    __slots__ = (
        "ahead", "asked", "callbacks", "compacts", "error", "loop", "result", "settle", "unit",
    )  # fmt: skip

    def __init__(
        self,
        unit: Callable[[Tx], Any],
        settle: Callable[[Job], None],
        loop: asyncio.AbstractEventLoop | None,
        *,
        ahead: Sequence[Ask] = (),
        compacts: Sequence[str] | None = None,
    ) -> None:
        self.asked = time.monotonic()
        self.ahead = ahead
        self.compacts = compacts
        self.unit = unit
        self.settle = settle
        self.loop = loop
        self.result: Any = None  # Any: whatever the unit returns; `Database` restores its type
        self.error: BaseException | None = None
        self.callbacks: list[Callable[[], object]] = []

    def finish(self) -> None:
        """Run the callbacks of a durable unit, then answer. On the caller's loop if it has one."""
        if self.error is None:
            for callback in self.callbacks:
                try:
                    callback()
                except Exception:
                    logger.exception("a callback failed after its record was made durable")
        self.settle(self)


class Sequencer:
    """A thread with a queue in front of the writing connection."""

    def __init__(self, writer: Writer, clock: Callable[[], datetime]) -> None:
        self._writer = writer  # used by the thread only
        self._clock = clock
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._closing = threading.Lock()  # held while a job is queued and while closing
        self._closed = False
        self._deferred: list[Job] = []  # not queued yet; behind the lock, as is who keeps the time
        self._timekeeper: asyncio.AbstractEventLoop | None = None
        self._left: list[Job] = []  # taken from the queue, not yet begun; the thread's
        self.commits = 0  # written by the thread; others may read a slightly old value
        self.units = 0
        self._thread = threading.Thread(target=self._run, name="actfor-sequencer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue one unit.

        Raises:
            Refused: BUSY when too many units wait already or the database is closed.
        """
        with self._closing:
            self._require_room()
            self._queue_deferred()
            self._queue.put(job)

    def defer(self, job: Job) -> None:
        """Queue one unit that nobody waits for: with the next that is submitted, never after it,
        and without one soon (``COMPANY_SECONDS``). Its loop keeps the time.

        Raises:
            Refused: as ``submit``.
        """
        with self._closing:
            self._require_room()
            self._deferred.append(job)
            if job.loop is None or len(self._deferred) >= _MOST_DEFERRED:
                self._queue_deferred()
            elif self._timekeeper is not job.loop:
                self._timekeeper = job.loop
                job.loop.call_later(COMPANY_SECONDS, self._hurry)

    def _require_room(self) -> None:
        if self._queue.qsize() + len(self._deferred) >= MAX_WAITING:
            raise Refused(Kind.BUSY, "too many records are waiting to be made durable")
        if self._closed:
            raise Refused(Kind.BUSY, "the database is closed")

    def _hurry(self) -> None:
        """Nobody came; where somebody did, this is early for what was deferred since."""
        with self._closing:
            self._timekeeper = None
            self._queue_deferred()

    def _queue_deferred(self) -> None:
        for job in self._deferred:
            self._queue.put(job)
        self._deferred.clear()

    def is_current_thread(self) -> bool:
        """Whether the caller is inside a unit; waiting for another unit there would never end."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Commit what is queued, then stop the thread."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue_deferred()
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going or self._left:
            batch, going = self._take(going)
            units = self._in_time([job for job in batch if job.compacts is None])
            if units:
                self._commit(units)
            for job in batch:
                if job.compacts is not None:
                    self._compact(job, job.compacts)
            left = set(map(id, self._left))
            _answer([job for job in batch if id(job) not in left])

    def _take(self, going: bool) -> tuple[list[Job], bool]:  # noqa: FBT001 - called once, above
        """Wait for one job, then take whatever else is there; first what was left before."""
        batch, self._left = self._left, []
        if not going or len(batch) >= MAX_BATCH:
            return batch, going
        try:
            job = self._queue.get_nowait() if batch else self._queue.get()
        except Empty:
            return batch, True
        while job is not None:
            batch.append(job)
            if len(batch) == MAX_BATCH:
                return batch, True
            try:
                job = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _in_time(self, batch: list[Job]) -> list[Job]:
        """Refuse who has waited too long for a database that does not answer; the others share what
        time the first of them has left.
        """
        patience = self._writer.patience
        if patience is None or not batch:
            return batch
        now = time.monotonic()
        latest = now - patience * (1 - SHORTEST)
        for job in batch:
            if job.asked < latest:
                job.error = not_durable()
        batch = [job for job in batch if job.error is None]
        if batch:
            self._writer.allow(patience - (now - min(job.asked for job in batch)))
        return batch

    def _commit(self, batch: list[Job]) -> None:
        participants: dict[object, Participant] = {}
        try:
            self._writer.expect([ask for job in batch for ask in job.ahead])
            self._writer.begin()
            until = time.monotonic() + BATCH_SECONDS
            for count, job in enumerate(batch, start=1):
                self._apply(job, participants)
                if time.monotonic() > until:
                    self._left = batch[count:]
                    del batch[count:]  # ends the loop: they are the next transaction's
            flush = Tx(self._writer, self._clock(), participants)
            for participant in list(participants.values()):
                participant.flush(flush)
            flush.close()
            self._writer.commit()
        except BaseException as cause:  # noqa: BLE001 - the boundary of the writer's thread, which must go on
            self._give_up(batch, cause)
        else:
            self.commits += 1
            self.units += len(batch)

    def _compact(self, job: Job, tables: Sequence[str]) -> None:
        try:
            self._writer.compact(tables)
        except Exception:
            logger.exception("the database files were not compacted")
            job.error = Refused(Kind.BUSY, "the database files could not be compacted; try again")

    def _apply(self, job: Job, participants: dict[object, Participant]) -> None:
        marks = [(key, known.mark()) for key, known in participants.items()]
        tx = Tx(self._writer, self._clock(), participants)
        self._writer.savepoint()
        try:
            job.result = job.unit(tx)
            if isinstance(job.result, CoroutineType):
                job.result.close()
                raise TypeError("a unit must be a plain function, not a coroutine")  # noqa: TRY301
            if self._writer.is_for_vital_only and not tx.vital:
                raise no_space()  # noqa: TRY301
            job.callbacks = tx.callbacks
        except StorageFailure:
            raise
        except BaseException as cause:  # noqa: BLE001 - the unit's own failure goes to its caller, whatever it is
            job.error = cause
            self._writer.rollback_to()
            _rewind(participants, marks)
        finally:
            tx.close()
        self._writer.release()

    def _give_up(self, batch: list[Job], cause: BaseException) -> None:
        """Nothing of this batch happened; each caller hears so (its own failure, if it had one)."""
        logger.error("a transaction of %d units was not committed", len(batch), exc_info=cause)
        refuse = unknown if isinstance(cause, OutcomeUnknown) else not_durable
        for job in batch:
            job.error = job.error or refuse()
        try:
            self._writer.rollback()
            if isinstance(cause, DiskFull):
                self._writer.make_space()
        except Exception:
            logger.exception("the writing connection could not be reset")


def _rewind(participants: dict[object, Participant], marks: list[tuple[object, object]]) -> None:
    for key, mark in marks:
        participants[key].rewind(mark)
    for key in participants.keys() - {key for key, _ in marks}:
        del participants[key]  # first used by the unit that failed


def _answer(batch: list[Job]) -> None:
    """Wake each event loop once, not once per unit."""
    waiting: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in batch:
        if job.loop is None:
            job.finish()
        else:
            waiting.setdefault(job.loop, []).append(job)
    for loop, jobs in waiting.items():
        try:
            loop.call_soon_threadsafe(_finish_all, jobs)
        except RuntimeError:
            logger.warning("an event loop closed before %d units were answered", len(jobs))


def _finish_all(jobs: list[Job]) -> None:
    for job in jobs:
        job.finish()
