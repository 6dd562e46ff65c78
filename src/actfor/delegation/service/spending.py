"""Taking what a call uses up, in the transaction that records it; and looking at what is left.

INVARIANT: what is taken never exceeds a limit, whatever calls run at the same time: reading and
adding happen in one unit, and units follow one another.
"""

from __future__ import annotations

from actfor.delegation.model import Delegation
from actfor.delegation.repository import mandates
from actfor.delegation.repository import usage as rows
from actfor.delegation.usage import (
    CALLED,
    HISTORY,
    READ_SECRET,
    RECIPIENT,
    Blind,
    Meter,
    Remembered,
    Standing,
    Taking,
    Use,
    taking,
    unasked,
)
from actfor.errors import Kind, Refused
from actfor.keys import Texts
from actfor.store import Tx

_VALUE = "usage_set.value"


def take(tx: Tx, texts: Texts, delegation: Delegation, use: Use) -> None:
    """Take it, or refuse; after a refusal the unit must not go on.

    Raises:
        Refused: DENIED naming what is used up, or what is limited and not known; CONFLICT if more
            was spent unasked than the decision knew of.
    """
    _require_known(delegation, use)
    _require_in_time(tx, delegation, use)
    _require_as_decided(tx, delegation, use)
    wanted = taking(delegation, use, _blind(tx, texts, delegation))
    for meter in wanted.meters:
        if not rows.count(tx, meter):
            raise Refused(Kind.DENIED, f"{_of(delegation, meter.owner)} {_over(meter)}")
    for member in wanted.members:
        if not rows.join(tx, member):
            owner = _of(delegation, member.owner)
            raise Refused(Kind.DENIED, f"{owner} allows at most {member.limit} {member.what}")
    for limit in wanted.distinct:
        if not rows.within(tx, limit):
            owner = _of(delegation, limit.owner)
            raise Refused(
                Kind.DENIED, f"{owner} allows at most {limit.limit} {limit.what} a {limit.period}"
            )


def standing(tx: Tx, texts: Texts, delegation: Delegation, use: Use) -> Standing:
    """What is left for a call that would take ``use``: the least of all limits that apply."""
    blind = _blind(tx, texts, delegation)
    wanted = taking(delegation, use, blind)
    owner = delegation.mandate.id
    known = [rows.last(tx, owner, RECIPIENT, blind(one)) for one in use.recipients or ()]
    return Standing(
        calls_left=_least(_left(tx, wanted, "calls"), _slots_left(tx, delegation, use)),
        amount_left_minor=_left(tx, wanted, "money"),
        recipients_fit=_recipients_fit(tx, wanted),
        new_recipients=None in known,
        unasked_minor=None if use.amount is None else _counted(tx, unasked(owner, use.amount)),
    )


def remembered(tx: Tx, mandate_id: str) -> Remembered:
    """What is remembered of the calls of a mandate."""
    mark, known = f"{CALLED}:", rows.remembered(tx, mandate_id)
    changed = {(n.removeprefix(mark), value) for n, value in known if n.startswith(mark)}
    return Remembered(frozenset(changed), (HISTORY, READ_SECRET) in known)


def blind_old(tx: Tx, texts: Texts, most: int) -> int:
    """Blind the values that an older release kept as they are; how many, at most ``most``."""
    found = rows.in_clear(tx, most)
    for owner, name, value, mandate, person in found:
        rows.reword(tx, owner, name, value, texts.blind(tx, person, _VALUE, mandate, value))
    return len(found)


def _blind(tx: Tx, texts: Texts, delegation: Delegation) -> Blind:
    """Values of the mandate's person, as ``usage_set`` holds them."""
    mandate = delegation.mandate
    return lambda text: texts.blind(tx, mandate.person_id, _VALUE, mandate.id, text)


def _require_as_decided(tx: Tx, delegation: Delegation, use: Use) -> None:
    """What the decision knew to be spent unasked must still be all, or it is decided again."""
    if use.amount is None or use.unasked_seen is None or use.asked:
        return
    if _counted(tx, unasked(delegation.mandate.id, use.amount)) > use.unasked_seen:
        raise Refused(Kind.CONFLICT, "more was spent in the meantime: decide again")


def _require_known(delegation: Delegation, use: Use) -> None:
    """What is limited must be known, or nothing is taken."""
    for level in delegation.levels:
        if level.authority.budget.counts_recipients and use.recipients is None:
            raise Refused(Kind.DENIED, "recipients are limited, and whom this reaches is not known")
    own = delegation.authority.grants
    used = own if use.grant_index is None else (own[use.grant_index],)
    if use.call is None and any(grant.counts_values for grant in used):
        raise Refused(Kind.DENIED, "the source of a value is limited, and it is not known")


def _require_in_time(tx: Tx, delegation: Delegation, use: Use) -> None:
    """A call that waited for a person must still be one that its grant holds for."""
    if use.grant_index is None:
        return
    for window in [level.grant(use.grant_index).window for level in delegation.levels]:
        if window is not None and not window.includes(tx.now):
            raise Refused(Kind.DENIED, "the grant does not hold at this time")


def _counted(tx: Tx, meter: Meter) -> int:
    return rows.used(tx, meter.owner, meter.name, meter.period, tx.now)


def _left(tx: Tx, wanted: Taking, what: str) -> int | None:
    left = [
        meter.limit - _counted(tx, meter)
        for meter in wanted.meters
        if meter.limit is not None and meter.what.startswith(what)
    ]
    return min(left, default=None)


def _slots_left(tx: Tx, delegation: Delegation, use: Use) -> int | None:
    if use.grant_index is None:
        return None
    owners = [(level.owner, level.origins[use.grant_index]) for level in delegation.levels]
    left = [mandates.slot_left(tx, owner, index) for owner, index in owners]
    return min((one for one in left if one is not None), default=None)


def _recipients_fit(tx: Tx, wanted: Taking) -> bool:
    """Whether the recipients of the call are few enough, together with those it had before."""
    members = [member for member in wanted.members if member.name == RECIPIENT]
    for owner in {member.owner for member in members}:
        seen = {m.value: rows.last(tx, owner, RECIPIENT, m.value) for m in members}
        limit = next((m.limit for m in members if m.owner == owner), None)
        new = sum(at is None for at in seen.values())
        if limit is not None and rows.size(tx, owner, RECIPIENT) + new > limit:
            return False
        for window in (one for one in wanted.distinct if one.owner == owner):
            since = tx.now - window.period.length
            fresh = sum(at is None or at <= since for at in seen.values())
            if rows.recent(tx, window) + fresh > window.limit:
                return False
    return True


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _over(meter: Meter) -> str:
    if meter.what == "money":
        return f"allows no more money this {meter.period}"
    return f"allows at most {meter.limit} {meter.what} a {meter.period}"


def _of(delegation: Delegation, owner: str) -> str:
    if owner == delegation.mandate.id:
        return "the mandate"
    return "the token" if owner == delegation.grant_id else "the token that was passed on"
