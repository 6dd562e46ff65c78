"""Databases as an older release left them, with rows, of which a rig takes copies."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import inspect, text
from tests.fakes.postgres import Cluster

from actfor.store.migrations import configuration, engine_for

COLUMNS = """
SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2
"""
TRIGGERS = (
    "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"
)


class SqliteOld:
    """A file of schema ``revision`` (None: there is none yet), with the rows of a database of now."""

    kind = "SQLite"

    def __init__(self, folder: Path, revision: str | None, now: Path) -> None:
        self.name = f"{self.kind} from {revision or 'nothing'}"
        self._base = folder / f"old-{revision}.db"
        if revision is None:
            return
        bring_to(f"sqlite:///{self._base}", revision)
        with closing(sqlite3.connect(self._base)) as raw:
            raw.execute("PRAGMA journal_mode=WAL")  # as it is where it was served
            raw.execute("ATTACH ? AS now", (str(now),))
            for (table,) in raw.execute("SELECT name FROM main.sqlite_master WHERE type='table'"):
                if table != "alembic_version":
                    raw.execute(_all_rows(raw, table))
            raw.commit()

    def fresh(self) -> str:
        """A copy's URL."""
        copy = self._base.with_name(f"{self._base.stem}-{os.getpid()}.db")
        for old in copy.parent.glob(f"{copy.name}*"):
            old.unlink()
        if self._base.exists():
            shutil.copy(self._base, copy)
        return f"sqlite:///{copy}"

    def whole(self, url: str) -> Any:
        """Schema, version and every row, as the next who opens it finds them."""
        path = Path(url.removeprefix("sqlite:///"))
        with closing(sqlite3.connect(path)) as raw:
            return [*raw.iterdump()]

    def done(self, url: str) -> None:
        """That copy is not needed any more."""


class PostgresOld:
    """The same on a PostgreSQL server."""

    kind = "PostgreSQL"

    def __init__(self, cluster: Cluster, revision: str, now: str) -> None:
        self.name = f"{self.kind} from {revision}"
        self._cluster = cluster
        self._base = cluster.new_database()
        url = cluster.url(self._base)
        bring_to(url, revision)
        self._fill(url, now)

    def _fill(self, url: str, now: str) -> None:
        source, target = engine_for(now), engine_for(url)
        with source.connect() as there, target.connect() as here, here.begin():
            looked = inspect(here)
            for table in _in_order(looked):
                columns = [column["name"] for column in looked.get_columns(table)]
                listed = ", ".join(f'"{name}"' for name in columns)
                marks = ", ".join(f":{name}" for name in columns)
                into = text(f"INSERT INTO {table} ({listed}) VALUES ({marks})")  # noqa: S608 - names from the schema
                for row in there.execute(text(f"SELECT {listed} FROM {table}")):  # noqa: S608
                    here.execute(into, dict(zip(columns, row, strict=True)))
        source.dispose()
        target.dispose()

    def fresh(self) -> str:
        return self._cluster.url(self._cluster.new_database(self._base))

    def whole(self, url: str) -> Any:
        name = _name(url)

        def run(sql: str) -> list[Any]:
            return self._cluster.run(sql, database=name)

        tables = sorted({row[0] for row in run(COLUMNS)})
        rows = {table: run(f'SELECT t::text FROM "{table}" t ORDER BY 1') for table in tables}  # noqa: S608
        return [run(COLUMNS), run(INDEXES), run(CONSTRAINTS), run(TRIGGERS), rows]

    def done(self, url: str) -> None:
        self._cluster.drop(_name(url))


Old = SqliteOld | PostgresOld


def bring_to(url: str, revision: str) -> None:
    """An empty database of that schema version."""
    engine = engine_for(url)
    with engine.connect() as connection, connection.begin():
        command.upgrade(configuration(connection), revision)
    engine.dispose()


def _all_rows(raw: sqlite3.Connection, table: str) -> str:
    listed = ", ".join(
        f'"{column[1]}"' for column in raw.execute(f"PRAGMA main.table_info({table})")
    )
    return f"INSERT INTO main.{table} ({listed}) SELECT {listed} FROM now.{table}"  # noqa: S608 - names from the schema


def _in_order(looked: Any) -> list[str]:
    """Those that others refer to first."""
    return [
        name
        for name, _ in looked.get_sorted_table_and_fkc_names()
        if name not in {None, "alembic_version"}
    ]


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]
