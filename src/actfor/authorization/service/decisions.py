"""Recorded decisions, page by page, and how far back that went."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from actfor.audit import AuditLog, EventType, LoggedEvent
from actfor.authorization.model.recorded import Reach

MAX_RECORDS = 1_000_000
"""Decisions one answer is about, the newest: a bound on time, for few are in memory at once."""

HELD = 5_000
"""So many of them."""

_READ_FOR_EACH = 10
"""So many entries are read for each that may be kept, a mandate's among its agent's, as long as
these are no more than ``MAX_RECORDS``."""

_PAGE = 500


class Decisions:
    """The decisions since a time, newest first; until another, of one agent, of one mandate.

    To be gone through once; ``reach`` says, afterwards, whether these were all.
    """

    def __init__(
        self,
        audit: AuditLog,
        since: datetime,
        *,
        until: datetime | None = None,
        agent: str | None = None,
        mandate: str | None = None,
        most: int = MAX_RECORDS,
    ) -> None:
        self._audit = audit
        self._agent = agent
        self._mandate = mandate
        self._most = most
        self._most_read = max(most, min(most * _READ_FOR_EACH, MAX_RECORDS))
        self._since = since
        self._until = until
        self.reach = Reach(0, since)

    async def __aiter__(self) -> AsyncIterator[LoggedEvent]:
        read = seen = 0
        back_to: datetime | None = None
        async for event in self._from_the_log():
            wanted = self._wants(event)
            if read >= self._most_read or (wanted and seen >= self._most):
                self.reach = Reach(seen, back_to or event.at, complete=False)
                return
            read += 1
            back_to = event.at
            if wanted:
                seen += 1
                yield event
        self.reach = Reach(seen, self._since)

    async def portions(self, held: int = HELD) -> AsyncIterator[list[LoggedEvent]]:
        """The same, so many at a time; the last portion may be empty."""
        portion: list[LoggedEvent] = []
        async for event in self:
            portion.append(event)
            if len(portion) == held:
                yield portion
                portion = []
        yield portion

    def _wants(self, event: LoggedEvent) -> bool:
        return (self._until is None or event.at < self._until) and (
            self._mandate is None or event.facts.get("mandate") == self._mandate
        )

    async def _from_the_log(self) -> AsyncIterator[LoggedEvent]:
        before: int | None = None
        while True:
            page = await self._audit.search(
                limit=_PAGE, before=before, type=EventType.DECIDE, agent=self._agent
            )
            for event in page:
                if event.at < self._since:
                    return
                yield event
            if len(page) < _PAGE:
                return
            before = page[-1].index
