"""PostgreSQL's writing connection: one order for all nodes, in few round trips.

Every transaction takes one advisory lock first and reads everything anew behind it: what another
node committed before is seen, and a predecessor that was killed while its last transaction was on
its way can at worst have committed it (threats-and-faults §0.3). READ COMMITTED on purpose: under a
stricter level the snapshot would be older than the lock.

A round trip costs as much as ten units, so within a transaction, where nobody else writes:
what a query answered is remembered until its tables are written; rows queued with ``later`` go
out together; and many units share a savepoint. Where one of them fails after it has written, the
database goes back to that savepoint and the writes of those before it are made again, from a
journal, with the same effect: the lock is held all the while. Then savepoints are close for a
while, so that nobody can make this dear for others by failing often.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from actfor.errors import Refused
from actfor.store.failures import OutcomeUnknown, StorageFailure
from actfor.store.postgres import WAIT_SECONDS, Link, Location, Result, apart
from actfor.store.postgres_checks import check_server
from actfor.store.postgres_dialect import compiled
from actfor.store.statements import ANY, Compiled, Scalar, Statement

logger = logging.getLogger(__name__)

SEQUENCE_LOCK = 0x61637466_6F720001
"""Advisory lock of whoever writes: the sequencers' transactions and migrations. "actfor", 1."""

# The savepoint after the lock: going back to it does not let the lock go.
_BEGIN = f"BEGIN; SELECT pg_advisory_xact_lock({SEQUENCE_LOCK}); SAVEPOINT unit"
_JOURNAL = 48  # writes after which the next unit gets a savepoint
_CAREFUL = 256  # units with a savepoint of their own, after one that had to be undone
_ENTER = (
    "SELECT pg_current_xact_id()::text, current_setting('fsync'),"
    " current_setting('full_page_writes'), current_setting('synchronous_commit'),"
    " (SELECT epoch FROM store_node WHERE id = $1)"
)
_FATE = "SELECT pg_xact_status(CAST($1 AS text)::xid8)"
_RETRY_SECONDS = 0.5
_COMPACT_SECONDS = 300.0
_OTHERS = (
    "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relname = ANY($1::text[])"
    " AND relnamespace = current_schema()::regnamespace AND NOT pg_has_role(relowner, 'USAGE')"
)
CHANNEL = "actfor_change"
"""Notified, without a payload, by a transaction that wrote rows of the change feed; by no other."""

CHANGES = "store_change"
_COMMIT_AND_TELL = f"NOTIFY {CHANNEL}; COMMIT"
_NEXT_SAVEPOINT = "RELEASE SAVEPOINT unit; SAVEPOINT unit"
_FENCED = "this node was fenced: another one took its place, or an operator said so; restart it"
_Values: TypeAlias = tuple[Scalar, ...]
_Key: TypeAlias = tuple[str, _Values]


@dataclass(slots=True)
class _Unit:
    """Where the unit began, in the queue and in the journal; whether a statement of it failed."""

    queued: int
    journal: int
    broken: bool = False


@dataclass(frozen=True, slots=True)
class _Wrote:
    """A statement that changed something since the savepoint, and how many rows."""

    known: Compiled
    values: _Values
    rows: int


@dataclass(frozen=True, slots=True)
class _Sent:
    """The queue was sent up to here."""

    until: int


class PostgresWriter:
    """Transactions of one node. Connects when it is first used, and again after a failure."""

    def __init__(self, location: Location, node: str, epoch: int = 1) -> None:
        self._location = location
        self._node = node
        self._epoch = epoch
        self.fenced = False
        self._link: Link | None = None
        self._refused_until = 0.0  # after a failed connect callers are refused at once for a moment
        self._id = ""  # of the transaction, to learn its fate when the answer to COMMIT is lost
        self._careful = 0  # units that still get a savepoint of their own
        self._forget()

    def _forget(self) -> None:
        """Nothing is carried from one transaction into the next."""
        self._unit: _Unit | None = None
        self._journal: list[_Wrote | _Sent] = []  # since the savepoint
        self._sent_before = 0  # rows of the queue that the database had at the savepoint
        self._answers: dict[_Key, Result] = {}
        self._asked: dict[str, list[_Key]] = {}  # answers by the tables they came from
        self._queue: list[tuple[Compiled, _Values]] = []
        self._sent = 0  # rows of the queue that the database has
        self._waiting: set[str] = set()  # tables of those it has not
        self._written: set[str] = set()

    # -- the transaction ----------------------------------------------------------------------

    def begin(self) -> None:
        """Take the lock; refuse where this node was fenced or the server stopped being safe."""
        self._forget()
        if self.fenced:
            raise StorageFailure(_FENCED)
        link = self._begun()
        ((self._id, fsync, full_pages, commit, epoch),) = link.fetch(_ENTER, self._node)
        if epoch != self._epoch:
            self.fenced = True
            raise StorageFailure(_FENCED)
        if fsync != "on" or full_pages != "on" or commit == "off":
            raise StorageFailure("the server's settings do not make a commit durable any more")

    def commit(self) -> None:
        """Return only when the transaction is durable; where the answer is lost, ask for its fate.

        Raises:
            OutcomeUnknown: the connection broke, and the database cannot be asked.
        """
        self._send(len(self._queue))
        link = self._linked()
        link.patience()
        try:
            tag = link.control(_COMMIT_AND_TELL if CHANGES in self._written else "COMMIT")
        except StorageFailure:
            if not link.dead:
                raise
            self._drop()
            if not self._was_committed():
                raise
            logger.warning("the connection broke during a commit, which had happened")
            return
        if tag != "COMMIT":  # PostgreSQL rolls back a transaction that had failed, and says so
            raise StorageFailure(f"COMMIT was answered by {tag}")

    @property
    def is_for_vital_only(self) -> bool:
        """Never: a server whose disk is full stops, or refuses what it cannot keep."""
        return False

    def make_space(self) -> None:
        """The disk is the server's."""

    def rollback(self) -> None:
        """End the transaction without effects. What cannot be ended is dropped, and so ends."""
        link = self._link
        if link is None:
            return
        try:
            link.patience()
            if link.in_transaction:
                link.control("ROLLBACK")
        except StorageFailure:
            self._drop()
        if link.dead:
            self._drop()

    def compact(self, tables: Sequence[str]) -> None:
        """FULL: a plain VACUUM leaves the bytes of dead rows in their pages."""
        link = self._link or self._connected()
        link.patience(_COMPACT_SECONDS)
        # A role that does not own a table gets a warning and no VACUUM: do not say it was done.
        if others := link.fetch(_OTHERS, list(tables)):
            raise StorageFailure(f"table {others[0][0]} belongs to another role, which must VACUUM")
        link.control("SET lock_timeout = '20s'; SET statement_timeout = 0")
        try:
            for table in tables:
                link.control(f'VACUUM (FULL) "{table}"')
        finally:
            link.control("RESET lock_timeout; RESET statement_timeout")

    def close(self) -> None:
        """Let go of the connection; the sequencer's thread has ended."""
        apart(self._drop)

    # -- the unit -------------------------------------------------------------------------------

    def savepoint(self) -> None:
        """Begin one unit."""
        self._careful = max(0, self._careful - 1)
        self._unit = _Unit(len(self._queue), len(self._journal))

    def release(self) -> None:
        """Keep one unit."""
        self._unit = None

    def rollback_to(self) -> None:
        """Undo one unit: what it wrote, what it queued, and what was learnt since."""
        unit = self._unit
        assert unit is not None  # noqa: S101 - called between `savepoint` and `release`
        del self._queue[unit.queued :]
        if unit.broken or len(self._journal) > unit.journal:
            self._go_back(self._journal[: unit.journal])
            unit.journal, unit.broken = 0, False
        self._waiting = {known.written or "" for known, _ in self._queue[self._sent :]}

    def _go_back(self, kept: list[_Wrote | _Sent]) -> None:
        """To the savepoint, and forward again over what the units before this one did."""
        self._linked().control("ROLLBACK TO SAVEPOINT unit")
        self._sent = self._sent_before
        self._answers, self._asked, self._journal = {}, {}, []
        for step in kept:
            if isinstance(step, _Sent):
                self._send(step.until)
            elif self._execute(step.known, step.values).rowcount != step.rows:
                raise StorageFailure("what was written once could not be written again")
        self._careful = _CAREFUL
        self._save()

    def run(self, statement: Statement, params: dict[str, Scalar], /) -> Result:
        """See ``transaction.Connection``."""
        known = compiled(statement)
        values = known.ordered(params)
        if known.written is None:
            return self._query(known, values)
        self._begin_to_write()
        self._send_before(known.tables)
        result = self._execute(known, values)
        if result.rowcount != 0:
            self._journal.append(_Wrote(known, values, result.rowcount))
            self._outdate(known.written)
        return result

    def later(self, statement: Statement, params: dict[str, Scalar], /) -> None:
        """See ``transaction.Connection``."""
        known = compiled(statement)
        assert known.written is not None  # noqa: S101 - a query is not for later
        self._queue.append((known, known.ordered(params)))
        self._waiting.add(known.written)
        self._outdate(known.written)

    def _query(self, known: Compiled, values: _Values) -> Result:
        key = (known.sql, values)
        if (before := self._answers.get(key)) is not None:
            return before
        self._send_before(known.tables)
        result = self._answers[key] = self._execute(known, values)
        for table in known.tables:
            self._asked.setdefault(table, []).append(key)
        return result

    def _execute(self, known: Compiled, values: _Values) -> Result:
        try:
            return self._linked().execute(known, values)
        except BaseException:
            if self._unit is not None:
                self._unit.broken = True
            raise

    def _execute_many(self, known: Compiled, many: list[_Values]) -> None:
        try:
            self._linked().execute_many(known, many)
        except BaseException:
            if self._unit is not None:
                self._unit.broken = True
            raise

    def _begin_to_write(self) -> None:
        """A savepoint before this unit's first write, if it is time for one."""
        unit = self._unit
        if unit is None or not self._journal or len(self._journal) > unit.journal:
            return
        if self._careful or len(self._journal) >= _JOURNAL:
            self._save()
            unit.journal = 0

    def _save(self) -> None:
        self._linked().control(_NEXT_SAVEPOINT)
        self._journal = []
        self._sent_before = self._sent

    def _outdate(self, table: str) -> None:
        self._written.add(table)
        if table == ANY:
            self._answers, self._asked = {}, {}
        for key in self._asked.pop(table, ()):
            self._answers.pop(key, None)

    def _send_before(self, tables: frozenset[str]) -> None:
        """What is queued for a table must be in it before anybody looks or writes there."""
        if not self._waiting or (self._waiting.isdisjoint(tables) and ANY not in tables):
            return
        self._begin_to_write()
        self._send(len(self._queue))

    def _send(self, until: int) -> None:
        """Send what is queued up to there, the rows of each statement together."""
        if until <= self._sent:
            return
        together: dict[int, tuple[Compiled, list[_Values]]] = {}
        for known, values in self._queue[self._sent : until]:
            together.setdefault(id(known), (known, []))[1].append(values)
        for known, many in together.values():
            if len(many) == 1:
                self._execute(known, many[0])
            else:
                self._execute_many(known, many)
        self._sent = until
        self._journal.append(_Sent(until))
        self._waiting = {known.written or "" for known, _ in self._queue[until:]}

    # -- the connection -------------------------------------------------------------------------

    def _begun(self) -> Link:
        """A link with the lock. An idle one may have died unnoticed; then once more, anew."""
        link = self._link
        if link is not None:
            link.patience()
            try:
                link.control(_BEGIN)
            except StorageFailure:
                if not link.dead:
                    raise
                self._drop()
                if link.is_out_of_patience:
                    self._refused_until = time.monotonic() + _RETRY_SECONDS
                    raise
            else:
                return link
        link = self._connected()
        link.control(_BEGIN)
        return link

    def _linked(self) -> Link:
        if self._link is None:
            raise StorageFailure("the connection to the database is gone")
        return self._link

    def _connected(self) -> Link:
        if time.monotonic() < self._refused_until:
            raise StorageFailure("the database could not be reached a moment ago")
        try:
            self._link = Link(self._location)
            check_server(self._link)
        except Refused as refused:
            self._drop()
            raise StorageFailure(refused.detail) from refused
        except StorageFailure:
            self._drop()
            self._refused_until = time.monotonic() + _RETRY_SECONDS
            raise
        self._link.patience()
        return self._link

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _was_committed(self) -> bool:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                link = self._link or self._connected()
                ((fate,),) = link.fetch(_FATE, self._id)
            except StorageFailure:
                self._drop()
            else:
                if fate in {"committed", "aborted"}:
                    return bool(fate == "committed")
            self._refused_until = 0.0
            time.sleep(0.05)
        raise OutcomeUnknown("the connection broke during a commit, and its fate is not known")
