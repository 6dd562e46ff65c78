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
from json import dumps
from typing import TypeAlias

from actfor.errors import Refused
from actfor.store.failures import StorageFailure
from actfor.store.statements import ANY, Compiled, Row, Scalar, Statement, StatementCache
from actfor.store.transaction import Ask, Result

_JOURNAL = 48  # writes after which the next unit gets a savepoint
_SMALL = 4  # rows
_CAREFUL = 256  # units with a savepoint of their own, after one that had to be undone
Values: TypeAlias = tuple[Scalar, ...]
Key: TypeAlias = tuple[Compiled, Values]


@dataclass(slots=True)
class _Unit:
    """Where the unit began, in the queue, in the journal and among the answers it replaced;
    whether a statement of it failed.
    """

    queued: int
    journal: int
    replaced: int
    broken: bool = False


@dataclass(slots=True, eq=False)  # not frozen, as ``Ask`` is not: two are made for each leaf
class Queued:
    """A row to be written. Of several for one ``place`` the last is written. Where it ``must``,
    and does not change exactly one row, the transaction fails.
    """

    known: Compiled
    values: Values
    place: Key | None = None
    must: bool = False


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A query that units will make, and the one that asks for a crowd of them."""

    known: Compiled
    crowd: Compiled | None


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
    _expected: Sequence[Ask] = ()  # of the transaction that begins next

    # -- of a dialect ---------------------------------------------------------------------------

    _compiled: StatementCache
    """The texts for this dialect, with positional parameters."""

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
        self._answers: dict[Key, Result] = {}
        self._asked: dict[str, dict[Compiled, list[Key]]] = {}  # answers by table and query
        self._replaced: list[tuple[Key, Result | None]] = []  # and what stood before
        self._used: dict[Key, int] = {}  # how often units asked what has a small answer
        self._queue: list[Queued] = []
        self._sent = 0  # rows of the queue that the database has
        self._waiting: set[str] = set()  # tables of those it has not
        self._written: set[str] = set()

    def expect(self, asks: Sequence[Ask]) -> None:
        """See ``sequencer.Writer``."""
        self._expected = asks

    def _crowds(self, asks: Iterable[Ask]) -> list[tuple[_Ahead, list[Values]]]:
        """The queries among these, by their texts; those of nobody twice."""
        found: dict[Compiled, tuple[_Ahead, dict[Values, None]]] = {}
        different = {(id(ask.query), *ask.params.values()): ask for ask in asks}
        for ask in different.values():
            known = self._compiled(ask.query)
            try:
                values = known.ordered(ask.params)
            except (Refused, TypeError):
                continue  # the unit that will ask so is refused for it, and nobody else
            crowd = None if ask.crowd is None else self._compiled(ask.crowd)
            found.setdefault(known, (_Ahead(known, crowd), {}))[1][values] = None
        return [(ahead, list(many)) for ahead, many in found.values()]

    def _learn_crowd(self, known: Compiled, many: Iterable[Values], rows: Iterable[Row]) -> None:
        """Rows of a crowd's query; where there is none, that is the answer."""
        answers: dict[Values, list[Row]] = {values: [] for values in many}
        for key, *row in rows:
            answers[(key,)].append(tuple(row))
        for values, found in answers.items():
            self._learn((known, values), Result(found, len(found)))

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
        for key, before in reversed(self._replaced[replaced:]):
            if before is None:
                self._answers.pop(key, None)
            else:
                self._learn(key, before)

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
        self._wait(known, Queued(known, known.ordered(params)))

    def must(self, statement: Statement, params: Mapping[str, Scalar], /) -> None:
        """See ``transaction.Connection``."""
        known = self._compiled(statement)
        self._wait(known, Queued(known, known.ordered(params), must=True))

    def _wait(self, known: Compiled, row: Queued) -> None:
        assert known.written is not None  # noqa: S101 - a query is not for later
        self._queue.append(row)
        self._waiting.add(known.written)
        self._outdate(known.written)

    def replace(
        self, ask: Ask, row: Row, statement: Statement, params: Mapping[str, Scalar], /
    ) -> None:
        """See ``transaction.Connection``."""
        asked, known = self._compiled(ask.query), self._compiled(statement)
        assert known.written is not None  # noqa: S101 - a query writes nothing
        key = (asked, asked.ordered(ask.params))
        self._queue.append(Queued(known, known.ordered(params), key))
        self._waiting.add(known.written)
        self._replaced.append((key, self._answers.get(key)))
        self._outdate(known.written, but=asked)
        self._learn(key, Result([row], 1))

    def _query(self, known: Compiled, values: Values) -> Result:
        key = (known, values)
        result = self._answers.get(key)
        if result is None:
            self._send_before(known.tables)
            result = self._execute(known, values)
            self._learn(key, result)
        if len(result.fetchall()) <= _SMALL:
            self._used[key] = self._used.get(key, 0) + 1
        return result

    def _learn(self, key: Key, result: Result) -> None:
        if key not in self._answers:
            for table in key[0].tables:
                self._asked.setdefault(table, {}).setdefault(key[0], []).append(key)
        self._answers[key] = result

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

    def _outdate(self, table: str, but: Compiled | None = None) -> None:
        """Answers about a table do not hold any more, except those of one query."""
        self._written.add(table)
        if table == ANY:
            self._answers, self._asked = {}, {}
        asked = self._asked.get(table, {})
        for query in [query for query in asked if query is not but]:
            for key in asked.pop(query):
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


def keys_of(many: Iterable[Values]) -> str:
    """The parameter ``keys`` of a crowd's query."""
    return dumps([values[0] for values in many])


def _last_of_each(rows: Sequence[Queued]) -> list[Queued]:
    """Of the rows for one place and statement the last one, where it stood."""
    last: dict[object, Queued] = {}
    for number, row in enumerate(rows):
        place = number if row.place is None else (row.known, row.place)
        last.pop(place, None)
        last[place] = row
    return list(last.values())


def grouped(rows: Iterable[Queued]) -> list[tuple[Compiled, list[Values]]]:
    """The rows by their statements; no two statements that write one table change places."""
    groups: list[tuple[Compiled, list[Values]]] = []
    newest: dict[str | None, tuple[Compiled, list[Values]]] = {}  # by the table it writes
    for row in rows:
        group = newest.get(row.known.written)
        if group is None or group[0] is not row.known:
            group = newest[row.known.written] = (row.known, [])
            groups.append(group)
        group[1].append(row.values)
    return groups


def require_one(known: Compiled, changed: int) -> None:
    """What must change one row did."""
    if changed != 1:
        raise StorageFailure(f"a row of {known.written} that must be there was not: two writers?")
