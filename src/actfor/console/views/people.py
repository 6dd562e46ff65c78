"""Who is here, and inviting others."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.console.desk import Desk
from actfor.console.forms import Form
from actfor.console.guard import Visitor
from actfor.errors import Kind, Refused
from actfor.identity import Role


def routes(desk: Desk) -> list[Route]:
    """``/people``."""
    people = desk.services.people

    async def show(request: Request, visitor: Visitor) -> Response:
        return await _page(desk, visitor)

    async def invite(request: Request, visitor: Visitor, form: Form) -> Response:
        name = form.one("name")
        try:
            token = await people.invite(visitor.person, name, form.all("role"))
        except Refused as refused:
            if refused.kind is Kind.MALFORMED:
                return await _page(desk, visitor, problem=refused.detail)
            raise
        # Shown in the answer to the POST: it stands in no address and no history but the guest's.
        link = f"{desk.services.issuer}/setup?t={token}"
        return await _page(desk, visitor, link=link, invited=name)

    return [
        Route("/people", desk.shown(show), methods=["GET"]),
        Route("/people", desk.done(invite), methods=["POST"]),
    ]


async def _page(desk: Desk, visitor: Visitor, **context: Any) -> Response:
    admin = visitor.person.may(Role.ADMIN)
    defaults = {"link": None, "invited": "", "problem": None}
    return await desk.page(
        visitor,
        "people.html",
        "people",
        people=await desk.services.people.people() if admin else [visitor.person],
        may_invite=admin,
        **{**defaults, **context},
    )
