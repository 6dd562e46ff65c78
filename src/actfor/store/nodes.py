"""Preparing a PostgreSQL for a node of ours, apart from any event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

from sqlalchemy import MetaData
from sqlalchemy.schema import CreateIndex, CreateTable

from actfor.errors import Kind, Refused
from actfor.store.failures import StorageFailure
from actfor.store.ids import new_id
from actfor.store.postgres import Link, Location
from actfor.store.postgres_checks import check_server
from actfor.store.postgres_dialect import DIALECT
from actfor.store.postgres_writer import SEQUENCE_LOCK
from actfor.wire.timestamps import to_ms

T = TypeVar("T")

_REGISTER = (
    "INSERT INTO store_node (id, epoch, name, started_at, seen_at) VALUES ($1, 1, $2, $3, $3)"
)


def apart(work: Callable[[], T]) -> T:
    """Run this in a thread of its own and wait: a link's loop cannot turn inside another's."""
    with ThreadPoolExecutor(1, thread_name_prefix="actfor-prepare") as thread:
        return thread.submit(work).result()


def register(location: Location, now: datetime) -> str:
    """Enter a node that starts, with epoch 1; return its id.

    Raises:
        Refused: CONFLICT where the server is not safe (named); BUSY where it cannot be reached.
    """
    node, name, at = new_id("nod"), socket.gethostname()[:100], to_ms(now)

    def work() -> None:
        link = Link(location)
        try:
            check_server(link)
            link.fetch(_REGISTER, node, name, at)
        finally:
            link.close()

    _unreachable(location, work)
    return node


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

    _unreachable(location, work)


def _unreachable(location: Location, work: Callable[[], None]) -> None:
    try:
        apart(work)
    except StorageFailure as cause:
        raise Refused(Kind.BUSY, f"the database cannot be used: {cause}") from cause


def _ddl(element: CreateTable | CreateIndex) -> str:
    return str(element.compile(dialect=DIALECT))
