"""The log's state, and how to check it without believing this page."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.console.desk import Desk
from actfor.console.guard import Visitor


def routes(desk: Desk) -> list[Route]:
    """``/log``; the tiles below it are public and served by `audit`."""
    audit = desk.services.audit

    async def show(request: Request, visitor: Visitor) -> Response:
        note = await audit.latest_checkpoint()
        state = await desk.log_state()
        return await desk.page(
            visitor,
            "log.html",
            "log",
            size=state.size,
            root=state.root,
            signed=_size(note),
            checkpoint=note,
            verifier=audit.verifier_key,
            issuer=desk.services.issuer,
        )

    return [Route("/log", desk.shown(show), methods=["GET"])]


def _size(note: str | None) -> int:
    """The second line of a checkpoint is its size (C2SP tlog-checkpoint)."""
    lines = note.split("\n") if note else []
    return int(lines[1]) if len(lines) > 1 else 0
