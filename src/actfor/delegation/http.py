"""The authorization server over HTTP, and ``/v1/mandates``.

    POST /token                                     RFC 8693 exchange, RFC 8628 device grant
    POST /device_authorization                      RFC 8628 §3.1
    POST /mandate_request                           an agent's wish, for people to look at (ours)
    POST /mandate_request/{id}                      what became of it, for that agent (ours)
    GET  /.well-known/oauth-authorization-server    RFC 8414
    GET  /.well-known/jwks.json                     RFC 7517

Forms are read strictly: one content type, UTF-8, each parameter once, exactly one DPoP header.
The URL of a DPoP proof is the configured one, never what a header says we are called.
"""

# No `annotations` future here: FastAPI reads the local dependency aliases at run time.

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actfor.delegation.model import (
    Endorsement,
    IssuedGrant,
    Mandate,
    MandateDraft,
    Wish,
    WishAnswer,
)
from actfor.delegation.service import DelegationService
from actfor.delegation.templates import Template
from actfor.errors import Kind, Refused
from actfor.identity import Person, Role
from actfor.wire import strict_json, token_exchange
from actfor.wire.canonical import JsonValue
from actfor.wire.dpop import INVALID_PROOF, DpopProof, verify_proof
from actfor.wire.jose import ALGORITHM
from actfor.wire.problem import oauth_error
from actfor.wire.rar import (
    DETAIL_TYPE,
    Money,
    authority_from_draft,
    draft_of,
    explain,
    to_authorization_details,
)
from actfor.wire.timestamps import rfc3339
from actfor.wire.token_exchange import parameters

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
CLI_CLIENT = "actfor-cli"
MAX_FORM = 64 * 1024
_MAX_FIELDS = 64
# RFC 6749 §5.1: what holds a token is never stored on the way.
NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}

Endpoint = Callable[[Request], Awaitable[dict[str, JsonValue]]]
CurrentPerson = Callable[[Request], Awaitable[Person]]


def delegation_routes(delegation: DelegationService) -> list[Route]:
    """The OAuth endpoints."""

    async def token(request: Request) -> dict[str, JsonValue]:
        form = await _form(request)
        if [value for name, value in form if name == "grant_type"] == [DEVICE_GRANT]:
            code = _device_code(form)
            proof = _proof(request, delegation, "/token")
            return (await delegation.poll_device(code, proof)).to_json()
        asked = token_exchange.parse(form)
        proof = _proof(request, delegation, "/token")
        if asked.requested_actor is not None:
            return (await delegation.pass_on(asked, proof)).to_json()
        return (await delegation.exchange(asked, proof)).to_json()

    async def device(request: Request) -> dict[str, JsonValue]:
        params = parameters(await _form(request))
        _require_cli(params.get("client_id"))
        if params.get("scope", "manage") != "manage":
            raise Refused(Kind.MALFORMED, "the only scope is `manage`", code="invalid_scope")
        proof = None
        if "dpop" in request.headers:
            proof = _proof(request, delegation, "/device_authorization")
        return (await delegation.start_device(proof)).to_json()

    async def wish(request: Request) -> dict[str, JsonValue]:
        params = parameters(await _form(request))
        token, details = params.get("actor_token"), params.get("authorization_details")
        if token is None or details is None:
            raise _malformed("`actor_token` and `authorization_details` are required")
        proof = _proof(request, delegation, "/mandate_request")
        wanted = strict_json.loads(details.encode())
        kept = await delegation.wish(
            token, proof, wanted, params.get("says"), subject_token=params.get("subject_token")
        )
        return {"id": kept.id, "expires_at": rfc3339(kept.expires_at)}

    async def answer(request: Request) -> dict[str, JsonValue]:
        wish_id = request.path_params["wish"]
        token = parameters(await _form(request)).get("actor_token")
        if token is None:
            raise _malformed("`actor_token` is required")
        proof = _proof(request, delegation, f"/mandate_request/{wish_id}")
        return _answer_view(await delegation.answered(token, proof, wish_id), delegation.now())

    async def metadata(request: Request) -> JSONResponse:
        return JSONResponse(as_metadata(delegation.issuer), headers=_CACHED)

    async def jwks(request: Request) -> JSONResponse:
        return JSONResponse(delegation.jwks(), headers=_CACHED)

    return [
        Route("/token", _oauth(token), methods=["POST"]),
        Route("/device_authorization", _oauth(device), methods=["POST"]),
        Route("/mandate_request", _oauth(wish), methods=["POST"]),
        Route("/mandate_request/{wish}", _oauth(answer), methods=["POST"]),
        Route("/.well-known/oauth-authorization-server", metadata, methods=["GET"]),
        Route(_JWKS_PATH, jwks, methods=["GET"]),
    ]


_CACHED = {"cache-control": "max-age=60"}
_JWKS_PATH = "/.well-known/jwks.json"


def jwks_uri(issuer: str) -> str:
    """Where the keys are that sign for this issuer."""
    return issuer + _JWKS_PATH


def as_metadata(issuer: str) -> dict[str, JsonValue]:
    """Authorization server metadata (RFC 8414 §2): what is true of us, and nothing else.

    There is no authorization endpoint, so no response type and no PKCE method. Clients are public
    (`none`): an agent is authenticated by its actor_token and the DPoP proof of its key.
    """
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "device_authorization_endpoint": f"{issuer}/device_authorization",
        "jwks_uri": jwks_uri(issuer),
        "response_types_supported": [],
        "grant_types_supported": [token_exchange.GRANT_TYPE, DEVICE_GRANT],
        "token_endpoint_auth_methods_supported": ["none"],
        "dpop_signing_alg_values_supported": [ALGORITHM],
        "authorization_details_types_supported": [DETAIL_TYPE],
        "actor_profile_token_exchange": {
            "subject_token_types_supported": [token_exchange.ACCESS_TOKEN],
            "actor_token_types_supported": [token_exchange.JWT],
            "requested_token_types_supported": [token_exchange.ACCESS_TOKEN],
        },
    }


class Revocation(BaseModel):
    """Why; kept in the log."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field("", max_length=300)


class Filling(BaseModel):
    """A value for each parameter of a template."""

    model_config = ConfigDict(extra="forbid")
    values: dict[str, str] = Field(default_factory=dict, max_length=16)


def mandates_router(delegation: DelegationService, current_person: CurrentPerson) -> APIRouter:
    """``/v1/mandates``; refusals leave as ``Refused`` for the application's handler."""
    routes = APIRouter(prefix="/v1/mandates", tags=["mandates"])
    Who = Annotated[Person, Depends(current_person)]  # noqa: N806 - a type
    resources = delegation.resources

    @routes.post("", status_code=201)
    async def commit(body: Annotated[dict[str, Any], Body()], person: Who) -> dict[str, Any]:
        """Commit a mandate: goal, grants, budget, end. See docs/guides/mandates.

        With ``wish`` (an id) that agent's wish is granted by it: the agent is told, and goes on.
        """
        made = await delegation.commit_mandate(person, MandateDraft.from_json(body))
        return mandate_view(made, resources)

    @routes.get("")
    async def list_mandates(person: Who, everyone: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - a query parameter
        """One's own mandates, newest first; with ``everyone``, for admins and approvers, all."""
        if everyone and not _may_see_all(person):
            raise Refused(Kind.DENIED, "only admins and approvers see everyone's mandates")
        found = await delegation.mandates(None if everyone else person)
        return {"mandates": [mandate_view(one, resources) for one in found]}

    @routes.get("/templates")
    async def list_templates(person: Who) -> dict[str, Any]:
        """The templates of this server, with what is to be filled in."""
        return {"templates": [template_view(one) for one in await delegation.templates()]}

    @routes.get("/wishes")
    async def list_wishes(person: Who) -> dict[str, Any]:
        """What agents wish they might do: those that act for one, and those that act for nobody.

        Unchecked, and nothing is granted by it.
        """
        return {"wishes": [wish_view(one) for one in await delegation.wishes(person)]}

    @routes.post("/wishes/{wish_id}/dismiss")
    async def dismiss(wish_id: str, person: Who) -> dict[str, Any]:
        """Say no to a wish: its agent is told."""
        await delegation.dismiss_wish(person, wish_id)
        return {"id": wish_id, "state": "dismissed"}

    @routes.put("/templates/{name}", status_code=201)
    async def keep_template(
        name: str, body: Annotated[dict[str, Any], Body()], person: Who
    ) -> dict[str, Any]:
        """Keep a new version of a template (administrators). See docs/guides/mandates."""
        return template_view(await delegation.keep_template(person, name, body))

    @routes.post("/templates/{name}/draft")
    async def fill_template(name: str, body: Filling, person: Who) -> dict[str, Any]:
        """The draft with these values: to look at, narrow, and commit."""
        draft = await delegation.fill_template(name, body.values)
        return {"draft": draft, "words": explain(authority_from_draft(draft))}

    @routes.get("/{mandate_id}")
    async def show(mandate_id: str, person: Who) -> dict[str, Any]:
        """One mandate: what was said, what it allows, what was used of it."""
        found = await delegation.mandate(mandate_id)
        if found.person_id != person.id and not _may_see_all(person):
            raise Refused(Kind.NOT_FOUND, "there is no such mandate")
        return mandate_view(found, resources)

    @routes.post("/{mandate_id}/revoke")
    async def revoke(mandate_id: str, body: Revocation, person: Who) -> dict[str, Any]:
        """Take it back; from the next call on nothing under it is permitted."""
        revoked = await delegation.revoke_mandate(person, mandate_id, body.reason)
        return mandate_view(revoked, resources)

    @routes.get("/{mandate_id}/grants")
    async def grants(mandate_id: str, person: Who) -> dict[str, Any]:
        """The access tokens made from it that can be used now."""
        found = await delegation.grants(person, mandate_id)
        return {"grants": [grant_view(one) for one in found]}

    @routes.post("/{mandate_id}/grants/{grant_id}/revoke")
    async def revoke_grant(
        mandate_id: str, grant_id: str, body: Revocation, person: Who
    ) -> dict[str, Any]:
        """Take one access token back, and all that was made from it; the mandate stays."""
        await delegation.revoke_grant(person, mandate_id, grant_id, body.reason)
        return {"id": grant_id, "state": "revoked"}

    @routes.get("/{mandate_id}/endorsements")
    async def endorsements(mandate_id: str, person: Who) -> dict[str, Any]:
        """The values that a person said are right for an argument from now on."""
        await show(mandate_id, person)
        found = await delegation.endorsements(mandate_id)
        return {"endorsements": [endorsement_view(one) for one in found]}

    @routes.post("/{mandate_id}/endorsements/{endorsement_id}/withdraw")
    async def withdraw(mandate_id: str, endorsement_id: str, person: Who) -> dict[str, Any]:
        """Take one back: the value is asked about again."""
        await delegation.withdraw_endorsement(person, mandate_id, endorsement_id)
        return {"id": endorsement_id, "state": "withdrawn"}

    @routes.post("/{mandate_id}/subject_token")
    async def subject_token(mandate_id: str, person: Who) -> JSONResponse:
        """One's own token for the mandate; only its agent can exchange it."""
        token = await delegation.subject_token(person, mandate_id)
        body = {"subject_token": token, "subject_token_type": token_exchange.ACCESS_TOKEN}
        return JSONResponse(body, headers=NO_STORE)

    return routes


def mandate_view(mandate: Mandate, resources: str) -> dict[str, Any]:
    """A mandate as the management API shows it."""
    budget = mandate.authority.budget.amount
    used: dict[str, JsonValue] = {"calls": mandate.calls_used}
    if budget is not None:
        used["amount"] = str(Money.of_minor(mandate.amount_used, budget.currency))
    return {
        "id": mandate.id,
        "state": mandate.state.value,
        "person": mandate.person_id,
        "agent": mandate.agent.agent_name,
        "agent_id": str(mandate.agent),
        "goal": mandate.goal,
        **draft_of(mandate.authority),
        "used": used,
        "four_eyes": mandate.four_eyes,
        "created_at": rfc3339(mandate.created_at),
        "expires_at": rfc3339(mandate.expires_at),
        "reason": mandate.reason,
        "epoch": mandate.epoch,
        "authority_hash": mandate.authority_hash,
        "intent_hash": mandate.intent_hash,
        "authorization_details": to_authorization_details(mandate.authority, resources=resources),
    }


def grant_view(grant: IssuedGrant) -> dict[str, Any]:
    """A grant as the management API shows it."""
    return {
        "id": grant.id,
        "instance": grant.instance,
        "through": list(grant.through),
        "audience": grant.audience,
        "created_at": rfc3339(grant.created_at),
        "expires_at": rfc3339(grant.expires_at),
        "calls_used": grant.calls_used,
    }


def wish_view(one: Wish) -> dict[str, Any]:
    """A wish as the management API shows it."""
    return {
        "id": one.id,
        "agent": one.agent,
        "draft": draft_of(one.authority),
        "words": explain(one.authority),
        "agent_says_unchecked": one.says,
        "acts_for": one.person_id,
        "created_at": rfc3339(one.created_at),
        "expires_at": rfc3339(one.expires_at),
    }


def _answer_view(told: WishAnswer, now: datetime) -> dict[str, JsonValue]:
    """What an agent is told of its wish."""
    body: dict[str, JsonValue] = {
        "id": told.id,
        "state": told.state.value,
        "expires_at": rfc3339(told.expires_at),
    }
    if told.mandate_id is not None:
        body["mandate"] = told.mandate_id
    if told.subject_token is not None and told.until is not None:
        body["subject_token"] = told.subject_token
        body["subject_token_type"] = token_exchange.ACCESS_TOKEN
        body["expires_in"] = int((told.until - now).total_seconds())
    return body


def template_view(one: Template) -> dict[str, Any]:
    """A template as the management API shows it."""
    return {
        "name": one.name,
        "version": one.version,
        "title": one.title,
        "parameters": {
            name: {"type": given.type, "label": given.label, "example": given.example}
            for name, given in one.parameters.items()
        },
        "draft": one.body["draft"],
        "created_at": rfc3339(one.created_at),
    }


def endorsement_view(one: Endorsement) -> dict[str, Any]:
    """An endorsement as the management API shows it."""
    return {
        "id": one.id,
        "tool": one.tool,
        "argument": one.slot,
        "value": one.value,
        "given_by": one.given_by,
        "approval": one.approval_id,
        "created_at": rfc3339(one.created_at),
    }


def _may_see_all(person: Person) -> bool:
    return person.may(Role.ADMIN) or person.may(Role.APPROVER)


def _device_code(form: list[tuple[str, str]]) -> str:
    params = parameters(form)
    _require_cli(params.get("client_id"))
    code = params.get("device_code")
    if code is None:
        raise _malformed("`device_code` is required")
    return code


def _require_cli(client_id: str | None) -> None:
    if client_id != CLI_CLIENT:
        raise Refused(Kind.UNAUTHENTICATED, "the client is not known", code="invalid_client")


async def _form(request: Request) -> list[tuple[str, str]]:
    """The parameters of the body, in order.

    Raises:
        Refused: MALFORMED unless the body is a url-encoded form in UTF-8 within the limits, or if
            there are parameters in the URL (RFC 6749 §3.2, RFC 9700 §4.3.2).
    """
    if request.scope["query_string"]:
        raise _malformed("parameters belong in the body")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise _malformed("the body must be application/x-www-form-urlencoded")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM:
            raise _malformed(f"the body is larger than {MAX_FORM} bytes")
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as cause:
        raise _malformed("the form could not be read") from cause


def _proof(request: Request, delegation: DelegationService, path: str) -> DpopProof:
    """The request's one DPoP proof, verified but not spent."""
    proofs = request.headers.getlist("dpop")
    if len(proofs) != 1:
        raise Refused(
            Kind.UNAUTHENTICATED, "exactly one DPoP proof is required", code=INVALID_PROOF
        )
    url = f"{delegation.issuer}{path}"
    return verify_proof(proofs[0], method="POST", url=url, now=delegation.now())


def _oauth(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        status = 200
        try:
            body: Mapping[str, JsonValue] = await endpoint(request)
        except Refused as refused:
            status, body = oauth_error(refused)
        headers = NO_STORE if status != 503 else {**NO_STORE, "retry-after": "1"}
        return Response(orjson.dumps(body), status, headers, "application/json")

    return answered


def _malformed(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, detail, code="invalid_request")
