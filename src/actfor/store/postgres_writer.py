"""PostgreSQL's writing connection: one order for all nodes, in few round trips.

Every transaction takes one advisory lock first and reads everything anew behind it: what another
node committed before is seen, and a predecessor that was killed while its last transaction was on
its way can at worst have committed it (threats-and-faults §0.3). READ COMMITTED on purpose: under a
stricter level the snapshot would be older than the lock.

A round trip costs as much as ten units: see ``batched`` for what units share.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain

from actfor.errors import Refused
from actfor.store.batched import Batched, Key, Queued, Values, grouped, keys_of, require_one
from actfor.store.failures import OutcomeUnknown, StorageFailure
from actfor.store.postgres import WAIT_SECONDS, Link, Location, apart
from actfor.store.postgres_checks import check_server
from actfor.store.postgres_dialect import compiled
from actfor.store.statements import Compiled
from actfor.store.transaction import Result

logger = logging.getLogger(__name__)

SEQUENCE_LOCK = 0x61637466_6F720001
"""Advisory lock of whoever writes: the sequencers' transactions and migrations. "actfor", 1."""

# The savepoint after the lock: going back to it does not let the lock go.
_BEGIN = f"BEGIN; SELECT pg_advisory_xact_lock({SEQUENCE_LOCK}); SAVEPOINT unit"
_ENTER = (
    "SELECT pg_current_xact_id()::text, current_setting('fsync'),"
    " current_setting('full_page_writes'), current_setting('synchronous_commit'),"
    " (SELECT epoch FROM store_node WHERE id = $1)"
)
_AHEAD = 24  # queries in the round trip that begins a transaction; units ask the rest themselves
_HABIT = 12  # of those at most so many because the last transactions asked them
_HABIT_LIFE = 8  # transactions after which nobody wants it any more
_TOGETHER = 32  # rows in one statement that writes several tables
_FATE = "SELECT pg_xact_status(CAST($1 AS text)::xid8)"
_RETRY_SECONDS = 0.5
# Of the time that a transaction has: what its statements may use, what is left for the COMMIT at
# least, and what is left to ask for its fate.
_STATEMENTS, _COMMIT, _FATE_ASKED = 0.6, 0.25, 0.15
_ROLLBACK_SECONDS = 0.2
_COMPACT_SECONDS = 300.0
_OTHERS = (
    "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relname = ANY($1::text[])"
    " AND relnamespace = current_schema()::regnamespace AND NOT pg_has_role(relowner, 'USAGE')"
)
CHANNEL = "actfor_change"
"""Notified, without a payload, by a transaction that wrote rows of the change feed; by no other."""

CHANGES = "store_change"
_COMMIT_AND_TELL = f"NOTIFY {CHANNEL}; COMMIT"
_FENCED = "this node was fenced: another one took its place, or an operator said so; restart it"


class PostgresWriter(Batched):
    """Transactions of one node. Connects when it is first used, and again after a failure."""

    patience: float | None = WAIT_SECONDS

    def __init__(self, location: Location, node: str, epoch: int = 1) -> None:
        self._location = location
        self._node = node
        self._epoch = epoch
        self.fenced = False
        self._link: Link | None = None
        self._refused_until = 0.0  # after a failed connect callers are refused at once for a moment
        self._habits: dict[Key, int] = {}  # what was asked lately, and for how long that counts
        self._id = ""  # of the transaction, to learn its fate when the answer to COMMIT is lost
        self.allow(WAIT_SECONDS)
        self._forget()

    # -- the transaction ----------------------------------------------------------------------

    def allow(self, seconds: float) -> None:
        """See ``sequencer.Writer``."""
        self._allowed = seconds
        self._until = time.monotonic() + seconds

    def begin(self) -> None:
        """Take the lock; refuse where this node was fenced or the server stopped being safe."""
        self._notice()
        self._forget()
        if self.fenced:
            raise StorageFailure(_FENCED)
        link = self._begun()
        ahead = self._ahead()
        texts = [asked.sql for asked, _, _, _ in ahead]
        given = [value for _, values, _, _ in ahead for value in values]
        ((self._id, fsync, full_pages, commit, epoch, *found),) = link.fetch(
            _with_answers(_ENTER, tuple(texts)), self._node, *given
        )
        if epoch != self._epoch:
            self.fenced = True
            raise StorageFailure(_FENCED)
        if fsync != "on" or full_pages != "on" or commit == "off":
            raise StorageFailure("the server's settings do not make a commit durable any more")
        for (asked, _, known, many), rows in zip(ahead, found, strict=True):
            answer = [tuple(row) for row in rows or ()]
            if asked is known:
                self._learn((known, many[0]), Result(answer, len(answer)))
            else:
                self._learn_crowd(known, many, answer)

    def _ahead(self) -> list[tuple[Compiled, Values, Compiled, list[Values]]]:
        """What is asked as the transaction begins: a query and its values, and whose answers it
        gives.
        """
        asks, self._expected = self._expected, ()
        ahead: list[tuple[Compiled, Values, Compiled, list[Values]]] = []
        for query, many in self._crowds(asks):
            if query.crowd is not None and len(many) > 1:
                ahead.append((query.crowd, (keys_of(many),), query.known, many))
            else:
                ahead += [(query.known, values, query.known, [values]) for values in many]
        told = {known for _, _, known, _ in ahead}  # what is wanted of these is in it
        for known, values in self._habits:
            if known not in told:
                ahead.append((known, values, known, [values]))
        return ahead[:_AHEAD]

    def _notice(self) -> None:
        """What the transaction that ended was asked is likely to be asked again: the policies in
        force, the keys that live, the head of the log. A guess that is wrong costs microseconds.
        """
        habits = {key: age - 1 for key, age in self._habits.items() if age > 1}
        often = sorted(self._used, key=self._used.__getitem__, reverse=True)
        for key in often[:_HABIT]:
            habits.pop(key, None)
            habits[key] = _HABIT_LIFE
        self._habits = dict(list(habits.items())[-_HABIT:])

    def commit(self) -> None:
        """Return only when the transaction is durable; where the answer is lost, ask for its fate.

        Raises:
            OutcomeUnknown: the connection broke, and the database cannot be asked.
        """
        self._send_all()
        link = self._linked()
        left = self._until - time.monotonic() - _FATE_ASKED * self._allowed
        link.patience(max(left, _COMMIT * self._allowed))
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
            link.patience(_ROLLBACK_SECONDS)
            if link.in_transaction:
                link.control("ROLLBACK")
        except StorageFailure:
            self._drop()
        if link.dead:
            self._drop()

    def compact(self, tables: Sequence[str]) -> None:
        """FULL: a plain VACUUM leaves the bytes of dead rows in their pages."""
        link = self._link or self._connected(WAIT_SECONDS)
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

    # -- what units cause -----------------------------------------------------------------------

    _compiled = compiled

    def _ask(self, known: Compiled, values: Values) -> Result:
        return self._linked().execute(known, values)

    def _put(self, rows: Sequence[Queued]) -> None:
        """Few rows in one round trip, many in one for each statement."""
        link = self._linked()
        if 1 < len(rows) <= _TOGETHER and _are_apart(rows):
            texts = tuple((row.known.sql, row.must) for row in rows)
            given = chain.from_iterable(row.values for row in rows)
            ((_, *changed),) = link.fetch(_all_of(texts), *given)
            for row, count in zip((row for row in rows if row.must), changed, strict=True):
                require_one(row.known, count)
            return
        for row in rows:
            if row.must:
                require_one(row.known, link.execute(row.known, row.values).rowcount)
        for known, many in grouped(row for row in rows if not row.must):
            if len(many) == 1:
                link.execute(known, many[0])
            else:
                link.execute_many(known, many)

    def _next_savepoint(self) -> None:
        self._linked().control("RELEASE SAVEPOINT unit; SAVEPOINT unit")

    def _back_to_savepoint(self) -> None:
        self._linked().control("ROLLBACK TO SAVEPOINT unit")

    # -- the connection -------------------------------------------------------------------------

    def _begun(self) -> Link:
        """A link with the lock. An idle one may have died unnoticed; then once more, anew."""
        link, until = self._link, time.monotonic() + _STATEMENTS * self._allowed
        if link is not None:
            link.patience(_STATEMENTS * self._allowed)
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
        link = self._connected(until - time.monotonic())
        link.control(_BEGIN)
        return link

    def _linked(self) -> Link:
        if self._link is None:
            raise StorageFailure("the connection to the database is gone")
        return self._link

    def _connected(self, seconds: float) -> Link:
        """A new link, which has what is left of these seconds."""
        until = time.monotonic() + seconds
        if time.monotonic() < self._refused_until:
            raise StorageFailure("the database could not be reached a moment ago")
        try:
            self._link = Link(self._location, connect_seconds=seconds)
            check_server(self._link)
        except Refused as refused:
            self._drop()
            raise StorageFailure(refused.detail) from refused
        except StorageFailure:
            self._drop()
            self._refused_until = time.monotonic() + _RETRY_SECONDS
            raise
        self._link.patience(until - time.monotonic())
        return self._link

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _was_committed(self) -> bool:
        now = time.monotonic()
        deadline = max(self._until, now + _FATE_ASKED * self._allowed)
        while (left := deadline - time.monotonic()) > 0:
            try:
                link = self._link or self._connected(left)
                link.patience(deadline - time.monotonic())
                ((fate,),) = link.fetch(_FATE, self._id)
            except StorageFailure:
                self._drop()
            else:
                if fate in {"committed", "aborted"}:
                    return bool(fate == "committed")
            self._refused_until = 0.0
            time.sleep(0.02)
        raise OutcomeUnknown("the connection broke during a commit, and its fate is not known")


_PARAMETER = re.compile(r"\$(\d+)")


def _moved(sql: str, by: int) -> str:
    """The same text with its parameters after ``by`` others. Our statements hold no literals."""
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + by}", sql)


@lru_cache(maxsize=256)
def _with_answers(enter: str, texts: tuple[str, ...]) -> str:
    """One row: what ``enter`` answers, and the rows that each of the texts does."""
    at, parts = 1, [enter]  # `enter` has one parameter
    for text in texts:
        parts.append(f"(SELECT array_agg(q) FROM ({_moved(text, at)}) q)")  # noqa: S608 - constants
        at += len(set(_PARAMETER.findall(text)))
    return ", ".join(parts)


def _are_apart(rows: Iterable[Queued]) -> bool:
    """Parts of one statement do not see each other: no two different ones may write a table."""
    writes = {(row.known.written, row.known) for row in rows}
    return len({table for table, _ in writes}) == len(writes)


@lru_cache(maxsize=256)
def _all_of(texts: tuple[tuple[str, bool], ...]) -> str:
    """One statement that does what these do, and says how many rows some of them changed."""
    at, parts, counts = 0, [], ["1"]
    for number, (text, counted) in enumerate(texts):
        returning = " RETURNING 1" if counted else ""
        parts.append(f"w{number} AS ({_moved(text, at)}{returning})")
        if counted:
            counts.append(f"(SELECT count(*) FROM w{number})")  # noqa: S608 - a number
        at += len(set(_PARAMETER.findall(text)))
    return f"WITH {', '.join(parts)} SELECT {', '.join(counts)}"
