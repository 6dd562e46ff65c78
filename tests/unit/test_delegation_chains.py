"""Agents that pass a mandate on: the chain only grows, the rights only narrow, all die together."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes.delegation_world import BANK, CRM, DOMAIN, ISSUER, Holder, World, build, form
from tests.unit.test_delegation_exchange import claims_of, refused

from actfor.audit import Event, EventType
from actfor.delegation import Delegation, Mandate, Use
from actfor.delegation.service import chains
from actfor.delegation.service.chains import MAX_CHAIN, ceiling, require_passable
from actfor.delegation.service.exchange import MAX_CHILDREN
from actfor.errors import Kind, Refused
from actfor.identity import PersonState
from actfor.store import Database, Tx, new_id
from actfor.wire import jose, token_exchange
from actfor.wire.canonical import JsonValue
from actfor.wire.rar import Authority, Budget, Grant, Money, narrows, to_authorization_details
from actfor.wire.spiffe import PRIVATE_CLAIM, SpiffeId

READ: dict[str, Any] = {
    "server": "crm",
    "tools": ["read_query", "list_tables"],
    "effects": ["read"],
}
PAY: dict[str, Any] = {
    "server": "bank",
    "tools": ["pay"],
    "effects": ["pay"],
    "amount": {"value": "500.00", "currency": "EUR"},
}


@pytest.fixture
async def world(database: Database, clock: Clock, tmp_path: Path) -> World:
    return await build(database, clock, tmp_path)


@dataclass
class Chain:
    """A person's mandate with the agents in it, the first one first; each holds its token."""

    world: World
    mandate: Mandate
    holders: list[Holder]
    tokens: list[str]

    async def on(self, name: str, audience: str = CRM, **params: Any) -> str:
        """The last agent passes on to ``name``, which exchanges it."""
        given = await self.world.pass_on(
            self.holders[-1], self.tokens[-1], name, resource=audience, **params
        )
        holder = await self.world.agent(name)
        answer = await self.world.exchange(holder, given, resource=audience)
        self.holders.append(holder)
        self.tokens.append(answer.access_token)
        return answer.access_token

    async def delegation(self, n: int = -1, audience: str = CRM) -> Delegation:
        seen = await self.world.authenticate(self.holders[n], self.tokens[n], audience)
        return seen.delegation


async def begun(world: World, audience: str = CRM, **changes: Any) -> Chain:
    """The person sends `bookkeeper`, who may pass it on unless ``changes`` say otherwise."""
    whole = {"max_depth": 3, "grants": [READ, PAY], "budget": {"calls": 40}}
    changes = {**whole, **changes}
    holder, mandate, subject = await world.ready(**changes)
    answer = await world.exchange(holder, subject, resource=audience)
    return Chain(world, mandate, [holder], [answer.access_token])


async def take(world: World, delegation: Delegation, **use: Any) -> None:
    await world.database.write(
        lambda tx: world.delegation.consume(tx, delegation, Use(**{"grant_index": 0, **use}))
    )


def detail(server: str = "crm", depth: int = 0, **limits: Any) -> str:
    effects, tools = (["read"], ["read_query"]) if server == "crm" else (["pay"], ["pay"])
    return json.dumps(
        [
            {
                "type": "mission_resource_access",
                "resource": f"{ISSUER}/mcp/{server}",
                "actions": tools,
                "constraints": {"effects": effects, "budget": {"calls": 40}, **limits},
                "delegation": {"max_depth": depth},
            }
        ]
    )


# -- what comes out ----------------------------------------------------------------------------


async def test_the_subject_stays_the_person_and_the_actors_nest(world: World) -> None:
    chain = await begun(world)
    first = claims_of(chain.tokens[0])
    second = claims_of(await chain.on("helper"))
    third = claims_of(await chain.on("printer"))
    assert first["sub"] == second["sub"] == third["sub"] == world.ada.id
    assert second["client_id"] == f"spiffe://{DOMAIN}/agent/helper"
    assert second["act"]["sub"] == str(chain.holders[1].svid.instance)
    # RFC 8693 §4.1: what was there before stays below, to the byte.
    assert second["act"]["act"] == first["act"]
    assert third["act"]["act"] == second["act"]
    assert second["cnf"] == {"jkt": chain.holders[1].key.kid}
    assert third["mission"] == first["mission"]
    assert [one["grant"] for one in third[PRIVATE_CLAIM]["through"]] == [
        second[PRIVATE_CLAIM]["root_grant"],
        first[PRIVATE_CLAIM]["root_grant"],
    ]
    seen = await chain.delegation()
    assert [actor.agent_name for actor in seen.chain] == ["printer", "helper", "bookkeeper"]
    assert [link.agent_name for link in seen.through] == ["helper", "bookkeeper"]


async def test_what_is_handed_over_is_no_access_token(world: World) -> None:
    chain = await begun(world)
    asked = token_exchange.parse(
        form(chain.holders[0], chain.tokens[0], requested_actor=f"spiffe://{DOMAIN}/agent/helper")
    )
    answer = await world.delegation.pass_on(asked, world.verified(chain.holders[0].key))
    assert answer.to_json()["token_type"] == "N_A"  # RFC 8693 §2.2.1
    claims = claims_of(answer.access_token)
    assert claims["aud"] == ISSUER
    assert claims["may_act"] == {
        "sub": f"spiffe://{DOMAIN}/agent/helper", "iss": f"spiffe://{DOMAIN}"
    }  # fmt: skip
    assert claims["act"] == claims_of(chain.tokens[0])["act"]
    for holder in (chain.holders[0], await world.agent("helper")):
        with pytest.raises(Refused):
            await world.authenticate(holder, answer.access_token)


async def test_each_step_is_in_the_log_with_its_chain_and_all_it_depends_on(world: World) -> None:
    chain = await begun(world)
    await chain.on("helper")
    root, child = await chain.delegation(0), await chain.delegation(1)
    passed, granted = [
        one for one in await world.log("delegate") if one["action"] in {"pass-on", "exchange"}
    ][-2:]
    assert passed["action"] == "pass-on"
    assert passed["to"] == f"spiffe://{DOMAIN}/agent/helper"
    assert passed["grant"] == granted["parent"] == root.grant_id
    assert granted["chain"] == [str(actor) for actor in child.chain]
    assert granted["epochs"]["grant"] == {root.grant_id: 0, child.grant_id: 0}
    assert granted["epochs"]["agent"] == {
        f"spiffe://{DOMAIN}/agent/bookkeeper": 1, f"spiffe://{DOMAIN}/agent/helper": 1
    }  # fmt: skip
    assert (await world.house.audit.verify()).ok


# -- whoever asks is who was meant --------------------------------------------------------------


async def test_a_stolen_access_token_is_not_passed_on(world: World) -> None:
    """Neither by who it was meant for, nor by the thief, nor with one key of each."""
    chain = await begun(world)
    thief = await world.agent("thief")
    owner = chain.holders[0]
    mixed = replace(thief, svid=owner.svid)
    await refused("invalid_dpop_proof", world.pass_on(thief, chain.tokens[0], "thief"))
    await refused("invalid_dpop_proof", world.pass_on(mixed, chain.tokens[0], "thief"))
    await refused("invalid_request", world.exchange(thief, chain.tokens[0]))
    mixed = replace(owner, svid=thief.svid)
    await refused("invalid_dpop_proof", world.pass_on(mixed, chain.tokens[0], "thief"))
    assert {one["action"] for one in await world.log("delegate") if one.get("decision") == "deny"} == {
        "pass-on", "exchange"
    }  # fmt: skip


async def test_what_is_handed_over_is_for_one_agent_with_its_key(world: World) -> None:
    chain = await begun(world)
    given = await world.pass_on(chain.holders[0], chain.tokens[0], "helper")
    helper, thief = await world.agent("helper"), await world.agent("thief")
    await refused("actor_unauthorized", world.exchange(thief, given))
    await refused("invalid_dpop_proof", world.exchange(replace(helper, key=thief.key), given))
    await refused("actor_unauthorized", world.exchange(chain.holders[0], given))
    assert (await world.exchange(helper, given)).access_token


async def test_what_was_handed_over_is_not_passed_on_unexchanged(world: World) -> None:
    """A chain cannot lose the agent in the middle: only access tokens are passed on."""
    chain = await begun(world)
    given = await world.pass_on(chain.holders[0], chain.tokens[0], "helper")
    helper = await world.agent("helper")
    for audience in (CRM, ISSUER):
        await refused("invalid_request", world.pass_on(helper, given, "printer", resource=audience))


async def test_a_persons_own_token_is_not_passed_on(world: World) -> None:
    holder, _, subject = await world.ready(max_depth=3)
    await world.agent("helper")
    await refused("invalid_request", world.pass_on(holder, subject, "helper"))
    await refused("invalid_request", world.pass_on(holder, subject, "helper", resource=ISSUER))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"spiffe://{DOMAIN}/agent/bookkeeper", "in the chain already"),
        ("spiffe://elsewhere.example/agent/helper", "not a registered agent"),
        (f"spiffe://{DOMAIN}/agent/helper/i/1", "not a registered agent"),
        (f"spiffe://{DOMAIN}/person/ada", "not a registered agent"),
    ],
)
async def test_it_is_passed_on_to_another_registered_agent(
    world: World, name: str, said: str
) -> None:
    chain = await begun(world)
    await refused(
        "actor_unauthorized",
        world.pass_on(chain.holders[0], chain.tokens[0], "", requested_actor=name),
        said,
    )


async def test_a_name_that_is_no_spiffe_id_is_no_request(world: World) -> None:
    chain = await begun(world)
    await refused(
        "invalid_request",
        world.pass_on(chain.holders[0], chain.tokens[0], "", requested_actor="helper"),
    )


async def test_nobody_comes_back_into_a_chain(world: World) -> None:
    chain = await begun(world)
    await chain.on("helper")
    for name in ("bookkeeper", "helper"):
        await refused("actor_unauthorized", world.pass_on(chain.holders[1], chain.tokens[1], name))


async def test_a_replayed_proof_passes_nothing_on(world: World) -> None:
    chain = await begun(world)
    proof = world.verified(chain.holders[0].key)
    await world.pass_on(chain.holders[0], chain.tokens[0], "helper", proof=proof)
    await refused(
        "invalid_dpop_proof",
        world.pass_on(chain.holders[0], chain.tokens[0], "helper", proof=proof),
    )


# -- how far ------------------------------------------------------------------------------------


async def test_a_mandate_that_says_nothing_is_not_passed_on(world: World) -> None:
    chain = await begun(world, max_depth=0)
    await refused(
        "invalid_request",
        world.pass_on(chain.holders[0], chain.tokens[0], "helper"),
        "not be passed on any further",
    )


async def test_the_depth_that_was_given_is_the_depth_there_is(world: World) -> None:
    chain = await begun(world, max_depth=2)
    await chain.on("helper")
    await chain.on("printer")
    assert (await chain.delegation()).authority.max_depth == 0
    await refused("invalid_request", world.pass_on(chain.holders[-1], chain.tokens[-1], "scanner"))


async def test_nobody_asks_for_more_depth_than_is_left(world: World) -> None:
    chain = await begun(world, max_depth=2)
    passing = world.pass_on(
        chain.holders[0], chain.tokens[0], "helper", authorization_details=detail(depth=2)
    )
    await refused("invalid_authorization_details", passing, "delegation depth 2 is above 1")
    given = await world.pass_on(chain.holders[0], chain.tokens[0], "helper")
    asking = world.exchange(
        await world.agent("helper"), given, authorization_details=detail(depth=2)
    )
    await refused("invalid_authorization_details", asking, "delegation depth 2 is above 1")


@pytest.mark.parametrize(
    ("delegates", "allowed"), [(None, True), (["helper"], True), (["printer"], False), ([], False)]
)
async def test_only_the_delegates_that_were_named_are_passed_on_to(
    world: World, delegates: list[str] | None, allowed: bool
) -> None:
    changes = {} if delegates is None else {"delegates": delegates}
    chain = await begun(world, grants=[READ], **changes)
    passing = world.pass_on(chain.holders[0], chain.tokens[0], "helper")
    if allowed:
        assert await passing
    else:
        await refused("actor_unauthorized", passing, "not be passed on to `helper`")


@pytest.mark.parametrize("step", ["hand over", "exchange"])
async def test_whoever_asks_for_more_than_is_held_gets_nothing(world: World, step: str) -> None:
    chain = await begun(world, grants=[READ, PAY])
    holder, token = chain.holders[0], chain.tokens[0]
    wider: list[tuple[str, dict[str, str]]] = [
        ("invalid_scope", {"scope": "crm:delete"}),
        ("invalid_authorization_details", {"authorization_details": detail(effects=["delete"])}),
        ("invalid_request", {"expires_in": "100000"}),
    ]
    helper = await world.agent("helper")
    given = await world.pass_on(holder, token, "helper")
    for code, asked in wider:
        if step == "hand over":
            await refused(code, world.pass_on(holder, token, "helper", **asked))
        else:
            await refused(code, world.exchange(helper, given, **asked))
    # Another server of the same mandate is another token of the first agent.
    if step == "hand over":
        await refused("invalid_request", world.pass_on(holder, token, "helper", resource=BANK))
    else:
        await refused("invalid_target", world.exchange(helper, given, resource=BANK))


async def test_what_was_narrowed_on_the_way_stays_so(world: World) -> None:
    chain = await begun(world)
    given = await world.pass_on(
        chain.holders[0], chain.tokens[0], "helper", authorization_details=detail()
    )
    helper = await world.agent("helper")
    claims = claims_of((await world.exchange(helper, given)).access_token)
    assert [one["actions"] for one in claims["authorization_details"]] == [["read_query"]]


async def test_nothing_outlives_what_it_is_made_from(world: World, clock: Clock) -> None:
    chain = await begun(world)
    until = claims_of(chain.tokens[0])["exp"]
    clock.advance(200)
    await chain.on("helper")
    assert claims_of(chain.tokens[1])["exp"] <= until
    clock.advance(101)
    for holder, token in zip(chain.holders, chain.tokens, strict=True):
        with pytest.raises(Refused) as ended:
            await world.authenticate(holder, token)
        assert ended.value.kind is Kind.EXPIRED
    await refused("invalid_grant", world.pass_on(chain.holders[0], chain.tokens[0], "printer"))


async def test_a_chain_that_would_not_fit_a_token_is_not_made_longer(world: World) -> None:
    names = [f"{n:03}" + "x" * 100 for n in range(12)]
    narrow = detail(depth=2, arguments={"/query": {"enum": names}})
    chain = await begun(world)
    await chain.on("helper", authorization_details=narrow)
    assert (await chain.delegation()).authority.max_depth == 2
    narrower = detail(depth=1, arguments={"/query": {"enum": names[1:]}})
    await chain.on("printer", authorization_details=narrower)
    narrowest = detail(arguments={"/query": {"enum": names[2:]}})
    await refused(
        "invalid_request",
        world.pass_on(
            chain.holders[2], chain.tokens[2], "scanner", authorization_details=narrowest
        ),
        "does not fit a token",
    )


async def test_a_chain_that_passes_on_all_it_has_costs_a_token_little(world: World) -> None:
    grants = [{**READ, "args": {"/query": {"enum": ["x" * 1500]}}}]
    chain = await begun(world, grants=grants, max_depth=7)
    for name in ("b", "c", "d", "e", "f", "g"):
        await chain.on(name)
    seen = await chain.delegation()
    assert [link.authority.max_depth for link in seen.through] == [2, 3, 4, 5, 6, 7]
    assert all(link.authority.grants == seen.authority.grants for link in seen.through)


async def test_one_token_does_not_become_a_crowd(world: World) -> None:
    chain = await begun(world, grants=[READ])
    helper, printer = await world.agent("helper"), await world.agent("printer")
    given = await world.pass_on(chain.holders[0], chain.tokens[0], "helper")
    for _ in range(MAX_CHILDREN):
        await world.exchange(helper, given)
    await refused("invalid_request", world.exchange(helper, given), "passed on too often")
    other = await world.pass_on(chain.holders[0], chain.tokens[0], "printer")
    await refused("invalid_request", world.exchange(printer, other), "passed on too often")
    anew = await world.exchange(chain.holders[0], await world.subject(chain.mandate))
    given = await world.pass_on(chain.holders[0], anew.access_token, "printer")
    assert await world.exchange(printer, given)


def test_act_is_read_to_a_depth_and_no_further() -> None:
    nested: dict[str, Any] = {"sub": f"spiffe://{DOMAIN}/agent/a/i/1"}
    for _ in range(10_000):
        nested = {"sub": f"spiffe://{DOMAIN}/agent/a/i/1", "act": nested}
    with pytest.raises(Refused, match=f"more than {MAX_CHAIN} actors"):
        chains.actors(nested)


@pytest.mark.parametrize("through", [None, [], [{}], ["x"], [{"grant": "gr_1"}] * 2])
async def test_a_chain_that_does_not_say_what_was_held_is_none(world: World, through: Any) -> None:
    """Even one that our own key signed."""
    chain = await begun(world)
    claims = claims_of(await chain.on("helper"))
    if through is None:
        del claims[PRIVATE_CLAIM]["through"]
    else:
        claims[PRIVATE_CLAIM]["through"] = through
    forged = jose.sign(claims, typ="at+jwt", key=world.keys[0])
    with pytest.raises(Refused):
        await world.authenticate(chain.holders[1], forged)


async def test_a_token_that_lost_its_first_agent_is_not_of_its_mandate(world: World) -> None:
    chain = await begun(world)
    claims = claims_of(await chain.on("helper"))
    del claims["act"]["act"], claims[PRIVATE_CLAIM]["through"]
    forged = jose.sign(claims, typ="at+jwt", key=world.keys[0])
    with pytest.raises(Refused, match="does not belong to its mandate"):
        await world.authenticate(chain.holders[1], forged)


# -- what is counted ----------------------------------------------------------------------------


async def test_all_calls_of_a_chain_are_the_mandates(world: World) -> None:
    chain = await begun(world, grants=[READ], budget={"calls": 3})
    await chain.on("helper")
    root, child = await chain.delegation(0), await chain.delegation(1)
    await take(world, root)
    await take(world, child)
    await take(world, child)
    for one in (root, child):
        with pytest.raises(Refused, match="the mandate's budget is used up"):
            await take(world, one)


async def test_a_budget_is_not_multiplied_by_passing_it_on(world: World) -> None:
    """Each agent below may use it up, all of them together no more than once."""
    chain = await begun(world, grants=[READ], budget={"calls": 40})
    limited = detail(budget={"calls": 2})
    given = await world.pass_on(
        chain.holders[0],
        chain.tokens[0],
        "helper",
        authorization_details=detail(depth=2, budget={"calls": 2}),
    )
    helper = await world.agent("helper")
    token = (await world.exchange(helper, given)).access_token
    below: list[Delegation] = []
    for name in ("printer", "scanner"):
        more = await world.pass_on(helper, token, name, authorization_details=limited)
        holder = await world.agent(name)
        made = (await world.exchange(holder, more)).access_token
        below.append((await world.authenticate(holder, made)).delegation)
    for one in below:
        await take(world, one)
    for one in below:
        with pytest.raises(Refused, match="the budget of the token that was passed on is used up"):
            await take(world, one)
    middle = (await world.authenticate(helper, token)).delegation
    with pytest.raises(Refused, match="the token's budget is used up"):
        await take(world, middle)
    await take(world, await chain.delegation(0))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_calls": 1}, "number of calls is used up"),
        ({"rates": [{"calls": 1, "per": "hour"}]}, "the token that was passed on allows at most 1"),
        (
            {"budget": {"calls": 40, "windows": [{"per": "day", "calls": 1}]}},
            "the token that was passed on allows at most 1",
        ),
    ],
)
async def test_counts_of_every_kind_are_those_of_the_whole_subtree(
    world: World, limits: dict[str, Any], said: str
) -> None:
    chain = await begun(world, grants=[READ], budget={"calls": 40})
    held = detail(depth=2, **{"budget": {"calls": 40}, **limits})
    given = await world.pass_on(
        chain.holders[0], chain.tokens[0], "helper", authorization_details=held
    )
    helper = await world.agent("helper")
    token = (await world.exchange(helper, given)).access_token
    below: list[Delegation] = []
    for name in ("printer", "scanner"):
        holder = await world.agent(name)
        more = await world.pass_on(helper, token, name)
        made = (await world.exchange(holder, more)).access_token
        below.append((await world.authenticate(holder, made)).delegation)
    left = await world.delegation.standing(below[1], Use(grant_index=0))
    assert left.calls_left == 1
    await take(world, below[0])
    left = await world.delegation.standing(below[1], Use(grant_index=0))
    assert left.calls_left == 0
    with pytest.raises(Refused, match=said):
        await take(world, below[1])


async def test_money_of_a_sub_agent_is_counted_at_each_agent_above_it(world: World) -> None:
    chain = await begun(
        world,
        BANK,
        grants=[PAY],
        budget={"calls": 40, "amount": {"value": "900.00", "currency": "EUR"}},
    )
    limits = {"max_amount": {"amount": "500.00", "currency": "EUR"}}
    budget = {"calls": 40, "max_amount": {"amount": "60.00", "currency": "EUR"}}
    await chain.on(
        "helper", BANK, authorization_details=detail("bank", depth=1, budget=budget, **limits)
    )
    await chain.on("printer", BANK)
    below, middle = await chain.delegation(2, BANK), await chain.delegation(1, BANK)
    await take(world, below, amount=Money.of_minor(5000, "EUR"))
    with pytest.raises(Refused, match="budget"):
        await take(world, middle, amount=Money.of_minor(1001, "EUR"))
    await take(world, middle, amount=Money.of_minor(1000, "EUR"))
    with pytest.raises(Refused, match="budget"):
        await take(world, below, amount=Money.of_minor(1, "EUR"))
    await take(world, await chain.delegation(0, BANK), amount=Money.of_minor(10_000, "EUR"))


# -- all die together ---------------------------------------------------------------------------


async def _revoke_root(world: World, chain: Chain) -> None:
    root = await chain.delegation(0)
    await world.delegation.revoke_grant(world.ada, chain.mandate.id, root.grant_id, "stop")


async def _revoke_mandate(world: World, chain: Chain) -> None:
    await world.delegation.revoke_mandate(world.ada, chain.mandate.id, "stop")


async def _quarantine_first(world: World, chain: Chain) -> None:
    await world.agents.quarantine(world.ada, "bookkeeper", "stop")


async def _quarantine_middle(world: World, chain: Chain) -> None:
    await world.agents.quarantine(world.ada, "helper", "stop")


async def _disable(world: World, chain: Chain) -> None:
    other, _ = await world.house.operator("Olga")
    await world.house.people.change(other, world.ada.id, state=PersonState.DISABLED)


End = Callable[[World, Chain], Awaitable[None]]


@pytest.mark.parametrize(
    "end", [_revoke_root, _revoke_mandate, _quarantine_first, _quarantine_middle]
)
async def test_who_stands_below_falls_with_who_stands_above(world: World, end: End) -> None:
    chain = await begun(world)
    await chain.on("helper")
    await chain.on("printer")
    leaf = await chain.delegation(2)
    given = await world.pass_on(chain.holders[2], chain.tokens[2], "scanner")
    await world.agent("scanner")
    await end(world, chain)
    with pytest.raises(Refused):
        await world.authenticate(chain.holders[2], chain.tokens[2])
    with pytest.raises(Refused):
        await take(world, leaf)
    with pytest.raises(Refused):
        await world.database.read(lambda tx: world.delegation.check_live(tx, leaf))
    await refused("invalid_grant", world.pass_on(chain.holders[2], chain.tokens[2], "copier"))
    await refused("invalid_grant", world.exchange(await world.attest("scanner"), given))
    assert (await world.house.audit.verify()).ok


async def test_who_stands_above_does_not_fall_with_who_stands_below(world: World) -> None:
    chain = await begun(world)
    await chain.on("helper")
    child = await chain.delegation(1)
    await world.delegation.revoke_grant(world.ada, chain.mandate.id, child.grant_id, "")
    await world.agents.quarantine(world.ada, "helper", "odd")
    await take(world, await chain.delegation(0))
    with pytest.raises(Refused):
        await take(world, child)


async def test_the_person_sees_whom_it_was_passed_on_to_and_what_fell(world: World) -> None:
    chain = await begun(world)
    await chain.on("helper")
    await chain.on("printer")
    held = await world.delegation.grants(world.ada, chain.mandate.id)
    instances = [str(holder.svid.instance) for holder in chain.holders]
    assert {one.instance: one.through for one in held} == {
        instances[0]: (),
        instances[1]: (instances[0],),
        instances[2]: (instances[1], instances[0]),
    }
    child = await chain.delegation(1)
    await world.delegation.revoke_grant(world.ada, chain.mandate.id, child.grant_id, "")
    left = await world.delegation.grants(world.ada, chain.mandate.id)
    assert [one.instance for one in left] == [instances[0]]


async def test_no_call_of_a_sub_agent_is_recorded_after_its_root_was_revoked(world: World) -> None:
    """Many calls race one revocation; the log proves that none comes after it."""
    chain = await begun(world, grants=[READ], budget={"calls": 1000})
    await chain.on("helper")
    child = await chain.delegation(1)
    facts: dict[str, JsonValue] = {
        "decision": "permit", "agent": str(child.agent), "mandate": child.mandate.id,
        "grant": child.grant_id, "chain": [str(actor) for actor in child.chain],
        "epochs": child.epochs,
    }  # fmt: skip

    def unit(tx: Tx) -> None:
        world.delegation.consume(tx, child, Use(grant_index=0))
        world.house.audit.append(tx, Event(EventType.DECIDE, new_id("dec"), facts))

    async def call() -> bool:
        try:
            await world.database.write(unit)
        except Refused:
            return False
        return True

    before = [call() for _ in range(20)]
    racing = asyncio.gather(*before, _revoke_root(world, chain), *[call() for _ in range(20)])
    made = [one for one in await racing if one is True]
    assert not await call()
    report = await world.house.audit.verify()
    assert (report.ok, report.problems) == (True, ())
    decided = [one for one in await world.house.audit.search(limit=200) if one.type == "decide"]
    assert len(decided) == len(made) > 0
    await refused("invalid_grant", world.pass_on(chain.holders[1], chain.tokens[1], "printer"))


async def test_an_agent_that_falls_while_a_chain_grows_stops_it(world: World) -> None:
    chain = await begun(world)
    given = await world.pass_on(chain.holders[0], chain.tokens[0], "helper")
    helper = await world.agent("helper")

    async def meanwhile() -> None:
        world.agents.meanwhile = None
        await _revoke_root(world, chain)

    world.agents.meanwhile = meanwhile
    await refused("invalid_grant", world.exchange(helper, given))


# -- laws ---------------------------------------------------------------------------------------

TOOLS = ("a", "b", "c", "d")
EFFECTS = ("read", "write", "pay")


@st.composite
def grants(draw: st.DrawFn) -> Grant:
    return Grant(
        "crm",
        tuple(draw(st.sets(st.sampled_from(TOOLS), min_size=1))),
        tuple(draw(st.sets(st.sampled_from(EFFECTS), min_size=1))),
        max_calls=draw(st.none() | st.integers(1, 9)),
        approval=draw(st.sampled_from(("policy", "always"))),
    )


@st.composite
def authorities(draw: st.DrawFn) -> Authority:
    return Authority(
        tuple(draw(st.lists(grants(), min_size=1, max_size=3))),
        Budget(calls=draw(st.none() | st.integers(1, 9))),
        max_depth=draw(st.integers(0, 8)),
        delegates=draw(st.none() | st.sets(st.sampled_from("abcdefghij"), max_size=10)),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_along_any_chain_rights_only_narrow_and_the_chain_only_grows(data: st.DataObject) -> None:
    """Whoever asks for whatever: what comes out of any number of hops is within all before it."""
    whole = data.draw(authorities())
    held = _held(whole)
    seen = [held]
    for name in data.draw(st.lists(st.sampled_from("abcdefghij"), max_size=12)):
        to = SpiffeId.parse(f"spiffe://{DOMAIN}/agent/{name}")
        try:
            require_passable(held, to)
        except Refused:
            continue
        wanted = data.draw(st.just(ceiling(held.authority)) | authorities())
        if narrows(wanted, ceiling(held.authority)) is not None:
            wanted = ceiling(held.authority)
        held = _next(held, to, wanted, whole)
        seen.append(held)
    for n, one in enumerate(seen):
        assert len(one.chain) == n + 1 <= MAX_CHAIN
        assert one.chain[-n:] == seen[n - 1].chain or n == 0
        assert one.authority.max_depth + n <= whole.max_depth
        assert len({actor.agent for actor in one.chain}) == n + 1
        if n and whole.delegates is not None:
            assert one.agent_name in whole.delegates
        for before in (whole, *(earlier.authority for earlier in seen[:n])):
            assert narrows(one.authority, before) is None
        for level in one.levels:
            assert [level.grant(i) for i in range(len(one.authority.grants))]
            for i, grant in enumerate(one.authority.grants):
                assert set(grant.tools) <= set(level.grant(i).tools)


def _held(whole: Authority) -> Delegation:
    from tests.vectors.make_oauth_vectors import delegation

    made = delegation()
    first = SpiffeId.parse(f"spiffe://{DOMAIN}/agent/first/i/1")
    return replace(
        made,
        agent=SpiffeId.parse(f"spiffe://{DOMAIN}/agent/first"),
        instance=first,
        chain=(first,),
        mandate=replace(made.mandate, authority=whole),
        authority=whole,
        origins=tuple(range(len(whole.grants))),
    )


def _next(held: Delegation, to: SpiffeId, wanted: Authority, whole: Authority) -> Delegation:
    """One hop, by the pieces that the server makes it of, over the wire and back."""
    resources = f"{ISSUER}/mcp"
    told = chains.through_claim(chains.above_of(held), whole, resources=resources)
    above = chains.passed_links(held.chain, told, whole, "crm", resources=resources)
    assert [replace(link, origins=()) for link in chains.above_of(held)] == list(above)
    through, origins = chains.descended(wanted, above, whole)
    assert to_authorization_details(wanted, resources=resources)
    instance = SpiffeId.parse(f"{to}/i/1")
    return replace(
        held,
        agent=to,
        instance=instance,
        chain=(instance, *(link.instance for link in through)),
        authority=wanted,
        origins=origins,
        through=through,
    )
