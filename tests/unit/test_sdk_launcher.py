"""`actfor run` under a mandate: the login's token stays here, the agent gets what it needs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.identity_issuer import Issuer
from tests.fakes.identity_issuer import serving as serving_issuer
from tests.journeys.test_attestation import folder, serving

from actfor.cli.launcher import Launcher, Plan, management
from actfor.cli.profile import Profile
from actfor.cli.run import _agent_of, _plan
from actfor.errors import Kind, Refused
from actfor.identity import AgentDraft, ReferenceDraft, Tier, Wanted
from actfor.wire import jose
from actfor.wire.canonical import JsonValue
from actfor.wire.jose import SigningKey

AGENT = """
import json, sys
import actfor.sdk, httpx2
with actfor.sdk.connect_sync() as me:
    with httpx2.Client(auth=me.auth("crm")) as http:
        answer = http.post(me.mcp_url("crm"), json={"hello": "world"})
    with open(sys.argv[1], "w") as file:
        json.dump({"status": answer.status_code, "mandate": me.mandate}, file)
"""
__all__ = ["folder"]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving_issuer(Issuer()) as running:
        yield running


def login(url: str) -> Profile:
    return Profile(
        server=url,
        issuer=url,
        access_token="login-token",
        key=SigningKey.generate(),
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )


def subject_token(seconds: float) -> str:
    claims: dict[str, JsonValue] = {
        "sub": "usr_1",
        "exp": int((datetime.now(UTC) + timedelta(seconds=seconds)).timestamp()),
    }
    return jose.sign(claims, typ="at+jwt", key=SigningKey.generate())


async def given_up(launcher: Launcher) -> bool:
    return launcher._subject is None


def plan(issuer: Issuer, folder: Path, **more: Any) -> Plan:
    given: dict[str, Any] = {
        "command": [sys.executable, str(folder / "code" / "agent.py"), str(folder / "out.json")],
        "agent": "bookkeeper",
        "attest_socket": str(folder / "attest.sock"),
        "issuer": issuer.url,
        "server": issuer.url,
        "mandate": "mdt_1",
        "profile": login(issuer.url),
        **more,
    }
    return Plan(**given)


async def test_an_agent_under_a_mandate_calls_a_governed_server(
    issuer: Issuer, folder: Path
) -> None:
    token = subject_token(3600)
    issuer.answers["/v1/mandates/mdt_1/subject_token"] = {"subject_token": token}
    (folder / "code" / "agent.py").write_text(AGENT)
    told: list[str] = []
    async with serving(folder) as server:
        reference = ReferenceDraft(
            code=Wanted(str(server.code)), executable=Wanted(os.path.realpath(sys.executable))
        )
        await server.agents.register(
            server.operator, AgentDraft("bookkeeper", "keeps the books", Tier.LOW, reference)
        )
        code = await Launcher(plan(issuer, folder), told.append).run()
    assert (code, told) == (0, ["attested as spiffe://example.org/agent/bookkeeper"])
    assert json.loads((folder / "out.json").read_text()) == {"status": 200, "mandate": "mdt_1"}
    (exchange,) = issuer.exchanges
    assert exchange["subject_token"] == [token]
    assert exchange["resource"] == [f"{issuer.url}/mcp/crm"]
    assert jose.unverified(exchange["actor_token"][0]).claims["sub"] == (
        "spiffe://example.org/agent/bookkeeper"
    )
    # The login's token went to the management API only.
    assert [token for token, _, _ in issuer.calls] == ["login-token", "token-1"]


async def test_the_agent_is_found_by_its_mandate(issuer: Issuer, folder: Path) -> None:
    issuer.answers["/v1/mandates/mdt_1"] = {"agent": "spiffe://example.org/agent/bookkeeper"}
    assert await _agent_of(plan(issuer, folder, agent="")) == "bookkeeper"
    with pytest.raises(Refused, match="--agent"):
        await _agent_of(plan(issuer, folder, agent="", mandate=None))
    issuer.answers["/v1/mandates/mdt_1"] = {}
    with pytest.raises(Refused, match="--agent"):
        await _agent_of(plan(issuer, folder, agent=""))


@pytest.mark.parametrize("answer", [{}, {"subject_token": 7}, {"subject_token": "a.b.c"}])
async def test_a_server_that_answers_nonsense_starts_no_agent(
    issuer: Issuer, folder: Path, answer: dict[str, Any]
) -> None:
    issuer.answers["/v1/mandates/mdt_1/subject_token"] = answer
    command = ["/bin/sh", "-c", f"touch {folder}/started"]
    async with serving(folder):
        with pytest.raises(Refused):
            await Launcher(plan(issuer, folder, command=command), lambda line: None).run()
    assert not (folder / "started").exists()


async def test_the_subject_token_is_renewed_and_given_up_when_it_ends(
    issuer: Issuer, folder: Path
) -> None:
    told: list[str] = []
    launcher = Launcher(plan(issuer, folder), told.append)
    path = "/v1/mandates/mdt_1/subject_token"
    issuer.answers[path] = {"subject_token": subject_token(3)}
    await launcher._refresh_subject()
    keeper = asyncio.create_task(launcher._keep_subject())
    try:
        renewed = subject_token(4)
        issuer.answers[path] = {"subject_token": renewed}
        await asyncio.sleep(1.9)
        assert launcher._subject == renewed
        issuer.answers[path] = {}  # revoked, say
        await asyncio.sleep(4.5)
        assert await given_up(launcher)
        assert told
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


def test_a_mandate_needs_a_live_login(issuer: Issuer, folder: Path) -> None:
    with pytest.raises(Refused) as nobody:
        management(plan(issuer, folder, profile=None))
    assert nobody.value.kind is Kind.UNAUTHENTICATED


def test_the_plan_says_what_is_missing(folder: Path) -> None:
    with pytest.raises(Refused, match="--data"):
        _plan(["x"], login("http://localhost:1"), mandate=None, server=None, data=None)
    made = _plan(["x"], None, mandate=None, server="http://localhost:1/", data=folder)
    assert (made.server, made.issuer) == ("http://localhost:1", "http://localhost:1")
    assert made.attest_socket == str(folder.resolve() / "attest.sock")
