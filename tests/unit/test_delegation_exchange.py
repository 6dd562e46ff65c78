"""Token exchange, seen by an agent that wants more than it was given."""

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Clock
from tests.fakes.delegation_world import BANK, CRM, DOMAIN, ISSUER, World, build, form

from actfor.delegation.service.memory import Remembered
from actfor.errors import Kind, Refused
from actfor.identity import PersonState
from actfor.store import Database
from actfor.wire import dpop, jose, spiffe, token_exchange
from actfor.wire.jose import SigningKey
from actfor.wire.rar import authority_hash, narrows
from actfor.wire.spiffe import PRIVATE_CLAIM, SpiffeId
from actfor.wire.token_exchange import ACCESS_TOKEN, JWT


@pytest.fixture
async def world(database: Database, clock: Clock, tmp_path: Path) -> World:
    return await build(database, clock, tmp_path)


def claims_of(token: str) -> Any:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def refused(code: str, call: Any, said: str | None = None) -> Refused:
    with pytest.raises(Refused, match=said) as caught:
        await call
    assert caught.value.code == code, caught.value
    return caught.value


async def denials(world: World) -> list[dict[str, Any]]:
    return [f for f in await world.log("delegate") if f.get("decision") == "deny"]


# -- what comes out ----------------------------------------------------------------------------


async def test_the_token_names_the_person_the_agent_and_the_mandate(world: World) -> None:
    holder, mandate, subject = await world.ready()
    answer = await world.exchange(holder, subject)
    header = json.loads(base64.urlsafe_b64decode(answer.access_token.split(".")[0] + "=="))
    assert header == {"typ": "at+jwt", "alg": "ES256", "kid": world.keys[0].kid}
    claims = claims_of(answer.access_token)
    assert claims["iss"] == ISSUER
    assert claims["aud"] == CRM
    assert claims["sub"] == world.ada.id
    assert claims["client_id"] == f"spiffe://{DOMAIN}/agent/bookkeeper"
    assert claims["act"] == {
        "sub": str(holder.svid.instance),
        "iss": f"spiffe://{DOMAIN}",
        "sub_profile": "ai_agent client_instance",
        "agent_model": {"id": "vendor/model", "version": "2026-10-01"},
    }
    assert claims["cnf"] == {"jkt": holder.key.kid}
    assert claims["mission"]["id"] == mandate.id
    assert claims["mission"]["authority_hash"] == mandate.authority_hash
    assert claims["scope"] == "crm:read"
    assert [d["actions"] for d in claims["authorization_details"]] == [
        ["list_tables", "read_query"]
    ]
    private = claims[PRIVATE_CLAIM]
    assert private["manifest"] == holder.agent.manifest_digest
    assert private["intent_hash"] == mandate.intent_hash
    assert private["assurance"] == "attested-local"
    assert claims["exp"] - claims["iat"] <= 300
    assert answer.to_json()["token_type"] == "DPoP"
    assert answer.to_json()["issued_token_type"] == ACCESS_TOKEN


async def test_the_grant_is_in_the_log_before_it_is_answered(world: World) -> None:
    holder, mandate, subject = await world.ready()
    token = claims_of((await world.exchange(holder, subject)).access_token)
    granted = [f for f in await world.log("delegate") if f["action"] == "exchange"]
    assert [f["decision"] for f in granted] == ["permit"]
    assert granted[0]["jti"] == token["jti"]
    assert granted[0]["mandate"] == mandate.id
    assert granted[0]["agent"] == str(holder.agent.id)
    assert (await world.house.audit.verify()).ok


async def test_the_authority_hash_is_that_of_the_committed_details(world: World) -> None:
    _, mandate, _ = await world.ready()
    from actfor.wire.rar import to_authorization_details

    details = to_authorization_details(mandate.authority, resources=f"{ISSUER}/mcp")
    assert mandate.authority_hash == authority_hash(ISSUER, details)


# -- no impersonation --------------------------------------------------------------------------

STRIPPED: list[tuple[str, dict[str, str]]] = [
    ("no actor", {"actor_token": "", "actor_token_type": ""}),
    ("no actor_token", {"actor_token": ""}),
    ("no actor_token_type", {"actor_token_type": ""}),
    ("no subject", {"subject_token": "", "subject_token_type": ""}),
    ("no subject_token_type", {"subject_token_type": ""}),
    ("unknown subject type", {"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}),
    ("swapped types", {"subject_token_type": JWT, "actor_token_type": ACCESS_TOKEN}),
    ("other token wanted", {"requested_token_type": JWT}),
    ("blank actor", {"actor_token": "   "}),
]


@pytest.mark.parametrize(("_what", "change"), STRIPPED, ids=[name for name, _ in STRIPPED])
async def test_a_request_without_its_whole_shape_gets_nothing(
    world: World, _what: str, change: dict[str, str]
) -> None:
    holder, _, subject = await world.ready()
    await refused("invalid_request", world.exchange(holder, subject, **change))


async def test_subject_and_actor_swapped_get_nothing(world: World) -> None:
    holder, _, subject = await world.ready()
    swapped = {"subject_token": holder.svid.token, "actor_token": subject}
    await refused("invalid_request", world.exchange(holder, subject, **swapped))


async def test_one_token_cannot_be_subject_and_actor(world: World) -> None:
    holder, _, subject = await world.ready()
    await refused("invalid_request", world.exchange(holder, subject, actor_token=subject))


async def test_a_delegated_token_is_no_subject(world: World) -> None:
    holder, _, subject = await world.ready()
    token = (await world.exchange(holder, subject)).access_token
    await refused("invalid_request", world.exchange(holder, token))


# -- only the named agent, only with its own key -----------------------------------------------


async def test_another_agent_may_not_use_the_persons_token(world: World) -> None:
    _, _, subject = await world.ready()
    mallory = await world.agent("mallory")
    await refused("actor_unauthorized", world.exchange(mallory, subject), "another agent")
    assert (await denials(world))[-1]["agent"] == f"spiffe://{DOMAIN}/agent/mallory"
    assert (await denials(world))[-1]["reason"] == "actor_unauthorized"


async def test_a_stolen_svid_is_useless_without_its_key(world: World) -> None:
    holder, _, subject = await world.ready()
    thief = world.verified(SigningKey.generate())
    await refused("invalid_dpop_proof", world.exchange(holder, subject, proof=thief), "another key")


async def test_a_forged_svid_gets_nothing(world: World) -> None:
    holder, _, subject = await world.ready()
    forged = spiffe.sign_jwt_svid(
        holder.agent.id,
        audience=ISSUER,
        jkt=holder.key.kid,
        jti="svid_forged",
        now=world.clock.now(),
        ttl=timedelta(minutes=5),
        key=SigningKey.generate(),
        private={"instance": str(holder.svid.instance), "assurance": "attested-local"},
    )
    await refused("invalid_request", world.exchange(holder, subject, actor_token=forged))


async def test_a_subject_token_signed_by_somebody_else_gets_nothing(world: World) -> None:
    holder, _, subject = await world.ready()
    forged = jose.sign(claims_of(subject), typ="at+jwt", key=SigningKey.generate())
    await refused("invalid_request", world.exchange(holder, forged))
    wrong_typ = jose.sign(claims_of(subject), typ="JWT", key=world.keys[0])
    await refused("invalid_request", world.exchange(holder, wrong_typ))


async def test_a_subject_token_without_may_act_lets_nobody_act(world: World) -> None:
    holder, _, subject = await world.ready()
    claims = {name: value for name, value in claims_of(subject).items() if name != "may_act"}
    bare = jose.sign(claims, typ="at+jwt", key=world.keys[0])
    await refused("actor_unauthorized", world.exchange(holder, bare))


async def test_the_person_cannot_be_the_agent(world: World) -> None:
    holder, _, subject = await world.ready()
    own = jose.sign(
        {**claims_of(subject), "sub": str(holder.agent.id)}, typ="at+jwt", key=world.keys[0]
    )
    await refused("invalid_request", world.exchange(holder, own), "must differ")


async def test_client_id_must_be_the_agent(world: World) -> None:
    holder, _, subject = await world.ready()
    agent = str(holder.agent.id)
    await world.exchange(holder, subject, client_id=agent)
    await refused("invalid_request", world.exchange(holder, subject, client_id=agent + "x"))


# -- a proof is used once ----------------------------------------------------------------------


async def test_a_replayed_proof_is_refused_and_grants_nothing(world: World) -> None:
    holder, _, subject = await world.ready()
    proof = world.verified(holder.key)
    await world.exchange(holder, subject, proof=proof)
    await refused("invalid_dpop_proof", world.exchange(holder, subject, proof=proof), "already")
    assert (await denials(world))[-1]["kind"] == "replayed"


async def test_of_many_racing_exchanges_with_one_proof_exactly_one_wins(world: World) -> None:
    holder, _, subject = await world.ready()
    proof = world.verified(holder.key)
    racing = [world.exchange(holder, subject, proof=proof) for _ in range(12)]
    outcomes = await asyncio.gather(*racing, return_exceptions=True)
    assert sum(not isinstance(outcome, Refused) for outcome in outcomes) == 1


# -- rights only narrow ------------------------------------------------------------------------


async def test_scope_can_be_narrowed_and_not_widened(world: World) -> None:
    holder, _, subject = await world.ready(
        grants=[{"server": "crm", "tools": ["*"], "effects": ["read", "write"]}]
    )
    answer = await world.exchange(holder, subject, scope="crm:read")
    assert answer.scope == "crm:read"
    details: Any = answer.authorization_details
    assert details[0]["constraints"]["effects"] == ["read"]
    for wide in ("crm:read crm:delete", "bank:pay", "manage", "crm:read  crm:write", "é"):
        await refused("invalid_scope", world.exchange(holder, subject, scope=wide))


@pytest.mark.parametrize(
    "audience",
    [
        f"{ISSUER}/mcp/unknown",
        CRM + "/",
        CRM.upper(),
        ISSUER,
        f"{ISSUER}/mcp",
        f"{ISSUER}/v1",
        "https://elsewhere.example/mcp/crm",
        CRM + "?x=1",
    ],
)
async def test_an_audience_outside_the_mandate_is_no_target(world: World, audience: str) -> None:
    holder, _, subject = await world.ready()
    await refused("invalid_target", world.exchange(holder, subject, resource=audience))


async def test_a_governed_server_that_the_mandate_does_not_name_is_no_target(world: World) -> None:
    holder, _, subject = await world.ready(
        grants=[{"server": "crm", "tools": ["*"], "effects": ["read"]}], budget={}
    )
    await refused("invalid_target", world.exchange(holder, subject, resource=BANK))


async def test_there_is_exactly_one_audience(world: World) -> None:
    holder, _, subject = await world.ready()
    both = [*form(holder, subject), ("resource", BANK)]
    with pytest.raises(Refused) as caught:
        token_exchange.parse(both)
    assert caught.value.code == "invalid_target"
    await refused("invalid_target", world.exchange(holder, subject, audience=BANK))
    await refused("invalid_target", world.exchange(holder, subject, resource=""))
    same = await world.exchange(holder, subject, audience=CRM)
    assert claims_of(same.access_token)["aud"] == CRM


def _detail(change: Callable[[Any], None] | None = None) -> str:
    detail: Any = {
        "type": "mission_resource_access",
        "resource": BANK,
        "actions": ["pay"],
        "constraints": {
            "effects": ["pay"],
            "arguments": {"/to": {"const": "DE02"}},
            "max_amount": {"amount": "500.0", "currency": "EUR"},
            "budget": {"calls": 3, "max_amount": {"amount": "900.00", "currency": "EUR"}},
        },
    }
    if change:
        change(detail)
    return json.dumps([detail])


async def test_authorization_details_within_the_mandate_are_granted_as_asked(world: World) -> None:
    holder, mandate, subject = await world.ready()
    answer = await world.exchange(holder, subject, resource=BANK, authorization_details=_detail())
    granted: Any = answer.authorization_details
    assert granted[0]["constraints"]["arguments"] == {"/to": {"const": "DE02"}}
    assert granted[0]["constraints"]["budget"]["calls"] == 3
    proved = await world.authenticate(holder, answer.access_token, BANK)
    assert narrows(proved.delegation.authority, mandate.authority) is None


WIDER: list[tuple[str, Callable[[Any], Any]]] = [
    ("amount", lambda d: d["constraints"]["max_amount"].update(amount="500.01")),
    ("currency", lambda d: d["constraints"]["max_amount"].update(currency="USD")),
    ("no amount", lambda d: d["constraints"].pop("max_amount")),
    ("tool", lambda d: d["actions"].append("refund")),
    ("any tool", lambda d: d.update(actions=["*"])),
    ("effect", lambda d: d["constraints"]["effects"].append("delete")),
    ("argument", lambda d: d["constraints"]["arguments"].update({"/to": {"const": "DE99"}})),
    ("pattern", lambda d: d["constraints"]["arguments"].update({"/to": {"pattern": "DE*"}})),
    ("no argument", lambda d: d["constraints"].pop("arguments")),
    ("calls", lambda d: d["constraints"]["budget"].update(calls=41)),
    ("no budget", lambda d: d["constraints"].pop("budget")),
    ("depth", lambda d: d.update(delegation={"max_depth": 1})),
    ("other server", lambda d: d.update(resource=CRM)),
    ("unknown constraint", lambda d: d["constraints"].update(weekdays=["mon"])),
    ("unknown member", lambda d: d.update(privileges=["root"])),
    ("unknown type", lambda d: d.update(type="anything")),
]


@pytest.mark.parametrize(("_what", "change"), WIDER, ids=[name for name, _ in WIDER])
async def test_authorization_details_beyond_the_mandate_are_refused(
    world: World, _what: str, change: Callable[[Any], Any]
) -> None:
    holder, _, subject = await world.ready()
    asked = {"resource": BANK, "authorization_details": _detail(change)}
    await refused("invalid_authorization_details", world.exchange(holder, subject, **asked))


async def test_ambiguous_authorization_details_are_refused(world: World) -> None:
    holder, _, subject = await world.ready()
    twice = '[{"type":"mission_resource_access","type":"mission_resource_access"}]'
    for text in (twice, "[]", "{}", "null", "not json"):
        await refused(
            "invalid_authorization_details",
            world.exchange(holder, subject, resource=BANK, authorization_details=text),
        )


# -- and they end ------------------------------------------------------------------------------


async def test_a_shorter_life_is_granted_and_a_longer_one_refused(world: World) -> None:
    holder, _, subject = await world.ready()
    answer = await world.exchange(holder, subject, expires_in="60")
    assert answer.expires_in <= 60
    for wish in ("301", "99999", "0", "-1", "1e3", "60.0"):
        await refused("invalid_request", world.exchange(holder, subject, expires_in=wish))


async def test_a_token_never_outlives_what_it_is_made_from(world: World, clock: Clock) -> None:
    holder, mandate, subject = await world.ready(
        expires_at=(clock.now() + timedelta(seconds=90)).isoformat()
    )
    claims = claims_of((await world.exchange(holder, subject)).access_token)
    assert claims["exp"] <= mandate.expires_at.timestamp()
    clock.advance(90)
    await refused("invalid_grant", world.exchange(holder, subject), "expired")

    other = await world.mandate()
    clock.advance((holder.svid.expires_at - clock.now()).total_seconds() - 20)
    short = claims_of((await world.exchange(holder, await world.subject(other))).access_token)
    assert short["exp"] <= holder.svid.expires_at.timestamp()


async def test_an_expired_svid_or_subject_token_is_no_grant(world: World, clock: Clock) -> None:
    holder, mandate, subject = await world.ready()
    clock.advance(601)
    await refused(
        "invalid_grant", world.exchange(holder, await world.subject(mandate)), "actor_token"
    )
    clock.advance(3000)
    fresh = await world.attest("bookkeeper", holder.key)
    await refused("invalid_grant", world.exchange(fresh, subject), "subject_token")


async def test_a_remembered_subject_token_ends_as_well(world: World, clock: Clock) -> None:
    holder, _, subject = await world.ready()
    await world.exchange(holder, subject)
    clock.advance(3600)
    fresh = await world.attest("bookkeeper", holder.key)
    await refused("invalid_grant", world.exchange(fresh, subject), "subject_token")


async def test_a_subject_token_of_a_key_that_is_gone_grants_nothing(world: World) -> None:
    holder, _, subject = await world.ready()
    await world.exchange(holder, subject)
    world.delegation.use_keys([SigningKey.generate()])
    await refused("invalid_request", world.exchange(holder, subject), "known key")


def test_what_is_remembered_is_bounded_and_the_least_used_goes_first() -> None:
    memory: Remembered[int] = Remembered(most=3)
    for name in "abc":
        memory.put(name, ord(name))
    assert memory.get("a") == ord("a")
    memory.put("d", 0)
    assert (len(memory), memory.get("b"), memory.get("a")) == (3, None, ord("a"))
    memory.drop("a")
    assert memory.get("a") is None
    assert memory.get("\ud800") is None


async def test_a_revoked_mandate_grants_nothing(world: World) -> None:
    holder, mandate, subject = await world.ready()
    await world.delegation.revoke_mandate(world.ada, mandate.id, "changed my mind")
    await refused("invalid_grant", world.exchange(holder, subject), "revoked: changed my mind")
    assert (await denials(world))[-1]["mandate"] == mandate.id


async def test_an_invalidated_agent_is_granted_nothing_and_the_log_says_so(world: World) -> None:
    holder, _, subject = await world.ready()
    await world.agents.invalidate(holder.agent, "`agent.py` was changed")
    await refused("invalid_grant", world.exchange(holder, subject), "`agent.py` was changed")
    assert (await denials(world))[-1]["agent"] == str(holder.agent.id)


async def test_a_disabled_person_delegates_nothing(world: World) -> None:
    holder, _, subject = await world.ready()
    bob, _ = await world.house.invite(world.ada, "Bob", "admin")
    await world.house.people.change(bob, world.ada.id, state=PersonState.DISABLED)
    await refused("invalid_grant", world.exchange(holder, subject), "disabled")


async def test_what_is_revoked_while_a_grant_is_prepared_stops_the_grant(world: World) -> None:
    """The transaction that records the grant looks again: agent, mandate, person."""
    holder, mandate, subject = await world.ready()
    world.agents.meanwhile = lambda: world.delegation.revoke_mandate(world.ada, mandate.id, "no")
    await refused("invalid_grant", world.exchange(holder, subject), "revoked")
    other = await world.subject(await world.mandate())
    world.agents.meanwhile = lambda: world.agents.invalidate(holder.agent, "`agent.py` was changed")
    await refused("invalid_grant", world.exchange(holder, other), "invalidated: `agent.py`")
    assert [f["decision"] for f in await world.log("delegate") if "decision" in f] == ["deny"] * 2


async def test_actors_are_never_taken_from_the_request(world: World) -> None:
    holder, _, subject = await world.ready()
    for name in ("client_assertion", "client_secret", "request", "mission_intent"):
        await refused("invalid_request", world.exchange(holder, subject, **{name: "x"}))
    ignored = await world.exchange(holder, subject, act='{"sub":"spiffe://evil/agent/x"}')
    assert SpiffeId.parse(claims_of(ignored.access_token)["act"]["sub"]).agent == holder.agent.id


async def test_a_refusal_leaves_no_grant_behind(world: World) -> None:
    holder, mandate, subject = await world.ready()
    await refused("invalid_scope", world.exchange(holder, subject, scope="crm:delete"))
    assert [f["decision"] for f in await world.log("delegate") if "decision" in f] == ["deny"]
    assert (await world.delegation.mandate(mandate.id)).calls_used == 0


def test_the_proof_is_for_the_token_endpoint(clock: Clock) -> None:
    key = SigningKey.generate()
    elsewhere = dpop.build_proof(
        key=key, method="POST", url=CRM, now=clock.now(), jti="0123456789abcdef"
    )
    with pytest.raises(Refused) as caught:
        dpop.verify_proof(elsewhere, method="POST", url=f"{ISSUER}/token", now=clock.now())
    assert caught.value.code == "invalid_dpop_proof"
    assert caught.value.kind is Kind.UNAUTHENTICATED
