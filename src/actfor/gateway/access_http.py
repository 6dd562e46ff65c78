"""AuthZEN access requests over HTTP: the endpoint, and the tasks below it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.approval import Approval, State
from actfor.authorization.http import MAX_BODY, Authenticate
from actfor.errors import Kind, Refused
from actfor.gateway.access_requests import AccessRequests
from actfor.wire import authzen, authzen_access, strict_json
from actfor.wire.authzen_access import ProblemType
from actfor.wire.canonical import JsonObject, JsonValue


def access_request_routes(
    service: AccessRequests,
    *,
    authenticate_pep: Authenticate,
    base_url: str,
    ticket: Callable[[str], str],
) -> list[Route]:
    """The endpoint and the tasks below it. ``ticket`` is where a person answers one."""
    base = base_url.rstrip("/")

    def told(approval: Approval, status: int) -> Response:
        body = {
            "task": _task(
                approval, f"{base}{authzen_access.PATH}/{approval.id}", ticket(approval.id)
            )
        }
        if approval.state is State.APPROVED:
            body["result"] = _result(approval)
        return _json(body, status)

    async def submit(request: Request) -> Response:
        pep = await authenticate_pep(request)
        if not authzen.is_json(request.headers.get("content-type")):
            raise Refused(Kind.MALFORMED, "the content type must be application/json")
        key = request.headers.get("idempotency-key")
        made = await service.submit(pep, strict_json.loads(await _body(request)), key)
        if not isinstance(made, Approval):
            return _problem(*made)
        answer = told(made, 202 if made.state is State.PENDING else 201)
        answer.headers["location"] = f"{base}{authzen_access.PATH}/{made.id}"
        return answer

    async def status(request: Request) -> Response:
        pep = await authenticate_pep(request)
        found = await service.status(pep, request.path_params["task"])
        return told(found, 200) if isinstance(found, Approval) else _problem(*found)

    async def cancel(request: Request) -> Response:
        pep, body = await authenticate_pep(request), await _body(request)
        if body and not authzen.is_json(request.headers.get("content-type")):
            raise Refused(Kind.MALFORMED, "the content type must be application/json")
        why = authzen_access.parse_cancel(strict_json.loads(body or b"{}"))
        ended = await service.cancel(pep, request.path_params["task"], why)
        return told(ended, 200) if isinstance(ended, Approval) else _problem(*ended)

    return [
        Route(authzen_access.PATH, _answering(submit), methods=["POST"]),
        # The profile: POST, and DELETE as an equivalent request.
        Route(authzen_access.CANCEL_PATH, _answering(cancel), methods=["POST", "DELETE"]),
        Route(authzen_access.PATH + "/{task}", _answering(status), methods=["GET"]),
    ]


def _task(approval: Approval, endpoint: str, ticket: str) -> JsonObject:
    # What was spent is over: nobody may use it again.
    state = State.EXPIRED if approval.state is State.CONSUMED else approval.state
    return authzen_access.task(
        id_=approval.id,
        status=state.value,
        status_endpoint=endpoint,
        ticket=ticket,
        expires_at=approval.expires_at,
    )


def _result(approval: Approval) -> JsonObject:
    return authzen_access.approved(approval.id, approval.answered_at, approval.expires_at)


def _answering(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            response = await handler(request)
        except Refused as refused:
            response = _problem(None, refused.detail, authzen.STATUS[refused.kind])
        if (given := request.headers.get(authzen.REQUEST_ID)) is not None:
            response.headers[authzen.REQUEST_ID] = given
        return response

    return answer


def _problem(type_: ProblemType | None, detail: str, status: int | None = None) -> Response:
    made = authzen_access.problem(type_, detail, status)
    answer = _json(made, int(str(made["status"])))
    answer.headers["content-type"] = "application/problem+json"
    return answer


def _json(body: Mapping[str, JsonValue], status: int) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise Refused(Kind.MALFORMED, f"the body is larger than {MAX_BODY} bytes")
    return body
