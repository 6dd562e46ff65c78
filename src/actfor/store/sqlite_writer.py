"""SQLite's writing connection: one per database, used by the sequencer's thread only."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from actfor.errors import Kind, Refused
from actfor.store.ballast import Ballast
from actfor.store.batched import Batched, Queued, Values, grouped, keys_of, require_one
from actfor.store.failures import StorageFailure
from actfor.store.sqlite import Location, compiled, open_writer, rows_at_once
from actfor.store.statements import Compiled
from actfor.store.transaction import Result

logger = logging.getLogger(__name__)

# Pages as they were before a unit, in case it is taken back: people's data has no business in the
# system's folder of temporary files, which may be full, or not to be written at all.
_TAKEN_BACK_IN_MEMORY = "PRAGMA temp_store=MEMORY"
_AT_ONCE = (64, 16, 4, 1)  # rows of one statement; few texts, so that each stays prepared


class SqliteWriter(Batched):
    """Transactions and savepoints, and the proof that the file is still ours.

    A lock file next to the database keeps a second server away: snapshots of policies and
    agents in memory are right only in the process that writes. The kernel drops the lock when
    the process dies, however it dies.
    """

    patience: float | None = None

    def __init__(self, location: Location, reserve: int = 0) -> None:
        """``reserve`` is the size of the ballast in bytes."""
        self._path = location.path
        self._lock = _lock(location.path)
        try:
            self._connection = open_writer(location)
            self._connection.control(_TAKEN_BACK_IN_MEMORY)
            self._ballast = Ballast(location.path, reserve)
        except BaseException:
            os.close(self._lock)
            raise
        self._files: list[tuple[Path, tuple[int, int]]] = []  # as they were when opened
        self._broken = False

    def allow(self, seconds: float) -> None:
        """The disk is not hurried."""

    def begin(self) -> None:
        """IMMEDIATE: no other writer from here on, and what is read stays true until commit."""
        if self._broken:
            raise StorageFailure("the writing connection failed earlier; restart is needed")
        self._ballast.look()
        self._forget()
        self._connection.control("BEGIN IMMEDIATE")
        self._connection.control("SAVEPOINT unit")
        self._check_files()
        asks, self._expected = self._expected, ()
        for ahead, many in self._crowds(asks):
            if ahead.crowd is not None and len(many) > 1:  # a call for each is as good otherwise
                found = self._ask(ahead.crowd, (keys_of(many),))
                self._learn_crowd(ahead.known, many, found.fetchall())

    def commit(self) -> None:
        """Return when the write-ahead log is fsynced and is still the one others will read."""
        self._send_all()
        self._connection.control("COMMIT")
        self._check_files()

    @property
    def is_for_vital_only(self) -> bool:
        """See ``sequencer.Writer``."""
        return self._ballast.released

    def make_space(self) -> None:
        """See ``sequencer.Writer``."""
        self._ballast.release()

    def rollback(self) -> None:
        """End the transaction. A connection that cannot even do that is never used again."""
        try:
            if self._connection.in_transaction:
                self._connection.control("ROLLBACK")
        except Exception:
            self._broken = True
            raise

    def compact(self, tables: Sequence[str]) -> None:
        """The whole file is written anew: SQLite cannot do that for one table."""
        # The new file may be larger than memory; there is nothing of a savepoint to take back now.
        self._connection.control("PRAGMA temp_store=FILE")
        try:
            self._connection.control("VACUUM")
        finally:
            self._connection.control(_TAKEN_BACK_IN_MEMORY)
        (busy, _, _) = self._connection.control("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StorageFailure("a reader kept the write-ahead log from being emptied")

    def close(self) -> None:
        """Fold the write-ahead log into the database file and let go of it."""
        try:
            self._connection.control("PRAGMA wal_checkpoint(TRUNCATE)")
        except (StorageFailure, sqlite3.Error):
            # The log stays beside the file and is folded in by the next opening.
            logger.warning("the write-ahead log was not folded in at closing", exc_info=True)
        self._connection.close()
        os.close(self._lock)

    # -- what units cause -----------------------------------------------------------------------

    _compiled = compiled

    def _ask(self, known: Compiled, values: Values) -> Result:
        return self._connection.fetch(known.sql, values)

    def _put(self, rows: Sequence[Queued]) -> None:
        for row in rows:
            if row.must:
                require_one(row.known, self._connection.fetch(row.known.sql, row.values).rowcount)
        for known, many in grouped(row for row in rows if not row.must):
            at = 0
            while at < len(many):
                size = next(size for size in _AT_ONCE if size <= len(many) - at)
                sql = rows_at_once(known.sql, size) if size > 1 else None
                if sql is None:
                    self._connection.execute(known.sql, many[at])
                    at += 1
                else:
                    self._connection.execute(sql, tuple(chain(*many[at : at + size])))
                    at += size

    def _next_savepoint(self) -> None:
        self._connection.control("RELEASE unit")
        self._connection.control("SAVEPOINT unit")

    def _back_to_savepoint(self) -> None:
        self._connection.control("ROLLBACK TO unit")

    # -- the files ------------------------------------------------------------------------------

    def _check_files(self) -> None:
        """Refuse to acknowledge what went into a deleted or replaced file.

        SQLite would go on writing to the unlinked inode: durable, and never found again.
        """
        if not self._files:
            wal = self._path.with_name(self._path.name + "-wal")
            self._files = [(path, _identity(path)) for path in (self._path, wal)]
        for path, identity in self._files:
            if _identity(path) != identity:
                raise StorageFailure(f"{path.name} was deleted or replaced while in use")


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - twice per commit; Path.stat costs twice as much
    except OSError as cause:
        raise StorageFailure(f"{path.name} was deleted or replaced while in use") from cause
    return status.st_dev, status.st_ino


def _lock(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock_path = path.with_name(path.name + ".lock")
    descriptor = -1
    try:
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as cause:
        with suppress(OSError):
            os.close(descriptor)
        raise Refused(
            Kind.BUSY, f"the database `{path.name}` is in use by another process or not writable"
        ) from cause
    return descriptor
