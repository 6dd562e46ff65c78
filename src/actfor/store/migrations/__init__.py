"""Schema versions: forward only, packaged, run when a database is opened.

All pending versions run in one transaction that excludes every other writer, so that a
process killed in the middle leaves the schema it found, and nodes that start at once migrate
once. On PostgreSQL the lock is the sequencers' own: no decision is recorded on half a schema.
Rules for authors: expand first, contract a release later; yesterday's code must run on today's
schema, because its nodes go on beside the first new one (docs/guides/postgresql.md).
"""

from __future__ import annotations

import logging
import sqlite3
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from actfor.errors import Kind, Refused
from actfor.store import postgres_dbapi
from actfor.store.failures import StorageFailure
from actfor.store.places import Location, parse
from actfor.store.postgres_checks import check_server
from actfor.store.postgres_writer import SEQUENCE_LOCK
from actfor.store.sqlite import Location as SqliteLocation

logger = logging.getLogger(__name__)

LOCK_WAIT_SECONDS = 30
"""How long to wait for another process that is migrating the same database."""


SCRIPTS = Path(__file__).parent

UNFINISHED = "restoring"
"""In place of the schema's version while a restore is under way (``snapshot.load``). It is the
version of no release, so that none opens what was filled and not yet made safe."""


def migrate(url: str, scripts: Path = SCRIPTS) -> None:
    """Bring the database to this release's schema; does nothing if it is there already.

    On PostgreSQL not to be called where an event loop turns: use a thread.

    Raises:
        Refused: CONFLICT if the schema is newer than this release or the server is not safe; BUSY
            if the database cannot be locked or written.
    """
    engine = engine_for(url)
    try:
        with engine.connect() as connection, connection.begin():
            _upgrade(connection, scripts)
    except (DBAPIError, StorageFailure) as cause:
        logger.exception("the schema of %s was not brought up to date", parse(url))
        raise Refused(
            Kind.BUSY, f"the database schema could not be brought up to date: {_reason(cause)}"
        ) from cause
    finally:
        engine.dispose()


def _reason(cause: Exception) -> str:
    return str(cause.orig if isinstance(cause, DBAPIError) else cause).partition("\n")[0][:200]


def engine_for(url: str) -> Engine:
    """An engine for schema work, whose every transaction takes the write lock first."""
    location: Location = parse(url)
    if isinstance(location, SqliteLocation):
        return _sqlite_engine(location)

    def connect() -> postgres_dbapi.SchemaConnection:
        connection = postgres_dbapi.SchemaConnection(location)
        try:
            check_server(connection.link)
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine(
        "postgresql+actfor://", module=postgres_dbapi.module, creator=connect, poolclass=NullPool
    )

    @event.listens_for(engine, "begin")
    def _lock(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SEQUENCE_LOCK})")

    return engine


def _sqlite_engine(location: SqliteLocation) -> Engine:
    path = location.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    engine = create_engine(
        f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": LOCK_WAIT_SECONDS}
    )

    # sqlite3 would commit before DDL; BEGIN is ours, so that DDL is part of the transaction.
    @event.listens_for(engine, "connect")
    def _by_hand(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None

    @event.listens_for(engine, "begin")
    def _lock(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def configuration(connection: Connection, scripts: Path = SCRIPTS) -> Config:
    """Alembic's configuration without an ini file: these scripts, this connection."""
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection, scripts: Path) -> None:
    known, head = packaged(scripts)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == UNFINISHED:
        raise Refused(
            Kind.CONFLICT,
            "a restore into this database is under way, or was cut short: nothing is served from"
            " it; restore into a new one",
        )
    if current is not None and current not in known:
        raise Refused(
            Kind.CONFLICT, f"the database has schema `{current}`, newer than this release"
        )
    if not known:
        raise RuntimeError("no migrations are packaged")
    if current != head:
        command.upgrade(configuration(connection, scripts), "head")


@cache
def packaged(scripts: Path = SCRIPTS) -> tuple[frozenset[str], str | None]:
    """All versions in that folder, and the newest. Read once: it takes longer than the rest."""
    script = ScriptDirectory(str(scripts))
    known = frozenset(revision.revision for revision in script.walk_revisions())
    return known, script.get_current_head()
