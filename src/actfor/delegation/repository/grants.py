"""SQL of issued grants and of proofs that may be used once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import and_, bindparam, delete, func, insert, select, update

from actfor.delegation.model import Delegation, IssuedGrant
from actfor.delegation.repository.mandates import add_slots, more
from actfor.delegation.repository.tables import device as _device
from actfor.delegation.repository.tables import issued as _table
from actfor.delegation.repository.tables import proof as _proof
from actfor.delegation.repository.tables import slot as _slot
from actfor.store import Ask, Tx, one_of
from actfor.wire.rar.authority import MAX_DEPTH
from actfor.wire.timestamps import from_ms, to_ms

_t = _table.c
_ADD = insert(_table).values({column.name: bindparam(column.name) for column in _table.columns})
_LIMITS = (
    _t.expires_at, _t.revoked_at,
    _t.calls_limit, _t.calls_used, _t.amount_limit, _t.amount_used,
)  # fmt: skip
# Behind the sequencer's lock already; the row's own lock stops whoever writes beside it.
_BUDGET = select(*_LIMITS).where(_t.id == bindparam("id")).with_for_update()
_BUDGETS = select(_t.id, *_LIMITS).where(one_of(_t.id)).with_for_update()
_USED = (
    update(_table)
    .where(_t.id == bindparam("of"))
    .values(calls_used=bindparam("calls"), amount_used=bindparam("amount"))
)
_LIVE = select(_t.expires_at, _t.revoked_at).where(_t.id == bindparam("id"))
_ANCESTOR = select(_t.parent, _t.revoked_at).where(_t.id == bindparam("id"))
_REVOKE = (
    update(_table)
    .where(_t.id == bindparam("of"), _t.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)
_OF_MANDATE = (
    select(_t.id, _t.instance, _t.audience, _t.created_at, _t.expires_at, _t.calls_used, _t.parent)
    .where(
        _t.mandate_id == bindparam("mandate"),
        _t.expires_at > bindparam("now"),
        _t.revoked_at.is_(None),
    )
    .order_by(_t.created_at, _t.id)
    .limit(bindparam("most"))
)
_CHILDREN = (
    select(func.count())
    .select_from(_table)
    .where(_t.mandate_id == bindparam("mandate"), _t.parent == bindparam("parent"))
)
_MANDATE_OF = select(_t.mandate_id).where(_t.id == bindparam("id"))
_p = _proof.c
_SPENT = select(_p.expires_at).where(_p.once == bindparam("once"))
_SPENT_OF = select(_p.once, _p.expires_at).where(one_of(_p.once))
_SPEND = insert(_proof).values(once=bindparam("once"), expires_at=bindparam("expires"))
_FORGET_PROOFS = delete(_proof).where(_proof.c.expires_at <= bindparam("until"))
_FORGET_LOGINS = delete(_device).where(_device.c.expires_at <= bindparam("until"))
_OVER = select(_t.id).where(_t.expires_at <= bindparam("until")).scalar_subquery()
_FORGET_SLOTS = delete(_slot).where(_slot.c.owner.in_(_OVER))
_FORGET_GRANTS = delete(_table).where(and_(_t.expires_at <= bindparam("until")))


def add(tx: Tx, delegation: Delegation, now: datetime) -> None:
    """Record a grant before its token exists. Its id is new, so it can be written with others."""
    budget = delegation.authority.budget
    tx.later(
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
        parent=delegation.through[0].grant_id if delegation.through else None,
        revoked_at=None,
    )
    add_slots(tx, delegation.grant_id, delegation.authority)


def take(tx: Tx, grant_id: str, *, now: datetime, calls: int, amount: int) -> bool:
    """Take from the grant's own budget. False, and nothing taken, if it may not be."""
    ask = budget(grant_id)
    row = tx.one(ask.query, **ask.params)
    if row is None:
        return False
    expires_at, revoked_at, *limits = row
    if expires_at <= to_ms(now) or revoked_at is not None:
        return False
    taken = more(*limits, calls=calls, amount=amount)
    if taken is None:
        return False
    new = (expires_at, None, limits[0], taken[0], limits[2], taken[1])
    tx.replace(ask, new, _USED, of=grant_id, calls=taken[0], amount=taken[1])
    return True


def budget(grant_id: str) -> Ask:
    """What ``take`` asks."""
    return Ask(_BUDGET, {"id": grant_id}, _BUDGETS)


def is_live(tx: Tx, grant_id: str, now: datetime) -> bool:
    """Whether the grant was recorded and has not expired. Revoked is another question."""
    row = tx.one(_LIVE, id=grant_id)
    return row is not None and row[0] > to_ms(now)


def is_revoked(tx: Tx, grant_id: str) -> bool:
    """Whether the grant, or one that it was made from, was taken back.

    Revoking is one write at the root of a subtree; whoever stands below finds it on the way up.
    """
    here: str | None = grant_id
    for _ in range(MAX_DEPTH + 1):
        row = tx.one(_ANCESTOR, id=here) if here is not None else None
        if row is None:
            return False
        here, revoked_at = row
        if revoked_at is not None:
            return True
    return True  # deeper than any chain may be: no chain of ours


def revoke(tx: Tx, grant_id: str, now: datetime) -> bool:
    """Take a grant back, and all that was made from it. False if it was before."""
    return tx.changed(_REVOKE, of=grant_id, now=to_ms(now)) == 1


def mandate_of(tx: Tx, grant_id: str) -> str | None:
    """The mandate that a grant was made from."""
    row = tx.one(_MANDATE_OF, id=grant_id)
    return None if row is None else str(row[0])


def children(tx: Tx, mandate_id: str, parent: str) -> int:
    """How many grants were made from what was passed on of a grant."""
    row = tx.one(_CHILDREN, mandate=mandate_id, parent=parent)
    return int(row[0]) if row else 0


def live_of(tx: Tx, mandate_id: str, now: datetime, most: int) -> list[IssuedGrant]:
    """The grants of a mandate that can be used now, oldest first.

    What hangs below one that was taken back is not among them: a parent ends no sooner than its
    children, so it is found with them or was taken back.
    """
    rows = tx.run(_OF_MANDATE, mandate=mandate_id, now=to_ms(now), most=most)
    held = {row[0]: (row[1], row[6]) for row in rows}
    live = []
    for id_, instance, audience, created, expires, calls, _ in rows:
        above = _above(held, id_)
        if above is not None:
            live.append(
                IssuedGrant(
                    id_, instance, audience, from_ms(created), from_ms(expires), calls, above
                )
            )
    return live


def _above(held: Mapping[str, tuple[str, str | None]], id_: str) -> tuple[str, ...] | None:
    """The instances above a grant, the nearest first; None if one of them holds nothing now."""
    above: list[str] = []
    parent = held[id_][1]
    while parent is not None and len(above) <= MAX_DEPTH:
        if parent not in held:
            return None
        instance, parent = held[parent]
        above.append(instance)
    return tuple(above)


def spend(tx: Tx, once: str, expires_at: datetime) -> bool:
    """Spend a proof. False if it was spent before."""
    ask, ends = spent(once), to_ms(expires_at)
    if tx.one(ask.query, **ask.params) is not None:
        return False
    tx.replace(ask, (ends,), _SPEND, once=once, expires=ends)
    return True


def spent(once: str) -> Ask:
    """What ``spend`` asks."""
    return Ask(_SPENT, {"once": once}, _SPENT_OF)


def forget(tx: Tx, now: datetime, expired_before: datetime) -> int:
    """Delete stale proofs and logins, and grants that ended before ``expired_before``."""
    gone = tx.changed(_FORGET_PROOFS, until=to_ms(now))
    gone += tx.changed(_FORGET_LOGINS, until=to_ms(expired_before))
    tx.changed(_FORGET_SLOTS, until=to_ms(expired_before))
    return gone + tx.changed(_FORGET_GRANTS, until=to_ms(expired_before))
