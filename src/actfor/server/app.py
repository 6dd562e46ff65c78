"""The ASGI application: every room's routes under one edge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp

from actfor import __version__, console
from actfor.approval.http import router as approvals_router
from actfor.audit import http as audit_http
from actfor.audit.export import http as export_http
from actfor.authorization.http import (
    Signing,
    authzen_paths,
    authzen_routes,
    changes_router,
    policies_router,
    rehearsal_router,
    trials_router,
)
from actfor.delegation.http import delegation_routes, jwks_uri, mandates_router
from actfor.delegation.http_rehearsal import mandate_rehearsal_router
from actfor.delegation.service.rehearsal import MandateRehearsal
from actfor.errors import Kind, Refused
from actfor.gateway.access_http import access_request_routes
from actfor.gateway.http import proposals_router, servers_router
from actfor.gateway.mcp import McpFront
from actfor.identity import Person, Role
from actfor.identity.http import (
    CurrentPerson,
    SessionCookie,
    agents_router,
    current_person,
    people_router,
    webauthn_routes,
)
from actfor.keys import Purpose
from actfor.keys.http import keys_router
from actfor.server import health
from actfor.server.edge import Edge, Hot, Later
from actfor.server.privacy import privacy_router
from actfor.wire.problem import PROBLEM_TYPE, problem

if TYPE_CHECKING:
    from actfor.server.wiring import Services

PROBLEM_JSON = "application/problem+json"
_READY_SECONDS = 2.0


def asgi(services: Services) -> ASGIApp:
    """Everything that is served, hot paths first."""
    settings = services.settings
    cookie = SessionCookie.for_url(settings.public_url)

    async def with_token(request: Request) -> Person:
        return await services.delegation.authenticate_person(
            request.headers.get("authorization", ""),
            proof=request.headers.get("dpop"),
            method=request.method,
            url=settings.public_url + request.scope["path"],
        )

    person = current_person(services.people, cookie, with_token)
    front = McpFront(
        services.enforcer,
        services.gateway,
        settings.public_url,
        services.clock,
        hosts=hosts(services),
    )
    pep = _pep(with_token)
    decisions = authzen_routes(
        services.pdp,
        authenticate_pep=pep,
        base_url=settings.public_url,
        offers=services.clock,
        signing=Signing(
            # No other purpose: this is the issuer's word, like a token, by the keys of the issuer.
            lambda: services.keys.signers(Purpose.ACCESS_TOKEN)[0],
            jwks_uri(settings.public_url),
        ),
    )
    requests = access_request_routes(
        services.access_requests,
        authenticate_pep=pep,
        base_url=settings.public_url,
        ticket=services.approvals.url,
    )
    tokens = delegation_routes(services.delegation)
    routes: list[BaseRoute] = [
        *front.routes,
        *tokens,
        *decisions,
        *requests,
        *webauthn_routes(services.people, cookie),
        *audit_http.log_routes(services.audit),
        *health.routes(services.metrics, _checks(services)),
        *console.routes(
            console.Services(
                people=services.people,
                agents=services.agents,
                delegation=services.delegation,
                approvals=services.approvals,
                audit=services.audit,
                catalog=services.catalog,
                proposals=services.proposals,
                policies=console.Policies(
                    services.authorization,
                    services.policy_changes,
                    services.rehearsal,
                    services.trials,
                ),
                issuer=settings.public_url,
                clock=services.clock,
            )
        ),
        # Its eighty routes are a good part of a start; who only decides needs none of them.
        Mount("/", Later(lambda: management(services, person))),
    ]
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    hot = {
        ("POST", route.path): route.app
        for route in (*decisions, *tokens)
        if "POST" in (route.methods or ())
    }
    return Edge(
        Hot(app, hot, {"/mcp": ("server", front)}),
        hosts=hosts(services),
        metrics=services.metrics,
        check_fresh=services.database.feed.check_fresh,
    )


def management(services: Services, person: CurrentPerson) -> FastAPI:
    """``/v1`` and its OpenAPI document at ``/v1/openapi.json``."""
    api = _Api(
        title="actfor",
        version=__version__,
        summary="Agents, mandates, approvals, policies and the log.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # the stock page loads scripts from another host
        redoc_url=None,
        exception_handlers=HANDLERS,
    )
    admin = _with_role(person, Role.ADMIN)
    for router in (
        people_router(services.people, person, public_url=services.settings.public_url),
        agents_router(services.agents, services.people, person),
        mandates_router(services.delegation, person),
        mandate_rehearsal_router(
            services.delegation, MandateRehearsal(services.audit, services.clock), person
        ),
        proposals_router(services.proposals, person),
        approvals_router(services.approvals, person),
        servers_router(services.catalog, reader=person, admin=admin),
        keys_router(services.keys, _id(admin)),
        privacy_router(services.erasure, admin),
        policies_router(services.authorization, reader=_id(person)),
        changes_router(
            services.policy_changes,
            reader=_id(person),
            admin=_id(admin),
            signer=_id(_in_session(admin)),
        ),
        rehearsal_router(
            services.rehearsal,
            reader=_id(person),
            auditor=_id(_with_role(person, Role.ADMIN, Role.APPROVER)),
        ),
        trials_router(
            services.trials,
            admin=_id(admin),
            auditor=_id(_with_role(person, Role.ADMIN, Role.APPROVER)),
        ),
        audit_http.router(
            services.audit, _with_role(person, Role.ADMIN, Role.APPROVER), admin=admin
        ),
        export_http.router(services.audit, services.exporter, admin),
        _about(services, person),
    ):
        api.include_router(router)
    return api


class _Api(FastAPI):
    """With the AuthZEN endpoints in its document, which are served beside it."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            super().openapi()["paths"] |= authzen_paths()  # it keeps what it made
        return super().openapi()


def hosts(services: Services) -> set[str]:
    """The Host headers we answer to: the public one, and in ``dev`` every name of loopback."""
    settings = services.settings
    public = urlsplit(settings.public_url).netloc.lower()
    if settings.mode == "serve":
        return {public, f"{settings.host}:{settings.port}"}
    return {public, *(f"{name}:{settings.port}" for name in ("localhost", "127.0.0.1", "[::1]"))}


def _about(services: Services, person: CurrentPerson) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["server"])

    @routes.get("/server", dependencies=[Depends(person)])
    async def server() -> dict[str, Any]:
        """Where this server is, for tools on the same machine."""
        return {
            "version": __version__,
            "issuer": services.settings.public_url,
            "trust_domain": services.settings.domain,
            "attest_socket": str(services.attestation.path),
        }

    return routes


def _with_role(person: CurrentPerson, *roles: Role) -> CurrentPerson:
    async def dependency(request: Request) -> Person:
        found = await person(request)
        if not found.roles.intersection(roles):
            found.require(roles[0])
        return found

    return dependency


def _in_session(person: CurrentPerson) -> CurrentPerson:
    """What takes a passkey: a session that was signed in with one, never a command line's token."""

    async def dependency(request: Request) -> Person:
        if "authorization" in request.headers:
            raise Refused(Kind.STEP_UP_REQUIRED, "this takes a passkey: do it in the console")
        return await person(request)

    return dependency


def _id(person: CurrentPerson) -> Callable[[Request], Awaitable[str]]:
    async def dependency(request: Request) -> str:
        return (await person(request)).id

    return dependency


def _pep(with_token: CurrentPerson) -> Callable[[Request], Awaitable[str]]:
    """AuthZEN callers prove themselves with an admin's token, bound by DPoP."""

    async def authenticate(request: Request) -> str:
        found = await with_token(request)
        found.require(Role.ADMIN)
        return found.id

    return authenticate


def _checks(services: Services) -> dict[str, health.Check]:
    async def policies() -> str | None:
        authorization = services.authorization
        return None if authorization.ready else authorization.fault or "no policy is published"

    async def store() -> str | None:
        try:
            await services.people.has_operator()
        except Refused as refused:
            return refused.detail
        return None

    async def node() -> str | None:
        try:
            services.database.feed.check_fresh()
        except Refused as refused:
            return refused.detail
        return None

    async def log() -> str | None:
        if services.witnessing.misfit is not None:
            return services.witnessing.misfit
        return None if await services.audit.latest_checkpoint() else "no checkpoint is signed"

    return {"policies": policies, "store": store, "node": node, "log": log}


async def refused_response(request: Request, error: Exception) -> Response:
    """A refusal as problem details (RFC 9457)."""
    assert isinstance(error, Refused)  # noqa: S101 - registered for this type only
    status, body = problem(error)
    headers = {"cache-control": "no-store"}
    if error.kind is Kind.BUSY:
        headers["retry-after"] = "1"
    return JSONResponse(body, status, headers=headers, media_type=PROBLEM_JSON)


async def invalid_response(request: Request, error: Exception) -> Response:
    """A body or query that does not fit: the first field that is wrong, and why."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    detail = f"`{where[:100]}`: {str(first['msg']).lower()}"
    return await refused_response(request, Refused(Kind.MALFORMED, detail))


async def http_response(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    kind = "not-found" if error.status_code == 404 else "malformed"
    body = {"type": PROBLEM_TYPE + kind, "title": error.detail.lower(), "status": error.status_code}
    return JSONResponse(body, error.status_code, headers=error.headers, media_type=PROBLEM_JSON)


async def failed_response(request: Request, error: Exception) -> Response:
    """What nobody expected: says nothing but the request's id. The edge logs it."""
    body = {"type": "about:blank", "title": "internal error", "status": 500}
    body["request_id"] = request.scope["request_id"]
    return JSONResponse(body, 500, media_type=PROBLEM_JSON)


HANDLERS: Any = {  # Any: the framework's own annotation is narrower than what it calls
    Refused: refused_response,
    RequestValidationError: invalid_response,
    HTTPException: http_response,
    Exception: failed_response,
}
