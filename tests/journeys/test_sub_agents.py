"""An agent asks another one to act for the same person, over HTTP, with the SDK at both ends.

Real server, real MCP upstream, real keys. Nothing is patched: the second agent holds only what the
first one passed on, and everything the person sees says through whom.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from tests.conftest import Clock
from tests.fakes.foreign_pep import Pep, decision_point
from tests.fakes.gateway_world import World, register, served_with_upstream

from actfor.authorization.service import Rehearsal
from actfor.delegation import Mandate, MandateDraft
from actfor.errors import Refused
from actfor.identity import Agent
from actfor.sdk import DelegatedAuth
from actfor.sdk.sidecar import Credentials
from actfor.store import Database
from actfor.wire.jose import SigningKey
from actfor.wire.rar import Authority, Budget, Grant

EFFECTS = ("read", "delete")


class Now(Clock):
    """The real time: the SDK's proofs are made by it."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture
def clock() -> Clock:
    return Now(datetime.now(UTC))


@pytest.fixture
async def world(database: Database, clock: Clock, tmp_path: Path) -> AsyncIterator[World]:
    running = served_with_upstream(database, clock.now, tmp_path, also=decision_point)
    async with running as (made, _):
        yield made


async def mandate(world: World, **more: Any) -> Mandate:
    authority = Authority(
        (Grant("counting", ("echo", "delete_record"), EFFECTS),),
        more.pop("budget", Budget()),
        **{"max_depth": 1, "delegates": ("helper",), **more},
    )
    draft = MandateDraft(
        world.agent.name,
        "Tidy up the records",
        authority,
        datetime.now(UTC) + timedelta(hours=1),
    )
    return await world.delegation.commit_mandate(world.operator, draft)


async def holder(world: World, agent: Agent, subject: str) -> DelegatedAuth:
    """An attested agent's own side: its key, its SVID, and what it may exchange."""
    key = SigningKey.generate()
    given = Credentials(
        agent=str(agent.id),
        instance=str(agent.id),
        svid=await world._svid(agent, key),
        svid_expires_at=datetime.now(UTC) + timedelta(minutes=10),
        key=key,
        issuer=world.issuer,
        server="",
        subject_token=subject,
    )

    async def later() -> Credentials:
        return given

    return DelegatedAuth(
        world.settings.url("counting"), credentials=lambda: given, credentials_async=later
    )


@asynccontextmanager
async def tools(world: World, auth: DelegatedAuth) -> AsyncIterator[Client]:
    url = world.settings.url("counting")
    async with (
        httpx2.AsyncClient(auth=auth, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode="legacy") as connected,
    ):
        yield connected


async def call(world: World, auth: DelegatedAuth, tool: str, **arguments: Any) -> str:
    async with tools(world, auth) as connected:
        try:
            result = await connected.call_tool(tool, arguments)
        except MCPError as error:
            return error.message
    text = "".join(getattr(block, "text", "") for block in result.content)
    asked = re.search(r"apr_[a-z2-7]{26}", text)
    return asked.group() if asked else text


async def page(world: World, path: str) -> str:
    """A page of the console as the person reads it: words, without the markup around them."""
    cookies = {"actfor_session": world.house.last or ""}
    async with httpx2.AsyncClient(base_url=world.issuer, cookies=cookies) as http:
        answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", answer.text)))


async def test_a_sub_agent_shows_its_token_to_a_foreign_enforcement_point(
    world: World, tmp_path: Path
) -> None:
    """And all that this one can do with it is ask."""
    helper = await register(world.agents, world.operator, tmp_path, world.database, "helper")
    subject = await world.delegation.subject_token(world.operator, (await mandate(world)).id)
    first = await holder(world, world.agent, subject)
    second = await holder(world, helper, await first.pass_on_async(str(helper.id)))
    token = await second.show_async()
    assert token == second.show()
    async with httpx2.AsyncClient(timeout=30) as http:
        pep = await Pep.sign_in(world, world.operator, http)
        told = await pep.evaluate(
            {
                "subject": {"type": "agent", "id": str(helper.id)},
                "action": {"name": "read"},
                "resource": {"type": "tool", "id": "counting/echo"},
                "context": {"arguments": {"text": "for you"}, "access_token": token},
            }
        )
        assert told["decision"] is True, told
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        for scheme in ("Bearer", "DPoP"):
            sent = {"authorization": f"{scheme} {token}"}
            answer = await http.post(world.settings.url("counting"), json=body, headers=sent)
            assert answer.status_code == 401


async def test_a_sub_agent_acts_through_the_one_that_asked_it_and_everybody_sees_that(
    world: World, tmp_path: Path
) -> None:
    helper = await register(world.agents, world.operator, tmp_path, world.database, "helper")
    sent = await mandate(world)
    subject = await world.delegation.subject_token(world.operator, sent.id)
    first = await holder(world, world.agent, subject)
    assert await call(world, first, "echo", text="mine") == "echo: mine"

    # 1. It passes on what it holds; the other one makes its own token of that.
    second = await holder(world, helper, await first.pass_on_async(str(helper.id)))
    assert await call(world, second, "echo", text="for you") == "echo: for you"

    # 2. What asks a person says who acts, and through whom.
    asked = await call(world, second, "delete_record", record=7)
    assert asked.startswith("apr_"), asked
    shown = await page(world, f"/approvals/{asked}")
    assert "May helper call delete_record on counting?" in shown
    assert "helper, asked by bookkeeper, for Olivia Operator" in shown
    await world.answer(asked)
    assert "7" in await call(world, second, "delete_record", record=7)
    assert [line["arguments"] for line in world.calls][-1] == {"record": 7}

    # 3. So do the log, the story of the call and its explanation.
    decided = (await world.log("decide"))[0]
    chain = [one.partition("/i/")[0] for one in decided.facts["chain"]]
    assert chain == [str(helper.id), str(world.agent.id)]
    assert set(decided.facts["epochs"]["agent"]) == set(chain)
    assert len(decided.facts["epochs"]["grant"]) == 2
    told = await page(world, f"/decisions/{decided.trace}")
    assert "helper, asked by bookkeeper, asked for delete_record on counting" in told
    assert "bookkeeper asks helper to act for" in told
    rehearsal = Rehearsal(world.authorization, world.house.audit, world.house.clock)
    facts = (await rehearsal.account(decided.trace))[-1].request.context
    assert facts["asked_by"] == facts["first_agent"] == str(world.agent.id)
    assert facts["depth"] == 1

    # 4. It may not go on from there, and nobody else may be asked.
    with pytest.raises(Refused, match="may not be passed on any further"):
        await second.pass_on_async(str(world.agent.id))
    with pytest.raises(Refused, match="may not be passed on to `stranger`"):
        await first.pass_on_async(f"{str(world.agent.id).rpartition('/')[0]}/stranger")

    # 5. Whoever takes the first token back ends the second: the log proves it.
    tokens = await world.delegation.grants(world.operator, sent.id)
    root = next(one for one in tokens if not one.through)
    await world.delegation.revoke_grant(world.operator, sent.id, root.id, "enough")
    calls = len(world.calls)
    async with httpx2.AsyncClient(auth=second) as http:
        with pytest.raises(Refused, match="revoked") as ended:
            await http.post(world.settings.url("counting"), json={"method": "tools/list"})
    assert ended.value.code == "invalid_grant"  # the answer was 401, and there is no new token
    assert len(world.calls) == calls
    report = await world.house.audit.verify()
    assert (report.ok, report.problems) == (True, ())


async def test_a_policy_may_forbid_by_the_agent_that_asked(world: World, tmp_path: Path) -> None:
    helper = await register(world.agents, world.operator, tmp_path, world.database, "helper")
    _, source = await world.authorization.published()
    rule = '@id("no-others")\n@reason("not for others")\nforbid (principal, action, resource) when { context has depth };'
    await world.authorization.publish(
        world.operator.id, f"{source}\n{rule}", note="nobody acts through another"
    )
    sent = await mandate(world)
    subject = await world.delegation.subject_token(world.operator, sent.id)
    first = await holder(world, world.agent, subject)
    second = await holder(world, helper, await first.pass_on_async(str(helper.id)))
    assert await call(world, first, "echo", text="x") == "echo: x"
    assert "denied" in await call(world, second, "echo", text="x")
    assert len(world.calls) == 1


async def test_the_calls_of_the_mandate_are_shared(world: World, tmp_path: Path) -> None:
    helper = await register(world.agents, world.operator, tmp_path, world.database, "helper")
    sent = await mandate(world, budget=Budget(calls=2))
    subject = await world.delegation.subject_token(world.operator, sent.id)
    first = await holder(world, world.agent, subject)
    second = await holder(world, helper, await first.pass_on_async(str(helper.id)))
    assert await call(world, first, "echo", text="1") == "echo: 1"
    assert await call(world, second, "echo", text="2") == "echo: 2"
    for auth in (first, second):
        assert (await call(world, auth, "echo", text="3")).startswith("denied")
    assert len(world.calls) == 2


async def test_what_was_passed_on_opens_nothing_for_a_thief(world: World, tmp_path: Path) -> None:
    helper = await register(world.agents, world.operator, tmp_path, world.database, "helper")
    thief = await register(world.agents, world.operator, tmp_path, world.database, "thief")
    sent = await mandate(world, delegates=None)
    subject = await world.delegation.subject_token(world.operator, sent.id)
    first = await holder(world, world.agent, subject)
    passed = await first.pass_on_async(str(helper.id))
    stolen = await holder(world, thief, passed)
    with pytest.raises(Refused) as refused:
        await stolen.pass_on_async(str(world.agent.id))
    assert refused.value.code == "actor_unauthorized"
    async with httpx2.AsyncClient() as http:
        bare = await http.post(
            world.settings.url("counting"), headers={"authorization": f"Bearer {passed}"}, json={}
        )
    assert bare.status_code == 401
    assert world.calls == []
