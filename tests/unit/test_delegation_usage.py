"""Budgets over time, recipients, values let through, and tokens taken back: on both databases."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Clock, import_tables
from tests.fakes.delegation_world import BANK, CRM, Holder, World, build

from actfor.delegation import Delegation, Mandate, Use
from actfor.errors import Kind, Refused
from actfor.store import Database, Tx
from actfor.wire.canonical import canonical
from actfor.wire.rar import Call, Money, Origin


@pytest.fixture
def database(database_url: str, clock: Clock) -> Iterator[Database]:
    import_tables()
    opened = Database.open(database_url, clock=clock.now)
    yield opened
    opened.close_sync()


@pytest.fixture
async def world(database: Database, clock: Clock, tmp_path: Path) -> World:
    return await build(database, clock, tmp_path)


READ = {"server": "crm", "tools": ["*"], "effects": ["read", "write"]}
PAY = {"server": "bank", "tools": ["pay"], "effects": ["pay"]}


def eur(text: str) -> dict[str, str]:
    return {"value": text, "currency": "EUR"}


async def delegated(
    world: World, audience: str = CRM, *, details: Any = None, **changes: Any
) -> tuple[Holder, Delegation]:
    life = world.clock.now() + timedelta(days=20)
    changes.setdefault("expires_at", life.isoformat())
    holder, _, subject = await world.ready(**changes)
    return holder, await again(world, holder, subject, audience, details)


async def again(
    world: World, holder: Holder, subject: str, audience: str = CRM, details: Any = None
) -> Delegation:
    more = {} if details is None else {"authorization_details": canonical(details).decode()}
    answer = await world.exchange(holder, subject, resource=audience, **more)
    return (await world.authenticate(holder, answer.access_token, audience)).delegation


async def renewed(world: World, holder: Holder, old: Delegation) -> Delegation:
    """A new token for the same mandate: the old one lives for minutes only."""
    fresh = await world.attest(holder.agent.name)
    subject = await world.subject(old.mandate)
    return await again(world, fresh, subject, old.audience)


async def take(world: World, delegation: Delegation, **use: Any) -> None:
    use.setdefault("grant_index", 0)
    await world.database.write(lambda tx: world.delegation.consume(tx, delegation, Use(**use)))


async def refused(world: World, delegation: Delegation, said: str, **use: Any) -> None:
    with pytest.raises(Refused, match=said) as caught:
        await take(world, delegation, **use)
    assert caught.value.kind is Kind.DENIED


def money(text: str) -> Money:
    return Money.parse(text, "EUR")


# -- over time ---------------------------------------------------------------------------------


async def test_a_budget_over_time_holds_in_any_stretch_and_comes_back(
    world: World, clock: Clock
) -> None:
    budget = {"windows": [{"per": "minute", "calls": 2}, {"per": "hour", "calls": 3}]}
    _, delegation = await delegated(world, grants=[READ], budget=budget)
    clock.advance(59)  # straddling a full minute does not help
    await take(world, delegation)
    clock.advance(2)
    await take(world, delegation)
    await refused(world, delegation, "at most 2 calls a minute")
    clock.advance(62)
    await take(world, delegation)
    clock.advance(62)
    await refused(world, delegation, "at most 3 calls a hour")


async def test_calls_that_did_not_fit_take_nothing_at_all(world: World) -> None:
    budget = {"calls": 9, "windows": [{"per": "day", "calls": 1}]}
    _, delegation = await delegated(world, grants=[READ], budget=budget)
    await take(world, delegation)
    for _ in range(3):
        await refused(world, delegation, "a day")
    assert (await world.delegation.mandate(delegation.mandate.id)).calls_used == 1


async def test_a_rate_of_one_grant_leaves_the_others_alone(world: World) -> None:
    slow = {**READ, "tools": ["export"], "rates": [{"calls": 1, "per": "day"}]}
    _, delegation = await delegated(world, grants=[slow, READ], budget={})
    await take(world, delegation, grant_index=0)
    await refused(world, delegation, "calls of the grant a day", grant_index=0)
    await take(world, delegation, grant_index=1)


async def test_money_over_time_cannot_be_split(world: World) -> None:
    budget = {"windows": [{"per": "day", "amount": eur("100.00")}]}
    _, delegation = await delegated(world, BANK, grants=[PAY], budget=budget)
    for _ in range(10):
        await take(world, delegation, amount=money("9.99"))
    await refused(world, delegation, "no more money this day", amount=money("0.11"))
    await take(world, delegation, amount=money("0.10"))


async def test_two_calls_at_once_cannot_both_take_the_last_unit(world: World) -> None:
    limits = {
        "calls": {"windows": [{"per": "day", "calls": 3}]},
        "money": {"windows": [{"per": "day", "amount": eur("3.00")}]},
        "recipients": {"recipients": 3},
        "recipients a day": {"windows": [{"per": "day", "recipients": 3}]},
    }
    holder = await world.agent()
    for what, budget in limits.items():
        mandate = await world.mandate(grants=[PAY], budget=budget)
        delegation = await again(world, holder, await world.subject(mandate), BANK)
        outcomes = await asyncio.gather(
            *(
                take(world, delegation, amount=money("1"), recipients=frozenset({f"de{n}"}))
                for n in range(8)
            ),
            return_exceptions=True,
        )
        assert sum(outcome is None for outcome in outcomes) == 3, what
        assert (await world.delegation.mandate(mandate.id)).calls_used == 3, what


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), max_size=12),
    limit=st.integers(0, 120),
)
async def test_no_stretch_of_time_ever_holds_more_than_the_budget(
    world: World, steps: list[tuple[int, int]], limit: int
) -> None:
    """Money is taken at odd times; any 60 seconds together hold at most the limit."""
    amount = {"value": Money.of_minor(limit, "EUR").text, "currency": "EUR"}
    budget = {"windows": [{"per": "minute", "amount": amount}]}
    holder = world.__dict__.get("holder") or await world.agent()
    world.__dict__["holder"] = holder
    mandate = await world.mandate(grants=[PAY], budget=budget)
    holder = await world.attest(holder.agent.name)
    delegation = await again(world, holder, await world.subject(mandate), BANK)
    took: list[tuple[float, int]] = []
    for minor, seconds in steps:
        now = world.clock.now().timestamp()
        try:
            await take(world, delegation, amount=Money.of_minor(minor, "EUR"))
        except Refused as no:
            if no.kind is Kind.EXPIRED:
                break  # the token's five minutes are over
            # Not refused for nothing either: within one slice more than the period it is true.
            assert sum(m for at, m in took if at > now - 61.1) + minor > limit
        else:
            took.append((now, minor))
        assert all(sum(m for at, m in took if end - 60 < at <= end) <= limit for end, _ in took)
        world.clock.advance(seconds / 2)


async def test_a_call_that_waited_until_its_grant_holds_no_more_is_not_taken(
    world: World, clock: Clock
) -> None:
    until = clock.now() + timedelta(seconds=40)
    grant = {**READ, "window": {"not_after": until.isoformat()}}
    _, delegation = await delegated(world, grants=[grant], budget={})
    await take(world, delegation)
    clock.advance(41)
    await refused(world, delegation, "does not hold at this time")


# -- recipients --------------------------------------------------------------------------------


async def test_recipients_are_counted_once_each(world: World, clock: Clock) -> None:
    holder, delegation = await delegated(world, BANK, grants=[PAY], budget={"recipients": 2})
    for name in ("ada", "bob", "ada"):
        await take(world, delegation, recipients=frozenset({name}))
    await refused(world, delegation, "at most 2 recipients", recipients=frozenset({"eve"}))
    await take(world, delegation, recipients=frozenset({"ada", "bob"}))
    await take(world, delegation, recipients=frozenset())
    await refused(world, delegation, "not known", recipients=None)
    clock.advance(3 * 24 * 3600)
    later = await renewed(world, holder, delegation)
    await refused(world, later, "at most 2 recipients", recipients=frozenset({"eve"}))


async def test_recipients_of_a_day_are_free_again_after_it(world: World, clock: Clock) -> None:
    budget = {"windows": [{"per": "day", "recipients": 1}]}
    holder, delegation = await delegated(world, BANK, grants=[PAY], budget=budget)
    await take(world, delegation, recipients=frozenset({"ada"}))
    await refused(world, delegation, "at most 1 recipients a day", recipients=frozenset({"bob"}))
    clock.advance(24 * 3600 + 1)
    later = await renewed(world, holder, delegation)
    await take(world, later, recipients=frozenset({"bob"}))


async def test_what_is_left_is_known_before_anyone_is_asked(world: World) -> None:
    budget = {"recipients": 2, "windows": [{"per": "day", "calls": 9, "amount": eur("5.00")}]}
    _, delegation = await delegated(world, BANK, grants=[{**PAY, "max_calls": 3}], budget=budget)
    use = Use(money("2.00"), 0, recipients=frozenset({"ada"}))
    seen = await world.delegation.standing(delegation, use)
    assert (seen.calls_left, seen.amount_left_minor) == (3, 500)
    assert (seen.recipients_fit, seen.new_recipients, seen.unasked_minor) == (True, True, 0)
    await world.database.write(lambda tx: world.delegation.consume(tx, delegation, use))
    seen = await world.delegation.standing(delegation, use)
    assert (seen.calls_left, seen.amount_left_minor) == (2, 300)
    assert (seen.new_recipients, seen.unasked_minor) == (False, 200)
    three = Use(grant_index=0, recipients=frozenset({"bob", "eve"}))
    assert not (await world.delegation.standing(delegation, three)).recipients_fit
    two = Use(grant_index=0, recipients=frozenset({"ada", "bob"}))
    assert (await world.delegation.standing(delegation, two)).recipients_fit


# -- splitting ---------------------------------------------------------------------------------


async def test_what_was_spent_unasked_adds_up_and_a_stale_decision_is_made_again(
    world: World,
) -> None:
    _, delegation = await delegated(world, BANK, grants=[PAY], budget={})
    await take(world, delegation, amount=money("40"), unasked_seen=0)
    with pytest.raises(Refused) as stale:
        await take(world, delegation, amount=money("40"), unasked_seen=0)
    assert stale.value.kind is Kind.CONFLICT
    await take(world, delegation, amount=money("40"), unasked_seen=0, asked=True)
    seen = await world.delegation.standing(delegation, Use(money("1"), 0))
    assert seen.unasked_minor == 4000
    assert (await world.delegation.mandate(delegation.mandate.id)).calls_used == 2


async def test_calls_that_changed_something_are_remembered(world: World) -> None:
    _, delegation = await delegated(world, grants=[READ], budget={})
    await take(world, delegation, changes=("crm/send", "sha-256:a"))
    await take(world, delegation, changes=("crm/send", "sha-256:a"))
    await take(world, delegation)
    known = await world.delegation.remembered(delegation.mandate.id)
    assert known.changed == {("crm/send", "sha-256:a")}
    assert not known.read_secret
    await take(world, delegation, reads_secret=True)
    assert (await world.delegation.remembered(delegation.mandate.id)).read_secret


# -- values from a source ----------------------------------------------------------------------

FROM = {
    "from": {
        "source": {"server": "files", "arguments": {"/path": {"const": "bill.txt"}}},
        "type": "iban",
        "cardinality": 1,
    }
}
BILL = Origin("untrusted", "files", "read", {"path": "bill.txt"})


def pays(to: str) -> Call:
    return Call("bank", "pay", "pay", {"to": to}, money("1"), origins={"/to": (BILL,)})


async def test_a_source_lets_as_many_values_through_as_was_said(world: World) -> None:
    grant = {**PAY, "args": {"/to": FROM}}
    world.servers[CRM.replace("crm", "files")] = "files"
    _, delegation = await delegated(world, BANK, grants=[grant], budget={})
    first, other = "DE02120300000000202051", "DE99120300000000202051"
    assert delegation.authority.covers(pays(other)).covered
    await take(world, delegation, call=pays(first))
    await take(world, delegation, call=pays("de02 1203 0000 0000 2020 51"))
    await refused(world, delegation, "at most 1 values", call=pays(other))
    await refused(world, delegation, "not known", call=None)
    subject = await world.subject(delegation.mandate)
    holder = await world.attest(delegation.agent_name)
    second = await again(world, holder, subject, BANK)  # a new token renews nothing
    await refused(world, second, "at most 1 values", call=pays(other))


# -- a narrower token, and one that is taken back ----------------------------------------------


async def test_a_narrower_budget_over_time_binds_the_token(world: World) -> None:
    budget = {"windows": [{"per": "day", "calls": 5}]}
    holder, _, subject = await world.ready(grants=[READ], budget=budget)
    narrower = {
        "type": "mission_resource_access",
        "resource": CRM,
        "actions": ["*"],
        "constraints": {
            "effects": ["read", "write"],
            "budget": {"windows": [{"per": "day", "calls": 1}]},
        },
    }
    delegation = await again(world, holder, subject, CRM, [narrower])
    await take(world, delegation)
    await refused(world, delegation, "the token allows at most 1 calls a day")
    other = await again(world, holder, subject)
    for _ in range(4):
        await take(world, other)
    await refused(world, other, "the mandate allows at most 5 calls a day")


async def test_a_token_is_taken_back_and_the_mandate_stays(world: World) -> None:
    holder, mandate, subject = await world.ready()
    first = await world.exchange(holder, subject)
    delegation = (await world.authenticate(holder, first.access_token)).delegation
    other = await again(world, holder, subject)
    ids = {one.id for one in await world.delegation.grants(world.ada, mandate.id)}
    assert ids == {delegation.grant_id, other.grant_id}

    await world.delegation.revoke_grant(world.ada, mandate.id, delegation.grant_id, "lost laptop")
    with pytest.raises(Refused, match="the token was revoked"):
        await world.authenticate(holder, first.access_token)
    await refused(world, delegation, "the token was revoked")
    with pytest.raises(Refused, match="the token was revoked"):
        await world.database.read(lambda tx: world.delegation.check_live(tx, delegation))
    await take(world, other)
    left = await world.delegation.grants(world.ada, mandate.id)
    assert [one.id for one in left] == [other.grant_id]
    with pytest.raises(Refused) as twice:
        await world.delegation.revoke_grant(world.ada, mandate.id, delegation.grant_id, "")
    assert twice.value.kind is Kind.CONFLICT
    (leaf,) = await world.log("revoke")
    assert leaf["revoked"] == {"grant": {delegation.grant_id: 1}}


async def test_nobody_takes_back_a_token_of_somebody_else(world: World) -> None:
    _, delegation = await delegated(world)
    mallory, _ = await world.house.invite(world.ada, "Mallory", "member")
    mine: Mandate = await world.delegation.commit_mandate(mallory, world.draft())
    for mandate in (delegation.mandate.id, mine.id):
        with pytest.raises(Refused) as no:
            await world.delegation.revoke_grant(mallory, mandate, delegation.grant_id, "")
        assert no.value.kind is Kind.NOT_FOUND
    with pytest.raises(Refused):
        await world.delegation.grants(mallory, delegation.mandate.id)
    await take(world, delegation)


async def test_what_was_counted_is_forgotten_after_the_mandate_has_ended(
    world: World, clock: Clock
) -> None:
    from actfor.delegation.repository import usage

    budget = {"recipients": 2, "windows": [{"per": "day", "calls": 5}]}
    _, delegation = await delegated(world, BANK, grants=[PAY], budget=budget)
    await take(world, delegation, recipients=frozenset({"ada"}))
    owner = delegation.mandate.id
    await world.delegation.sweep()
    assert await world.database.read(lambda tx: usage.size(tx, owner, "recipient")) == 1
    clock.advance(22 * 24 * 3600)
    await world.delegation.sweep()
    assert await world.database.read(lambda tx: usage.size(tx, owner, "recipient")) == 0


# -- endorsements ------------------------------------------------------------------------------


async def endorsed(world: World, mandate: Mandate) -> str:
    def unit(tx: Tx) -> None:
        world.delegation.endorse(
            tx,
            mandate_id=mandate.id,
            tool="bank/pay",
            slots=[("/to", "DE02")],
            by=world.ada.id,
            approval_id="apr_x",
        )

    await world.database.write(unit)
    (known,) = await world.delegation.endorsements(mandate.id)
    return known.id


async def test_an_endorsement_is_one_value_for_one_argument_and_can_be_taken_back(
    world: World,
) -> None:
    mandate = (await world.ready())[1]
    known = await endorsed(world, mandate)
    (one,) = await world.delegation.endorsements(mandate.id)
    assert (one.tool, one.slot, one.value, one.given_by) == (
        "bank/pay", "/to", "DE02", world.ada.id
    )  # fmt: skip
    await world.database.read(lambda tx: world.delegation.check_endorsed(tx, [known]))
    await world.delegation.withdraw_endorsement(world.ada, mandate.id, known)
    assert await world.delegation.endorsements(mandate.id) == []
    with pytest.raises(Refused) as gone:
        await world.database.read(lambda tx: world.delegation.check_endorsed(tx, [known]))
    assert gone.value.kind is Kind.CONFLICT
    with pytest.raises(Refused):
        await world.delegation.withdraw_endorsement(world.ada, mandate.id, known)
    (leaf,) = await world.log("revoke")
    assert leaf["revoked"] == {"endorsement": {known: 1}}


async def test_nobody_takes_back_an_endorsement_of_somebody_else(world: World) -> None:
    mandate = (await world.ready())[1]
    known = await endorsed(world, mandate)
    mallory, _ = await world.house.invite(world.ada, "Mallory", "member")
    with pytest.raises(Refused) as no:
        await world.delegation.withdraw_endorsement(mallory, mandate.id, known)
    assert no.value.kind is Kind.NOT_FOUND
    other = await world.mandate()
    with pytest.raises(Refused):
        await world.delegation.withdraw_endorsement(world.ada, other.id, known)
    assert len(await world.delegation.endorsements(mandate.id)) == 1
