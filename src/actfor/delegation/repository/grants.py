"""SQL of issued grants and of proofs that may be used once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Integer, and_, bindparam, delete, insert, select, update

from actfor.delegation.model import Delegation
from actfor.delegation.repository.mandates import add_slots, fits
from actfor.delegation.repository.tables import device as _device
from actfor.delegation.repository.tables import issued as _table
from actfor.delegation.repository.tables import proof as _proof
from actfor.delegation.repository.tables import slot as _slot
from actfor.store import Tx, insert_ignore
from actfor.wire.timestamps import to_ms

_t = _table.c
_CALLS, _AMOUNT = bindparam("calls", type_=Integer), bindparam("amount", type_=Integer)
_ADD = insert(_table).values({column.name: bindparam(column.name) for column in _table.columns})
_TAKE = (
    update(_table)
    .where(
        _t.id == bindparam("of"),
        _t.expires_at > bindparam("now"),
        fits(_t.calls_used, _t.calls_limit, _CALLS),
        fits(_t.amount_used, _t.amount_limit, _AMOUNT),
    )
    .values(calls_used=_t.calls_used + _CALLS, amount_used=_t.amount_used + _AMOUNT)
)
_LIVE = select(_t.expires_at).where(_t.id == bindparam("id"))
_SPEND = insert_ignore(_proof).values(once=bindparam("once"), expires_at=bindparam("expires"))
_FORGET_PROOFS = delete(_proof).where(_proof.c.expires_at <= bindparam("until"))
_FORGET_LOGINS = delete(_device).where(_device.c.expires_at <= bindparam("until"))
_OVER = select(_t.id).where(_t.expires_at <= bindparam("until")).scalar_subquery()
_FORGET_SLOTS = delete(_slot).where(_slot.c.owner.in_(_OVER))
_FORGET_GRANTS = delete(_table).where(and_(_t.expires_at <= bindparam("until")))


def add(tx: Tx, delegation: Delegation, now: datetime) -> None:
    """Record a grant before its token exists."""
    budget = delegation.authority.budget
    tx.changed(
        _ADD,
        id=delegation.grant_id,
        mandate_id=delegation.mandate.id,
        jti=delegation.jti,
        instance=str(delegation.instance),
        audience=delegation.audience,
        jkt=delegation.jkt,
        created_at=to_ms(now),
        expires_at=to_ms(delegation.expires_at),
        calls_limit=budget.calls,
        calls_used=0,
        amount_limit=None if budget.amount is None else budget.amount.minor,
        amount_used=0,
    )
    add_slots(tx, delegation.grant_id, delegation.authority)


def take(tx: Tx, grant_id: str, *, now: datetime, calls: int, amount: int) -> bool:
    """Take from the grant's own budget. False, and nothing taken, if it may not be."""
    return tx.changed(_TAKE, of=grant_id, now=to_ms(now), calls=calls, amount=amount) == 1


def is_live(tx: Tx, grant_id: str, now: datetime) -> bool:
    """Whether the grant was recorded and has not expired."""
    row = tx.one(_LIVE, id=grant_id)
    return row is not None and row[0] > to_ms(now)


def spend(tx: Tx, once: str, expires_at: datetime) -> bool:
    """Spend a proof. False if it was spent before."""
    return tx.changed(_SPEND, once=once, expires=to_ms(expires_at)) == 1


def forget(tx: Tx, now: datetime, expired_before: datetime) -> int:
    """Delete stale proofs and logins, and grants that ended before ``expired_before``."""
    gone = tx.changed(_FORGET_PROOFS, until=to_ms(now))
    gone += tx.changed(_FORGET_LOGINS, until=to_ms(expired_before))
    tx.changed(_FORGET_SLOTS, until=to_ms(expired_before))
    return gone + tx.changed(_FORGET_GRANTS, until=to_ms(expired_before))
