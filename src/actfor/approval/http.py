"""Approvals over HTTP: the passkey step of the page, and ``/v1/approvals`` for the command line.

A yes exists on one path only, ``POST /approvals/{id}/answer`` with a passkey assertion from a
signed-in browser. The management API can look and say no.
"""

# No `annotations` future here: FastAPI reads the local dependency aliases at run time.

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from actfor.approval.model import Answer, Approval
from actfor.approval.service import ApprovalService
from actfor.errors import Kind, Refused
from actfor.identity import Person
from actfor.wire import strict_json
from actfor.wire.canonical import JsonObject
from actfor.wire.problem import problem
from actfor.wire.timestamps import rfc3339

MAX_BODY = 64 * 1024
MAX_ENDORSED = 64
NO_STORE = {"cache-control": "no-store"}
Acting = Callable[[Request], Awaitable[Person]]
"""Who a browser's JSON request is from; has checked the origin and the CSRF token."""


def browser_routes(approvals: ApprovalService, acting: Acting) -> list[Route]:
    """What the approval page's script calls."""

    async def options(request: Request) -> JSONResponse:
        person = await acting(request)
        endorse = _endorse(await _body(request, least=b"{}"), {"endorse"})
        asked = await approvals.options(person, request.path_params["id"], endorse=endorse)
        return JSONResponse(asked, headers=NO_STORE)

    async def answer(request: Request) -> JSONResponse:
        person = await acting(request)
        body = await _body(request)
        decision, assertion, reason = _answer(body)
        given = await approvals.answer(
            person,
            request.path_params["id"],
            decision,
            assertion,
            reason,
            endorse=_endorse(body, _ANSWER),
        )
        return JSONResponse({"id": given.id, "state": given.state.value}, headers=NO_STORE)

    return [
        Route("/approvals/{id}/options", _refusable(options), methods=["POST"]),
        Route("/approvals/{id}/answer", _refusable(answer), methods=["POST"]),
    ]


async def _body(request: Request, *, least: bytes = b"") -> JsonObject:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise Refused(Kind.MALFORMED, f"the body is larger than {MAX_BODY} bytes")
    return strict_json.load_object(body or least)


_ANSWER = {"decision", "assertion", "reason", "endorse"}


def _endorse(body: JsonObject, known: set[str]) -> tuple[str, ...]:
    """The pointers of values to be endorsed, sorted and each once."""
    if unknown := body.keys() - known:
        raise Refused(Kind.MALFORMED, f"unknown member `{min(unknown)[:64]}`")
    named = body.get("endorse", [])
    if not isinstance(named, list | tuple) or len(named) > MAX_ENDORSED:
        raise Refused(Kind.MALFORMED, f"`endorse` is a list of at most {MAX_ENDORSED} pointers")
    if not all(isinstance(pointer, str) for pointer in named):
        raise Refused(Kind.MALFORMED, "`endorse` is a list of pointers")
    return tuple(sorted({str(pointer) for pointer in named}))


def _answer(body: JsonObject) -> tuple[Answer, JsonObject | None, str | None]:
    said, assertion, reason = body.get("decision"), body.get("assertion"), body.get("reason")
    if not isinstance(said, str) or said not in {answer.value for answer in Answer}:
        raise Refused(Kind.MALFORMED, "`decision` is `approve` or `deny`")
    if assertion is not None and not isinstance(assertion, Mapping):
        raise Refused(Kind.MALFORMED, "`assertion` is a WebAuthn response")
    if reason is not None and not isinstance(reason, str):
        raise Refused(Kind.MALFORMED, "`reason` is text")
    return Answer(said), assertion, reason


def _refusable(
    endpoint: Callable[[Request], Awaitable[JSONResponse]],
) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def answered(request: Request) -> JSONResponse:
        try:
            return await endpoint(request)
        except Refused as refused:
            status, body = problem(refused)
            return JSONResponse(
                body, status, headers=NO_STORE, media_type="application/problem+json"
            )

    return answered


class Denial(BaseModel):
    """Why; kept in the log."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field("", max_length=300)


def router(
    approvals: ApprovalService, current_person: Callable[..., Awaitable[Person]]
) -> APIRouter:
    """``/v1/approvals``; refusals leave as ``Refused`` for the application's handler."""
    routes = APIRouter(prefix="/v1/approvals", tags=["approvals"])
    Who = Annotated[Person, Depends(current_person)]  # noqa: N806 - a type

    @routes.get("")
    async def list_approvals(person: Who, limit: int = 50) -> dict[str, object]:
        """Waiting calls (oldest first), then settled ones (newest first)."""
        found = await approvals.inbox(person, limit=max(1, min(limit, 200)))
        both = (*found.waiting, *found.settled)
        return {"approvals": [_summary(approvals, one) for one in both]}

    @routes.get("/{approval_id}")
    async def show(approval_id: str, person: Who) -> dict[str, object]:
        """Exactly what would be executed, and where to answer."""
        return _whole(approvals, await approvals.show(person, approval_id))

    @routes.post("/{approval_id}/deny")
    async def deny(approval_id: str, body: Denial, person: Who) -> dict[str, object]:
        """Say no. There is no such path to a yes: that takes a passkey, in the console."""
        said = await approvals.answer(person, approval_id, Answer.DENY, reason=body.reason or None)
        return _whole(approvals, said)

    return routes


def _summary(approvals: ApprovalService, one: Approval) -> dict[str, object]:
    return {
        "id": one.id,
        "state": one.state.value,
        "agent": one.call.agent,
        "person": one.call.person_id,
        "mandate": one.call.mandate_id,
        "server": one.call.server,
        "tool": one.call.tool,
        "effect": one.call.effect,
        "created_at": rfc3339(one.created_at),
        "expires_at": rfc3339(one.expires_at),
        "url": approvals.url(one.id),
    }


def _whole(approvals: ApprovalService, one: Approval) -> dict[str, object]:
    return {
        **_summary(approvals, one),
        "call": one.call.to_json(),
        "digest": one.digest,
        "reasons": list(one.reasons),
        "origins": [origin.to_json() for origin in one.origins],
        "endorsed": list(one.endorsed),
        "agent_says_unchecked": one.agent_text,
        "four_eyes": one.four_eyes,
        "trace": one.trace,
        "approver": one.approver,
        "answered_at": None if one.answered_at is None else rfc3339(one.answered_at),
        "reason": one.reason,
        "assertion": one.assertion,
    }
