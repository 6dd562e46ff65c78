"""Approvals on a real database, with real passkey signatures."""

import asyncio
import hashlib
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import webauthn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes.console_authenticator import Passkey, b64, unb64
from tests.fakes.console_people import ORIGIN, House, exact_call

from actfor.approval import LIFETIME, Answer, Approval, ExactCall, SlotOrigin, State
from actfor.approval.model import COOLDOWN, MAX_DENIALS, MAX_PENDING
from actfor.errors import Kind, Refused
from actfor.identity import Person, PersonState
from actfor.store import Database, Tx
from actfor.wire.canonical import canonical, digest

TRACE = "dec_" + "b" * 26


@pytest.fixture
def house(database: Database, clock: Clock) -> House:
    return House.build(database, clock.now)


async def ask(house: House, call: ExactCall, **more: Any) -> Approval:
    return await house.approvals.request(
        call, decision_trace=TRACE, reasons=["deleting needs a person"], **more
    )


async def approve(house: House, person: Person, passkey: Passkey, one: Approval) -> Approval:
    options = await house.approvals.options(person, one.id)
    return await house.approvals.answer(person, one.id, Answer.APPROVE, passkey.get(options))


def spend(house: House, call: str, agent: str | None = None) -> Approval:
    return house.database.write_sync(lambda tx: house.approvals.consume(tx, call, agent))


def refused(kind: Kind) -> Any:
    return pytest.raises(Refused, match=f"^{kind}: ")


async def types(house: House) -> list[tuple[str, object]]:
    events = await house.audit.trace(TRACE)
    return [(event.type, event.facts["state"]) for event in events]


async def test_a_person_approves_with_a_passkey_and_it_is_used_once(house: House) -> None:
    olivia, passkey = await house.operator()
    call = exact_call(olivia.id)
    asked = await ask(house, call, agent_text="please, it is urgent")
    with refused(Kind.STEP_UP_REQUIRED):
        spend(house, call.digest)

    said = await approve(house, olivia, passkey, asked)
    assert said.state is State.APPROVED
    assert said.approver == olivia.id

    spent = spend(house, call.digest, call.agent)
    assert spent.id == asked.id
    with refused(Kind.REPLAYED):
        spend(house, call.digest)
    assert (await house.approvals.get(asked.id)).state is State.CONSUMED
    assert await types(house) == [("approval-request", "pending"), ("approve", "approved")]
    assert (await house.audit.verify()).ok


async def test_the_stored_signature_can_be_verified_again_by_anyone(house: House) -> None:
    olivia, passkey = await house.operator()
    call = exact_call(olivia.id)
    said = await approve(house, olivia, passkey, await ask(house, call))
    kept = (await house.approvals.get(said.id)).assertion
    assert kept is not None
    signed = {"approval": said.id, "decision": "approve", "digest": call.digest}
    made = webauthn.verify_authentication_response(
        credential={
            "id": kept["credential_id"],
            "rawId": kept["credential_id"],
            "type": "public-key",
            "response": {
                "clientDataJSON": kept["client_data_json"],
                "authenticatorData": kept["authenticator_data"],
                "signature": kept["signature"],
            },
        },
        expected_challenge=hashlib.sha256(canonical(signed)).digest(),
        expected_rp_id="localhost",
        expected_origin=ORIGIN,
        credential_public_key=unb64(str(kept["public_key"])),
        credential_current_sign_count=0,
        require_user_verification=True,
    )
    assert made.user_verified
    event = (await house.audit.trace(TRACE))[-1]
    assert event.facts["assertion_digest"] == digest(kept)
    assert event.private["assertion"] == kept


async def test_the_same_question_is_asked_once(house: House) -> None:
    olivia, _ = await house.operator()
    call = exact_call(olivia.id)
    first, second = await asyncio.gather(ask(house, call), ask(house, call))
    assert first.id == second.id
    assert len(await house.audit.trace(TRACE)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"agent": "spiffe://localhost/agent/bookkeepeR"},
        {"chain": ("spiffe://localhost/agent/bookkeeper", "spiffe://localhost/agent/x")},
        {"mandate_id": "mdt_" + "b" * 26},
        {"server": "crm2"},
        {"tool": "write_query2"},
        {"tool_digest": digest("tool2")},
        {"policy_version": digest("policy2")},
        {"effect": "write"},
        {"manifest": digest("manifest2")},
        {"arguments": {"query": "DELETE FROM customers WHERE id = 4"}},
        {"arguments": {"query": "DELETE FROM customers WHERE id = 3 "}},
        {"arguments": {"query": "DELETE FROM customers WHERE id = 3", "approved": True}},
    ],
)
async def test_a_yes_to_one_call_is_worth_nothing_for_another(
    house: House, change: dict[str, Any]
) -> None:
    olivia, passkey = await house.operator()
    call = exact_call(olivia.id)
    await approve(house, olivia, passkey, await ask(house, call))
    other = exact_call(olivia.id, **change)
    with refused(Kind.STEP_UP_REQUIRED):
        spend(house, other.digest)
    with refused(Kind.DENIED):
        spend(house, call.digest, "spiffe://localhost/agent/other")


async def test_eight_who_race_to_spend_it_spend_it_once(house: House) -> None:
    olivia, passkey = await house.operator()
    call = exact_call(olivia.id)
    await approve(house, olivia, passkey, await ask(house, call))

    def unit(tx: Tx) -> Approval:
        return house.approvals.consume(tx, call.digest)

    answers = await asyncio.gather(
        *(house.database.write(unit) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(answer, Approval) for answer in answers) == 1
    assert {a.kind for a in answers if isinstance(a, Refused)} == {Kind.REPLAYED}


async def test_a_transaction_that_fails_gives_the_approval_back(house: House) -> None:
    olivia, passkey = await house.operator()
    call = exact_call(olivia.id)
    await approve(house, olivia, passkey, await ask(house, call))

    def unit(tx: Tx) -> None:
        house.approvals.consume(tx, call.digest)
        raise Refused(Kind.DENIED, "the budget is spent")

    with refused(Kind.DENIED):
        house.database.write_sync(unit)
    assert spend(house, call.digest).state is State.CONSUMED


async def test_approver_against_denier_has_one_winner(house: House) -> None:
    olivia, passkey = await house.operator()
    bob, bobs = await house.invite(olivia, "Bob", "approver")
    one = await ask(house, exact_call(olivia.id))
    yes = passkey.get(await house.approvals.options(olivia, one.id))
    also = bobs.get(await house.approvals.options(bob, one.id))
    answers = await asyncio.gather(
        house.approvals.answer(olivia, one.id, Answer.APPROVE, yes),
        house.approvals.answer(bob, one.id, Answer.DENY),
        house.approvals.answer(bob, one.id, Answer.APPROVE, also),
        house.approvals.answer(olivia, one.id, Answer.DENY),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Approval) for answer in answers) == 1
    assert {a.kind for a in answers if isinstance(a, Refused)} == {Kind.CONFLICT}
    assert len(await house.audit.trace(TRACE)) == 2


async def test_approving_takes_a_signature_over_this_very_approval(house: House) -> None:
    olivia, passkey = await house.operator()
    one = await ask(house, exact_call(olivia.id))
    other = await ask(house, exact_call(olivia.id, {"query": "DELETE FROM other"}))
    for_other = passkey.get(await house.approvals.options(olivia, other.id))
    no_user = Passkey(ORIGIN, verify_user=False)
    no_user.id, no_user.key, no_user.user = passkey.id, passkey.key, passkey.user
    options = dict(await house.approvals.options(olivia, one.id))
    elsewhere = Passkey("https://evil.test")
    elsewhere.id, elsewhere.key, elsewhere.user = passkey.id, passkey.key, passkey.user
    stranger = Passkey(ORIGIN)
    forged = passkey.get(options)
    forged["response"]["signature"] = b64(b"\x30\x06\x02\x01\x01\x02\x01\x01")
    denial = {**options, "challenge": b64(one.challenge(Answer.DENY))}
    for wrong in (
        None,
        {},
        for_other,
        no_user.get(options),
        elsewhere.get(options),
        stranger.get(options),
        forged,
        passkey.get(denial),
    ):
        with pytest.raises(Refused):
            await house.approvals.answer(olivia, one.id, Answer.APPROVE, wrong)
    assert (await house.approvals.get(one.id)).state is State.PENDING
    with refused(Kind.STEP_UP_REQUIRED):
        spend(house, one.digest)


async def test_nobody_approves_with_someone_elses_passkey(house: House) -> None:
    olivia, passkey = await house.operator()
    bob, _ = await house.invite(olivia, "Bob", "approver")
    one = await ask(house, exact_call(bob.id))
    options = await house.approvals.options(bob, one.id)
    with refused(Kind.DENIED):
        await house.approvals.answer(bob, one.id, Answer.APPROVE, passkey.get(options))


async def test_four_eyes_are_not_two(house: House) -> None:
    olivia, passkey = await house.operator()
    bob, bobs = await house.invite(olivia, "Bob", "approver")
    one = await ask(house, exact_call(olivia.id), four_eyes=True)
    with refused(Kind.DENIED):
        await house.approvals.options(olivia, one.id)
    signed = passkey.get({"rpId": "localhost", "challenge": b64(one.challenge(Answer.APPROVE))})
    with refused(Kind.DENIED):
        await house.approvals.answer(olivia, one.id, Answer.APPROVE, signed)
    assert (await approve(house, bob, bobs, one)).approver == bob.id


async def test_a_member_sees_and_answers_only_what_concerns_them(house: House) -> None:
    olivia, _ = await house.operator()
    mallory, key = await house.invite(olivia, "Mallory")
    one = await ask(house, exact_call(olivia.id))
    mine = await ask(house, exact_call(mallory.id))
    assert [a.id for a in (await house.approvals.inbox(mallory)).waiting] == [mine.id]
    assert await house.approvals.count_waiting(mallory) == 1
    assert await house.approvals.count_waiting(olivia) == 2
    for attempt in (
        house.approvals.show(mallory, one.id),
        house.approvals.options(mallory, one.id),
        house.approvals.answer(mallory, one.id, Answer.DENY),
        house.approvals.answer(mallory, one.id, Answer.APPROVE, {}),
        house.approvals.show(mallory, "apr_nothing"),
    ):
        with refused(Kind.NOT_FOUND):
            await attempt
    assert (await approve(house, mallory, key, mine)).state is State.APPROVED


async def test_a_person_disabled_meanwhile_cannot_answer(house: House) -> None:
    olivia, _ = await house.operator()
    bob, bobs = await house.invite(olivia, "Bob", "approver")
    one = await ask(house, exact_call(olivia.id))
    signed = bobs.get(await house.approvals.options(bob, one.id))
    await house.people.change(olivia, bob.id, state=PersonState.DISABLED)
    with refused(Kind.DENIED):
        await house.approvals.answer(bob, one.id, Answer.APPROVE, signed)
    with refused(Kind.DENIED):
        await house.approvals.answer(bob, one.id, Answer.DENY)


async def test_a_role_taken_away_meanwhile_counts(house: House) -> None:
    olivia, _ = await house.operator()
    bob, bobs = await house.invite(olivia, "Bob", "approver")
    one = await ask(house, exact_call(olivia.id))
    signed = bobs.get(await house.approvals.options(bob, one.id))
    await house.people.change(olivia, bob.id, roles=[])
    with refused(Kind.DENIED):
        await house.approvals.answer(bob, one.id, Answer.APPROVE, signed)


async def test_it_expires_and_says_so_once_in_the_log(house: House, clock: Clock) -> None:
    olivia, passkey = await house.operator()
    call = exact_call(olivia.id)
    one = await ask(house, call)
    signed = passkey.get(await house.approvals.options(olivia, one.id))
    clock.advance(LIFETIME.total_seconds())
    assert (await house.approvals.get(one.id)).state is State.EXPIRED
    with refused(Kind.EXPIRED):
        await house.approvals.answer(olivia, one.id, Answer.APPROVE, signed)
    with refused(Kind.EXPIRED):
        spend(house, call.digest)
    assert await house.approvals.sweep() == 1
    assert await house.approvals.sweep() == 0
    assert await types(house) == [("approval-request", "pending"), ("deny", "expired")]
    again = await ask(house, call)
    assert again.id != one.id


async def test_a_yes_expires_too(house: House, clock: Clock) -> None:
    olivia, passkey = await house.operator()
    call = exact_call(olivia.id)
    await approve(house, olivia, passkey, await ask(house, call))
    clock.advance(LIFETIME.total_seconds())
    with refused(Kind.EXPIRED):
        spend(house, call.digest)
    fresh = await ask(house, call)
    assert fresh.state is State.PENDING


async def test_after_a_no_the_agent_cannot_just_ask_again(house: House, clock: Clock) -> None:
    olivia, _ = await house.operator()
    call = exact_call(olivia.id)
    one = await ask(house, call)
    said = await house.approvals.answer(olivia, one.id, Answer.DENY, reason="  not today ")
    assert said.reason == "not today"
    with refused(Kind.DENIED):
        spend(house, call.digest)
    with refused(Kind.DENIED):
        await ask(house, call)
    clock.advance(COOLDOWN.total_seconds())
    assert (await ask(house, call)).id != one.id


async def test_an_agent_that_is_told_no_too_often_must_pause(house: House, clock: Clock) -> None:
    olivia, _ = await house.operator()
    for number in range(MAX_DENIALS):
        one = await ask(house, exact_call(olivia.id, {"query": f"DELETE {number}"}))
        await house.approvals.answer(olivia, one.id, Answer.DENY)
        clock.advance(1)
    with refused(Kind.DENIED):
        await ask(house, exact_call(olivia.id, {"query": "DELETE something else"}))
    other = exact_call(olivia.id, {"query": "x"}, agent="spiffe://localhost/agent/other")
    assert (await ask(house, other)).state is State.PENDING


async def test_a_thousand_questions_become_five(house: House) -> None:
    olivia, _ = await house.operator()
    calls = [exact_call(olivia.id, {"query": f"DELETE {number}"}) for number in range(1000)]
    answers = await asyncio.gather(*(ask(house, call) for call in calls), return_exceptions=True)
    assert sum(isinstance(answer, Approval) for answer in answers) == MAX_PENDING
    assert {a.detail for a in answers if isinstance(a, Refused)} == {"too many approvals pending"}
    assert await house.approvals.count_waiting(olivia) == MAX_PENDING
    assert len(await house.audit.trace(TRACE)) == MAX_PENDING


async def test_arguments_that_are_not_what_their_digest_says_are_refused(house: House) -> None:
    olivia, _ = await house.operator()
    lying = replace(exact_call(olivia.id), arguments={"query": "SELECT 1"})
    with refused(Kind.MALFORMED):
        await ask(house, lying)


@pytest.mark.parametrize("words", ["\ud800", "ok \udfff"])
async def test_words_that_cannot_be_kept_are_refused(house: House, words: str) -> None:
    olivia, _ = await house.operator()
    with refused(Kind.MALFORMED):
        await ask(house, exact_call(olivia.id), agent_text=words)


async def test_who_waits_wakes_when_the_answer_is_durable(house: House) -> None:
    olivia, passkey = await house.operator()
    one = await ask(house, exact_call(olivia.id))
    waiting = asyncio.create_task(house.approvals.wait(one.id, 30))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await approve(house, olivia, passkey, one)
    async with asyncio.timeout(0.5):
        assert (await waiting).state is State.APPROVED
    assert len(house.approvals._waiting) == 0


async def test_waiting_ends_by_itself(house: House) -> None:
    olivia, _ = await house.operator()
    one = await ask(house, exact_call(olivia.id))
    assert (await house.approvals.wait(one.id, 0.05)).state is State.PENDING
    assert (await house.approvals.wait(one.id, -1)).state is State.PENDING
    with refused(Kind.NOT_FOUND):
        await house.approvals.wait("apr_nothing", 1)
    assert len(house.approvals._waiting) == 0


class _Agent:
    def __init__(self, name: str) -> None:
        self.id = f"spiffe://localhost/agent/{name}"


async def test_an_agent_no_longer_trusted_loses_all_its_approvals(house: House) -> None:
    olivia, passkey = await house.operator()
    planner = "spiffe://localhost/agent/planner"
    granted, open_, kept = (
        exact_call(olivia.id, {"n": 1}),
        exact_call(olivia.id, {"n": 2}, agent="spiffe://localhost/agent/sub",
                   chain=("spiffe://localhost/agent/sub/i/2", "spiffe://localhost/agent/bookkeeper/i/1")),
        exact_call(olivia.id, {"n": 3}, agent=planner, chain=(planner,)),
    )  # fmt: skip
    yes = await approve(house, olivia, passkey, await ask(house, granted))
    pending, other = await ask(house, open_), await ask(house, kept)
    waiting = asyncio.create_task(house.approvals.wait(pending.id, 30))
    await asyncio.sleep(0.01)
    agent: Any = _Agent("bookkeeper")
    await house.database.write(lambda tx: house.approvals.cancel_for_agent(tx, agent))
    assert (await waiting).state is State.CANCELLED
    with refused(Kind.DENIED):
        spend(house, granted.digest)
    signed = passkey.get({"rpId": "localhost", "challenge": b64(pending.challenge(Answer.APPROVE))})
    with refused(Kind.CONFLICT):
        await house.approvals.answer(olivia, pending.id, Answer.APPROVE, signed)
    assert (await house.approvals.get(yes.id)).state is State.CANCELLED
    assert (await house.approvals.get(other.id)).state is State.PENDING
    assert (await types(house))[-2:] == [("revoke", "cancelled")] * 2


async def test_a_revoked_mandate_takes_its_questions_with_it(house: House) -> None:
    olivia, _ = await house.operator()
    one = await ask(house, exact_call(olivia.id))
    mandate = one.call.mandate_id
    await house.database.write(lambda tx: house.approvals.cancel_for_mandate(tx, mandate))
    assert (await house.approvals.get(one.id)).state is State.CANCELLED


async def test_a_stored_call_that_was_altered_is_not_shown(house: House) -> None:
    from sqlalchemy import text

    olivia, _ = await house.operator()
    one = await ask(house, exact_call(olivia.id))
    forged = canonical(exact_call(olivia.id, {"query": "SELECT 1"}).to_json()).decode()
    statement = text("UPDATE approval SET call = :forged")
    house.database.write_sync(lambda tx: tx.changed(statement, forged=forged))
    with pytest.raises(ValueError, match="does not hold the call"):
        await house.approvals.get(one.id)


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    steps=st.lists(st.sampled_from(["ask", "yes", "no", "spend", "later"]), max_size=7),
)
async def test_whatever_happens_a_call_runs_at_most_once_for_each_yes(
    house: House, clock: Clock, steps: list[str]
) -> None:
    salt = uuid4()  # not drawn: examples share the database, and a drawn one may come again
    if house.last is None:
        house.olivia = await house.operator()  # type: ignore[attr-defined] # once for all examples
    olivia, passkey = house.olivia  # type: ignore[attr-defined]
    agent = f"spiffe://localhost/agent/{salt}"
    call = exact_call(olivia.id, {"salt": str(salt)}, agent=agent)
    yes = spent = 0
    for step in steps:
        known = await house.approvals.find(call.digest)
        try:
            if step == "ask":
                await ask(house, call)
            elif step == "yes" and known:
                await approve(house, olivia, passkey, known)
                yes += 1
            elif step == "no" and known:
                await house.approvals.answer(olivia, known.id, Answer.DENY)
            elif step == "spend":
                spend(house, call.digest)
                spent += 1
            else:
                clock.advance(301)
        except Refused:
            pass
        assert spent <= yes


# -- where the values come from, and endorsing one of them -------------------------------------

STRANGERS = SlotOrigin(
    "/to/0", "/to/*", "eve@evil.example", "untrusted", "exact", "docs/read", "/body", "Mallory",
    endorsable=True,
)  # fmt: skip
SAID = SlotOrigin("/note", "/note", "rent", "user", "words")


async def endorse(
    house: House, person: Person, passkey: Passkey, one: Approval, *pointers: str
) -> Approval:
    options = await house.approvals.options(person, one.id, endorse=pointers)
    return await house.approvals.answer(
        person, one.id, Answer.APPROVE, passkey.get(options), endorse=pointers
    )


async def test_the_person_sees_where_values_come_from_and_endorses_one(house: House) -> None:
    olivia, passkey = await house.operator()
    kept: list[Approval] = []
    house.approvals.on_endorsed.append(lambda tx, given: kept.append(given))
    asked = await ask(house, exact_call(olivia.id), origins=(STRANGERS, SAID))
    assert (await house.approvals.show(olivia, asked.id)).origins == (STRANGERS, SAID)
    given = await endorse(house, olivia, passkey, asked, "/to/0")
    assert given.endorsed == ("/to/0",)
    assert (await house.approvals.show(olivia, asked.id)).endorsed == ("/to/0",)
    assert [one.id for one in kept] == [asked.id]
    leaves = {event.type: event for event in await house.audit.trace(TRACE)}
    assert leaves["approve"].private["endorsed"] == ["/to/0"]
    assert "eve@evil.example" not in str([event.facts for event in leaves.values()])


async def test_a_yes_without_a_tick_endorses_nothing(house: House) -> None:
    olivia, passkey = await house.operator()
    house.approvals.on_endorsed.append(lambda tx, given: pytest.fail("nothing was endorsed"))
    asked = await ask(house, exact_call(olivia.id), origins=(STRANGERS,))
    assert (await approve(house, olivia, passkey, asked)).endorsed == ()


async def test_only_what_was_offered_is_endorsed(house: House) -> None:
    olivia, _ = await house.operator()
    asked = await ask(house, exact_call(olivia.id), origins=(STRANGERS, SAID))
    for pointer in ("/note", "/to", "/to/1", "", "/to/*"):
        with refused(Kind.MALFORMED):
            await house.approvals.options(olivia, asked.id, endorse=(pointer,))
        with refused(Kind.MALFORMED):
            await house.approvals.answer(olivia, asked.id, Answer.APPROVE, {}, endorse=(pointer,))
    with refused(Kind.MALFORMED):
        await house.approvals.answer(olivia, asked.id, Answer.DENY, endorse=("/to/0",))
    assert (await house.approvals.get(asked.id)).state is State.PENDING


async def test_a_signature_for_the_call_alone_does_not_endorse(house: House) -> None:
    """Whoever sits between page and server cannot add or remove a tick after the signature."""
    olivia, passkey = await house.operator()
    asked = await ask(house, exact_call(olivia.id), origins=(STRANGERS,))
    plain = passkey.get(await house.approvals.options(olivia, asked.id))
    with refused(Kind.UNAUTHENTICATED):
        await house.approvals.answer(olivia, asked.id, Answer.APPROVE, plain, endorse=("/to/0",))
    ticked = passkey.get(await house.approvals.options(olivia, asked.id, endorse=("/to/0",)))
    with refused(Kind.UNAUTHENTICATED):
        await house.approvals.answer(olivia, asked.id, Answer.APPROVE, ticked)
    assert (await house.approvals.get(asked.id)).state is State.PENDING
