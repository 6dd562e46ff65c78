"""Drafts of mandates: from the person's words, narrowed by a model that may be anything."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Clock
from tests.fakes.gateway_world import World, build, counting_http

from actfor.errors import Kind, Refused
from actfor.gateway.model import Http
from actfor.gateway.model_proposer import ModelProposer
from actfor.gateway.proposals import Proposals
from actfor.store import Database
from actfor.wire.rar import authority_from_draft, narrows

WORDS = "Say hello with echo and pay 20 EUR to DE02120300000000202051"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with counting_http(tmp_path_factory.mktemp("counting") / "journal") as url:
        yield url


@pytest.fixture
async def world(database: Database, clock: Clock, tmp_path: Path, upstream: str) -> Any:
    made = await build(database, clock.now, tmp_path)
    await made.add(transport=Http(upstream))
    yield made
    await made.catalog.close()


class Model:
    """What stands in for a language model: a real HTTP server that answers as it is told."""

    def __init__(self) -> None:
        self.answer: Any = {}
        self.status = 200
        self.asked: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []


@contextmanager
def serving(model: Model) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            model.asked.append(json.loads(self.rfile.read(length)))
            model.tokens.append(self.headers.get("authorization"))
            said = model.answer if isinstance(model.answer, str) else json.dumps(model.answer)
            body = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
            self.send_response(model.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def proposals(world: World, model: Model, tmp_path: Path) -> Iterator[Proposals]:
    (tmp_path / "token").write_text("s3cr3t\n")
    with serving(model) as url:
        yield Proposals(world.catalog, ModelProposer(url, "small", tmp_path / "token"))


async def test_the_same_words_give_the_same_draft_and_it_can_be_committed(
    world: World, proposals: Proposals
) -> None:
    drafted = proposals.from_words(WORDS)
    assert drafted == proposals.from_words(WORDS)
    body = drafted.to_json()["draft"]
    assert isinstance(body, dict)
    assert authority_from_draft(body) == drafted.authority
    assert all(grant.purpose_bound for grant in drafted.authority.grants)
    await world.token(*drafted.authority.grants, goal=drafted.goal)


async def test_only_approved_tools_of_known_servers_are_proposed(proposals: Proposals) -> None:
    named = {name for grant in proposals.from_words(WORDS).authority.grants for name in grant.tools}
    assert "echo" in named
    with pytest.raises(Refused) as unknown:
        proposals.from_words(WORDS, ["elsewhere"])
    assert unknown.value.kind is Kind.NOT_FOUND
    for nothing in ("", " ", "x" * 5000, "a\u202eb"):
        with pytest.raises(Refused):
            proposals.from_words(nothing)


async def test_a_model_narrows_what_the_words_mean(proposals: Proposals, model: Model) -> None:
    model.answer = {
        "grants": [{"server": "counting", "tools": ["echo"], "effects": ["read"], "max_calls": 1}],
        "budget": {"calls": 3},
    }
    plain = proposals.from_words(WORDS)
    drafted = await proposals.from_model(WORDS)
    assert drafted.by == "model"
    assert [grant.tools for grant in drafted.authority.grants] == [("echo",)]
    assert drafted.authority.budget.calls == 3
    assert narrows(drafted.authority, plain.authority) is None
    (asked,) = model.asked
    assert asked["model"] == "small"
    assert model.tokens == ["Bearer s3cr3t"]


BEYOND: list[Any] = [
    {"grants": [{"server": "counting", "tools": ["*"], "effects": ["delete"]}]},
    {"grants": [{"server": "elsewhere", "tools": ["echo"], "effects": ["read"]}]},
    {"grants": [{"server": "counting", "tools": ["echo"], "effects": ["execute"]}]},
    {"grants": [{"server": "counting", "tools": ["delete_record"], "effects": ["delete"]}]},
    {"grants": []},
    {"grants": "all of them"},
    {},
]


@pytest.mark.parametrize("answer", BEYOND)
async def test_a_model_that_wants_more_changes_nothing(
    proposals: Proposals, model: Model, answer: Any
) -> None:
    model.answer = answer
    plain = proposals.from_words(WORDS)
    drafted = await proposals.from_model(WORDS)
    assert drafted.authority == plain.authority
    assert drafted.by == "words"
    assert "not used" in drafted.note


async def test_of_a_model_that_is_half_right_the_rest_is_left_out(
    proposals: Proposals, model: Model
) -> None:
    good = {"server": "counting", "tools": ["echo"], "effects": ["read"]}
    model.answer = {"grants": [good, *BEYOND[0]["grants"]], "max_depth": 8}
    drafted = await proposals.from_model(WORDS)
    assert [grant.tools for grant in drafted.authority.grants] == [("echo",)]
    assert drafted.authority.max_depth == 0
    assert "1 of the model's grants" in drafted.note


@pytest.mark.parametrize(
    ("answer", "status", "kind"),
    [
        ("not json", 200, Kind.MALFORMED),
        ("[1]", 200, Kind.MALFORMED),
        ('{"a":1,"a":2}', 200, Kind.MALFORMED),
        ("x" * 100_000, 200, Kind.MALFORMED),
        ({}, 500, Kind.BUSY),
        ({}, 302, Kind.BUSY),
    ],
)
async def test_an_answer_that_is_none_is_refused(
    proposals: Proposals, model: Model, answer: Any, status: int, kind: Kind
) -> None:
    model.answer, model.status = answer, status
    with pytest.raises(Refused) as refused:
        await proposals.from_model(WORDS)
    assert refused.value.kind is kind


async def test_without_a_model_nobody_is_asked(world: World) -> None:
    with pytest.raises(Refused) as off:
        await Proposals(world.catalog).from_model(WORDS)
    assert off.value.kind is Kind.NOT_FOUND
    silent = Proposals(world.catalog, ModelProposer("http://127.0.0.1:9/v1", "m"))
    with pytest.raises(Refused) as gone:
        await silent.from_model(WORDS)
    assert gone.value.kind is Kind.BUSY


@pytest.mark.parametrize("url", ["http://model.example/v1", "ftp://x/", "file:///x", "", "//x/v1"])
def test_a_model_is_not_asked_in_the_clear_over_a_network(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        ModelProposer(url, "m")
