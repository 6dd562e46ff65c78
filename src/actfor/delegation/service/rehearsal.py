"""Trying another authority on what really happened under a mandate. Reads; changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from actfor.audit import AuditLog, LoggedEvent
from actfor.authorization.model import Effect
from actfor.authorization.model.recorded import Reach, Recorded, read
from actfor.authorization.model.simulation import first_questions
from actfor.authorization.service.decisions import MAX_RECORDS, Decisions
from actfor.delegation.model import Mandate
from actfor.delegation.rehearsing import Rehearsed, Suggestion, UsedCall, simulate, suggest
from actfor.wire.rar import Authority, Call, Money


class MandateRehearsal:
    """Who may see a mandate's calls is checked by the caller."""

    def __init__(
        self, audit: AuditLog, clock: Callable[[], datetime], *, most: int = MAX_RECORDS
    ) -> None:
        """``most`` is how many decisions one answer is about, the newest."""
        self._audit = audit
        self._clock = clock
        self._most = most

    async def simulate(
        self, mandate: Mandate, draft: Authority, last: timedelta
    ) -> tuple[Rehearsed, Reach]:
        """What a draft would make of the calls that were made under a mandate."""
        calls, reach = await self.calls(mandate, last)
        return await asyncio.to_thread(simulate, calls, draft), reach

    async def suggest(self, mandate: Mandate, last: timedelta) -> tuple[Suggestion, Reach]:
        """A narrower authority that covers all that was let through as far as the reach goes."""
        calls, reach = await self.calls(mandate, last)
        return await asyncio.to_thread(suggest, calls, mandate.authority), reach

    async def calls(self, mandate: Mandate, last: timedelta) -> tuple[list[UsedCall], Reach]:
        """The recorded calls of a mandate, one for each; those whose record was erased are gone."""
        since = max(self._clock() - last, mandate.created_at)
        # Whoever it may be delegated to acts under the same mandate, as another agent.
        agent = None if mandate.authority.max_depth else str(mandate.agent)
        asked = Decisions(self._audit, since, agent=agent, mandate=mandate.id, most=self._most)
        events: dict[str, list[LoggedEvent]] = {}
        async for event in asked:
            events.setdefault(event.trace, []).append(event)
        found = (_used(trace, of_one) for trace, of_one in events.items())
        return [used for used in found if used is not None], asked.reach


def _used(trace: str, events: list[LoggedEvent]) -> UsedCall | None:
    asked, _ = first_questions(
        read(event.trace, event.at, event.facts, event.private) for event in events
    )
    if not asked or asked[0].arguments is None:
        return None
    record = asked[0]
    permitted = any(event.facts.get("decision") == Effect.PERMIT.value for event in events)
    context = record.request.context
    return UsedCall(
        trace,
        record.at,
        _call(record),
        covered=context.get("in_mandate") is True,
        asked=record.effect is not Effect.PERMIT,
        passed=permitted,
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
