"""The authorization server over HTTP: forms, headers, errors, the device grant, ``/v1/mandates``."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from tests.conftest import Clock
from tests.fakes.delegation_world import CRM, ISSUER, Holder, World, build, form

from actfor.delegation.http import DEVICE_GRANT, delegation_routes, mandates_router
from actfor.errors import Kind, Refused
from actfor.identity import Person, PersonState
from actfor.store import Database
from actfor.wire import jose
from actfor.wire.jose import SigningKey, VerifyKey
from actfor.wire.problem import problem

FORM = {"content-type": "application/x-www-form-urlencoded"}
Pairs = list[tuple[str, str]]


@pytest.fixture
async def world(database: Database, clock: Clock, tmp_path: Path) -> World:
    return await build(database, clock, tmp_path)


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async def person(request: Request) -> Person:
        return await world.delegation.authenticate_person(
            request.headers.get("authorization", ""),
            proof=request.headers.get("dpop"),
            method=request.method,
            url=ISSUER + request.url.path,
        )

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refused)
        status, body = problem(error)
        return JSONResponse(body, status)

    api = FastAPI(exception_handlers={Refused: refused})
    api.include_router(mandates_router(world.delegation, person))
    app = Starlette(routes=delegation_routes(world.delegation))
    app.mount("/", api)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as made:
        yield made


async def post_token(
    client: httpx2.AsyncClient, world: World, key: SigningKey, pairs: Pairs, **headers: str
) -> httpx2.Response:
    sent = {"dpop": world.proof(key), **FORM, **headers}
    return await client.post("/token", content=urlencode(pairs), headers=sent)


def says(response: httpx2.Response, status: int, error: str) -> None:
    assert response.status_code == status, response.text
    assert response.json()["error"] == error, response.text
    assert response.headers["cache-control"] == "no-store"


# -- exchange ----------------------------------------------------------------------------------


async def test_an_exchange_over_http(client: httpx2.AsyncClient, world: World) -> None:
    holder, _, subject = await world.ready()
    response = await post_token(client, world, holder.key, form(holder, subject))
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body["token_type"] == "DPoP"
    assert body["authorization_details"][0]["resource"] == CRM
    assert (await world.authenticate(holder, body["access_token"])).delegation.person_id


async def test_passing_on_over_http(client: httpx2.AsyncClient, world: World) -> None:
    """Two forms and two proofs, each by whom it concerns."""
    holder, _, subject = await world.ready(max_depth=1)
    helper = await world.agent("helper")
    held = (await post_token(client, world, holder.key, form(holder, subject))).json()
    named = form(holder, held["access_token"], requested_actor=str(helper.agent.id))
    says(await post_token(client, world, helper.key, named), 400, "invalid_dpop_proof")
    passed = (await post_token(client, world, holder.key, named)).json()
    assert passed["token_type"] == "N_A"
    given = form(helper, passed["access_token"])
    says(await post_token(client, world, holder.key, given), 400, "invalid_dpop_proof")
    answer = await post_token(client, world, helper.key, given)
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "DPoP"
    twice = [*named, ("requested_actor", str(holder.agent.id))]
    says(await post_token(client, world, holder.key, twice), 400, "invalid_request")


async def test_a_proof_is_required_and_only_one(client: httpx2.AsyncClient, world: World) -> None:
    holder, _, subject = await world.ready()
    body = urlencode(form(holder, subject))
    says(await client.post("/token", content=body, headers=FORM), 400, "invalid_dpop_proof")
    proof = world.proof(holder.key)
    two = [("dpop", proof), ("dpop", world.proof(holder.key)), *FORM.items()]
    says(await client.post("/token", content=body, headers=two), 400, "invalid_dpop_proof")
    other = world.proof(holder.key, f"{ISSUER}/device_authorization")
    sent = {**FORM, "dpop": other}
    says(await client.post("/token", content=body, headers=sent), 400, "invalid_dpop_proof")


async def test_the_host_header_does_not_say_who_we_are(
    client: httpx2.AsyncClient, world: World
) -> None:
    holder, _, subject = await world.ready()
    evil = world.proof(holder.key, "http://evil.example/token")
    headers = {"host": "evil.example", "x-forwarded-host": "evil.example", "dpop": evil}
    response = await post_token(client, world, holder.key, form(holder, subject), **headers)
    says(response, 400, "invalid_dpop_proof")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"grant_type", "application/x-www-form-urlencoded"),
        (b"grant_type=\xff", "application/x-www-form-urlencoded"),
        (b"grant_type=%FF", "application/x-www-form-urlencoded"),
        (b"&".join([b"a=b"] * 65), "application/x-www-form-urlencoded"),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded"),
        (b'{"grant_type":"x"}', "application/json"),
        (b"grant_type=x", "text/plain"),
        (b"grant_type=x", "multipart/form-data; boundary=x"),
    ],
)
async def test_a_body_that_is_no_form_is_refused(
    client: httpx2.AsyncClient, content: bytes, kind: str
) -> None:
    response = await client.post("/token", content=content, headers={"content-type": kind})
    says(response, 400, "invalid_request")


async def test_parameters_in_the_url_are_refused(client: httpx2.AsyncClient, world: World) -> None:
    holder, _, subject = await world.ready()
    query = urlencode(form(holder, subject))
    response = await client.post(f"/token?{query}", content=query, headers=FORM)
    says(response, 400, "invalid_request")
    assert (await client.get(f"/token?{query}")).status_code in {404, 405}


async def test_errors_carry_no_secret_and_no_control_character(
    client: httpx2.AsyncClient, world: World
) -> None:
    holder, _, subject = await world.ready()
    pairs = [*form(holder, subject), ('x\r\nset-cookie: "é"', "1"), ('x\r\nset-cookie: "é"', "2")]
    response = await post_token(client, world, holder.key, pairs)
    says(response, 400, "invalid_request")
    said = response.json()["error_description"]
    assert said.isascii()
    assert said.isprintable()
    assert subject not in response.text
    unknown = await post_token(client, world, holder.key, [("grant_type", "password")])
    says(unknown, 400, "unsupported_grant_type")


# -- metadata ----------------------------------------------------------------------------------


async def test_metadata_says_what_is_true(client: httpx2.AsyncClient, world: World) -> None:
    metadata = (await client.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["issuer"] == ISSUER
    assert metadata["response_types_supported"] == []
    assert metadata["dpop_signing_alg_values_supported"] == ["ES256"]
    assert metadata["authorization_details_types_supported"] == ["mission_resource_access"]
    for name in ("token_endpoint", "device_authorization_endpoint", "jwks_uri"):
        path = metadata[name].removeprefix(ISSUER)
        wanted = "GET" if name == "jwks_uri" else "POST"
        assert (await client.request(wanted, path)).status_code != 404
    key = SigningKey.generate()
    for grant in metadata["grant_types_supported"]:
        answer = await post_token(client, world, key, [("grant_type", grant)])
        assert answer.json()["error"] != "unsupported_grant_type"


async def test_published_keys_verify_our_tokens(client: httpx2.AsyncClient, world: World) -> None:
    _, _, subject = await world.ready()
    published = (await client.get("/.well-known/jwks.json")).json()["keys"]
    assert [set(key) for key in published] == [{"kty", "crv", "x", "y", "kid", "use", "alg"}]
    keys = {key["kid"]: VerifyKey.from_jwk(key) for key in published}
    now = world.clock.now()
    claims = jose.verify(subject, typ="at+jwt", keys=keys, issuer=ISSUER, audience=ISSUER, now=now)
    assert claims["sub"] == world.ada.id


# -- device grant ------------------------------------------------------------------------------


async def begin(client: httpx2.AsyncClient, **changes: str) -> Any:
    body = urlencode({"client_id": "actfor-cli", "scope": "manage", **changes})
    return await client.post("/device_authorization", content=body, headers=FORM)


async def poll(
    client: httpx2.AsyncClient, world: World, key: SigningKey, code: str
) -> httpx2.Response:
    pairs = [
        ("grant_type", DEVICE_GRANT),
        ("device_code", code),
        ("client_id", "actfor-cli"),
    ]
    return await post_token(client, world, key, pairs)


async def signed_in(client: httpx2.AsyncClient, world: World, person: Person) -> Holder:
    """A command line of ``person``: its key, and its token where an SVID's would be."""
    started = (await begin(client)).json()
    await world.delegation.approve_device(person, started["user_code"])
    key = SigningKey.generate()
    answer = await poll(client, world, key, started["device_code"])
    assert answer.status_code == 200, answer.text
    return Holder(None, key, answer.json()["access_token"])  # type: ignore[arg-type] # see above


async def test_a_person_confirms_the_command_line(
    client: httpx2.AsyncClient, world: World, clock: Clock
) -> None:
    key = SigningKey.generate()
    started = (await begin(client)).json()
    assert started["verification_uri"] == f"{ISSUER}/device"
    assert started["verification_uri_complete"].endswith(started["user_code"])
    code = started["device_code"]
    says(await poll(client, world, key, code), 400, "authorization_pending")
    says(await poll(client, world, key, code), 400, "slow_down")
    clock.advance(started["interval"])
    says(await poll(client, world, key, code), 400, "authorization_pending")
    await world.delegation.approve_device(world.ada, started["user_code"].lower())
    answer = await poll(client, world, key, code)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["token_type"] == "DPoP"
    assert body["expires_in"] <= 8 * 3600
    claims = jose.unverified(body["access_token"]).claims
    assert claims["aud"] == f"{ISSUER}/v1"
    assert claims["cnf"] == {"jkt": key.kid}
    assert claims["sub"] == world.ada.id
    says(await poll(client, world, key, code), 400, "invalid_grant")
    actions = [facts["action"] for facts in await world.log("session")]
    assert actions[-2:] == ["device-approved", "device-login"]


async def test_a_device_code_ends_and_can_be_denied(
    client: httpx2.AsyncClient, world: World, clock: Clock
) -> None:
    key = SigningKey.generate()
    denied, late = (await begin(client)).json(), (await begin(client)).json()
    await world.delegation.approve_device(world.ada, denied["user_code"], approve=False)
    says(await poll(client, world, key, denied["device_code"]), 400, "access_denied")
    with pytest.raises(Refused) as caught:
        await world.delegation.approve_device(world.ada, denied["user_code"])
    assert caught.value.kind is Kind.CONFLICT
    clock.advance(600)
    says(await poll(client, world, key, late["device_code"]), 400, "expired_token")
    with pytest.raises(Refused) as expired:
        await world.delegation.approve_device(world.ada, late["user_code"])
    assert expired.value.kind is Kind.EXPIRED
    says(await poll(client, world, key, "unknown"), 400, "invalid_grant")


async def test_a_login_begun_with_a_key_is_finished_with_it(
    client: httpx2.AsyncClient, world: World
) -> None:
    key = SigningKey.generate()
    body = urlencode({"client_id": "actfor-cli"})
    proof = world.proof(key, f"{ISSUER}/device_authorization")
    response = await client.post(
        "/device_authorization", content=body, headers={**FORM, "dpop": proof}
    )
    started = response.json()
    await world.delegation.approve_device(world.ada, started["user_code"])
    thief = await poll(client, world, SigningKey.generate(), started["device_code"])
    says(thief, 400, "invalid_grant")
    assert (await poll(client, world, key, started["device_code"])).status_code == 200


async def test_only_the_command_line_may_begin_and_only_for_its_scope(
    client: httpx2.AsyncClient,
) -> None:
    says(await begin(client, client_id="someone"), 401, "invalid_client")
    says(await begin(client, scope="manage admin"), 400, "invalid_scope")
    says(await begin(client, client_id=""), 400, "invalid_request")


@pytest.mark.parametrize(
    "code", ["", "BCDF", "BCDF-GHJA", "BCDFGHJKL", "<script>", "BCDF-GHJ\u212a"]
)
async def test_what_is_no_code_is_refused(world: World, code: str) -> None:
    with pytest.raises(Refused) as caught:
        await world.delegation.approve_device(world.ada, code)
    assert caught.value.kind is Kind.MALFORMED


async def test_a_disabled_person_is_not_signed_in(client: httpx2.AsyncClient, world: World) -> None:
    bob, _ = await world.house.invite(world.ada, "Bob")
    cli = await signed_in(client, world, bob)
    started = (await begin(client)).json()
    await world.delegation.approve_device(bob, started["user_code"])
    await world.house.people.change(world.ada, bob.id, state=PersonState.DISABLED)
    answer = await poll(client, world, SigningKey.generate(), started["device_code"])
    says(answer, 400, "invalid_grant")
    assert (await call(client, world, cli, "GET", "/v1/mandates")).status_code == 403


# -- /v1/mandates ------------------------------------------------------------------------------


async def call(
    client: httpx2.AsyncClient,
    world: World,
    cli: Holder,
    method: str,
    path: str,
    body: Any = None,
) -> httpx2.Response:
    from actfor.store import new_id
    from actfor.wire.dpop import build_proof

    token: Any = cli.svid
    proof = build_proof(
        key=cli.key,
        method=method,
        url=ISSUER + path,
        now=world.clock.now(),
        jti=new_id("jti"),
        access_token=token,
    )
    headers = {"authorization": f"DPoP {token}", "dpop": proof}
    return await client.request(method, path, json=body, headers=headers)


def draft(world: World) -> dict[str, Any]:
    from datetime import timedelta

    return {
        "agent": "bookkeeper",
        "goal": "Pay October's invoices",
        "grants": [
            {
                "server": "bank",
                "tools": ["pay"],
                "effects": ["pay"],
                "args": {"/to": {"const": "DE02"}, "/note": {"pattern": "*invoice*"}},
                "amount": {"value": "500.00", "currency": "EUR"},
            }
        ],
        "budget": {"calls": 3, "amount": {"value": "900.00", "currency": "EUR"}},
        "four_eyes": False,
        "expires_at": (world.clock.now() + timedelta(hours=1)).isoformat(timespec="seconds"),
    }


async def test_a_mandates_life_over_http(client: httpx2.AsyncClient, world: World) -> None:
    holder = await world.agent()
    cli = await signed_in(client, world, world.ada)
    made = await call(client, world, cli, "POST", "/v1/mandates", draft(world))
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["state"], body["agent"], body["goal"]) == (
        "active",
        "bookkeeper",
        "Pay October's invoices",
    )
    assert body["used"] == {"calls": 0, "amount": "0.00 EUR"}
    assert body["grants"][0]["args"] == {
        "/note": {"pattern": "*invoice*"},
        "/to": {"const": "DE02"},
    }
    path = f"/v1/mandates/{body['id']}"
    assert (await call(client, world, cli, "GET", path)).json() == body
    listed = (await call(client, world, cli, "GET", "/v1/mandates")).json()["mandates"]
    assert [one["id"] for one in listed] == [body["id"]]

    given = await call(client, world, cli, "POST", f"{path}/subject_token")
    assert given.headers["cache-control"] == "no-store"
    pairs = form(holder, given.json()["subject_token"], resource=f"{ISSUER}/mcp/bank")
    assert (await post_token(client, world, holder.key, pairs)).status_code == 200

    revoked = await call(client, world, cli, "POST", f"{path}/revoke", {"reason": "enough"})
    assert (revoked.json()["state"], revoked.json()["reason"]) == ("revoked", "enough")
    says(await post_token(client, world, holder.key, pairs), 400, "invalid_grant")
    again = await call(client, world, cli, "POST", f"{path}/revoke", {"reason": "enough"})
    assert again.status_code == 409


async def test_a_strangers_mandate_looks_like_none(
    client: httpx2.AsyncClient, world: World
) -> None:
    await world.agent()
    mine = await world.mandate()
    bob, _ = await world.house.invite(world.ada, "Bob")
    cli = await signed_in(client, world, bob)
    for method, tail, body in (
        ("GET", "", None),
        ("POST", "/revoke", {"reason": "x"}),
        ("POST", "/subject_token", None),
    ):
        theirs = await call(client, world, cli, method, f"/v1/mandates/{mine.id}{tail}", body)
        none = await call(client, world, cli, method, f"/v1/mandates/mdt_none{tail}", body)
        assert theirs.status_code == none.status_code == 404
        assert theirs.content == none.content
    everyone = await call(client, world, cli, "GET", "/v1/mandates")
    assert everyone.json() == {"mandates": []}


async def test_the_management_api_takes_only_its_own_token_with_a_fresh_proof(
    client: httpx2.AsyncClient, world: World
) -> None:
    holder, _, subject = await world.ready()
    cli = await signed_in(client, world, world.ada)
    delegated = (await world.exchange(holder, subject)).access_token
    token: Any = cli.svid
    wrong = {
        "an agent's token": Holder(holder.agent, holder.key, delegated),  # type: ignore[arg-type]
        "an agent's SVID": Holder(holder.agent, holder.key, holder.svid.token),  # type: ignore[arg-type]
        "a subject token": Holder(holder.agent, cli.key, subject),  # type: ignore[arg-type]
        "another key": Holder(holder.agent, holder.key, token),
    }
    for what, other in wrong.items():
        answer = await call(client, world, other, "GET", "/v1/mandates")
        assert answer.status_code == 401, what
    bearer = await client.get("/v1/mandates", headers={"authorization": f"Bearer {token}"})
    assert bearer.status_code == 401
    assert (await client.get("/v1/mandates")).status_code == 401

    proof = world.proof(cli.key, f"{ISSUER}/v1/mandates/x/subject_token", token=token)
    headers = {"authorization": f"DPoP {token}", "dpop": proof}
    first = await client.post("/v1/mandates/x/subject_token", headers=headers)
    assert first.status_code == 404
    replay = await client.post("/v1/mandates/x/subject_token", headers=headers)
    assert replay.status_code == 401


async def test_a_login_ends(client: httpx2.AsyncClient, world: World, clock: Clock) -> None:
    cli = await signed_in(client, world, world.ada)
    clock.advance(8 * 3600)
    answer = await call(client, world, cli, "GET", "/v1/mandates")
    assert answer.status_code == 401
    assert "actfor login" in answer.json()["detail"]
