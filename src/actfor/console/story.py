"""A trace as a story: human, mandate, chain, call, approval, outcome. Pure.

The log's events are the only source; what an event does not say is not told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actfor.audit import LoggedEvent
from actfor.wire.canonical import JsonValue, canonical

_TONES = {
    "permit": "ok",
    "approved": "ok",
    "consumed": "ok",
    "ok": "ok",
    "pending": "warn",
    "step-up": "warn",
    "deny": "bad",
    "denied": "bad",
    "expired": "bad",
    "cancelled": "bad",
    "tool-error": "bad",
    "upstream-error": "bad",
    "unknown": "warn",
    "not-executed": "warn",
}
_OUTCOMES = {
    "ok": "The upstream did it",
    "tool-error": "The tool answered with an error",
    "upstream-error": "The upstream refused",
    "unknown": "The upstream was lost: nobody knows whether it was done",
    "not-executed": "The upstream could not be reached: it was not done",
}
_ORDER = {"mandate": 0, "attest": 1, "delegate": 2}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened, in plain words. ``facts`` are the leaf's own."""

    title: str
    at: datetime | None = None
    tone: str = ""
    state: str | None = None
    words: str | None = None
    chain: tuple[str, ...] = ()
    link: str | None = None
    link_text: str | None = None
    facts: tuple[tuple[str, str], ...] = ()
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """One decision as a row."""

    trace: str
    at: datetime
    server: str
    tool: str
    agent: str
    decision: str
    reason: str


@dataclass(slots=True)
class Counts:
    """Decisions by effect. ``more``: there were too many to count."""

    permit: int = 0
    step_up: int = 0
    deny: int = 0
    more: bool = False

    @property
    def total(self) -> int:
        """All of them."""
        return self.permit + self.step_up + self.deny


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of the chart, in its 240 by 60 units."""

    effect: str
    x: int
    y: int
    height: int


def steps(events: Sequence[LoggedEvent], names: Mapping[str, str]) -> list[Step]:
    """The events of a trace, in the order in which one thing follows from another."""
    ordered = sorted(events, key=lambda e: (_ORDER.get(e.type, 3), e.index))
    return [_step(event, names) for event in ordered]


def summary(event: LoggedEvent) -> Summary:
    """A decision's row."""
    return Summary(
        trace=event.trace,
        at=event.at,
        server=_fact(event, "server"),
        tool=_fact(event, "tool"),
        agent=_fact(event, "agent"),
        decision=_fact(event, "decision") or "deny",
        reason=_reason(event),
    )


def count(events: Sequence[LoggedEvent]) -> Counts:
    """How many of each effect."""
    counts = Counts()
    for event in events:
        name = summary(event).decision.replace("-", "_")
        if name in {"permit", "step_up", "deny"}:
            setattr(counts, name, getattr(counts, name) + 1)
    return counts


def bars(events: Sequence[LoggedEvent], now: datetime) -> list[Bar]:
    """Decisions of the last hour in twelve columns of five minutes, stacked by effect."""
    columns: list[dict[str, int]] = [{"permit": 0, "step-up": 0, "deny": 0} for _ in range(12)]
    for event in events:
        ago = (now - event.at) // timedelta(minutes=5)
        effect = summary(event).decision
        if 0 <= ago < 12 and effect in columns[0]:
            columns[11 - ago][effect] += 1
    top = max((sum(column.values()) for column in columns), default=0)
    found: list[Bar] = []
    for place, column in enumerate(columns):
        floor = 58
        for effect, number in column.items():
            height = max(2, number * 54 // top) if number else 0
            floor -= height
            if height:
                found.append(Bar(effect, place * 20 + 2, floor, height))
    return found


def _step(event: LoggedEvent, names: Mapping[str, str]) -> Step:
    title, words, state = _TELLERS.get(event.type, _tell_other)(event, names)
    path, text = _link(event)
    return Step(
        title=title,
        at=event.at,
        tone=_TONES.get(state or "", ""),
        state=state,
        words=words,
        chain=_chain(event),
        link=path,
        link_text=text,
        facts=tuple((name, _plain(value)) for name, value in _all_facts(event)),
        index=event.index,
    )


_Told = tuple[str, str | None, str | None]


def _tell_mandate(event: LoggedEvent, names: Mapping[str, str]) -> _Told:
    goal = _private(event, "goal")
    return f"{_person(event, names)} gave a mandate", goal, None


def _tell_attest(event: LoggedEvent, names: Mapping[str, str]) -> _Told:
    return f"{_short(event)} was measured", _reason(event) or None, None


def _tell_delegate(event: LoggedEvent, names: Mapping[str, str]) -> _Told:
    if _fact(event, "action") == "pass-on":
        to = _fact(event, "to").rpartition("/agent/")[2] or "an agent"
        return f"{_short(event)} asks {to} to act for {_person(event, names)}", None, None
    asked = _asked_by(event)
    return f"{_short(event)}{asked} may act for {_person(event, names)}", None, None


def _tell_decide(event: LoggedEvent, names: Mapping[str, str]) -> _Told:
    about = summary(event)
    asked = f"{_short(event)}{_asked_by(event)} asked for {about.tool} on {about.server}"
    return asked, about.reason or None, about.decision


def _tell_request(event: LoggedEvent, names: Mapping[str, str]) -> _Told:
    return "A person was asked about this exact call", _reason(event) or None, "pending"


def _tell_approve(event: LoggedEvent, names: Mapping[str, str]) -> _Told:
    return f"{_person(event, names, 'approver')} approved it with a passkey", None, "approved"


def _tell_deny(event: LoggedEvent, names: Mapping[str, str]) -> _Told:
    if _fact(event, "state") == "expired":
        return "Nobody answered in time", None, "expired"
    said = _private(event, "reason")
    return f"{_person(event, names, 'approver')} said no", said, "denied"


def _tell_revoke(event: LoggedEvent, names: Mapping[str, str]) -> _Told:
    if _fact(event, "cause") == "withdrawn":
        said = _private(event, "reason")
        return f"{_person(event, names, 'by')} took the question back", said, "cancelled"
    return "It was taken back", _reason(event) or None, "cancelled"


def _tell_outcome(event: LoggedEvent, names: Mapping[str, str]) -> _Told:
    status = _fact(event, "status")
    took = event.facts.get("milliseconds")
    words = f"after {took} ms" if isinstance(took, int) else None
    return _OUTCOMES.get(status, "The call ended"), words, status or None


def _tell_other(event: LoggedEvent, names: Mapping[str, str]) -> _Told:
    action = _fact(event, "action")
    return f"{event.type}: {action}" if action else event.type, _reason(event) or None, None


_TELLERS = {
    "mandate": _tell_mandate,
    "attest": _tell_attest,
    "delegate": _tell_delegate,
    "decide": _tell_decide,
    "approval-request": _tell_request,
    "approve": _tell_approve,
    "deny": _tell_deny,
    "revoke": _tell_revoke,
    "outcome": _tell_outcome,
}


def _link(event: LoggedEvent) -> tuple[str | None, str | None]:
    if event.type in {"approval-request", "approve", "deny"} and _fact(event, "approval"):
        return f"/approvals/{_fact(event, 'approval')}", "The exact call"
    if event.type == "mandate" and _fact(event, "mandate"):
        return f"/mandates/{_fact(event, 'mandate')}", "What it allows"
    return None, None


def _asked_by(event: LoggedEvent) -> str:
    """Through which agents it was asked: `, asked by A`; nothing where the person sent it."""
    above = tuple(reversed(_chain(event)))[1:]
    names = [one.rpartition("/agent/")[2].partition("/")[0] for one in above]
    return "".join(f", asked by {name}" for name in names) + ("," if names else "")


def _chain(event: LoggedEvent) -> tuple[str, ...]:
    chain = event.facts.get("chain")
    if isinstance(chain, list | tuple) and event.type in {"decide", "delegate"}:
        return tuple(str(link) for link in reversed(chain))
    return ()


def _person(event: LoggedEvent, names: Mapping[str, str], member: str = "person") -> str:
    who = _private(event, member) or _fact(event, member)
    return names.get(who or "", who or "somebody")


def _short(event: LoggedEvent) -> str:
    return _fact(event, "agent").rpartition("/agent/")[2] or "an agent"


def _reason(event: LoggedEvent) -> str:
    for member in ("detail", "reasons", "reason", "cause"):
        value = event.private.get(member) or event.facts.get(member)
        if isinstance(value, list | tuple) and value:
            return "; ".join(str(one) for one in value)
        if isinstance(value, str) and value:
            return value
    return ""


def _fact(event: LoggedEvent, name: str) -> str:
    value = event.facts.get(name)
    return value if isinstance(value, str) else ""


def _private(event: LoggedEvent, name: str) -> str | None:
    value = event.private.get(name)
    return value if isinstance(value, str) else None


def _all_facts(event: LoggedEvent) -> list[tuple[str, JsonValue]]:
    gone: list[tuple[str, JsonValue]] = [(name, "erased") for name in event.erased]
    return [*event.facts.items(), *event.private.items(), *gone]


def _plain(value: JsonValue) -> str:
    return value if isinstance(value, str) else canonical(value).decode()
