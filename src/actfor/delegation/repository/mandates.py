"""SQL of mandates: committed once, revoked by one conditional write, used by another."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from sqlalchemy import ColumnElement, Integer, bindparam, case, desc, insert, or_, select, update
from sqlalchemy.sql.schema import Column

from actfor.delegation.model import Mandate, MandateState
from actfor.delegation.repository.tables import mandate as _table
from actfor.delegation.repository.tables import slot as _slot
from actfor.store import Row, Tx
from actfor.wire.canonical import canonical
from actfor.wire.rar import Authority, from_authorization_details, to_authorization_details
from actfor.wire.spiffe import SpiffeId
from actfor.wire.strict_json import loads
from actfor.wire.timestamps import from_ms, to_ms

_t = _table.c
_COLUMNS = (
    _t.id, _t.person_id, _t.agent, _t.goal, _t.details, _t.authority_hash, _t.intent_hash,
    _t.created_at, _t.expires_at, _t.state, _t.epoch, _t.four_eyes, _t.calls_used,
    _t.amount_used, _t.reason, _t.recent_hour, _t.recent_calls,
)  # fmt: skip
_CALLS, _AMOUNT = bindparam("calls", type_=Integer), bindparam("amount", type_=Integer)
_HOUR = bindparam("hour", type_=Integer)
_HOUR_MS = 3_600_000


def fits(used: Column[int], limit: Column[int], more: ColumnElement[int]) -> ColumnElement[bool]:
    """The condition that ``more`` may still be taken."""
    return or_(limit.is_(None), used + more <= limit)


_ADD = insert(_table).values({column.name: bindparam(column.name) for column in _table.columns})
_BY_ID = select(*_COLUMNS).where(_t.id == bindparam("id"))
_LATEST = select(*_COLUMNS).order_by(desc(_t.created_at), desc(_t.id)).limit(bindparam("most"))
_LATEST_OF = _LATEST.where(_t.person_id == bindparam("person"))
_STANDING = select(
    _t.state,
    _t.epoch,
    _t.calls_used,
    _t.amount_used,
    _t.reason,
    _t.recent_hour,
    _t.recent_calls,
).where(_t.id == bindparam("id"))
_REVOKE = (
    update(_table)
    .where(_t.id == bindparam("of"), _t.state == MandateState.ACTIVE.value)
    .values(state=MandateState.REVOKED.value, epoch=_t.epoch + 1, reason=bindparam("why"))
)
_ACTIVE = (
    select(_t.id, _t.agent, _t.epoch)
    .where(_t.state == MandateState.ACTIVE.value)
    .order_by(_t.created_at, _t.id)
)
_TAKE = (
    update(_table)
    .where(
        _t.id == bindparam("of"),
        _t.state == MandateState.ACTIVE.value,
        _t.epoch == bindparam("seen"),
        _t.expires_at > bindparam("now"),
        fits(_t.calls_used, _t.calls_limit, _CALLS),
        fits(_t.amount_used, _t.amount_limit, _AMOUNT),
    )
    .values(
        calls_used=_t.calls_used + _CALLS,
        amount_used=_t.amount_used + _AMOUNT,
        recent_calls=case((_t.recent_hour == _HOUR, _t.recent_calls + _CALLS), else_=_CALLS),
        recent_hour=_HOUR,
    )
)
_ADD_SLOT = insert(_slot).values(
    owner=bindparam("owner"), slot=bindparam("slot"), calls_limit=bindparam("limit"), calls_used=0
)
_TAKE_SLOT = (
    update(_slot)
    .where(
        _slot.c.owner == bindparam("of"),
        _slot.c.slot == bindparam("at"),
        _slot.c.calls_used < _slot.c.calls_limit,
    )
    .values(calls_used=_slot.c.calls_used + 1)
)

_SLOT_LEFT = select(_slot.c.calls_limit - _slot.c.calls_used).where(
    _slot.c.owner == bindparam("of"), _slot.c.slot == bindparam("at")
)


def add(tx: Tx, mandate: Mandate, resources: str) -> None:
    """Commit a new mandate and the counters of its limited grants."""
    budget = mandate.authority.budget
    details = to_authorization_details(mandate.authority, resources=resources)
    tx.changed(
        _ADD,
        id=mandate.id,
        person_id=mandate.person_id,
        agent=str(mandate.agent),
        goal=mandate.goal,
        details=canonical(details).decode(),
        authority_hash=mandate.authority_hash,
        intent_hash=mandate.intent_hash,
        created_at=to_ms(mandate.created_at),
        expires_at=to_ms(mandate.expires_at),
        state=mandate.state.value,
        epoch=mandate.epoch,
        four_eyes=int(mandate.four_eyes),
        reason=None,
        calls_limit=budget.calls,
        calls_used=0,
        amount_limit=None if budget.amount is None else budget.amount.minor,
        amount_used=0,
        recent_hour=None,
        recent_calls=None,
    )
    add_slots(tx, mandate.id, mandate.authority)


def add_slots(tx: Tx, owner: str, authority: Authority) -> None:
    """Counters for the grants of ``authority`` that limit their own calls."""
    for index, grant in enumerate(authority.grants):
        if grant.max_calls is not None:
            tx.changed(_ADD_SLOT, owner=owner, slot=index, limit=grant.max_calls)


def by_id(tx: Tx, mandate_id: str, resources: str) -> Mandate | None:
    """One mandate, as it was left: see ``Mandate.at``."""
    row = tx.one(_BY_ID, id=mandate_id)
    return None if row is None else _mandate(tx, row, resources)


def latest(tx: Tx, person_id: str | None, resources: str, most: int) -> list[Mandate]:
    """Mandates, newest first: of one person, or of everyone."""
    if person_id is None:
        rows = tx.run(_LATEST, most=most)
    else:
        rows = tx.run(_LATEST_OF, person=person_id, most=most)
    return [_mandate(tx, row, resources) for row in rows]


def standing(tx: Tx, mandate: Mandate) -> Mandate | None:
    """The mandate with all of it that ever changes as it is in this transaction."""
    row = tx.one(_STANDING, id=mandate.id)
    if row is None:
        return None
    state, epoch, calls, amount, reason, hour, recent = row
    return replace(
        mandate,
        state=MandateState(state),
        epoch=epoch,
        calls_used=calls,
        amount_used=amount,
        reason=reason,
        calls_this_hour=_recent(tx, hour, recent),
    )


def active(tx: Tx) -> list[tuple[str, str, int]]:
    """Id, agent and epoch of every mandate that was not revoked, expired or not."""
    return [(id_, agent, epoch) for id_, agent, epoch in tx.run(_ACTIVE)]


def revoke(tx: Tx, mandate_id: str, reason: str) -> bool:
    """End an active mandate and everything made from it. False if it was not active."""
    return tx.changed(_REVOKE, of=mandate_id, why=reason) == 1


def take(tx: Tx, mandate_id: str, *, epoch: int, now: datetime, calls: int, amount: int) -> bool:
    """Take calls and money from the budget. False, and nothing taken, if it may not be."""
    ms = to_ms(now)
    taken = tx.changed(
        _TAKE,
        of=mandate_id,
        seen=epoch,
        now=ms,
        calls=calls,
        amount=amount,
        hour=ms // _HOUR_MS,
    )
    return taken == 1


def take_slot(tx: Tx, owner: str, index: int) -> bool:
    """Take one call of one limited grant. False if none is left."""
    return tx.changed(_TAKE_SLOT, of=owner, at=index) == 1


def slot_left(tx: Tx, owner: str, index: int) -> int | None:
    """How many calls one limited grant has left; None if its calls are not limited."""
    row = tx.one(_SLOT_LEFT, of=owner, at=index)
    return None if row is None else int(row[0])


def _recent(tx: Tx, hour: int | None, calls: int | None) -> int:
    return calls or 0 if hour == to_ms(tx.now) // _HOUR_MS else 0


def _mandate(tx: Tx, row: Row, resources: str) -> Mandate:
    (
        id_, person, agent, goal, details, authority_hash, intent_hash, created, expires, state,
        epoch, four_eyes, calls, amount, reason, hour, recent,
    ) = row  # fmt: skip
    return Mandate(
        id=id_,
        person_id=person,
        agent=SpiffeId.parse(agent),
        goal=goal,
        authority=_authority(details, resources),
        authority_hash=authority_hash,
        intent_hash=intent_hash,
        created_at=from_ms(created),
        expires_at=from_ms(expires),
        state=MandateState(state),
        epoch=epoch,
        four_eyes=bool(four_eyes),
        calls_used=calls,
        amount_used=amount,
        reason=reason,
        calls_this_hour=_recent(tx, hour, recent),
    )


# A mandate's details never change, and parsing them costs more than reading the row.
@lru_cache(maxsize=2048)
def _authority(details: str, resources: str) -> Authority:
    return from_authorization_details(loads(details.encode()), resources=resources)
