"""The rules of approvals, without a database."""

from contextlib import nullcontext
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfor.approval.model import (
    COOLDOWN,
    MAX_DENIALS,
    MAX_PENDING,
    Answer,
    Approval,
    ExactCall,
    Recent,
    State,
    check_may_answer,
    check_not_flooding,
)
from actfor.errors import Kind, Refused
from actfor.wire.canonical import canonical, digest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ARGUMENTS = {"query": "DELETE FROM customers WHERE id = 3"}
CALL = ExactCall(
    agent="spiffe://example.com/agent/bookkeeper",
    chain=("spiffe://example.com/agent/bookkeeper", "spiffe://example.com/agent/planner"),
    person_id="usr_alice",
    mandate_id="mdt_1",
    server="crm",
    tool="write_query",
    tool_digest="sha-256:tool",
    arguments=ARGUMENTS,
    arguments_digest=digest(ARGUMENTS),
    policy_version="sha-256:policy",
    effect="delete",
    manifest="sha-256:manifest",
)


def approval(**changes: object) -> Approval:
    one = Approval("apr_1", CALL.digest, NOW + timedelta(minutes=10), CALL, NOW, "dec_1")
    return replace(one, **changes)  # type: ignore[arg-type] # test data


@pytest.mark.parametrize("name", [field.name for field in fields(ExactCall)])
def test_every_member_of_the_call_is_under_the_digest(name: str) -> None:
    old: Any = getattr(CALL, name)
    other: Any = (
        (*old, "x")
        if isinstance(old, tuple)
        else {"query": "x"}
        if isinstance(old, dict)
        else old + "x"
    )
    assert replace(CALL, **{name: other}).digest != CALL.digest


def test_a_call_survives_being_stored() -> None:
    stored = canonical(CALL.to_json())
    from actfor.wire import strict_json

    assert ExactCall.from_json(strict_json.load_object(stored)) == CALL


@given(st.lists(st.sampled_from(["approve", "deny", "consume", "wait", "cancelled"]), max_size=8))
def test_an_approval_is_consumed_at_most_once_and_never_after_a_no(steps: list[str]) -> None:
    one, now, consumed, said_no = approval(), NOW, 0, False
    for step in steps:
        try:
            if step == "approve":
                one = one.approve("usr_alice", {}, now)
            elif step == "deny":
                one, said_no = one.deny("usr_alice", None, now), True
            elif step == "consume":
                one = one.consume(CALL.digest, now)
                consumed += 1
                assert not said_no
            elif step == "cancelled" and one.at(now).state in {State.PENDING, State.APPROVED}:
                one, said_no = replace(one, state=State.CANCELLED), True
            else:
                now += timedelta(minutes=4)
        except Refused:
            pass
    assert consumed <= 1


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (State.PENDING, Kind.STEP_UP_REQUIRED),
        (State.DENIED, Kind.DENIED),
        (State.EXPIRED, Kind.EXPIRED),
        (State.CANCELLED, Kind.DENIED),
        (State.CONSUMED, Kind.REPLAYED),
    ],
)
def test_only_an_approved_call_can_be_spent(state: State, kind: Kind) -> None:
    with pytest.raises(Refused) as refused:
        approval(state=state).consume(CALL.digest, NOW)
    assert refused.value.kind is kind


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1)])
def test_a_yes_is_worth_nothing_from_the_moment_it_expires(late: timedelta) -> None:
    yes = approval().approve("usr_alice", {}, NOW)
    with pytest.raises(Refused) as refused:
        yes.consume(CALL.digest, yes.expires_at + late)
    assert refused.value.kind is Kind.EXPIRED


def test_a_yes_to_one_call_is_no_yes_to_another() -> None:
    yes = approval().approve("usr_alice", {}, NOW)
    with pytest.raises(Refused) as refused:
        yes.consume(replace(CALL, tool="drop").digest, NOW)
    assert refused.value.kind is Kind.DENIED


def test_the_challenge_differs_for_each_approval_answer_and_call() -> None:
    other_call = replace(CALL, arguments={"query": "x"})
    challenges = {
        approval().challenge(Answer.APPROVE),
        approval().challenge(Answer.DENY),
        approval(id="apr_2").challenge(Answer.APPROVE),
        approval(digest=other_call.digest).challenge(Answer.APPROVE),
    }
    assert len(challenges) == 4
    assert all(len(challenge) == 32 for challenge in challenges)


@pytest.mark.parametrize(
    ("who", "roles", "four_eyes", "answer", "allowed"),
    [
        ("usr_alice", {"member"}, False, Answer.APPROVE, True),
        ("usr_alice", {"member"}, True, Answer.APPROVE, False),
        ("usr_alice", {"member", "admin", "approver"}, True, Answer.APPROVE, False),
        ("usr_alice", {"member"}, True, Answer.DENY, True),
        ("usr_bob", {"member"}, False, Answer.APPROVE, False),
        ("usr_bob", {"member"}, False, Answer.DENY, False),
        ("usr_bob", {"member", "approver"}, False, Answer.APPROVE, True),
        ("usr_bob", {"member", "approver"}, True, Answer.APPROVE, True),
        ("usr_bob", {"member", "admin"}, True, Answer.APPROVE, True),
        (CALL.agent, {"admin", "approver"}, False, Answer.APPROVE, False),
        (CALL.chain[1], {"admin", "approver"}, False, Answer.APPROVE, False),
        (CALL.agent, {"admin"}, False, Answer.DENY, False),
    ],
)
def test_who_may_answer(
    who: str, roles: set[str], *, four_eyes: bool, answer: Answer, allowed: bool
) -> None:
    one = approval(four_eyes=four_eyes)
    with nullcontext() if allowed else pytest.raises(Refused, match=r"^denied: "):
        check_may_answer(one, answer, person_id=who, roles=frozenset(roles), active=True)


def test_a_suspended_person_may_not_even_say_no() -> None:
    with pytest.raises(Refused):
        check_may_answer(
            approval(), Answer.DENY, person_id="usr_alice", roles=frozenset({"admin"}), active=False
        )


@pytest.mark.parametrize(
    ("recent", "refused"),
    [
        (Recent(0), False),
        (Recent(MAX_PENDING - 1), False),
        (Recent(MAX_PENDING), True),
        (Recent(0, (NOW,) * (MAX_DENIALS - 1)), False),
        (Recent(0, (NOW,) * MAX_DENIALS), True),
        (Recent(0, (NOW - COOLDOWN,) * MAX_DENIALS), False),
        (Recent(0, (NOW,), NOW), True),
        (Recent(0, (), NOW - COOLDOWN + timedelta(seconds=1)), True),
        (Recent(0, (), NOW - COOLDOWN), False),
    ],
)
def test_asking_must_not_become_pressure(recent: Recent, *, refused: bool) -> None:
    with pytest.raises(Refused, match=r"^denied: ") if refused else nullcontext():
        check_not_flooding(recent, NOW)
