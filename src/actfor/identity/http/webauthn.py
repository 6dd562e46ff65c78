"""The four passkey steps for the console's script: JSON in, JSON out, a cookie at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from actfor.errors import Kind, Refused
from actfor.identity.http.session import SessionCookie, require_own_origin
from actfor.identity.model import Ceremony, SignedIn
from actfor.identity.service import PeopleService
from actfor.wire.canonical import JsonObject
from actfor.wire.problem import problem
from actfor.wire.strict_json import load_object

MAX_BODY = 64 * 1024
_NO_STORE = {"cache-control": "no-store"}


def webauthn_routes(people: PeopleService, cookie: SessionCookie) -> list[Route]:
    """``/webauthn/register/…`` and ``/webauthn/signin/…``, each ``options`` then ``finish``.

    ``options`` answers ``{"ceremony", "options"}``; ``finish`` takes ``{"ceremony", "credential"}``
    and answers ``{"person", "name"}`` with the session cookie.
    """

    async def register_options(body: JsonObject) -> JSONResponse:
        name = body.get("name")
        known = _text(name, "name") if name else None
        return _begun(await people.register_options(_text(body.get("token"), "token"), known))

    async def register_finish(body: JsonObject) -> JSONResponse:
        return _done(await people.register(*_answer(body)), cookie)

    async def signin_options(body: JsonObject) -> JSONResponse:
        return _begun(await people.signin_options())

    async def signin_finish(body: JsonObject) -> JSONResponse:
        return _done(await people.signin(*_answer(body)), cookie)

    steps: dict[str, tuple[_Step, frozenset[str]]] = {
        "register/options": (register_options, frozenset({"token", "name"})),
        "register/finish": (register_finish, frozenset({"ceremony", "credential"})),
        "signin/options": (signin_options, frozenset()),
        "signin/finish": (signin_finish, frozenset({"ceremony", "credential"})),
    }
    return [
        Route(f"/webauthn/{path}", _endpoint(step, members, people.origins), methods=["POST"])
        for path, (step, members) in steps.items()
    ]


_Step = Callable[[JsonObject], Awaitable[JSONResponse]]


def _endpoint(
    step: _Step, members: frozenset[str], origins: tuple[str, ...]
) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def endpoint(request: Request) -> JSONResponse:
        try:
            require_own_origin(request, origins)
            return await step(await _body(request, members))
        except Refused as refused:
            status, body = problem(refused)
            return JSONResponse(
                body, status, headers=_NO_STORE, media_type="application/problem+json"
            )

    return endpoint


async def _body(request: Request, members: frozenset[str]) -> JsonObject:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(Kind.MALFORMED, "the body must be application/json")
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY:
            raise Refused(Kind.MALFORMED, f"the body is larger than {MAX_BODY} bytes")
    body = load_object(data)
    if unknown := body.keys() - members:
        raise Refused(Kind.MALFORMED, f"unknown member `{min(unknown)[:64]!a}`")
    return body


def _answer(body: JsonObject) -> tuple[str, JsonObject]:
    credential = body.get("credential")
    if not isinstance(credential, Mapping):
        raise Refused(Kind.MALFORMED, "`credential` is a WebAuthn response")
    return _text(body.get("ceremony"), "ceremony"), credential


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise Refused(Kind.MALFORMED, f"`{name}` is a text of at most 200 characters")
    return value


def _begun(ceremony: Ceremony) -> JSONResponse:
    return JSONResponse({"ceremony": ceremony.id, "options": ceremony.options}, headers=_NO_STORE)


def _done(signed_in: SignedIn, cookie: SessionCookie) -> JSONResponse:
    person = signed_in.person
    response = JSONResponse({"person": person.id, "name": person.name}, headers=_NO_STORE)
    cookie.write(response, signed_in.cookie)
    return response
