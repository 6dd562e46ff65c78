"""Trying another authority on what really happened under a mandate. Reads; changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta

from actfor.audit import AuditLog, LoggedEvent
from actfor.authorization.model import Effect
from actfor.authorization.model.recorded import Reach, Recorded, read
from actfor.authorization.model.simulation import Asked, Firsts, asked_of
from actfor.authorization.service.decisions import HELD, MAX_RECORDS, Decisions
from actfor.delegation.model import Mandate
from actfor.delegation.rehearsing import Rehearsed, Trying, UsedCall
from actfor.delegation.suggesting import Suggestion, Uses
from actfor.wire.rar import Authority, Call, Money

_INSTANT = timedelta(milliseconds=1)
"""A time is kept in whole milliseconds: what was recorded just now counts."""


class MandateRehearsal:
    """Who may see a mandate's calls is checked by the caller."""

    def __init__(
        self,
        audit: AuditLog,
        clock: Callable[[], datetime],
        *,
        most: int = MAX_RECORDS,
        held: int = HELD,
    ) -> None:
        """``most`` is how many decisions one answer is about, the newest; ``held`` how many of
        them are in memory at once.
        """
        self._audit = audit
        self._clock = clock
        self._most = most
        self._held = held

    async def simulate(
        self, mandate: Mandate, draft: Authority, last: timedelta
    ) -> tuple[Rehearsed, Reach]:
        """What a draft would make of the calls that were made under a mandate."""
        now, trying = self._clock(), Trying(draft)
        asked = self._asked(mandate, now, last)
        async for calls in self._calls(asked):
            await asyncio.to_thread(trying.take, calls)
        run_out = trying.run_out()
        if run_out is not None:
            async for calls in self._calls(self._asked(mandate, now, last)):
                if not await asyncio.to_thread(run_out.take, calls):
                    break
        return trying.result(run_out), asked.reach

    async def suggest(self, mandate: Mandate, last: timedelta) -> tuple[Suggestion, Reach]:
        """A narrower authority that covers all that was let through as far as the reach goes."""
        uses, asked = Uses(mandate.authority), self._asked(mandate, self._clock(), last)
        async for calls in self._calls(asked):
            await asyncio.to_thread(uses.take, calls)
        return uses.suggestion(), asked.reach

    async def calls(self, mandate: Mandate, last: timedelta) -> tuple[list[UsedCall], Reach]:
        """The recorded calls of a mandate, one for each; those whose record was erased are gone.

        All of them are in memory at once: for looking at few.
        """
        asked = self._asked(mandate, self._clock(), last)
        found = [call async for calls in self._calls(asked) for call in calls]
        return found, asked.reach

    def _asked(self, mandate: Mandate, now: datetime, last: timedelta) -> Decisions:
        since = max(now - last, mandate.created_at)
        # Whoever it may be delegated to acts under the same mandate, as another agent.
        agent = None if mandate.authority.max_depth else str(mandate.agent)
        return Decisions(
            self._audit,
            since,
            until=now + _INSTANT,
            agent=agent,
            mandate=mandate.id,
            most=self._most,
        )

    async def _calls(self, asked: Decisions) -> AsyncIterator[list[UsedCall]]:
        """One call for each decision's question, newest first."""
        firsts, passed = Firsts[Recorded](), set[str]()
        async for portion in asked.portions(self._held):
            certain = firsts.take(_questions(portion, passed))
            yield [_used(record, passed) for record in certain if record.arguments is not None]
        rest = firsts.rest()
        yield [_used(record, passed) for record in rest if record.arguments is not None]


def _questions(portion: list[LoggedEvent], passed: set[str]) -> Iterator[Asked[Recorded]]:
    """The questions in these records; the ids of calls that were let through go to ``passed``."""
    for event in portion:
        record = read(event.trace, event.at, event.facts, event.private)
        if isinstance(record, Recorded):
            if event.facts.get("decision") == Effect.PERMIT.value:
                passed.add(record.id)
            yield asked_of(record)


def _used(record: Recorded, passed: set[str]) -> UsedCall:
    was_let_through = record.id in passed
    passed.discard(record.id)
    return UsedCall(
        record.id,
        record.at,
        _call(record),
        covered=record.request.context.get("in_mandate") is True,
        asked=record.effect is not Effect.PERMIT,
        passed=was_let_through,
    )


def _call(record: Recorded) -> Call:
    server, _, tool = record.request.resource.partition("/")
    return Call(
        server,
        tool,
        record.request.action,
        record.arguments or {},
        _money(record),
        record.at,
    )


def _money(record: Recorded) -> Money | None:
    minor = record.request.context.get("amount_minor")
    currency = record.request.context.get("amount_currency")
    if not isinstance(minor, int) or not isinstance(currency, str):
        return None
    return Money.of_minor(minor, currency)
