"""The approvals' table and its SQL.

INVARIANT: at most one live approval exists for a digest (a partial unique index), and each step
out of a state is an UPDATE conditional on that state and on the time, so it happens once.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Index,
    Integer,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from actfor.approval.model import LIVE, Approval, ExactCall, SlotOrigin, State
from actfor.keys import Texts
from actfor.store import Row, Tx, metadata
from actfor.wire import strict_json
from actfor.wire.canonical import JsonObject, JsonValue, canonical
from actfor.wire.timestamps import from_ms, to_ms

_LIVE = tuple(sorted(state.value for state in LIVE))

approval = Table(
    "approval",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("call", Text, nullable=False),  # the RFC 8785 text whose hash is `digest`
    Column("agent", Text, nullable=False),
    Column("person_id", Text, nullable=False),
    Column("mandate_id", Text, nullable=False),
    Column("trace", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("agent_text", Text),
    Column("four_eyes", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("approver", Text),
    Column("answered_at", Integer),
    Column("reason", Text),
    Column("assertion", Text),
    Column("consumed_at", Integer),
    Column("origins", Text),  # where the values come from, as the page shows it (JSON)
    Column("endorsed", Text),  # pointers of the values that were endorsed with the yes (JSON)
)
Index(
    "uq_approval_live_digest",
    approval.c.digest,
    unique=True,
    sqlite_where=approval.c.state.in_(_LIVE),
    postgresql_where=approval.c.state.in_(_LIVE),
)
Index("ix_approval_state_created", approval.c.state, approval.c.created_at)
Index("ix_approval_agent_person", approval.c.agent, approval.c.person_id, approval.c.created_at)
Index("ix_approval_digest", approval.c.digest, approval.c.created_at)

# Sealed by the key of the person in whose name it was asked, the answer's words by the approver's.
_CALL, _REASONS, _AGENT_TEXT = "approval.call", "approval.reasons", "approval.agent_text"
_ORIGINS, _ENDORSED = "approval.origins", "approval.endorsed"
_REASON, _ASSERTION = "approval.reason", "approval.assertion"

_t = approval.c
_COLUMNS = (
    _t.id, _t.digest, _t.call, _t.trace, _t.reasons, _t.agent_text, _t.four_eyes, _t.state,
    _t.created_at, _t.expires_at, _t.approver, _t.answered_at, _t.reason, _t.assertion,
    _t.origins, _t.endorsed,
)  # fmt: skip
_NOW: BindParameter[int] = bindparam("now", type_=Integer)


# Spelled out, not `IN`: an expanding parameter cannot be compiled ahead of its values.
_IS_LIVE = or_(*(_t.state == state for state in _LIVE))


def _due() -> ColumnElement[bool]:
    return _IS_LIVE & (_t.expires_at <= _NOW)


_INSERT = insert(approval).values(
    {
        name: bindparam(name)
        for name in (
            "id", "digest", "call", "agent", "person_id", "mandate_id", "trace", "reasons",
            "agent_text", "four_eyes", "state", "created_at", "expires_at", "origins",
        )
    }
)  # fmt: skip
_BY_ID = select(*_COLUMNS).where(_t.id == bindparam("id"))
_LATEST = (
    select(*_COLUMNS)
    .where(_t.digest == bindparam("digest"))
    .order_by(_t.created_at.desc(), _t.id.desc())
    .limit(1)
)
_LIVE_ONES = select(*_COLUMNS).where(_IS_LIVE, _t.expires_at > _NOW)
_DUE = select(*_COLUMNS).where(_due()).order_by(_t.expires_at).limit(256)
_PENDING = (
    select(*_COLUMNS)
    .where(
        _t.state == State.PENDING.value,
        _t.expires_at > _NOW,
        or_(bindparam("person_id") == "", _t.person_id == bindparam("person_id")),
    )
    .order_by(_t.created_at, _t.id)
    .limit(bindparam("limit", type_=Integer))
)
_SETTLED = (
    select(*_COLUMNS)
    .where(
        or_(_t.state != State.PENDING.value, _t.expires_at <= _NOW),
        _t.created_at < bindparam("before"),
        or_(bindparam("person_id") == "", _t.person_id == bindparam("person_id")),
    )
    .order_by(_t.created_at.desc(), _t.id.desc())
    .limit(bindparam("limit", type_=Integer))
)
_COUNT_PENDING = select(func.count()).where(
    _t.agent == bindparam("agent"),
    _t.person_id == bindparam("person_id"),
    _t.state == State.PENDING.value,
    _t.expires_at > _NOW,
)
_COUNT_WAITING = select(func.count()).where(
    _t.state == State.PENDING.value,
    _t.expires_at > _NOW,
    or_(bindparam("person_id") == "", _t.person_id == bindparam("person_id")),
)
_DENIALS = select(_t.answered_at, _t.digest).where(
    _t.agent == bindparam("agent"),
    _t.person_id == bindparam("person_id"),
    _t.state == State.DENIED.value,
    _t.answered_at > bindparam("since"),
)
_ANSWER = (
    update(approval)
    .where(_t.id == bindparam("key"), _t.state == State.PENDING.value, _t.expires_at > _NOW)
    .values(
        state=bindparam("to"),
        approver=bindparam("by"),
        answered_at=_NOW,
        reason=bindparam("why"),
        assertion=bindparam("proof"),
        endorsed=bindparam("slots"),
    )
)
_CONSUME = (
    update(approval)
    .where(
        _t.id == bindparam("key"),
        _t.digest == bindparam("same"),
        _t.state == State.APPROVED.value,
        _t.expires_at > _NOW,
    )
    .values(state=State.CONSUMED.value, consumed_at=_NOW)
)
_CANCEL = (
    update(approval).where(_t.id == bindparam("key"), _IS_LIVE).values(state=State.CANCELLED.value)
)
_EXPIRE = (
    update(approval).where(_t.id == bindparam("key"), _due()).values(state=State.EXPIRED.value)
)


def add(tx: Tx, texts: Texts, new: Approval) -> None:
    """Insert a pending approval; a second live one for its digest breaks a constraint."""

    def sealed(column: str, text: str | None) -> str | None:
        return texts.seal_some(tx, new.call.person_id, column, new.id, text)

    tx.run(
        _INSERT,
        id=new.id,
        digest=new.digest,
        call=sealed(_CALL, canonical(new.call.to_json()).decode()),
        agent=new.call.agent,
        person_id=new.call.person_id,
        mandate_id=new.call.mandate_id,
        trace=new.trace,
        reasons=sealed(_REASONS, canonical(list(new.reasons)).decode()),
        agent_text=sealed(_AGENT_TEXT, new.agent_text),
        four_eyes=int(new.four_eyes),
        state=new.state.value,
        created_at=to_ms(new.created_at),
        expires_at=to_ms(new.expires_at),
        origins=sealed(_ORIGINS, _text([origin.to_json() for origin in new.origins])),
    )


def by_id(tx: Tx, texts: Texts, approval_id: str) -> Approval | None:
    """The approval of that id, as stored (its time may have passed)."""
    return _maybe(tx, texts, tx.one(_BY_ID, id=approval_id))


def latest(tx: Tx, texts: Texts, digest: str) -> Approval | None:
    """The newest approval for a digest, whatever its state."""
    return _maybe(tx, texts, tx.one(_LATEST, digest=digest))


def live(tx: Tx, texts: Texts, now: datetime) -> list[Approval]:
    """All that are pending or approved."""
    return _approvals(tx, texts, tx.run(_LIVE_ONES, now=to_ms(now)))


def due(tx: Tx, texts: Texts, now: datetime) -> list[Approval]:
    """Those whose time has passed while nobody wrote it down."""
    return _approvals(tx, texts, tx.run(_DUE, now=to_ms(now)))


def pending(tx: Tx, texts: Texts, now: datetime, *, person_id: str, limit: int) -> list[Approval]:
    """Waiting for an answer, oldest first; ``person_id`` "" is everyone's."""
    rows = tx.run(_PENDING, now=to_ms(now), person_id=person_id, limit=limit)
    return _approvals(tx, texts, rows)


def settled(
    tx: Tx, texts: Texts, now: datetime, *, person_id: str, limit: int, before: datetime
) -> list[Approval]:
    """No longer waiting, newest first."""
    rows = tx.run(_SETTLED, now=to_ms(now), person_id=person_id, limit=limit, before=to_ms(before))
    return _approvals(tx, texts, rows)


def count_pending(tx: Tx, agent: str, person_id: str, now: datetime) -> int:
    """How many questions the agent has open with the person."""
    row = tx.one(_COUNT_PENDING, agent=agent, person_id=person_id, now=to_ms(now))
    return cast("int", row[0]) if row else 0


def count_waiting(tx: Tx, now: datetime, *, person_id: str) -> int:
    """How many wait for an answer; ``person_id`` "" is everyone's."""
    row = tx.one(_COUNT_WAITING, now=to_ms(now), person_id=person_id)
    return cast("int", row[0]) if row else 0


def denials(tx: Tx, agent: str, person_id: str, since: datetime) -> list[tuple[datetime, str]]:
    """When, and about which digest, the agent was told no."""
    rows = tx.run(_DENIALS, agent=agent, person_id=person_id, since=to_ms(since))
    return [(from_ms(at), digest) for at, digest in rows]


def answer(tx: Tx, texts: Texts, answered: Approval, now: datetime) -> bool:
    """Write the answer if it is still awaited; False: somebody or the time was first."""
    proof = canonical(answered.assertion).decode() if answered.assertion is not None else None
    approver, asked = answered.approver or "", answered.call.person_id
    endorsed = _text(list(answered.endorsed))
    changed = tx.changed(
        _ANSWER,
        key=answered.id,
        to=answered.state.value,
        by=answered.approver,
        why=texts.seal_some(tx, approver, _REASON, answered.id, answered.reason),
        proof=texts.seal_some(tx, approver, _ASSERTION, answered.id, proof),
        slots=texts.seal_some(tx, asked, _ENDORSED, answered.id, endorsed),
        now=to_ms(now),
    )
    return changed == 1


def consume(tx: Tx, approval_id: str, digest: str, now: datetime) -> bool:
    """Spend it, once."""
    return tx.changed(_CONSUME, key=approval_id, same=digest, now=to_ms(now)) == 1


def cancel(tx: Tx, approval_id: str) -> bool:
    """Take it back while it lives."""
    return tx.changed(_CANCEL, key=approval_id) == 1


def expire(tx: Tx, approval_id: str, now: datetime) -> bool:
    """Write down that its time has passed."""
    return tx.changed(_EXPIRE, key=approval_id, now=to_ms(now)) == 1


def _maybe(tx: Tx, texts: Texts, row: Row | None) -> Approval | None:
    return None if row is None else _approval(tx, texts, row)


def _approvals(tx: Tx, texts: Texts, rows: list[Row]) -> list[Approval]:
    found = (_approval(tx, texts, row) for row in rows)
    return [one for one in found if one is not None]


def _approval(tx: Tx, texts: Texts, row: Row) -> Approval | None:
    (
        key, digest, sealed, trace, reasons, agent_text, four_eyes, state,
        created_at, expires_at, approver, answered_at, reason, assertion, origins, endorsed,
    ) = row  # fmt: skip

    def opened(column: str, text: str | None) -> str | None:
        return texts.open_some(tx, column, key, text)

    call, why, proof = (
        opened(_CALL, sealed),
        opened(_REASONS, reasons),
        opened(_ASSERTION, assertion),
    )
    if call is None or why is None:
        return None  # in whose name it was asked is erased, and this copy of the row is from before
    exact = ExactCall.from_json(_object(call))
    if exact.digest != digest:
        # INVARIANT: what a person is shown and what the gateway runs have one digest.
        raise ValueError(f"approval {key} does not hold the call its digest names")
    return Approval(
        id=key,
        digest=digest,
        expires_at=from_ms(expires_at),
        call=exact,
        created_at=from_ms(created_at),
        trace=trace,
        reasons=tuple(str(item) for item in cast("list[JsonValue]", _json(why))),
        agent_text=opened(_AGENT_TEXT, agent_text),
        four_eyes=bool(four_eyes),
        state=State(state),
        approver=approver,
        answered_at=None if answered_at is None else from_ms(answered_at),
        reason=opened(_REASON, reason),
        assertion=None if proof is None else _object(proof),
        origins=tuple(SlotOrigin.from_json(one) for one in _objects(opened(_ORIGINS, origins))),
        endorsed=tuple(str(one) for one in _list(opened(_ENDORSED, endorsed))),
    )


def _text(values: list[JsonValue]) -> str | None:
    return canonical(values).decode() if values else None


def _list(text: str | None) -> list[JsonValue]:
    return [] if text is None else cast("list[JsonValue]", _json(text))


def _objects(text: str | None) -> list[JsonObject]:
    return cast("list[JsonObject]", _list(text))


def _json(text: str) -> JsonValue:
    return strict_json.loads(text.encode(), max_depth=64)


def _object(text: str) -> JsonObject:
    return cast("JsonObject", _json(text))


_ERASE_ASKED = delete(approval).where(_t.person_id == bindparam("whose"))
# What somebody else asked stays, and that it was answered; the words of who answered go.
_ERASE_ANSWERED = (
    update(approval).where(_t.approver == bindparam("whose")).values(reason=None, assertion=None)
)


def erase(tx: Tx, person_id: str) -> None:
    """Delete what was asked in a person's name, and their own words about what others asked."""
    tx.changed(_ERASE_ASKED, whose=person_id)
    tx.changed(_ERASE_ANSWERED, whose=person_id)
