"""The AuthZEN 1.0 certification scenario (October 2026), played as its harness would.

Every sub-level: Basic, Batch and Search, each Core and Properties, and Discovery; the numbers are the
scenario's. The fixture is the packaged domain `certification`.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi.openapi.models import OpenAPI
from starlette.applications import Starlette
from starlette.requests import Request
from tests.conftest import Clock

from actfor.audit import AuditLog, EventType, NoteSigner
from actfor.authorization import AuthorizationService, Options, Pages, Pdp
from actfor.authorization.domains import packaged
from actfor.authorization.http import authzen_paths, authzen_routes
from actfor.store import Database
from actfor.wire import authzen_access

BASE = "https://pdp.example.org"
ALICE, BOB = {"type": "user", "id": "alice"}, {"type": "user", "id": "bob"}
ADMIN = {**BOB, "properties": {"role": "admin"}}
READ, WRITE = {"name": "read"}, {"name": "write"}
ONE = {"type": "record", "id": "record-1"}
TWO = {"type": "record", "id": "record-2"}
ARCHIVED = {**TWO, "properties": {"status": "archived"}}


async def anyone(request: Request) -> str:
    return "harness"


@pytest.fixture
def audit(database: Database, clock: Clock) -> AuditLog:
    return AuditLog(database, NoteSigner.generate("example.org/log"), "example.org/log", clock.now)


def pdp_of(database: Database, audit: AuditLog, clock: Clock) -> Pdp:
    service = AuthorizationService(database, audit, clock.now)
    pages = Pages(lambda: [b"k" * 32], clock.now)
    return Pdp(service, database, audit, pages, Options(domains=(packaged("certification"),)))


@pytest.fixture
async def client(
    database: Database, audit: AuditLog, clock: Clock
) -> AsyncIterator[httpx2.AsyncClient]:
    pdp = pdp_of(database, audit, clock)
    app = Starlette(routes=[*authzen_routes(pdp, authenticate_pep=anyone, base_url=BASE)])
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as opened:
        yield opened


async def asked(client: httpx2.AsyncClient, path: str, body: Any) -> dict[str, Any]:
    answer = await client.post(f"/access/v1/{path}", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == "application/json"
    told: dict[str, Any] = answer.json()
    return told


def question(subject: Any, action: Any, resource: Any, **more: Any) -> dict[str, Any]:
    return {"subject": subject, "action": action, "resource": resource, **more}


# -- Basic (c-2) ------------------------------------------------------------------------------

DECISIONS = [
    ("rule 1, c-2-2-1", question(ALICE, READ, ONE), True),
    ("rule 2", question(ALICE, WRITE, ONE), True),
    ("rule 3", question(BOB, READ, ONE), True),
    ("rule 4, c-2-2-2", question(BOB, WRITE, ONE), False),
    (
        "c-2-2-3",
        question(ALICE, READ, ONE, context={"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"}),
        True,
    ),
    ("rule 5, c-2-2-4", question(ALICE, WRITE, ARCHIVED), False),
    ("rule 6, c-2-2-5", question(ADMIN, WRITE, ARCHIVED), True),
    (
        "rule 7, c-2-2-6",
        question(ALICE, {"name": "delete", "properties": {"soft": True}}, ONE),
        True,
    ),
    (
        "rule 8, c-2-2-7",
        question(ALICE, {"name": "delete", "properties": {"soft": False}}, ONE),
        False,
    ),
    (
        "c-2-2-8",
        question(
            {**ALICE, "properties": {"department": "Sales", "role": "manager"}},
            {"name": "read", "properties": {"method": "GET"}},
            {**ONE, "properties": {"status": "active", "owner": "bob"}},
        ),
        True,
    ),
    ("c-2-2-9", question(ALICE, READ, ONE, foo="bar", futureField={"nested": True}), True),
]


@pytest.mark.parametrize(
    ("body", "expected"), [d[1:] for d in DECISIONS], ids=[d[0] for d in DECISIONS]
)
async def test_basic_decides_as_the_fixture_says(
    client: httpx2.AsyncClient, body: dict[str, Any], expected: bool
) -> None:
    for _ in range(3):  # c-2-6: idempotent
        told = await asked(client, "evaluation", body)
        assert told["decision"] is expected
        assert isinstance(told.get("context", {}), dict)  # c-2-3-2


WRONG = [
    ("c-2-4-1 no subject", {"action": READ, "resource": ONE}),
    ("c-2-4-1 no action", {"subject": ALICE, "resource": ONE}),
    ("c-2-4-1 no resource", {"subject": ALICE, "action": READ}),
    ("c-2-4-2 no type", question({"id": "alice"}, READ, ONE)),
    ("c-2-4-2 no id", question({"type": "user"}, READ, ONE)),
    ("c-2-4-2 no name", question(ALICE, {}, ONE)),
    ("c-2-4-2 no resource type", question(ALICE, READ, {"id": "record-1"})),
    ("c-2-4-2 no resource id", question(ALICE, READ, {"type": "record"})),
    ("c-2-4-6 subject a string", question("alice", READ, ONE)),
    ("c-2-4-6 name a number", question(ALICE, {"name": 123}, ONE)),
    ("role is no text", question({**BOB, "properties": {"role": 1}}, WRITE, ARCHIVED)),
]


@pytest.mark.parametrize("body", [w[1] for w in WRONG], ids=[w[0] for w in WRONG])
async def test_basic_refuses_what_is_not_a_question(
    client: httpx2.AsyncClient, body: dict[str, Any]
) -> None:
    assert (await client.post("/access/v1/evaluation", json=body)).status_code == 400


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"{}", "text/plain"), (b"{nope", "application/json"), (b"", "application/json")],
    ids=["c-2-4-3", "c-2-4-4", "c-2-4-5"],
)
@pytest.mark.parametrize("path", ["evaluation", "evaluations", "search/subject"])
async def test_what_is_not_json_is_refused(
    client: httpx2.AsyncClient, path: str, content: bytes, kind: str
) -> None:
    answer = await client.post(
        f"/access/v1/{path}", content=content, headers={"content-type": kind}
    )
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["evaluation", "evaluations", "search/action"])
async def test_a_request_id_comes_back_and_none_is_needed(
    client: httpx2.AsyncClient, path: str
) -> None:
    body = question(ALICE, READ, ONE)
    headers = {"x-request-id": "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"}
    echoed = await client.post(f"/access/v1/{path}", json=body, headers=headers)
    assert echoed.headers["x-request-id"] == headers["x-request-id"]  # c-2-5-1
    assert (await client.post(f"/access/v1/{path}", json=body)).status_code == 200  # c-2-5-2


# -- Batch (c-3) ------------------------------------------------------------------------------

ACTIVE = {**ONE, "properties": {"status": "active"}}
BATCHES = [
    (
        "c-3-2-1",
        {"subject": ALICE, "action": READ, "evaluations": [{"resource": ONE}, {"resource": TWO}]},
        [True, True],
    ),
    (
        "c-3-2-2",
        {"subject": BOB, "resource": ONE, "evaluations": [{"action": READ}, {"action": WRITE}]},
        [True, False],
    ),
    (
        "c-3-2-3",
        {
            "subject": ALICE,
            "action": WRITE,
            "evaluations": [{"resource": ACTIVE}, {"resource": ARCHIVED}],
        },
        [True, False],
    ),
    (
        "c-3-2-4",
        {
            "action": WRITE,
            "resource": ARCHIVED,
            "evaluations": [{"subject": ALICE}, {"subject": ADMIN}],
        },
        [False, True],
    ),
    (
        "c-3-2-5",
        {"evaluations": [question(ALICE, READ, ONE), question(BOB, WRITE, ONE)]},
        [True, False],
    ),
    (
        "c-3-2-6",
        {
            "subject": ALICE,
            "action": READ,
            "context": {"time": "2025-06-27T18:03-07:00"},
            "evaluations": [
                {"resource": ONE},
                {"resource": TWO, "context": {"time": "later", "source": "batch-override"}},
            ],
        },
        [True, True],
    ),
    (
        "c-3-2-7",
        {
            "subject": ALICE,
            "action": WRITE,
            "resource": {"type": "record"},
            "evaluations": [
                {"resource": {"id": "record-1", "properties": {"status": "active"}}},
                {"resource": ARCHIVED},
            ],
        },
        [True, False],
    ),
    (
        "c-3-4-1",
        {"subject": ALICE, "action": READ, "evaluations": [{"resource": ONE}, {}]},
        [True, False],
    ),
]


@pytest.mark.parametrize(
    ("body", "expected"), [b[1:] for b in BATCHES], ids=[b[0] for b in BATCHES]
)
async def test_batch_answers_each_in_its_place(
    client: httpx2.AsyncClient, body: dict[str, Any], expected: list[bool]
) -> None:
    told = await asked(client, "evaluations", body)
    assert [each["decision"] for each in told["evaluations"]] == expected
    assert "decision" not in told  # c-3-3-4


@pytest.mark.parametrize("more", [{}, {"evaluations": []}], ids=["c-3-4-2", "c-3-4-3"])
async def test_without_items_a_batch_is_a_single_evaluation(
    client: httpx2.AsyncClient, more: dict[str, Any]
) -> None:
    told = await asked(client, "evaluations", question(ALICE, READ, ONE, **more))
    assert told["decision"] is True
    assert "evaluations" not in told


# -- Search (c-4) -----------------------------------------------------------------------------

SEARCHES = [
    ("c-4-2-1", "subject", question({"type": "user"}, READ, ONE), {"alice", "bob"}),
    ("c-4-2-2", "subject", question({"type": "user"}, READ, ONE, context={"ip": "::1"}), {"alice"}),
    ("c-4-2-4", "subject", question({"type": "user"}, WRITE, ARCHIVED), {"bob"}),
    ("c-4-3-1", "resource", question(ALICE, READ, {"type": "record"}), {"record-1"}),
    ("c-4-3-3", "resource", question(ADMIN, WRITE, {"type": "record"}), {"record-2"}),
    ("c-4-4-1", "action", {"subject": ALICE, "resource": ONE}, {"read", "write"}),
    (
        "c-4-4-2",
        "action",
        {"subject": ALICE, "resource": ONE, "context": {"ip": "::1"}},
        {"read", "write"},
    ),
    ("c-4-4-3", "action", {"subject": ADMIN, "resource": ARCHIVED}, {"write"}),
]


@pytest.mark.parametrize(
    ("sought", "body", "expected"), [s[1:] for s in SEARCHES], ids=[s[0] for s in SEARCHES]
)
async def test_search_finds_at_least_what_the_fixture_says(
    client: httpx2.AsyncClient, sought: str, body: dict[str, Any], expected: set[str]
) -> None:
    told = await asked(client, f"search/{sought}", body)
    if sought == "action":
        assert expected <= {each["name"] for each in told["results"]}
        return
    assert all(each["type"] == body[sought]["type"] for each in told["results"])
    assert expected <= {each["id"] for each in told["results"]}


async def test_search_goes_on_with_the_token_of_the_page_before(
    client: httpx2.AsyncClient,
) -> None:
    body = question({"type": "user"}, READ, ONE)
    first = await asked(client, "search/subject", {**body, "page": {"limit": 1}})  # c-4-5-1
    assert len(first["results"]) == 1
    token = first["page"]["next_token"]
    assert token
    rest = await asked(client, "search/subject", {**body, "page": {"token": token}})  # c-4-5-2
    assert rest["page"]["next_token"] == ""
    assert [each["id"] for each in first["results"] + rest["results"]] == ["alice", "bob"]


@pytest.mark.parametrize(
    ("sought", "body"),
    [
        ("action", {"subject": {"type": "user", "id": "nonexistent-user"}, "resource": ONE}),
        ("subject", question({"type": "spaceship"}, READ, ONE)),
        ("resource", question(ALICE, READ, {"type": "spaceship"})),
    ],
    ids=["c-4-6-1", "c-4-6-2", "c-4-6-2 resource"],
)
async def test_search_finds_nothing_about_what_nobody_knows(
    client: httpx2.AsyncClient, sought: str, body: dict[str, Any]
) -> None:
    assert (await asked(client, f"search/{sought}", body))["results"] == []


@pytest.mark.parametrize(
    ("sought", "body"),
    [
        ("subject", {"subject": {"type": "user"}, "resource": ONE}),
        ("resource", {"action": READ, "resource": {"type": "record"}}),
        ("action", {"subject": ALICE}),
        ("subject", question({"type": "user"}, READ, {"type": "record"})),
        ("resource", question({"type": "user"}, READ, {"type": "record"})),
    ],
    ids=["c-4-7-1 a", "c-4-7-1 b", "c-4-7-1 c", "c-4-7-2 a", "c-4-7-2 b"],
)
async def test_search_refuses_what_is_not_a_search(
    client: httpx2.AsyncClient, sought: str, body: dict[str, Any]
) -> None:
    assert (await client.post(f"/access/v1/search/{sought}", json=body)).status_code == 400


# -- Discovery (c-6) --------------------------------------------------------------------------


async def test_the_metadata_names_endpoints_that_are_there(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/.well-known/authzen-configuration")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["policy_decision_point"] == BASE
    endpoints = {name: url for name, url in told.items() if name.endswith("_endpoint")}
    assert {
        "access_evaluation_endpoint",
        "access_evaluations_endpoint",
        "search_subject_endpoint",
        "search_resource_endpoint",
        "search_action_endpoint",
    } <= set(endpoints)
    for url in endpoints.values():
        assert url.startswith(f"{BASE}/")
        assert (await client.post(url.removeprefix(BASE), json={})).status_code == 400


@pytest.mark.parametrize("base", [f"{BASE}/tenant1", f"{BASE}/tenant1/"])
async def test_the_metadata_of_a_tenant_is_below_the_well_known_name(
    database: Database, audit: AuditLog, clock: Clock, base: str
) -> None:
    pdp = pdp_of(database, audit, clock)
    app = Starlette(routes=[*authzen_routes(pdp, authenticate_pep=anyone, base_url=base)])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE) as client:
        told = (await client.get("/.well-known/authzen-configuration/tenant1")).json()
        assert told["policy_decision_point"] == f"{BASE}/tenant1"
        for path in ("", "/tenant2", "/tenant1/x"):
            found = await client.get(f"/.well-known/authzen-configuration{path}")
            assert found.status_code == 404


def test_every_endpoint_is_in_the_openapi_document(
    database: Database, audit: AuditLog, clock: Clock
) -> None:
    pdp = pdp_of(database, audit, clock)
    routes = authzen_routes(pdp, authenticate_pep=anyone, base_url=BASE, offers=clock.now)
    paths = authzen_paths()
    assert {route.path for route in routes} <= set(paths)
    assert authzen_access.PATH in paths
    OpenAPI.model_validate(
        {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": paths}
    )


# -- and what the scenario does not ask -------------------------------------------------------


async def test_a_domains_decision_is_in_the_log_without_its_subject_in_the_clear(
    client: httpx2.AsyncClient, audit: AuditLog
) -> None:
    told = await asked(client, "evaluation", question(ALICE, READ, ONE))
    [logged] = await audit.search(type=EventType.DECIDE)
    assert logged.trace == told["context"]["id"]
    assert logged.facts["domain"] == "certification"
    assert logged.facts["decision"] == "permit"
    assert "alice" not in str(dict(logged.facts))
