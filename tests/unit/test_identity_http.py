"""Identity over HTTP: passkey steps, /v1/agents, /v1/people. The browser may be on a hostile page."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from tests.conftest import Clock
from tests.fakes.identity_authenticator import SoftAuthenticator
from tests.fakes.identity_process import code_tree

from actfor.audit import AuditLog, NoteSigner
from actfor.errors import Kind, Refused
from actfor.identity import AgentService, LocalProcessAttestor, PeopleService, Person
from actfor.identity.http import (
    SessionCookie,
    agents_router,
    current_person,
    people_router,
    webauthn_routes,
)
from actfor.store import Database
from actfor.wire.jose import SigningKey
from actfor.wire.problem import problem

ORIGIN = "http://localhost:8700"


@pytest.fixture
def people(database: Database, clock: Clock) -> PeopleService:
    audit = AuditLog(database, NoteSigner.generate("test.example"), "test.example", clock.now)
    return PeopleService(database, audit, "localhost", [ORIGIN], clock.now)


@pytest.fixture
def agents(database: Database, people: PeopleService, clock: Clock) -> AgentService:
    return AgentService(
        database,
        people._audit,
        "example.org",
        ORIGIN,
        SigningKey.generate(),
        [LocalProcessAttestor()],
        clock.now,
    )


async def no_bearer(request: Request) -> Person:
    raise Refused(Kind.UNAUTHENTICATED, "the token is not valid")


@pytest.fixture
async def http(people: PeopleService, agents: AgentService) -> AsyncIterator[httpx2.AsyncClient]:
    cookie = SessionCookie.for_url(ORIGIN)
    person = current_person(people, cookie, no_bearer)
    app = FastAPI()

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        status, body = problem(error)
        return JSONResponse(body, status)

    app.include_router(agents_router(agents, people, person))
    app.include_router(people_router(people, person, public_url=ORIGIN))
    app.router.routes.extend(webauthn_routes(people, cookie))
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url=ORIGIN, headers={"origin": ORIGIN}
    ) as client:
        yield client


@pytest.fixture
def passkey() -> SoftAuthenticator:
    return SoftAuthenticator(ORIGIN, "localhost")


async def join(
    http: httpx2.AsyncClient, passkey: SoftAuthenticator, token: str, name: str = ""
) -> httpx2.Response:
    begun = await http.post("/webauthn/register/options", json={"token": token, "name": name})
    assert begun.status_code == 200, begun.text
    credential = passkey.create(begun.json()["options"])
    body = {"ceremony": begun.json()["ceremony"], "credential": credential}
    return await http.post("/webauthn/register/finish", json=body)


async def operator(
    http: httpx2.AsyncClient, people: PeopleService, passkey: SoftAuthenticator
) -> dict[str, Any]:
    done = await join(http, passkey, await people.create_setup_link(), "Ada")
    assert done.status_code == 200, done.text
    answer: dict[str, Any] = done.json()
    return answer


def registration(code: Path, **more: Any) -> dict[str, Any]:
    return {"name": "bookkeeper", "purpose": "keeps the books", "code_root": str(code), **more}


async def test_the_passkey_steps_end_in_a_session_cookie(
    http: httpx2.AsyncClient, people: PeopleService, passkey: SoftAuthenticator
) -> None:
    done = await join(http, passkey, await people.create_setup_link(), "Ada")
    cookie = done.headers["set-cookie"]
    assert cookie.startswith("actfor_session=")
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=28800"))
    assert (await http.get("/v1/me")).json()["roles"] == ["admin", "approver", "member"]
    http.cookies.clear()
    assert (await http.get("/v1/me")).status_code == 401
    begun = (await http.post("/webauthn/signin/options", json={})).json()
    body = {"ceremony": begun["ceremony"], "credential": passkey.get(begun["options"])}
    signed_in = await http.post("/webauthn/signin/finish", json=body)
    assert signed_in.json()["name"] == "Ada"
    assert signed_in.headers["cache-control"] == "no-store"
    assert (await http.get("/v1/me")).json()["name"] == "Ada"
    assert (await http.post("/webauthn/signin/finish", json=body)).status_code == 401


def test_the_cookie_is_host_bound_wherever_there_is_tls() -> None:
    cookie = SessionCookie.for_url("https://iam.example.com")
    response = Response()
    cookie.write(response, "secret")
    header = response.headers["set-cookie"]
    assert header.startswith("__Host-actfor=secret; ")
    assert "Secure" in header
    assert "Domain" not in header


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.example", ORIGIN + ".evil.example", "http://localhost"]
)
async def test_another_site_gets_nowhere_with_the_cookie(
    http: httpx2.AsyncClient,
    people: PeopleService,
    passkey: SoftAuthenticator,
    tmp_path: Path,
    origin: str | None,
) -> None:
    await operator(http, people, passkey)
    del http.headers["origin"]
    headers = {} if origin is None else {"origin": origin}
    body = registration(code_tree(tmp_path / "code"))
    assert (await http.post("/v1/agents", json=body, headers=headers)).status_code == 403
    assert (await http.get("/v1/agents", headers=headers)).json() == {"agents": []}
    begun = await http.post("/webauthn/signin/options", json={}, headers=headers)
    assert begun.status_code == 403


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/json"),
        (b"[]", "application/json"),
        (b"{", "application/json"),
        (b'{"token": 7}', "application/json"),
        (b'{"token": ""}', "application/json"),
        (b'{"token": "x", "token": "y"}', "application/json"),
        (b'{"token": "x", "admin": true}', "application/json"),
        (b'{"token": "x"}', "text/plain"),
        (b'{"token": "' + b"x" * 70_000 + b'"}', "application/json"),
        (b"\xff", "application/json"),
    ],
)
async def test_malformed_passkey_requests_are_refused(
    http: httpx2.AsyncClient, content: bytes, kind: str
) -> None:
    for step in ("register/options", "register/finish"):
        answer = await http.post(
            f"/webauthn/{step}", content=content, headers={"content-type": kind}
        )
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_bad_token_is_not_saved_by_a_good_cookie(
    http: httpx2.AsyncClient, people: PeopleService, passkey: SoftAuthenticator
) -> None:
    await operator(http, people, passkey)
    answer = await http.get("/v1/me", headers={"authorization": "DPoP nonsense"})
    assert answer.status_code == 401


async def test_an_agent_is_registered_shown_stopped_and_brought_back(
    http: httpx2.AsyncClient, people: PeopleService, passkey: SoftAuthenticator, tmp_path: Path
) -> None:
    me = await operator(http, people, passkey)
    code = code_tree(tmp_path / "code")
    made = await http.post(
        "/v1/agents",
        json=registration(
            code,
            model={"id": "vendor/model", "version": "1"},
            prompt_digest="sha-256:" + "A" * 43,
            image_digest="sha256:" + "0" * 64,
        ),
    )
    assert made.status_code == 201, made.text
    agent = made.json()
    assert agent["id"] == "spiffe://example.org/agent/bookkeeper"
    assert (agent["owner"], agent["state"], agent["tier"]) == (me["person"], "registered", "medium")
    shown = (await http.get("/v1/agents/bookkeeper")).json()
    assert shown["manifest"] == agent["manifest"]
    assert shown["manifest_json"]["prompt"]["assurance"] == "declared"
    assert shown["manifest_json"]["executable"]["assurance"] == "measured"
    assert shown["instances"] == []

    (code / "helper.py").write_text("answer = 43\n")
    again = (await http.post("/v1/agents/bookkeeper/measure")).json()
    assert again["manifest"] != agent["manifest"]
    for path, state in (
        ("quarantine", "quarantined"),
        ("reinstate", "registered"),
        ("retire", "retired"),
    ):
        stopped = await http.post(f"/v1/agents/bookkeeper/{path}", json={"reason": "a reason"})
        assert (stopped.status_code, stopped.json()["state"]) == (200, state)
    assert (await http.post("/v1/agents", json=registration(code))).status_code == 409
    assert (await http.get("/v1/agents/nobody")).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"name": "p\u0430yroll"},
        {"name": None},
        {"purpose": ""},
        {"owner": " "},
        {"tier": "huge"},
        {"code_root": "/nonexistent"},
        {"code_root": "relative"},
        {"executable": "/nonexistent"},
        {"prompt_digest": "sha-256:x"},
        {"image_digest": "latest"},
        {"model": {"id": "", "version": "1"}},
        {"admin": True},
    ],
)
async def test_a_registration_that_does_not_fit_is_refused(
    http: httpx2.AsyncClient,
    people: PeopleService,
    passkey: SoftAuthenticator,
    tmp_path: Path,
    change: dict[str, Any],
) -> None:
    await operator(http, people, passkey)
    body = {**registration(code_tree(tmp_path / "code")), **change}
    answer = await http.post("/v1/agents", json=body)
    assert answer.status_code in {400, 422}, answer.text
    assert (await http.get("/v1/agents")).json() == {"agents": []}


async def test_only_an_admin_makes_somebody_else_the_owner(
    http: httpx2.AsyncClient, people: PeopleService, passkey: SoftAuthenticator, tmp_path: Path
) -> None:
    me = await operator(http, people, passkey)
    code = code_tree(tmp_path / "code")
    link = (await http.post("/v1/people", json={"name": "Eve", "roles": []})).json()["link"]
    assert link.startswith(f"{ORIGIN}/setup?t=")
    http.cookies.clear()
    eve = await join(
        http, SoftAuthenticator(ORIGIN, "localhost"), link.partition("t=")[2], "ignored"
    )
    assert eve.json()["name"] == "Eve"
    for_ada = registration(code, owner=me["person"])
    assert (await http.post("/v1/agents", json=for_ada)).status_code == 403
    own = await http.post("/v1/agents", json=registration(code, owner="me"))
    assert own.json()["owner"] == eve.json()["person"]
    for call in (
        http.get("/v1/people"),
        http.post("/v1/people", json={"name": "Mallory", "roles": ["admin"]}),
        http.patch(f"/v1/people/{eve.json()['person']}", json={"roles": ["admin"]}),
        http.post(f"/v1/people/{me['person']}/passkeys"),
        http.post("/v1/agents/bookkeeper/measure"),
    ):
        assert (await call).status_code == 403


def test_this_python_is_a_plain_file() -> None:
    assert Path(os.path.realpath(sys.executable)).is_file()  # the default executable
