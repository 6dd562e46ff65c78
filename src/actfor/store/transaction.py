"""One unit's view of a transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from actfor.store.failures import StorageFailure
from actfor.store.statements import Row, Scalar, Statement

T = TypeVar("T")


class Cursor(Protocol):
    """What a driver gives back: rows, and how many were changed."""

    def fetchall(self) -> list[Row]: ...  # noqa: D102
    def fetchone(self) -> Row | None: ...  # noqa: D102
    @property
    def rowcount(self) -> int: ...  # noqa: D102


class Result:
    """All rows, and how many were changed: a ``Cursor`` that needs no driver."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: list[Row], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def fetchall(self) -> list[Row]:
        """All rows."""
        return self._rows

    def fetchone(self) -> Row | None:
        """The first row."""
        return self._rows[0] if self._rows else None


@dataclass(slots=True, eq=False)  # not frozen: five are made for each call, at a third of the cost
class Ask:
    """A query with its parameters: what a unit will want to know, told before it begins.

    ``crowd`` asks the same for many values of the one parameter: it takes ``keys``, a JSON array
    (see ``schema.one_of``), and its rows are the value and what the query answers for it.
    """

    query: Statement
    params: Mapping[str, Scalar]
    crowd: Statement | None = None


class Connection(Protocol):
    """The seam between units and a driver (SQLite here, PostgreSQL beside it)."""

    def run(self, statement: Statement, params: Mapping[str, Scalar], /) -> Cursor:
        """Run one statement; raises ``ConstraintViolation`` or ``StorageFailure``."""
        ...

    def later(self, statement: Statement, params: Mapping[str, Scalar], /) -> object:
        """Run an INSERT before anything here looks at its table, at the latest before COMMIT."""
        ...

    def must(self, statement: Statement, params: Mapping[str, Scalar], /) -> None:
        """As ``later``; the transaction fails unless it changes exactly one row."""
        ...

    def replace(
        self, ask: Ask, row: Row, statement: Statement, params: Mapping[str, Scalar], /
    ) -> None:
        """From now on ``row`` answers ``ask``; the statement is run as with ``later``."""
        ...


class ReadOnly:
    """The part of a ``Connection`` that writes, for one that only reads: it refuses."""

    def later(self, statement: Statement, params: Mapping[str, Scalar], /) -> None:
        """Raises ``StorageFailure``."""
        raise StorageFailure("a reader cannot write")

    def must(self, statement: Statement, params: Mapping[str, Scalar], /) -> None:
        """Raises ``StorageFailure``."""
        raise StorageFailure("a reader cannot write")

    def replace(
        self, ask: Ask, row: Row, statement: Statement, params: Mapping[str, Scalar], /
    ) -> None:
        """Raises ``StorageFailure``."""
        raise StorageFailure("a reader cannot write")


class Participant(Protocol):
    """State shared by the units of one transaction, written once before it commits.

    The audit log's tree head is one: each unit's leaves advance it in memory, a unit that
    fails rewinds it, and one row is written for the batch.
    """

    def mark(self) -> object:
        """A bookmark taken before each unit. Must be cheap."""
        ...

    def rewind(self, mark: object, /) -> None:
        """Undo what the unit since this bookmark did: it was rolled back."""
        ...

    def flush(self, tx: Tx, /) -> None:
        """Write the state; runs in the transaction, after the last unit."""
        ...


class Tx:
    """A transaction as one unit sees it. Sync; used only inside the unit.

    ``now`` is the time at which the sequencer began this unit (UTC): the order of units is the
    order of their times, as far as the clock itself does not step back. ``vital`` is set by a unit
    that must be recorded even when the disk is full: it takes authority away, or makes space.
    """

    __slots__ = ("_connection", "_participants", "callbacks", "now", "vital")

    def __init__(
        self, connection: Connection, now: datetime, participants: dict[object, Participant]
    ) -> None:
        self._connection: Connection | None = connection
        self._participants = participants
        self.callbacks: list[Callable[[], object]] = []
        self.now = now
        self.vital = False  # whether this unit may use the last space on the disk

    def run(self, statement: Statement, /, **params: Scalar) -> list[Row]:
        """All rows of a query (or of RETURNING).

        Raises:
            ConstraintViolation: the unit must not go on; it is rolled back as a whole.
        """
        return self._open().run(statement, params).fetchall()

    def one(self, statement: Statement, /, **params: Scalar) -> Row | None:
        """The first row, or None."""
        return self._open().run(statement, params).fetchone()

    def changed(self, statement: Statement, /, **params: Scalar) -> int:
        """How many rows an INSERT, UPDATE or DELETE changed: the answer of a compare-and-swap."""
        return self._open().run(statement, params).rowcount

    def later(self, statement: Statement, /, **params: Scalar) -> None:
        """An INSERT whose answer nobody waits for.

        Where a round trip is dear such rows go out together: before anything in the transaction
        reads or writes their table, at the latest before it commits. Only for rows that cannot
        break a constraint by construction: the transaction fails as a whole if one does.
        """
        self._open().later(statement, params)

    def must(self, statement: Statement, /, **params: Scalar) -> None:
        """``later`` for a compare-and-swap that can only fail if something is badly wrong.

        The transaction fails as a whole unless it changes exactly one row.
        """
        self._open().must(statement, params)

    def replace(self, ask: Ask, row: Row, statement: Statement, /, **params: Scalar) -> None:
        """The row that answers ``ask`` becomes this one; what writes it waits, as with ``later``.

        For a row that many units of a transaction change: it is read once and written once. The
        statement must write whole values, no increments: of several, the last is run. It must
        change nothing that the same query would answer for other parameters; all other queries of
        its table see what it writes.
        """
        self._open().replace(ask, row, statement, params)

    def go_on(self) -> None:
        """A long read begins its next part: how long statements may take is counted anew.

        Only PostgreSQL's readers count; a unit that decides anything never needs this.
        """
        renew: Callable[[], None] | None = getattr(self._open(), "patience", None)
        if callable(renew):
            renew()

    def on_commit(self, callback: Callable[[], object]) -> None:
        """Call this after the transaction is durable, before the writer's ``await`` returns.

        It runs on the event loop that awaits the unit (on the sequencer's thread where there is
        none), never after a rollback. What it raises is logged: the record stands.
        """
        self._open()
        self.callbacks.append(callback)

    def participant(self, key: object, make: Callable[[], T]) -> T:
        """The transaction's shared state under ``key``, made on first use (see ``Participant``)."""
        self._open()
        known = self._participants.get(key)
        if known is None:
            known = self._participants[key] = make()  # type: ignore[assignment] # T is a Participant; a bound would need higher-kinded types to return it as T
        return known  # type: ignore[return-value] # same key, same type

    def close(self) -> None:
        """The unit is over; a ``Tx`` that was kept refuses to work."""
        self._connection = None

    def _open(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("a transaction was used after its unit had ended")
        return self._connection
