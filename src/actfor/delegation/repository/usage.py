"""SQL of what was used over time, and of what was used before.

Units run one after the other (``store.Sequencer``), so reading a sum and adding to it in one unit
cannot interleave with another unit that does the same.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Integer, bindparam, delete, func, insert, or_, select, update

from actfor.delegation.repository.tables import issued as _issued
from actfor.delegation.repository.tables import mandate as _mandate
from actfor.delegation.repository.tables import usage_meter as _meter
from actfor.delegation.repository.tables import usage_set as _set
from actfor.delegation.usage import CALLED, HISTORY, SLICES, Distinct, Member, Meter, slice_ms
from actfor.keys import MARK
from actfor.store import Tx, insert_ignore
from actfor.wire.rar import Period
from actfor.wire.timestamps import from_ms, to_ms

_MORE = bindparam("more", type_=Integer)
_m, _s = _meter.c, _set.c
_OF_METER = (_m.owner == bindparam("of"), _m.name == bindparam("called"))
_SUM = select(func.coalesce(func.sum(_m.used), 0)).where(*_OF_METER, _m.slice > bindparam("after"))
_COUNT = update(_meter).where(*_OF_METER, _m.slice == bindparam("at")).values(used=_m.used + _MORE)
_BEGIN = insert(_meter).values({column.name: bindparam(column.name) for column in _meter.columns})
_END = delete(_meter).where(*_OF_METER, _m.slice <= bindparam("until"))

_OF_SET = (_s.owner == bindparam("of"), _s.name == bindparam("called"))
_JOIN = insert_ignore(_set).values({column.name: bindparam(column.name) for column in _set.columns})
_AGAIN = (
    update(_set).where(*_OF_SET, _s.value == bindparam("known")).values(last_at=bindparam("now"))
)
_SIZE = select(func.count()).select_from(_set).where(*_OF_SET)
_RECENT = _SIZE.where(_s.last_at > bindparam("after"))
_LAST = select(_s.last_at).where(*_OF_SET, _s.value == bindparam("known"))
_ALL = select(_s.name, _s.value).where(_s.owner == bindparam("of"))

_REWORD = update(_set).where(*_OF_SET, _s.value == bindparam("known")).values(value=bindparam("to"))
_DROP = delete(_set).where(*_OF_SET, _s.value == bindparam("known"))
_GRANTED = (
    select(_issued.c.mandate_id).where(_issued.c.id == _s.owner).correlate(_set).scalar_subquery()
)
_CLEAR = (
    select(_s.owner, _s.name, _s.value, _mandate.c.id, _mandate.c.person_id)
    .select_from(_set)
    .join(_mandate, or_(_mandate.c.id == _s.owner, _mandate.c.id == _GRANTED))
    .where(
        ~_s.value.startswith(MARK),
        ~_s.name.startswith(f"{CALLED}:"),
        _s.name != HISTORY,
    )
    .order_by(_s.owner, _s.name, _s.value)
    .limit(bindparam("most"))
)

# Kept as long as the mandate can be used, and a while longer for whoever looks at it.
_OVER = select(_mandate.c.id).where(_mandate.c.expires_at <= bindparam("until")).scalar_subquery()
_FORGET_METERS = delete(_meter).where(_m.owner.in_(_OVER))
_FORGET_SETS = delete(_set).where(_s.owner.in_(_OVER))


def used(tx: Tx, owner: str, name: str, period: Period, now: datetime) -> int:
    """What a meter has counted in the last ``period``, and up to one slice more."""
    return _used(tx, owner, name, to_ms(now) // slice_ms(period))


def count(tx: Tx, meter: Meter) -> bool:
    """Count, unless that would go beyond the limit: then False, and nothing is counted."""
    here = meter.slice_of(tx.now)
    limit = meter.limit
    if limit is not None and _used(tx, meter.owner, meter.name, here) + meter.more > limit:
        return False
    if tx.changed(_COUNT, of=meter.owner, called=meter.name, at=here, more=meter.more) == 0:
        tx.changed(_END, of=meter.owner, called=meter.name, until=here - SLICES - 1)
        tx.changed(_BEGIN, owner=meter.owner, name=meter.name, slice=here, used=meter.more)
    return True


def join(tx: Tx, member: Member) -> bool:
    """Remember a value, unless one more would be too many: then False; the unit must not go on."""
    now = to_ms(tx.now)
    joined = tx.changed(
        _JOIN,
        owner=member.owner,
        name=member.name,
        value=member.value,
        first_at=now,
        last_at=now,
    )
    if joined == 0:
        tx.changed(_AGAIN, of=member.owner, called=member.name, known=member.value, now=now)
        return True
    return member.limit is None or size(tx, member.owner, member.name) <= member.limit


def within(tx: Tx, limit: Distinct) -> bool:
    """Whether no more different values than allowed were used lately, this unit's included."""
    return recent(tx, limit) <= limit.limit


def recent(tx: Tx, limit: Distinct) -> int:
    """How many different values were used in the last period."""
    after = to_ms(tx.now - limit.period.length)
    row = tx.one(_RECENT, of=limit.owner, called=limit.name, after=after)
    return int(row[0]) if row else 0


def size(tx: Tx, owner: str, name: str) -> int:
    """How many different values a set has."""
    row = tx.one(_SIZE, of=owner, called=name)
    return int(row[0]) if row else 0


def last(tx: Tx, owner: str, name: str, value: str) -> datetime | None:
    """When a value of a set was used last; None if it is not in the set."""
    row = tx.one(_LAST, of=owner, called=name, known=value)
    return None if row is None else from_ms(row[0])


def remembered(tx: Tx, owner: str) -> list[tuple[str, str]]:
    """Every (set, value) of an owner."""
    return [(name, value) for name, value in tx.run(_ALL, of=owner)]


def in_clear(tx: Tx, most: int) -> list[tuple[str, str, str, str, str]]:
    """Owner, set, value, mandate and person of values that an older release kept as they are."""
    return [tuple(row) for row in tx.run(_CLEAR, most=most)]


def reword(tx: Tx, owner: str, name: str, value: str, to: str) -> None:
    """Put another form of a value in the place of it; one that is there already wins."""
    if tx.one(_LAST, of=owner, called=name, known=to) is None:
        tx.changed(_REWORD, of=owner, called=name, known=value, to=to)
    else:
        tx.changed(_DROP, of=owner, called=name, known=value)


def forget(tx: Tx, expired_before: datetime) -> None:
    """Delete what was counted for mandates that ended before."""
    until = to_ms(expired_before)
    tx.changed(_FORGET_METERS, until=until)
    tx.changed(_FORGET_SETS, until=until)


def _used(tx: Tx, owner: str, name: str, here: int) -> int:
    row = tx.one(_SUM, of=owner, called=name, after=here - SLICES - 1)
    return int(row[0]) if row else 0
