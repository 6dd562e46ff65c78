"""Obligations: from a policy's annotation to a PEP that does what it can and denies for the rest."""

import json
from typing import Any

import pytest
from tests.conftest import Clock

from actfor.audit import AuditLog, EventType, NoteSigner
from actfor.authorization import AuthorizationService, Options, Pages, Pdp
from actfor.authorization.model.domain import Domain
from actfor.errors import Kind, Refused
from actfor.store import Database
from actfor.wire.authzen import parse_evaluation
from actfor.wire.authzen_obligations import enforce, parse_obligations, with_obligations

NOTE = {"type": "notification", "to": "sec@example.org", "body": "a record was read"}
STEP = {"type": "step-up", "acr_value": "urn:example:loa:3", "amr_values": ["hwk"]}
DESCRIBED: dict[str, Any] = {
    "subjects": {"user": {}},
    "resources": {"doc": {}},
    "actions": {"open": {}, "shred": {}},
    "entities": [],
}


def annotated(*obligations: Any) -> str:
    return f"@obligations({json.dumps(json.dumps(list(obligations)))})"


POLICIES = (
    f'@id("open") @reason("r") {annotated(NOTE, STEP)} '
    'permit (principal, action == Action::"open", resource);'
    f'@id("shred") @reason("never") {annotated(NOTE)} '
    'forbid (principal, action == Action::"shred", resource);'
)


def question(action: str, **context: Any) -> Any:
    return parse_evaluation(
        {
            "subject": {"type": "user", "id": "ann"},
            "action": {"name": action},
            "resource": {"type": "doc", "id": "d"},
            "context": context,
        }
    )


@pytest.fixture
def audit(database: Database, clock: Clock) -> AuditLog:
    return AuditLog(database, NoteSigner.generate("example.org/log"), "example.org/log", clock.now)


@pytest.fixture
def pdp(database: Database, audit: AuditLog, clock: Clock) -> Pdp:
    service = AuthorizationService(database, audit, clock.now)
    domain = Domain.read("docs", DESCRIBED, POLICIES)
    pages = Pages(lambda: [b"k" * 32], clock.now)
    return Pdp(service, database, audit, pages, Options(domains=(domain,)))


async def test_a_permit_and_a_denial_carry_what_their_policies_oblige_to(pdp: Pdp) -> None:
    opened = await pdp.evaluate("pep", question("open"))
    assert opened.decision.permitted
    assert opened.obligations == (NOTE, STEP)
    shredded = await pdp.evaluate("pep", question("shred"))
    assert not shredded.decision.permitted
    assert shredded.obligations == (NOTE,)


@pytest.mark.parametrize("name", ["obligations_supported", "supported_obligations"])
async def test_a_permit_that_the_pep_cannot_carry_out_is_a_denial_in_the_log_too(
    pdp: Pdp, audit: AuditLog, name: str
) -> None:
    able = await pdp.evaluate("pep", question("open", **{name: ["step-up", "notification", "x"]}))
    assert able.decision.permitted
    unable = await pdp.evaluate("pep", question("open", **{name: ["notification"]}))
    assert not unable.decision.permitted
    assert "step-up" in unable.decision.reasons[0]
    assert unable.obligations == (NOTE, STEP)  # still to be done, as far as it can
    [last, _] = await audit.search(type=EventType.DECIDE)
    assert last.facts["decision"] == "deny"


async def test_the_policies_in_force_oblige_as_well(
    database: Database, audit: AuditLog, clock: Clock
) -> None:
    service = AuthorizationService(database, audit, clock.now)
    await service.publish(
        "usr_1",
        f'@id("all") @reason("r") @uncapped("a test") {annotated(NOTE)} '
        "permit (principal, action, resource);",
    )
    asked = parse_evaluation(
        {
            "subject": {"type": "agent", "id": "spiffe://example.org/agent/clerk"},
            "action": {"name": "read"},
            "resource": {"type": "tool", "id": "crm/find"},
        }
    )
    answer = await service.evaluate("pep", asked)
    assert answer.decision.permitted
    assert answer.obligations == (NOTE,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "[1]",
        json.dumps([NOTE] * 9),
        '[{"type": "watermark"}]',
        '[{"type": "step-up"}]',
        '[{"type": "notification", "to": "x", "body": 1}]',
        '[{"type": "session_termination", "subject": ""}]',
    ],
)
async def test_a_policy_with_obligations_that_are_none_is_not_published(
    database: Database, audit: AuditLog, clock: Clock, text: str
) -> None:
    with pytest.raises(Refused):
        parse_obligations(text)
    service = AuthorizationService(database, audit, clock.now)
    policy = (
        f'@id("a") @reason("r") @uncapped("a test") @obligations({json.dumps(text)}) '
        "permit (principal, action, resource);"
    )
    with pytest.raises(Refused, match="obligations") as refused:
        await service.publish("usr_1", policy)
    assert refused.value.kind is Kind.MALFORMED


def answer(*obligations: Any, decision: bool = True) -> Any:
    return with_obligations({"decision": decision}, list(obligations))


async def test_a_pep_does_what_it_can_and_denies_for_the_rest() -> None:
    done: list[str] = []

    async def notify(obligation: Any) -> bool:
        done.append(obligation["id"])
        return True

    async def fails(obligation: Any) -> bool:
        raise ConnectionError

    able = {"notification": notify}
    assert await enforce(answer(NOTE), able)
    assert not await enforce(answer(STEP, NOTE), able)  # T-AZ-4
    assert not await enforce(answer(STEP, NOTE), {**able, "step-up": fails})
    assert not await enforce(answer({"type": "notification", "to": "x"}, NOTE), able)
    assert not await enforce(answer(NOTE, decision=False), able)
    assert done == ["obl-1", "obl-2", "obl-2", "obl-2", "obl-1"]
    assert not await enforce({"decision": True, "context": {"obligations": {}}}, able)
    assert await enforce({"decision": True}, {})
    assert not await enforce({"decision": 1}, {})
