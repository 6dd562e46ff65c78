"""SQL that forgets a person: their mandates and everything that hangs on them."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, or_, select

from actfor.delegation.repository.tables import (
    device,
    endorsement,
    issued,
    mandate,
    slot,
    usage_meter,
    usage_set,
    wish,
)
from actfor.store import Tx

_MANDATES = select(mandate.c.id).where(mandate.c.person_id == bindparam("whose")).scalar_subquery()
_GRANTS = select(issued.c.id).where(issued.c.mandate_id.in_(_MANDATES)).scalar_subquery()
_IN_ORDER = (
    *(
        delete(owned).where(or_(owned.c.owner.in_(_MANDATES), owned.c.owner.in_(_GRANTS)))
        for owned in (slot, usage_meter, usage_set)
    ),
    delete(endorsement).where(endorsement.c.mandate_id.in_(_MANDATES)),
    delete(issued).where(issued.c.mandate_id.in_(_MANDATES)),
    delete(mandate).where(mandate.c.person_id == bindparam("whose")),
    delete(device).where(device.c.person_id == bindparam("whose")),
)
_WISHES = delete(wish)
ERASED_FROM = tuple(
    table.name
    for table in (mandate, issued, slot, usage_meter, usage_set, endorsement, device, wish)
)


def erase(tx: Tx, person_id: str) -> None:
    """Delete a person's mandates, what was made from them and counted for them, and their logins.

    Revoke the active ones first, so that the log tells of it.
    """
    for statement in _IN_ORDER:
        tx.changed(statement, whose=person_id)
    # Whom an agent wishes something for, nobody knows; they are forgotten within a day anyway.
    tx.changed(_WISHES)
