"""Recorded decisions, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from actfor.audit import AuditLog, EventType, LoggedEvent

_PAGE = 500


async def decisions_since(
    audit: AuditLog, since: datetime, agent: str | None = None
) -> AsyncIterator[LoggedEvent]:
    """The decisions from then on, newest first; of one agent if it is named."""
    before: int | None = None
    while True:
        page = await audit.search(limit=_PAGE, before=before, type=EventType.DECIDE, agent=agent)
        for event in page:
            if event.at < since:
                return
            yield event
        if len(page) < _PAGE:
            return
        before = page[-1].index
