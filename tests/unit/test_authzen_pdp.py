"""Batches and searches beyond what the certification asks: order, ends, pages, and forged tokens."""

import base64
from typing import Any

import pytest
from tests.conftest import Clock

from actfor.audit import AuditLog, EventType, NoteSigner
from actfor.authorization import Answer, AuthorizationService, Options, Pages, Pdp
from actfor.authorization.model.domain import Domain
from actfor.errors import Kind, Refused
from actfor.store import Database
from actfor.wire.authzen_batch import MAX_ITEMS, Batch, batch_response, parse_evaluations
from actfor.wire.authzen_search import Sought, parse_search

DESCRIBED: dict[str, Any] = {
    "subjects": {"user": {}},
    "resources": {"doc": {"size": "Long"}},
    "actions": {"open": {}, "shred": {}},
    "context": {"office": "Bool"},
    "entities": [
        {"type": "user", "id": "ann"},
        *({"type": "doc", "id": f"doc-{n:03}", "properties": {"size": n}} for n in range(60)),
    ],
}
POLICIES = """
@id("small") @reason("small ones are open")
permit (principal is user, action == Action::"open", resource is doc)
when { resource has size && resource.size < 30 };
@id("office") @reason("the office opens all")
permit (principal is user, action == Action::"open", resource is doc)
when { context has office && context.office };
"""
ANN = {"type": "user", "id": "ann"}


def doc(number: int) -> dict[str, Any]:
    return {"type": "doc", "id": f"doc-{number:03}"}


@pytest.fixture
def audit(database: Database, clock: Clock) -> AuditLog:
    return AuditLog(database, NoteSigner.generate("example.org/log"), "example.org/log", clock.now)


@pytest.fixture
def pages(clock: Clock) -> Pages:
    return Pages(lambda: [b"k" * 32], clock.now)


@pytest.fixture
def pdp(database: Database, audit: AuditLog, clock: Clock, pages: Pages) -> Pdp:
    domain = Domain.read("docs", DESCRIBED, POLICIES)
    service = AuthorizationService(database, audit, clock.now)
    return Pdp(service, database, audit, pages, Options(domains=(domain,)))


async def decisions(pdp: Pdp, semantic: str | None, *numbers: int) -> list[bool]:
    body: dict[str, Any] = {
        "subject": ANN,
        "action": {"name": "open"},
        "evaluations": [{"resource": doc(number)} for number in numbers],
    }
    if semantic is not None:
        body["options"] = {"evaluations_semantic": semantic, "another_option": 1}
    batch = parse_evaluations(body)
    assert isinstance(batch, Batch)
    answers = await pdp.evaluate_all("pep", batch)
    return [isinstance(each, Answer) and each.decision.permitted for each in answers]


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        (None, [True, False, True, False]),
        ("execute_all", [True, False, True, False]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
async def test_a_batch_ends_where_its_semantic_says(
    pdp: Pdp, audit: AuditLog, semantic: str | None, expected: list[bool]
) -> None:
    assert await decisions(pdp, semantic, 1, 40, 2, 50) == expected
    # What was not looked at was not decided, and so is not in the log.
    assert len(await audit.search(type=EventType.DECIDE)) == len(expected)


async def test_an_item_that_cannot_be_read_is_a_deny_that_ends_a_batch(pdp: Pdp) -> None:
    body = {
        "subject": ANN,
        "action": {"name": "open"},
        "options": {"evaluations_semantic": "deny_on_first_deny"},
        "evaluations": [{"resource": doc(1)}, {"resource": "doc"}, {"resource": doc(2)}],
    }
    batch = parse_evaluations(body)
    assert isinstance(batch, Batch)
    answers = await pdp.evaluate_all("pep", batch)
    assert len(answers) == 2
    told: Any = batch_response(
        [each if isinstance(each, Refused) else {"decision": True} for each in answers]
    )
    [_, failed] = told["evaluations"]
    assert failed["decision"] is False
    assert failed["context"]["error"]["status"] == 400
    assert "resource" in failed["context"]["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"evaluations": {}},
        {"evaluations": [{}] * (MAX_ITEMS + 1)},
        {"evaluations": [{}], "subject": "ann"},
        {"evaluations": [{}], "options": []},
        {"evaluations": [{}], "options": {"evaluations_semantic": "any"}},
        {"evaluations": [{}], "options": {"evaluations_semantic": ["execute_all"]}},
        {"evaluations": []},
    ],
)
def test_a_batch_that_is_wrong_as_a_whole_is_refused(body: Any) -> None:
    with pytest.raises(Refused) as refused:
        parse_evaluations(body)
    assert refused.value.kind is Kind.MALFORMED


def test_an_items_entity_replaces_the_default_with_all_its_properties() -> None:
    body = {
        "subject": {**ANN, "properties": {"a": 1}},
        "action": {"name": "open"},
        "resource": {"type": "doc", "id": "x", "properties": {"size": 1}},
        "evaluations": [{"resource": {"id": "y"}}, {"subject": ANN}, {}],
    }
    batch = parse_evaluations(body)
    assert isinstance(batch, Batch)
    first, second, third = batch.items
    assert not isinstance(first, Refused)
    assert not isinstance(second, Refused)
    assert not isinstance(third, Refused)
    assert (first.resource.type, first.resource.id, first.resource.properties) == ("doc", "y", {})
    assert (second.subject.properties, third.subject.properties) == ({}, {"a": 1})


def sought(**more: Any) -> dict[str, Any]:
    return {"subject": ANN, "action": {"name": "open"}, "resource": {"type": "doc"}, **more}


async def test_pages_are_the_whole_result_once_and_in_order(pdp: Pdp) -> None:
    found: list[str] = []
    token = ""
    for _ in range(10):
        page = {"limit": 7, "token": token} if token else {"limit": 7}
        answer = await pdp.search("pep", parse_search(Sought.RESOURCE, sought(page=page)))
        found += answer.names
        token = answer.next_token
        if not token:
            break
    assert found == [f"doc-{n:03}" for n in range(30)]


async def test_a_token_is_refused_with_other_parameters(pdp: Pdp) -> None:
    first = await pdp.search("pep", parse_search(Sought.RESOURCE, sought(page={"limit": 2})))
    others = [
        (Sought.RESOURCE, sought(context={"office": True}, page={"token": first.next_token})),
        (Sought.RESOURCE, sought(action={"name": "shred"}, page={"token": first.next_token})),
        (
            Sought.SUBJECT,
            {**sought(), "resource": doc(1), "page": {"token": first.next_token}},
        ),
    ]
    for kind, body in others:
        with pytest.raises(Refused, match="begin again"):
            await pdp.search("pep", parse_search(kind, body))
    # An id that is ignored, a member nobody knows, and another limit do not make another question.
    same = sought(page={"token": first.next_token, "limit": 5}, future=1)
    same["resource"] = {"type": "doc", "id": "ignored"}
    assert len((await pdp.search("pep", parse_search(Sought.RESOURCE, same))).names) == 5


async def test_a_token_tells_nothing_and_cannot_be_changed(pdp: Pdp) -> None:
    first = await pdp.search("pep", parse_search(Sought.RESOURCE, sought(page={"limit": 2})))
    data = base64.urlsafe_b64decode(first.next_token + "==")
    assert b"doc-" not in data
    for forged in (
        base64.urlsafe_b64encode(bytes([*data[:-1], data[-1] ^ 1])).decode(),
        base64.urlsafe_b64encode(data[:8]).decode(),
        first.next_token + "!!",
        first.next_token + "\n",
        "x",
        "ä" * 20,
        "A" * 10_000,
    ):
        body = sought(page={"token": forged})
        with pytest.raises(Refused) as refused:
            await pdp.search("pep", parse_search(Sought.RESOURCE, body))
        assert refused.value.kind is Kind.MALFORMED


async def test_a_token_lives_an_hour_and_outlives_a_rotated_key(pdp: Pdp, clock: Clock) -> None:
    old, new = b"o" * 32, b"n" * 32
    token = Pages(lambda: [old], clock.now).seal("question", "doc-004", 7)
    assert Pages(lambda: [new, old], clock.now).open(token, "question") == ("doc-004", 7)
    with pytest.raises(Refused):
        Pages(lambda: [new], clock.now).open(token, "question")
    clock.advance(3601)
    with pytest.raises(Refused):
        Pages(lambda: [old], clock.now).open(token, "question")


@pytest.mark.parametrize(
    "page", [[], {"limit": 0}, {"limit": -1}, {"limit": True}, {"limit": "1"}, {"token": 7}]
)
def test_a_page_that_is_wrong_is_refused(page: Any) -> None:
    with pytest.raises(Refused, match="page"):
        parse_search(Sought.RESOURCE, sought(page=page))


async def test_a_search_permits_nothing_and_leaves_no_decision(pdp: Pdp, audit: AuditLog) -> None:
    await pdp.search("pep", parse_search(Sought.RESOURCE, sought()))
    assert await audit.search(type=EventType.DECIDE) == []


async def test_agents_and_tools_are_searched_by_the_policies_in_force(
    database: Database, audit: AuditLog, clock: Clock, pages: Pages
) -> None:
    service = AuthorizationService(database, audit, clock.now)
    await service.publish(
        "usr_1",
        '@id("crm")@reason("r")@uncapped("a test")'
        'permit (principal, action == Action::"read", resource in Server::"crm");',
    )

    async def tools() -> list[str]:
        return ["crm/find", "crm/drop", "bank/pay"]

    pdp = Pdp(service, database, audit, pages, Options(populations={"tool": tools}))
    agent = {"type": "agent", "id": "spiffe://example.org/agent/clerk"}
    body = {"subject": agent, "action": {"name": "read"}, "resource": {"type": "tool"}}
    found = await pdp.search("pep", parse_search(Sought.RESOURCE, body))
    assert found.names == ("crm/drop", "crm/find")
    actions = {"subject": agent, "resource": {"type": "tool", "id": "crm/find"}}
    assert (await pdp.search("pep", parse_search(Sought.ACTION, actions))).names == ("read",)


@pytest.mark.parametrize(
    ("described", "policies", "why"),
    [
        ({**DESCRIBED, "subjects": {"user": {"age": "Decimal"}}}, POLICIES, "age"),
        ({k: v for k, v in DESCRIBED.items() if k != "entities"}, POLICIES, "entities"),
        (DESCRIBED, "permit (principal, action, resource);", "@id"),
        (DESCRIBED, '@id("a")@reason("b") permit (principal, action, resource) when { resource.x };', "x"),
        (DESCRIBED, "nonsense", "domain"),
    ],
)  # fmt: skip
def test_a_domain_that_is_wrong_is_not_loaded(described: Any, policies: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        Domain.read("docs", described, policies)
    assert refused.value.kind is Kind.MALFORMED


def test_a_domain_has_another_version_when_a_policy_or_an_entity_is_another() -> None:
    first = Domain.read("docs", DESCRIBED, POLICIES)
    assert first.version == Domain.read("docs", DESCRIBED, POLICIES).version
    fewer = {**DESCRIBED, "entities": DESCRIBED["entities"][:1]}
    assert len({first.version, Domain.read("docs", fewer, POLICIES).version,
                Domain.read("docs", DESCRIBED, POLICIES + "\n").version}) == 3  # fmt: skip
