"""What would have been decided otherwise: recorded questions, asked of a candidate set.

Several records may belong to one call: the question, and the call again once a person had agreed.
A call counts once, by the record in which nobody had approved it yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from actfor.authorization.model.decision import Decision, Effect
from actfor.authorization.model.policyset import PolicySet
from actfor.authorization.model.recorded import Recorded, Unusable, adapted, redecide

T = TypeVar("T")

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


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """One record of a call. ``waited``: a person was asked; ``approved``: one had said yes."""

    id: str
    at: datetime
    waited: bool
    approved: bool
    record: T


class Firsts(Generic[T]):
    """One record for each call, out of records that come in portions, newest first.

    Only a call that a person was asked about has several. It is kept until no older record of it
    can come, so what is held is a portion and such calls of one ``SPAN``.
    """

    def __init__(self) -> None:
        self._open: dict[str, Asked[T]] = {}

    def take(self, asked: Iterable[Asked[T]]) -> list[T]:
        """The calls that are certain with this portion."""
        certain: list[T] = []
        back_to: datetime | None = None
        for one in asked:
            back_to = one.at
            if not one.waited and not one.approved:
                certain.append(one.record)
            elif one.id not in self._open or not one.approved:
                self._open[one.id] = one
        if back_to is not None:
            over = [id_ for id_, one in self._open.items() if one.at - back_to > SPAN]
            certain += [self._open.pop(id_).record for id_ in over]
        return certain

    def rest(self) -> list[T]:
        """The calls that are left once there are no older records."""
        left, self._open = [one.record for one in self._open.values()], {}
        return left


def asked_of(record: Recorded) -> Asked[Recorded]:
    """A recorded decision as one record of its call."""
    approved = bool(record.request.context.get("approved"))
    return Asked(record.id, record.at, record.effect is Effect.STEP_UP, approved, record)


class Questions:
    """One recorded question for each call; why other records could not be used is counted."""

    def __init__(self) -> None:
        self._firsts: Firsts[Recorded] = Firsts()
        self.unusable: Counter[str] = Counter()
        """Why records could not be used."""

    def take(self, records: Iterable[Recorded | Unusable]) -> list[Recorded]:
        """The calls that are certain with this portion."""
        return self._firsts.take(self._usable(records))

    def rest(self) -> list[Recorded]:
        """The calls that are left once there are no older records."""
        return self._firsts.rest()

    def _usable(self, records: Iterable[Recorded | Unusable]) -> Iterator[Asked[Recorded]]:
        for record in records:
            if isinstance(record, Unusable):
                self.unusable[record.why] += 1
                continue
            yield asked_of(record)


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
