"""Trials on live traffic: a shadow changes no answer, report-only lifts nothing but policy."""

import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes.gateway_world import World, build, counting_http
from tests.unit.test_authorization_model import SAFE
from tests.unit.test_authorization_model import facts as any_facts
from tests.unit.test_enforce import call, denied, pending
from tests.unit.test_policy_index import sources

from actfor.authorization import CallFacts, Rehearsal, Trials, compile_policies, to_request
from actfor.authorization.model import Effect, ToolEffect, bind
from actfor.authorization.model.trial import Run, Trial, may_relax, relaxed, shadowed
from actfor.authorization.policies import default_source
from actfor.errors import Kind, Refused
from actfor.gateway.calls import Answered, Stage
from actfor.gateway.model import Http
from actfor.store import Database
from actfor.wire.rar import Grant

PACK = compile_policies()
SHUT = default_source() + '@id("shut")@reason("closed") forbid (principal, action, resource);'
ASKS = (
    default_source()
    + '@id("reads-ask")@reason("read it first") forbid (principal, action == Action::"read", '
    "resource) unless { context.approved };"
)
HARD = ASKS.replace('@reason("read it first")', '@reason("read it first")@hard("law")')
DAY = timedelta(days=1)
_AT = datetime(2026, 11, 24, tzinfo=UTC)


def run(clock: Clock, **changes: object) -> Run:
    made = Run(
        "trl_1", Trial.REPORT_ONLY, SAFE.agent, None, frozenset(ToolEffect), "", "usr_1", "why",
        clock.now(), clock.now() + DAY,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type] # fields by name


# -- what a trial may do, as laws -----------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(sources, sources, any_facts)
def test_a_shadow_never_changes_an_answer(source: str, candidate: str, facts: CallFacts) -> None:
    request = to_request(facts)
    decision = compile_policies(source).decide(request)
    made = shadowed(
        run(Clock(_AT), kind=Trial.SHADOW), decision, compile_policies(candidate).decide(request)
    )
    assert made._replace(shadow=None) == decision


@settings(max_examples=300, deadline=None)
@given(st.one_of(sources, st.just(ASKS)), any_facts)
def test_report_only_lifts_nothing_outside_the_policies_word(source: str, facts: CallFacts) -> None:
    policies, request = compile_policies(source), to_request(facts)
    decision = bind(policies.decide(request), request)
    made = relaxed(run(Clock(_AT)), decision, request, policies.hard)
    if made.effect is decision.effect:
        return
    assert made.effect is Effect.PERMIT
    assert facts.in_mandate
    assert facts.within_caps
    assert facts.tool_pinned
    assert facts.sender_constrained
    assert not facts.requires_approval
    assert facts.via == "gateway"
    assert not (facts.tier == "high" and facts.assurance != "measured")
    assert not decision.errors
    assert bind(made, request) == made
    assert made.facts()["shadow"] == {
        "trial": "trl_1",
        "enforced": False,
        "decision": decision.effect.value,
    }


def test_a_policy_marked_hard_is_never_lifted() -> None:
    for source, lifted in ((ASKS, True), (HARD, False)):
        policies, request = compile_policies(source), to_request(SAFE)
        decision = policies.decide(request)
        assert decision.effect is Effect.STEP_UP
        assert may_relax(decision, request, policies.hard) is lifted


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"agent": None}, "one agent or for one mandate"),
        ({"mandate": "mdt_1"}, "one agent or for one mandate"),
        ({"effects": frozenset()}, "needs the effects"),
        ({"note": " "}, "needs a note"),
        ({"ends_at": _AT + timedelta(days=8)}, "at most 7 days"),
        ({"ends_at": _AT}, "at most 7 days"),
        ({"kind": Trial.SHADOW, "ends_at": _AT + timedelta(days=31)}, "at most 30 days"),
    ],
)
def test_a_trial_is_bounded_and_named(changes: dict[str, object], says: str) -> None:
    with pytest.raises(Refused, match=says):
        run(Clock(_AT), **changes)


# -- on a gateway ---------------------------------------------------------------------------------


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
def trials(world: World, database: Database, clock: Clock) -> Trials:
    return Trials(world.authorization, database, world.house.audit, clock.now, four_eyes=False)


async def test_a_shadow_records_where_it_differs_and_changes_no_answer(
    world: World, trials: Trials, clock: Clock
) -> None:
    shadow = await trials.shadow("usr_1", SHUT, lasting=DAY)
    token = await world.token()
    outcome = await call(world, token, "echo", text="hello")
    assert isinstance(outcome, Answered)
    asked = pending(await call(world, token, "delete_record", id=1))
    decision = (await world.events(outcome.trace))[0]
    assert decision["facts"]["decision"] == "permit"
    assert decision["facts"]["shadow"] == {
        "trial": shadow.id,
        "decision": "deny",
        "policies": ["shut"],
    }
    report = await trials.report(shadow.id)
    assert (report.calls, report.differing) == (2, 2)
    assert report.examples == {
        ("permit", "deny"): [outcome.trace],
        ("step-up", "deny"): [asked.trace],
    }
    rehearsal = Rehearsal(world.authorization, world.house.audit, clock.now)
    assert all(account.replayed for account in await rehearsal.account(outcome.trace))


async def test_a_report_that_could_not_look_at_all_says_so(
    world: World, trials: Trials, database: Database, clock: Clock
) -> None:
    shadow = await trials.shadow("usr_1", SHUT, lasting=timedelta(minutes=1))
    token = await world.token()
    for _ in range(3):
        await call(world, token, "echo", text="hello")
    clock.advance(61)
    await call(world, token, "echo", text="after it")
    rooms = (world.authorization, database, world.house.audit, clock.now)
    report = await Trials(*rooms, four_eyes=False, most=2).report(shadow.id)
    assert (report.calls, report.reach.complete, report.reach.seen) == (2, False, 2)
    report = await Trials(*rooms, four_eyes=False, most=3).report(shadow.id)
    assert (report.calls, report.reach.complete) == (3, True)
    few = await Trials(*rooms, four_eyes=False, held=1).report(shadow.id)  # in memory at once
    assert (few.calls, few.moves) == (report.calls, report.moves)


async def test_a_shadow_that_agrees_leaves_no_mark(world: World, trials: Trials) -> None:
    shadow = await trials.shadow("usr_1", default_source() + "// alike\n", lasting=DAY)
    outcome = await call(world, await world.token(), "echo", text="hello")
    assert isinstance(outcome, Answered)
    assert "shadow" not in (await world.events(outcome.trace))[0]["facts"]
    report = await trials.report(shadow.id)
    assert (report.calls, report.differing) == (1, 0)


async def test_a_trial_ends_when_it_is_stopped_or_its_time_is_over(
    world: World, trials: Trials, clock: Clock
) -> None:
    request = to_request(SAFE)
    first = await trials.shadow("usr_1", SHUT, lasting=DAY)
    assert world.authorization.decide(request).shadow is not None
    with pytest.raises(Refused, match="is going on, stop it first"):
        await trials.shadow("usr_1", ASKS, lasting=DAY)
    await trials.stop("usr_1", first.id)
    assert world.authorization.beside is None
    with pytest.raises(Refused, match="was stopped before"):
        await trials.stop("usr_1", first.id)
    await trials.shadow("usr_1", SHUT, lasting=DAY)
    clock.advance(DAY.total_seconds())
    assert world.authorization.decide(request).shadow is None
    await trials.load()
    assert world.authorization.beside is None


async def test_trials_go_on_after_a_restart(
    world: World, trials: Trials, database: Database, clock: Clock
) -> None:
    clock.advance(0.000_123)  # finer than what is stored
    await trials.shadow("usr_1", SHUT, lasting=DAY)
    world.authorization.beside = None
    again = Trials(world.authorization, database, world.house.audit, clock.now, four_eyes=False)
    await again.load()
    assert world.authorization.decide(to_request(SAFE)).shadow is not None


async def test_a_candidate_that_raises_is_suspended_and_the_answer_stands(
    world: World, trials: Trials, caplog: pytest.LogCaptureFixture
) -> None:
    shadow = await trials.shadow("usr_1", SHUT, lasting=DAY)
    (live,) = trials._live
    live.policies = object()  # type: ignore[assignment] # what no candidate can be
    with caplog.at_level(logging.ERROR):
        assert world.authorization.decide(to_request(SAFE)).effect is Effect.PERMIT
    assert "is suspended on this node: it raised AttributeError" in caplog.text
    assert (await trials.report(shadow.id)).suspended == "it raised AttributeError"


async def test_report_only_lets_pass_inside_the_mandate_and_says_so_loudly(
    world: World, trials: Trials, caplog: pytest.LogCaptureFixture
) -> None:
    token = await world.token()
    trial = await trials.report_only(
        "usr_1", effects=[ToolEffect.DELETE], lasting=DAY, mandate=token.mandate.id, note="rollout"
    )
    with caplog.at_level(logging.WARNING):
        outcome = await call(world, token, "delete_record", id=1)
    assert isinstance(outcome, Answered)
    assert "NOT ENFORCED" in caplog.text
    facts = (await world.events(outcome.trace))[0]["facts"]
    assert facts["decision"] == "permit"
    assert facts["shadow"] == {"trial": trial.id, "enforced": False, "decision": "step-up"}
    report = await trials.report(trial.id)
    assert report.moves == {("permit", "step-up"): 1}
    # Another effect, another mandate, and what is outside of this one are enforced as ever.
    paid = await call(world, token, "pay", amount="100.00", to="me")
    assert not isinstance(paid, Answered)
    pending(await call(world, await world.token(), "delete_record", id=1))
    narrow = await world.token(Grant("counting", ("echo",), ("read",)))
    denied(await call(world, narrow, "delete_record", id=1), Stage.POLICY)
    await trials.stop("usr_1", trial.id)
    pending(await call(world, token, "delete_record", id=2))


async def test_report_only_is_not_for_one_person_where_changes_take_two(
    world: World, database: Database, clock: Clock
) -> None:
    two = Trials(world.authorization, database, world.house.audit, clock.now, four_eyes=True)
    with pytest.raises(Refused, match="takes two people") as refused:
        await two.report_only(
            "usr_1", effects=[ToolEffect.READ], lasting=DAY, agent=SAFE.agent, note="why"
        )
    assert refused.value.kind is Kind.DENIED


async def test_starting_and_stopping_stand_in_the_log(world: World, trials: Trials) -> None:
    trial = await trials.report_only(
        "usr_1", effects=[ToolEffect.READ], lasting=DAY, agent=SAFE.agent, note="a person's words"
    )
    await trials.stop("usr_2", trial.id)
    events = [one for one in await world.house.audit.search(limit=20) if one.trace == trial.id]
    assert [event.facts["state"] for event in events] == ["stopped", "started"]
    assert "a person's words" not in str(events[1].facts)
    assert events[1].private == {"author": "usr_1", "note": "a person's words"}


async def test_a_trial_that_the_log_does_not_hold_is_not_taken_up(
    world: World, trials: Trials, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trial = await trials.report_only(
        "usr_1", effects=[ToolEffect.READ], lasting=DAY, agent=SAFE.agent, note="why"
    )
    with sqlite3.connect(tmp_path / "actfor.db") as raw:
        raw.execute("UPDATE policy_trial SET effects = 'delete pay' WHERE id = ?", (trial.id,))
    again = Trials(
        world.authorization,
        world.database,
        world.house.audit,
        world.house.clock,
        four_eyes=False,
    )
    await again.load()
    assert world.authorization.beside is None
    assert "is not in the log" in caplog.text
