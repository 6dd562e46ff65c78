"""SQL of values that a person said are right for an argument."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, insert, select, update

from actfor.delegation.model import Endorsement
from actfor.delegation.repository.tables import endorsement as _table
from actfor.keys import Texts
from actfor.store import Row, Tx
from actfor.wire.timestamps import from_ms, to_ms

_t = _table.c
_SLOT, _VALUE = "mandate_endorsement.slot", "mandate_endorsement.value"
_ADD = insert(_table).values({column.name: bindparam(column.name) for column in _table.columns})
_OF = (
    select(*_table.columns)
    .where(_t.mandate_id == bindparam("mandate"))
    .order_by(_t.created_at, _t.id)
)
_HOLDS = select(_t.withdrawn_at).where(_t.id == bindparam("id"))
_BY_ID = select(*_table.columns).where(_t.id == bindparam("id"))
_WITHDRAW = (
    update(_table)
    .where(_t.id == bindparam("of"), _t.withdrawn_at.is_(None))
    .values(withdrawn_at=bindparam("now"))
)


def add(tx: Tx, texts: Texts, new: Endorsement, person_id: str) -> None:
    """Keep a new one; ``person_id`` is whose mandate it is of."""
    tx.changed(
        _ADD,
        id=new.id,
        mandate_id=new.mandate_id,
        tool=new.tool,
        slot=texts.seal(tx, person_id, _SLOT, new.id, new.slot),
        value=texts.seal(tx, person_id, _VALUE, new.id, new.value),
        given_by=new.given_by,
        approval_id=new.approval_id,
        created_at=to_ms(new.created_at),
        withdrawn_at=None,
    )


def of_mandate(tx: Tx, texts: Texts, mandate_id: str) -> list[Endorsement]:
    """All of a mandate, withdrawn ones too, oldest first."""
    found = (_endorsement(tx, texts, row) for row in tx.run(_OF, mandate=mandate_id))
    return [one for one in found if one is not None]


def holds(tx: Tx, endorsement_id: str) -> bool:
    """Whether it was given and not taken back."""
    row = tx.one(_HOLDS, id=endorsement_id)
    return row is not None and row[0] is None


def by_id(tx: Tx, texts: Texts, endorsement_id: str) -> Endorsement | None:
    """One of them."""
    row = tx.one(_BY_ID, id=endorsement_id)
    return None if row is None else _endorsement(tx, texts, row)


def withdraw(tx: Tx, endorsement_id: str, now: datetime) -> bool:
    """Take it back. False if it was before."""
    return tx.changed(_WITHDRAW, of=endorsement_id, now=to_ms(now)) == 1


def _endorsement(tx: Tx, texts: Texts, row: Row) -> Endorsement | None:
    id_, mandate, tool, sealed_slot, sealed, by, approval, created, withdrawn = row
    slot, value = texts.open(tx, _SLOT, id_, sealed_slot), texts.open(tx, _VALUE, id_, sealed)
    if slot is None or value is None:
        return None  # whose mandate it was is erased
    return Endorsement(
        id_,
        mandate,
        tool,
        slot,
        value,
        by,
        approval,
        from_ms(created),
        None if withdrawn is None else from_ms(withdrawn),
    )
