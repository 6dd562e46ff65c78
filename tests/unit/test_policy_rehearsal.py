"""Looking back at decisions and trying out others: replay, counterfactuals, simulation."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes.gateway_world import World, build, counting_http
from tests.unit.test_authorization_model import SAFE
from tests.unit.test_authorization_model import facts as any_facts
from tests.unit.test_enforce import call, pending
from tests.unit.test_policy_index import sources

from actfor.approval import LIFETIME
from actfor.authorization import CallFacts, Rehearsal, compile_policies, to_request
from actfor.authorization.model import Effect, PolicySet, ToolEffect
from actfor.authorization.model.counterfactual import remedies
from actfor.authorization.model.recorded import Recorded, Unusable, adapted, read, redecide
from actfor.authorization.model.simulation import SPAN, Questions, first_questions, simulate
from actfor.authorization.policies import default_source
from actfor.errors import Refused
from actfor.gateway.model import Http
from actfor.store import Database
from actfor.wire.rar import Budget, Grant, Money

PACK = compile_policies()
CALL = SAFE._replace(effect=ToolEffect.WRITE)
PAY = SAFE._replace(effect=ToolEffect.PAY, amount_minor=7000, amount_currency="EUR")
AT = datetime(2026, 11, 24, tzinfo=UTC)


def words(facts: CallFacts, policies: PolicySet = PACK) -> list[tuple[str, str]]:
    return [
        (remedy.decision.effect.value, remedy.words)
        for remedy in remedies(to_request(facts), policies)
    ]


# -- what would have made it pass ---------------------------------------------------------------


def test_nothing_is_offered_for_what_is_permitted() -> None:
    assert words(CALL) == []


def test_an_approval_is_the_smallest_change_for_a_step_up() -> None:
    assert words(SAFE._replace(effect=ToolEffect.DELETE)) == [
        ("permit", "a person approves exactly this call")
    ]


def test_the_largest_smaller_amount_is_named() -> None:
    assert words(PAY) == [
        ("permit", "a person approves exactly this call"),
        ("permit", "the amount is 50.00 EUR or less"),
    ]
    over = PAY._replace(budget_amount_left_minor=6000)
    assert words(over)[:2] == [
        ("permit", "the amount is 50.00 EUR or less"),
        ("step-up", "the amount is 60.00 EUR or less"),
    ]
    assert ("step-up", "the mandate has 70.00 EUR left to spend") in words(over)


def test_what_is_outside_the_mandate_says_which_constraint_failed() -> None:
    outside = CALL._replace(in_mandate=False, mandate_reason="argument `/to` is not allowed")
    assert words(outside) == [
        ("permit", "the call keeps to the mandate (argument `/to` is not allowed)"),
        ("permit", "the person's mandate covers exactly this call"),
    ]


def test_several_faults_need_several_changes_and_no_more() -> None:
    found = words(
        CALL._replace(tool_pinned=False, tool_state="changed", tier="high", assurance="none")
    )
    assert found == [
        (
            "permit",
            "an operator approves the tool's present definition"
            " and the agent is attested by measurement",
        )
    ]


def test_where_nothing_helps_that_is_the_answer() -> None:
    never = compile_policies(
        default_source()
        + '@id("never")@reason("not on a ship") forbid (principal, action, resource);'
    )
    assert words(CALL, never) == []


@settings(max_examples=80, deadline=None)
@given(sources, any_facts)
def test_every_remedy_leads_where_it_says_and_is_needed_as_a_whole(
    source: str, facts: CallFacts
) -> None:
    policies, request = compile_policies(source), to_request(facts)
    before = redecide(request, policies).effect
    for remedy in remedies(request, policies):
        assert before is not Effect.PERMIT
        assert remedy.decision.effect is not before
        changed: dict[str, Any] = {}
        for lever in remedy.levers:
            changed |= lever.facts
        again = redecide(to_request(facts._replace(**changed)), policies)
        assert again.effect is remedy.decision.effect


# -- replay -------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(sources, any_facts)
def test_a_decision_is_decided_again_from_its_record(source: str, facts: CallFacts) -> None:
    policies, request = compile_policies(source), to_request(facts)
    decided = redecide(request, policies)
    leaf = {
        "agent": request.subject,
        "resource": request.resource,
        "effect": request.action,
        **decided.facts(),
    }
    found = read("dec_1", AT, leaf, {"context": dict(request.context)})
    assert isinstance(found, Recorded)
    again = redecide(found.request, policies)
    assert (again.effect, again.policies, again.reasons) == (
        decided.effect,
        decided.policies,
        decided.reasons,
    )


@pytest.mark.parametrize(
    ("facts", "private", "why"),
    [
        ({"decision": "deny", "stage": "credential"}, {}, "before the policies"),
        ({"decision": "permit"}, {"context": {}}, "before the policies"),
        ({"decision": "permit", "policy_version": "v"}, {}, "erased"),
        ({"decision": "permit", "policy_version": "v"}, {"context": {}}, "does not name"),
        ({"decision": "perhaps", "policy_version": "v"}, {"context": {}}, "before the policies"),
    ],
)
def test_what_cannot_be_asked_again_says_why(
    facts: dict[str, str], private: dict[str, Any], why: str
) -> None:
    found = read("dec_1", AT, facts, private)
    assert isinstance(found, Unusable)
    assert why in found.why


def test_a_record_that_is_older_than_a_fact_gets_the_default_that_denies() -> None:
    request = to_request(CALL)
    older = {name: fact for name, fact in request.context.items() if name != "tool_pinned"}
    lost = {**older, "forgotten": 1}
    made = adapted(request._replace(context=lost), PACK.schema)
    assert made.context["tool_pinned"] is False
    assert "forgotten" not in made.context
    assert PACK.decide(made).effect is Effect.DENY
    assert adapted(request, PACK.schema) is request


# -- simulate -----------------------------------------------------------------------------------


def recorded(facts: CallFacts, name: str = "dec_1") -> Recorded:
    request = to_request(facts)
    decided = redecide(request, PACK)
    return Recorded(
        name, AT, request, decided.effect, decided.policies, decided.reasons, decided.version,
        None, None,
    )  # fmt: skip


def test_a_call_counts_once_by_the_question_nobody_had_answered_yet() -> None:
    asked = SAFE._replace(effect=ToolEffect.DELETE)
    newest_first = [
        recorded(asked._replace(approved=True)),
        recorded(asked),
        recorded(asked),
        Unusable("x"),
    ]
    calls, unusable = first_questions(newest_first)
    assert [call.effect for call in calls] == [Effect.STEP_UP]
    assert unusable == {"x": 1}


def test_the_records_of_a_call_may_come_in_different_portions() -> None:
    assert SPAN > 2 * LIFETIME  # asked, and answered at the last moment
    asked = SAFE._replace(effect=ToolEffect.DELETE)
    later = [
        replace(recorded(asked._replace(approved=True), "dec_2"), at=AT + timedelta(minutes=20)),
        replace(recorded(SAFE, "dec_1"), at=AT + timedelta(minutes=9)),
        replace(recorded(asked, "dec_2"), at=AT + timedelta(minutes=8)),
    ]
    older = [replace(recorded(asked, "dec_2"), at=AT), Unusable("x")]
    oldest = [replace(recorded(SAFE, "dec_0"), at=AT - SPAN - timedelta(minutes=1))]
    questions = Questions()
    assert [call.id for call in questions.take(later)] == ["dec_1"]
    assert questions.take(older) == []
    assert [(call.id, call.at) for call in questions.take(oldest)] == [
        ("dec_0", oldest[0].at),
        ("dec_2", AT),
    ]
    assert (questions.rest(), questions.unusable) == ([], {"x": 1})


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_portions_make_no_difference(data: st.DataObject) -> None:
    asked = SAFE._replace(effect=ToolEffect.DELETE)
    kinds = st.sampled_from([SAFE, asked, asked._replace(approved=True)])
    newest_first = [
        replace(
            recorded(facts, f"dec_{name}" if facts is not SAFE else f"own_{at}"),
            at=AT - at * SPAN / 20,
        )
        for at, (facts, name) in enumerate(
            data.draw(st.lists(st.tuples(kinds, st.integers(0, 3)), max_size=20))
        )
    ]
    whole, _ = first_questions(newest_first)
    questions, found = Questions(), []
    size = data.draw(st.integers(1, 7))
    for at in range(0, len(newest_first), size):
        found += questions.take(newest_first[at : at + size])
    assert sorted([*found, *questions.rest()], key=str) == sorted(whole, key=str)


def test_a_simulation_counts_what_moves_and_shows_examples() -> None:
    calls = [
        recorded(PAY._replace(amount_minor=amount), f"dec_{amount}") for amount in range(4990, 5010)
    ]
    stricter = compile_policies(default_source().replace("<= 5000", "<= 4994"))
    tally = simulate(calls, stricter)
    assert (tally.calls, tally.changed, tally.errors) == (20, 6, 0)
    assert tally.before == {Effect.PERMIT: 11, Effect.STEP_UP: 9}
    assert tally.after == {Effect.PERMIT: 5, Effect.STEP_UP: 15}
    (move,) = tally.moves.values()
    assert (move.before, move.after, move.count) == (Effect.PERMIT, Effect.STEP_UP, 6)
    assert len(move.examples) == 5
    assert move.examples[0].before == ("small-payment-in-mandate",)
    assert not simulate(calls, PACK).moves


# -- on a gateway's own records -------------------------------------------------------------------


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    with counting_http(tmp_path_factory.mktemp("counting") / "journal") as url:
        yield Http(url)


@pytest.fixture
async def world(
    database: Database, clock: Clock, tmp_path: Path, upstream: Http
) -> AsyncIterator[World]:
    made = await build(database, clock.now, tmp_path, journal=tmp_path / "journal")
    await made.add(transport=upstream)
    yield made
    await made.catalog.close()


@pytest.fixture
async def traffic(world: World) -> list[str]:
    """A read, a held deletion, its approved call, an over-budget payment, a tool not granted."""
    budget = Budget(amount=Money(Decimal("10.00"), "EUR"))
    token = await world.token(budget=budget)
    traces = [(await call(world, token, "echo", text="hello")).trace]
    asked = pending(await call(world, token, "delete_record", id=3))
    traces.append(asked.trace)
    await world.answer(asked.question.approval_id)
    await call(world, token, "delete_record", id=3)
    traces.append((await call(world, token, "pay", amount="100.00", to="me")).trace)
    narrow = await world.token(Grant("counting", ("echo",), ("read",)))
    traces.append((await call(world, narrow, "query", query="SELECT 1")).trace)
    return traces


async def test_every_recorded_decision_of_the_gateway_replays(
    world: World, traffic: list[str], clock: Clock
) -> None:
    rehearsal = Rehearsal(world.authorization, world.house.audit, clock.now)
    found: dict[str, list[Effect]] = {}
    for trace in traffic:
        for account in await rehearsal.account(trace):
            assert account.replayed
            assert account.record is not None
            found.setdefault(trace, []).append(account.record.effect)
    assert list(found.values()) == [
        [Effect.PERMIT],
        [Effect.STEP_UP, Effect.PERMIT],
        [Effect.DENY],
        [Effect.DENY],
    ]


async def test_they_replay_after_other_policies_came_into_force(
    world: World, traffic: list[str], clock: Clock
) -> None:
    rehearsal = Rehearsal(world.authorization, world.house.audit, clock.now)
    shut = '@id("shut")@reason("closed") forbid (principal, action, resource);'
    await world.authorization.publish(world.operator.id, default_source() + shut)
    (account,) = await rehearsal.account(traffic[0])
    assert account.replayed
    assert account.explanation.decision.effect is Effect.PERMIT
    assert (account.now.effect, account.now.policies) == (Effect.DENY, ("shut",))


async def test_a_candidate_is_tried_on_what_really_happened(
    world: World, traffic: list[str], clock: Clock
) -> None:
    rehearsal = Rehearsal(world.authorization, world.house.audit, clock.now)
    shut = '@id("shut")@reason("closed") forbid (principal, action, resource);'
    tally, _ = await rehearsal.simulate(default_source() + shut, last=timedelta(days=7))
    assert (tally.calls, tally.changed) == (4, 2)
    assert {(move.before.value, move.after.value) for move in tally.moves.values()} == {
        ("permit", "deny"),
        ("step-up", "deny"),
    }
    same, reach = await rehearsal.simulate(default_source(), last=timedelta(days=7))
    assert (same.calls, same.changed, reach.complete, reach.seen) == (4, 0, True, 5)
    few = Rehearsal(world.authorization, world.house.audit, clock.now, most=2)
    cut, reach = await few.simulate(default_source(), last=timedelta(days=7))
    assert (cut.calls, reach.complete, reach.seen) == (2, False, 2)
    for held in (1, 2, 3, 5):  # in memory at once: it makes no difference to what is counted
        slow = Rehearsal(world.authorization, world.house.audit, clock.now, held=held)
        again, reach = await slow.simulate(default_source() + shut, last=timedelta(days=7))
        assert (again.before, again.after, again.changed) == (tally.before, tally.after, 2)
        assert (reach.complete, reach.seen) == (True, 5)
    clock.advance(3600)
    late, _ = await rehearsal.simulate(default_source(), last=timedelta(minutes=1))
    assert late.calls == 0
    other, _ = await rehearsal.simulate(
        default_source(), last=timedelta(days=7), agent="spiffe://x/agent/y"
    )
    assert other.calls == 0


async def test_a_decision_nobody_made_is_not_explained(world: World, clock: Clock) -> None:
    rehearsal = Rehearsal(world.authorization, world.house.audit, clock.now)
    with pytest.raises(Refused, match="no decision"):
        await rehearsal.account("dec_" + "a" * 26)
