"""SQL of mandate templates: versions are added, never changed."""

from __future__ import annotations

from sqlalchemy import bindparam, desc, func, insert, select

from actfor.delegation.repository.tables import template as _table
from actfor.delegation.templates import Template
from actfor.store import Row, Tx
from actfor.wire import strict_json
from actfor.wire.canonical import canonical
from actfor.wire.timestamps import from_ms, to_ms

_t = _table.c
_ADD = insert(_table).values({column.name: bindparam(column.name) for column in _table.columns})
_ALL = select(*_table.columns).order_by(_t.name, desc(_t.version))
_NEWEST = (
    select(*_table.columns)
    .where(_t.name == bindparam("called"))
    .order_by(desc(_t.version))
    .limit(1)
)
_VERSION = select(func.coalesce(func.max(_t.version), 0)).where(_t.name == bindparam("called"))


def add(tx: Tx, new: Template) -> None:
    """Keep a new version."""
    tx.changed(
        _ADD,
        name=new.name,
        version=new.version,
        body=canonical(new.body).decode(),
        created_by=new.created_by,
        created_at=to_ms(new.created_at),
    )


def version(tx: Tx, name: str) -> int:
    """The newest version's number; 0 where there is none."""
    row = tx.one(_VERSION, called=name)
    return int(row[0]) if row else 0


def newest(tx: Tx, name: str) -> Template | None:
    """The template as it stands."""
    row = tx.one(_NEWEST, called=name)
    return None if row is None else _template(row)


def all_newest(tx: Tx) -> list[Template]:
    """Every template as it stands, by name."""
    found: dict[str, Template] = {}
    for row in tx.run(_ALL):
        if row[0] not in found:
            found[row[0]] = _template(row)
    return list(found.values())


def _template(row: Row) -> Template:
    name, number, body, by, at = row
    read = strict_json.load_object(body.encode(), max_depth=64)
    return Template.parse(name, read, version=number, by=by, now=from_ms(at))
