"""Access tokens presented and spent: theft, replay, revocation, budgets."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes.delegation_world import BANK, CRM, ISSUER, Holder, World, build

from actfor.delegation import Delegation, Mandate, MandateState, Use
from actfor.errors import Kind, Refused
from actfor.identity import PersonState
from actfor.store import Database, Tx, new_id
from actfor.wire import jose
from actfor.wire.canonical import JsonObject, canonical
from actfor.wire.jose import SigningKey
from actfor.wire.rar import Money


@pytest.fixture
async def world(database: Database, clock: Clock, tmp_path: Path) -> World:
    return await build(database, clock, tmp_path)


async def refused(kind: Kind, call: Awaitable[object], said: str | None = None) -> Refused:
    with pytest.raises(Refused, match=said) as caught:
        await call
    assert caught.value.kind is kind, caught.value
    return caught.value


async def token_for(world: World, audience: str = CRM, **changes: Any) -> tuple[Holder, str]:
    holder, _, subject = await world.ready(**changes)
    answer = await world.exchange(holder, subject, resource=audience)
    return holder, answer.access_token


async def consume(
    world: World, delegation: Delegation, *, proof: str | None = None, **use: Any
) -> None:
    def unit(tx: Tx) -> None:
        world.delegation.consume(tx, delegation, Use(**use), proof=proof)

    await world.database.write(unit)


# -- presenting --------------------------------------------------------------------------------


async def test_a_token_with_its_proof_says_who_acts_for_whom(world: World) -> None:
    holder, token = await token_for(world)
    for _ in range(2):  # the second time from memory
        proved = await world.authenticate(holder, token)
        delegation = proved.delegation
        assert delegation.person_id == world.ada.id
        assert delegation.agent == holder.agent.id
        assert delegation.instance == holder.svid.instance
        assert delegation.chain == (holder.svid.instance,)
        assert delegation.manifest == holder.agent.manifest_digest
        assert delegation.audience == CRM
        assert delegation.jkt == holder.key.kid
        assert delegation.mandate.goal == "Pay October's invoices"
        assert delegation.authority.servers == ("crm",)
        assert proved.proof


async def test_a_bound_token_is_refused_as_bearer(world: World) -> None:
    holder, token = await token_for(world)
    error = await refused(Kind.UNAUTHENTICATED, world.authenticate(holder, token, scheme="Bearer"))
    assert error.code == "invalid_token"


@pytest.mark.parametrize("remembered", [False, True])
async def test_a_stolen_token_is_useless(world: World, remembered: bool) -> None:
    holder, token = await token_for(world)
    if remembered:
        await world.authenticate(holder, token)
    thief = SigningKey.generate()
    wrong: dict[str, Any] = {
        "another key": world.proof(thief, CRM, token=token),
        "no proof": None,
        "another token": world.proof(holder.key, CRM, token=token + "x"),
        "no token": world.proof(holder.key, CRM),
        "another URL": world.proof(holder.key, BANK, token=token),
        "not a proof": "a.b.c",
    }
    for what, proof in wrong.items():
        error = await refused(Kind.UNAUTHENTICATED, world.authenticate(holder, token, proof=proof))
        assert error.code == "invalid_dpop_proof", what
    await refused(Kind.UNAUTHENTICATED, world.authenticate(holder, token, method="GET"))


@pytest.mark.parametrize("remembered", [False, True])
async def test_a_token_is_for_one_server(world: World, remembered: bool) -> None:
    holder, token = await token_for(world)
    if remembered:
        await world.authenticate(holder, token)
    for other in (BANK, CRM + "/", CRM.upper(), ISSUER, f"{ISSUER}/v1"):
        proof = world.proof(holder.key, CRM, token=token)
        await refused(
            Kind.UNAUTHENTICATED, world.authenticate(holder, token, other, proof=proof, url=CRM)
        )


async def test_other_kinds_of_our_own_tokens_open_nothing(world: World) -> None:
    holder, _, subject = await world.ready()
    for token in (subject, holder.svid.token, world.proof(holder.key)):
        await refused(Kind.UNAUTHENTICATED, world.authenticate(holder, token))
        await refused(Kind.UNAUTHENTICATED, world.authenticate(holder, token, ISSUER))


async def test_every_flipped_bit_and_every_prefix_is_refused(world: World) -> None:
    holder, token = await token_for(world)
    await world.authenticate(holder, token)
    for at in range(0, len(token), 7):
        flipped = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        for broken in (flipped, token[:at]):
            with pytest.raises(Refused):
                await world.authenticate(holder, broken)


async def test_a_token_ends_although_it_is_remembered(world: World, clock: Clock) -> None:
    holder, token = await token_for(world)
    await world.authenticate(holder, token)
    clock.advance(299)
    await world.authenticate(holder, token)
    clock.advance(1)
    await refused(Kind.EXPIRED, world.authenticate(holder, token))


async def test_a_key_that_is_gone_takes_its_tokens_along(world: World) -> None:
    holder, token = await token_for(world)
    await world.authenticate(holder, token)
    fresh = SigningKey.generate()
    world.delegation.use_keys([fresh, world.keys[0]])
    await world.authenticate(holder, token)
    world.delegation.use_keys([fresh])
    await refused(Kind.UNAUTHENTICATED, world.authenticate(holder, token), "known key")


async def test_a_token_of_a_second_server_of_ours_is_refused(world: World) -> None:
    holder, token = await token_for(world)
    claims = jose.unverified(token).claims
    foreign = jose.sign({**claims, "iss": "https://other"}, typ="at+jwt", key=world.keys[0])
    await refused(Kind.UNAUTHENTICATED, world.authenticate(holder, foreign), "issuer")


# -- spending ----------------------------------------------------------------------------------


async def test_a_proof_is_taken_once_even_under_a_race(world: World) -> None:
    holder, token = await token_for(world)
    proved = await world.authenticate(holder, token)

    racing = [consume(world, proved.delegation, proof=proved.proof) for _ in range(20)]
    outcomes = await asyncio.gather(*racing, return_exceptions=True)
    lost = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert len(lost) == 19
    assert {(one.kind, one.code) for one in lost} == {(Kind.REPLAYED, "invalid_dpop_proof")}
    mandate = await world.delegation.mandate(proved.delegation.mandate.id)
    assert mandate.calls_used == 1


async def test_a_spent_proof_is_remembered_for_as_long_as_it_is_fresh(
    world: World, clock: Clock
) -> None:
    holder, token = await token_for(world)
    proof = world.proof(holder.key, CRM, token=token)
    first = await world.authenticate(holder, token, proof=proof)
    await world.database.write(lambda tx: world.delegation.spend(tx, first.proof))
    clock.advance(29)
    await world.delegation.sweep()
    again = await world.authenticate(holder, token, proof=proof)  # fresh to the second

    def replay(tx: Tx) -> None:
        world.delegation.spend(tx, again.proof)

    with pytest.raises(Refused) as caught:
        await world.database.write(replay)
    assert caught.value.kind is Kind.REPLAYED
    clock.advance(31)
    await refused(Kind.UNAUTHENTICATED, world.authenticate(holder, token, proof=proof), "fresh")
    assert await world.delegation.sweep() >= 1


async def test_calls_are_counted_against_the_budget_and_never_beyond(world: World) -> None:
    holder, token = await token_for(world, budget={"calls": 3})
    delegation = (await world.authenticate(holder, token)).delegation
    outcomes = await asyncio.gather(
        *(consume(world, delegation) for _ in range(8)), return_exceptions=True
    )
    denied = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert len(denied) == 5
    assert {one.kind for one in denied} == {Kind.DENIED}
    assert "budget" in denied[0].detail
    seen = (await world.authenticate(holder, token)).delegation.mandate
    assert seen.calls_used == 3


async def test_a_new_token_does_not_renew_the_budget(world: World) -> None:
    holder, mandate, subject = await world.ready(budget={"calls": 2})
    for _ in range(2):
        token = (await world.exchange(holder, subject)).access_token
        await consume(world, (await world.authenticate(holder, token)).delegation)
    token = (await world.exchange(holder, subject)).access_token
    delegation = (await world.authenticate(holder, token)).delegation
    assert delegation.mandate.calls_used == 2
    await refused(Kind.DENIED, consume(world, delegation), "mandate's budget")
    assert (await world.delegation.mandate(mandate.id)).calls_used == 2


async def test_a_narrower_budget_of_a_token_binds_it(world: World) -> None:
    holder, _, subject = await world.ready(
        grants=[{"server": "crm", "tools": ["*"], "effects": ["read"]}], budget={"calls": 9}
    )
    once: JsonObject = {
        "type": "mission_resource_access",
        "resource": CRM,
        "actions": ["*"],
        "constraints": {"effects": ["read"], "budget": {"calls": 1}},
    }
    asked = canonical([once]).decode()
    answer = await world.exchange(holder, subject, authorization_details=asked)
    delegation = (await world.authenticate(holder, answer.access_token)).delegation
    await consume(world, delegation)
    await refused(Kind.DENIED, consume(world, delegation), "token's budget")


async def test_money_is_taken_exactly_and_in_one_currency(world: World) -> None:
    holder, token = await token_for(world, BANK)
    delegation = (await world.authenticate(holder, token, BANK)).delegation
    await consume(world, delegation, amount=Money.parse("500.00", "EUR"))
    await refused(
        Kind.DENIED, consume(world, delegation, amount=Money.parse("400.01", "EUR")), "budget"
    )
    await refused(Kind.DENIED, consume(world, delegation, amount=Money.parse("1.00", "USD")), "EUR")
    await consume(world, delegation, amount=Money.parse("400", "EUR"))
    mandate = await world.delegation.mandate(delegation.mandate.id)
    assert (mandate.calls_used, mandate.amount_used) == (2, 90_000)


LIMITED = [
    {"server": "crm", "tools": ["delete"], "effects": ["delete"], "max_calls": 2},
    {"server": "crm", "tools": ["read"], "effects": ["read"]},
]


async def test_calls_of_one_grant_are_counted_for_that_grant(world: World) -> None:
    holder, token = await token_for(world, grants=LIMITED, budget={})
    delegation = (await world.authenticate(holder, token)).delegation
    deleting = [g.effects for g in delegation.authority.grants].index(("delete",))
    reading = 1 - deleting
    for _ in range(5):
        await consume(world, delegation, grant_index=reading)
    for _ in range(2):
        await consume(world, delegation, grant_index=deleting)
    await refused(Kind.DENIED, consume(world, delegation, grant_index=deleting), "number of calls")
    await refused(Kind.DENIED, consume(world, delegation), "number of calls")
    await consume(world, delegation, grant_index=reading)


async def test_a_refused_call_takes_nothing(world: World) -> None:
    holder, token = await token_for(world, grants=LIMITED, budget={"calls": 9})
    delegation = (await world.authenticate(holder, token)).delegation
    for _ in range(2):
        await consume(world, delegation)
    proof = new_id("once")
    await refused(Kind.DENIED, consume(world, delegation, proof=proof))
    assert (await world.delegation.mandate(delegation.mandate.id)).calls_used == 2
    await consume(world, delegation, proof=proof, grant_index=1)  # the proof was not lost either


@pytest.fixture
async def holder(world: World) -> Holder:
    return await world.agent()


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    spends=st.lists(st.integers(0, 400), max_size=12),
    calls=st.integers(0, 8),
    limit=st.integers(0, 1000),
)
async def test_consumption_never_exceeds_the_budget(
    world: World, holder: Holder, spends: list[int], calls: int, limit: int
) -> None:
    amount = {"value": Money.of_minor(limit, "EUR").text, "currency": "EUR"}
    mandate = await world.mandate(budget={"calls": calls, "amount": amount})
    subject = await world.subject(mandate)
    token = (await world.exchange(holder, subject, resource=BANK)).access_token
    delegation = (await world.authenticate(holder, token, BANK)).delegation
    took: list[int] = []
    for minor in spends:
        fits = len(took) < calls and sum(took) + minor <= limit
        try:
            await consume(world, delegation, amount=Money.of_minor(minor, "EUR"))
        except Refused:
            if fits:
                pytest.fail(f"{minor} would have fitted")
        else:
            took.append(minor)
    now = await world.delegation.mandate(mandate.id)
    assert (now.calls_used, now.amount_used) == (len(took), sum(took))
    assert now.calls_used <= calls
    assert now.amount_used <= limit


# -- revocation --------------------------------------------------------------------------------


async def _revoke(world: World, holder: Holder, mandate: Mandate) -> None:
    await world.delegation.revoke_mandate(world.ada, mandate.id, "enough")


async def _invalidate(world: World, holder: Holder, mandate: Mandate) -> None:
    await world.agents.invalidate(holder.agent, "`agent.py` was changed")


async def _quarantine(world: World, holder: Holder, mandate: Mandate) -> None:
    await world.agents.quarantine(world.ada, "bookkeeper", "enough")


async def _disable(world: World, holder: Holder, mandate: Mandate) -> None:
    bob, _ = await world.house.invite(world.ada, "Bob", "admin")
    await world.house.people.change(bob, world.ada.id, state=PersonState.DISABLED)


async def _expire(world: World, holder: Holder, mandate: Mandate) -> None:
    world.clock.advance((mandate.expires_at - world.clock.now()).total_seconds())


End = Callable[[World, Holder, Mandate], Awaitable[None]]


@pytest.mark.parametrize("end", [_revoke, _invalidate, _quarantine, _disable, _expire])
async def test_one_write_ends_every_token(world: World, end: End) -> None:
    clock = world.clock
    holder, mandate, subject = await world.ready(
        expires_at=(clock.now() + timedelta(seconds=200)).isoformat()
    )
    tokens = [(await world.exchange(holder, subject)).access_token for _ in range(5)]
    proved = [(await world.authenticate(holder, token)).delegation for token in tokens]
    await end(world, holder, mandate)
    for token, delegation in zip(tokens, proved, strict=True):
        with pytest.raises(Refused) as presented:
            await world.authenticate(holder, token)
        assert presented.value.kind in {Kind.UNAUTHENTICATED, Kind.EXPIRED}
        with pytest.raises(Refused) as spent:  # the call that was under way is stopped as well
            await consume(world, delegation)
        assert spent.value.kind in {Kind.DENIED, Kind.EXPIRED}
        with pytest.raises(Refused):
            await world.database.read(lambda tx, d=delegation: world.delegation.check_live(tx, d))
    assert (await world.delegation.mandate(mandate.id)).calls_used == 0


async def test_a_reinstated_agent_needs_new_tokens(world: World) -> None:
    holder, token = await token_for(world)
    delegation = (await world.authenticate(holder, token)).delegation
    await world.agents.quarantine(world.ada, "bookkeeper", "a look")
    await world.agents.reinstate(world.ada, "bookkeeper")
    again = await world.attest("bookkeeper")
    await refused(Kind.UNAUTHENTICATED, world.authenticate(holder, token), "since the token")
    await refused(Kind.DENIED, consume(world, delegation))
    subject = await world.subject(await world.mandate())
    fresh = (await world.exchange(again, subject)).access_token
    await world.authenticate(again, fresh)


async def test_no_call_is_recorded_after_a_revocation(world: World) -> None:
    """Racing calls and a revocation: in the order of the log, none is permitted after it."""
    holder, token = await token_for(world)
    delegation = (await world.authenticate(holder, token)).delegation
    order: list[str] = []

    async def call() -> None:
        def unit(tx: Tx) -> None:
            world.delegation.consume(tx, delegation)
            order.append("permit")

        try:
            await world.database.write(unit)
        except Refused:
            order.append("deny")

    async def revoke() -> None:
        await world.delegation.revoke_mandate(world.ada, delegation.mandate.id, "stop")
        order.append("revoked")

    await asyncio.gather(*(call() for _ in range(10)), revoke(), *(call() for _ in range(10)))
    mandate = await world.delegation.mandate(delegation.mandate.id)
    assert mandate.state is MandateState.REVOKED
    assert order.count("permit") == mandate.calls_used
    assert "permit" not in order[order.index("revoked") :]


async def test_liveness_is_checked_against_the_recording_clock(world: World, clock: Clock) -> None:
    holder, token = await token_for(world)
    delegation = (await world.authenticate(holder, token)).delegation
    clock.advance(300)
    await refused(Kind.EXPIRED, consume(world, delegation))
