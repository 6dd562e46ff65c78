"""Preparing a PostgreSQL for a node of ours, apart from any event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy import MetaData
from sqlalchemy.schema import CreateIndex, CreateTable

from actfor.errors import Kind, Refused
from actfor.store.failures import StorageFailure
from actfor.store.ids import new_id
from actfor.store.postgres import Link, Location, apart
from actfor.store.postgres_checks import check_server
from actfor.store.postgres_dialect import DIALECT
from actfor.store.postgres_writer import SEQUENCE_LOCK
from actfor.wire.timestamps import to_ms

T = TypeVar("T")

_FORGET = "DELETE FROM store_node WHERE seen_at < $1::bigint - 7 * 24 * 3600 * 1000::bigint"
_REGISTER = (
    "INSERT INTO store_node (id, epoch, name, started_at, seen_at) VALUES ($1, 1, $2, $3, $3)"
)


def register(location: Location, now: datetime) -> tuple[str, int]:
    """Enter a node that starts, with epoch 1; its id, and the number of the last change.

    What is read from the database after this needs to follow changes after that number.

    Raises:
        Refused: CONFLICT where the server is not safe (named); BUSY where it cannot be reached.
    """
    node, name, at = new_id("nod"), socket.gethostname()[:100], to_ms(now)

    def work() -> int:
        link = Link(location)
        try:
            check_server(link)
            link.fetch(_REGISTER, node, name, at)
            link.fetch(_FORGET, at)
            ((last,),) = link.fetch("SELECT coalesce(max(seq), 0) FROM store_change")
            return int(last)
        finally:
            link.close()

    return node, _reached(work)


def create_all(location: Location, metadata: MetaData) -> None:
    """Make every table that is not there yet, without a record of schema versions."""

    def work() -> None:
        link = Link(location)
        try:
            check_server(link)
            link.control(f"BEGIN; SELECT pg_advisory_xact_lock({SEQUENCE_LOCK})")
            for table in metadata.sorted_tables:
                link.control(_ddl(CreateTable(table, if_not_exists=True)))
                for index in sorted(table.indexes, key=lambda index: str(index.name)):
                    link.control(_ddl(CreateIndex(index, if_not_exists=True)))
            link.control("COMMIT")
        finally:
            link.close()

    _reached(work)


def _reached(work: Callable[[], T]) -> T:
    try:
        return apart(work)
    except StorageFailure as cause:
        raise Refused(Kind.BUSY, f"the database cannot be used: {cause}") from cause


def _ddl(element: CreateTable | CreateIndex) -> str:
    return str(element.compile(dialect=DIALECT))
