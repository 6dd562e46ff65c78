"""Governed servers and their tools in the database, and which denials were asked about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from actfor.gateway.effects import Overlay
from actfor.gateway.model import Server, Tool, ToolState, transport_from_json
from actfor.store import Row, Scalar, Tx, insert_ignore, metadata
from actfor.wire.canonical import JsonObject, canonical
from actfor.wire.timestamps import from_ms, to_ms

gateway_server = Table(
    "gateway_server",
    metadata,
    Column("name", Text, primary_key=True),
    Column("transport", Text, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("added_at", Integer, nullable=False),
)

gateway_tool = Table(
    "gateway_tool",
    metadata,
    Column("server", Text, ForeignKey("gateway_server.name"), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("listed", Text, nullable=False),
    Column("listed_digest", Text, nullable=False),
    Column("overlay", Text, nullable=False),
    Column("pinned", Text),
    Column("pinned_digest", Text),
    Column("approved_by", Text),
    Column("approved_at", Integer),
    PrimaryKeyConstraint("server", "name"),
)

# A denial makes one task, and an Idempotency-Key stands for one request: both are taken here, in
# the transaction that asks a person.
access_request = Table(
    "access_request",
    metadata,
    Column("denial", Text, primary_key=True),
    Column("pep", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("key", Text, unique=True),  # a digest of the enforcement point and its key
    Column("body", Text, nullable=False),  # a digest of the whole request
    Column("created_at", Integer, nullable=False),
)
Index("ix_access_request_created", access_request.c.created_at)

_SERVERS = select(gateway_server).order_by(gateway_server.c.name)
_TOOLS = select(gateway_tool).order_by(gateway_tool.c.server, gateway_tool.c.name)
_SERVER_INSERT = insert_ignore(gateway_server).values(
    {column.name: bindparam(column.name) for column in gateway_server.columns}
)
_SERVER_DELETE = delete(gateway_server).where(gateway_server.c.name == bindparam("server"))
_TOOLS_DELETE = delete(gateway_tool).where(gateway_tool.c.server == bindparam("server"))
_TOOL_INSERT = insert(gateway_tool).values(
    {column.name: bindparam(column.name) for column in gateway_tool.columns}
)
_TOOL_UPDATE = (
    update(gateway_tool)
    .where(
        gateway_tool.c.server == bindparam("of_server"),
        gateway_tool.c.name == bindparam("of_name"),
    )
    .values(
        {
            column.name: bindparam(column.name)
            for column in gateway_tool.columns
            if column.name not in {"server", "name"}
        }
    )
)
_TOOLS_OF = (
    select(gateway_tool)
    .where(gateway_tool.c.server == bindparam("server"))
    .order_by(gateway_tool.c.name)
)
_TOOL = select(gateway_tool).where(
    gateway_tool.c.server == bindparam("server"), gateway_tool.c.name == bindparam("name")
)
_PIN = select(
    gateway_tool.c.state,
    gateway_tool.c.pinned_digest,
    gateway_tool.c.overlay,
    gateway_tool.c.approved_at,
).where(gateway_tool.c.server == bindparam("server"), gateway_tool.c.name == bindparam("name"))


_a = access_request.c
_ASKED_ADD = insert_ignore(access_request).values(
    {column.name: bindparam(column.name) for column in access_request.columns}
)
_ASKED = select(_a.pep, _a.task, _a.body).where(_a.denial == bindparam("of"))
_ASKED_BY_KEY = select(_a.pep, _a.task, _a.body).where(_a.key == bindparam("of"))
_ASKED_FORGET = delete(access_request).where(_a.created_at <= bindparam("until"))


@dataclass(frozen=True, slots=True)
class AccessRequested:
    """An access request that was taken: by whom it was made, which task it became."""

    pep: str
    task: str
    body: str


def add_access_request(
    tx: Tx, denial: str, made: AccessRequested, key: str | None, now: datetime
) -> bool:
    """Take a denial, and a key. False when either was taken before."""
    values = {"denial": denial, "pep": made.pep, "task": made.task, "key": key, "body": made.body}
    return tx.changed(_ASKED_ADD, **values, created_at=to_ms(now)) == 1


def access_request_of(tx: Tx, denial: str) -> AccessRequested | None:
    """What was made of a denial."""
    row = tx.one(_ASKED, of=denial)
    return AccessRequested(*row) if row else None


def access_request_by_key(tx: Tx, key: str) -> AccessRequested | None:
    """What was made with an Idempotency-Key."""
    row = tx.one(_ASKED_BY_KEY, of=key)
    return AccessRequested(*row) if row else None


def forget_access_requests(tx: Tx, until: datetime) -> None:
    """Delete what was asked before."""
    tx.run(_ASKED_FORGET, until=to_ms(until))


def servers(tx: Tx) -> list[Server]:
    """Every server with its tools."""
    tools: dict[str, dict[str, Tool]] = {}
    for row in tx.run(_TOOLS):
        tool = _tool(row)
        tools.setdefault(tool.server, {})[tool.name] = tool
    return [
        Server(
            name, transport_from_json(json.loads(transport)), by, from_ms(at), tools.get(name, {})
        )
        for name, transport, by, at in tx.run(_SERVERS)
    ]


def add_server(tx: Tx, server: Server) -> bool:
    """False when there is one of that name."""
    return (
        tx.changed(
            _SERVER_INSERT,
            name=server.name,
            transport=_text(server.transport.to_json()),
            added_by=server.added_by,
            added_at=to_ms(server.added_at),
        )
        == 1
    )


def remove_server(tx: Tx, name: str) -> bool:
    """False when there was none."""
    tx.run(_TOOLS_DELETE, server=name)
    return tx.changed(_SERVER_DELETE, server=name) == 1


def tool(tx: Tx, server: str, name: str) -> Tool | None:
    """One tool."""
    row = tx.one(_TOOL, server=server, name=name)
    return _tool(row) if row else None


def tools_of(tx: Tx, server: str) -> list[Tool]:
    """All tools of one server, by name."""
    return [_tool(row) for row in tx.run(_TOOLS_OF, server=server)]


def put_tool(tx: Tx, tool: Tool) -> None:
    """Insert the tool, or replace all but its name."""
    values = _values(tool)
    changed = tx.changed(_TOOL_UPDATE, of_server=tool.server, of_name=tool.name, **values)
    if not changed:
        tx.run(_TOOL_INSERT, server=tool.server, name=tool.name, **values)


def pin(tx: Tx, server: str, name: str) -> tuple[str, str | None, str, int | None] | None:
    """State, approved digest, overlay text and epoch of one tool: what a decision must still find
    true.
    """
    row = tx.one(_PIN, server=server, name=name)
    return (row[0], row[1], row[2], row[3]) if row else None


def overlay_text(overlay: Overlay) -> str:
    """How an overlay is stored, for comparison with `pin`."""
    return _text(overlay.to_json())


def _values(tool: Tool) -> dict[str, Scalar]:
    return {
        "state": tool.state.value,
        "listed": _text(tool.listed),
        "listed_digest": tool.listed_digest,
        "overlay": overlay_text(tool.overlay),
        "pinned": None if tool.pinned is None else _text(tool.pinned),
        "pinned_digest": tool.pinned_digest,
        "approved_by": tool.approved_by,
        "approved_at": None if tool.approved_at is None else to_ms(tool.approved_at),
    }


def _tool(row: Row) -> Tool:
    server, name, state, listed, listed_digest, overlay, pinned, pinned_digest, by, at = row
    return Tool(
        server=server,
        name=name,
        listed=json.loads(listed),
        listed_digest=listed_digest,
        state=ToolState(state),
        overlay=Overlay.from_json(json.loads(overlay)),
        pinned=None if pinned is None else json.loads(pinned),
        pinned_digest=pinned_digest,
        approved_by=by,
        approved_at=None if at is None else from_ms(at),
    )


def _text(value: JsonObject) -> str:
    return canonical(value).decode()
