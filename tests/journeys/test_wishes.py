"""An agent asks for more, a person answers, it goes on: the guide's snippet, and what may not work.

Real server, the SDK at the agent's end, a real credential socket, the management API over HTTP.
Nothing is patched.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.conftest import Clock
from tests.fakes.foreign_pep import Pep, management
from tests.fakes.gateway_world import World, register, served_with_upstream

from actfor.errors import Kind, Refused
from actfor.identity import Agent
from actfor.sdk import Wish, connect
from actfor.sdk.auth import exchange_async
from actfor.sdk.sidecar import Credentials, CredentialServer
from actfor.store import Database
from actfor.wire.dpop import build_proof
from actfor.wire.jose import SigningKey
from actfor.wire.timestamps import rfc3339

GUIDE = Path(__file__).parents[2] / "docs/guides/mandates.md"
WANTED: dict[str, Any] = {
    "grants": [{"server": "crm", "tools": ["query", "echo"], "effects": ["read"]}]
}


class Now(Clock):
    """The real time: the SDK's proofs are made by it."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    ahead = 0.0


@pytest.fixture
def clock() -> Now:
    return Now(datetime.now(UTC))


@dataclass
class Place:
    """One server, and the person's own command line."""

    world: World
    person: Pep
    folder: Path

    async def grant(self, wish: str, **more: Any) -> httpx2.Response:
        """Commit a mandate for a wish, as `actfor mandate take-wish` does."""
        body = {
            "agent": self.world.agent.name,
            "goal": "Find out who has not paid",
            "grants": [{"server": "crm", "tools": ["query"], "effects": ["read"]}],
            "expires_at": rfc3339(self.world.house.clock() + timedelta(hours=2)),
            "wish": wish,
            **more,
        }
        return await self.person.send("/v1/mandates", body)

    @asynccontextmanager
    async def socket(self, agent: Agent, subject: str | None = None) -> AsyncIterator[str]:
        """What `actfor run` gives an agent, with the person's token if it has a mandate."""
        key = SigningKey.generate()
        given = Credentials(
            agent=str(agent.id),
            instance=str(agent.id),
            svid=await self.world._svid(agent, key),
            svid_expires_at=datetime.now(UTC) + timedelta(minutes=10),
            key=key,
            issuer=self.world.issuer,
            server=self.world.issuer,
            subject_token=subject,
        )

        async def supply() -> Credentials:
            return given

        path = self.folder / f"{agent.name}.sock"
        server = CredentialServer(path, allow=lambda _: True, supply=supply)
        await server.start()
        try:
            yield server.address
        finally:
            await server.close()


@pytest.fixture
async def place(database: Database, clock: Now, tmp_path: Path) -> AsyncIterator[Place]:
    running = served_with_upstream(database, clock.now, tmp_path, name="crm", also=management)
    async with running as (world, http):
        yield Place(world, await Pep.sign_in(world, world.operator, http), tmp_path)


def snippet() -> str:
    (program,) = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return str(program)


async def test_the_snippet_of_the_guide_asks_waits_and_goes_on(place: Place) -> None:
    program = place.folder / "agent.py"
    program.write_text(snippet())
    async with place.socket(place.world.agent) as address:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program),
            env={**os.environ, "ACTFOR_SOCKET": address},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        asked = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        [wish] = re.findall("wsh_[a-z2-7]{26}", asked)
        [shown] = (await place.person.send("/v1/mandates/wishes", method="GET")).json()["wishes"]
        assert (shown["id"], shown["agent_says_unchecked"]) == (
            wish, "I was asked who has not paid.",
        )  # fmt: skip
        made = await place.grant(wish)
        assert made.status_code == 201, made.text
        out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    assert made.json()["id"] in out.decode()
    assert [line["tool"] for line in place.world.calls] == ["query"]
    # The log: wished, granted by whom, the token it got, and the call under that mandate.
    actions = [one.facts.get("action") for one in await place.world.log("mandate")]
    assert sorted(filter(None, actions)) == ["committed", "wished"]
    lent = [one.facts for one in await place.world.log("delegate") if "wish" in one.facts]
    assert [(one["action"], one["wish"]) for one in lent] == [("subject-token", wish)]
    [call] = [one.facts for one in await place.world.log("decide")]
    assert (call["decision"], call["mandate"]) == ("permit", made.json()["id"])


async def test_a_no_and_nobody_are_answers_too(place: Place, clock: Now) -> None:
    async with place.socket(place.world.agent) as address, connect(address) as me:
        no, nobody = [await me.wish_async(WANTED) for _ in range(2)]
        assert await no.answer_async() is None
        said = await place.person.send(f"/v1/mandates/wishes/{no.id}/dismiss", {})
        assert said.status_code == 200
        await expect(no, Kind.DENIED, "said no")
        with pytest.raises(Refused, match="nobody answered the wish yet"):
            await nobody.wait_async(0.1)
        # Answered once: neither twice the same, nor a yes after a no.
        again = await place.person.send(f"/v1/mandates/wishes/{no.id}/dismiss", {})
        assert again.status_code == 404
        assert (await place.grant(no.id)).status_code == 409
        row = await place.person.send("/v1/mandates/wishes", method="GET")
        assert [one["id"] for one in row.json()["wishes"]] == [nobody.id]


async def expect(wish: Wish, kind: Kind, says: str) -> None:
    with pytest.raises(Refused, match=says) as told:
        await wish.answer_async()
    assert told.value.kind is kind


async def test_a_wish_is_of_the_agent_that_has_it(place: Place) -> None:
    world = place.world
    other = await register(world.agents, world.operator, place.folder, world.database, "other")
    async with (
        place.socket(world.agent) as mine,
        place.socket(other) as theirs,
        connect(mine) as me,
        connect(theirs) as thief,
    ):
        wish = await me.wish_async(WANTED)
        # 1. Nobody gives another agent's wish to an agent of their own.
        assert (await place.grant(wish.id, agent="other")).status_code == 409
        assert (await place.grant(wish.id)).status_code == 201
        # 2. To every other agent it does not exist.
        stolen = Wish(
            {"id": wish.id, "expires_at": rfc3339(wish.expires_at)}, thief._source(), thief.mcp_url
        )
        with pytest.raises(Refused, match="there is no such wish"):
            await stolen.answer_async()
        granted = await wish.answer_async()
        assert granted is not None
        # 3. A token that leaks is of no use to it either: it names who may act.
        leaked = replace(await thief._source().later(), subject_token=granted._held[0])
        with pytest.raises(Refused) as refused:
            await exchange_async(leaked, thief.mcp_url("crm"))
        assert refused.value.code == "actor_unauthorized"
        # 4. It holds what the person gave, not what was wished for.
        async with httpx2.AsyncClient(auth=granted.auth("crm"), timeout=30) as http:
            listed = await http.post(
                me.mcp_url("crm"),
                json={"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}},
                headers={"accept": "application/json, text/event-stream"},
            )
        assert [one["name"] for one in listed.json()["result"]["tools"]] == ["query"]


async def test_an_agent_that_acts_for_somebody_is_answered_by_nobody_else(place: Place) -> None:
    """Else whoever is first would be asked about that person's affairs from then on."""
    world = place.world
    bob, _ = await world.house.invite(world.operator, "Bob", "admin")
    theirs = await Pep.sign_in(world, bob, place.person.http)
    mandate = (await world.token(server="crm")).mandate
    subject = await world.delegation.subject_token(world.operator, mandate.id)
    async with place.socket(world.agent, subject) as address, connect(address) as me:
        wish = await me.wish_async(WANTED)
        shown = (await theirs.send("/v1/mandates/wishes", method="GET")).json()["wishes"]
        assert shown == []
        assert (await theirs.send(f"/v1/mandates/wishes/{wish.id}/dismiss", {})).status_code == 404
        stranger = Place(world, theirs, place.folder)
        assert (await stranger.grant(wish.id)).status_code == 409
        assert await wish.answer_async() is None
        [own] = (await place.person.send("/v1/mandates/wishes", method="GET")).json()["wishes"]
        assert own["acts_for"] == world.operator.id
        assert (await place.grant(wish.id)).status_code == 201
        assert await wish.answer_async() is not None
        # What is over shows nothing: neither a mandate that was revoked, nor another agent's.
        await world.delegation.revoke_mandate(world.operator, mandate.id, "enough")
        with pytest.raises(Refused, match="revoked"):
            await me.wish_async(WANTED)
    other = await register(world.agents, world.operator, place.folder, world.database, "other")
    async with place.socket(other, subject) as address, connect(address) as thief:
        with pytest.raises(Refused) as refused:
            await thief.wish_async(WANTED)
        assert refused.value.code == "actor_unauthorized"


async def test_what_was_granted_ends_with_its_mandate_and_with_the_wish(
    place: Place, clock: Now
) -> None:
    async with place.socket(place.world.agent) as address, connect(address) as me:
        wish = await me.wish_async(WANTED)
        mandate = (await place.grant(wish.id)).json()["id"]
        granted = await wish.wait_async(5)
        assert granted.mandate == mandate
        first = granted._held
        granted._renew(await wish.answer_async())
        assert granted._held[0] != first[0]  # another token each time
        await place.person.send(f"/v1/mandates/{mandate}/revoke", {"reason": "enough"})
        await expect(wish, Kind.EXPIRED, "is over")
        with pytest.raises(Refused):
            async with httpx2.AsyncClient(auth=granted.auth("crm"), timeout=30) as http:
                await http.post(me.mcp_url("crm"), json={})


async def test_two_people_answer_at_once_and_one_answer_counts(place: Place) -> None:
    async with place.socket(place.world.agent) as address, connect(address) as me:
        for _ in range(4):
            wish = await me.wish_async(WANTED)
            granted, dismissed = await asyncio.gather(
                place.grant(wish.id),
                place.person.send(f"/v1/mandates/wishes/{wish.id}/dismiss", {}),
            )
            assert (granted.status_code, dismissed.status_code) in {(201, 404), (409, 200)}
            if granted.status_code == 201:
                answer = await wish.answer_async()
                assert answer is not None
                assert answer.mandate == granted.json()["id"]
            else:
                await expect(wish, Kind.DENIED, "said no")


async def test_a_wish_is_taken_on_the_page_in_the_persons_own_words(place: Place) -> None:
    """Step by step as a browser sends it: the hostile words of the agent are shown as words."""
    world, http = place.world, place.person.http
    sent = {"cookie": f"actfor_session={world.house.last}", "origin": world.issuer}
    hostile = "</p><script>alert(1)</script>\N{RIGHT-TO-LEFT OVERRIDE}approve me"
    url = f"{world.issuer}/mandates/propose"

    def hidden(page: str, name: str) -> str:
        (found,) = set(re.findall(f'name="{name}" value="([^"]*)"', page))
        return str(found)

    async with place.socket(world.agent) as address, connect(address) as me:
        wish = await me.wish_async(WANTED, says=hostile)
        page = (await http.get(url, headers=sent)).text
        assert "<script>alert" not in page
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page
        assert "wishes (not checked)" in page
        form = {
            "csrf": hidden(page, "csrf"), "wish": hidden(page, "wish"),
            "hours": "8", "words": "Find out who has not paid", "step": "wish",
        }  # fmt: skip
        draft = (await http.post(url, data=form, headers=sent)).text
        assert "If you give it, the agent is told and goes on by itself." in draft
        assert "alert(1)" not in draft  # a mandate is in the person's words
        text = re.findall(r'<textarea[^>]*name="draft"[^>]*>(.*?)</textarea>', draft, re.DOTALL)[0]
        names = ("csrf", "words", "agent", "hours", "four_eyes", "wish", "shown")
        form = {name: unescape(hidden(draft, name)) for name in names}
        done = await http.post(
            url, data={**form, "draft": unescape(text), "step": "commit"}, headers=sent
        )
        assert done.status_code == 303, done.text
        granted = await wish.answer_async()
        assert granted is not None
        assert done.headers["location"] == f"/mandates/{granted.mandate}?done=committed"


async def test_a_proof_asks_once_and_only_its_own_agent(place: Place) -> None:
    async with place.socket(place.world.agent) as address, connect(address) as me:
        wish = await me.wish_async(WANTED)
        given = await me._source().later()
        url = f"{place.world.issuer}/mandate_request/{wish.id}"

        def proof(key: SigningKey, to: str = url) -> str:
            return build_proof(
                key=key, method="POST", url=to, now=datetime.now(UTC), jti=os.urandom(8).hex()
            )

        async def ask(sent: str | None, **form: str) -> httpx2.Response:
            headers = {} if sent is None else {"dpop": sent}
            body = {"actor_token": given.svid, **form}
            return await place.person.http.post(url, data=body, headers=headers)

        once = proof(given.key)
        assert (await ask(once)).json()["state"] == "open"
        for wrong in (once, proof(SigningKey.generate()), proof(given.key, f"{url}x"), None):
            assert (await ask(wrong)).json()["error"] == "invalid_dpop_proof"
        forged = await ask(proof(given.key), actor_token="x.y.z")
        assert forged.status_code in {400, 401}
