"""A server's database that was backed up, and what was taken back since."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from tests.fakes.console_authenticator import Passkey
from tests.fakes.gateway_world import EVERYTHING, register

from actfor.delegation import MandateDraft
from actfor.errors import Refused
from actfor.gateway.model import Http
from actfor.identity import AgentState, Person, PersonState
from actfor.keys import Purpose
from actfor.server import Settings, load, write_backup
from actfor.server.wiring import Services, build
from actfor.wire import jose
from actfor.wire.rar import Authority, Budget, Grant

CANARY = "Carol Canary"


def configured(folder: Path, database: str | None = None) -> Settings:
    return load(mode="dev", data=folder, database=database, port=8799)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Services]:
    application = await build(settings, with_default_policies=True)
    try:
        yield application.services
    finally:
        await application.close()


@dataclass
class Cast:
    olivia: Person
    bob: Person
    carol: Person
    mandate: str
    token: str
    key: str


async def join(services: Services, token: str, name: str) -> Person:
    passkey = Passkey(services.people.origins[0])
    begun = await services.people.register_options(token, name)
    return (await services.people.register(begun.id, passkey.create(begun.options))).person


async def live(services: Services, upstream: Http, folder: Path) -> Cast:
    """People, an agent, a mandate of each of two of them, and a token."""
    people = services.people
    olivia = await join(services, await people.create_setup_link(), "Olivia")
    bob = await join(services, await people.invite(olivia, "Bob", ["admin"]), "Bob")
    carol = await join(services, await people.invite(olivia, CANARY, ["member"]), CANARY)
    agent = await register(services.agents, olivia, folder, services.database)
    await services.catalog.add_server(olivia, "counting", upstream, approve_listed=True)
    authority = Authority((Grant("counting", ("*",), EVERYTHING),), Budget())
    until = services.clock() + timedelta(hours=2)
    draft = MandateDraft(agent.name, "keep the books", authority, until)
    mandate = await services.delegation.commit_mandate(olivia, draft)
    await services.delegation.commit_mandate(carol, draft)
    token = await services.delegation.subject_token(olivia, mandate.id)
    await services.audit.checkpoint()
    return Cast(olivia, bob, carol, mandate.id, token, services.audit.verifier_key)


@dataclass
class Scene:
    settings: Settings
    cast: Cast
    file: Path
    data: Path


async def backed_up(folder: Path, upstream: Http) -> Scene:
    """A backup, and after it: a mandate revoked, Bob disabled, Carol erased, an agent retired."""
    settings = configured(folder / "data")
    file = folder / "monday.backup"
    async with running(settings) as services:
        cast = await live(services, upstream, folder)
        await asyncio.to_thread(write_backup, settings, file)
        await services.delegation.revoke_mandate(cast.olivia, cast.mandate, "over")
        await services.people.change(cast.olivia, cast.bob.id, state=PersonState.DISABLED)
        await services.erasure.erase(cast.olivia, cast.carol.id)
        await services.agents.retire(cast.olivia, "bookkeeper", "no longer")
    return Scene(settings, cast, file, folder / "data")


async def check_nothing_came_back(scene: Scene, settings: Settings) -> None:
    async with running(settings) as services:  # starts, guarded
        cast = scene.cast
        assert (await services.audit.verify()).ok
        assert (await services.delegation.mandate(cast.mandate)).state == "revoked"
        assert (await services.people.person(cast.bob.id)).state is PersonState.DISABLED
        assert (await services.people.person(cast.olivia.id)).state is PersonState.ACTIVE
        assert (await services.agents.show("bookkeeper")).state is not AgentState.ACTIVE
        kid = jose.kid_of(cast.token)
        assert kid not in {k.kid for k in services.keys.signers(Purpose.ACCESS_TOKEN)}
        with pytest.raises(Refused, match="revoked"):
            await services.database.read(lambda tx: services.keys.check(tx, kid))
        assert services.audit.verifier_key != cast.key
        assert [e.type for e in await services.audit.search(limit=100)].count("recover") == 1
