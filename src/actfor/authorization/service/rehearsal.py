"""Looking back and trying out: explain what was decided, simulate what would be.

Everything here reads the log and asks the same pure question again. Nothing is recorded by it and
nothing it finds has an effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from actfor.audit import AuditLog, EventType, LoggedEvent
from actfor.authorization.model import Decision, Explanation, PolicySet, Request
from actfor.authorization.model.counterfactual import Remedy, remedies
from actfor.authorization.model.recorded import Reach, Recorded, Unusable, adapted, read, redecide
from actfor.authorization.model.simulation import Questions, Simulation, simulate
from actfor.authorization.service.authorization import AuthorizationService
from actfor.authorization.service.decisions import HELD, MAX_RECORDS, Decisions
from actfor.errors import Kind, Refused


@dataclass(frozen=True, slots=True)
class Account:
    """One question, its answer, and what would have made it pass.

    ``record`` is None for a question that nobody asked. ``replayed`` says whether the record's own
    policies decide today as is recorded. ``now`` is what the policies in force would decide.
    """

    request: Request
    explanation: Explanation
    remedies: tuple[Remedy, ...]
    now: Decision
    record: Recorded | None = None
    replayed: bool = True


class Rehearsal:
    """Reads the log; see the module."""

    def __init__(
        self,
        authorization: AuthorizationService,
        audit: AuditLog,
        clock: Callable[[], datetime],
        *,
        most: int = MAX_RECORDS,
        held: int = HELD,
    ) -> None:
        """``most`` is how many decisions one simulation is about, the newest; ``held`` how many of
        them are in memory at once.
        """
        self._authorization = authorization
        self._audit = audit
        self._clock = clock
        self._most = most
        self._held = held

    # -- explain ----------------------------------------------------------------------------

    async def account(self, decision_id: str) -> list[Account]:
        """Each decision of one call, oldest first: the question, then the call with its approval.

        Raises:
            Refused: NOT_FOUND when the log has no such decision, or none that can be asked again.
        """
        events = [
            event
            for event in await self._audit.trace(decision_id)
            if event.type == EventType.DECIDE
        ]
        if not events:
            raise Refused(Kind.NOT_FOUND, f"the log has no decision `{decision_id[:64]}`")
        found = [record_of(event) for event in events]
        records = [each for each in found if isinstance(each, Recorded)]
        if not records:
            why = next(each.why for each in found if isinstance(each, Unusable))
            raise Refused(Kind.NOT_FOUND, f"this decision cannot be explained: {why}")
        return [await self._told(record) for record in _distinct(records)]

    async def suppose(self, request: Request) -> Account:
        """The same for a question that nobody asked, by the policies in force.

        Raises:
            Refused: NOT_FOUND when no policy set is in force.
        """
        policies = self._in_force()
        return await asyncio.to_thread(_account, request, policies, policies)

    # -- simulate ---------------------------------------------------------------------------

    async def simulate(
        self,
        source: str,
        *,
        last: timedelta,
        agent: str | None = None,
        mandate: str | None = None,
        against_now: bool = False,
    ) -> tuple[Simulation, Reach]:
        """Ask a candidate what was asked in the last while, and compare with what was decided.

        ``against_now`` compares with what the policies in force would decide instead. The reach
        says whether all of that time was looked at.

        Raises:
            Refused: MALFORMED when the candidate could not be published.
        """
        candidate = await self._authorization.compile(source)
        since = self._clock() - last
        asked = Decisions(self._audit, since, agent=agent, mandate=mandate, most=self._most)
        in_force = self._in_force() if against_now else None
        questions, tally = Questions(), Simulation(candidate.version)
        async for portion in asked.portions(self._held):
            calls = questions.take(map(record_of, portion))
            await asyncio.to_thread(_simulate, calls, candidate, in_force, tally)
        await asyncio.to_thread(_simulate, questions.rest(), candidate, in_force, tally)
        tally.unusable = questions.unusable
        return tally, asked.reach

    async def _told(self, record: Recorded) -> Account:
        policies = await self._authorization.set_of(record.version)
        return await asyncio.to_thread(_account, record.request, policies, self._in_force(), record)

    def _in_force(self) -> PolicySet:
        policies = self._authorization.snapshot
        if policies is None:
            raise Refused(Kind.NOT_FOUND, "no policy set is in force")
        return policies


def record_of(event: LoggedEvent) -> Recorded | Unusable:
    """A logged decision as it can be asked again."""
    return read(event.trace, event.at, event.facts, event.private)


def _account(
    request: Request, policies: PolicySet, in_force: PolicySet, record: Recorded | None = None
) -> Account:
    explained = policies.explain(request)
    bound = redecide(request, policies)
    return Account(
        request,
        Explanation(bound, explained.policies),
        remedies(request, policies),
        redecide(adapted(request, in_force.schema), in_force),
        record,
        record is None or _agrees(bound, record),
    )


def _agrees(decision: Decision, record: Recorded) -> bool:
    named = decision.facts()["policies"]  # as a leaf names them: so many and no more
    return decision.effect is record.effect and named == list(record.policies)


def _simulate(
    calls: list[Recorded], candidate: PolicySet, in_force: PolicySet | None, tally: Simulation
) -> None:
    baseline = None
    if in_force is not None:
        baseline = {
            call.id: redecide(adapted(call.request, in_force.schema), in_force) for call in calls
        }
    simulate(calls, candidate, baseline, tally)


def _distinct(records: list[Recorded]) -> list[Recorded]:
    """A client that comes back for an answer asks the same question again."""
    kept: list[Recorded] = []
    for record in records:
        if not any((record.request, record.effect) == (old.request, old.effect) for old in kept):
            kept.append(record)
    return kept
