"""AuthZEN over HTTP, for foreign enforcement points: evaluation, evaluations, search, metadata."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from actfor.authorization.model import Effect
from actfor.authorization.service import Answer, Pdp
from actfor.errors import Kind, Refused
from actfor.wire import (
    authzen,
    authzen_access,
    authzen_batch,
    authzen_binding,
    authzen_obligations,
    authzen_search,
    strict_json,
)
from actfor.wire.authzen_obligations import with_obligations
from actfor.wire.authzen_search import Sought
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.jose import SigningKey

MAX_BODY = 64 * 1024
_REQUEST_ID = authzen.REQUEST_ID.encode()
_METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")
"""What the endpoints answer, all but the first with 405: a server's other routes would say 404."""
_ANSWERED = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
Authenticate = Callable[[Request], Awaitable[str]]
"""The name of the enforcement point that sends a request; raises Refused if it proves none."""


@dataclass(frozen=True, slots=True)
class Signing:
    """What signs the metadata now, and where its public half is published."""

    key: Callable[[], SigningKey]
    jwks_uri: str


Say = Callable[[str, authzen.Evaluation, Answer], JsonObject]
"""What an enforcement point is told of its question, as JSON."""
Ask = Callable[[str, JsonValue], Awaitable[JsonObject]]
"""An answer to what an enforcement point sent, as JSON."""


def authzen_routes(
    pdp: Pdp,
    *,
    authenticate_pep: Authenticate,
    base_url: str,
    offers: Callable[[], datetime] | None = None,
    signing: Signing | None = None,
) -> list[Route]:
    """The endpoints and the metadata. ``base_url`` is the public address of this PDP.

    With ``offers`` (the clock), a denial that a person can turn says so: access requests are served
    beside these routes. With ``signing`` the metadata is signed, and what binds a request to its
    denial.
    """
    base = base_url.rstrip("/")
    offered: dict[str, JsonValue] = {
        "access_evaluations_endpoint": base + authzen_batch.EVALUATIONS_PATH,
        **authzen_search.endpoints(base),
        **authzen_obligations.metadata(),
        **({} if offers is None else authzen_access.metadata(base)),
    }
    say = partial(_answered, None if offers is None else _Offers(base, offers, signing))
    if signing is not None:
        offered["jwks_uri"] = signing.jwks_uri
    document = _Metadata(authzen.metadata(base_url, offered), signing)

    async def configuration(request: Request) -> Response:
        return Response(document.now(), media_type="application/json", headers=_echo(request))

    asks: dict[str, Ask] = {
        authzen.EVALUATION_PATH: partial(_evaluation, pdp, say),
        authzen_batch.EVALUATIONS_PATH: partial(_evaluations, pdp, say),
        **{
            f"{authzen_search.SEARCH_PATH}/{sought}": partial(_search, pdp, sought)
            for sought in Sought
        },
    }
    return [
        *(
            Route(path, _Endpoint(ask, authenticate_pep), methods=_METHODS)
            for path, ask in asks.items()
        ),
        Route(authzen.metadata_path(base_url), configuration, methods=["GET"]),
    ]


class _Metadata:
    """The metadata's text, signed again when another key signs."""

    def __init__(self, document: JsonObject, signing: Signing | None) -> None:
        self._document = document
        self._signing = signing
        self._kid = ""
        self._text: bytes = orjson.dumps(document)

    def now(self) -> bytes:
        if self._signing is not None and (key := self._signing.key()).kid != self._kid:
            signed = authzen.sign_metadata(self._document, key)
            self._text = orjson.dumps({**self._document, "signed_metadata": signed})
            self._kid = key.kid
        return self._text


async def _evaluation(pdp: Pdp, say: Say, pep: str, document: JsonValue) -> JsonObject:
    asked = authzen.parse_evaluation(document)
    return say(pep, asked, await pdp.evaluate(pep, asked))


async def _evaluations(pdp: Pdp, say: Say, pep: str, document: JsonValue) -> JsonObject:
    asked = authzen_batch.parse_evaluations(document)
    if isinstance(asked, authzen.Evaluation):
        return say(pep, asked, await pdp.evaluate(pep, asked))
    answers = await pdp.evaluate_all(pep, asked)
    # A semantic may leave out the last ones; what is answered stands in its place.
    return authzen_batch.batch_response(
        [_said(say, pep, *each) for each in zip(asked.items, answers, strict=False)]
    )


def _said(
    say: Say, pep: str, item: authzen.Evaluation | Refused, answer: Answer | Refused
) -> JsonObject | Refused:
    if isinstance(answer, Refused):
        return answer
    return item if isinstance(item, Refused) else say(pep, item, answer)


async def _search(pdp: Pdp, sought: Sought, pep: str, document: JsonValue) -> JsonObject:
    query = authzen_search.parse_search(sought, document)
    return authzen_search.search_response(query, await pdp.search(pep, query))


@dataclass(frozen=True, slots=True)
class _Offers:
    """Says of a denial that a person may be asked, with a token that binds the request to it."""

    base: str
    clock: Callable[[], datetime]
    signing: Signing | None

    def to(
        self, pep: str, asked: authzen.Evaluation, answer: Answer, body: JsonObject
    ) -> JsonObject:
        """The denial with its offer."""
        now, token = self.clock(), None
        if self.signing is not None:
            token = authzen_binding.bind(
                asked,
                denial=answer.id,
                pep=pep,
                issuer=self.base,
                audience=self.base + authzen_access.PATH,
                now=now,
                until=now + authzen_access.DENIAL_LIFE,
                key=self.signing.key(),
            )
        return authzen_access.offer(
            body, self.base, now, template=answer.template, binding_token=token
        )


def _answered(
    offers: _Offers | None, pep: str, asked: authzen.Evaluation, answer: Answer
) -> JsonObject:
    decision = answer.decision
    body: JsonObject = authzen.response(
        decision=decision.permitted,
        id_=answer.id,
        reasons=decision.reasons,
        policies=decision.policies,
        policy_version=decision.version,
        step_up=decision.effect is Effect.STEP_UP,
        ignored=answer.ignored,
    )
    body = with_obligations(body, answer.obligations)
    if offers is None:
        return body
    asks = bool(answer.template) and decision.effect is Effect.STEP_UP
    if (why := answer.unapproved) is not None:
        # ARAP: `request` stands beside an `access_request` or not at all.
        following = why.next_action if asks or why.next_action != "request" else "none"
        body = authzen_access.unapproved(body, why.reason, following, why.retry_after)
    return offers.to(pep, asked, answer, body) if asks else body


class _Endpoint:
    """One question and its answer. A bare ASGI application: this is a hot path."""

    def __init__(self, ask: Ask, authenticate: Authenticate) -> None:
        self._ask = ask
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a refused message with its status, a denial with 200."""
        headers = dict(scope["headers"])
        if scope["method"] != "POST":
            use = {"allow": "POST", **_echo(Request(scope))}
            await PlainTextResponse("use POST", 405, headers=use)(scope, receive, send)
            return
        try:
            body = await self._answer(Request(scope, receive), headers, receive)
        except Refused as refused:
            response = _refusal(refused)
            response.headers.update(_echo(Request(scope)))
            await response(scope, receive, send)
            return
        except ClientDisconnect:
            return
        answered = [*_ANSWERED, (b"content-length", b"%d" % len(body))]
        if (given := headers.get(_REQUEST_ID)) is not None:
            # AuthZEN "Request Identification in a Response": the same identifier, whatever it is.
            answered.append((_REQUEST_ID, given))
        await send({"type": "http.response.start", "status": 200, "headers": answered})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, request: Request, headers: Mapping[bytes, bytes], receive: Receive
    ) -> bytes:
        # 1. Who asks: before a byte of the body is read.
        pep = await self._authenticate(request)
        # 2. What they ask.
        if not authzen.is_json(headers.get(b"content-type", b"").decode("latin-1")):
            raise Refused(Kind.MALFORMED, "the content type must be application/json")
        document = strict_json.loads(await _body(receive))
        # 3. Decide and record. 4. Answer; AuthZEN §6.2: a denial is a 200.
        told: bytes = orjson.dumps(await self._ask(pep, document))
        return told


async def _body(receive: Receive) -> bytes:
    """The whole body; usually it comes in one piece."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MAX_BODY:
            raise Refused(Kind.MALFORMED, f"the body is larger than {MAX_BODY} bytes")
        if not message.get("more_body"):
            return body


def _refusal(refused: Refused) -> Response:
    """AuthZEN "Error Responses": a status, and a message string as body."""
    headers = {"cache-control": "no-store"}
    status = authzen.STATUS[refused.kind]
    if status == 401:
        # RFC 9449 §7.1: every token we issue is bound, so none is taken as Bearer.
        headers["www-authenticate"] = 'DPoP realm="authzen", algs="ES256"'
    if refused.kind is Kind.BUSY:
        headers["retry-after"] = "1"
    return PlainTextResponse(refused.detail, status, headers=headers)


def _echo(request: Request) -> Mapping[str, str]:
    # AuthZEN "Request Identification in a Response": the same identifier, whatever it is.
    given = request.headers.get(authzen.REQUEST_ID)
    return {} if given is None else {authzen.REQUEST_ID: given}
