"""The metadata on which every slice's ``repository`` declares its tables.

Columns are TEXT, INTEGER (milliseconds, booleans, counts) or BLOB only: what the driver
returns is what the row holds, on either database, and no result is converted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, MetaData, Table, Text, bindparam
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

metadata = MetaData(
    # Named constraints, so that a later migration can drop or change them.
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def insert_ignore(table: Table) -> Insert:
    """An INSERT that leaves an existing row as it is; ``tx.changed(...) == 1`` says who was first.

    ``ON CONFLICT DO NOTHING`` reads the same on SQLite and PostgreSQL.
    """
    return Insert(table).on_conflict_do_nothing()


class _OneOf(FunctionElement[bool]):
    """``one_of``: a column and the JSON array."""

    inherit_cache = True
    name = "one_of"


@compiles(_OneOf, "sqlite")
def _on_sqlite(element: _OneOf, compiler: SQLCompiler, **kw: Any) -> str:
    column, keys = (compiler.process(part, **kw) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({keys}))"  # noqa: S608 - compiled parts


@compiles(_OneOf, "postgresql")
def _on_postgresql(element: _OneOf, compiler: SQLCompiler, **kw: Any) -> str:
    column, keys = (compiler.process(part, **kw) for part in element.clauses)
    return f"{column} = ANY (ARRAY(SELECT jsonb_array_elements_text(({keys})::jsonb)))"


def one_of(column: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a text is among the parameter ``keys``, a JSON array of texts."""
    return _OneOf(column, bindparam("keys", type_=Text))


class _HasTable(FunctionElement[bool]):
    """``has_table``: a table's name."""

    inherit_cache = True
    name = "has_table"


@compiles(_HasTable, "sqlite")
def _has_on_sqlite(element: _HasTable, compiler: SQLCompiler, **kw: Any) -> str:
    (named,) = (compiler.process(part, **kw) for part in element.clauses)
    return f"EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = {named})"  # noqa: S608 - compiled parts


@compiles(_HasTable, "postgresql")
def _has_on_postgresql(element: _HasTable, compiler: SQLCompiler, **kw: Any) -> str:
    (named,) = (compiler.process(part, **kw) for part in element.clauses)
    return f"(to_regclass({named}) IS NOT NULL)"


def has_table() -> ColumnElement[bool]:
    """Whether the database has the table that the parameter ``name`` names."""
    return _HasTable(bindparam("name", type_=Text))


def repositories(package: Path) -> Iterator[str]:
    """The modules below a package folder that declare tables: ``<package>.<slice>.repository``.

    A part of a slice that has tables of its own has a repository of its own (``audit.export``).

    For tools that need the whole of ``metadata`` (migrations are written from it); a server gets
    it by importing the slices it wires. Nothing is imported here.
    """
    for path in sorted(package.rglob("repository*")):
        parts = path.relative_to(package).parent.parts
        if path.suffix not in {"", ".py"} or "__pycache__" in parts:
            continue
        name = ".".join((package.name, *parts, "repository"))
        if path.suffix == ".py":
            yield name
        elif path.is_dir():
            yield from (f"{name}.{inner.stem}" for inner in sorted(path.glob("[!_]*.py")))
