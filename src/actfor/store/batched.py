"""What the units of one transaction share, so that a crowd costs the database few calls.

Within a transaction nobody else writes, so on either dialect: what a query answered is remembered
until its tables are written; rows queued with ``later`` go out together; a row that many units
change (``replace``) is read once and written once; and many units share a savepoint. Where one of
them fails after it has written, the database goes back to that savepoint and the writes of those
before it are made again, from a journal, with the same effect: the writer's lock is held all the
while. Then savepoints are close for a while, so that nobody can make this dear for others by
failing often.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from actfor.store.failures import StorageFailure
from actfor.store.statements import ANY, Compiled, Row, Scalar, Statement
from actfor.store.transaction import Ask, Result

_JOURNAL = 48  # writes after which the next unit gets a savepoint
_CAREFUL = 256  # units with a savepoint of their own, after one that had to be undone
Values: TypeAlias = tuple[Scalar, ...]
_Key: TypeAlias = tuple[str, Values]


@dataclass(slots=True)
class _Unit:
    """Where the unit began, in the queue, in the journal and among the answers it replaced;
    whether a statement of it failed.
    """

    queued: int
    journal: int
    replaced: int
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Queued:
    """A row to be written. Of several for one ``place`` the last is written."""

    known: Compiled
    values: Values
    place: _Key | None = None


@dataclass(frozen=True, slots=True)
class _Wrote:
    """A statement that changed something since the savepoint, and how many rows."""

    known: Compiled
    values: Values
    rows: int


@dataclass(frozen=True, slots=True)
class _Sent:
    """The queue was sent up to here."""

    until: int


class Batched(ABC):
    """The half of a ``sequencer.Writer`` that units see; the other half is a dialect's.

    A dialect calls ``_forget`` before each transaction, which must have a savepoint then, and
    ``_send_all`` before each COMMIT.
    """

    _careful = 0  # units that still get a savepoint of their own

    # -- of a dialect ---------------------------------------------------------------------------

    @abstractmethod
    def _compiled(self, statement: Statement) -> Compiled:
        """The text for this dialect, with positional parameters."""

    @abstractmethod
    def _ask(self, known: Compiled, values: Values) -> Result:
        """Run one statement; all its rows."""

    @abstractmethod
    def _put(self, rows: Sequence[Queued]) -> None:
        """Write queued rows, in this order as far as it matters: those of one statement."""

    @abstractmethod
    def _next_savepoint(self) -> None:
        """What was done since the last one is kept, unless the transaction is undone."""

    @abstractmethod
    def _back_to_savepoint(self) -> None:
        """Undo what was done since."""

    # -- the transaction ------------------------------------------------------------------------

    def _forget(self) -> None:
        """Nothing is carried from one transaction into the next."""
        self._unit: _Unit | None = None
        self._journal: list[_Wrote | _Sent] = []  # since the savepoint
        self._sent_before = 0  # rows of the queue that the database had at the savepoint
        self._answers: dict[_Key, Result] = {}
        self._asked: dict[str, set[_Key]] = {}  # answers by the tables they came from
        self._replaced: list[tuple[Compiled, _Key, Result | None]] = []  # and what stood before
        self._queue: list[Queued] = []
        self._sent = 0  # rows of the queue that the database has
        self._waiting: set[str] = set()  # tables of those it has not
        self._written: set[str] = set()

    def ahead(self, asks: Iterable[Ask]) -> None:
        """Make queries that units will make; a crowd's, that differ in one value, as one."""
        for known, many in self._not_asked(asks):
            for values in many:
                self._query(known, values)

    def _not_asked(self, asks: Iterable[Ask]) -> list[tuple[Compiled, list[Values]]]:
        """The queries among these that are not answered, by their texts."""
        found: dict[str, tuple[Compiled, dict[Values, None]]] = {}
        for ask in asks:
            known = self._compiled(ask.query)
            values = known.ordered(ask.params)
            if (known.sql, values) not in self._answers:
                found.setdefault(known.sql, (known, {}))[1][values] = None
        return [(known, list(many)) for known, many in found.values()]

    def _send_all(self) -> None:
        self._send(len(self._queue))

    # -- the unit -------------------------------------------------------------------------------

    def savepoint(self) -> None:
        """Begin one unit."""
        self._careful = max(0, self._careful - 1)
        self._unit = _Unit(len(self._queue), len(self._journal), len(self._replaced))

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
        else:
            self._take_back(unit.replaced)
        del self._replaced[unit.replaced :]
        self._waiting = {row.known.written or "" for row in self._queue[self._sent :]}

    def _take_back(self, replaced: int) -> None:
        """Answers stand as they did when the unit began: all it wrote was still queued."""
        for asked, key, before in reversed(self._replaced[replaced:]):
            if before is None:
                self._answers.pop(key, None)
            else:
                self._learn(asked, key, before)

    def _go_back(self, kept: list[_Wrote | _Sent]) -> None:
        """To the savepoint, and forward again over what the units before this one did."""
        self._back_to_savepoint()
        self._sent = self._sent_before
        self._answers, self._asked, self._journal = {}, {}, []
        for step in kept:
            if isinstance(step, _Sent):
                self._send(step.until)
            elif self._execute(step.known, step.values).rowcount != step.rows:
                raise StorageFailure("what was written once could not be written again")
        self._careful = _CAREFUL
        self._save()

    def run(self, statement: Statement, params: Mapping[str, Scalar], /) -> Result:
        """See ``transaction.Connection``."""
        known = self._compiled(statement)
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

    def later(self, statement: Statement, params: Mapping[str, Scalar], /) -> None:
        """See ``transaction.Connection``."""
        known = self._compiled(statement)
        assert known.written is not None  # noqa: S101 - a query is not for later
        self._queue.append(Queued(known, known.ordered(params)))
        self._waiting.add(known.written)
        self._outdate(known.written)

    def replace(
        self, ask: Ask, row: Row, statement: Statement, params: Mapping[str, Scalar], /
    ) -> None:
        """See ``transaction.Connection``."""
        asked, known = self._compiled(ask.query), self._compiled(statement)
        assert known.written is not None  # noqa: S101 - a query writes nothing
        key = (asked.sql, asked.ordered(ask.params))
        self._queue.append(Queued(known, known.ordered(params), key))
        self._waiting.add(known.written)
        self._replaced.append((asked, key, self._answers.get(key)))
        self._outdate(known.written, but=asked.sql)
        self._learn(asked, key, Result([row], 1))

    def _query(self, known: Compiled, values: Values) -> Result:
        key = (known.sql, values)
        if (before := self._answers.get(key)) is not None:
            return before
        self._send_before(known.tables)
        result = self._execute(known, values)
        self._learn(known, key, result)
        return result

    def _learn(self, known: Compiled, key: _Key, result: Result) -> None:
        self._answers[key] = result
        for table in known.tables:
            self._asked.setdefault(table, set()).add(key)

    def _execute(self, known: Compiled, values: Values) -> Result:
        try:
            return self._ask(known, values)
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
        self._next_savepoint()
        self._journal = []
        self._sent_before = self._sent

    def _outdate(self, table: str, but: str = "") -> None:
        """Answers about a table do not hold any more, except those of one text."""
        self._written.add(table)
        if table == ANY:
            self._answers, self._asked = {}, {}
        keys = self._asked.get(table)
        if not keys:
            return
        gone = {key for key in keys if key[0] != but} if but else set(keys)
        keys -= gone
        for key in gone:
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
        try:
            self._put(_last_of_each(self._queue[self._sent : until]))
        except BaseException:
            if self._unit is not None:
                self._unit.broken = True
            raise
        self._sent = until
        self._journal.append(_Sent(until))
        self._waiting = {row.known.written or "" for row in self._queue[until:]}


def _last_of_each(rows: Sequence[Queued]) -> list[Queued]:
    """Of the rows for one place and statement the last one."""
    last: dict[object, Queued] = {}
    for number, row in enumerate(rows):
        place = number if row.place is None else (id(row.known), row.place)
        last[place] = row
    return list(last.values())


def grouped(rows: Iterable[Queued]) -> list[tuple[Compiled, list[Values]]]:
    """The rows by their statements, in the order in which those come first."""
    together: dict[int, tuple[Compiled, list[Values]]] = {}
    for row in rows:
        together.setdefault(id(row.known), (row.known, []))[1].append(row.values)
    return list(together.values())
