"""AuthZEN over HTTP, for foreign enforcement points."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from actfor.authorization.model import Effect
from actfor.authorization.service import AuthorizationService, Gather
from actfor.errors import Kind, Refused
from actfor.wire import authzen, strict_json

MAX_BODY = 64 * 1024
Authenticate = Callable[[Request], Awaitable[str]]
"""The name of the enforcement point that sends a request; raises Refused if it proves none."""


def authzen_routes(
    service: AuthorizationService,
    *,
    authenticate_pep: Authenticate,
    base_url: str,
    gather: Gather | None = None,
) -> list[Route]:
    """The evaluation endpoint and the metadata. ``base_url`` is this server's public origin."""
    document = orjson.dumps(authzen.metadata(base_url))

    async def configuration(request: Request) -> Response:
        return Response(document, media_type="application/json", headers=_echo(request))

    endpoint = _EvaluationEndpoint(service, authenticate_pep, gather)
    return [
        Route(authzen.EVALUATION_PATH, endpoint, methods=["POST"]),
        Route(authzen.METADATA_PATH, configuration, methods=["GET"]),
    ]


class _EvaluationEndpoint:
    """One evaluation. A bare ASGI application: this is a hot path."""

    def __init__(
        self, service: AuthorizationService, authenticate: Authenticate, gather: Gather | None
    ) -> None:
        self._service = service
        self._authenticate = authenticate
        self._gather = gather

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except Refused as refused:
            response = _refusal(refused)
        except ClientDisconnect:
            return
        response.headers.update(_echo(request))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        # 1. Who asks: before a byte of the body is read.
        pep = await self._authenticate(request)
        # 2. What they ask.
        if not authzen.is_json(request.headers.get("content-type")):
            raise Refused(Kind.MALFORMED, "the content type must be application/json")
        evaluation = authzen.parse_evaluation(strict_json.loads(await _body(request)))
        # 3. Decide and record.
        answer = await self._service.evaluate(pep, evaluation, self._gather)
        decision = answer.decision
        # 4. Answer; AuthZEN §6.2: a denial is a 200.
        body = authzen.response(
            decision=decision.permitted,
            id_=answer.id,
            reasons=decision.reasons,
            policies=decision.policies,
            policy_version=decision.version,
            step_up=decision.effect is Effect.STEP_UP,
            ignored=answer.ignored,
        )
        headers = {"cache-control": "no-store"}
        return Response(orjson.dumps(body), media_type="application/json", headers=headers)


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise Refused(Kind.MALFORMED, f"the body is larger than {MAX_BODY} bytes")
        parts.append(part)
    return b"".join(parts)


def _refusal(refused: Refused) -> Response:
    """AuthZEN "Error Responses": a status, and a message string as body."""
    headers = {"cache-control": "no-store"}
    status = authzen.STATUS[refused.kind]
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="authzen"'  # RFC 9110 §11.6.1
    if refused.kind is Kind.BUSY:
        headers["retry-after"] = "1"
    return PlainTextResponse(refused.detail, status, headers=headers)


def _echo(request: Request) -> Mapping[str, str]:
    # AuthZEN "Request Identification in a Response": the same identifier, whatever it is.
    given = request.headers.get(authzen.REQUEST_ID)
    return {} if given is None else {authzen.REQUEST_ID: given}
