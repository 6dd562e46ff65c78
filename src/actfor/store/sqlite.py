"""SQLite: the dialect that needs no server.

WAL with ``synchronous=FULL``: a commit returns after its frames are fsynced. Both are
asserted after they are set, because a build or a file system may quietly not grant them.
With NORMAL a power cut loses acknowledged records while ``kill -9`` does not show it.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from sqlalchemy import MetaData
from sqlalchemy.dialects import sqlite as dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from actfor.errors import Kind, Refused
from actfor.store.failures import ConstraintViolation, DiskFull, StorageFailure
from actfor.store.statements import Scalar, Statement, StatementCache
from actfor.store.transaction import ReadOnly, Result

BUSY_MS = 2_000
"""How long a writer waits for another process (a backup, a shell) to release the file."""

_FULL, _EXTRA = 2, 3
_INSERT = re.compile(r"(INSERT INTO [^?]+ VALUES )(\([?, ]+\))( ON CONFLICT DO NOTHING)?")
_STORAGE_CODES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
}

_DIALECT = dialect.dialect(paramstyle="qmark")
compiled = StatementCache(_DIALECT)


@dataclass(frozen=True, slots=True)
class Location:
    """Where the database is, and how durable it was asked to be."""

    path: Path
    synchronous: str = "FULL"

    @classmethod
    def parse(cls, url: str) -> Location:
        """``sqlite:///relative`` or ``sqlite:////absolute``, optionally ``?synchronous=full``.

        Raises:
            Refused: MALFORMED, naming the setting, for anything else; memory is not durable.
        """
        parts = urlsplit(url)
        if parts.scheme != "sqlite" or parts.netloc or not parts.path.strip("/"):
            raise Refused(Kind.MALFORMED, "database url must be `sqlite:///<path>`")
        path, settings = (
            unquote(parts.path[1:]),
            dict(parse_qsl(parts.query, keep_blank_values=True)),
        )
        if path == ":memory:":
            raise Refused(Kind.MALFORMED, "database url: a database in memory is not durable")
        synchronous = settings.pop("synchronous", "full").upper()
        if settings:
            raise Refused(Kind.MALFORMED, f"database url: unknown setting `{min(settings)}`")
        if synchronous not in {"FULL", "EXTRA"}:
            raise Refused(
                Kind.MALFORMED,
                f"database url: `synchronous={synchronous.lower()}` can lose acknowledged records;"
                " use `full`",
            )
        return cls(Path(path).absolute(), synchronous)


class SqliteConnection(ReadOnly):
    """A raw connection that speaks Core statements and the store's failures.

    By itself it only reads; see ``SqliteWriter``.
    """

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def run(self, statement: Statement, params: Mapping[str, Scalar], /) -> sqlite3.Cursor:
        """See ``transaction.Connection``."""
        known = compiled(statement)
        return self.execute(known.sql, known.ordered(params))

    def execute(self, sql: str, values: tuple[Scalar, ...]) -> sqlite3.Cursor:
        """A compiled statement with its values in order."""
        try:
            return self._raw.execute(sql, values)
        except sqlite3.Error as cause:
            raise _translated(cause) from cause

    def fetch(self, sql: str, values: tuple[Scalar, ...]) -> Result:
        """All rows of a compiled statement, and how many it changed."""
        cursor = self.execute(sql, values)
        try:
            return Result(cursor.fetchall(), cursor.rowcount)
        except sqlite3.Error as cause:
            raise _translated(cause) from cause

    def control(self, sql: str) -> sqlite3.Cursor:
        """Run a fixed text of the store's own: BEGIN, SAVEPOINT, COMMIT, PRAGMA."""
        try:
            return self._raw.execute(sql)
        except sqlite3.Error as cause:
            raise _translated(cause) from cause

    @property
    def in_transaction(self) -> bool:
        """Whether SQLite still has a transaction open (some failures end it)."""
        return self._raw.in_transaction

    def close(self) -> None:
        """Close the raw connection."""
        self._raw.close()


def rows_at_once(sql: str, count: int) -> str | None:
    """The text that inserts ``count`` rows as this one inserts one; None for any other statement.

    The driver lets go of the interpreter's lock for every row it is given by itself, and has to
    wait for it again.
    """
    found = _INSERT.fullmatch(sql)
    if found is None:
        return None
    head, values, tail = found.groups()
    return head + ", ".join([values] * count) + (tail or "")


def _translated(cause: sqlite3.Error) -> Exception:
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the primary code (sqlite.org/rescode)
    if code == sqlite3.SQLITE_CONSTRAINT:
        return ConstraintViolation(str(cause))
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(str(cause))
    if code in _STORAGE_CODES:
        return StorageFailure(str(cause))
    return cause


def open_writer(location: Location) -> SqliteConnection:
    """The one connection that writes, with durability asserted.

    Raises:
        Refused: CONFLICT where WAL or FULL is not granted; BUSY where the file cannot be opened.
    """
    location.path.parent.mkdir(parents=True, exist_ok=True)
    connection = _connect(f"{location.path.as_uri()}?mode=rwc", lambda: _private(location.path))
    _expect(connection, "journal_mode", "WAL", {"wal"})
    _expect(connection, "synchronous", location.synchronous, {_FULL, _EXTRA})
    if sys.platform == "darwin":  # there, fsync alone does not reach the platter
        _expect(connection, "fullfsync", "ON", {1})
        _expect(connection, "checkpoint_fullfsync", "ON", {1})
    return connection


def open_reader(location: Location) -> SqliteConnection:
    """A connection that cannot write, for one thread."""
    connection = _connect(f"{location.path.as_uri()}?mode=ro", lambda: None)
    _expect(connection, "query_only", "ON", {1})
    return connection


def create_all(location: Location, metadata: MetaData) -> None:
    """Make every table that is not there yet, without a record of schema versions."""
    connection = open_writer(location)
    try:
        connection.control("BEGIN IMMEDIATE")
        for table in metadata.sorted_tables:
            connection.control(_ddl(CreateTable(table, if_not_exists=True)))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.control(_ddl(CreateIndex(index, if_not_exists=True)))
        connection.control("COMMIT")
    finally:
        connection.close()


def _ddl(element: CreateTable | CreateIndex) -> str:
    return str(element.compile(dialect=_DIALECT))


def _connect(uri: str, before: Callable[[], None]) -> SqliteConnection:
    try:
        before()
        raw = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=512
        )
    except (sqlite3.Error, OSError) as cause:
        raise Refused(Kind.BUSY, "the database file cannot be opened") from cause
    connection = SqliteConnection(raw)
    _expect(connection, "busy_timeout", str(BUSY_MS), {BUSY_MS})
    _expect(connection, "foreign_keys", "ON", {1})
    _expect(connection, "trusted_schema", "OFF", {0})
    # What is deleted or overwritten does not linger in free pages: people may be erased.
    _expect(connection, "secure_delete", "ON", {1})
    return connection


def _expect(connection: SqliteConnection, name: str, value: str, granted: set[str | int]) -> None:
    try:
        connection.control(f"PRAGMA {name}={value}")
        (answer,) = connection.control(f"PRAGMA {name}").fetchone()
    except (StorageFailure, sqlite3.Error) as cause:
        connection.close()
        raise Refused(Kind.BUSY, "the database file cannot be opened") from cause
    if answer not in granted:
        connection.close()
        raise Refused(Kind.CONFLICT, f"the database does not grant `{name}={value.lower()}`")


def _private(path: Path) -> None:
    """Make the file readable by its owner only; SQLite gives its -wal and -shm the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
