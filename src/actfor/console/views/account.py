"""Coming in and going out: set up, sign in, sign out, connect a command line."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.console.desk import Desk, go
from actfor.console.forms import Form, local_path
from actfor.console.guard import Visitor
from actfor.console.html import page
from actfor.errors import Kind, Refused
from actfor.identity import LinkKind


def routes(desk: Desk) -> list[Route]:
    """``/setup``, ``/signin``, ``/signout``, ``/device``."""
    people = desk.services.people

    async def setup(request: Request) -> Response:
        # A link scanner may fetch this page as often as it likes: only the passkey spends the link.
        token = request.query_params.get("t", "")
        try:
            link = await people.link(token)
        except Refused as refused:
            return desk.refused(refused, None)
        context = {"token": token, "name": link.name, "invited": link.kind is not LinkKind.OPERATOR}
        return page("setup.html", context)

    async def signin(request: Request) -> Response:
        target = local_path(request.query_params.get("next", "/"))
        try:
            await desk.guard.visitor(request)
        except Refused:
            return page("signin.html", {"next": target, "operators": await people.has_operator()})
        return go(target)

    async def signout(request: Request, visitor: Visitor, form: Form) -> Response:
        await people.end(visitor.session)
        response = go("/signin")
        desk.guard.forget(response)
        return response

    async def device(request: Request, visitor: Visitor) -> Response:
        code = request.query_params.get("user_code", "").strip().upper()
        done = request.query_params.get("done") == "1"
        return await _device(desk, visitor, code=code, done=done)

    async def connect(request: Request, visitor: Visitor, form: Form) -> Response:
        try:
            await desk.services.delegation.approve_device(visitor.person, form.one("user_code"))
        except Refused as refused:
            if refused.kind in {Kind.NOT_FOUND, Kind.EXPIRED, Kind.MALFORMED}:
                return await _device(desk, visitor, problem=refused.detail)
            raise
        return go("/device?done=1")

    return [
        Route("/setup", setup, methods=["GET"]),
        Route("/signin", signin, methods=["GET"]),
        Route("/signout", desk.done(signout), methods=["POST"]),
        Route("/device", desk.shown(device), methods=["GET"]),
        Route("/device", desk.done(connect), methods=["POST"]),
    ]


async def _device(desk: Desk, visitor: Visitor, **context: Any) -> Response:
    defaults = {"code": "", "done": False, "problem": None}
    return await desk.page(visitor, "device.html", "", **{**defaults, **context})
