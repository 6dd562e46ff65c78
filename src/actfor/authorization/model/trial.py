"""Trying something beside what is in force: a shadow, or enforcement that only reports.

*shadow*: a candidate set is asked what the set in force is asked. Where it would have decided
otherwise, the record says so. The answer is not affected.

*report-only*: for one agent or one mandate, named, for a limited time and for named effects, a call
that the policies would hold or deny goes ahead, and the record says that it was not enforced. It
lifts nothing but the policies' word *inside* the mandate (ADR "what a trial may relax"): a token, a
revocation, the mandate, its caps, a tool's pin, an unmeasured agent of tier high and an error are
never lifted, nor is a ``forbid`` marked ``@hard("…")``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from actfor.authorization.model.binding import GATEWAY
from actfor.authorization.model.decision import Decision, Effect
from actfor.authorization.model.facts import Request, ToolEffect
from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue

HARD = "hard"
"""The annotation of a ``forbid`` that report-only enforcement never lifts; its text says why."""

MAX_SHADOW = timedelta(days=30)
MAX_REPORT_ONLY = timedelta(days=7)
_NAMED_POLICIES = 4


class Trial(StrEnum):
    """The two kinds of trial."""

    SHADOW = "shadow"
    REPORT_ONLY = "report-only"


@dataclass(frozen=True, slots=True)
class Run:
    """One trial, from when to when, of whose calls. ``agent`` and ``mandate`` None: of all.

    ``version`` is the candidate's for a shadow and empty otherwise.
    """

    id: str
    kind: Trial
    agent: str | None
    mandate: str | None
    effects: frozenset[ToolEffect]
    version: str
    author: str
    note: str
    started_at: datetime
    ends_at: datetime
    stopped_at: datetime | None = None

    def __post_init__(self) -> None:
        longest = MAX_SHADOW if self.kind is Trial.SHADOW else MAX_REPORT_ONLY
        if not timedelta(0) < self.ends_at - self.started_at <= longest:
            raise Refused(Kind.MALFORMED, f"a {self.kind} trial lasts at most {longest.days} days")
        if self.kind is Trial.REPORT_ONLY:
            if (self.agent is None) == (self.mandate is None):
                raise Refused(Kind.MALFORMED, "report-only is for one agent or for one mandate")
            if not self.effects:
                raise Refused(Kind.MALFORMED, "report-only needs the effects that it is for")
            if not self.note.strip():
                raise Refused(Kind.MALFORMED, "report-only needs a note that says why")

    def is_live(self, now: datetime) -> bool:
        """Whether it is going on."""
        return self.stopped_at is None and self.started_at <= now < self.ends_at

    @property
    def ended_at(self) -> datetime:
        """When it was or will be over."""
        return self.ends_at if self.stopped_at is None else min(self.stopped_at, self.ends_at)

    def concerns(self, request: Request, mandate: str | None) -> bool:
        """Whether a call is one of its calls."""
        if self.agent is not None and request.subject != self.agent:
            return False
        if self.mandate is not None and mandate != self.mandate:
            return False
        return self.kind is Trial.SHADOW or request.action in self.effects


def shadowed(run: Run, decision: Decision, candidate: Decision) -> Decision:
    """The decision as it is, with what the candidate would have said where that is otherwise."""
    if candidate.effect is decision.effect:
        return decision
    said: dict[str, JsonValue] = {
        "trial": run.id,
        "decision": candidate.effect.value,
        "policies": list(candidate.policies[:_NAMED_POLICIES]),
    }
    if candidate.errors:
        said["errors"] = len(candidate.errors)
    return decision._replace(shadow=said)


def relaxed(run: Run, decision: Decision, request: Request, hard: frozenset[str]) -> Decision:
    """A permit where only the policies' own word stands in the way; else the decision as it is.

    ``hard`` are the ids of policies that are never lifted.
    """
    if decision.effect is Effect.PERMIT or not may_relax(decision, request, hard):
        return decision
    said: dict[str, JsonValue] = {
        "trial": run.id,
        "enforced": False,
        "decision": decision.effect.value,
    }
    return decision._replace(effect=Effect.PERMIT, shadow=said)


def may_relax(decision: Decision, request: Request, hard: frozenset[str]) -> bool:
    """Whether nothing but the policies' word, inside the mandate, denies or holds a call."""
    facts = request.context
    unmeasured = facts.get("tier") == "high" and facts.get("assurance") != "measured"
    return (
        not decision.errors
        and bool(decision.version)
        and facts.get("via") == GATEWAY
        and facts.get("in_mandate") is True
        and facts.get("within_caps") is True
        and facts.get("tool_pinned") is True
        and facts.get("sender_constrained") is True
        and facts.get("requires_approval") is not True  # the person's own wish
        and not unmeasured
        and not hard.intersection(decision.policies)
    )
