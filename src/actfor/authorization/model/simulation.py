"""What would have been decided otherwise: recorded questions, asked of a candidate set.

Several records may belong to one call: the question, and the call again once a person had agreed.
A call counts once, by the record in which nobody had approved it yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actfor.authorization.model.decision import Decision, Effect
from actfor.authorization.model.policyset import PolicySet
from actfor.authorization.model.recorded import Recorded, Unusable, adapted, redecide

EXAMPLES = 5
"""Differing calls shown for each kind of difference."""

SPAN = timedelta(hours=1)
"""The records of one call are closer together: a question to a person lives for minutes."""


@dataclass(frozen=True, slots=True)
class Example:
    """One call that would have been decided otherwise."""

    id: str
    at: datetime
    agent: str
    resource: str
    effect: str
    before: tuple[str, ...]
    """The policies that determined it."""
    after: Decision


@dataclass(slots=True)
class Move:
    """All calls that would have gone from one effect to another."""

    before: Effect
    after: Effect
    count: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass(slots=True)
class Simulation:
    """The tally. ``unusable`` says how many records could not be asked again, and why."""

    version: str
    calls: int = 0
    before: Counter[Effect] = field(default_factory=Counter)
    after: Counter[Effect] = field(default_factory=Counter)
    moves: dict[tuple[Effect, Effect], Move] = field(default_factory=dict)
    policies: Counter[str] = field(default_factory=Counter)
    """How many calls each policy of the candidate determines."""
    errors: int = 0
    adapted: int = 0
    """Calls whose record is older than a fact of today's schema."""
    unusable: Counter[str] = field(default_factory=Counter)

    @property
    def changed(self) -> int:
        """How many calls would have been decided otherwise."""
        return sum(move.count for move in self.moves.values())


class Questions:
    """One record for each call, out of records that come in portions, newest first.

    Only a call that a person was asked about has several. It is kept until no older record of it
    can come, so what is held is a portion and such calls of one ``SPAN``.
    """

    def __init__(self) -> None:
        self._open: dict[str, Recorded] = {}
        self.unusable: Counter[str] = Counter()
        """Why records could not be used."""

    def take(self, records: Iterable[Recorded | Unusable]) -> list[Recorded]:
        """The calls that are certain with this portion."""
        certain: list[Recorded] = []
        back_to: datetime | None = None
        for record in records:
            if isinstance(record, Unusable):
                self.unusable[record.why] += 1
                continue
            back_to = record.at
            approved = bool(record.request.context.get("approved"))
            if record.effect is not Effect.STEP_UP and not approved:
                certain.append(record)
            elif record.id not in self._open or not approved:
                self._open[record.id] = record
        if back_to is not None:
            over = [id_ for id_, call in self._open.items() if call.at - back_to > SPAN]
            certain += map(self._open.pop, over)
        return certain

    def rest(self) -> list[Recorded]:
        """The calls that are left once there are no older records."""
        left, self._open = list(self._open.values()), {}
        return left


def first_questions(records: Iterable[Recorded | Unusable]) -> tuple[list[Recorded], Counter[str]]:
    """One record for each call, given newest first; and why others could not be used."""
    questions = Questions()
    return [*questions.take(records), *questions.rest()], questions.unusable


def simulate(
    calls: Iterable[Recorded],
    candidate: PolicySet,
    baseline: Mapping[str, Decision] | None = None,
    tally: Simulation | None = None,
) -> Simulation:
    """Decide each call by the candidate and compare with what was decided.

    ``baseline`` gives other decisions to compare with, by the call's id: those of the set in
    force, where the records are of older ones. ``tally`` is what is added to.
    """
    tally = tally or Simulation(candidate.version)
    for call in calls:
        request = adapted(call.request, candidate.schema)
        decision = redecide(request, candidate)
        tally.calls += 1
        tally.adapted += request is not call.request
        tally.errors += bool(decision.errors)
        tally.policies.update(decision.policies)
        was = baseline.get(call.id) if baseline is not None else None
        before = call.effect if was is None else was.effect
        tally.before[before] += 1
        tally.after[decision.effect] += 1
        if decision.effect is not before:
            named = call.policies if was is None else was.policies
            _note(tally, call, before, named, decision)
    return tally


def _note(
    tally: Simulation,
    call: Recorded,
    before: Effect,
    named: tuple[str, ...],
    decision: Decision,
) -> None:
    move = tally.moves.setdefault((before, decision.effect), Move(before, decision.effect))
    move.count += 1
    if len(move.examples) < EXAMPLES:
        move.examples.append(
            Example(
                call.id,
                call.at,
                call.request.subject,
                call.request.resource,
                call.request.action,
                named,
                decision,
            )
        )
