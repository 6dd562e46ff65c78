"""SQLAlchemy Core statements, compiled once and run on the raw driver.

Compiling costs about a hundred times what running costs, so the text and the names of
its parameters are kept for as long as the statement object lives. Repositories hold
their statements in module-level constants; a statement built per call is compiled per
call.

What one database would keep and the other refuse or change is refused before either sees it:
a NUL character or half a surrogate pair in a text, an integer that needs more than 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias
from weakref import ref

from sqlalchemy import Executable, Integer, LargeBinary, String, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.sql.sqltypes import NullType
from sqlalchemy.sql.visitors import iterate

from actfor.errors import Kind, Refused

Statement: TypeAlias = Executable
Scalar: TypeAlias = int | str | bytes | None
Row: TypeAlias = tuple[Any, ...]  # Any: a row is typed where the repository unpacks it

_KEPT = (Integer, String, LargeBinary, NullType)  # what drivers take and give as it is
ANY = "*"  # the table of a statement that does not say which
_BOUND = 1 << 63  # integers are stored in 64 bits, with a sign


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """The text of a statement in one dialect, and what it must be given.

    ``names`` are the parameters in the order of a positional dialect (empty in the others).
    ``tables`` are all it reads or writes; ``written`` the one it changes, None for a pure query.
    """

    sql: str
    required: frozenset[str]
    defaults: Mapping[str, Scalar]
    names: tuple[str, ...]
    tables: frozenset[str]
    written: str | None
    pick: Callable[[Mapping[str, Scalar]], tuple[Scalar, ...]]  # the values of ``names``

    def ordered(self, params: Mapping[str, Scalar]) -> tuple[Scalar, ...]:
        """All parameters of one run, in order; a missing or unknown name is a programmer's error.

        Raises:
            Refused: MALFORMED for a value that no database of ours can keep as it is.
        """
        try:
            values = self.pick({**self.defaults, **params} if self.defaults else params)
        except KeyError:
            values = None
        if values is None or len(params) != len(self.required):
            raise TypeError(f"parameters {sorted(params)} given, {sorted(self.required)} needed")
        for value in values:
            # Nearly all there is, told by the exact type; this runs for each value of each row.
            kind = type(value)
            if kind is str:
                if "\0" in value or not value.isascii():  # type: ignore[operator,union-attr] # a str
                    _check_text(value)  # type: ignore[arg-type] # a str
            elif value is not None and kind is not bytes:
                _check_other(value)
        return values


def _check_other(value: object) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int):
        if not -_BOUND <= value < _BOUND:
            raise Refused(Kind.MALFORMED, "a number is too large to be stored")
    elif not isinstance(value, bytes):
        # A datetime or a float would be stored as some text nobody chose.
        raise TypeError(f"a parameter is {type(value).__name__}, not text, int or bytes")


def _check_text(value: str) -> None:
    # PostgreSQL has no NUL in a text, SQLite's own functions end at it.
    if "\0" in value:
        raise Refused(Kind.MALFORMED, "a text with a NUL character cannot be stored")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused(Kind.MALFORMED, "a text is not valid Unicode") from None


class StatementCache:
    """Compiles for one dialect. A race compiles twice and keeps one: both are equal."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        # By identity, for as long as the statement lives.
        self._known: dict[int, tuple[ref[Statement], Compiled]] = {}

    def __call__(self, statement: Statement) -> Compiled:
        """The compiled form of this statement object."""
        key = id(statement)
        found = self._known.get(key)
        if found is not None and found[0]() is statement:
            return found[1]
        known, forget = _compile(statement, self._dialect), self._known.pop
        self._known[key] = (ref(statement, lambda _: forget(key, None)), known)
        return known


def _compile(statement: Statement, dialect: Dialect) -> Compiled:
    if not isinstance(statement, ClauseElement):
        raise TypeError("not a SQL statement")
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    if not isinstance(compiled, SQLCompiler):
        raise TypeError("not a statement with parameters; tables are made by migrations")
    if not all(isinstance(bind.type, _KEPT) for bind in compiled.binds.values()):
        raise TypeError("a column needs conversion; use Text, Integer and LargeBinary only")
    expanded = compiled.construct_params(_check=False)
    required = frozenset(name for bind, name in compiled.bind_names.items() if bind.required)
    defaults = {name: value for name, value in expanded.items() if name not in required}
    return Compiled(
        compiled.string,
        required,
        defaults,
        tuple(compiled.positiontup or ()),
        frozenset(part.name for part in iterate(statement) if isinstance(part, Table))
        or frozenset({ANY}),
        _written(statement),
        _picker(tuple(compiled.positiontup or ())),
    )


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, Scalar]], tuple[Scalar, ...]]:
    """What takes the values of these names out of a map, in order; raises KeyError."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda params: tuple([params[name] for name in names])


def _written(statement: ClauseElement) -> str | None:
    if isinstance(statement, UpdateBase):
        if not isinstance(statement.table, Table):
            raise TypeError("a statement must change one table")
        return statement.table.name
    return None if isinstance(statement, SelectBase) else ANY
