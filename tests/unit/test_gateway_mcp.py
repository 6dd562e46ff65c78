"""The endpoint as HTTP sees it: both eras, and everything that is not MCP."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp_types import DiscoverResult, methods
from starlette.applications import Starlette
from tests.conftest import Clock
from tests.fakes.gateway_world import Token, World, build, counting_http, modern, register

from actfor.approval import Answer
from actfor.errors import Kind, Refused
from actfor.gateway.model import Http
from actfor.store import Database
from actfor.wire.rar import Grant, constraint_from_json

PATH = "/mcp/counting"
METADATA = "http://localhost/.well-known/oauth-protected-resource/mcp/counting"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Http]]:
    journal = tmp_path_factory.mktemp("counting") / "journal"
    with counting_http(journal) as url:
        yield journal, Http(url)


@pytest.fixture
async def world(
    database: Database, clock: Clock, tmp_path: Path, upstream: tuple[Path, Http]
) -> AsyncIterator[World]:
    upstream[0].unlink(missing_ok=True)
    made = await build(database, clock.now, tmp_path, journal=upstream[0])
    await made.add(transport=upstream[1])
    yield made
    await made.catalog.close()


@pytest.fixture
async def web(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(routes=list(world.front.routes))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
async def token(world: World) -> Token:
    return await world.token()


class Caller:
    """One agent's program, in either era."""

    def __init__(self, world: World, web: httpx2.AsyncClient, token: Token) -> None:
        self.world, self.web, self.token = world, web, token

    def auth(self, method: str = "POST") -> dict[str, str]:
        url = self.world.settings.url("counting")
        return self.token.headers(url, self.world.house.clock(), method)

    async def post(self, body: Any, headers: dict[str, str] | None = None) -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content-type": "application/json", "accept": "application/json"}
        return await self.web.post(
            PATH, content=content, headers={**given, **self.auth(), **(headers or {})}
        )

    async def modern(self, method: str, *, url: bool = False, **params: Any) -> httpx2.Response:
        return await self.post(*modern(method, params, url=url))

    async def legacy(
        self, method: str, *, session: str | None = None, **params: Any
    ) -> httpx2.Response:
        headers = {"mcp-protocol-version": "2025-11-25"} if method != "initialize" else {}
        if session:
            headers["mcp-session-id"] = session
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        return await self.post(body, headers)

    async def initialize(self, *, url: bool = False) -> httpx2.Response:
        return await self.legacy(
            "initialize",
            protocolVersion="2025-11-25",
            capabilities={"elicitation": {"url": {}}} if url else {},
            clientInfo={"name": "test", "version": "1"},
        )


@pytest.fixture
def agent(world: World, web: httpx2.AsyncClient, token: Token) -> Caller:
    return Caller(world, web, token)


def error(response: httpx2.Response) -> tuple[int, int]:
    return response.status_code, response.json()["error"]["code"]


# -- discovery and challenges ------------------------------------------------------------------


async def test_without_a_token_the_challenge_tells_where_to_get_one(
    world: World, web: httpx2.AsyncClient
) -> None:
    body, headers = modern("tools/list")
    response = await web.post(PATH, json=body, headers=headers)
    assert response.status_code == 401
    dpop, bearer = response.headers.get_list("www-authenticate")
    assert dpop.startswith("DPoP algs=")
    assert bearer.startswith("Bearer ")
    assert f'resource_metadata="{METADATA}"' in bearer
    assert "scope=" in bearer
    assert "error=" not in bearer
    assert response.headers["cache-control"] == "no-store"


async def test_the_metadata_is_where_the_challenge_says(web: httpx2.AsyncClient) -> None:
    response = await web.get(METADATA)
    assert response.status_code == 200
    found = response.json()
    assert found["resource"] == "http://localhost/mcp/counting"
    assert found["authorization_servers"] == ["http://localhost"]
    assert "counting:delete" in found["scopes_supported"]
    assert "counting:read" in found["scopes_supported"]
    assert found["dpop_bound_access_tokens_required"] is True
    assert (await web.post(METADATA)).status_code == 405


async def test_an_unknown_server_is_not_there(agent: Caller, web: httpx2.AsyncClient) -> None:
    assert (await web.get(METADATA.replace("counting", "other"))).status_code == 404
    assert (await web.post("/mcp/other", json={}, headers=agent.auth())).status_code == 404


@pytest.mark.parametrize(
    "damage",
    ["bearer", "no proof", "other key", "other url", "garbage", "query", "basic", "empty", "two"],
)
async def test_a_wrong_credential_is_401_and_reaches_nothing(
    world: World, web: httpx2.AsyncClient, token: Token, damage: str
) -> None:
    url, now = world.settings.url("counting"), world.house.clock()
    good = token.headers(url, now)
    stranger = await world.token()
    headers: Any = {
        "bearer": {"authorization": f"Bearer {token.token}"},
        "no proof": {"authorization": good["authorization"]},
        "other key": {**good, "dpop": stranger.proof(url, now)},
        "other url": token.headers(url + "x", now),
        "garbage": {**good, "authorization": "DPoP aaaa.bbbb.cccc"},
        "query": {"dpop": good["dpop"]},
        "basic": {**good, "authorization": "Basic " + token.token},
        "empty": {**good, "authorization": "DPoP "},
        "two": [*good.items(), ("authorization", f"Bearer {token.token}")],
    }[damage]
    body, mirrored = modern("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    pairs = [*(headers.items() if isinstance(headers, dict) else headers), *mirrored.items()]
    path = f"{PATH}?access_token={token.token}" if damage == "query" else PATH
    response = await web.post(path, json=body, headers=pairs)
    assert response.status_code == (400 if damage == "two" else 401)
    assert world.calls == []


async def test_a_token_for_another_server_is_401(
    world: World, web: httpx2.AsyncClient, upstream: tuple[Path, Http]
) -> None:
    await world.add("other", upstream[1])
    foreign = await world.token(server="other")
    body, headers = modern("tools/list")
    url = world.settings.url("counting")
    response = await web.post(
        PATH, json=body, headers={**headers, **foreign.headers(url, world.house.clock())}
    )
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_a_revoked_mandate_is_401_at_the_next_request(world: World, agent: Caller) -> None:
    assert (await agent.modern("tools/list")).status_code == 200
    await world.delegation.revoke_mandate(world.operator, agent.token.mandate.id, "enough")
    assert (await agent.modern("tools/list")).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.test"}, 421),
        ({"host": "localhost:1"}, 421),
        ({"origin": "https://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost"}, 200),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-encoding": "gzip"}, 415),
        ({"accept": "text/html"}, 406),
        ({"accept": "application/json, text/event-stream"}, 200),
        ({"accept": "*/*"}, 200),
    ],
)
async def test_what_a_request_must_look_like(
    agent: Caller, headers: dict[str, str], status: int
) -> None:
    body, mirrored = modern("tools/list")
    response = await agent.post(body, {**mirrored, **headers})
    assert response.status_code == status


async def test_get_opens_no_stream(agent: Caller) -> None:
    response = await agent.web.get(PATH, headers=agent.auth("GET"))
    assert response.status_code == 405
    assert response.headers["allow"] == "POST, DELETE"


# -- bodies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"a":NaN}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"a":1e999}}', -32700),
        (b'{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/list"}', -32700),
        (b'{"a":' * 40 + b"1" + b"}" * 40, -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b"null", -32600),
        (b'"tools/list"', -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}', -32600),
    ],
)
async def test_a_body_that_is_no_request_is_400(agent: Caller, body: bytes, code: int) -> None:
    for version in ("2025-11-25", "2026-07-28"):
        response = await agent.post(body, {"mcp-protocol-version": version})
        assert error(response) == (400, code)
        assert response.json()["id"] is None


async def test_a_megabyte_is_413_whether_announced_or_not(world: World, agent: Caller) -> None:
    large = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"' + b"x" * 1_000_000 + b'"}}'
    assert (await agent.post(large)).status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    headers = {"content-type": "application/json", **agent.auth()}
    assert (await agent.web.post(PATH, content=chunks(), headers=headers)).status_code == 413
    assert world.calls == []


async def test_a_batch_smuggles_no_call(world: World, agent: Caller) -> None:
    body, headers = modern("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    assert (await agent.post([body, body], headers)).status_code == 400
    assert world.calls == []


# -- 2026-07-28 -------------------------------------------------------------------------------


async def test_discovery_of_the_modern_era(agent: Caller) -> None:
    response = await agent.modern("server/discover")
    assert response.status_code == 200
    found = methods.parse_server_result("server/discover", "2026-07-28", response.json()["result"])
    assert isinstance(found, DiscoverResult)
    assert "2026-07-28" in found.supported_versions
    assert found.cache_scope == "private"
    assert "mcp-session-id" not in response.headers


async def test_the_list_shows_what_the_mandate_may_reach_and_no_more(
    world: World, web: httpx2.AsyncClient
) -> None:
    narrow = await world.token(Grant("counting", ("echo", "query"), ("read",)))
    response = await Caller(world, web, narrow).modern("tools/list")
    result = response.json()["result"]
    assert [tool["name"] for tool in result["tools"]] == ["echo", "query"]
    assert result["cacheScope"] == "private"
    assert result["resultType"] == "complete"
    assert isinstance(result["ttlMs"], int)
    methods.parse_server_result("tools/list", "2026-07-28", result)


async def test_a_call_in_the_modern_era(world: World, agent: Caller) -> None:
    response = await agent.modern("tools/call", name="echo", arguments={"text": "ж"})
    assert response.status_code == 200
    result = response.json()["result"]
    assert result["resultType"] == "complete"
    assert result["structuredContent"] == {"result": "echo: ж"}
    methods.parse_server_result("tools/call", "2026-07-28", result)
    assert len(world.calls) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"mcp-method": "tools/list"},
        {"mcp-name": "pay"},
        {"mcp-name": ""},
        {"mcp-method": ""},
        {"mcp-name": "=?base64?cGF5?="},
    ],
)
async def test_headers_that_contradict_the_body_are_32020(
    world: World, agent: Caller, headers: dict[str, str]
) -> None:
    body, mirrored = modern("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    assert error(await agent.post(body, {**mirrored, **headers})) == (400, -32020)
    assert world.calls == []


async def test_a_version_in_the_body_that_contradicts_the_header_is_32020(agent: Caller) -> None:
    body, mirrored = modern("tools/list")
    body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2025-11-25"
    assert error(await agent.post(body, mirrored)) == (400, -32020)


async def test_doubled_routing_headers_are_refused(world: World, agent: Caller) -> None:
    body, mirrored = modern("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    pairs = [*agent.auth().items(), *mirrored.items(), ("mcp-name", "pay")]
    response = await agent.web.post(PATH, json=body, headers=pairs)
    assert error(response) == (400, -32020)
    assert world.calls == []


async def test_an_unknown_version_is_told_what_there_is(agent: Caller) -> None:
    body, mirrored = modern("tools/list")
    body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2099-01-01"
    response = await agent.post(body, {**mirrored, "mcp-protocol-version": "2099-01-01"})
    assert error(response) == (400, -32022)
    data = response.json()["error"]["data"]
    assert data["requested"] == "2099-01-01"
    assert {"2025-11-25", "2026-07-28"} <= set(data["supported"])


async def test_a_modern_request_without_its_envelope_is_refused(agent: Caller) -> None:
    body, mirrored = modern("tools/list")
    del body["params"]["_meta"]
    assert error(await agent.post(body, mirrored)) == (400, -32602)


@pytest.mark.parametrize(
    "method",
    ["prompts/list", "resources/list", "resources/read", "completion/complete", "initialize",
     "ping", "subscriptions/listen", "tasks/get", "tools/call2", "actfor/approve"],
)  # fmt: skip
async def test_unknown_methods_are_404_and_not_passed_on(
    world: World, agent: Caller, method: str
) -> None:
    body, mirrored = modern(method, {"name": "x", "uri": "x"})
    if method == "resources/read":
        mirrored["mcp-name"] = "x"
    assert error(await agent.post(body, mirrored)) == (404, -32601)
    assert world.calls == []


async def test_notifications_are_taken_and_dropped(agent: Caller) -> None:
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    for version in ("2026-07-28", "2025-11-25"):
        response = await agent.post(body, {"mcp-protocol-version": version})
        assert (response.status_code, response.content) == (202, b"")
    assert error(await agent.post(body, {"mcp-protocol-version": "1999"})) == (400, -32022)


@pytest.mark.parametrize("params", [{}, {"name": 7}, {"name": "echo", "arguments": []},
                                    {"name": "echo", "arguments": "x"}])  # fmt: skip
async def test_a_call_without_name_or_with_odd_arguments_is_invalid(
    world: World, agent: Caller, params: dict[str, Any]
) -> None:
    # Without a name there is no header that could agree with it (-32020).
    code = -32020 if params.get("name") == 7 else -32602
    assert error(await agent.modern("tools/call", **params)) == (400, code)
    assert error(await agent.legacy("tools/call", **params)) == (200, -32602)
    assert world.calls == []


async def test_a_cursor_we_never_gave_is_invalid(agent: Caller) -> None:
    assert error(await agent.modern("tools/list", cursor="x")) == (400, -32602)


async def test_an_unknown_tool_is_invalid_and_recorded(world: World, agent: Caller) -> None:
    assert error(await agent.modern("tools/call", name="nope", arguments={})) == (400, -32602)
    assert error(await agent.legacy("tools/call", name="nope", arguments={})) == (200, -32602)
    assert len(await world.log("decide")) == 2


async def test_step_up_in_the_modern_era(world: World, agent: Caller) -> None:
    call: dict[str, Any] = {"name": "delete_record", "arguments": {"record": 3}}
    asked = (await agent.modern("tools/call", url=True, **call)).json()["result"]
    assert asked["resultType"] == "input_required"
    ((_, question),) = asked["inputRequests"].items()
    assert question["method"] == "elicitation/create"
    assert question["params"]["mode"] == "url"
    approval = question["params"]["url"].rpartition("/")[2]
    assert "elicitationId" not in question["params"], "removed in 2026-07-28"

    # "accept" means: the page was opened. It approves nothing.
    accepted = {"approval": {"action": "accept"}}
    again = await agent.modern(
        "tools/call", url=True, **call, inputResponses=accepted, requestState=asked["requestState"]
    )
    assert again.json()["result"]["resultType"] == "input_required"
    assert world.calls == []

    await world.answer(approval)
    done = await agent.modern(
        "tools/call", url=True, **call, inputResponses=accepted, requestState=asked["requestState"]
    )
    assert done.json()["result"]["content"][0]["text"] == "deleted 3"
    assert len(world.calls) == 1
    replay = await agent.modern("tools/call", url=True, **call, requestState=asked["requestState"])
    assert error(replay) == (200, -32001)
    assert replay.json()["error"]["data"]["kind"] == "replayed"
    assert len(world.calls) == 1


async def test_a_tampered_state_is_invalid_params(world: World, agent: Caller) -> None:
    call: dict[str, Any] = {"name": "delete_record", "arguments": {"record": 3}}
    asked = (await agent.modern("tools/call", url=True, **call)).json()["result"]
    state = asked["requestState"][:-1] + ("A" if asked["requestState"][-1] != "A" else "B")
    response = await agent.modern("tools/call", url=True, **call, requestState=state)
    assert error(response) == (400, -32602)
    assert world.calls == []


async def test_a_client_that_can_show_nothing_is_told_in_words(world: World, agent: Caller) -> None:
    call: dict[str, Any] = {"name": "delete_record", "arguments": {"record": 3}}
    for response in (
        await agent.modern("tools/call", **call),
        await agent.legacy("tools/call", **call),
    ):
        result = response.json()["result"]
        assert result["isError"] is True
        assert "Approval pending" in result["content"][0]["text"]
        assert "http://localhost/approvals/apr_" in result["content"][0]["text"]
    await world.answer((await world.waiting())[0])
    done = await agent.legacy("tools/call", **call)
    assert done.json()["result"]["content"][0]["text"] == "deleted 3"
    assert len(world.calls) == 1


async def test_a_denial_names_reason_policies_and_trace(world: World, agent: Caller) -> None:
    call: dict[str, Any] = {"name": "delete_record", "arguments": {"record": 3}}
    await agent.modern("tools/call", **call)
    await world.answer((await world.waiting())[0], Answer.DENY)
    response = await agent.modern("tools/call", **call)
    assert error(response) == (200, -32001)
    said = response.json()["error"]
    assert "denied" in said["message"]
    assert said["data"]["stage"] == "approval"
    assert await world.events(said["data"]["trace"])


async def test_outside_the_mandate_is_403_with_the_scope_it_would_take(
    world: World, web: httpx2.AsyncClient
) -> None:
    narrow = Caller(world, web, await world.token(Grant("counting", ("echo",), ("read",))))
    response = await narrow.modern("tools/call", name="delete_record", arguments={"record": 3})
    assert error(response) == (403, -32001)
    assert "outside-mandate" in response.json()["error"]["data"]["policies"]
    bearer = response.headers.get_list("www-authenticate")[1]
    assert 'error="insufficient_scope"' in bearer
    assert 'scope="counting:delete"' in bearer
    assert world.calls == []


async def test_an_argument_beyond_its_limit_is_denied_without_a_scope_challenge(
    world: World, web: httpx2.AsyncClient
) -> None:
    grant = Grant(
        "counting", ("echo",), ("read",), {"/text": constraint_from_json({"const": "hi"})}
    )
    narrow = Caller(world, web, await world.token(grant))
    response = await narrow.modern("tools/call", name="echo", arguments={"text": "ho"})
    assert error(response) == (200, -32001)
    assert "`/text`" in response.json()["error"]["message"]
    assert world.calls == []


async def test_a_full_disk_executes_nothing_and_says_so(
    world: World, agent: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = agent.auth()

    async def full(unit: object) -> None:
        raise Refused(Kind.BUSY, "the record could not be made durable")

    monkeypatch.setattr(world.database, "write", full)
    body, mirrored = modern("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    response = await agent.post(body, {**mirrored, **headers})
    assert error(response) == (503, -32603)
    assert response.headers["retry-after"] == "1"
    assert "nothing was executed" in response.json()["error"]["message"]
    assert world.calls == []


# -- proofs are spent by whatever they came with ------------------------------------------------


@pytest.mark.parametrize("first", ["tools/list", "server/discover", "prompts/list", "batch", "bad"])
async def test_the_proof_of_a_harmless_request_is_no_proof_for_a_call(
    world: World, agent: Caller, first: str
) -> None:
    stolen = agent.auth()
    body, mirrored = modern("tools/list" if first in {"batch", "bad"} else first)
    sent: Any = {"batch": [body], "bad": b"{"}.get(first, body)
    await agent.post(sent, {**mirrored, **stolen})
    body, mirrored = modern("tools/call", {"name": "echo", "arguments": {"text": "stolen"}})
    response = await agent.post(body, {**mirrored, **stolen})
    assert response.status_code == 401
    assert 'error="invalid_dpop_proof"' in response.headers["www-authenticate"]
    assert world.calls == []


async def test_the_proof_of_a_list_serves_one_list(agent: Caller) -> None:
    headers = agent.auth()
    body, mirrored = modern("tools/list")
    assert (await agent.post(body, {**mirrored, **headers})).status_code == 200
    assert (await agent.post(body, {**mirrored, **headers})).status_code == 401


# -- 2025-11-25 -------------------------------------------------------------------------------


async def test_initialize_without_url_elicitation_needs_no_session(agent: Caller) -> None:
    response = await agent.initialize()
    result = response.json()["result"]
    assert result["protocolVersion"] == "2025-11-25"
    methods.parse_server_result("initialize", "2025-11-25", result)
    assert "mcp-session-id" not in response.headers


@pytest.mark.parametrize(
    ("asked", "given"),
    [("2024-11-05", "2024-11-05"), ("2025-06-18", "2025-06-18"), ("1999", "2025-11-25"),
     ("2026-07-28", "2025-11-25"), (7, "2025-11-25")],
)  # fmt: skip
async def test_the_handshake_agrees_on_a_version_we_speak(
    agent: Caller, asked: object, given: str
) -> None:
    response = await agent.legacy("initialize", protocolVersion=asked, capabilities={})
    assert response.json()["result"]["protocolVersion"] == given


async def test_calls_and_pings_of_the_handshake_era(world: World, agent: Caller) -> None:
    assert (await agent.legacy("ping")).json()["result"] == {}
    listed = (await agent.legacy("tools/list")).json()["result"]
    assert set(listed) == {"tools"}, "later members would confuse strict clients"
    done = (await agent.legacy("tools/call", name="echo", arguments={"text": "x"})).json()
    assert done["id"] == 7
    assert "resultType" not in done["result"]
    methods.parse_server_result("tools/call", "2025-11-25", done["result"])
    assert error(await agent.legacy("prompts/list")) == (200, -32601)


async def test_step_up_with_url_elicitation_in_the_handshake_era_is_32042(
    world: World, agent: Caller
) -> None:
    session = (await agent.initialize(url=True)).headers["mcp-session-id"]
    call: dict[str, Any] = {"name": "delete_record", "arguments": {"record": 3}}
    response = await agent.legacy("tools/call", session=session, **call)
    assert error(response) == (200, -32042)
    (asked,) = response.json()["error"]["data"]["elicitations"]
    assert asked["mode"] == "url"
    assert asked["elicitationId"] == asked["url"].rpartition("/")[2]
    await world.answer(asked["elicitationId"])
    done = await agent.legacy("tools/call", session=session, **call)
    assert done.json()["result"]["content"][0]["text"] == "deleted 3"
    assert len(world.calls) == 1


async def test_a_session_belongs_to_who_began_it_and_ends_when_they_say(
    world: World, web: httpx2.AsyncClient, agent: Caller, tmp_path: Path, database: Database
) -> None:
    session = (await agent.initialize(url=True)).headers["mcp-session-id"]
    other = await register(world.agents, world.operator, tmp_path, database, "intern")
    thief = Caller(world, web, await world.token(agent=other))
    assert (await thief.legacy("ping", session=session)).status_code == 404
    assert (await agent.legacy("ping", session="v1.made.up")).status_code == 404
    assert (await agent.legacy("ping", session=session)).status_code == 200

    deletion = {**agent.auth("DELETE"), "mcp-session-id": session}
    assert (await web.delete(PATH, headers=deletion)).status_code == 204
    assert (await agent.legacy("ping", session=session)).status_code == 404
    assert (await web.delete(PATH, headers=agent.auth("DELETE"))).status_code == 400


async def test_two_clients_with_equal_request_ids_get_their_own_answers(
    world: World, web: httpx2.AsyncClient
) -> None:
    callers = [Caller(world, web, await world.token()) for _ in range(4)]
    texts = [f"text {number}" for number in range(40)]
    answers = await asyncio.gather(
        *(
            callers[number % 4].modern("tools/call", name="echo", arguments={"text": text})
            for number, text in enumerate(texts)
        )
    )
    said = [answer.json()["result"]["structuredContent"]["result"] for answer in answers]
    assert said == [f"echo: {text}" for text in texts]


async def test_the_callers_token_never_reaches_the_upstream(world: World, agent: Caller) -> None:
    await agent.modern("tools/call", name="echo", arguments={"text": "x"})
    ((line),) = world.calls
    assert "authorization" not in line["headers"]
    assert "dpop" not in line["headers"]
    assert agent.token.token not in json.dumps(line)
