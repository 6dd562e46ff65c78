"""How far each destination has got, and which node sends to it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Integer, Table, Text, bindparam, or_, select, update

from actfor.store import Tx, insert_ignore, metadata
from actfor.wire.timestamps import to_ms

export_cursor = Table(
    "export_cursor",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next_index", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    Column("held_until", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("error", Text),
    Column("delivered_at", Integer),
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The index of the next leaf to send; ``failures`` in a row, and the last of them."""

    next_index: int
    holder: str
    failures: int
    error: str | None
    delivered_at: int | None


_BEGIN = insert_ignore(export_cursor).values(
    name=bindparam("of"),
    next_index=bindparam("start"),
    holder="",
    held_until=0,
    failures=0,
)
_CURSOR = select(
    export_cursor.c.next_index,
    export_cursor.c.holder,
    export_cursor.c.failures,
    export_cursor.c.error,
    export_cursor.c.delivered_at,
).where(export_cursor.c.name == bindparam("of"))
_CLAIM = (
    update(export_cursor)
    .where(
        export_cursor.c.name == bindparam("of"),
        or_(
            export_cursor.c.holder == bindparam("node"),
            export_cursor.c.held_until < bindparam("now"),
        ),
    )
    .values(holder=bindparam("node"), held_until=bindparam("until"))
)
_ADVANCE = (
    update(export_cursor)
    .where(
        export_cursor.c.name == bindparam("of"),
        export_cursor.c.holder == bindparam("node"),
        export_cursor.c.next_index == bindparam("old"),
    )
    .values(
        next_index=bindparam("new"),
        held_until=bindparam("until"),
        failures=0,
        error=None,
        delivered_at=bindparam("now"),
    )
)
_FAIL = (
    update(export_cursor)
    .where(export_cursor.c.name == bindparam("of"), export_cursor.c.holder == bindparam("node"))
    .values(failures=export_cursor.c.failures + 1, error=bindparam("why"))
)


def begin(tx: Tx, name: str, start: int) -> None:
    """Begin a destination's cursor at a leaf, unless it has one."""
    tx.changed(_BEGIN, of=name, start=start)


def cursor(tx: Tx, name: str) -> Cursor | None:
    """How far a destination has got; None if it never began."""
    row = tx.one(_CURSOR, of=name)
    return None if row is None else Cursor(*row)


def claim(tx: Tx, name: str, node: str, lease_ms: int) -> bool:
    """Take or renew the right to send; False while another node has it."""
    now = to_ms(tx.now)
    return tx.changed(_CLAIM, of=name, node=node, now=now, until=now + lease_ms) == 1


def advance(tx: Tx, name: str, node: str, old: int, new: int, lease_ms: int) -> bool:
    """Remember a delivery; False if another node has taken over meanwhile (it sends again)."""
    now = to_ms(tx.now)
    changed = tx.changed(
        _ADVANCE, of=name, node=node, old=old, new=new, now=now, until=now + lease_ms
    )
    return changed == 1


def fail(tx: Tx, name: str, node: str, why: str) -> None:
    """Count a failed delivery."""
    tx.changed(_FAIL, of=name, node=node, why=why)
