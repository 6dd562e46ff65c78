"""Replacing the values of a table's columns, row by row: for data that gets another form.

As migrations do, it takes tables and columns by their names. Where a value is not yet in its new
form is told by its first character, so it can be repeated and cut short at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Table, bindparam, null, or_, select, update

from actfor.store.schema import metadata
from actfor.store.statements import Scalar
from actfor.store.transaction import Tx

Change: TypeAlias = Callable[[str, str, str | None, str], str | None]
"""Column, row (its primary key as text), what was found beside it, old value: the new value."""


class Columns:
    """Columns of one table whose values shall begin with ``mark``; NULL and '' stay as they are.

    ``beside`` names for each of them another column of the row, or `column>table.column`: of the
    row to which that one points; '' is none.
    """

    def __init__(self, table: str, beside: Mapping[str, str], mark: str) -> None:
        self._table = metadata.tables[table]
        self._names = list(beside)
        self._keys = list(self._table.primary_key.columns)
        values = [self._table.c[name] for name in self._names]
        self._find = (
            select(*self._keys, *values, *(_found(self._table, said) for said in beside.values()))
            .where(or_(*((value != "") & ~value.startswith(mark) for value in values)))
            .order_by(*self._keys)
            .limit(bindparam("most"))
        )
        same = [key == bindparam(f"of_{n}", type_=key.type) for n, key in enumerate(self._keys)]
        self._put = (
            update(self._table)
            .where(*same)
            .values({name: bindparam(f"to_{n}") for n, name in enumerate(self._names)})
        )
        self._mark = mark

    def change(self, tx: Tx, change: Change, most: int) -> int:
        """Change the values of at most ``most`` rows; how many there were."""
        found = tx.run(self._find, most=most)
        for row in found:
            key, rest = row[: len(self._keys)], row[len(self._keys) :]
            values, beside = rest[: len(self._names)], rest[len(self._names) :]
            name = "/".join(map(str, key))
            new: dict[str, Scalar] = {
                f"to_{n}": self._new(change, column, name, beside[n], values[n])
                for n, column in enumerate(self._names)
            }
            tx.changed(self._put, **{f"of_{n}": one for n, one in enumerate(key)}, **new)
        return len(found)

    def _new(
        self, change: Change, column: str, row: str, beside: str | None, value: str | None
    ) -> str | None:
        if not value or value.startswith(self._mark):
            return value
        new = change(column, row, beside, value)
        return "" if new is None and not self._table.c[column].nullable else new


def _found(table: Table, said: str) -> ColumnElement[Any]:
    if not said:
        return null().label(None)
    name, _, through = said.partition(">")
    if not through:
        return table.c[name].label(None)
    other, _, of = through.partition(".")
    there = metadata.tables[other]
    return select(there.c[of]).where(there.c.id == table.c[name]).scalar_subquery()
