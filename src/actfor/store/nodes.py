"""Preparing a PostgreSQL for a node of ours, apart from any event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
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
from actfor.wire.timestamps import from_ms, to_ms

T = TypeVar("T")

START_SECONDS = 10.0
"""At start nobody waits for a decision, so a database that is busy is waited for longer."""

_FORGET = "DELETE FROM store_node WHERE seen_at < $1::bigint - 7 * 24 * 3600 * 1000::bigint"
_NODES = "SELECT id, name, started_at, seen_at, epoch FROM store_node ORDER BY started_at DESC, id"
# The lock first: when this returns, no transaction of that node is on its way any more.
_FENCE = (
    "WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock($2::bigint))"
    " UPDATE store_node SET epoch = epoch + 1 FROM held WHERE id = $1 RETURNING id"
)
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
        link = Link(location, lock_seconds=START_SECONDS)
        try:
            link.patience(START_SECONDS)
            check_server(link)
            link.fetch(_REGISTER, node, name, at)
            link.fetch(_FORGET, at)
            ((last,),) = link.fetch("SELECT coalesce(max(seq), 0) FROM store_change")
            return int(last)
        finally:
            link.close()

    return node, _reached(work)


@dataclass(frozen=True, slots=True)
class Node:
    """A process that opened the database: when, and when it last said that it lives."""

    id: str
    name: str
    started_at: datetime
    seen_at: datetime
    fenced: bool


def known_nodes(location: Location) -> list[Node]:
    """The nodes of the last week, newest first.

    Raises:
        Refused: BUSY where the database cannot be reached.
    """

    def work() -> list[Node]:
        link = Link(location, read_only=True)
        try:
            rows = link.fetch(_NODES)
        finally:
            link.close()
        return [
            Node(id_, name, from_ms(started), from_ms(seen), epoch != 1)
            for id_, name, started, seen, epoch in rows
        ]

    return _reached(work)


def fence(location: Location, node: str) -> None:
    """Take a node's right to write, for good: its next transaction fails, its process ends.

    Raises:
        Refused: NOT_FOUND; BUSY where the database cannot be reached.
    """

    def work() -> None:
        link = Link(location)
        try:
            if not link.fetch(_FENCE, node, SEQUENCE_LOCK):
                raise Refused(Kind.NOT_FOUND, "there is no such node")
        finally:
            link.close()

    _reached(work)


def create_all(location: Location, metadata: MetaData) -> None:
    """Make every table that is not there yet, without a record of schema versions."""

    def work() -> None:
        link = Link(location, lock_seconds=START_SECONDS)
        try:
            link.patience(START_SECONDS)
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
