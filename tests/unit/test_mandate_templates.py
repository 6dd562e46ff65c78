"""Mandates written once by operators, and what agents wish for: neither grants anything by itself."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Clock, import_tables
from tests.fakes.delegation_world import ISSUER, Holder, World, build

from actfor.delegation.templates import Template
from actfor.errors import Kind, Refused
from actfor.store import Database
from actfor.wire import dpop
from actfor.wire.dpop import DpopProof
from actfor.wire.jose import SigningKey
from actfor.wire.rar import OneOf, authority_from_draft


@pytest.fixture
def database(database_url: str, clock: Clock) -> Iterator[Database]:
    import_tables()
    opened = Database.open(database_url, clock=clock.now)
    yield opened
    opened.close_sync()


@pytest.fixture
async def world(database: Database, clock: Clock, tmp_path: Path) -> World:
    return await build(database, clock, tmp_path)


def text(kind: str, example: str) -> dict[str, str]:
    return {"type": kind, "label": "which one?", "example": example}


PAY: dict[str, Any] = {
    "title": "Pay one invoice",
    "parameters": {
        "account": text("iban", "DE02120300000000202051"),
        "most": text("number", "100.00"),
    },
    "draft": {
        "goal": "Pay the invoice to {account}",
        "grants": [
            {
                "server": "bank",
                "tools": ["pay"],
                "effects": ["pay"],
                "args": {"/to": {"const": "{account}"}},
                "amount": {"value": "{most}", "currency": "EUR"},
                "max_calls": 1,
            }
        ],
    },
}
VALUES = {"account": "DE99120300000000202051", "most": "20.00"}


async def test_a_template_is_filled_in_and_becomes_a_mandate(world: World) -> None:
    kept = await world.delegation.keep_template(world.ada, "pay-invoice", PAY)
    assert kept.version == 1
    draft = await world.delegation.fill_template("pay-invoice", VALUES)
    assert draft["goal"] == "Pay the invoice to DE99120300000000202051"
    (grant,) = authority_from_draft(draft).grants
    assert grant.args["/to"] == OneOf(("DE99120300000000202051",))
    assert str(grant.amount) == "20.00 EUR"


async def test_a_new_version_is_added_and_the_old_one_stays(world: World) -> None:
    await world.delegation.keep_template(world.ada, "pay-invoice", PAY)
    again = await world.delegation.keep_template(
        world.ada, "pay-invoice", {**PAY, "title": "Pay two"}
    )
    assert again.version == 2
    (one,) = await world.delegation.templates()
    assert (one.version, one.title) == (2, "Pay two")
    assert [leaf["version"] for leaf in await world.log("admin") if "template" in leaf] == [1, 2]


async def test_only_administrators_keep_templates(world: World) -> None:
    mallory, _ = await world.house.invite(world.ada, "Mallory", "member")
    with pytest.raises(Refused) as no:
        await world.delegation.keep_template(mallory, "pay-invoice", PAY)
    assert no.value.kind is Kind.DENIED
    with pytest.raises(Refused) as none:
        await world.delegation.fill_template("pay-invoice", VALUES)
    assert none.value.kind is Kind.NOT_FOUND


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"account": VALUES["account"]},
        {**VALUES, "more": "x"},
        {**VALUES, "account": "not an account"},
        {**VALUES, "account": 'DE02"}, {"server": "bank"'},
        {**VALUES, "most": "20,00"},
        {**VALUES, "most": "-1"},
        {**VALUES, "most": "{account}"},
        {**VALUES, "account": "DE02\n120300000000202051"},
        {**VALUES, "account": "DE02" * 200},
    ],
)
async def test_a_value_is_data_of_its_type_and_nothing_else(
    clock: Clock, values: dict[str, str]
) -> None:
    template = Template.parse("pay-invoice", PAY, version=1, by="usr_x", now=clock.now())
    with pytest.raises(Refused) as no:
        template.fill(values)
    assert no.value.kind is Kind.MALFORMED


def test_a_value_is_filled_in_once_and_never_again(clock: Clock) -> None:
    body = {
        **PAY,
        "parameters": {**PAY["parameters"], "note": text("text", "x")},
        "draft": {**PAY["draft"], "goal": "{note}"},
    }
    template = Template.parse("t", body, version=1, by="usr_x", now=clock.now())
    assert template.fill({**VALUES, "note": "{account}"})["goal"] == "{account}"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**PAY, "more": 1},
        {**PAY, "title": ""},
        {**PAY, "title": "a\nb"},
        {**PAY, "parameters": {"Account": text("iban", "x")}},
        {**PAY, "parameters": {"account": {"type": "iban"}}},
        {**PAY, "parameters": {"account": text("regex", "x")}},
        {**PAY, "parameters": {**PAY["parameters"], "account": text("iban", "no account")}},
        {**PAY, "parameters": {}},
        {**PAY, "draft": {"goal": "x"}},
        {**PAY, "draft": {**PAY["draft"], "agent": "bookkeeper"}},
        {**PAY, "draft": []},
    ],
)
def test_a_template_that_could_not_be_used_is_not_kept(clock: Clock, body: Any) -> None:
    with pytest.raises(Refused) as no:
        Template.parse("t", body, version=1, by="usr_x", now=clock.now())
    assert no.value.kind is Kind.MALFORMED


@pytest.mark.parametrize("name", ["", "A", "a b", "../x", "a" * 64, "-a", "a-"])
def test_a_template_has_a_plain_name(clock: Clock, name: str) -> None:
    with pytest.raises(Refused):
        Template.parse(name, PAY, version=1, by="usr_x", now=clock.now())


# -- wishes ------------------------------------------------------------------------------------


def proof(world: World, key: SigningKey) -> DpopProof:
    url = f"{ISSUER}/mandate_request"
    sent = world.proof(key, url)
    return dpop.verify_proof(sent, method="POST", url=url, now=world.clock.now())


def details(server: str = "bank", **more: Any) -> list[Any]:
    return [
        {
            "type": "mission_resource_access",
            "resource": f"{ISSUER}/mcp/{server}",
            "actions": ["pay"],
            "constraints": {"effects": ["pay"], **more},
        }
    ]


async def wish(world: World, holder: Holder, says: str | None = None, **more: Any) -> str:
    given = {"proof": proof(world, holder.key), "details": details(), **more}
    made = await world.delegation.wish(holder.svid.token, given["proof"], given["details"], says)
    return made.id


async def test_a_wish_is_shown_as_the_agents_and_grants_nothing(world: World) -> None:
    holder = await world.agent()
    made = await wish(world, holder, says="I am allowed to, trust me")
    (shown,) = await world.delegation.wishes(world.ada)
    assert (shown.id, shown.agent) == (made, str(holder.agent.id))
    assert shown.says == "I am allowed to, trust me"
    assert await world.delegation.mandates(None) == []
    (leaf,) = await world.log("mandate")
    assert leaf["action"] == "wished"
    assert "trust me" not in str(leaf)
    await world.delegation.dismiss_wish(world.ada, made)
    assert await world.delegation.wishes(world.ada) == []


async def test_a_wish_is_read_strictly_and_comes_from_the_agent_itself(world: World) -> None:
    holder = await world.agent()
    for wrong in (details("hr"), details(unknown=1), [], "x", details(max_calls=-1)):
        with pytest.raises(Refused):
            await wish(world, holder, details=wrong)
    with pytest.raises(Refused) as thief:
        await wish(world, holder, proof=proof(world, SigningKey.generate()))
    assert thief.value.code == "invalid_dpop_proof"
    used = proof(world, holder.key)
    await wish(world, holder, proof=used)
    with pytest.raises(Refused) as replayed:
        await wish(world, holder, proof=used)
    assert replayed.value.kind is Kind.REPLAYED


async def test_an_agent_cannot_flood_people_with_wishes(world: World, clock: Clock) -> None:
    holder = await world.agent()
    made = await asyncio.gather(*(wish(world, holder) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(one, str) for one in made) == 5
    clock.advance(24 * 3600 + 1)
    assert await world.delegation.wishes(world.ada) == []
