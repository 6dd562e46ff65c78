"""Say what you want, see what it means, narrow it, give it: on plain pages, without a script."""

import re
from collections.abc import AsyncIterator, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from tests.conftest import Clock
from tests.fakes.gateway_world import ISSUER, World, build, counting_http, pages

from actfor.gateway.model import Http
from actfor.store import Database


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with counting_http(tmp_path_factory.mktemp("counting") / "journal") as url:
        yield url


@pytest.fixture
async def world(
    database: Database, clock: Clock, tmp_path: Path, upstream: str
) -> AsyncIterator[World]:
    made = await build(database, clock.now, tmp_path)
    await made.add(transport=Http(upstream))
    yield made
    await made.catalog.close()


@pytest.fixture
async def web(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(Starlette(routes=pages(world)))
    async with httpx2.AsyncClient(
        transport=transport,
        base_url=ISSUER,
        cookies={"actfor_session": world.house.last or ""},
        headers={"origin": ISSUER},
    ) as client:
        yield client


WORDS = "Say hello with echo and pay 20 EUR to DE02120300000000202051"


def fields(page: str) -> dict[str, str]:
    """What a browser would send back: hidden inputs and the JSON."""
    found = {
        unescape(name): unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    }
    draft = re.search(r'<textarea[^>]*name="draft"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    return found | ({"draft": unescape(draft[1])} if draft else {})


async def propose(web: httpx2.AsyncClient, words: str = WORDS) -> httpx2.Response:
    page = await web.get("/mandates/propose")
    given = {"words": words, "agent": "bookkeeper", "hours": "2", "step": "propose"}
    return await web.post("/mandates/propose", data={**fields(page.text), **given})


async def send(web: httpx2.AsyncClient, page: str, **more: Any) -> httpx2.Response:
    return await web.post("/mandates/propose", data={**fields(page), **more})


async def test_words_become_a_mandate_in_three_plain_steps(
    world: World, web: httpx2.AsyncClient
) -> None:
    drafted = await propose(web)
    assert drafted.status_code == 200
    assert "as far as your words ask for it" in drafted.text
    assert 'value="commit"' not in drafted.text, "nothing is given before it was narrowed"
    seen = await send(web, drafted.text, step="review", keep=["counting/echo", "counting/pay"])
    assert "delete_record" not in seen.text
    given = await send(web, seen.text, step="commit")
    assert given.status_code == 303
    (mandate,) = await world.delegation.mandates(world.operator)
    assert mandate.goal == WORDS
    assert {tool for grant in mandate.authority.grants for tool in grant.tools} == {"echo", "pay"}
    assert all(grant.purpose_bound for grant in mandate.authority.grants)


async def test_what_was_not_looked_at_is_not_given(world: World, web: httpx2.AsyncClient) -> None:
    drafted = await propose(web)
    seen = await send(web, drafted.text, step="review", keep=["counting/echo"])
    sent = fields(seen.text)
    wider = sent["draft"].replace('"echo"', '"*"')
    refused = await web.post("/mandates/propose", data={**sent, "draft": wider, "step": "commit"})
    assert "not the one you looked at" in unescape(refused.text)
    assert await world.delegation.mandates(world.operator) == []


@pytest.mark.parametrize("draft", ["", "{", "[]", "{}", '{"grants": []}', '{"a": 1, "a": 2}'])
async def test_a_draft_that_cannot_be_read_is_shown_again(
    web: httpx2.AsyncClient, draft: str
) -> None:
    drafted = await propose(web)
    sent = {**fields(drafted.text), "draft": draft, "step": "review"}
    page = await web.post("/mandates/propose", data=sent)
    assert page.status_code == 200
    assert 'role="alert"' in page.text


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"agent": "nobody"}, "there is no agent"),
        ({"hours": "0"}, "a mandate lasts from 0.01 to 744 hours"),
        ({"draft": '{"grants": [], "budgets": {"calls": 1}}', "step": "review"}, "`budgets`"),
        (
            {
                "draft": '{"grants": [{"server": "counting", "tools": ["pay"], "effects": ["pay"],'
                ' "amount": {"value": "5", "currency": "XQX"}}]}',
                "step": "review",
            },
            "`XQX` is no currency",
        ),
    ],
)
async def test_what_would_be_refused_at_the_end_is_refused_at_once(
    web: httpx2.AsyncClient, more: dict[str, str], says: str
) -> None:
    """And not after the person has read a page that says what will be checked."""
    page = (await propose(web)).text
    given = {"words": WORDS, "agent": "bookkeeper", "hours": "2", "step": "propose"}
    shown = await web.post("/mandates/propose", data={**fields(page), **given, **more})
    assert shown.status_code == 200
    assert says in unescape(shown.text)
    assert "Is this what you mean?" not in shown.text


async def test_words_of_others_are_shown_and_not_run(web: httpx2.AsyncClient) -> None:
    page = await propose(web, "Say hello with echo <script>alert(1)</script>")
    assert "<script>alert(1)" not in page.text
    assert 'role="alert"' in (await propose(web, "a\u202eb")).text


TEMPLATE: dict[str, Any] = {
    "title": "Say something <b>once</b>",
    "parameters": {"words": {"type": "text", "label": "What?", "example": "hello"}},
    "draft": {
        "goal": "Say {words}",
        "grants": [
            {
                "server": "counting",
                "tools": ["echo"],
                "effects": ["read"],
                "args": {"/text": {"const": "{words}"}},
                "max_calls": 1,
            }
        ],
    },
}


async def test_a_template_is_filled_in_seen_and_given(
    world: World, web: httpx2.AsyncClient
) -> None:
    await world.delegation.keep_template(world.operator, "say-once", TEMPLATE)
    page = await web.get("/mandates/propose")
    assert "<b>once" not in page.text
    csrf = {"csrf": fields(page.text)["csrf"]}
    filled = {"template": "say-once", "set-words": "hello", "agent": "bookkeeper", "hours": "1"}
    seen = await web.post("/mandates/propose", data={**csrf, **filled, "step": "template"})
    assert "must be exactly" in seen.text
    given = await send(web, seen.text, step="commit")
    assert given.status_code == 303
    (mandate,) = await world.delegation.mandates(world.operator)
    assert mandate.goal == "Say hello"
    empty = {**csrf, **filled, "set-words": "", "template": "nothing", "step": "template"}
    assert 'role="alert"' in (await web.post("/mandates/propose", data=empty)).text
