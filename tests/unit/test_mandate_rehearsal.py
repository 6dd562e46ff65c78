"""Another authority on recorded calls: what it would refuse, and the least that was needed."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes.gateway_world import World, build, counting_http
from tests.unit.test_enforce import call, pending

from actfor.audit import Event, EventType
from actfor.delegation.model import MandateDraft
from actfor.delegation.rehearsing import UsedCall, simulate, suggest
from actfor.delegation.service.rehearsal import MandateRehearsal
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


def test_few_calls_make_no_rule_about_arguments() -> None:
    made = suggest(CALLS[:2], WIDE)
    assert made.authority.grants[0].args == {}


servers = st.sampled_from(["crm", "bank", "mail"])
values = st.sampled_from(["/a/b", "/a/c", "x@example.com", "y@example.org", 3, 70, "n", ""])
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
    assert not simulate([one for one in found if one.passed], made.authority).gained


# -- simulate -------------------------------------------------------------------------------------


def test_a_narrower_draft_names_what_it_would_refuse() -> None:
    draft = Authority((Grant("crm", ("find",), ("read",)), WIDE.grants[1]))
    found = simulate([*CALLS, used("mail", "send", "share", 99)], draft)
    assert (found.calls, found.covered_before, found.covered_after) == (16, 16, 15)
    assert [verdict.reason for verdict in found.lost] == ["no grant for server `mail`"]
    assert found.gained == []


def test_a_draft_that_asks_more_says_how_often() -> None:
    draft = Authority((WIDE.grants[0], Grant("bank", ("pay",), ("pay",), approval="always")))
    assert len(simulate(CALLS, draft).asked) == 9


def test_a_budget_that_would_have_run_out_says_when() -> None:
    draft = Authority(WIDE.grants, Budget(amount=Money(Decimal(60), "EUR")))
    found = simulate(CALLS, draft)
    assert found.spent_why == "the budget of 60.00 EUR"
    assert found.spent_at is not None
    assert found.spent_at.trace == "dec_12"


def test_where_a_value_came_from_is_not_in_the_record_and_said_so() -> None:
    limit = constraint_from_json(
        {"from": {"source": {"label": "user"}, "type": "email", "cardinality": 20}}
    )
    draft = Authority((WIDE.grants[0], Grant("bank", ("pay",), ("pay",), args={"/to": limit})))
    found = simulate(CALLS, draft)
    assert (found.unknown, found.lost) == (9, [])


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
    found, _ = await rehearsal.simulate(token.mandate, draft, timedelta(days=1))
    assert (found.calls, found.covered_after) == (5, 3)
    assert {verdict.reason for verdict in found.lost} == {"no grant for tool `delete_record`"}


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
