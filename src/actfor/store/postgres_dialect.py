"""How Core statements and tables read on PostgreSQL, so that they mean what they mean on SQLite.

INTEGER is BIGINT (milliseconds do not fit four bytes), TEXT is compared and ordered by its
bytes whatever the database's locale (``COLLATE "C"``), BLOB is BYTEA. Every parameter carries its
type, so that the server never has to guess one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import types
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.base import PGCompiler, PGDialect, PGTypeCompiler

from actfor.store.statements import StatementCache

_CASTS = {"text": "TEXT", "string": "TEXT", "integer": "BIGINT", "large_binary": "BYTEA"}


class _Text(types.Text):
    render_bind_cast = True


class _Integer(types.Integer):
    render_bind_cast = True


class _Bytes(types.LargeBinary):
    render_bind_cast = True

    def bind_processor(self, dialect: object) -> None:
        """The driver takes bytes as they are."""

    def result_processor(self, dialect: object, coltype: object) -> None:
        """The driver gives bytes."""


class _Types(PGTypeCompiler):
    def visit_INTEGER(self, type_: object, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        return "BIGINT"

    def visit_integer(self, type_: object, **kw: Any) -> str:
        return "BIGINT"

    def visit_TEXT(self, type_: object, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        return 'TEXT COLLATE "C"'

    def visit_text(self, type_: object, **kw: Any) -> str:
        return 'TEXT COLLATE "C"'


class _Compiler(PGCompiler):
    def render_bind_cast(self, type_: Any, dbapi_type: Any, sqltext: str) -> str:
        """``$1::BIGINT``: a cast carries no collation, that is the column's."""
        cast = _CASTS.get(dbapi_type.__visit_name__)
        if cast is None:  # the inspector's own: names, oids
            rendered: str = super().render_bind_cast(type_, dbapi_type, sqltext)  # type: ignore[no-untyped-call] # untyped upstream
            return rendered
        return f"{sqltext}::{cast}"


class Dialect(PGDialect):
    """PostgreSQL as a driver with ``$1`` parameters speaks it."""

    name = "postgresql"
    driver = "actfor"
    supports_statement_cache = True
    default_paramstyle = "numeric_dollar"
    statement_compiler = _Compiler
    type_compiler_cls = _Types
    colspecs = {  # noqa: RUF012 - as upstream declares it
        **PGDialect.colspecs,
        types.String: _Text,
        types.Integer: _Integer,
        types.LargeBinary: _Bytes,
    }


registry.register("postgresql.actfor", __name__, "Dialect")
DIALECT = Dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call] # untyped upstream
compiled = StatementCache(DIALECT)
