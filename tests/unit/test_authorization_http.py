"""AuthZEN and the policies' API, over HTTP, as a caller sees them."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from tests.conftest import Clock

from actfor.audit import AuditLog, NoteSigner
from actfor.authorization import AuthorizationService, Pages, Pdp, PolicyChanges, Rehearsal
from actfor.authorization.http import (
    MAX_BODY,
    authzen_routes,
    changes_router,
    policies_router,
    rehearsal_router,
)
from actfor.authorization.policies import default_source
from actfor.errors import Kind, Refused
from actfor.store import Database

ORIGIN = "example.org/log"
BASE = "https://pdp.example.org"
URL = "/access/v1/evaluation"
PEP = {"authorization": "Bearer pep-secret"}
ASKED = {
    "subject": {"type": "agent", "id": "spiffe://example.org/agent/clerk"},
    "action": {"name": "read"},
    "resource": {"type": "tool", "id": "crm/find"},
}
OPEN = (
    '@id("open")@reason("reads are open")@uncapped("a test")'
    'permit (principal, action == Action::"read", resource);\n'
    '@id("asks")@reason("a person must agree")@uncapped("a test") permit (principal, action, resource)'
    "when { context.approved };"
)


async def authenticate(request: Request) -> str:
    given = request.headers.get("authorization")
    if given == "Bearer revoked":
        raise Refused(Kind.DENIED, "this enforcement point was removed")
    if given != PEP["authorization"]:
        raise Refused(Kind.UNAUTHENTICATED, "no enforcement point is named by this token")
    return "crm-backend"


async def operator(request: Request) -> str:
    if request.headers.get("x-role") not in {"reader", "admin"}:
        raise Refused(Kind.UNAUTHENTICATED, "sign in")
    return "usr_reader"


async def admin(request: Request) -> str:
    if request.headers.get("x-role") != "admin":
        raise Refused(Kind.DENIED, "only an admin may do this")
    return "usr_admin"


async def signer(request: Request) -> str:
    if request.headers.get("x-passkey") is None:
        raise Refused(Kind.STEP_UP_REQUIRED, "this takes a passkey")
    return request.headers["x-passkey"]


async def refused(request: Request, cause: Exception) -> JSONResponse:
    assert isinstance(cause, Refused)
    return JSONResponse({"kind": cause.kind, "detail": cause.detail}, 418)


@pytest.fixture
def audit(database: Database, clock: Clock) -> AuditLog:
    return AuditLog(database, NoteSigner.generate(ORIGIN), ORIGIN, clock.now)


@pytest.fixture
def changes(
    service: AuthorizationService, database: Database, audit: AuditLog, clock: Clock
) -> PolicyChanges:
    return PolicyChanges(service, database, audit, clock.now, four_eyes=False)


@pytest.fixture
async def service(database: Database, audit: AuditLog, clock: Clock) -> AuthorizationService:
    made = AuthorizationService(database, audit, clock.now)
    await made.publish("usr_1", OPEN)
    return made


@pytest.fixture
async def client(
    service: AuthorizationService,
    changes: PolicyChanges,
    database: Database,
    audit: AuditLog,
    clock: Clock,
) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    pdp = Pdp(service, database, audit, Pages(lambda: [b"k" * 32], clock.now))
    app.router.routes.extend(
        authzen_routes(pdp, authenticate_pep=authenticate, base_url=BASE + "/")
    )
    app.include_router(policies_router(service, reader=operator))
    rehearsal = Rehearsal(service, audit, clock.now)
    app.include_router(rehearsal_router(rehearsal, reader=operator, auditor=admin))
    app.include_router(changes_router(changes, reader=operator, admin=admin, signer=signer))
    app.add_exception_handler(Refused, refused)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as opened:
        yield opened


async def test_a_permit_is_a_200_with_the_id_of_its_record(client: httpx2.AsyncClient) -> None:
    answer = await client.post(URL, json=ASKED, headers=PEP)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["decision"] is True
    assert body["context"]["id"].startswith("dec_")
    assert body["context"]["policies"] == ["open"]


async def test_a_denial_is_a_200_that_says_whether_approval_would_help(
    client: httpx2.AsyncClient, service: AuthorizationService
) -> None:
    asked = {**ASKED, "action": {"name": "delete"}, "context": {"approved": True}}
    body = (await client.post(URL, json=asked, headers=PEP)).json()
    assert body["decision"] is False
    assert body["context"]["step_up"] == {"type": "approval"}
    assert body["context"]["ignored"] == ["approved"]
    assert body["context"]["reason_user"] == {"en": "a person must agree"}
    await service.publish("usr_1", default_source())
    body = (await client.post(URL, json=asked, headers=PEP)).json()
    assert body["decision"] is False
    assert "step_up" not in body["context"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"subject": {}}',
        b'{"subject": {"type": "agent", "id": "a"}, "action": {"name": "read"}}',
        b'{"subject": 1, "subject": 2}',
        b"\xff\xfe",
        b'{"context": NaN}',
        b"[" * 100_000,
        b'{"a": "' + b"x" * MAX_BODY + b'"}',
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_a_bad_body_is_a_400_with_a_message(client: httpx2.AsyncClient, body: bytes) -> None:
    answer = await client.post(
        URL, content=body, headers={**PEP, "content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text
    assert "\n" not in answer.text


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_wrong_content_type_is_a_400(client: httpx2.AsyncClient, content_type: str) -> None:
    answer = await client.post(URL, content=b"{}", headers={**PEP, "content-type": content_type})
    assert answer.status_code == 400
    assert "application/json" in answer.text


async def test_who_proves_nothing_gets_a_401_whatever_the_body(client: httpx2.AsyncClient) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}):
        for content in (b"{", b"x" * 10_000_000):
            answer = await client.post(URL, content=content, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'DPoP realm="authzen", algs="ES256"'
    answer = await client.post(URL, json=ASKED, headers={"authorization": "Bearer revoked"})
    assert answer.status_code == 403
    assert answer.text == "this enforcement point was removed"


@pytest.mark.parametrize("request_id", ["bfe9eb29-ab87-4ca3-be83-a1d5d8305716", "a b/c=?", ""])
@pytest.mark.parametrize("headers", [PEP, {}])
async def test_a_request_id_comes_back_as_it_was_sent(
    client: httpx2.AsyncClient, request_id: str, headers: dict[str, str]
) -> None:
    answer = await client.post(URL, json=ASKED, headers={**headers, "x-request-id": request_id})
    assert answer.headers.get_list("x-request-id") == [request_id]


async def test_no_request_id_is_made_up(client: httpx2.AsyncClient) -> None:
    assert "x-request-id" not in (await client.post(URL, json=ASKED, headers=PEP)).headers


async def test_only_post_evaluates(client: httpx2.AsyncClient) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await client.request(method, URL, headers={**PEP, "x-request-id": "r"})
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert answer.headers["x-request-id"] == "r"


async def test_the_metadata_is_public_and_names_this_server(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/.well-known/authzen-configuration")
    assert answer.status_code == 200
    assert answer.json() == {
        "policy_decision_point": BASE,
        "access_evaluation_endpoint": BASE + URL,
        "access_evaluations_endpoint": BASE + "/access/v1/evaluations",
        "search_subject_endpoint": BASE + "/access/v1/search/subject",
        "search_resource_endpoint": BASE + "/access/v1/search/resource",
        "search_action_endpoint": BASE + "/access/v1/search/action",
        "obligations_supported": ["step-up", "notification", "session_termination", "custom"],
        "supported_obligations": ["step-up", "notification", "session_termination", "custom"],
    }


READER = {"x-role": "reader"}
ADMIN = {"x-role": "admin"}


async def test_an_admin_publishes_and_everyone_signed_in_reads(client: httpx2.AsyncClient) -> None:
    made = await client.post("/v1/policies", json={"source": default_source()}, headers=ADMIN)
    assert made.status_code == 201
    assert made.json()["author"] == "usr_admin"
    version = made.json()["version"]
    listed = (await client.get("/v1/policies", headers=READER)).json()["versions"]
    assert [(each["version"] == version, each["active"]) for each in listed] == [
        (True, True),
        (False, False),
    ]
    current = (await client.get("/v1/policies/current", headers=READER)).json()
    assert current["source"] == default_source()
    older = listed[1]["version"]
    assert (await client.get(f"/v1/policies/versions/{older}", headers=READER)).json()[
        "source"
    ] == OPEN
    shown = (await client.get("/v1/policies/schema", headers=READER)).json()["schema"]
    assert "type Facts" in shown


async def test_who_is_no_admin_publishes_nothing(
    client: httpx2.AsyncClient, service: AuthorizationService
) -> None:
    before = service.snapshot
    for headers in ({}, READER):
        answer = await client.post("/v1/policies", json={"source": OPEN + " "}, headers=headers)
        assert answer.status_code == 418
    for path in ("", "/current", "/schema", "/versions/x"):
        answer = await client.get(f"/v1/policies{path}")
        assert answer.json()["kind"] == "unauthenticated"
    assert service.snapshot is before


async def test_a_refused_policy_names_the_line(client: httpx2.AsyncClient) -> None:
    bad = OPEN + "\npermit (principal, action, resource);"
    answer = await client.post("/v1/policies", json={"source": bad}, headers=ADMIN)
    assert answer.json()["kind"] == "malformed"
    assert answer.json()["detail"].startswith("line 3: ")
    checked = await client.post("/v1/policies/check", json={"source": bad}, headers=READER)
    assert [problem["line"] for problem in checked.json()["problems"]] == [3, 3]
    fine = await client.post("/v1/policies/check", json={"source": OPEN}, headers=READER)
    assert fine.json() == {"problems": []}


async def test_explaining_shows_each_policys_part(client: httpx2.AsyncClient) -> None:
    facts = {"agent": "spiffe://a/agent/b", "server": "crm", "tool": "drop", "effect": "delete"}
    facts |= {"via": "authzen"}
    answer = await client.post("/v1/policies/explain", json={"facts": facts}, headers=READER)
    assert answer.json()["decision"] == "step-up"
    assert [(each["id"], each["satisfied"]) for each in answer.json()["policies"]] == [
        ("asks", False)
    ]
    assert [each["words"] for each in answer.json()["remedies"]] == [
        "a person approves exactly this call"
    ]
    for more, says in (
        ({"risk": 1}, "unknown member `risk`"),
        ({"grants": [1]}, "unknown member `grants`"),  # a mandate's file, taken for facts
        ({"agent": 5}, "fact `agent` of `facts` has the wrong type"),
    ):
        wrong = await client.post(
            "/v1/policies/explain", json={"facts": {**facts, **more}}, headers=READER
        )
        assert says in wrong.json()["detail"]


async def test_an_admin_compares_and_rolls_back(
    client: httpx2.AsyncClient, service: AuthorizationService
) -> None:
    before = service.snapshot
    assert before is not None
    text = default_source()
    would = await client.post("/v1/policies/diff", json={"source": text}, headers=READER)
    kinds = {change["kind"] for change in would.json()["changes"]}
    assert kinds == {"added", "removed"}
    await client.post("/v1/policies", json={"source": text, "note": "the pack"}, headers=ADMIN)
    shown = await client.get("/v1/policies/diff?before=%231", headers=READER)
    assert shown.json()["changes"] == would.json()["changes"]
    assert shown.json()["before"] == before.version
    back = await client.post("/v1/policies/rollback", json={}, headers=ADMIN)
    assert back.status_code == 201
    assert back.json()["version"] == before.version
    assert (await client.post("/v1/policies/rollback", json={}, headers=READER)).status_code == 418


async def test_a_proposal_is_approved_with_a_passkey_and_by_nothing_else(
    client: httpx2.AsyncClient, changes: PolicyChanges, service: AuthorizationService
) -> None:
    changes.four_eyes = True
    made = await client.post("/v1/policies", json={"source": default_source()}, headers=ADMIN)
    assert made.status_code == 202
    path = f"/v1/policies/proposals/{made.json()['id']}"
    assert (await client.get(path, headers=READER)).json()["diff"]["changes"]
    listed = (await client.get("/v1/policies/proposals", headers=READER)).json()
    assert [each["state"] for each in listed["proposals"]] == ["open"]
    token = await client.post(f"{path}/approve", headers=ADMIN)
    assert token.json()["kind"] == "step-up-required"
    own = await client.post(f"{path}/approve", headers={"x-passkey": "usr_admin"})
    assert own.json()["kind"] == "denied"
    done = await client.post(f"{path}/approve", headers={"x-passkey": "usr_other"})
    assert done.status_code == 201
    assert done.json()["approver"] == "usr_other"
    assert service.snapshot is not None
    assert service.snapshot.version == made.json()["version"]


async def test_an_auditor_explains_and_simulates_what_was_recorded(
    client: httpx2.AsyncClient,
) -> None:
    asked = {**ASKED, "action": {"name": "delete"}}
    decision = (await client.post(URL, json=asked, headers=PEP)).json()["context"]["id"]
    path = f"/v1/policies/decisions/{decision}"
    assert (await client.get(path, headers=READER)).json()["kind"] == "denied"
    (told,) = (await client.get(path, headers=ADMIN)).json()["decisions"]
    assert (told["id"], told["recorded"], told["replayed"]) == (decision, "step-up", True)
    assert told["facts"]["pep"] == "crm-backend"
    body = {"source": default_source(), "last_seconds": 3600}
    found = (await client.post("/v1/policies/simulate", json=body, headers=ADMIN)).json()
    assert (found["calls"], found["changed"], found["complete"]) == (1, 1, True)
    (move,) = found["moves"]
    assert (move["before"], move["after"]) == ("step-up", "deny")
    assert move["examples"][0]["id"] == decision
    refused = await client.post("/v1/policies/simulate", json=body, headers=READER)
    assert refused.json()["kind"] == "denied"
    unfit = {**body, "source": "permit (principal, action, resource);"}
    refused = await client.post("/v1/policies/simulate", json=unfit, headers=ADMIN)
    assert refused.json()["kind"] == "malformed"


async def test_what_no_policy_was_asked_about_is_not_simulated(client: httpx2.AsyncClient) -> None:
    unknown = {**ASKED, "subject": {"type": "robot", "id": "x"}}
    decision = (await client.post(URL, json=unknown, headers=PEP)).json()["context"]["id"]
    told = await client.get(f"/v1/policies/decisions/{decision}", headers=ADMIN)
    assert "refused before the policies were asked" in told.json()["detail"]
    body = {"source": default_source(), "last_seconds": 3600}
    found = (await client.post("/v1/policies/simulate", json=body, headers=ADMIN)).json()
    assert found["calls"] == 0
    assert found["skipped"] == {"refused before the policies were asked": 1}
