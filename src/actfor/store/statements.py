"""SQLAlchemy Core statements, compiled once and run on the raw driver.

Compiling costs about a hundred times what running costs, so the text and the names of
its parameters are kept for as long as the statement object lives. Repositories hold
their statements in module-level constants; a statement built per call is compiled per
call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy import Executable
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

Statement: TypeAlias = Executable
Scalar: TypeAlias = int | str | bytes | None
Row: TypeAlias = tuple[Any, ...]  # Any: a row is typed where the repository unpacks it


@dataclass(frozen=True, slots=True)
class Compiled:
    """The text of a statement in one dialect, and what it must be given."""

    sql: str
    required: frozenset[str]
    defaults: Mapping[str, Scalar]

    def bind(self, params: dict[str, Scalar]) -> dict[str, Scalar]:
        """All parameters of one run; a missing or unknown name is a programmer's error."""
        if params.keys() != self.required:
            raise TypeError(f"parameters {sorted(params)} given, {sorted(self.required)} needed")
        for value in params.values():
            # A datetime or a float would be stored as some text nobody chose.
            if value is not None and not isinstance(value, str | int | bytes):
                raise TypeError(f"a parameter is {type(value).__name__}, not text, int or bytes")
        return {**self.defaults, **params} if self.defaults else params


class StatementCache:
    """Compiles for one dialect. A race compiles twice and keeps one: both are equal."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._known: WeakKeyDictionary[Statement, Compiled] = WeakKeyDictionary()

    def __call__(self, statement: Statement) -> Compiled:
        """The compiled form of this statement object."""
        known = self._known.get(statement)
        if known is None:
            known = self._known[statement] = _compile(statement, self._dialect)
        return known


def _compile(statement: Statement, dialect: Dialect) -> Compiled:
    if not isinstance(statement, ClauseElement):
        raise TypeError("not a SQL statement")
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    if not isinstance(compiled, SQLCompiler):
        raise TypeError("not a statement with parameters; tables are made by migrations")
    if compiled._bind_processors:  # noqa: SLF001 - the only place where SQLAlchemy tells
        raise TypeError("a column needs conversion; use Text, Integer and LargeBinary only")
    expanded = compiled.construct_params(_check=False)
    required = frozenset(name for bind, name in compiled.bind_names.items() if bind.required)
    defaults = {name: value for name, value in expanded.items() if name not in required}
    return Compiled(compiled.string, required, defaults)
