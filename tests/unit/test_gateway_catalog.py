"""What operators approved, and what happens when servers say something else."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes.console_people import House
from tests.fakes.gateway_upstream import Scripted, scripted, tool

from actfor.errors import Kind, Refused
from actfor.gateway.catalog import Catalog
from actfor.gateway.effects import Overlay
from actfor.gateway.model import (
    Definition,
    Http,
    Stdio,
    Tool,
    ToolState,
    check_server_name,
    read_listing,
    transport_from_json,
)
from actfor.identity import Person
from actfor.store import Database

READ = Overlay.from_json({"effect": "read"})


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted(tools=[tool("echo"), tool("pay")]) as made:
        yield made


@pytest.fixture
async def house(database: Database, clock: Clock) -> House:
    return House.build(database, clock.now)


@pytest.fixture
async def operator(house: House) -> Person:
    return (await house.operator())[0]


@pytest.fixture
async def catalog(house: House) -> AsyncIterator[Catalog]:
    made = Catalog(house.database, house.audit, house.clock)
    await made.start()
    yield made
    await made.close()


async def events(house: House, kind: str) -> list[dict[str, Any]]:
    found = await house.audit.search(limit=100, type=kind)
    return [dict(one.facts) for one in reversed(found) if "server" in one.facts]


def states(catalog: Catalog) -> dict[str, str]:
    return {name: one.state.value for name, one in catalog.server("crm").tools.items()}


async def test_nothing_is_approved_by_being_listed(
    catalog: Catalog, operator: Person, server: Scripted, house: House
) -> None:
    added = await catalog.add_server(operator, "crm", Http(server.url))
    assert states(catalog) == {"echo": "unapproved", "pay": "unapproved"}
    assert not any(one.is_pinned for one in added.tools.values())
    (admin,) = await events(house, "admin")
    assert (admin["action"], admin["server"]) == ("server-added", "crm")
    assert [one["state"] for one in await events(house, "tool")] == ["unapproved"] * 2


async def test_what_was_previewed_can_be_approved_while_adding(
    catalog: Catalog, operator: Person, server: Scripted
) -> None:
    shown = await catalog.preview(operator, "crm", Http(server.url))
    assert catalog.servers() == []
    digest = shown.tools["echo"].listed_digest
    await catalog.add_server(
        operator, "crm", Http(server.url), approve={"echo": digest}, overlays={"echo": READ}
    )
    assert states(catalog) == {"echo": "pinned", "pay": "unapproved"}
    assert catalog.tool("crm", "echo").approved_by == operator.id
    assert catalog.tool("crm", "echo").overlay == READ


async def test_what_changed_between_preview_and_adding_is_not_approved(
    catalog: Catalog, operator: Person, server: Scripted
) -> None:
    shown = await catalog.preview(operator, "crm", Http(server.url))
    server.tools[0]["description"] = "Does it. And more."
    with pytest.raises(Refused, match="not the one you were shown"):
        await catalog.add_server(
            operator, "crm", Http(server.url), approve={"echo": shown.tools["echo"].listed_digest}
        )
    assert catalog.servers() == []


async def test_only_administrators_may(
    catalog: Catalog, house: House, operator: Person, server: Scripted
) -> None:
    member, _ = await house.invite(operator, "Mia Member", "approver")
    await catalog.add_server(operator, "crm", Http(server.url))
    digest = catalog.tool("crm", "echo").listed_digest
    for attempt in (
        catalog.add_server(member, "other", Http(server.url)),
        catalog.preview(member, "other", Http(server.url)),
        catalog.approve_tool(member, "crm", "echo", digest),
        catalog.set_overlay(member, "crm", "echo", READ),
        catalog.remove_server(member, "crm"),
    ):
        with pytest.raises(Refused) as refused:
            await attempt
        assert refused.value.kind is Kind.DENIED
    assert states(catalog)["echo"] == "unapproved"


async def test_a_name_is_taken_once(catalog: Catalog, operator: Person, server: Scripted) -> None:
    await catalog.add_server(operator, "crm", Http(server.url))
    with pytest.raises(Refused, match="already"):
        await catalog.add_server(operator, "crm", Http(server.url))


async def test_a_server_that_cannot_be_reached_is_not_added(
    catalog: Catalog, operator: Person, house: House
) -> None:
    for transport in (Http("http://127.0.0.1:9/mcp"), Stdio("/nonexistent")):
        with pytest.raises(Refused) as refused:
            await catalog.add_server(operator, "crm", transport)
        assert refused.value.kind is Kind.BUSY
    assert catalog.servers() == []
    assert await events(house, "admin") == []


@pytest.mark.parametrize(
    "change",
    [
        {"description": "Does it!"},
        {"title": "Echo"},
        {"inputSchema": {"type": "object", "properties": {"a": {}}}},
        {"outputSchema": {"type": "object"}},
        {"annotations": {"readOnlyHint": True}},
        {"icons": []},
    ],
)
async def test_one_changed_member_of_a_definition_stops_the_tool(
    catalog: Catalog, operator: Person, server: Scripted, house: House, change: dict[str, Any]
) -> None:
    await catalog.add_server(operator, "crm", Http(server.url), approve_listed=True)
    pinned = catalog.tool("crm", "echo")
    server.tools[0].update(change)
    await catalog.refresh("crm")
    changed = catalog.tool("crm", "echo")
    assert changed.state is ToolState.CHANGED
    assert not changed.is_pinned
    assert changed.pinned == pinned.pinned, "agents still see what was approved"
    assert catalog.tool("crm", "pay").is_pinned
    assert (await events(house, "tool"))[-1]["state"] == "changed"
    with pytest.raises(Refused):
        house.database.write_sync(lambda tx: catalog.check_pinned(tx, pinned))

    with pytest.raises(Refused) as refused:
        await catalog.approve_tool(operator, "crm", "echo", pinned.listed_digest)
    assert refused.value.kind is Kind.CONFLICT
    await catalog.approve_tool(operator, "crm", "echo", changed.listed_digest)
    assert catalog.tool("crm", "echo").is_pinned


async def test_a_definition_that_turns_back_is_looked_at_all_the_same(
    catalog: Catalog, operator: Person, server: Scripted
) -> None:
    await catalog.add_server(operator, "crm", Http(server.url), approve_listed=True)
    original = server.tools
    server.tools = [tool("echo", "Something else."), tool("pay")]
    await catalog.refresh("crm")
    server.tools = [tool("pay")]
    await catalog.refresh("crm")
    server.tools = original
    await catalog.refresh("crm")
    assert states(catalog) == {"echo": "changed", "pay": "pinned"}


async def test_meta_may_change_every_day(
    catalog: Catalog, operator: Person, server: Scripted
) -> None:
    await catalog.add_server(operator, "crm", Http(server.url), approve_listed=True)
    server.tools[0]["_meta"] = {"today": 1}
    await catalog.refresh("crm")
    assert catalog.tool("crm", "echo").is_pinned


async def test_new_and_vanished_tools(catalog: Catalog, operator: Person, server: Scripted) -> None:
    await catalog.add_server(operator, "crm", Http(server.url), approve_listed=True)
    server.tools = [tool("pay"), tool("wire_money")]
    await catalog.refresh("crm")
    assert states(catalog) == {"echo": "missing", "pay": "pinned", "wire_money": "unapproved"}
    server.tools = [tool("echo"), tool("pay")]
    await catalog.refresh("crm")
    assert states(catalog)["echo"] == "pinned", "it is to the byte what was approved"
    assert states(catalog)["wire_money"] == "unapproved"


async def test_what_was_approved_survives_a_restart_and_what_changed_meanwhile_is_found(
    catalog: Catalog, operator: Person, server: Scripted, house: House
) -> None:
    await catalog.add_server(
        operator, "crm", Http(server.url), approve_listed=True, overlays={"echo": READ}
    )
    before = catalog.server("crm")
    again = Catalog(house.database, house.audit, house.clock)
    await again.start()
    assert again.server("crm") == before
    server.tools[0]["description"] = "Changed while we were away."
    running = asyncio.create_task(again.run())
    while again.tool("crm", "echo").state is not ToolState.CHANGED:
        await asyncio.sleep(0.01)
    running.cancel()
    await again.close()


async def test_an_overlay_changes_what_is_recorded_of_the_tool(
    catalog: Catalog, operator: Person, server: Scripted, house: House
) -> None:
    await catalog.add_server(operator, "crm", Http(server.url), approve_listed=True)
    before = catalog.tool("crm", "echo")
    after = await catalog.set_overlay(operator, "crm", "echo", READ)
    assert after.is_pinned
    first, last = (await events(house, "tool"))[0], (await events(house, "tool"))[-1]
    assert first["overlay_digest"] != last["overlay_digest"]
    house.database.write_sync(lambda tx: catalog.check_pinned(tx, after))
    with pytest.raises(Refused, match="changed while"):
        house.database.write_sync(lambda tx: catalog.check_pinned(tx, before))


async def test_a_removed_server_is_gone_and_its_name_is_free(
    catalog: Catalog, operator: Person, server: Scripted, house: House
) -> None:
    await catalog.add_server(operator, "crm", Http(server.url), approve_listed=True)
    pinned = catalog.tool("crm", "echo")
    await catalog.remove_server(operator, "crm")
    assert catalog.governed("crm") is None
    with pytest.raises(Refused):
        house.database.write_sync(lambda tx: catalog.check_pinned(tx, pinned))
    await catalog.add_server(operator, "crm", Http(server.url))
    assert states(catalog)["echo"] == "unapproved", "approvals do not come back"


async def test_unknown_names_are_not_found(
    catalog: Catalog, operator: Person, server: Scripted
) -> None:
    await catalog.add_server(operator, "crm", Http(server.url))
    for attempt in (
        catalog.approve_tool(operator, "crm", "nope", "x"),
        catalog.approve_tool(operator, "nope", "echo", "x"),
        catalog.set_overlay(operator, "crm", "nope", READ),
        catalog.remove_server(operator, "nope"),
        catalog.refresh("nope"),
        catalog.add_server(operator, "two", Http(server.url), approve={"nope": "x"}),
        catalog.add_server(operator, "two", Http(server.url), overlays={"nope": READ}),
    ):
        with pytest.raises(Refused) as refused:
            await attempt
        assert refused.value.kind is Kind.NOT_FOUND


# -- the model --------------------------------------------------------------------------------

DEFINITIONS = [
    read_listing([tool("echo", text)])["echo"] for text in ("one", "two", "three")
]  # fmt: skip


@given(
    st.lists(
        st.one_of(
            st.sampled_from([0, 1, 2, None]).map(lambda which: ("list", which)),
            st.just(("approve", None)),
        ),
        max_size=12,
    )
)
def test_a_tool_may_be_called_only_as_it_was_approved_and_is_listed(
    steps: list[tuple[str, int | None]],
) -> None:
    """Against a model: the last approved digest, and whether it was ever seen to differ since."""
    one = Tool.first_seen("crm", DEFINITIONS[0])
    listed: Definition | None = DEFINITIONS[0]
    last, approved, suspicious = DEFINITIONS[0].digest, None, False
    for what, which in steps:
        if what == "approve":
            if one.state is ToolState.MISSING:
                with pytest.raises(Refused):
                    one.approve(last, "usr_1", None)  # type: ignore[arg-type] # not reached
                continue
            one = one.approve(last, "usr_1", None)  # type: ignore[arg-type] # no clock needed
            approved, suspicious = last, False
        else:
            listed = None if which is None else DEFINITIONS[which]
            one = one.seen(listed)
            if listed is not None:
                last = listed.digest
                suspicious |= approved is not None and last != approved
        if one.is_pinned:
            assert approved is not None
            assert approved == one.pinned_digest == last
            assert not suspicious
        if listed is None and not suspicious and approved == last and what == "list":
            assert not one.is_pinned


def test_digests_of_what_is_shown_and_what_is_pinned_agree() -> None:
    one = Tool.first_seen("crm", DEFINITIONS[0]).approve(
        DEFINITIONS[0].digest,
        "usr_1",
        None,  # type: ignore[arg-type] # no clock needed
    )
    assert one.pinned == DEFINITIONS[0].body
    with pytest.raises(Refused):
        replace(one, state=ToolState.MISSING).approve(one.listed_digest, "usr_1", None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["crm", "a", "a-b-2", "x" * 63])
def test_names_of_servers(name: str) -> None:
    assert check_server_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "CRM", "-a", "a-", "a_b", "a/b", "a.b", "сrm", "a" * 64, "a\n", "..", "a b"]
)
def test_names_that_servers_cannot_have(name: str) -> None:
    with pytest.raises(Refused):
        check_server_name(name)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "stdio",
        {},
        {"kind": "ssh"},
        {"kind": "stdio"},
        {"kind": "stdio", "command": ""},
        {"kind": "stdio", "command": "a\0b"},
        {"kind": "stdio", "command": "x", "args": "y"},
        {"kind": "stdio", "command": "x", "args": [1]},
        {"kind": "stdio", "command": "x", "cwd": "relative"},
        {"kind": "stdio", "command": "x", "env": {"A=B": "c"}},
        {"kind": "stdio", "command": "x", "env": {"A": 1}},
        {"kind": "stdio", "command": "x", "shell": True},
        {"kind": "http"},
        {"kind": "http", "url": "ftp://x/"},
        {"kind": "http", "url": "file:///etc/passwd"},
        {"kind": "http", "url": "http://user:secret@x/"},
        {"kind": "http", "url": "http://x/#a"},
        {"kind": "http", "url": "http:///x"},
        {"kind": "http", "url": "http://x:99999/"},
        {"kind": "http", "url": "http://x/", "credential_file": "relative"},
        {"kind": "http", "url": "http://x/", "headers": {}},
    ],
)
def test_a_wrong_transport_is_refused(value: object) -> None:
    with pytest.raises(Refused) as refused:
        transport_from_json(value)  # type: ignore[arg-type] # wrong on purpose
    assert refused.value.kind is Kind.MALFORMED


def test_a_transport_reads_back_as_it_was_written(tmp_path: Path) -> None:
    for transport in (
        Stdio("git", ("--a", "b c"), {"A": "1"}, {"T": "/x"}, str(tmp_path)),
        Http("https://x.example/mcp", "/run/secret"),
    ):
        stored = json.loads(json.dumps(transport.to_json()))
        assert transport_from_json(stored) == transport
