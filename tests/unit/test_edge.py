import asyncio
import io
import json
import logging
import subprocess
import sys
from random import Random

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Scope

from actfor.errors import Kind, Refused
from actfor.server.app import HANDLERS
from actfor.server.edge import MAX_BODY, Edge, Hot, Later
from actfor.server.telemetry import Metrics, configure_logging, redact, request_line


async def echo(request: Request) -> Response:
    body = await request.body()
    return JSONResponse({"size": len(body), "id": request.scope["request_id"]})


async def own_id(_: Request) -> Response:
    return JSONResponse({}, headers={"X-Request-ID": "the caller's own"})


async def broken(_: Request) -> Response:
    raise RuntimeError("the database password is hunter2")


@pytest.fixture
def client() -> TestClient:
    app = Starlette(
        routes=[
            Route("/v1/echo", echo, methods=["GET", "POST"]),
            Route("/mcp/x", echo, methods=["POST"]),
            Route("/v1/broken", broken),
            Route("/access/own", own_id),
        ],
        exception_handlers=HANDLERS,
    )
    edge = Edge(app, hosts=["localhost:8700"], metrics=Metrics())
    return TestClient(edge, base_url="http://localhost:8700", raise_server_exceptions=False)


def test_each_answer_has_a_request_id(client: TestClient) -> None:
    first, second = client.get("/v1/echo"), client.get("/v1/echo")
    assert first.headers["x-request-id"] == first.json()["id"]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def untempered(drawn: int) -> int:
    """The word of a Mersenne twister's state that gave this one."""
    drawn ^= drawn >> 18
    drawn ^= drawn << 15 & 0xEFC60000
    upper = drawn
    for _ in range(5):
        upper = drawn ^ upper << 7 & 0x9D2C5680
    word = upper
    for _ in range(3):
        word = upper ^ word >> 11
    return word & 0xFFFFFFFF


def next_of_a_twister(ids: list[str]) -> str:
    """What a Mersenne twister that gave 312 ids of 64 bits gives next: they are its whole state."""
    halves = [int(half, 16) for one in ids for half in (one[8:], one[:8])]  # the lower comes first
    state = [untempered(half) for half in halves]
    twister = Random()  # noqa: S311 - the attacker's
    twister.setstate((3, (*state, 624), None))
    return f"{twister.getrandbits(64):016x}"


def test_who_saw_many_request_ids_cannot_tell_the_next(client: TestClient) -> None:
    seen = [client.get("/v1/echo").headers["x-request-id"] for _ in range(313)]
    assert len(set(seen)) == 313
    assert next_of_a_twister(seen[:312]) != seen[312]


def test_a_request_id_is_taken_over_only_if_it_is_harmless(client: TestClient) -> None:
    kept = client.get("/v1/echo", headers={"x-request-id": "abc-1"})
    assert kept.headers["x-request-id"] == "abc-1"
    for hostile in ("a b", "x" * 65, "{}", ""):
        answer = client.get("/v1/echo", headers={"x-request-id": hostile})
        assert answer.headers["x-request-id"] != hostile


@pytest.mark.parametrize("host", ["evil.test", "localhost:8701", "127.0.0.1", ""])
def test_a_page_of_another_name_cannot_reach_us(client: TestClient, host: str) -> None:
    assert client.get("/v1/echo", headers={"host": host}).status_code == 421


def test_a_large_body_is_refused_before_it_is_read(client: TestClient) -> None:
    answer = client.post("/v1/echo", content=b"x" * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_large_body_without_a_length_is_refused_too(client: TestClient) -> None:
    def chunks() -> object:
        for _ in range(MAX_BODY // 1000 + 2):
            yield b"x" * 1000

    assert client.post("/v1/echo", content=chunks()).status_code == 413  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body", [b'{"sub":"a","sub":"admin"}', b"{", b'{"n":NaN}', b'"\\ud800"', b"\xff", b"[" * 100]
)
def test_json_with_two_readings_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/echo", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["status"] == 400


def test_mcp_bodies_are_left_to_the_protocol(client: TestClient) -> None:
    answer = client.post("/mcp/x", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 200


def test_the_body_arrives_whole(client: TestClient) -> None:
    body = json.dumps({"a": "b" * 1000}).encode()
    answer = client.post("/v1/echo", content=body, headers={"content-type": "application/json"})
    assert answer.json()["size"] == len(body)


def test_an_unexpected_failure_says_nothing(client: TestClient) -> None:
    answer = client.get("/v1/broken")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("event", "hidden"),
    [
        ({"authorization": "DPoP abc"}, "abc"),
        ({"path": "/setup?t=Kc9xKc9xKc9xKc9xKc9xKc9x"}, "Kc9x"),
        ({"event": "token eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.sig refused"}, "eyJ"),
        ({"token": "opaque"}, "opaque"),
    ],
)
def test_no_token_reaches_a_log_line(event: dict[str, object], hidden: str) -> None:
    assert hidden not in json.dumps(dict(redact(None, "info", event)))


def test_an_answer_that_carries_an_id_keeps_it_and_it_alone(client: TestClient) -> None:
    assert client.get("/access/own").headers.get_list("x-request-id") == ["the caller's own"]


def test_a_node_that_is_cut_off_from_its_database_answers_for_nothing_but_itself() -> None:
    def cut_off() -> None:
        raise Refused(Kind.BUSY, "this node is cut off from its database")

    app = Starlette(
        routes=[Route(path, own_id) for path in ("/v1/echo", "/livez", "/readyz", "/metrics")]
    )
    edge = Edge(app, hosts=["localhost:8700"], metrics=Metrics(), check_fresh=cut_off)
    client = TestClient(edge, base_url="http://localhost:8700")
    refused = client.get("/v1/echo")
    assert refused.status_code == 503
    assert refused.json()["title"] == "this node is cut off from its database"
    for path in ("/livez", "/readyz", "/metrics"):
        assert client.get(path).status_code == 200


def test_a_request_is_one_line_of_json_without_tokens_whatever_the_path_holds(
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info")
    paths = [
        "/v1/x",
        "/setup?t=" + "a" * 30,
        "/a\nb\x1b[2J",
        "/\udcff\u2028",
        "/eyJhbGciOiJ9.eyJzdWIi.x",
    ]
    for path in paths:
        request_line("r1", "GET", path, 200, 0.0012)
    lines = capfd.readouterr().err.splitlines()
    told = [json.loads(line) for line in lines]
    assert len(told) == len(paths)
    assert told[0].keys() == {
        "event", "request_id", "method", "path", "status", "ms", "level", "timestamp",
    }  # fmt: skip
    assert (told[0]["event"], told[0]["ms"], told[0]["path"]) == ("request", 1.2, "/v1/x")
    assert not any("aaaa" in line or "eyJ" in line or "\x1b" in line for line in lines)


def test_lines_of_requests_keep_their_place_among_the_others(
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info")

    async def serve() -> str:
        request_line("r1", "GET", "/v1/x", 200, 0.0012)
        request_line("r2", "GET", "/v1/x", 200, 0.0012)
        unwritten = capfd.readouterr().err
        logging.getLogger("x").warning("after both")
        request_line("r3", "GET", "/v1/x", 200, 0.0012)
        await asyncio.sleep(0.2)
        return unwritten

    assert asyncio.run(serve()) == ""
    told = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [one.get("request_id", one["event"]) for one in told] == ["r1", "r2", "after both", "r3"]


async def test_a_loop_that_ended_keeps_no_line_of_the_next(
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info")
    await asyncio.to_thread(asyncio.run, _tell("r1"))
    await _tell("r2")
    await asyncio.sleep(0.2)
    assert [json.loads(line)["request_id"] for line in capfd.readouterr().err.splitlines()] == [
        "r1", "r2",
    ]  # fmt: skip


def test_lines_that_wait_are_written_when_the_process_ends() -> None:
    program = (
        "import asyncio\n"
        "from actfor.server.telemetry import configure_logging, request_line\n"
        "async def serve(): request_line('r1', 'GET', '/v1/x', 200, 0.0012)\n"
        "configure_logging('info')\n"
        "asyncio.run(serve())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert [json.loads(line)["request_id"] for line in ended.stderr.splitlines()] == ["r1"]


class _Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_harms_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", _Broken())
    configure_logging("info")

    async def serve() -> None:
        request_line("r1", "GET", "/v1/x", 200, 0.0012)
        logging.getLogger("x").warning("said by somebody with work to do")
        for number in range(300):  # so many that they are written at once
            request_line(f"r{number}", "GET", "/v1/x", 200, 0.0012)
        await asyncio.sleep(0.2)  # the rest is not left to the next test

    asyncio.run(serve())


async def _tell(request_id: str) -> None:
    request_line(request_id, "GET", "/v1/x", 200, 0.0012)


@pytest.mark.parametrize(
    ("path", "served"),
    [("/mcp/crm", "crm"), ("/mcp/a b", "a b"), ("/mcp/", None), ("/mcp", None), ("/mcp/a/b", None),
     ("/x/mcp/a", None), ("", None)],
)  # fmt: skip
async def test_one_segment_below_a_hot_path_is_found_without_a_router(
    path: str, served: str | None
) -> None:
    seen: list[object] = []

    async def front(scope: Scope, receive: object, send: object) -> None:
        seen.append(scope["path_params"]["server"])

    async def router(scope: Scope, receive: object, send: object) -> None:
        seen.append(None)

    hot = Hot(router, {}, {"/mcp": ("server", front)})
    await hot({"type": "http", "method": "POST", "path": path}, None, None)  # type: ignore[arg-type] # neither is used
    assert seen == [served]


def test_a_request_is_not_told_of_where_only_warnings_are(
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure_logging("warning")
    request_line("r1", "GET", "/v1/x", 200, 0.0012)
    assert capfd.readouterr().err == ""


async def test_what_is_made_later_is_made_once_and_made_again_where_that_failed() -> None:
    made: list[str] = []
    told: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        told.append(message)

    def make() -> Response:
        made.append("made")
        if len(made) == 1:
            raise RuntimeError("not yet")
        return Response("here")

    app, scope = Later(make), {"type": "http", "method": "GET", "path": "/"}
    with pytest.raises(RuntimeError):
        await app(scope, None, send)
    assert told == []
    await asyncio.gather(*(app(scope, None, send) for _ in range(20)))
    assert made == ["made", "made"]
    assert sum(message["type"] == "http.response.start" for message in told) == 20
