"""SQL of mandates: committed once, revoked by one conditional write, used by another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import bindparam, desc, insert, select, update

from actfor.delegation.model import Mandate, MandateState
from actfor.delegation.repository.tables import mandate as _table
from actfor.delegation.repository.tables import slot as _slot
from actfor.keys import Texts
from actfor.store import Ask, Row, Tx, one_of
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
_HOUR_MS = 3_600_000
_GOAL, _DETAILS, _REASON = "mandate.goal", "mandate.details", "mandate.reason"
_AUTHORITY_HASH, _INTENT_HASH = "mandate.authority_hash", "mandate.intent_hash"


@dataclass(frozen=True, slots=True)
class Active:
    """What of a mandate is needed to end it; nothing in it is sealed."""

    id: str
    person_id: str
    agent: str
    epoch: int


def more(
    calls_limit: int | None,
    calls_used: int,
    amount_limit: int | None,
    amount_used: int,
    *,
    calls: int,
    amount: int,
) -> tuple[int, int] | None:
    """Calls and money used when this was taken, too; None where that is more than a limit."""
    calls_used, amount_used = calls_used + calls, amount_used + amount
    if calls_limit is not None and calls_used > calls_limit:
        return None
    if amount_limit is not None and amount_used > amount_limit:
        return None
    return calls_used, amount_used


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
    select(_t.id, _t.person_id, _t.agent, _t.epoch)
    .where(_t.state == MandateState.ACTIVE.value)
    .order_by(_t.created_at, _t.id)
)
_ACTIVE_OF = _ACTIVE.where(_t.person_id == bindparam("person"))
_PERSON = select(_t.person_id).where(_t.id == bindparam("id"))
_LIMITS = (
    _t.state, _t.epoch, _t.expires_at, _t.recent_hour, _t.recent_calls,
    _t.calls_limit, _t.calls_used, _t.amount_limit, _t.amount_used,
)  # fmt: skip
# Behind the sequencer's lock already; the row's own lock stops whoever writes beside it.
_BUDGET = select(*_LIMITS).where(_t.id == bindparam("id")).with_for_update()
_BUDGETS = select(_t.id, *_LIMITS).where(one_of(_t.id)).with_for_update()
_USED = (
    update(_table)
    .where(_t.id == bindparam("of"))
    .values(
        calls_used=bindparam("calls"),
        amount_used=bindparam("amount"),
        recent_calls=bindparam("recent"),
        recent_hour=bindparam("hour"),
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


def add(tx: Tx, texts: Texts, mandate: Mandate, resources: str) -> None:
    """Commit a new mandate and the counters of its limited grants."""
    budget = mandate.authority.budget
    details = to_authorization_details(mandate.authority, resources=resources)

    def sealed(column: str, text: str) -> str:
        return texts.seal(tx, mandate.person_id, column, mandate.id, text)

    tx.changed(
        _ADD,
        id=mandate.id,
        person_id=mandate.person_id,
        agent=str(mandate.agent),
        goal=sealed(_GOAL, mandate.goal),
        details=sealed(_DETAILS, canonical(details).decode()),
        authority_hash=sealed(_AUTHORITY_HASH, mandate.authority_hash),
        intent_hash=sealed(_INTENT_HASH, mandate.intent_hash),
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
            tx.later(_ADD_SLOT, owner=owner, slot=index, limit=grant.max_calls)


def by_id(tx: Tx, texts: Texts, mandate_id: str, resources: str) -> Mandate | None:
    """One mandate, as it was left: see ``Mandate.at``. None also where its person was erased."""
    row = tx.one(_BY_ID, id=mandate_id)
    return None if row is None else _mandate(tx, texts, row, resources)


def person_of(tx: Tx, mandate_id: str) -> str | None:
    """Whose a mandate is."""
    row = tx.one(_PERSON, id=mandate_id)
    return None if row is None else str(row[0])


def latest(tx: Tx, texts: Texts, person_id: str | None, resources: str, most: int) -> list[Mandate]:
    """Mandates, newest first: of one person, or of everyone."""
    if person_id is None:
        rows = tx.run(_LATEST, most=most)
    else:
        rows = tx.run(_LATEST_OF, person=person_id, most=most)
    found = (_mandate(tx, texts, row, resources) for row in rows)
    return [mandate for mandate in found if mandate is not None]


def standing(tx: Tx, texts: Texts, mandate: Mandate) -> Mandate | None:
    """The mandate with all of it that ever changes as it is in this transaction."""
    row = tx.one(_STANDING, id=mandate.id)
    if row is None:
        return None
    state, epoch, calls, amount, reason, hour, recent = row
    why = texts.open_some(tx, _REASON, mandate.id, reason)
    return mandate.used(MandateState(state), epoch, calls, amount, why, _recent(tx, hour, recent))


def active(tx: Tx) -> list[Active]:
    """Every mandate that was not revoked, expired or not."""
    return [Active(*row) for row in tx.run(_ACTIVE)]


def active_of(tx: Tx, person_id: str) -> list[Active]:
    """A person's mandates that were not revoked."""
    return [Active(*row) for row in tx.run(_ACTIVE_OF, person=person_id)]


def revoke(tx: Tx, texts: Texts, mandate: Active, reason: str | None) -> bool:
    """End an active mandate and everything made from it. False if it was not active."""
    why = texts.seal_some(tx, mandate.person_id, _REASON, mandate.id, reason)
    return tx.changed(_REVOKE, of=mandate.id, why=why) == 1


def take(tx: Tx, mandate_id: str, *, epoch: int, now: datetime, calls: int, amount: int) -> bool:
    """Take calls and money from the budget. False, and nothing taken, if it may not be."""
    ask, ms = budget(mandate_id), to_ms(now)
    row = tx.one(ask.query, **ask.params)
    if row is None:
        return False
    state, at_epoch, expires_at, hour, recent, *limits = row
    if state != MandateState.ACTIVE.value or at_epoch != epoch or expires_at <= ms:
        return False
    taken = more(*limits, calls=calls, amount=amount)
    if taken is None:
        return False
    this_hour = ms // _HOUR_MS
    recent = recent + calls if hour == this_hour else calls
    tx.replace(
        ask,
        (state, epoch, expires_at, this_hour, recent, limits[0], taken[0], limits[2], taken[1]),
        _USED,
        of=mandate_id,
        calls=taken[0],
        amount=taken[1],
        recent=recent,
        hour=this_hour,
    )
    return True


def budget(mandate_id: str) -> Ask:
    """What ``take`` asks."""
    return Ask(_BUDGET, {"id": mandate_id}, _BUDGETS)


def take_slot(tx: Tx, owner: str, index: int) -> bool:
    """Take one call of one limited grant. False if none is left."""
    return tx.changed(_TAKE_SLOT, of=owner, at=index) == 1


def slot_left(tx: Tx, owner: str, index: int) -> int | None:
    """How many calls one limited grant has left; None if its calls are not limited."""
    row = tx.one(_SLOT_LEFT, of=owner, at=index)
    return None if row is None else int(row[0])


def _recent(tx: Tx, hour: int | None, calls: int | None) -> int:
    return calls or 0 if hour == to_ms(tx.now) // _HOUR_MS else 0


def _mandate(tx: Tx, texts: Texts, row: Row, resources: str) -> Mandate | None:
    (
        id_, person, agent, goal, details, authority_hash, intent_hash, created, expires, state,
        epoch, four_eyes, calls, amount, reason, hour, recent,
    ) = row  # fmt: skip
    opened = [
        texts.open(tx, column, id_, text)
        for column, text in (
            (_GOAL, goal),
            (_DETAILS, details),
            (_AUTHORITY_HASH, authority_hash),
            (_INTENT_HASH, intent_hash),
        )
    ]
    words, limits, authority, intent = opened
    if words is None or limits is None or authority is None or intent is None:
        return None  # whose it was is erased, and this copy of the row is from before
    return Mandate(
        id=id_,
        person_id=person,
        agent=SpiffeId.parse(agent),
        goal=words,
        authority=_authority(limits, resources),
        authority_hash=authority,
        intent_hash=intent,
        created_at=from_ms(created),
        expires_at=from_ms(expires),
        state=MandateState(state),
        epoch=epoch,
        four_eyes=bool(four_eyes),
        calls_used=calls,
        amount_used=amount,
        reason=texts.open_some(tx, _REASON, id_, reason),
        calls_this_hour=_recent(tx, hour, recent),
    )


# A mandate's details never change, and parsing them costs more than reading the row.
@lru_cache(maxsize=2048)
def _authority(details: str, resources: str) -> Authority:
    return from_authorization_details(loads(details.encode()), resources=resources)
