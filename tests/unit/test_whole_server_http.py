"""A whole server over HTTP: what it signs about itself, and what its OpenAPI document says."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from actfor.keys import Purpose
from actfor.server import load
from actfor.server.wiring import Services, build
from actfor.wire import authzen

HERE = authzen.METADATA_PATH


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[httpx2.AsyncClient, Services]]:
    application = await build(load(mode="dev", data=tmp_path), with_default_policies=True)
    base = application.services.settings.public_url
    transport = httpx2.ASGITransport(app=application.asgi)
    async with httpx2.AsyncClient(transport=transport, base_url=base) as client:
        yield client, application.services
    await application.close()


async def signed(client: httpx2.AsyncClient) -> tuple[dict[str, Any], str]:
    plain = (await client.get(HERE)).json()
    return plain, plain.pop("signed_metadata")


async def claims(client: httpx2.AsyncClient, token: str) -> dict[str, Any]:
    """By PyJWT, with the key that the issuer's own metadata leads to."""
    issuer = (await client.get("/.well-known/oauth-authorization-server")).json()
    keys = jwt.PyJWKSet.from_dict((await client.get(issuer["jwks_uri"])).json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return dict(jwt.decode(token, key, algorithms=["ES256"], issuer=issuer["issuer"]))


async def test_the_signed_metadata_says_what_the_plain_says_and_who_says_it(
    server: tuple[httpx2.AsyncClient, Services],
) -> None:
    client, services = server
    plain, token = await signed(client)
    told = await claims(client, token)
    assert told.pop("iss") == services.settings.public_url == plain["policy_decision_point"]
    assert told == plain
    assert plain["jwks_uri"].endswith("/.well-known/jwks.json")
    assert (await client.get(plain["jwks_uri"])).status_code == 200
    head, body, signature = token.split(".")
    with pytest.raises(jwt.InvalidSignatureError):
        await claims(client, f"{head}.{body[:-4]}AAAA.{signature}")


async def test_it_opens_no_door(server: tuple[httpx2.AsyncClient, Services]) -> None:
    client, _ = server
    _, token = await signed(client)
    for scheme in ("Bearer", "DPoP"):
        sent = {"authorization": f"{scheme} {token}"}
        assert (await client.get("/v1/policies", headers=sent)).status_code == 401
        assert (await client.post(authzen.EVALUATION_PATH, headers=sent, json={})).is_client_error


async def test_after_an_emergency_it_is_signed_by_the_new_key(
    server: tuple[httpx2.AsyncClient, Services],
) -> None:
    client, services = server
    _, before = await signed(client)
    await services.keys.revoke(Purpose.ACCESS_TOKEN, by="usr_1", cause="it leaked")
    plain, after = await signed(client)
    assert {"iss": plain["policy_decision_point"], **plain} == await claims(client, after)
    with pytest.raises(KeyError):
        await claims(client, before)


async def test_the_whole_servers_openapi_document_can_be_made(
    server: tuple[httpx2.AsyncClient, Services],
) -> None:
    client, _ = server
    answer = await client.get("/v1/openapi.json")
    assert answer.status_code == 200
    schemas = answer.json()["components"]["schemas"]
    for name in ("SuggestionView", "RehearsedView", "SimulationView", "ReportView"):
        told = schemas[name]["properties"]
        assert all(told[member]["description"] for member in ("complete", "seen", "since"))


async def test_who_may_prune_is_asked_for_and_is_no_parameter(
    server: tuple[httpx2.AsyncClient, Services],
) -> None:
    client, _ = server
    body = {"before": "2026-01-01", "delete": False}
    for query in ("", "?by=usr_admin"):
        answer = await client.post(f"/v1/audit/prune{query}", json=body)
        assert answer.status_code in {401, 403}
    told = (await client.get("/v1/openapi.json")).json()["paths"]["/v1/audit/prune"]["post"]
    assert "parameters" not in told or all(one["name"] != "by" for one in told["parameters"])
