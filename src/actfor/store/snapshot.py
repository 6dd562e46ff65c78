"""Every row of a database as one consistent snapshot, and back: for backups, on either database.

Reading needs no writer: it goes on beside a server that serves. Loading is one transaction together
with the migrations around it, so that what is cut short leaves an empty database. What was loaded
is an older state, so it stays closed (``UNFINISHED``) until the transaction that makes it safe
calls ``finish``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar

from alembic import command
from alembic.runtime.migration import MigrationContext
from sqlalchemy import (
    Column,
    MetaData,
    Select,
    Table,
    Text,
    bindparam,
    column,
    func,
    insert,
    select,
    table,
    tuple_,
    update,
)
from sqlalchemy.exc import DBAPIError

from actfor.errors import Kind, Refused
from actfor.store.database import make_readers
from actfor.store.failures import StorageFailure, not_readable
from actfor.store.migrations import UNFINISHED, configuration, engine_for, packaged
from actfor.store.places import parse
from actfor.store.schema import has_table
from actfor.store.statements import Row
from actfor.store.tables import metadata
from actfor.store.transaction import Tx

logger = logging.getLogger(__name__)
T = TypeVar("T")
OWN: Final = frozenset({"store_node", "store_change"})
"""What a database says of its own nodes; it means nothing elsewhere."""

_PAGE: Final = 1000
_alembic = Table("alembic_version", MetaData(), Column("version_num", Text, primary_key=True))
_VERSION: Final[Select[Any]] = select(_alembic.c.version_num)
_HAS_VERSION: Final[Select[Any]] = select(has_table())
_CLOSE: Final = update(_alembic).values(version_num=UNFINISHED)
_FINISH: Final = (
    update(_alembic)
    .where(_alembic.c.version_num == UNFINISHED)
    .values(version_num=bindparam("version"))
)


def read_snapshot(url: str, clock: Callable[[], datetime], unit: Callable[[Tx], T]) -> T:
    """Run a unit on a consistent snapshot of an existing database, without becoming its writer.

    Raises:
        Refused: BUSY when the database cannot be read.
    """
    readers = make_readers(parse(url), clock)
    try:
        return readers.read_sync(unit)
    except StorageFailure as cause:
        logger.exception("a snapshot of %s was not read", parse(url))
        raise not_readable() from cause
    finally:
        readers.close()


def tables() -> list[Table]:
    """All tables that hold state, those that others refer to first."""
    return [found for found in metadata.sorted_tables if found.name not in OWN]


def revision(tx: Tx) -> str:
    """The schema's version, which is this release's: what ``tables`` names is there.

    Raises:
        Refused: CONFLICT if it is another release's, there is none, or a restore has not ended.
    """
    row = tx.one(_VERSION) if tx.run(_HAS_VERSION, name=_alembic.name)[0][0] else None
    if row is None or row[0] == UNFINISHED:
        raise Refused(Kind.CONFLICT, "the database has no schema, or a restore has not ended")
    known, head = packaged()
    if row[0] == head:
        return str(head)
    raise Refused(
        Kind.CONFLICT,
        f"the database has schema `{row[0]}` of an older release, this one has `{head}`: use that"
        " release's own command, or start a server of this one once"
        if row[0] in known
        else f"the database has schema `{row[0]}`, newer than this release",
    )


def rows(tx: Tx, of: Table) -> Iterator[Row]:
    """Every row of a table, by its primary key, a page at a time."""
    keys = list(of.primary_key.columns)
    at = [list(of.columns).index(key) for key in keys]
    after = [bindparam(f"after_{n}", type_=key.type) for n, key in enumerate(keys)]
    first: Select[Any] = select(of).order_by(*keys).limit(_PAGE)
    later = (
        first.where(tuple_(*keys) > tuple_(*after))
        if len(keys) > 1
        else first.where(keys[0] > after[0])
    )
    found = tx.run(first)
    while found:
        yield from found
        if len(found) < _PAGE:
            return
        tx.go_on()
        found = tx.run(later, **{f"after_{n}": found[-1][i] for n, i in enumerate(at)})


def load(
    url: str,
    version: str,
    content: Iterable[tuple[str, list[str], Iterable[list[object]]]],
    *,
    closed: bool,
) -> int:
    """Fill an empty database with tables as ``tables`` orders them; how many rows.

    The rows are of schema ``version``: migrations up to it run before, those after it afterwards.
    With ``closed`` only ``Database.open(…, unfinished=True)`` opens it until ``finish``.

    Raises:
        Refused: CONFLICT if the database is not empty or the version is not known to this release.
    """
    engine = engine_for(url)
    try:
        with engine.connect() as connection, connection.begin():
            config = configuration(connection)
            if version not in packaged()[0]:
                raise Refused(Kind.CONFLICT, f"schema `{version}` is newer than this release")
            current = MigrationContext.configure(connection).get_current_revision()
            if current == UNFINISHED:
                raise Refused(Kind.CONFLICT, "a restore was cut short here: make a new database")
            if current is None:
                command.upgrade(config, version)
            for found in tables() if current is not None else ():
                if connection.execute(select(func.count()).select_from(found)).scalar_one():
                    raise Refused(Kind.CONFLICT, f"the database is not empty: `{found.name}`")
            count = 0
            for name, columns, filled in content:
                into = insert(table(name, *(column(each) for each in columns))).values(
                    {each: bindparam(each) for each in columns}
                )
                for row in filled:
                    connection.execute(into, dict(zip(columns, row, strict=True)))
                    count += 1
            command.upgrade(config, "head")
            if closed:
                connection.execute(_CLOSE)
    except DBAPIError as cause:
        raise Refused(Kind.BUSY, "the database could not be filled") from cause
    finally:
        engine.dispose()
    return count


def finish(tx: Tx) -> None:
    """What was loaded is as safe as this transaction makes it: from its commit on it opens.

    Raises:
        Refused: CONFLICT if no restore is under way.
    """
    _, head = packaged()
    if head is None or tx.changed(_FINISH, version=head) != 1:
        raise Refused(Kind.CONFLICT, "no restore is under way in this database")
