"""AuthZEN access requests: denied, asked, approved by a person, evaluated again, and only then."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from tests.conftest import Clock
from tests.fakes.gateway_world import EVERYTHING, World, build, counting_http

from actfor.approval import Answer
from actfor.authorization import Options, Pages, Pdp
from actfor.authorization.http import Signing, authzen_routes
from actfor.delegation import Mandate
from actfor.delegation.service.rehearsal import MandateRehearsal
from actfor.errors import Kind, Refused
from actfor.gateway.access_http import access_request_routes
from actfor.gateway.access_requests import AccessRequests, Issuer
from actfor.gateway.effects import Overlay
from actfor.gateway.foreign import ForeignCalls, Parts
from actfor.gateway.model import Http
from actfor.store import Database
from actfor.wire import jose
from actfor.wire.jose import SigningKey
from actfor.wire.rar import Budget, Grant, Money

BASE = "https://pdp.example.org"
ERROR = "urn:openid:authzen:access-request:error:"


async def pep_of(request: Request) -> str:
    name = request.headers.get("x-pep", "crm")
    if not name:
        raise Refused(Kind.UNAUTHENTICATED, "who are you")
    return name


@dataclass
class Desk:
    """A foreign enforcement point's view, and the world behind it."""

    world: World
    client: httpx2.AsyncClient
    mandate: Mandate
    key: SigningKey

    def question(self, tool: str = "delete_record", action: str = "delete", **more: Any) -> Any:
        return {
            "subject": {"type": "agent", "id": str(self.world.agent.id)},
            "action": {"name": action},
            "resource": {"type": "tool", "id": f"counting/{tool}"},
            "context": {"mandate": self.mandate.id, "arguments": {"id": "7"}, **more},
        }

    async def evaluate(self, question: Any, **headers: str) -> Any:
        answer = await self.client.post("/access/v1/evaluation", json=question, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def request(self, question: Any, denial: str, **headers: str) -> httpx2.Response:
        body = {**question, "denial": {"evaluation_id": denial}, "client": {"actor": {"id": "x"}}}
        return await self.client.post("/access/v1/access-request", json=body, headers=headers)

    async def task(self, id_: str, **headers: str) -> httpx2.Response:
        return await self.client.get(f"/access/v1/access-request/{id_}", headers=headers)

    async def asked(self) -> tuple[Any, str]:
        """A question that was denied and asked about, and its task."""
        question = self.question()
        denied = await self.evaluate(question)
        made = await self.request(question, denied["context"]["evaluation_id"])
        assert made.status_code == 202, made.text
        return question, made.json()["task"]["id"]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    with counting_http(tmp_path_factory.mktemp("counting") / "journal") as url:
        yield Http(url)


@pytest.fixture
async def desk(
    database: Database, clock: Clock, tmp_path: Path, upstream: Http
) -> AsyncIterator[Desk]:
    world = await build(database, clock.now, tmp_path)
    await world.add(transport=upstream)
    house = world.house
    calls = ForeignCalls(
        Parts(
            world.agents,
            world.delegation,
            world.catalog,
            house.approvals,
            clock.now,
            world.enforcer.memory.tool,
            world.settings.url,
            world.mapped,
            frozenset({"believed"}),
        )
    )
    pages = Pages(lambda: [b"k" * 32], clock.now)
    pdp = Pdp(world.authorization, database, house.audit, pages, Options(look=calls))
    key = SigningKey.generate()
    issuer = Issuer(BASE, lambda: jose.key_map([key.public]))
    requests = AccessRequests(
        calls, world.authorization, house.approvals, house.audit, database, issuer, clock.now
    )
    signing = Signing(lambda: key, f"{BASE}/jwks")
    app = Starlette(
        routes=[
            *authzen_routes(
                pdp, authenticate_pep=pep_of, base_url=BASE, offers=clock.now, signing=signing
            ),
            *access_request_routes(
                requests, authenticate_pep=pep_of, base_url=BASE, ticket=house.approvals.url
            ),
        ]
    )
    mandate = await commit(world)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
        yield Desk(world, client, mandate, key)
    await world.catalog.close()


async def commit(world: World, grant: Grant | None = None, budget: Budget | None = None) -> Mandate:
    token = await world.token(
        grant or Grant("counting", ("*",), EVERYTHING), budget=budget or Budget()
    )
    return token.mandate


async def test_a_read_in_the_mandate_is_permitted_and_recorded_with_its_epochs(desk: Desk) -> None:
    told = await desk.evaluate(desk.question("echo", "read"))
    assert told["decision"] is True
    [record] = await desk.world.events(told["context"]["id"])
    assert record["facts"]["mandate"] == desk.mandate.id
    assert desk.mandate.id in record["facts"]["epochs"]["mandate"]


async def test_a_definition_is_read_once_for_the_gateway_and_for_everybody_else(desk: Desk) -> None:
    """Until somebody changes it: then it is another reading."""
    memory = desk.world.enforcer.memory
    assert memory.readings == 0
    for _ in range(3):
        assert (await desk.evaluate(desk.question("echo", "read")))["decision"] is True
    assert memory.readings == 1
    await desk.evaluate(desk.question())
    assert memory.readings == 2


async def test_a_search_finds_what_an_evaluation_would_permit(desk: Desk) -> None:
    question = desk.question("echo", "read")
    actions = {name: question[name] for name in ("subject", "resource", "context")}
    told = (await desk.client.post("/access/v1/search/action", json=actions)).json()
    assert told["results"] == [{"name": "read"}]
    del actions["context"]
    told = (await desk.client.post("/access/v1/search/action", json=actions)).json()
    assert told["results"] == []


async def test_the_metadata_says_that_access_can_be_requested(desk: Desk) -> None:
    told = (await desk.client.get("/.well-known/authzen-configuration")).json()
    assert told["access_request_endpoint"] == f"{BASE}/access/v1/access-request"
    assert "urn:openid:authzen:capability:access-request" in told["capabilities"]


async def test_from_a_denial_to_a_permit_that_a_person_gave_once(desk: Desk) -> None:
    question = desk.question()
    # 1. Denied, and it says what may be done.
    denied = await desk.evaluate(question)
    assert denied["decision"] is False
    context = denied["context"]
    assert context["evaluation_id"] == context["id"]
    assert context["access_request"]["endpoint"] == f"{BASE}/access/v1/access-request"
    # 2. Asked: a task. Asking again is the same task.
    made = await desk.request(question, context["evaluation_id"])
    task = made.json()["task"]
    assert (made.status_code, task["status"]) == (202, "pending")
    again = await desk.request(question, context["evaluation_id"])
    assert again.json()["task"]["id"] == task["id"]
    # 3. Nobody has answered: evaluating again is denied, and says when to come back.
    named = desk.question(approval={"id": task["id"]})
    waiting = await desk.evaluate(named)
    assert waiting["decision"] is False
    assert waiting["context"]["reason"] == "grant_pending"
    assert waiting["context"]["next_action"] == "retry"
    # 4. A person approves with a passkey.
    await desk.world.answer(task["id"])
    approved = (await desk.client.get(task["status_endpoint"].removeprefix(BASE))).json()
    assert approved["task"]["status"] == "approved"
    assert approved["result"]["mode"] == "reevaluate"
    # 5. Evaluated again with the approval as it was given: permitted, once.
    named = desk.question(approval=approved["result"]["approval"])
    permitted = await desk.evaluate(named)
    assert permitted["decision"] is True
    record = (await desk.world.events(permitted["context"]["id"]))[-1]
    assert record["facts"]["approval"] == task["id"]
    spent = await desk.evaluate(named)
    assert spent["decision"] is False
    assert spent["context"]["reason"] == "approval_expired"
    assert (await desk.task(task["id"])).json()["task"]["status"] == "expired"


async def test_an_approval_is_for_exactly_what_was_asked(desk: Desk) -> None:
    _, task = await desk.asked()
    await desk.world.answer(task)
    for other in (
        desk.question(arguments={"id": "8"}, approval={"id": task}),
        desk.question(
            "query", "delete", arguments={"query": "DELETE FROM a"}, approval={"id": task}
        ),
    ):
        told = await desk.evaluate(other)
        assert told["decision"] is False
        assert told["context"]["reason"] == "out_of_scope"
    for id_ in ("apr_none", 7, None):
        told = await desk.evaluate(desk.question(approval={"id": id_}))
        assert told["decision"] is False
        assert told["context"]["reason"] == "approval_unverifiable"
    assert (await desk.evaluate(desk.question(approved=True)))["decision"] is False


async def test_a_no_is_final_and_said(desk: Desk) -> None:
    question, task = await desk.asked()
    await desk.world.answer(task, Answer.DENY)
    assert (await desk.task(task)).json()["task"]["status"] == "denied"
    told = await desk.evaluate(desk.question(approval={"id": task}))
    assert (told["context"]["reason"], told["context"]["next_action"]) == ("policy_denied", "none")
    denied = await desk.evaluate(question)
    again = await desk.request(question, denied["context"]["evaluation_id"])
    assert again.status_code == 403


async def test_what_is_revoked_while_a_person_thinks_is_not_permitted(desk: Desk) -> None:
    _, task = await desk.asked()
    await desk.world.answer(task)
    await desk.world.delegation.revoke_mandate(desk.world.operator, desk.mandate.id, "enough")
    told = await desk.evaluate(desk.question(approval={"id": task}))
    assert told["decision"] is False
    assert "revoked" in told["context"]["reason_user"]["en"]


async def test_only_who_was_denied_may_ask_and_only_about_that(desk: Desk, clock: Clock) -> None:
    question = desk.question()
    denial = (await desk.evaluate(question))["context"]["evaluation_id"]
    refused = [
        (await desk.request(question, denial, **{"x-pep": "other"}), "invalid_denial_binding"),
        (await desk.request(question, "dec_unknown"), "invalid_denial_binding"),
        (await desk.request(desk.question("pay", "pay"), denial), "invalid_denial_binding"),
        *[
            (await desk.request(desk.question(arguments=other), denial), "invalid_denial_binding")
            for other in ({"id": "8"}, {"id": 7}, {"id": "7", "force": True}, {})
        ],
    ]
    other = {
        **question,
        "context": {**question["context"], "mandate": (await commit(desk.world)).id},
    }
    refused.append((await desk.request(other, denial), "invalid_denial_binding"))
    permitted = (await desk.evaluate(desk.question("echo", "read")))["context"]["id"]
    refused.append(
        (await desk.request(desk.question("echo", "read"), permitted), "invalid_denial_binding")
    )
    clock.advance(601)
    refused.append((await desk.request(question, denial), "expired_denial"))
    for answer, kind in refused:
        assert answer.json()["type"] == ERROR + kind
        assert answer.headers["content-type"] == "application/problem+json"
    assert await desk.world.waiting() == []


async def test_a_task_is_shown_to_nobody_else(desk: Desk) -> None:
    _, task = await desk.asked()
    assert (await desk.task(task)).status_code == 200
    for answer in (await desk.task(task, **{"x-pep": "other"}), await desk.task("apr_none")):
        assert answer.status_code == 404
        assert answer.json()["type"] == ERROR + "unknown_task"
    assert (await desk.task(task, **{"x-pep": ""})).status_code == 401


@pytest.mark.parametrize(
    "body", [{}, [], {"denial": {}}, {"denial": {"evaluation_id": 7}}, {"denial": "dec"}]
)
async def test_a_request_that_is_none_is_refused(desk: Desk, body: Any) -> None:
    whole = {**desk.question(), **body} if isinstance(body, dict) else body
    answer = await desk.client.post(
        "/access/v1/access-request", json=whole, headers={"x-request-id": "r1"}
    )
    assert answer.status_code == 400
    assert answer.headers["x-request-id"] == "r1"


REFUSED = [
    ("another agent's", {"subject": {"type": "agent", "id": "spiffe://localhost/agent/other"}}),
    ("another effect", {"action": {"name": "read"}}),
    ("an unknown tool", {"resource": {"type": "tool", "id": "counting/none"}}),
    ("an unknown server", {"resource": {"type": "tool", "id": "none/none"}}),
]


@pytest.mark.parametrize("change", [r[1] for r in REFUSED], ids=[r[0] for r in REFUSED])
async def test_a_mandate_carries_only_what_it_is_for(desk: Desk, change: Any) -> None:
    told = await desk.evaluate({**desk.question(), **change})
    assert told["decision"] is False
    assert "access_request" not in told["context"]


async def test_limits_that_only_the_gateway_counts_are_not_estimated(desk: Desk) -> None:
    grant = Grant("counting", ("*",), EVERYTHING)
    for mandate in (
        await commit(desk.world, budget=Budget(calls=3)),
        await commit(desk.world, budget=Budget(amount=Money.parse("10.00", "EUR"))),
        await commit(desk.world, Grant("counting", ("*",), EVERYTHING, max_calls=1)),
        await commit(desk.world, Grant("counting", ("*",), ("read",))),
    ):
        told = await desk.evaluate({**desk.question(), "context": {
            "mandate": mandate.id, "arguments": {"id": "7"}}})  # fmt: skip
        assert told["decision"] is False
        assert "outside the mandate" in told["context"]["reason_user"]["en"]
        assert "access_request" not in told["context"]
    assert grant.max_calls is None


async def test_the_amount_is_that_of_the_arguments_whatever_is_reported(desk: Desk) -> None:
    limited = Grant("counting", ("pay",), ("pay",), amount=Money.parse("50.00", "EUR"))
    mandate = await commit(desk.world, limited)
    question = desk.question("pay", "pay", arguments={"amount": "60.00"}, amount_minor=100)
    question["context"]["mandate"] = mandate.id
    told = await desk.evaluate(question)
    assert told["decision"] is False
    assert "60" in told["context"]["reason_user"]["en"]


# -- whose data a foreign call carries: nobody traced it ------------------------------------------


async def foreign(desk: Desk, grant: Grant, tool: str, action: str, **said: Any) -> Any:
    mandate = await commit(desk.world, grant)
    question = desk.question(tool, action, **said)
    question["context"]["mandate"] = mandate.id
    return await desk.evaluate(question)


async def test_a_small_payment_to_somebody_nobody_named_asks_a_person(desk: Desk) -> None:
    pays = Grant("counting", ("pay",), ("pay",))
    told = await foreign(
        desk, pays, "pay", "pay", arguments={"amount": "20.00", "to": "mallory@evil.example"}
    )
    assert told["decision"] is False
    assert told["context"]["step_up"] == {"type": "approval"}
    assert "untrusted-target" in told["context"]["policies"]
    assert "access_request" in told["context"]


async def test_small_payments_cannot_add_up_where_nobody_adds_them(desk: Desk) -> None:
    pays = Grant("counting", ("pay",), ("pay",))
    told = await foreign(desk, pays, "pay", "pay", arguments={"amount": "0.01"})
    assert told["decision"] is False
    assert "access_request" in told["context"]


@pytest.mark.parametrize(
    "claim",
    [
        {"sinks_untrusted": False, "effect_asked": "yes", "unasked_minor": 0},
        {"provenance": {"values": [{"argument": "/to", "label": "trusted"}], "complete": True}},
        {"sink_label": "user", "target_unnamed": False},
    ],
)
async def test_an_enforcement_point_does_not_say_whose_data_it_is(
    desk: Desk, claim: dict[str, Any]
) -> None:
    pays = Grant("counting", ("pay",), ("pay",))
    told = await foreign(
        desk, pays, "pay", "pay", arguments={"amount": "1", "to": "mallory@evil.example"}, **claim
    )
    assert told["decision"] is False
    assert set(told["context"]["ignored"]) == claim.keys()


async def test_one_that_the_operator_believes_says_whose_the_data_is(desk: Desk) -> None:
    """An exception: what it says loosens is taken; that it tightens, from everybody."""
    told = value_of("/to", "trusted", source="crm/find")
    told["values"] += value_of("/amount", "trusted")["values"]
    strange = {"amount": "1", "to": "mallory@evil.example"}
    seen = {}
    for pep in ("crm", "believed"):
        question = desk.question("pay", "pay", arguments=strange, provenance=told)
        answer = await desk.evaluate(question, **{"x-pep": pep})
        [record] = await desk.world.events(answer["context"]["id"])
        seen[pep] = record["private"]["context"]["sinks_untrusted"]
        assert record["private"]["provenance"] == told
        assert record["facts"]["provenance"] == ("told" if pep == "crm" else "believed")
        assert "mallory" not in str(record["facts"])
        assert answer["context"].get("ignored", []) == (["provenance"] if pep == "crm" else [])
    assert seen == {"crm": True, "believed": False}


async def test_a_write_to_what_a_record_says_passes_for_who_is_believed(desk: Desk) -> None:
    overlay = Overlay.from_json({"effect": "write", "sinks": {"/to": "recipient"}})
    await desk.world.catalog.set_overlay(desk.world.operator, "counting", "pay", overlay)
    writes = Grant("counting", ("pay",), ("write",))
    question = desk.question("pay", "write", arguments={"to": "ann@example.com", "amount": "x"})
    question["context"]["mandate"] = (await commit(desk.world, writes)).id
    assert (await desk.evaluate(question))["decision"] is False
    question["context"]["provenance"] = value_of("/to", "trusted", source="crm/find")
    assert (await desk.evaluate(question))["decision"] is False
    assert (await desk.evaluate(question, **{"x-pep": "believed"}))["decision"] is True
    question["context"]["provenance"] = value_of("/to", "untrusted", source="mail/read")
    denied = await desk.evaluate(question, **{"x-pep": "believed"})
    assert denied["decision"] is False
    assert "untrusted-target" in denied["context"]["policies"]
    assert "mail/read" in denied["context"]["reason_user"]["en"]


async def test_provenance_that_is_none_is_no_question(desk: Desk) -> None:
    question = desk.question(provenance={"/to": "mine"})
    answer = await desk.client.post("/access/v1/evaluation", json=question)
    assert answer.status_code == 400
    assert "context.provenance" in answer.text


def value_of(argument: str, label: str, **more: str) -> dict[str, Any]:
    return {"values": [{"argument": argument, "label": label, **more}]}


async def test_the_record_says_that_the_target_counts_as_others_data(desk: Desk) -> None:
    pays = Grant("counting", ("pay",), ("pay",))
    told = await foreign(
        desk, pays, "pay", "pay", arguments={"amount": "1", "to": "m@evil.example"}
    )
    [record] = await desk.world.events(told["context"]["id"])
    context = record["private"]["context"]
    assert context["sinks_untrusted"] is True
    assert "relevant" not in context


async def test_what_a_foreign_enforcement_point_let_through_is_not_called_unused(
    desk: Desk, clock: Clock
) -> None:
    await desk.evaluate(desk.question("echo", "read", arguments={"text": "hello"}))
    rehearsal = MandateRehearsal(desk.world.house.audit, clock.now)
    made, _ = await rehearsal.suggest(desk.mandate, timedelta(days=1))
    assert made.calls == 1
    assert made.authority.grants[0].tools == ("echo",)
