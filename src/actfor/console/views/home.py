"""The first page: what waits, what was decided, who is trusted, how long the log is."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.console import story
from actfor.console.desk import Desk
from actfor.console.guard import Visitor

_MOST = 500


def routes(desk: Desk) -> list[Route]:
    """``/``."""
    services = desk.services

    async def home(request: Request, visitor: Visitor) -> Response:
        now = services.clock()
        inbox = await services.approvals.inbox(visitor.person, limit=100)
        decisions = desk.concerns(visitor, await services.audit.search(limit=_MOST, type="decide"))
        recent = [event for event in decisions if event.at > now - timedelta(hours=1)]
        counts = story.count(recent)
        counts.more = len(recent) == _MOST
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
