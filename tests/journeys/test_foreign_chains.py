"""A chained agent behind a foreign enforcement point: its token shows the chain (ADR 20).

Real server, real exchanges, the SDK at the agents' end. Nothing is patched.
"""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Clock
from tests.fakes.foreign_pep import Pep, decision_point
from tests.fakes.gateway_world import Token, World, register, served_with_upstream

from actfor.audit import Revocable
from actfor.identity import Agent
from actfor.store import Database
from actfor.wire import jose
from actfor.wire.jose import SigningKey
from actfor.wire.rar import Budget, Grant
from actfor.wire.spiffe import PRIVATE_CLAIM

ECHO = Grant("counting", ("echo", "delete_record"), ("read", "delete"))


@dataclass
class Office:
    """A bookkeeper that asked a helper, and the enforcement point that the helper stands before."""

    world: World
    pep: Pep
    helper: Agent
    held: Token
    passed: Token

    def question(self, tool: str = "echo", action: str = "read", **context: Any) -> Any:
        said = {"arguments": {"text": "x"}, "access_token": self.passed.token, **context}
        return {
            "subject": {"type": "agent", "id": str(self.helper.id)},
            "action": {"name": action},
            "resource": {"type": "tool", "id": f"counting/{tool}"},
            "context": {name: value for name, value in said.items() if value is not None},
        }

    async def why_not(self, question: Any) -> str:
        told = await self.pep.evaluate(question)
        assert told["decision"] is False, told
        return str(told["context"]["reason_user"]["en"])


@pytest.fixture
async def office(database: Database, clock: Clock, tmp_path: Path) -> AsyncIterator[Office]:
    running = served_with_upstream(database, clock.now, tmp_path, also=decision_point)
    async with running as (world, http):
        helper = await register(world.agents, world.operator, tmp_path, database, "helper")
        held = await world.token(ECHO, depth=1)
        passed = await world.passed_on(held, helper)
        pep = await Pep.sign_in(world, world.operator, http)
        yield Office(world, pep, helper, held, passed)


async def test_a_chained_agent_is_let_through_and_the_record_names_the_chain(
    office: Office,
) -> None:
    # Without its token nothing shows that the helper has any part in the mandate.
    bare = office.question(access_token=None, mandate=office.held.mandate.id)
    assert await office.why_not(bare) == "the mandate is for another agent"
    told = await office.pep.evaluate(office.question())
    assert told["decision"] is True, told
    [record] = await office.world.events(told["context"]["id"])
    facts = record["facts"]
    chain = [one.partition("/i/")[0] for one in facts["chain"]]
    assert chain == [str(office.helper.id), str(office.world.agent.id)]
    assert set(facts["epochs"][Revocable.AGENT.value]) == set(chain)
    assert len(facts["epochs"][Revocable.GRANT.value]) == 2
    assert facts["mandate"] == office.held.mandate.id
    # The token stands nowhere in the record: neither whole nor its signature.
    kept = json.dumps([one.to_json() for one in await office.world.house.audit.search(limit=200)])
    assert office.passed.token.rpartition(".")[2] not in kept
    # Naming the mandate beside it is fine where it is the same one.
    same = office.question(mandate=office.held.mandate.id)
    assert (await office.pep.evaluate(same))["decision"] is True


async def test_a_token_shows_only_its_own_agent_mandate_server_and_time(
    office: Office, clock: Clock
) -> None:
    world = office.world
    token = office.passed.token
    head, body, _ = token.split(".")
    claims = dict(jose.unverified(token).claims)
    forged = jose.sign(claims, typ="at+jwt", key=SigningKey.generate())
    other = await world.token(ECHO)
    stranger = {"subject": {"type": "agent", "id": str(world.agent.id)}}
    cases = [
        ({**office.question(), **stranger}, "another agent's"),
        (office.question(access_token=office.held.token), "another agent's"),
        (office.question(mandate=other.mandate.id), "made from another mandate"),
        (office.question(access_token=forged), "not signed by a known key"),
        (office.question(access_token=f"{head}.{body}.{'A' * 86}"), "signature"),
        (
            {**office.question(), "resource": {"type": "tool", "id": "elsewhere/echo"}},
            "another audience",
        ),
    ]
    for question, why in cases:
        assert why in await office.why_not(question)
    for wrong in (7, None, ["x"], "x.y"):
        sent = office.question()
        sent["context"]["access_token"] = wrong
        answer = await office.pep.send("/access/v1/evaluation", sent)
        assert answer.status_code == 400
    clock.advance(301)
    assert "expired" in await office.why_not(office.question())


async def test_rights_only_narrow_along_the_chain(office: Office) -> None:
    world = office.world
    holder = await world.token(ECHO, depth=1)
    narrow = await world.passed_on(holder, office.helper)
    deleting = office.question("delete_record", "delete", arguments={"id": "7"})
    told = await office.pep.evaluate(deleting)
    assert "access_request" in told["context"]  # in the mandate; a person is asked
    # The helper got less: by its mandate it may not pay, whatever the subject's words are.
    beyond = office.question("pay", "pay", arguments={"amount": "1"}, access_token=narrow.token)
    assert "outside the mandate" in await office.why_not(beyond)
    # What is counted at any level of the chain is counted at the gateway only.
    for more in ({"budget": Budget(calls=5)},):
        counted = await world.passed_on(await world.token(ECHO, depth=1, **more), office.helper)
        said = await office.why_not(office.question(access_token=counted.token))
        assert "which only the gateway counts" in said


@pytest.mark.parametrize("taken", ["mandate", "grant above", "own grant", "asking agent", "agent"])
async def test_all_of_a_chain_dies_with_each_of_its_links(office: Office, taken: str) -> None:
    world, mandate = office.world, office.held.mandate.id
    question = office.question()
    assert (await office.pep.evaluate(question))["decision"] is True
    # Between: the answer rests on what was live when it was recorded.
    above, own = (
        jose.unverified(one.token).claims[PRIVATE_CLAIM]["root_grant"]  # type: ignore[index, call-overload] # our own claim
        for one in (office.held, office.passed)
    )
    match taken:
        case "mandate":
            await world.delegation.revoke_mandate(world.operator, mandate, "enough")
        case "grant above":
            await world.delegation.revoke_grant(world.operator, mandate, above, "enough")
        case "own grant":
            await world.delegation.revoke_grant(world.operator, mandate, own, "enough")
        case "asking agent":
            await world.agents.quarantine(world.operator, world.agent.name, "odd")
        case "agent":
            await world.agents.quarantine(world.operator, office.helper.name, "odd")
    assert await office.why_not(question)


async def test_a_person_is_asked_through_whom_and_the_yes_is_of_this_chain(
    office: Office, tmp_path: Path
) -> None:
    world = office.world
    question = office.question("delete_record", "delete", arguments={"id": "7"})
    offer = (await office.pep.evaluate(question))["context"]["access_request"]
    denial = {"binding_token": offer["binding_token"], "expires_at": offer["expires_at"]}
    # The bookkeeper's own question is another one, also with this denial.
    own = office.question(
        "delete_record", "delete", arguments={"id": "7"}, access_token=office.held.token
    )
    own["subject"]["id"] = str(world.agent.id)
    wrong = await office.pep.ask(own, denial)
    assert wrong.json()["type"].endswith("invalid_denial_binding")
    # So is that of the helper through somebody else.
    second = await register(world.agents, world.operator, tmp_path, world.database, "second")
    other = await world.passed_on(await world.token(ECHO, depth=1, agent=second), office.helper)
    through = office.question(
        "delete_record", "delete", arguments={"id": "7"}, access_token=other.token
    )
    wrong = await office.pep.ask(through, denial)
    assert wrong.json()["type"].endswith("invalid_denial_binding"), wrong.text

    task = (await office.pep.ask(question, denial)).json()["task"]["id"]
    sent = {"cookie": f"actfor_session={world.house.last}"}
    shown = await office.pep.http.get(f"{world.issuer}/approvals/{task}", headers=sent)
    said = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", shown.text)))
    assert "helper, asked by bookkeeper, for Olivia Operator" in said
    await world.answer(task)
    through["context"]["approval"] = {"id": task}
    assert (await office.pep.evaluate(through))["context"]["reason"] == "out_of_scope"
    question["context"]["approval"] = {"id": task}
    told = await office.pep.evaluate(question)
    assert told["decision"] is True
    record = (await world.events(told["context"]["id"]))[-1]
    assert record["facts"]["approval"] == task
