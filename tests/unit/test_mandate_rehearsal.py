"""Another authority on recorded calls: what it would refuse, and the least that was needed."""

import tracemalloc
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
from tests.unit.test_enforce import call, pending

from actfor.audit import Event, EventType
from actfor.delegation.model import MandateDraft
from actfor.delegation.rehearsing import Trying, UsedCall, simulate
from actfor.delegation.service.rehearsal import MandateRehearsal
from actfor.delegation.suggesting import Uses, suggest
from actfor.gateway.model import Http
from actfor.store import Database
from actfor.wire.rar import (
    Authority,
    Budget,
    Call,
    Grant,
    Money,
    authority_from_draft,
    constraint_from_json,
    draft_of,
    narrows,
)

AT = datetime(2026, 11, 24, tzinfo=UTC)
WIDE = Authority(
    (
        Grant("crm", ("*",), ("read", "write", "delete")),
        Grant("bank", ("pay", "refund"), ("pay",)),
        Grant("mail", ("send",), ("share",)),
    ),
    Budget(calls=1000, amount=Money(Decimal(10_000), "EUR")),
)


def used(
    server: str,
    tool: str,
    effect: str,
    number: int = 0,
    *,
    passed: bool = True,
    **arguments: object,
) -> UsedCall:
    amount = arguments.pop("amount", None)
    money = None if amount is None else Money(Decimal(str(amount)), "EUR")
    made = Call(server, tool, effect, arguments, money, AT)  # type: ignore[arg-type] # JSON
    at = AT + timedelta(minutes=number)
    return UsedCall(f"dec_{number}", at, made, covered=True, asked=False, passed=passed)


CALLS = [
    *(used("crm", "find", "read", i, path=f"/srv/{i}/notes", region="north") for i in range(6)),
    *(used("bank", "pay", "pay", 10 + i, to=f"{i}@example.com", amount=20 + i) for i in range(9)),
]


# -- suggest --------------------------------------------------------------------------------------


def test_a_suggestion_is_what_was_used_and_says_why() -> None:
    made = suggest(CALLS, WIDE)
    said = {finding.words for finding in made.findings}
    assert "never used: mail: send (share)" in said
    assert "crm: only find of any tool used" in said
    assert "crm: never used to delete, write" in said
    assert "crm: `/path` was always below `/srv`" in said
    assert "crm: `/region` was always `north`" in said
    assert "bank: `/to` was always at `example.com`" in said
    assert "bank: no call spent more than 28.00 EUR" in said
    assert "15 calls were made, 1000 may be" in said
    assert "216.00 EUR was spent, 10000.00 EUR may be" in said
    crm, bank = made.authority.grants
    assert (crm.tools, crm.effects) == (("find",), ("read",))
    assert crm.args["/path"].to_json() == {"prefix": "/srv"}
    assert (bank.tools, bank.amount) == (("pay",), Money(Decimal(56), "EUR"))
    assert made.authority.budget == Budget(calls=30, amount=Money(Decimal(432), "EUR"))


def test_a_suggestion_can_be_committed_as_it_is_sent() -> None:
    made = suggest(CALLS, WIDE).authority
    assert authority_from_draft(draft_of(made)) == made


def test_what_was_refused_is_not_covered_for_its_own_sake() -> None:
    made = suggest([*CALLS, used("mail", "send", "share", 99, passed=False)], WIDE)
    assert "mail" not in {grant.server for grant in made.authority.grants}


def test_nothing_is_suggested_for_a_mandate_that_nobody_used() -> None:
    assert suggest([], WIDE).findings == ()


def test_a_grant_whose_use_rests_on_where_a_value_came_from_is_not_called_unused() -> None:
    limit = {"from": {"source": {"server": "files"}, "type": "email", "cardinality": 9}}
    pay: dict[str, Any] = {
        "server": "bank",
        "tools": ["pay"],
        "effects": ["pay", "write"],
        "args": {"/to": limit},
    }
    look: dict[str, Any] = {"server": "crm", "tools": ["find"], "effects": ["read"]}
    mandate = authority_from_draft({"grants": [look, pay]})
    made = suggest(CALLS, mandate)
    assert [grant.server for grant in made.authority.grants] == ["crm", "bank"]
    assert made.authority.grants[1].effects == ("pay",)
    assert made.calls == 15


def test_numbers_that_no_range_can_hold_are_no_reason_to_suggest_nothing() -> None:
    large = [used("crm", "find", "read", i, id=10**18 + i) for i in range(7)]
    made = suggest([*large, *CALLS[6:]], WIDE)
    assert made.authority.grants[0].args == {}
    assert made.authority.grants[0].tools == ("find",)


def test_a_payment_that_nobody_knows_the_sum_of_is_not_refused_by_a_sum() -> None:
    unknown = used("bank", "pay", "pay", 50, to="9@example.com")
    made = suggest([*CALLS, unknown], WIDE).authority
    bank = next(grant for grant in made.grants if grant.server == "bank")
    assert bank.amount is None


def test_few_calls_make_no_rule_about_arguments() -> None:
    made = suggest(CALLS[:2], WIDE)
    assert made.authority.grants[0].args == {}


servers = st.sampled_from(["crm", "bank", "mail"])
PATHS = ("/a/b", "/a/c", "/a/../c", "/a//d")
NAMES = ("x@example.com", "https://example.com:0/", "n", "")
OTHERS = (3, 70, -5, 10**17, 10**18, 10**30, 0.5, -0.0, 1.0, 1, True, None, ["/a/b"])
values = st.sampled_from([*PATHS, *NAMES, *OTHERS])
calls = st.lists(
    st.builds(
        lambda server, tool, effect, arguments, amount, passed, number: used(
            server, tool, effect, number, passed=passed, **arguments, amount=amount
        ),
        servers,
        st.sampled_from(["find", "pay", "send"]),
        st.sampled_from(["read", "write", "pay", "share"]),
        st.dictionaries(st.sampled_from(["p", "q"]), values, max_size=2),
        st.none() | st.integers(0, 50),
        st.booleans(),
        st.integers(0, 500),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(calls)
def test_a_suggestion_narrows_and_covers_all_that_was_let_through(found: list[UsedCall]) -> None:
    made = suggest(found, WIDE)
    assert narrows(made.authority, WIDE) is None
    for each in found:
        if each.passed and WIDE.covers(each.call).covered:
            assert made.authority.covers(each.call).covered
    assert not simulate([one for one in found if one.passed], made.authority).gained.total


# -- simulate -------------------------------------------------------------------------------------


def test_a_narrower_draft_names_what_it_would_refuse() -> None:
    draft = Authority((Grant("crm", ("find",), ("read",)), WIDE.grants[1]))
    found = simulate([*CALLS, used("mail", "send", "share", 99)], draft)
    assert (found.calls, found.covered_before, found.covered_after) == (16, 16, 15)
    assert [verdict.reason for verdict in found.lost.examples] == ["no grant for server `mail`"]
    assert found.gained.total == 0


def test_a_draft_that_asks_more_says_how_often() -> None:
    draft = Authority((WIDE.grants[0], Grant("bank", ("pay",), ("pay",), approval="always")))
    assert simulate(CALLS, draft).asked.total == 9


def test_a_budget_that_would_have_run_out_says_when() -> None:
    draft = Authority(WIDE.grants, Budget(amount=Money(Decimal(60), "EUR")))
    found = simulate(CALLS, draft)
    assert [(one.what, one.at.trace) for one in found.spent] == [
        ("the budget of 60.00 EUR", "dec_12")
    ]


def test_every_count_and_sum_over_time_that_would_not_be_enough_is_told() -> None:
    def limited(**limits: object) -> list[tuple[str, str, bool]]:
        body = draft_of(WIDE)
        body["grants"][1] |= {"max_calls": 8, "rates": [{"calls": 5, "per": "hour"}]}  # type: ignore[index,operator] # JSON
        draft = authority_from_draft({**body, "budget": limits})  # type: ignore[dict-item] # JSON
        return [(one.what, one.at.trace, one.over_time) for one in simulate(CALLS, draft).spent]

    of_pay = "of bank: pay, refund"
    assert limited() == [
        (f"at most 5 calls {of_pay} in any hour", "dec_10", True),
        (f"at most 8 calls {of_pay}", "dec_18", False),
    ]
    day = {"per": "day", "calls": 14, "amount": {"value": "215.99", "currency": "EUR"}}
    said = {what: at for what, at, _ in limited(calls=14, windows=[day])}
    assert said["the budget of 14 calls"] == "dec_18"
    assert said["at most 14 calls in any day"] == "dec_0"
    assert said["at most 215.99 EUR in any day"] == "dec_10"
    enough = {"per": "day", "calls": 15, "amount": {"value": "216.00", "currency": "EUR"}}
    assert len(limited(calls=15, windows=[enough])) == 2


def test_limits_over_time_are_not_told_of_calls_that_are_far_apart() -> None:
    apart = [replace(one, at=one.at + timedelta(days=2 * i)) for i, one in enumerate(CALLS)]
    body = {**draft_of(WIDE), "budget": {"windows": [{"per": "day", "calls": 1}]}}
    assert simulate(apart, authority_from_draft(body)).spent == []


def test_of_any_number_of_calls_only_a_few_are_kept() -> None:
    def many() -> Iterator[UsedCall]:
        for number in range(20_000, 0, -1):
            yield used("crm", "find", "read", number, path=f"/srv/{number}", size="x" * 200)

    nothing = authority_from_draft({**draft_of(WIDE), "budget": {"calls": 10}})
    tracemalloc.start()
    try:
        trying, uses = Trying(nothing), Uses(WIDE)
        trying.take(many())
        uses.take(many())
        run_out = trying.run_out()
        assert run_out is not None
        run_out.take(many())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 500_000
    assert trying.result(run_out).spent[0].at.trace == "dec_11"
    assert "crm: `/path` was always below `/srv`" in {f.words for f in uses.suggestion().findings}


def test_where_a_value_came_from_is_not_in_the_record_and_said_so() -> None:
    limit = constraint_from_json(
        {"from": {"source": {"label": "user"}, "type": "email", "cardinality": 20}}
    )
    draft = Authority((WIDE.grants[0], Grant("bank", ("pay",), ("pay",), args={"/to": limit})))
    found = simulate(CALLS, draft)
    assert (found.unknown, found.lost.total) == (9, 0)


# -- on a gateway's own records ---------------------------------------------------------------------


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


async def test_a_mandate_is_narrowed_to_what_its_agent_did(world: World, clock: Clock) -> None:
    token = await world.token()
    for _ in range(3):
        await call(world, token, "echo", text="hello")
    asked = pending(await call(world, token, "delete_record", id=3))
    await world.answer(asked.question.approval_id)
    await call(world, token, "delete_record", id=3)
    pending(await call(world, token, "delete_record", id=4))
    rehearsal = MandateRehearsal(world.house.audit, clock.now)
    seen, reach = await rehearsal.calls(token.mandate, timedelta(days=1))
    assert sorted((one.call.tool, one.asked, one.passed) for one in seen) == [
        ("delete_record", True, False),
        ("delete_record", True, True),
        *[("echo", False, True)] * 3,
    ]
    made, _ = await rehearsal.suggest(token.mandate, timedelta(days=1))
    (grant,) = made.authority.grants
    assert grant.tools == ("delete_record", "echo")
    assert grant.effects == ("delete", "read")
    assert made.authority.budget.calls == 8
    draft = Authority((Grant("counting", ("echo",), ("read",)),))
    assert reach.complete
    for held in (1, 2, 3, 7):  # in memory at once: it makes no difference
        few = MandateRehearsal(world.house.audit, clock.now, held=held)
        assert sorted((await few.calls(token.mandate, timedelta(days=1)))[0], key=str) == sorted(
            seen, key=str
        )
        assert (await few.suggest(token.mandate, timedelta(days=1)))[0] == made
    found, _ = await rehearsal.simulate(token.mandate, draft, timedelta(days=1))
    assert (found.calls, found.covered_after) == (5, 3)
    once = authority_from_draft({**draft_of(draft), "budget": {"calls": 2}})
    found, _ = await rehearsal.simulate(token.mandate, once, timedelta(days=1))
    [spent] = found.spent
    assert spent.at == max((one for one in seen if one.call.tool == "echo"), key=lambda one: one.at)
    assert {verdict.reason for verdict in found.lost.examples} == {
        "no grant for tool `delete_record`"
    }


async def test_what_is_cut_off_is_never_told_as_all_of_it(world: World, clock: Clock) -> None:
    token = await world.token()
    pending(await call(world, token, "delete_record", id=1))
    clock.advance(60)
    oldest_seen = clock.now()
    for _ in range(3):
        await call(world, token, "echo", text="hello")
    week, audit = timedelta(days=7), world.house.audit
    made, reach = await MandateRehearsal(audit, clock.now, most=3).suggest(token.mandate, week)
    assert made.calls == 3
    assert (reach.complete, reach.seen, reach.since) == (False, 3, oldest_seen)
    everything = Authority((Grant("counting", ("*",), ("read",)),))
    whole = MandateRehearsal(audit, clock.now, most=4)
    found, reach = await whole.simulate(token.mandate, everything, week)
    assert (found.calls, reach.complete, reach.seen) == (4, True, 4)
    assert reach.since == max(clock.now() - week, token.mandate.created_at)


async def test_other_mandates_of_the_agent_take_nothing_from_what_is_seen(
    world: World, clock: Clock
) -> None:
    token = await world.token()
    await call(world, token, "echo", text="hello")
    other = await world.token()
    for _ in range(5):
        await call(world, other, "echo", text="hello")
    day = timedelta(days=1)
    few = MandateRehearsal(world.house.audit, clock.now, most=2)
    calls, reach = await few.calls(token.mandate, day)
    assert (len(calls), reach.complete) == (1, True)
    never = MandateRehearsal(world.house.audit, clock.now, most=0)
    assert not (await never.calls(token.mandate, day))[1].complete


async def test_what_only_a_delegate_used_is_not_called_unused(world: World, clock: Clock) -> None:
    authority = Authority((Grant("counting", ("*",), ("read", "delete")),), max_depth=1)
    until = clock.now() + timedelta(hours=2)
    draft = MandateDraft(world.agent.name, "delegate", authority, until)
    mandate = await world.delegation.commit_mandate(world.operator, draft)
    await call(world, await world.token(mandate=mandate), "echo", text="hello")
    (own,) = await world.log("decide")
    helper = str(world.agent.id).replace(world.agent.name, "helper")
    facts, private = {**own.facts, "agent": helper, "tool": "query"}, dict(own.private)
    made = Event(EventType.DECIDE, "dec_helper", facts, private)
    await world.database.write(lambda tx: world.house.audit.append(tx, made))
    rehearsal = MandateRehearsal(world.house.audit, clock.now)
    suggested, _ = await rehearsal.suggest(mandate, timedelta(days=1))
    assert suggested.authority.grants[0].tools == ("echo", "query")
