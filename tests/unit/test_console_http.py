"""The console from the attacker's side: no session, other sites, other people, broken requests."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.conftest import migrated_file
from tests.fakes.console_authenticator import Passkey
from tests.fakes.console_people import exact_call

from actfor.approval import Approval, State
from actfor.audit import Event, EventType
from actfor.identity import AgentState, Person
from actfor.server.settings import load
from actfor.server.wiring import Application, build

HOME = "http://localhost:8711"
PAGES = ["/", "/approvals", "/agents", "/mandates", "/mandates/new", "/decisions", "/policies",
         "/policies/versions/1", "/log", "/people", "/device"]  # fmt: skip
TRACE = "dec_" + "e" * 26


@dataclass
class User:
    """A signed-in browser, without the browser."""

    person: Person
    passkey: Passkey
    http: httpx2.AsyncClient

    async def csrf(self) -> str:
        page = await self.http.get("/device")
        found = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert found is not None
        return found[1]

    async def post(self, path: str, origin: str | None = HOME, **fields: str) -> httpx2.Response:
        fields.setdefault("csrf", await self.csrf())
        headers = {} if origin is None else {"origin": origin}
        return await self.http.post(path, data=fields, headers=headers)

    async def json(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        sent = {"origin": HOME, "x-csrf-token": await self.csrf(), **headers}
        return await self.http.post(path, json=body, headers=sent)


class Server:
    """The wired application, called in process."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.services = application.services

    def client(self) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=self.application.asgi)
        return httpx2.AsyncClient(transport=transport, base_url=HOME)

    async def join(self, token: str, name: str) -> User:
        passkey, http = Passkey(HOME), self.client()
        headers = {"origin": HOME}
        begun = await http.post(
            "/webauthn/register/options", json={"token": token, "name": name}, headers=headers
        )
        credential = passkey.create(begun.json()["options"])
        body = {"ceremony": begun.json()["ceremony"], "credential": credential}
        done = await http.post("/webauthn/register/finish", json=body, headers=headers)
        assert done.status_code == 200
        return User(await self.services.people.person(done.json()["person"]), passkey, http)

    async def ask(self, person: Person, **changes: Any) -> Approval:
        return await self.services.approvals.request(
            exact_call(person.id, **changes), decision_trace=TRACE, reasons=["x"]
        )

    async def state(self, one: Approval) -> State:
        return (await self.services.approvals.get(one.id)).state


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = load(data=tmp_path, port=8711, log_level="error")
    (tmp_path / "actfor.db").write_bytes(migrated_file())
    application = await build(settings, with_default_policies=True)
    yield Server(application)
    await application.close()


@pytest.fixture
async def olivia(server: Server) -> User:
    return await server.join(await server.services.people.create_setup_link(), "Olivia")


async def invite(server: Server, by: User, name: str, *roles: str) -> User:
    return await server.join(await server.services.people.invite(by.person, name, roles), name)


def assert_sealed(response: httpx2.Response) -> None:
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", [*PAGES, "/approvals/apr_x", "/agents/x", "/mandates/x"])
async def test_a_stranger_is_sent_to_sign_in(server: Server, path: str) -> None:
    answer = await server.client().get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/signin?next=%2F")
    assert_sealed(answer)
    wrong = await server.client().get(path, headers={"cookie": "actfor_session=" + "x" * 43})
    assert wrong.status_code == 303


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_sealed(server: Server, olivia: User, path: str) -> None:
    answer = await olivia.http.get(path)
    assert answer.status_code == 200
    assert_sealed(answer)


@pytest.mark.parametrize(
    "path", ["/signout", "/approvals/{}/deny", "/agents/x/quarantine", "/mandates/new",
             "/mandates/x/revoke", "/device", "/people", "/policies/versions/1/rollback",
             "/policies/proposals/x/approve", "/policies/proposals/x/reject",
             "/policies/trials/x/stop"],
)  # fmt: skip
async def test_no_form_works_without_session_token_and_origin(
    server: Server, olivia: User, path: str
) -> None:
    one = await server.ask(olivia.person)
    other = await invite(server, olivia, "Bob", "admin")
    path = path.format(one.id)
    for attempt in (
        server.client().post(path, data={"csrf": "x"}, headers={"origin": HOME}),
        olivia.post(path, csrf=""),
        olivia.post(path, csrf="x" * 43),
        olivia.post(path, csrf="ü" * 43),
        olivia.post(path, csrf=await other.csrf()),
        olivia.post(path, origin=None),
        olivia.post(path, origin="null"),
        olivia.post(path, origin="https://evil.test"),
        olivia.post(path, origin=HOME + ".evil.test"),
    ):
        answer = await attempt
        assert answer.status_code in {401, 403}
        assert_sealed(answer)
    assert await server.state(one) is State.PENDING
    assert (await olivia.http.get("/")).status_code == 200
    assert len(await server.services.people.people()) == 2


async def test_signing_out_ends_the_session_itself(server: Server, olivia: User) -> None:
    cookies = dict(olivia.http.cookies)
    answer = await olivia.post("/signout")
    assert answer.status_code == 303
    assert 'actfor_session=""' in answer.headers["set-cookie"]
    again = await server.client().get(
        "/", headers={"cookie": f"actfor_session={cookies['actfor_session']}"}
    )
    assert again.status_code == 303


async def test_the_cookie_is_for_this_browser_only(server: Server) -> None:
    token = await server.services.people.create_setup_link()
    http, passkey = server.client(), Passkey(HOME)
    headers = {"origin": HOME}
    body: dict[str, Any] = {"token": token, "name": "Olivia"}
    begun = await http.post("/webauthn/register/options", json=body, headers=headers)
    body = {
        "ceremony": begun.json()["ceremony"],
        "credential": passkey.create(begun.json()["options"]),
    }
    done = await http.post("/webauthn/register/finish", json=body, headers=headers)
    cookie = done.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    assert "domain" not in cookie


async def approve_body(server: Server, user: User, one: Approval) -> dict[str, Any]:
    options = await server.services.approvals.options(user.person, one.id)
    return {"decision": "approve", "assertion": user.passkey.get(options)}


async def test_approving_over_http(server: Server, olivia: User) -> None:
    one = await server.ask(olivia.person)
    options = await olivia.json(f"/approvals/{one.id}/options", {})
    assert options.status_code == 200
    assert options.json()["userVerification"] == "required"
    body = {"decision": "approve", "assertion": olivia.passkey.get(options.json())}
    answer = await olivia.json(f"/approvals/{one.id}/answer", body)
    assert (answer.status_code, answer.json()["state"]) == (200, "approved")
    again = await olivia.json(f"/approvals/{one.id}/answer", body)
    assert again.status_code == 409
    assert again.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"x-csrf-token": "x" * 43}, 403),
        ({"x-csrf-token": ""}, 403),
        ({"content-type": "text/plain"}, 400),
        ({"content-type": "application/x-www-form-urlencoded"}, 400),
        ({"cookie": ""}, 401),
        ({"cookie": "", "authorization": "DPoP eyJhbGciOiJub25lIn0.e30."}, 401),
        ({"cookie": "", "authorization": "Bearer agent"}, 401),
    ],
)
async def test_a_valid_signature_from_the_wrong_place_approves_nothing(
    server: Server, olivia: User, headers: dict[str, str], status: int
) -> None:
    one = await server.ask(olivia.person)
    body = await approve_body(server, olivia, one)
    answer = await olivia.json(f"/approvals/{one.id}/answer", body, **headers)
    assert answer.status_code == status
    assert await server.state(one) is State.PENDING


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"{", b"null", b'{"decision":"approve"}', b'{"decision":"approved"}',
        b'{"decision":true}', b'{"decision":"approve","assertion":[]}',
        b'{"decision":"approve","assertion":"yes"}', b'{"decision":"approve","assertion":{}}',
        b'{"decision":"deny","decision":"approve"}', b'{"decision":"deny","approved":true}',
        b'{"decision":"deny","reason":5}', b'{"decision":"deny","reason":"\\ud800"}',
        b'{"decision":"deny","reason":NaN}', b"\xff", b'{"a":' * 5000,
        b'{"decision":"approve","assertion":{"id":"AAAA","response":{"userHandle":{}}}}',
        b'{"reason":"' + b"x" * 70_000 + b'"}',
    ],
)  # fmt: skip
async def test_a_broken_answer_is_refused_in_its_own_shape(
    server: Server, olivia: User, raw: bytes
) -> None:
    one = await server.ask(olivia.person)
    headers = {
        "origin": HOME,
        "x-csrf-token": await olivia.csrf(),
        "content-type": "application/json",
    }
    answer = await olivia.http.post(f"/approvals/{one.id}/answer", content=raw, headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert await server.state(one) is State.PENDING


async def test_the_management_api_can_look_and_say_no_but_never_yes(
    server: Server, olivia: User
) -> None:
    one = await server.ask(olivia.person)
    listed = (await olivia.http.get("/v1/approvals")).json()["approvals"]
    assert [(a["id"], a["state"]) for a in listed] == [(one.id, "pending")]
    whole = (await olivia.http.get(f"/v1/approvals/{one.id}")).json()
    assert whole["digest"] == one.digest
    assert whole["url"] == f"{HOME}/approvals/{one.id}"
    assert whole["call"]["arguments"] == one.call.arguments
    headers = {"origin": HOME}
    body = await approve_body(server, olivia, one)
    for path in ("approve", "answer", "consume"):
        tried = await olivia.http.post(f"/v1/approvals/{one.id}/{path}", json=body, headers=headers)
        assert tried.status_code in {404, 405}
    smuggled = await olivia.http.post(
        f"/v1/approvals/{one.id}/deny", json={"reason": "", **body}, headers=headers
    )
    assert smuggled.status_code in {400, 422}
    foreign = await olivia.http.post(f"/v1/approvals/{one.id}/deny", json={"reason": ""})
    assert foreign.status_code == 403
    assert await server.state(one) is State.PENDING
    said = await olivia.http.post(
        f"/v1/approvals/{one.id}/deny", json={"reason": "no"}, headers=headers
    )
    assert said.json()["state"] == "denied"
    assert said.json()["reason"] == "no"


async def test_a_member_finds_nothing_of_others(server: Server, olivia: User) -> None:
    mallory = await invite(server, olivia, "Mallory")
    one = await server.ask(olivia.person)
    secret = Event(
        EventType.DECIDE,
        TRACE,
        {"agent": "spiffe://localhost/agent/a", "decision": "permit", "tool": "hush"},
        {"person": olivia.person.id, "arguments": {"secret": "s3cr3t"}},
    )
    audit = server.services.audit
    await server.services.database.write(lambda tx: audit.append(tx, secret))
    for path in (f"/approvals/{one.id}", f"/decisions/{TRACE}", f"/v1/approvals/{one.id}",
                 f"/decisions/{one.id}", f"/decisions/{olivia.person.id}"):  # fmt: skip
        assert (await mallory.http.get(path)).status_code == 404, path
    for path in ("/", "/approvals", "/decisions", "/people", "/mandates"):
        page = (await mallory.http.get(path)).text
        for hidden in ("hush", "s3cr3t", "write_query", "Olivia"):
            assert hidden not in page, path
    assert (await mallory.post(f"/approvals/{one.id}/deny")).status_code == 404
    assert (await mallory.post("/people", name="Eve", role="admin")).status_code == 403
    assert await server.state(one) is State.PENDING
    assert (await olivia.http.get(f"/decisions/{TRACE}")).status_code == 200


async def test_only_owner_or_admin_stops_an_agent(
    server: Server, olivia: User, tmp_path: Path
) -> None:
    from actfor.identity import AgentDraft, ModelRef, ReferenceDraft, Tier, Wanted

    code = tmp_path / "code"
    code.mkdir()
    (code / "a.py").write_text("")
    reference = ReferenceDraft(Wanted(str(code)), Wanted("/bin/sh"), ModelRef("m", "1"))
    draft = AgentDraft("bot", "does things", Tier.LOW, reference)
    await server.services.agents.register(olivia.person, draft)
    mallory = await invite(server, olivia, "Mallory", "approver")
    assert "Stop it now" not in (await mallory.http.get("/agents/bot")).text
    assert (await mallory.post("/agents/bot/quarantine", reason="x")).status_code == 403
    assert (await server.services.agents.show("bot")).state is AgentState.REGISTERED
    assert (await olivia.post("/agents/bot/quarantine", reason="")).status_code == 400
    assert (await olivia.post("/agents/bot/quarantine", reason="x")).status_code == 303
    assert (await server.services.agents.show("bot")).state is AgentState.QUARANTINED


@pytest.mark.parametrize(
    "path",
    ["/approvals/%3Cscript%3E", "/decisions/<img src=x>", "/agents/..%2f..%2fetc", "/mandates/%00",
     "/decisions?before=x", "/decisions?before=-1", "/decisions?before=99999999999999999999",
     "/decisions?before=%D9%A3", "/approvals/apr_x", "/setup?t=", "/setup?t=%00", "/setup"],
)  # fmt: skip
async def test_odd_addresses_get_a_plain_page(server: Server, olivia: User, path: str) -> None:
    answer = await olivia.http.get(path)
    assert 400 <= answer.status_code < 500
    assert "<script>" not in answer.text
    assert "<img src=x>" not in answer.text
    if answer.headers["content-type"].startswith("text/html"):
        assert_sealed(answer)


@pytest.mark.parametrize("target", ["//evil.test", "https://evil.test", "/\\evil.test"])
async def test_signin_is_no_open_redirect(server: Server, olivia: User, target: str) -> None:
    signed_in = await olivia.http.get("/signin", params={"next": target})
    assert signed_in.headers["location"] == "/"
    stranger = await server.client().get("/signin", params={"next": target})
    assert 'data-done="/"' in stranger.text


async def test_the_setup_page_spends_nothing(server: Server) -> None:
    token = await server.services.people.create_setup_link()
    pages = await asyncio.gather(
        *(server.client().get("/setup", params={"t": token}) for _ in range(5))
    )
    assert {page.status_code for page in pages} == {200}
    assert_sealed(pages[0])
    assert (await server.join(token, "Olivia")).person.name == "Olivia"
    assert (await server.client().get("/setup", params={"t": token})).status_code == 401


async def test_a_mandate_that_was_changed_after_the_review_is_not_given(
    server: Server, olivia: User, tmp_path: Path
) -> None:
    from actfor.identity import AgentDraft, ModelRef, ReferenceDraft, Tier, Wanted

    code = tmp_path / "code"
    code.mkdir()
    (code / "a.py").write_text("")
    reference = ReferenceDraft(Wanted(str(code)), Wanted("/bin/sh"), ModelRef("m", "1"))
    draft = AgentDraft("bot", "does things", Tier.LOW, reference)
    await server.services.agents.register(olivia.person, draft)
    fields = {"goal": "g", "agent": "bot", "hours": "1", "server": "crm", "tools": "read_query",
              "effect": "read", "approval": "policy"}  # fmt: skip
    review = await olivia.post("/mandates/new", step="review", **fields)
    shown = re.search(r'name="shown" value="([^"]+)"', review.text)
    assert shown is not None
    widened = {**fields, "tools": "read_query write_query"}
    answer = await olivia.post("/mandates/new", step="commit", shown=shown[1], **widened)
    assert "not the one you reviewed" in answer.text
    assert await server.services.delegation.mandates(None) == []


async def test_static_files_are_typed_and_nothing_else_is_served(server: Server) -> None:
    http = server.client()
    style = await http.get("/static/console.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert style.headers["x-content-type-options"] == "nosniff"
    assert style.headers["cache-control"] == "no-cache"
    for path in ("/static/../html.py", "/static/%2e%2e/html.py", "/static/__init__.py", "/static/"):
        assert (await http.get(path)).status_code == 404
    page = (await http.get("/signin")).text
    for link in re.findall(r'(?:href|src)="(/static/[^"]+)"', page):
        found = await http.get(link.replace("&amp;", "&"))
        assert found.status_code == 200
        if "?v=" in link:
            assert "immutable" in found.headers["cache-control"]


async def test_answering_twice_at_once_has_one_winner(server: Server, olivia: User) -> None:
    one = await server.ask(olivia.person)
    body = await approve_body(server, olivia, one)
    yes, no = await asyncio.gather(
        olivia.json(f"/approvals/{one.id}/answer", body),
        olivia.post(f"/approvals/{one.id}/deny"),
    )
    assert sorted([yes.status_code == 200, no.status_code == 303]) == [False, True]
    assert await server.state(one) in {State.APPROVED, State.DENIED}
