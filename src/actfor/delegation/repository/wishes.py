"""SQL of what agents wish for: kept a while, looked at by people, never authority."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Text, bindparam, delete, desc, func, insert, or_, select, update

from actfor.delegation.model import Mandate, Wish
from actfor.delegation.repository.tables import wish as _table
from actfor.keys import INSTALLATION, Texts
from actfor.store import Row, Tx
from actfor.wire import strict_json
from actfor.wire.canonical import canonical
from actfor.wire.rar import from_authorization_details, to_authorization_details
from actfor.wire.timestamps import from_ms, to_ms

_t = _table.c
_DETAILS, _SAYS = "mandate_wish.details", "mandate_wish.says"
_ADD = insert(_table).values({column.name: bindparam(column.name) for column in _table.columns})
# A wish that is for nobody in particular may be answered by anybody.
_MAY = or_(_t.person_id.is_(None), _t.person_id == bindparam("whose", type_=Text))
_PENDING = (
    select(*_table.columns)
    .where(_t.expires_at > bindparam("now"), _t.answer.is_(None), _MAY)
    .order_by(desc(_t.created_at), desc(_t.id))
    .limit(bindparam("most"))
)
_COUNT = (
    select(func.count())
    .select_from(_table)
    .where(_t.agent == bindparam("by"), _t.expires_at > bindparam("now"), _t.answer.is_(None))
)
_OPEN = (_t.id == bindparam("of"), _t.answer.is_(None), _t.expires_at > bindparam("now"), _MAY)
_DISMISS = update(_table).where(*_OPEN).values(answer="dismissed")
_GRANT = (
    update(_table)
    .where(*_OPEN, _t.agent == bindparam("by"))
    .values(answer="granted", mandate_id=bindparam("mandate", type_=Text))
)
_STANDING = select(_t.agent, _t.expires_at, _t.answer, _t.mandate_id).where(
    _t.id == bindparam("of")
)
_FORGET = delete(_table).where(_t.expires_at <= bindparam("until"))


def add(tx: Tx, texts: Texts, new: Wish, resources: str) -> None:
    """Keep a wish. Mostly it is of no person that we know, so the installation's key seals it."""
    details = to_authorization_details(new.authority, resources=resources)
    tx.changed(
        _ADD,
        id=new.id,
        agent=new.agent,
        details=texts.seal(tx, INSTALLATION, _DETAILS, new.id, canonical(details).decode()),
        says=texts.seal_some(tx, INSTALLATION, _SAYS, new.id, new.says),
        created_at=to_ms(new.created_at),
        expires_at=to_ms(new.expires_at),
        person_id=new.person_id,
        answer=None,
        mandate_id=None,
    )


def pending(
    tx: Tx, texts: Texts, now: datetime, resources: str, *, person_id: str, most: int
) -> list[Wish]:
    """The open wishes that a person may answer, newest first."""
    rows = tx.run(_PENDING, now=to_ms(now), whose=person_id, most=most)
    return [_wish(tx, texts, row, resources) for row in rows]


def count(tx: Tx, agent: str, now: datetime) -> int:
    """How many wishes an agent has open."""
    row = tx.one(_COUNT, by=agent, now=to_ms(now))
    return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True)
class Standing:
    """Whose wish it is, until when it is kept, and what a person made of it."""

    agent: str
    expires_at: datetime
    answer: str | None
    mandate_id: str | None


def standing(tx: Tx, wish_id: str) -> Standing | None:
    """How a wish stands; None if it is forgotten, or never was."""
    row = tx.one(_STANDING, of=wish_id)
    return None if row is None else Standing(row[0], from_ms(row[1]), row[2], row[3])


def dismiss(tx: Tx, wish_id: str, person_id: str, now: datetime) -> bool:
    """Put a wish away. False if none is open that this person may answer."""
    return tx.changed(_DISMISS, of=wish_id, whose=person_id, now=to_ms(now)) == 1


def grant(tx: Tx, wish_id: str, agent: str, mandate: Mandate, now: datetime) -> bool:
    """Answer the wish of an agent with a mandate. False if none of its is open that the mandate's
    person may answer.
    """
    values = {"of": wish_id, "by": agent, "whose": mandate.person_id, "mandate": mandate.id}
    return tx.changed(_GRANT, **values, now=to_ms(now)) == 1


def forget(tx: Tx, expired_before: datetime) -> None:
    """Delete what is too old."""
    tx.changed(_FORGET, until=to_ms(expired_before))


def _wish(tx: Tx, texts: Texts, row: Row, resources: str) -> Wish:
    id_, agent, sealed, said, created, expires, person_id, *_ = row
    details = texts.open(tx, _DETAILS, id_, sealed) or ""
    says = texts.open_some(tx, _SAYS, id_, said)
    authority = from_authorization_details(strict_json.loads(details.encode()), resources=resources)
    return Wish(id_, agent, authority, says, from_ms(created), from_ms(expires), person_id)
