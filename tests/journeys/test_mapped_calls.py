"""A tool's COAZ mapping, at the gateway and behind a foreign enforcement point.

Real MCP servers, one of which declares a mapping in its own tool; a domain from files as an
operator writes them; the official client. Nothing is patched.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.shared.exceptions import MCPError
from tests.conftest import Clock
from tests.fakes.foreign_pep import Pep, decision_point
from tests.fakes.gateway_world import World, client, counting_http, served

from actfor.authorization.domains import load
from actfor.errors import Kind, Refused
from actfor.gateway.effects import Overlay
from actfor.gateway.model import Http
from actfor.store import Database
from actfor.wire.rar import Grant

SCHEMA = {
    "subjects": {"identity": {}},
    "resources": {"customer": {"region": "String"}, "report": {}},
    "actions": {"read": {}, "write": {}},
    "context": {"agent": "String"},
    "entities": [
        {"type": "customer", "id": "7", "properties": {"region": "eu"}},
        {"type": "customer", "id": "8", "properties": {"region": "us"}},
    ],
}
POLICIES = """
@id("eu-customers")
@reason("customers of the EU may be looked at")
permit (principal, action == Action::"read", resource is customer)
when { resource has region && resource.region == "eu" };

@id("not-by-strangers")
@reason("customers outside of the EU are somebody else's")
forbid (principal, action, resource is customer)
unless { resource has region && resource.region == "eu" };

@id("reports")
@reason("reports are for everybody")
permit (principal, action == Action::"read", resource is report);

@id("written")
@reason("a report may be written, and its owner is told")
@obligations("[{\\"type\\": \\"notification\\", \\"to\\": \\"owner\\", \\"body\\": \\"written\\"}]")
permit (principal, action == Action::"write", resource is report);
"""


def reads(id_: str = "$params.arguments.text", type_: str = "customer", **more: Any) -> Any:
    """A mapping: whoever the token is for reads this customer."""
    return {
        "evaluation": {
            "subject": {"type": "identity", "id": "$token.sub"},
            "action": {"name": "read"},
            "resource": {"type": type_, "id": id_},
            "context": {"agent": "$token.?client_id"},
            **more,
        }
    }


Build = Callable[..., Awaitable["Office"]]


@dataclass
class Office:
    """One gateway with a domain of customers; ``mapping`` is what the server declares itself."""

    world: World
    pep: Pep

    async def call(self, tool: str, **arguments: Any) -> tuple[str, Any]:
        """What the agent is told: the text, and the error's code and data."""
        token = await self.world.token(Grant("counting", ("echo", "query"), ("read",)))
        async with client(self.world, token, "legacy") as connected:
            try:
                result = await connected.call_tool(tool, arguments)
            except MCPError as error:
                return error.message, (error.code, error.data)
        return "".join(getattr(one, "text", "") for one in result.content), None

    async def overlay(self, tool: str, **said: Any) -> None:
        """As `actfor gateway overlay` does."""
        overlay = Overlay.from_json({"effect": "read", **said})
        await self.world.catalog.set_overlay(self.world.operator, "counting", tool, overlay)

    async def decided(self) -> dict[str, Any]:
        return dict((await self.world.log("decide"))[0].facts)


@pytest.fixture
async def office(database: Database, clock: Clock, tmp_path: Path) -> AsyncIterator[Build]:
    folder = tmp_path / "customers"
    folder.mkdir()
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    (folder / "policies.cedar").write_text(POLICIES)
    domain = load("customers", tmp_path)
    journal = tmp_path / "journal"
    async with AsyncExitStack() as stack:

        async def build(mapping: Any = None) -> Office:
            if mapping is not None:
                journal.with_name("journal.mapping").write_text(json.dumps(mapping))
            upstream = stack.enter_context(counting_http(journal))
            world = await stack.enter_async_context(
                served(
                    database, clock.now, tmp_path,
                    journal=journal, also=decision_point, domains=(domain,),
                )
            )  # fmt: skip
            await world.add(transport=Http(upstream))
            http = await stack.enter_async_context(httpx2.AsyncClient(timeout=30))
            return Office(world, await Pep.sign_in(world, world.operator, http))

        yield build


async def test_an_operators_mapping_is_asked_beside_mandate_and_policies(office: Build) -> None:
    here = await office()
    await here.overlay("echo", coaz=reads())
    assert await here.call("echo", text="7") == ("echo: 7", None)
    facts = await here.decided()
    assert facts["decision"] == "permit"
    assert facts["coaz"]["policies"] == ["eu-customers"]
    assert (facts["coaz"]["by"], facts["coaz"]["decision"]) == ("operator", "permit")

    text, error = await here.call("echo", text="8")
    assert "customers outside of the EU are somebody else's (asked by the operator's" in text
    assert (error[0], error[1]["stage"], error[1]["kind"]) == (-32001, "mapping", "denied")
    facts = await here.decided()
    assert (facts["decision"], facts["coaz"]["policies"]) == ("deny", ["not-by-strangers"])
    assert '"8"' not in json.dumps(facts["coaz"])  # arguments are in the sealed part only
    [asked] = [
        one.private["coaz"]
        for one in await here.world.house.audit.trace(error[1]["trace"])
        if one.type == "decide"
    ]
    assert isinstance(asked, dict)
    assert asked["resource"] == {"type": "customer", "id": "8"}
    assert asked["context"] == {"agent": str(here.world.agent.id)}
    assert [line["arguments"] for line in here.world.calls] == [{"text": "7"}]

    # What the mapping permits, the mandate still has to hold.
    token = await here.world.token(Grant("counting", ("query",), ("read",)))
    async with client(here.world, token, "legacy") as connected:
        with pytest.raises(MCPError, match="outside the mandate"):
            await connected.call_tool("echo", {"text": "7"})


@pytest.mark.parametrize(
    ("mapping", "arguments", "says"),
    [
        (reads("$params.arguments.nothing"), {"text": "7"}, "no such key"),
        (reads("$params.arguments.text + 1"), {"text": "7"}, "COAZ mapping error"),
        (reads("$null"), {"text": "7"}, "no `resource.id`"),
        (reads("$token.roles"), {"text": "7"}, "COAZ mapping error"),
        (reads(), {"text": "a\nb"}, "control or invisible character"),
        (reads(), {"text": ""}, "no `resource.id`"),
        (
            reads(resource={"type": "customer", "id": "7", "properties": {"region": 5}}),
            {"text": "7"}, "must be a String",
        ),
    ],
)  # fmt: skip
async def test_an_error_in_a_mapping_denies(
    office: Build, mapping: Any, arguments: Any, says: str
) -> None:
    here = await office()
    await here.overlay("echo", coaz=mapping)
    text, error = await here.call("echo", **arguments)
    assert error[0] == -32602, text
    assert "COAZ mapping error" in text
    assert says.lower() in text.lower(), text
    assert here.world.calls == []
    assert (await here.decided())["stage"] == "mapping"


async def test_a_mapping_that_no_call_could_be_asked_by_is_not_taken(office: Build) -> None:
    here = await office()
    deep: Any = "x"
    for _ in range(12):
        deep = {"a": deep}
    refused_ones: tuple[Any, ...] = (
        True, "x", [], {}, {"evaluation": []}, {"evaluation": {}, "evaluations": {}},
        reads("$params.arguments."), reads("$" + "a" * 2000),
        reads("$[1].map(x, [1].map(y, x))"), reads(subject={"id": "usr_somebody"}),
        reads(subject={"id": "$params.arguments.who"}), reads(context=deep),
        {"evaluations": {"evaluations": []}},
        {"evaluations": {"evaluations": [{"subject": {"id": "$token.sub"}}]}},
    )  # fmt: skip
    for wrong in refused_ones:
        with pytest.raises(Refused) as refused:
            await here.overlay("echo", coaz=wrong)
        assert refused.value.kind is Kind.MALFORMED
    assert await here.call("echo", text="8") == ("echo: 8", None)


async def test_what_a_server_declares_of_itself_only_tightens(office: Build) -> None:
    here = await office(reads("$params.arguments.query"))
    await here.overlay("query")  # it reads; of the mapping the operator says nothing
    assert (await here.call("query", query="7"))[0] == "1 row"
    text, error = await here.call("query", query="8")
    assert "(asked by the server's mapping)" in text
    assert error[0] == -32001
    # A server that would permit everything permits nothing: our own decision stands as it was.
    token = await here.world.token(Grant("counting", ("echo",), ("read",)))
    async with client(here.world, token, "legacy") as connected:
        with pytest.raises(MCPError, match="outside the mandate"):
            await connected.call_tool("query", {"query": "7"})

    # The operator's is asked in its place, or none at all.
    await here.overlay("query", coaz=reads("7"))
    assert (await here.call("query", query="8"))[0] == "1 row"
    assert (await here.decided())["coaz"]["by"] == "operator"
    await here.overlay("query", coaz=False)
    assert (await here.call("query", query="8"))[0] == "1 row"
    assert "coaz" not in await here.decided()


async def test_what_nobody_here_decides_about_is_denied_and_said(office: Build) -> None:
    here = await office(reads("$params.arguments.query", "spaceship"))
    await here.overlay("query")
    text, error = await here.call("query", query="7")
    assert "no domain here decides about `identity` and `spaceship`" in text
    assert error[0] == -32001
    assert here.world.calls == []


async def test_of_several_questions_all_must_be_permitted_and_obligations_be_done(
    office: Build,
) -> None:
    here = await office()

    def both(*actions: tuple[str, str, str]) -> Any:
        entries = [
            {"action": {"name": name}, "resource": {"type": type_, "id": id_}}
            for name, type_, id_ in actions
        ]
        said = {"context": {"agent": "$token.client_id"}, "evaluations": entries}
        return {
            "evaluations": {**said, "options": {"evaluations_semantic": "permit_on_first_permit"}}
        }

    eu, report = ("read", "customer", "$params.arguments.text"), ("read", "report", "r")
    await here.overlay("echo", coaz=both(report, eu))
    assert (await here.call("echo", text="7"))[0] == "echo: 7"
    text, _ = await here.call("echo", text="8")
    assert "somebody else's" in text
    # The gateway does no obligations: what takes one is a no.
    await here.overlay("echo", coaz=both(report, ("write", "report", "r")))
    text, error = await here.call("echo", text="7")
    assert "obligations" in text
    assert error[0] == -32001


async def test_a_foreign_enforcement_point_is_answered_by_the_same_mapping(office: Build) -> None:
    here = await office()
    await here.overlay("echo", coaz=reads())
    token = await here.world.token(Grant("counting", ("echo",), ("read",)))

    async def ask(text: str, **more: Any) -> Any:
        return await here.pep.evaluate(
            {
                "subject": {"type": "agent", "id": str(here.world.agent.id)},
                "action": {"name": "read"},
                "resource": {"type": "tool", "id": "counting/echo"},
                "context": {"arguments": {"text": text}, **more},
            }
        )

    for named in ({"mandate": token.mandate.id}, {"access_token": token.token}):
        yes, no = await ask("7", **named), await ask("8", **named)
        assert (yes["decision"], no["decision"]) == (True, False)
        assert "(asked by the operator's mapping)" in no["context"]["reason_user"]["en"]
        [record] = await here.world.events(yes["context"]["id"])
        assert record["facts"]["coaz"]["by"] == "operator"
    # Without a token there is no `jti`: a mapping that reads it denies.
    await here.overlay("echo", coaz=reads(context={"jti": "$token.jti"}))
    assert (await ask("7", access_token=token.token))["decision"] is True
    no = await ask("7", mandate=token.mandate.id)
    assert "COAZ mapping error" in no["context"]["reason_user"]["en"]


async def test_an_overlay_that_changes_while_a_person_thinks_is_asked_by(office: Build) -> None:
    """A call that waits is decided anew: by the mapping of then."""
    here = await office()
    await here.overlay("echo", coaz=reads())
    token = await here.world.token(Grant("counting", ("*",), ("delete",)))
    overlay = Overlay.from_json({"effect": "delete", "coaz": reads("7")})
    await here.world.catalog.set_overlay(here.world.operator, "counting", "delete_record", overlay)
    async with client(here.world, token, "legacy") as connected:
        await connected.call_tool("delete_record", {"record": 7})
        [asked] = await here.world.waiting()
        await here.world.answer(asked)
        stricter = Overlay.from_json({"effect": "delete", "coaz": reads("8")})
        await here.world.catalog.set_overlay(
            here.world.operator, "counting", "delete_record", stricter
        )
        with pytest.raises(MCPError, match="somebody else's"):
            await connected.call_tool("delete_record", {"record": 7})
    assert here.world.calls == []
