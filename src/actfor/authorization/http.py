"""AuthZEN over HTTP for foreign enforcement points, and ``/v1/policies`` for operators."""

# Annotations are evaluated here: FastAPI reads them, and they name dependencies given at run time.
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from actfor.authorization.model import Effect, to_request
from actfor.authorization.model.publication import Publication
from actfor.authorization.model.scenarios import read_facts
from actfor.authorization.model.source import MAX_BYTES
from actfor.authorization.service import AuthorizationService, Gather
from actfor.errors import Kind, Refused
from actfor.wire import authzen, strict_json
from actfor.wire.timestamps import rfc3339

MAX_BODY = 64 * 1024
Authenticate = Callable[[Request], Awaitable[str]]
"""The name of the enforcement point that sends a request; raises Refused if it proves none."""
PersonId = Callable[..., Awaitable[str]]
"""A FastAPI dependency: the id of the person who asks; refuses those who may not."""


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


class SourceBody(BaseModel):
    """A policy text; with ``replaces``, only if that version is in force."""

    model_config = ConfigDict(extra="forbid")
    source: str = Field(max_length=MAX_BYTES)
    replaces: str | None = Field(default=None, max_length=64)


class QuestionBody(BaseModel):
    """Facts of a call that nobody makes, by the names of ``CallFacts``."""

    model_config = ConfigDict(extra="forbid")
    facts: dict[str, bool | int | str | None]


class VersionView(BaseModel):
    """One publication. ``author`` is a person's id, or ``system``."""

    version: str
    published_at: str
    author: str
    cause: str
    active: bool


class VersionsView(BaseModel):
    """Publications, newest first."""

    versions: list[VersionView]


class PolicyView(VersionView):
    """A publication and its text."""

    source: str


class SchemaView(BaseModel):
    """The Cedar schema."""

    schema_: str = Field(serialization_alias="schema")


class ProblemView(BaseModel):
    """One thing wrong with a policy text; ``line`` 0 is the text as a whole."""

    line: int
    policy: str
    message: str


class ProblemsView(BaseModel):
    """Everything that is wrong; nothing means that the text may be published."""

    problems: list[ProblemView]


class AnswerView(BaseModel):
    """What one policy by itself says."""

    id: str
    effect: str
    satisfied: bool
    error: str | None
    reason: str


class ExplanationView(BaseModel):
    """A decision and how it came about."""

    decision: str
    determining: list[str]
    reasons: list[str]
    errors: list[str]
    policy_version: str
    policies: list[AnswerView]


def policies_router(
    service: AuthorizationService, *, reader: PersonId, admin: PersonId
) -> APIRouter:
    """``/v1/policies``. Refusals are left to the application's handler."""
    router = APIRouter(prefix="/v1/policies", tags=["policies"])
    reads = [Depends(reader)]

    async def shown(version: str | None = None) -> PolicyView:
        made, source = await service.published(version)
        in_force = service.snapshot is not None and service.snapshot.version == made.version
        return PolicyView(**_version(made, active=in_force).model_dump(), source=source)

    @router.get("", dependencies=reads)
    async def versions() -> VersionsView:
        """The published versions, newest first; the first is in force."""
        made = await service.history()
        return VersionsView(
            versions=[_version(each, active=index == 0) for index, each in enumerate(made)]
        )

    @router.get("/current", dependencies=reads)
    async def current() -> PolicyView:
        """The policies in force."""
        return await shown()

    @router.get("/schema", dependencies=reads)
    async def schema() -> SchemaView:
        """The schema that policies are checked against."""
        return SchemaView(schema_=service.schema.text)

    @router.get("/versions/{version}", dependencies=reads)
    async def one(version: str) -> PolicyView:
        """The policies of one version; publishing their source again rolls back to it."""
        return await shown(version)

    @router.post("", status_code=201)
    async def publish(body: SourceBody, author: Annotated[str, Depends(admin)]) -> VersionView:
        """Check a policy text and put it in force."""
        made = await service.publish(author, body.source, replaces=body.replaces)
        return _version(made, active=True)

    @router.post("/check", dependencies=reads)
    async def check(body: SourceBody) -> ProblemsView:
        """What is wrong with a policy text."""
        found = await service.check(body.source)
        return ProblemsView(problems=[ProblemView(**asdict(problem)) for problem in found])

    @router.post("/explain", dependencies=reads)
    async def explain(body: QuestionBody) -> ExplanationView:
        """What would be decided about a call with these facts, and by which policies."""
        explained = service.explain(to_request(read_facts(body.facts)))
        decision = explained.decision
        return ExplanationView(
            decision=decision.effect.value,
            determining=list(decision.policies),
            reasons=list(decision.reasons),
            errors=list(decision.errors),
            policy_version=decision.version,
            policies=[AnswerView(**asdict(answer)) for answer in explained.policies],
        )

    return router


def _version(made: Publication, *, active: bool) -> VersionView:
    return VersionView(
        version=made.version,
        published_at=rfc3339(made.published_at),
        author=made.author,
        cause=made.cause,
        active=active,
    )
