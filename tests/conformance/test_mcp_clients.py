"""The official MCP SDK's client, in both eras, through the gateway, to published MCP servers."""

import asyncio
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitRequestParams, ElicitRequestURLParams, ElicitResult, TextContent
from tests.conftest import Clock
from tests.fakes.gateway_world import World, client, served

from actfor.gateway.effects import Overlay
from actfor.gateway.model import Stdio
from actfor.store import Database
from actfor.wire.rar import Grant

ROOT = Path(__file__).parents[2]
GIT = ROOT / ".venv-mcp-git/bin/mcp-server-git"
SQLITE = ROOT / ".venv-mcp-sqlite/bin/mcp-server-sqlite"
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
published = pytest.mark.skipif(
    not (GIT.exists() and SQLITE.exists()), reason="published MCP servers: run `make setup`"
)
VERSION = {"auto": "2026-07-28", "legacy": "2025-11-25"}


@pytest.fixture
async def world(database: Database, clock: Clock, tmp_path: Path) -> AsyncIterator[World]:
    async with served(database, clock.now, tmp_path) as made:
        yield made


@pytest.fixture
async def crm(world: World, tmp_path: Path) -> Path:
    path = tmp_path / "crm.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO customers VALUES (?, ?)", [(1, "Ada"), (2, "Alan")])
        connection.commit()
    await world.catalog.add_server(
        world.operator,
        "crm",
        Stdio(str(SQLITE), ("--db-path", str(path))),
        approve_listed=True,
        overlays={
            "read_query": Overlay.from_json({"effect": {"sql": "/query"}}),
            "write_query": Overlay.from_json({"effect": {"sql": "/query"}}),
            "create_table": Overlay.from_json({"effect": {"sql": "/query"}}),
        },
    )
    return path


def customers(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM customers ORDER BY id")]


def text(result: Any) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


async def approve_what_waits(world: World) -> None:
    while not (waiting := await world.waiting()):
        await asyncio.sleep(0.01)
    await world.answer(waiting[0])


@MODES
async def test_discovery_list_and_call(world: World, mode: str) -> None:
    await world.add()
    token = await world.token(Grant("counting", ("echo", "query"), ("read",)))
    async with client(world, token, mode) as agent:
        assert agent.protocol_version == VERSION[mode]
        listed = await agent.list_tools()
        assert [tool.name for tool in listed.tools] == ["echo", "query"]
        result = await agent.call_tool("echo", {"text": "grüße"})
        assert result.structured_content == {"result": "echo: grüße"}
        assert (await agent.call_tool("query", {"query": "SELECT 1"})).is_error is False
    assert [line["tool"] for line in world.calls] == ["echo", "query"]


@MODES
async def test_a_tool_that_fails_and_an_upstream_that_dies_are_told_apart(
    world: World, mode: str
) -> None:
    await world.add()
    async with client(world, await world.token(), mode) as agent:
        assert (await agent.call_tool("fail", {})).is_error
        with pytest.raises(MCPError, match="ended before it answered") as died:
            await agent.call_tool("die", {})
        assert died.value.code == -32603
        assert text(await agent.call_tool("echo", {"text": "back"})) == "echo: back"


@MODES
async def test_what_is_outside_the_mandate_is_an_error_with_a_reason(
    world: World, mode: str
) -> None:
    await world.add()
    token = await world.token(Grant("counting", ("echo",), ("read",)))
    async with client(world, token, mode) as agent:
        with pytest.raises(MCPError, match="outside the mandate") as refused:
            await agent.call_tool("delete_record", {"record": 3})
        assert refused.value.code == -32001
        with pytest.raises(MCPError, match="unknown tool"):
            await agent.call_tool("no_such_tool", {})
    assert world.calls == []


async def test_a_modern_client_shows_the_page_and_its_retry_executes_once(world: World) -> None:
    await world.add()
    pages: list[str] = []

    async def show(context: Any, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestURLParams)
        assert world.calls == [], "nothing ran before the approval"
        pages.append(params.url)
        await world.answer(params.url.rpartition("/")[2])
        return ElicitResult(action="accept")

    token = await world.token()
    async with client(world, token, "auto", elicitation_callback=show) as agent:
        result = await agent.call_tool("delete_record", {"record": 3})
        assert text(result) == "deleted 3"
        with pytest.raises(MCPError, match="already used"):
            await agent.call_tool("delete_record", {"record": 3})
    assert len(pages) == 1
    assert len(world.calls) == 1


async def test_accepting_the_elicitation_is_not_approving(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    async def accept(context: Any, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept")

    async with served(database, clock.now, tmp_path) as world:
        await world.add()
        token = await world.token()
        async with client(
            world, token, "auto", elicitation_callback=accept, input_required_max_rounds=3
        ) as agent:
            with pytest.raises(RuntimeError, match="more than 3 rounds"):
                await agent.call_tool("delete_record", {"record": 3})
        assert world.calls == []


async def test_a_legacy_client_with_url_elicitation_gets_32042_and_retries(world: World) -> None:
    async def never(context: Any, params: ElicitRequestParams) -> ElicitResult:
        raise AssertionError("2025-11-25 tells by an error here, not by a request")

    await world.add()
    token = await world.token()
    async with client(world, token, "legacy", elicitation_callback=never) as agent:
        with pytest.raises(MCPError) as asked:
            await agent.call_tool("delete_record", {"record": 3})
        assert asked.value.code == -32042
        assert asked.value.error.data is not None
        (elicitation,) = asked.value.error.data["elicitations"]
        await world.answer(elicitation["elicitationId"])
        assert text(await agent.call_tool("delete_record", {"record": 3})) == "deleted 3"
    assert len(world.calls) == 1


@MODES
async def test_a_client_without_elicitation_is_held_and_answered_in_the_same_call(
    database: Database, clock: Clock, tmp_path: Path, mode: str
) -> None:
    async with served(database, clock.now, tmp_path, hold_seconds=20) as world:
        await world.add()
        async with client(world, await world.token(), mode) as agent:
            approving = asyncio.create_task(approve_what_waits(world))
            assert text(await agent.call_tool("delete_record", {"record": 3})) == "deleted 3"
            await approving


@MODES
async def test_without_a_token_the_stock_client_is_refused(world: World, mode: str) -> None:
    await world.add()
    with pytest.raises(BaseException) as refused:
        async with (
            httpx2.AsyncClient(timeout=10) as http,
            Client(
                streamable_http_client(world.settings.url("counting"), http_client=http), mode=mode
            ),
        ):
            pass
    assert "unauthorized" in str(_leaf(refused.value))


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@published
@MODES
async def test_the_published_sqlite_server_is_governed_by_what_the_sql_does(
    world: World, crm: Path, mode: str
) -> None:
    token = await world.token(
        Grant("crm", ("read_query",), ("read",)),
        Grant("crm", ("write_query",), ("write", "delete")),
        server="crm",
    )
    async with client(world, token, mode, server="crm") as agent:
        names = [tool.name for tool in (await agent.list_tools()).tools]
        assert names == ["read_query", "write_query"]
        assert "Alan" in text(
            await agent.call_tool("read_query", {"query": "SELECT * FROM customers"})
        )
        insert = {"query": "INSERT INTO customers VALUES (3, 'Grace')"}
        assert not (await agent.call_tool("write_query", insert)).is_error
        assert customers(crm) == [1, 2, 3]

        delete = {"query": "DELETE FROM customers WHERE id = 2"}
        asked = await agent.call_tool("write_query", delete)
        assert asked.is_error
        assert "Approval pending" in text(asked)
        assert customers(crm) == [1, 2, 3]
        await approve_what_waits(world)
        assert not (await agent.call_tool("write_query", delete)).is_error
        assert customers(crm) == [1, 3]
        with pytest.raises(MCPError, match="already used"):
            await agent.call_tool("write_query", delete)

        # A read tool that is given something else is what the text says, not what it is called.
        with pytest.raises(MCPError, match="outside the mandate"):
            await agent.call_tool("read_query", {"query": "DROP TABLE customers"})
        with pytest.raises(MCPError, match="outside the mandate"):
            await agent.call_tool("create_table", {"query": "CREATE TABLE exfiltrated (x TEXT)"})
    assert customers(crm) == [1, 3]


@published
@MODES
async def test_the_published_git_server_is_governed(
    world: World, tmp_path: Path, mode: str
) -> None:
    repository = tmp_path / "repo"
    repository.mkdir()
    git = ["git", "-C", str(repository), "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (repository / "a.txt").write_text("one\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "Say one"], check=True)
    await world.catalog.add_server(
        world.operator,
        "handbook",
        Stdio(str(GIT), ("--repository", str(repository))),
        approve_listed=True,
        overlays={"git_log": Overlay.from_json({"effect": "read"})},
    )
    token = await world.token(
        Grant("handbook", ("git_log",), ("read",)),
        Grant("handbook", ("git_reset",), ("read",)),
        server="handbook",
    )
    async with client(world, token, mode, server="handbook") as agent:
        log = await agent.call_tool("git_log", {"repo_path": str(repository)})
        assert "Say one" in text(log)
        with pytest.raises(MCPError, match="outside the mandate"):
            await agent.call_tool("git_reset", {"repo_path": str(repository)})
    await world.house.audit.checkpoint()
    assert (await world.house.audit.verify()).ok
