"""Who may answer, and when an agent has asked too much. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from actfor.approval.model.approval import Answer, Approval
from actfor.approval.model.call import acts_in
from actfor.errors import Kind, Refused

MAX_PENDING = 5
"""Questions one agent may have open with one person at a time (against approval fatigue)."""

COOLDOWN = timedelta(minutes=10)
"""How long a denied call cannot be asked about again, and what `MAX_DENIALS` counts over."""

MAX_DENIALS = 3
"""Denials within `COOLDOWN` after which the agent may not ask this person anything."""

APPROVER_ROLES = frozenset({"approver", "admin"})


def check_may_answer(
    approval: Approval, answer: Answer, *, person_id: str, roles: frozenset[str], active: bool
) -> None:
    """Who may say it. Only people come here: an agent has no path to an answer at all.

    - Nobody who is suspended, and nobody who is an actor of the call.
    - The mandate's person may always say no; with `four_eyes` they may not say yes.
    - Anyone else needs the role approver or admin.
    """
    call = approval.call
    if not active:
        raise Refused(Kind.DENIED, "this person is suspended")
    if acts_in(call, person_id):
        raise Refused(Kind.DENIED, "whoever acts in a call cannot approve it")
    if person_id == call.person_id:
        if approval.four_eyes and answer is Answer.APPROVE:
            raise Refused(Kind.DENIED, "this mandate needs a second person to approve")
        return
    if not roles & APPROVER_ROLES:
        raise Refused(Kind.DENIED, "approving needs the role `approver`")


@dataclass(frozen=True, slots=True)
class Recent:
    """What one agent has asked one person lately: the facts `check_not_flooding` judges."""

    pending: int
    denials: tuple[datetime, ...] = ()
    same_call_denied_at: datetime | None = None


def check_not_flooding(recent: Recent, now: datetime) -> None:
    """Refuse to ask again when asking has become pressure (MFA fatigue)."""
    again = recent.same_call_denied_at
    if again is not None and now < again + COOLDOWN:
        raise Refused(Kind.DENIED, f"a person denied this exact call {_ago(again, now)}")
    if len(_within(recent.denials, now)) >= MAX_DENIALS:
        raise Refused(Kind.DENIED, f"{MAX_DENIALS} denials in a row: the agent must pause")
    if recent.pending >= MAX_PENDING:
        raise Refused(Kind.DENIED, "too many approvals pending")


def _within(denials: Iterable[datetime], now: datetime) -> list[datetime]:
    return [at for at in denials if now < at + COOLDOWN]


def _ago(then: datetime, now: datetime) -> str:
    seconds = max(0, int((now - then).total_seconds()))
    return f"{seconds} s ago" if seconds < 60 else f"{seconds // 60} min ago"
