"""A ``Link`` in the shape of PEP 249, for alembic and SQLAlchemy's inspector: schema work only.

SQLAlchemy's own adapter of this driver needs greenlets; schema work needs neither them nor speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import asyncpg

from actfor.store.failures import ConstraintViolation, StorageFailure
from actfor.store.postgres import Link, Location

LOCK_WAIT_SECONDS = 30.0
_DESCRIPTION = tuple[str, int, None, None, None, None, None]


class Error(Exception):
    """PEP 249's root of failures."""


class _Cursor:
    arraysize = 1
    lastrowid = None

    def __init__(self, connection: SchemaConnection) -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []
        self.description: list[_DESCRIPTION] | None = None
        self.rowcount = -1

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> None:
        self._connection.begin()
        try:
            names, self._rows, self.rowcount = self._connection.link.query(sql, parameters)
        except (StorageFailure, ConstraintViolation, asyncpg.InterfaceError) as cause:
            raise Error(str(cause)) from cause
        self.description = [(*name, None, None, None, None, None) for name in names] or None

    def executemany(self, sql: str, many: Sequence[Sequence[object]]) -> None:
        for parameters in many:
            self.execute(sql, parameters)

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        taken, self._rows = self._rows[:size], self._rows[size:]
        return taken

    def fetchall(self) -> list[tuple[Any, ...]]:
        taken, self._rows = self._rows, []
        return taken

    def close(self) -> None:
        self._rows = []

    def setinputsizes(self, *sizes: object) -> None:
        """Every parameter carries its type in the text."""


class SchemaConnection:
    """One connection. A transaction begins with the first statement, as PEP 249 has it."""

    def __init__(self, location: Location) -> None:
        self.link = Link(location, lock_seconds=LOCK_WAIT_SECONDS)

    def begin(self) -> None:
        """Open a transaction if none is open."""
        self.link.patience(2 * LOCK_WAIT_SECONDS)
        if not self.link.in_transaction:
            self.link.control("BEGIN")

    def cursor(self) -> _Cursor:
        """A cursor; its rows are all in memory."""
        return _Cursor(self)

    def commit(self) -> None:
        """COMMIT, if a transaction is open."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """ROLLBACK, if a transaction is open."""
        self._end("ROLLBACK")

    def close(self) -> None:
        """Close the link."""
        self.link.close()

    def _end(self, how: str) -> None:
        try:
            if self.link.in_transaction and self.link.control(how) != how:
                raise Error("the transaction was rolled back")
        except StorageFailure as cause:
            raise Error(str(cause)) from cause


module = SimpleNamespace(
    apilevel="2.0",
    threadsafety=1,
    paramstyle="numeric_dollar",
    Error=Error,
    Binary=bytes,
    **dict.fromkeys(
        (
            "Warning",
            "InterfaceError",
            "DatabaseError",
            "DataError",
            "OperationalError",
            "IntegrityError",
            "InternalError",
            "ProgrammingError",
            "NotSupportedError",
        ),
        Error,
    ),
)
