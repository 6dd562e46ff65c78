"""Every decision, and the whole story of one."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.console import story
from actfor.console.desk import Desk
from actfor.console.guard import Visitor
from actfor.errors import Kind, Refused

_PAGE = 50


def routes(desk: Desk) -> list[Route]:
    """``/decisions`` and ``/decisions/{trace}``."""
    services = desk.services

    async def listing(request: Request, visitor: Visitor) -> Response:
        agent = request.query_params.get("agent", "").strip()
        before = request.query_params.get("before", "")
        if before and not (before.isascii() and before.isdigit() and len(before) < 16):
            raise Refused(Kind.MALFORMED, "`before` is a log entry's number")
        found = await services.audit.search(
            limit=_PAGE,
            before=int(before) if before else None,
            type="decide",
            agent=await _spiffe_id(desk, agent) if agent else None,
        )
        return await desk.page(
            visitor,
            "decisions.html",
            "decisions",
            latest=[story.summary(event) for event in desk.concerns(visitor, found)],
            agent=agent,
            older=found[-1].index if len(found) == _PAGE else None,
        )

    async def trace(request: Request, visitor: Visitor) -> Response:
        key = request.path_params["trace"]
        events = await services.audit.trace(key)
        if not desk.concerns(visitor, events):
            raise Refused(Kind.NOT_FOUND, "the log has nothing about that")
        steps = story.steps(events, await desk.names())
        return await desk.page(visitor, "decision.html", "decisions", trace=key, steps=steps)

    return [
        Route("/decisions", desk.shown(listing), methods=["GET"]),
        Route("/decisions/{trace}", desk.shown(trace), methods=["GET"]),
    ]


async def _spiffe_id(desk: Desk, agent: str) -> str:
    """A SPIFFE ID as it is; a name as the ID of the agent called so."""
    if agent.startswith("spiffe://"):
        return agent
    try:
        return str((await desk.services.agents.show(agent)).id)
    except Refused:
        return agent
