"""A foreign enforcement point asks a person, over HTTP: bound, once, and taken back.

Real server, real accounts with real DPoP-bound tokens, real passkeys. Nothing is patched.
"""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.conftest import Clock
from tests.fakes.foreign_pep import ERROR, Pep, decision_point
from tests.fakes.gateway_world import EVERYTHING, World, served_with_upstream

from actfor.approval import Answer
from actfor.errors import Kind, Refused
from actfor.store import Database
from actfor.wire import jose
from actfor.wire.base64_text import base64url
from actfor.wire.jose import SigningKey
from actfor.wire.rar import Grant

HOSTILE = "</p><script>alert(1)</script> \N{RIGHT-TO-LEFT OVERRIDE}APPROVED BY SECURITY\0 {{ 7*7 }}"


@dataclass
class Office:
    """Two enforcement points before one decision point."""

    world: World
    crm: Pep
    erp: Pep
    mandate: str

    def question(self, **more: Any) -> Any:
        return {
            "subject": {"type": "agent", "id": str(self.world.agent.id)},
            "action": {"name": "delete"},
            "resource": {"type": "tool", "id": "counting/delete_record"},
            "context": {"mandate": self.mandate, "arguments": {"id": "7"}, **more},
        }

    async def denied(self, pep: Pep | None = None, **more: Any) -> tuple[Any, Any]:
        """A question that was denied, and what binds a request to that."""
        question = self.question(**more)
        told = await (pep or self.crm).evaluate(question)
        assert told["decision"] is False
        offer = told["context"]["access_request"]
        return question, {
            "binding_token": offer["binding_token"],
            "expires_at": offer["expires_at"],
            "template": offer["template"],
        }

    async def asked(self) -> tuple[Any, str]:
        """A question that a person was asked about, and its task."""
        question, denial = await self.denied()
        made = await self.crm.ask(question, denial)
        assert made.status_code == 202, made.text
        return question, made.json()["task"]["id"]

    async def page(self, path: str) -> str:
        sent = {"cookie": f"actfor_session={self.world.house.last}"}
        answer = await self.crm.http.get(self.world.issuer + path, headers=sent)
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture
async def office(database: Database, clock: Clock, tmp_path: Path) -> AsyncIterator[Office]:
    running = served_with_upstream(database, clock.now, tmp_path, also=decision_point)
    async with running as (world, http):
        house = world.house
        crm, _ = await house.invite(world.operator, "Crm Backend", "admin")
        erp, _ = await house.invite(world.operator, "Erp Backend", "admin")
        token = await world.token(Grant("counting", ("*",), EVERYTHING))
        yield Office(
            world,
            await Pep.sign_in(world, crm, http),
            await Pep.sign_in(world, erp, http),
            token.mandate.id,
        )


def refused(answer: httpx2.Response, kind: str, status: int, says: str) -> None:
    assert (answer.status_code, answer.json().get("type")) == (status, ERROR + kind), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"], answer.text


def words(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


# -- binding tokens -------------------------------------------------------------------------------


async def test_a_binding_token_makes_one_task_of_one_denial(office: Office) -> None:
    question, denial = await office.denied()
    claims = jose.unverified(denial["binding_token"]).claims
    base = office.world.issuer
    assert (claims["iss"], claims["aud"]) == (base, f"{base}/access/v1/access-request")
    assert claims["binding_context_members"] == ["arguments", "mandate"]
    assert not {"context", "arguments", "subject"} & claims.keys()  # no argument travels in it

    made = await office.crm.ask(question, denial)
    task = made.json()["task"]
    assert (made.status_code, task["status"]) == (202, "pending")
    assert made.headers["location"] == task["status_endpoint"]
    assert task["links"]["cancel"] == f"{task['status_endpoint']}/cancel"

    # Used: neither again, nor by the same denial's id beside it.
    again = await office.crm.ask(question, denial)
    refused(again, "invalid_denial_binding", 400, f"was used, for `{task['id']}`")
    assert len(await office.world.waiting()) == 1

    # A person answers, and the very question passes once.
    await office.world.answer(task["id"])
    result = (await office.crm.task(task["id"])).json()["result"]
    named = office.question(approval=result["approval"])
    assert (await office.crm.evaluate(named))["decision"] is True
    assert (await office.crm.evaluate(named))["decision"] is False
    refused(await office.crm.ask(question, denial), "invalid_denial_binding", 400, "was used")


async def test_the_hash_is_the_profiles_own_construction(office: Office) -> None:
    """Computed here by hand: JCS and SHA-256, as an independent service would."""
    question, denial = await office.denied()
    bound = {
        "action": question["action"],
        "context": {"arguments": {"id": "7"}, "mandate": office.mandate},
        "resource": question["resource"],
        "subject": question["subject"],
    }
    text = json.dumps(bound, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    hashed = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    assert jose.unverified(denial["binding_token"]).claims["binding_hash"] == hashed


async def test_no_other_token_and_no_other_question_will_do(office: Office, clock: Clock) -> None:
    question, denial = await office.denied()
    token = denial["binding_token"]
    claims = dict(jose.unverified(token).claims)
    head, body, signature = token.split(".")
    forger = SigningKey.generate()
    kind = "authzen-denial+jwt"
    _, other = await office.denied(arguments={"id": "8"})

    async def ask(**changed: Any) -> httpx2.Response:
        return await office.crm.ask(question, {**denial, **changed})

    # 1. Forged: another key, another type, a changed claim, no signature.
    for forged in (
        jose.sign(claims, typ=kind, key=forger),
        f"{head}.{body}.{'A' * 86}",
        f"{head}.{base64url(json.dumps({**claims, 'exp': 9**10}).encode())}.{signature}",
        (await office.world.token()).token,
        "x.y.z",
        "not a token",
    ):
        answer = await ask(binding_token=forged)
        refused(answer, "invalid_denial_binding", 400, "cannot be verified")
    # 2. Another question's token, and this token for another question.
    refused(
        await ask(binding_token=other["binding_token"]),
        "invalid_denial_binding", 400, "about another question",
    )  # fmt: skip
    for changed in (
        {"arguments": {"id": 7}},
        {"arguments": {"id": "7", "force": True}},
        {"arguments": None},
        {"mandate": (await office.world.token()).mandate.id},
    ):
        sent = office.question(**changed)
        if changed.get("arguments", 0) is None:
            del sent["context"]["arguments"]
        answer = await office.crm.ask(sent, denial)
        refused(answer, "invalid_denial_binding", 400, "about another question")
    sent = {**question, "resource": {**question["resource"], "properties": {"x": 1}}}
    refused(await office.crm.ask(sent, denial), "invalid_denial_binding", 400, "another question")
    # 3. Somebody else's: it was given to another enforcement point.
    refused(
        await office.erp.ask(question, denial), "invalid_denial_binding", 400, "given to another"
    )
    # 4. What stands beside it must be the denial's.
    _, mine = await office.denied()
    sent = jose.unverified(mine["binding_token"]).claims["evaluation_id"]
    refused(await ask(evaluation_id=sent), "invalid_denial_binding", 400, "name two denials")
    later = "2099-01-01T00:00:00.000Z"
    refused(await ask(expires_at=later), "invalid_denial_binding", 400, "`denial.expires_at`")
    refused(await ask(template="second-person"), "invalid_denial_binding", 400, "`template`")
    # 5. Too late, whatever else.
    clock.advance(601)
    refused(await ask(), "expired_denial", 410, "too old")
    assert await office.world.waiting() == []


async def test_a_request_that_is_sent_twice_is_one_request(office: Office, clock: Clock) -> None:
    question, denial = await office.denied()
    key = {"idempotency-key": "7b8d0f0d-65a1"}
    first, second = await asyncio.gather(
        office.crm.ask(question, denial, **key), office.crm.ask(question, denial, **key)
    )
    assert first.status_code == second.status_code == 202
    assert first.json()["task"]["id"] == second.json()["task"]["id"]
    clock.advance(660)  # the denial is over, the answer to the same request is not
    late = await office.crm.ask(question, denial, **key)
    assert late.json()["task"] | {"expires_at": ""} == first.json()["task"] | {
        "status": "expired", "expires_at": "",
    }  # fmt: skip
    other, fresh = await office.denied(arguments={"id": "9"})
    refused(await office.crm.ask(other, fresh, **key), "duplicate_request", 409, "another request")
    # A key is of who sent it.
    theirs, bound = await office.denied(office.erp, arguments={"id": "9"})
    assert (await office.erp.ask(theirs, bound, **key)).status_code == 202
    too_long = await office.crm.ask(other, fresh, **{"idempotency-key": "k" * 300})
    assert too_long.status_code == 400


async def test_many_want_one_token_and_one_gets_it(office: Office) -> None:
    question, denial = await office.denied()
    answers = await asyncio.gather(*(office.crm.ask(question, denial) for _ in range(6)))
    assert sorted(one.status_code for one in answers) == [202] + [400] * 5
    assert len(await office.world.waiting()) == 1


async def test_an_approval_is_of_the_enforcement_point_that_asked(office: Office) -> None:
    """Another one has no part in it: it neither sees the task nor uses the yes, and asks anew."""
    _, task = await office.asked()
    await office.world.answer(task)
    refused(await office.erp.task(task), "unknown_task", 404, "no such task")
    refused(await office.erp.cancel(task), "unknown_task", 404, "no such task")
    stolen = await office.erp.evaluate(office.question(approval={"id": task}))
    assert stolen["decision"] is False
    assert stolen["context"]["reason"] == "out_of_scope"
    question, denial = await office.denied(office.erp)
    own = (await office.erp.ask(question, denial)).json()["task"]
    assert own["id"] != task
    assert own["status"] == "pending"


# -- taking back ----------------------------------------------------------------------------------


async def test_who_asked_takes_it_back_and_then_nobody_can_say_yes(office: Office) -> None:
    question, task = await office.asked()
    waiting = await office.page(f"/approvals/{task}")
    assert "Approve once" in waiting
    why = {"reason": "obsolete", "comment": HOSTILE}
    ended = await office.crm.cancel(task, why)
    assert (ended.status_code, ended.json()["task"]["status"]) == (200, "cancelled"), ended.text
    # Again is as it was, and says no more.
    again = await office.crm.cancel(task, {"reason": "other"})
    assert (again.status_code, again.json()["task"]["status"]) == (200, "cancelled")

    with pytest.raises(Refused) as late:
        await office.world.answer(task)
    assert late.value.kind is Kind.CONFLICT
    told = await office.crm.evaluate(office.question(approval={"id": task}))
    assert told["decision"] is False
    assert told["context"]["reason"] == "approval_expired"

    # The page and the log say who, and the words are nobody's orders.
    shown = await office.page(f"/approvals/{task}")
    assert re.search("Taken back by Crm Backend ?, the enforcement point that asked", words(shown))
    assert "Approve once" not in shown
    assert "<script>" not in shown
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in shown
    (leaf,) = [e for e in await office.world.log("revoke") if e.facts.get("approval") == task]
    assert (leaf.facts["state"], leaf.facts["cause"]) == ("cancelled", "withdrawn")
    told = await office.world.house.audit.trace(leaf.trace)
    (said,) = [one.private["reason"] for one in told if one.type == "revoke"]
    assert str(said).startswith("obsolete: ")
    # Asked again it is another question, with a denial of its own.
    _, anew = await office.denied()
    assert (await office.crm.ask(question, anew)).json()["task"]["id"] != task


async def test_what_was_answered_is_not_taken_back(office: Office, clock: Clock) -> None:
    _, yes = await office.asked()
    await office.world.answer(yes)
    refused(await office.crm.cancel(yes), "invalid_task_state", 409, "already approved")
    named = office.question(approval={"id": yes})
    assert (await office.crm.evaluate(named))["decision"] is True
    question, denial = await office.denied()
    no = (await office.crm.ask(question, denial)).json()["task"]["id"]
    await office.world.answer(no, Answer.DENY)
    refused(await office.crm.cancel(no), "invalid_task_state", 409, "already denied")
    clock.advance(601)
    refused(await office.crm.cancel("apr_none"), "unknown_task", 404, "no such task")
    question, denial = await office.denied(arguments={"id": "9"})
    late = (await office.crm.ask(question, denial)).json()["task"]["id"]
    clock.advance(601)
    refused(await office.crm.cancel(late), "invalid_task_state", 409, "expired")
    wrong: list[Any] = [[], "x", {"reason": 7}, {"comment": "c" * 201}]
    for body in wrong:
        assert (await office.crm.cancel(late, body)).status_code == 400
    assert (await office.crm.send(f"/access/v1/access-request/{late}/cancel")).status_code == 409


async def test_of_a_yes_and_a_cancel_at_once_exactly_one_counts(office: Office) -> None:
    for record in range(8):
        question, denial = await office.denied(arguments={"id": str(record)})
        task = (await office.crm.ask(question, denial)).json()["task"]["id"]
        cancelled, approved = await asyncio.gather(
            office.crm.cancel(task), office.world.answer(task), return_exceptions=True
        )
        assert isinstance(cancelled, httpx2.Response)
        won = cancelled.status_code == 200
        assert won == isinstance(approved, Refused), (cancelled.text, approved)
        named = office.question(arguments={"id": str(record)}, approval={"id": task})
        assert (await office.crm.evaluate(named))["decision"] is not won
        kinds = [
            e["type"]
            for e in await office.world.events((await office.world.house.approvals.get(task)).trace)
        ]
        assert kinds.count("approve") + kinds.count("revoke") == 1
        assert ("revoke" in kinds) == won


# -- what people are shown -------------------------------------------------------------------------


async def test_the_approver_sees_who_lets_it_through_and_that_words_are_unchecked(
    office: Office,
) -> None:
    question, denial = await office.denied(business_justification=HOSTILE)
    task = (await office.crm.ask(question, denial)).json()["task"]["id"]
    shown = await office.page(f"/approvals/{task}")
    assert "<script>alert" not in shown
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in shown
    said = words(shown)
    assert "Let through by Crm Backend" in said
    assert "The enforcement point says (not checked)" in said
    assert "alert(1)" in said
    assert "49" not in said.partition("not checked")[2][:200]
    for wrong in (7, "", "x" * 4001):
        sent, bound = await office.denied(business_justification=wrong)
        assert (await office.crm.ask(sent, bound)).status_code == 400
    bulk = await office.crm.send(
        "/access/v1/access-request", {**question, "items": [], "denial": denial}
    )
    assert bulk.status_code == 400
    assert "`items`" in bulk.json()["detail"]


async def test_the_template_says_who_is_asked_and_follows_from_the_mandate(
    office: Office,
) -> None:
    _, one = await office.denied()
    assert one["template"] == "person"
    token = await office.world.token(Grant("counting", ("*",), EVERYTHING), four_eyes=True)
    question, two = await office.denied(mandate=token.mandate.id)
    assert two["template"] == "second-person"
    wrong = await office.crm.ask(question, {**two, "template": "person"})
    refused(wrong, "invalid_denial_binding", 400, "`template`")
    task = (await office.crm.ask(question, two)).json()["task"]["id"]
    with pytest.raises(Refused, match="second person"):
        await office.world.answer(task)
