"""Mandates: whose they are, what they bind, how they end."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Clock
from tests.fakes.delegation_world import CRM, ISSUER, World, build

from actfor.delegation import MandateDraft, MandateState
from actfor.delegation.model import Mandate, parse_goal, parse_reason, parse_time
from actfor.errors import Kind, Refused
from actfor.identity import PersonState
from actfor.store import Database
from actfor.wire.rar import intent_hash
from actfor.wire.timestamps import rfc3339


@pytest.fixture
async def world(database: Database, clock: Clock, tmp_path: Path) -> World:
    made = await build(database, clock, tmp_path)
    await made.agent()
    return made


async def refused(kind: Kind, call: Any, said: str | None = None) -> None:
    with pytest.raises(Refused, match=said) as caught:
        await call
    assert caught.value.kind is kind, caught.value


async def test_what_was_committed_is_what_is_found(world: World) -> None:
    made = await world.mandate(four_eyes=True)
    assert await world.delegation.mandate(made.id) == made
    assert await world.delegation.mandates(world.ada) == [made]
    assert made.four_eyes
    intent = {
        "goal": made.goal,
        "resources": [f"{ISSUER}/mcp/bank", CRM],
        "expires_at": rfc3339(made.expires_at),
    }
    assert made.intent_hash == intent_hash(ISSUER, intent)


async def test_every_member_of_an_authority_can_be_said_in_a_draft(world: World) -> None:
    flow = {"from": "untrusted", "to": "recipient", "decision": "deny"}
    made = await world.mandate(max_depth=2, delegates=["helper"], flows=[flow])
    held = (await world.delegation.mandate(made.id)).authority
    assert (held.max_depth, held.delegates) == (2, ("helper",))
    assert [one.to_json() for one in held.flows] == [flow]


async def test_the_log_binds_the_digests_and_keeps_the_words_apart(world: World) -> None:
    made = await world.mandate()
    (event,) = [one for one in await world.house.audit.search() if one.type == "mandate"]
    assert event.private["authority_hash"] == made.authority_hash
    assert event.private["intent_hash"] == made.intent_hash
    for text in (made.goal, made.authority_hash, made.intent_hash, world.ada.id):
        assert text not in str(event.facts)


async def test_a_persons_mandates_are_nobody_elses(world: World) -> None:
    made = await world.mandate()
    bob, _ = await world.house.invite(world.ada, "Bob")
    assert await world.delegation.mandates(bob) == []
    await refused(Kind.NOT_FOUND, world.delegation.subject_token(bob, made.id))
    await refused(Kind.NOT_FOUND, world.delegation.revoke_mandate(bob, made.id, "mine now"))
    assert (await world.delegation.mandate(made.id)).state is MandateState.ACTIVE
    assert await world.delegation.mandates(None) == [made]


async def test_an_admin_may_revoke_but_not_use_anothers_mandate(world: World) -> None:
    bob, _ = await world.house.invite(world.ada, "Bob")
    made = await world.delegation.commit_mandate(bob, world.draft())
    await refused(Kind.NOT_FOUND, world.delegation.subject_token(world.ada, made.id))
    revoked = await world.delegation.revoke_mandate(world.ada, made.id, "an incident")
    assert (revoked.state, revoked.epoch, revoked.reason) == (
        MandateState.REVOKED,
        2,
        "an incident",
    )
    facts = (await world.log("revoke"))[-1]
    assert (facts["mandate"], facts["revoked"]) == (made.id, {"mandate": {made.id: 2}})


async def test_a_mandate_is_revoked_once(world: World) -> None:
    made = await world.mandate()
    await world.delegation.revoke_mandate(world.ada, made.id, "")
    await refused(Kind.CONFLICT, world.delegation.revoke_mandate(world.ada, made.id, ""))
    await refused(Kind.DENIED, world.delegation.subject_token(world.ada, made.id), "revoked")


async def test_an_expired_mandate_says_so_and_gives_no_token(world: World, clock: Clock) -> None:
    made = await world.mandate()
    clock.advance(2 * 3600)
    assert (await world.delegation.mandate(made.id)).state is MandateState.EXPIRED
    await refused(Kind.EXPIRED, world.delegation.subject_token(world.ada, made.id))


async def test_a_mandate_needs_an_agent_and_servers_that_exist(world: World) -> None:
    await refused(Kind.NOT_FOUND, world.mandate("nobody"))
    grants = [{"server": "hr", "tools": ["*"], "effects": ["read"]}]
    await refused(Kind.NOT_FOUND, world.mandate(grants=grants), "`hr` is not governed")
    await world.agents.retire(world.ada, "bookkeeper", "old")
    await refused(Kind.DENIED, world.mandate(), "retired")


async def test_a_disabled_person_commits_and_delegates_nothing(world: World) -> None:
    made = await world.mandate()
    bob, _ = await world.house.invite(world.ada, "Bob", "admin")
    await world.house.people.change(bob, world.ada.id, state=PersonState.DISABLED)
    await refused(Kind.DENIED, world.mandate())
    await refused(Kind.DENIED, world.delegation.subject_token(world.ada, made.id))
    await refused(Kind.DENIED, world.delegation.revoke_mandate(world.ada, made.id, ""))


async def test_limits_that_do_not_fit_into_a_token_are_refused(world: World) -> None:
    grants = [
        {
            "server": "crm",
            "tools": [f"tool_{n}_{m}" for m in range(60)],
            "effects": ["read"],
            "args": {"/x": {"enum": ["y" * 60] * 2}},
        }
        for n in range(9)
    ]
    await refused(Kind.MALFORMED, world.mandate(grants=grants), "do not fit")


@pytest.mark.parametrize("seconds", [-1, 0, 29, 31 * 86_400 + 1])
async def test_a_mandate_has_a_sensible_end(world: World, seconds: int) -> None:
    end = (world.clock.now() + timedelta(seconds=seconds)).isoformat()
    await refused(Kind.MALFORMED, world.mandate(expires_at=end))


BODY: dict[str, Any] = {
    "agent": "bookkeeper",
    "goal": "pay",
    "grants": [{"server": "crm", "tools": ["a"], "effects": ["read"]}],
    "expires_at": "2026-11-25T00:00:00Z",
}


@pytest.mark.parametrize(
    "change",
    [
        {"agent": None},
        {"agent": ""},
        {"goal": ""},
        {"goal": " "},
        {"goal": 7},
        {"goal": "x" * 4097},
        {"goal": "pay\u202eegnahc"},
        {"goal": "pay\x00"},
        {"goal": "pay\u200b"},
        {"grants": None},
        {"grants": []},
        {"expires_at": None},
        {"expires_at": "2026-11-25"},
        {"expires_at": "2026-11-25T00:00:00"},
        {"expires_at": "tomorrow"},
        {"expires_at": 1797840000},
        {"four_eyes": "yes"},
        {"approved": True},
        {"person": "usr_other"},
    ],
)
def test_a_draft_that_is_not_wholly_understood_is_refused(change: dict[str, Any]) -> None:
    assert MandateDraft.from_json(BODY).agent == "bookkeeper"
    with pytest.raises(Refused) as caught:
        MandateDraft.from_json({**BODY, **change})
    assert caught.value.kind is Kind.MALFORMED


def test_words_are_kept_as_they_were_said() -> None:
    assert parse_goal("  Pay\nOctober’s invoices  ") == "Pay\nOctober’s invoices"
    assert parse_goal("cafe\u0301") == "caf\u00e9"
    assert parse_reason(" enough ") == "enough"
    for bad in ("a\nb", "x" * 301, "\x1b[2J"):
        with pytest.raises(Refused):
            parse_reason(bad)
    assert parse_time("2026-11-25T01:00:00+01:00") == parse_time("2026-11-25T00:00:00Z")
    with pytest.raises(Refused):
        parse_time("0001-01-01T00:00:00+23:59")


@pytest.mark.parametrize("state", MandateState)
async def test_only_an_active_mandate_carries_authority(world: World, state: MandateState) -> None:
    from dataclasses import replace

    made: Mandate = replace(await world.mandate(), state=state)
    if state is MandateState.ACTIVE:
        made.require_active(world.clock.now(), made.epoch)
        with pytest.raises(Refused):
            made.require_active(world.clock.now(), made.epoch + 1)
        with pytest.raises(Refused):
            made.require_active(made.expires_at)
    else:
        with pytest.raises(Refused):
            made.require_active(world.clock.now())
