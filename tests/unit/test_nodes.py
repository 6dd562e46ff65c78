"""Two nodes beside one PostgreSQL: what one of them does counts for the other at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import Clock
from tests.fakes import postgres
from tests.fakes.gateway_world import OVERLAYS, Token, World, build, counting_http, register
from tests.unit.test_enforce import authenticated, call

from actfor.approval import Answer
from actfor.audit import AuditLog, NoteSigner
from actfor.authorization import AuthorizationService
from actfor.delegation import DelegationService
from actfor.errors import Refused
from actfor.gateway import Catalog
from actfor.gateway.calls import Answered, Attempt, Client, Denied, Failed, Outcome
from actfor.gateway.model import Http
from actfor.identity import AgentService, PeopleService
from actfor.server.following import follow_others
from actfor.store import Database
from actfor.wire.jose import SigningKey

PROMPTLY = 2.0
"""Seconds; a notification takes milliseconds, a machine that is busy with other tests more."""


@dataclass
class Other:
    """The services of another node, as far as these tests act there."""

    database: Database
    agents: AgentService
    authorization: AuthorizationService
    catalog: Catalog
    delegation: DelegationService
    house: World


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Http]]:
    journal = tmp_path_factory.mktemp("counting") / "journal"
    with counting_http(journal) as url:
        yield journal, Http(url)


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.shared().database(postgres.migrated()) as url:
        yield url


@pytest.fixture
async def world(
    url: str, clock: Clock, tmp_path: Path, upstream: tuple[Path, Http]
) -> AsyncIterator[World]:
    """The node that is looked at: it serves calls, and follows the feed."""
    database = Database.open(url, clock=clock.now)
    made = await build(database, clock.now, tmp_path, journal=upstream[0], hold_seconds=20)
    await made.add(transport=upstream[1])

    async def no_keys() -> None:
        """Their rotation has tests of its own."""

    follow_others(
        database.feed,
        authorization=made.authorization,
        catalog=made.catalog,
        approvals=made.house.approvals,
        agents=made.agents,
        enforcer=made.enforcer,
        reload_keys=no_keys,
    )
    following = asyncio.create_task(database.feed.run())
    yield made
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await made.catalog.close()
    await database.close()


@pytest.fixture
async def other(url: str, clock: Clock, world: World) -> AsyncIterator[Other]:
    database = Database.open(url, clock=clock.now)
    audit = AuditLog(database, NoteSigner.generate("test/log"), "test/log", clock.now)
    people = PeopleService(database, audit, "localhost", [world.issuer], clock.now)
    agents = AgentService(
        database, audit, "localhost", world.issuer, SigningKey.generate(), [], clock.now
    )
    authorization = AuthorizationService(database, audit, clock.now)
    await authorization.load()
    catalog = Catalog(database, audit, clock.now)
    await catalog.start()
    delegation = DelegationService(
        database, audit, people, agents, keys=[SigningKey.generate()], issuer=world.issuer,
        trust_domain="localhost", clock=clock.now, audiences=dict, policy_version=str,
    )  # fmt: skip
    yield Other(database, agents, authorization, catalog, delegation, world)
    await catalog.close()
    await database.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PROMPTLY):
        while not true():
            await asyncio.sleep(0.005)


async def in_flight(world: World, token: Token, seconds: float = 15) -> "asyncio.Task[Outcome]":
    """A call that has reached the upstream and takes its time there."""
    before = len([one for one in world.calls if one["tool"] == "slow"])
    task = asyncio.create_task(call(world, token, "slow", seconds=seconds))
    async with asyncio.timeout(10):
        while len([one for one in world.calls if one["tool"] == "slow"]) == before:
            assert not task.done(), task.result()
            await asyncio.sleep(0.01)
    return task


# -- what is in memory ---------------------------------------------------------------------------------


async def test_a_policy_published_elsewhere_is_in_force_here(world: World, other: Other) -> None:
    before = world.authorization.snapshot
    source = f"""{before.source if before else ""}
        @id("nothing") @reason("not today") forbid(principal, action, resource);"""
    published = await other.authorization.publish(world.operator.id, source)
    await until(lambda: world.authorization.snapshot is not before)
    assert (snapshot := world.authorization.snapshot) is not None
    assert snapshot.version == published.version
    assert isinstance(await call(world, await world.token(), "echo", text="x"), Denied)


async def test_servers_and_tools_changed_elsewhere_are_seen_here(
    world: World, other: Other, upstream: tuple[Path, Http]
) -> None:
    await other.catalog.add_server(
        world.operator, "second", upstream[1], approve_listed=True, overlays=OVERLAYS
    )
    await until(lambda: world.catalog.governed("second") is not None)
    token = await world.token(server="second")
    tool = world.catalog.tool("second", "echo")
    overlay = OVERLAYS["delete_record"]
    await other.catalog.set_overlay(world.operator, "second", "echo", overlay)
    await until(lambda: world.catalog.tool("second", "echo") != tool)
    assert world.catalog.tool("second", "echo").overlay == overlay
    await other.catalog.remove_server(world.operator, "second")
    await until(lambda: world.catalog.governed("second") is None)
    assert token.token


async def test_a_change_made_here_disturbs_no_connection(world: World) -> None:
    assert (before := world.catalog.governed("counting")) is not None
    overlay = OVERLAYS["delete_record"]
    await world.catalog.set_overlay(world.operator, "counting", "echo", overlay)
    await asyncio.sleep(0.2)  # our own change comes back through the feed
    assert (after := world.catalog.governed("counting")) is not None
    assert after.upstream is before.upstream
    assert isinstance(await call(world, await world.token(), "fail"), Answered | Failed)


# -- what was revoked -------------------------------------------------------------------------------------


async def test_an_agent_taken_out_of_service_elsewhere_calls_nothing_here(
    world: World, other: Other
) -> None:
    token = await world.token()
    assert isinstance(await call(world, token, "echo", text="x"), Answered)
    caller = await authenticated(world, token)  # it was let in before
    await other.agents.quarantine(world.operator, world.agent.name, "seen elsewhere")
    attempt = Attempt("counting", "echo", {"text": "x"}, Client(modern=True, can_open_url=False))
    outcome = await world.enforcer.call(caller, attempt)
    assert isinstance(outcome, Denied)
    assert "quarantined" in outcome.reason
    with pytest.raises(Refused, match="quarantined"):
        await authenticated(world, token)


async def revoke_agent(world: World, other: Other, token: Token) -> None:
    await other.agents.quarantine(world.operator, world.agent.name, "seen elsewhere")


async def revoke_mandate(world: World, other: Other, token: Token) -> None:
    await other.delegation.revoke_mandate(world.operator, token.mandate.id, "seen elsewhere")


@pytest.mark.parametrize("revoke", [revoke_agent, revoke_mandate])
async def test_a_call_on_its_way_ends_when_its_authority_is_revoked_elsewhere(
    world: World,
    other: Other,
    revoke: Callable[[World, Other, Token], Awaitable[None]],
) -> None:
    token = await world.token()
    task = await in_flight(world, token)
    await revoke(world, other, token)
    revoked = time.perf_counter()
    outcome = await asyncio.wait_for(task, PROMPTLY)
    assert isinstance(outcome, Failed)
    assert "was revoked while it ran" in outcome.message
    assert outcome.data == {"executed": "unknown", "trace": outcome.trace}
    assert time.perf_counter() - revoked < PROMPTLY
    events = await world.events(outcome.trace)
    assert [one["type"] for one in events] == ["decide", "outcome"]
    assert events[1]["facts"]["status"] == "unknown"


async def test_a_call_of_another_agent_goes_on(world: World, other: Other, tmp_path: Path) -> None:
    stranger = await register(
        world.agents, world.operator, tmp_path, world.database, name="stranger"
    )
    task = await in_flight(world, await world.token(), seconds=1)
    await other.agents.quarantine(world.operator, stranger.name, "not the one that calls")
    assert isinstance(await task, Answered)


async def test_an_answer_given_elsewhere_wakes_a_call_that_is_held_here(
    world: World, other: Other
) -> None:
    shows = Client(modern=True, can_open_url=False)
    caller = await authenticated(world, await world.token())
    attempt = Attempt("counting", "delete_record", {"id": 3}, shows)
    held = asyncio.create_task(world.enforcer.call(caller, attempt))
    async with asyncio.timeout(10):
        while not (waiting := await world.waiting()):
            assert not held.done(), held.result()
            await asyncio.sleep(0.02)
    elsewhere = world.house.approvals.__class__(
        other.database,
        AuditLog(other.database, NoteSigner.generate("t"), "t", world.house.clock),
        world.house.people,
        world.issuer,
        world.house.clock,
    )
    await elsewhere.answer(world.operator, waiting[0], Answer.DENY)
    answered = time.perf_counter()
    outcome = await asyncio.wait_for(held, 10)
    assert isinstance(outcome, Denied)
    assert time.perf_counter() - answered < PROMPTLY
