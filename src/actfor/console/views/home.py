"""The first page: what waits, what was decided, who is trusted, how long the log is."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.audit import LoggedEvent
from actfor.console import story
from actfor.console.desk import Desk
from actfor.console.guard import Visitor

_MOST = 500
_CHUNK = 25


def routes(desk: Desk) -> list[Route]:
    """``/``."""
    services = desk.services

    async def home(request: Request, visitor: Visitor) -> Response:
        now = services.clock()
        inbox = await services.approvals.inbox(visitor.person, limit=100)
        decisions, more = await _recent(desk, now - timedelta(hours=1))
        decisions = desk.concerns(visitor, decisions)
        recent = [event for event in decisions if event.at > now - timedelta(hours=1)]
        counts = story.count(recent)
        counts.more = more
        agents = await services.agents.list()
        return await desk.page(
            visitor,
            "home.html",
            "home",
            waiting=inbox.waiting,
            counts=counts,
            bars=story.bars(recent, now),
            agents=agents,
            states=sorted(Counter(agent.state.value for agent in agents).items()),
            log=await desk.log_state(),
            latest=[story.summary(event) for event in decisions[:8]],
        )

    return [Route("/", desk.shown(home), methods=["GET"])]


async def _recent(desk: Desk, since: datetime) -> tuple[list[LoggedEvent], bool]:
    """The latest decisions back to ``since``, at least a chunk; True if there were too many.

    In chunks: reading runs on the event loop, which calls must not have to wait for.
    """
    found: list[LoggedEvent] = []
    before: int | None = None
    while len(found) < _MOST:
        chunk = await desk.services.audit.search(limit=_CHUNK, before=before, type="decide")
        found += chunk
        if len(chunk) < _CHUNK or chunk[-1].at <= since:
            return found, False
        before = chunk[-1].index
        await asyncio.sleep(0)
    return found, True
