"""``/v1/servers`` as the command line uses it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from tests.conftest import Clock
from tests.fakes.console_people import House
from tests.fakes.gateway_upstream import Scripted, scripted, tool

from actfor.errors import Kind, Refused
from actfor.gateway import Catalog, servers_router
from actfor.identity import Person, Role
from actfor.store import Database
from actfor.wire.problem import problem


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted(tools=[tool("echo"), tool("files/read")]) as made:
        yield made


@pytest.fixture
async def house(database: Database, clock: Clock) -> House:
    return House.build(database, clock.now)


@pytest.fixture
async def api(house: House) -> AsyncIterator[httpx2.AsyncClient]:
    people = {
        "olivia": (await house.operator("Olivia"))[0],
    }
    people["mia"] = (await house.invite(people["olivia"], "Mia"))[0]
    catalog = Catalog(house.database, house.audit, house.clock)
    await catalog.start()

    async def reader(request: Request) -> Person:
        person = people.get(request.headers.get("x-person", ""))
        if person is None:
            raise Refused(Kind.UNAUTHENTICATED, "who are you")
        return person

    async def admin(request: Request) -> Person:
        person = await reader(request)
        person.require(Role.ADMIN)
        return person

    app = FastAPI()
    app.include_router(servers_router(catalog, reader=reader, admin=admin))

    @app.exception_handler(Refused)
    async def refused(request: Request, cause: Refused) -> JSONResponse:
        status, body = problem(cause)
        return JSONResponse(body, status)

    transport = httpx2.ASGITransport(app)
    headers = {"x-person": "olivia"}
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://localhost", headers=headers
    ) as client:
        yield client
    await catalog.close()


def body(server: Scripted, **more: Any) -> dict[str, Any]:
    return {"name": "crm", "http": {"url": server.url}, **more}


async def test_preview_add_approve_describe_and_remove(
    api: httpx2.AsyncClient, server: Scripted
) -> None:
    shown = (await api.post("/v1/servers/preview", json=body(server))).json()
    assert [one["state"] for one in shown["tools"]] == ["unapproved", "unapproved"]
    assert (await api.get("/v1/servers")).json() == {"servers": []}

    approve = {shown["tools"][0]["name"]: shown["tools"][0]["digest"]}
    overlays = {"echo": {"effect": {"sql": "/query"}}}
    added = await api.post("/v1/servers", json=body(server, approve=approve, overlays=overlays))
    assert added.status_code == 201
    assert [(one["name"], one["state"], one["effect"]) for one in added.json()["tools"]] == [
        ("echo", "pinned", "sql:/query"),
        ("files/read", "unapproved", "unknown"),
    ]
    (summary,) = (await api.get("/v1/servers")).json()["servers"]
    assert (summary["name"], summary["transport"], summary["tools"]) == ("crm", "http", 2)

    one = (await api.get("/v1/servers/crm/tools/files/read")).json()
    assert one["listed"]["name"] == "files/read"
    path = "/v1/servers/crm/tools/files/read"
    pinned = await api.post(f"{path}/approve", json={"digest": one["digest"]})
    assert pinned.json()["state"] == "pinned"
    described = await api.post(f"{path}/overlay", json={"effect": "read"})
    assert described.json()["effect"] == "read"

    server.tools[0]["description"] = "Changed."
    refreshed = (await api.post("/v1/servers/crm/refresh")).json()
    assert refreshed["state"] == "tools changed"

    assert (await api.delete("/v1/servers/crm")).status_code == 204
    assert (await api.get("/v1/servers/crm")).status_code == 404


async def test_all_that_is_listed_may_be_approved_at_once_but_never_described_by_the_server(
    api: httpx2.AsyncClient, server: Scripted
) -> None:
    server.tools[0]["annotations"] = {"readOnlyHint": True}
    added = (await api.post("/v1/servers", json=body(server, approve_tools=True))).json()
    assert {one["state"] for one in added["tools"]} == {"pinned"}
    assert {one["effect"] for one in added["tools"]} == {"unknown"}


async def test_a_tool_of_that_name_elsewhere_is_pointed_out(
    api: httpx2.AsyncClient, server: Scripted
) -> None:
    await api.post("/v1/servers", json=body(server))
    other = (await api.post("/v1/servers", json={**body(server), "name": "evil"})).json()
    assert other["tools"][0]["also_on"] == ["crm"]


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/v1/servers", {"name": "x"}),
        ("/v1/servers", {"name": "x", "http": {"url": "ftp://x"}}),
        ("/v1/servers", {"name": "x", "http": {"url": "http://x"}, "stdio": {"command": "x"}}),
        ("/v1/servers", {"name": "X", "http": {"url": "http://x"}}),
        ("/v1/servers", {"name": "x", "stdio": {"command": "x"}, "overlays": {"a": {"b": 1}}}),
        ("/v1/servers", {"name": "x", "stdio": {"command": "x"}, "unknown": 1}),
        ("/v1/servers/crm/tools/echo/overlay", {"effect": "harmless"}),
        ("/v1/servers/crm/tools/echo/approve", {}),
    ],
)
async def test_wrong_words_are_refused(
    api: httpx2.AsyncClient, server: Scripted, path: str, given: dict[str, Any]
) -> None:
    await api.post("/v1/servers", json=body(server))
    assert (await api.post(path, json=given)).status_code in {400, 422}
    assert len((await api.get("/v1/servers")).json()["servers"]) == 1


async def test_members_may_look_and_nothing_else(api: httpx2.AsyncClient, server: Scripted) -> None:
    await api.post("/v1/servers", json=body(server))
    as_mia, as_nobody = {"x-person": "mia"}, {"x-person": "nobody"}
    assert (await api.get("/v1/servers", headers=as_mia)).status_code == 200
    for method, path in (
        ("POST", "/v1/servers"),
        ("POST", "/v1/servers/preview"),
        ("POST", "/v1/servers/crm/refresh"),
        ("POST", "/v1/servers/crm/tools/echo/approve"),
        ("POST", "/v1/servers/crm/tools/echo/overlay"),
        ("DELETE", "/v1/servers/crm"),
    ):
        given = {"digest": "x"} if path.endswith("approve") else {"name": "y", "http": None}
        for headers, status in ((as_mia, 403), (as_nobody, 401)):
            response = await api.request(method, path, json=given, headers=headers)
            assert response.status_code == status, (method, path)
    assert (await api.get("/v1/servers", headers=as_nobody)).status_code == 401


async def test_secrets_in_the_environment_are_not_shown(
    api: httpx2.AsyncClient, house: House
) -> None:
    given = {"name": "x", "stdio": {"command": "/nonexistent", "env": {"KEY": "s3cret"}}}
    refused = await api.post("/v1/servers", json=given)
    assert refused.status_code == 503
    assert "s3cret" not in refused.text
