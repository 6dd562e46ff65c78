"""A database that is not the one that was signed: not served, and made safe before it is."""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from tests.fakes.console_authenticator import Passkey
from typer.testing import CliRunner

from actfor.cli.app import app as cli
from actfor.errors import Kind, Refused
from actfor.identity import AgentDraft, ReferenceDraft, Tier, Wanted
from actfor.identity.model import AgentState
from actfor.keys import Purpose
from actfor.sdk.receipt import verify_receipt
from actfor.server import recover
from actfor.server.settings import Settings, load
from actfor.server.wiring import Application, build

T = TypeVar("T")
Use = Callable[[Application], Awaitable[T]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(data=tmp_path / "data", log_level="error")


def run(settings: Settings, use: Use[T]) -> T:
    """What ``use`` makes of a server that is started and ends as it should."""

    async def main() -> T:
        application = await build(settings, with_default_policies=True)
        try:
            return await use(application)
        finally:
            await application.close()

    return asyncio.run(main())


def keep(settings: Settings, backup: Path) -> None:
    shutil.copy(settings.data / "actfor.db", backup)


def restore(settings: Settings, backup: Path) -> None:
    for suffix in ("-wal", "-shm"):
        (settings.data / f"actfor.db{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, settings.data / "actfor.db")


async def settled(app: Application) -> str:
    """An operator with a session, and an agent in service; the session's cookie."""
    services = app.services
    link = await app.setup_link()
    assert link is not None
    passkey = Passkey(services.settings.public_url)
    begun = await services.people.register_options(link.partition("?t=")[2], "Olivia")
    done = await services.people.register(begun.id, passkey.create(begun.options))
    code = services.settings.data / "code"
    code.mkdir()
    (code / "agent.py").write_text("pass\n")
    reference = ReferenceDraft(Wanted(path=str(code)), Wanted(path="/bin/sh"))
    draft = AgentDraft("bookkeeper", "keeps books", Tier.LOW, reference)
    await services.agents.register(done.person, draft)
    return done.cookie


async def retired(app: Application) -> None:
    """What the backup does not know."""
    (olivia,) = await app.services.people.people()
    await app.services.agents.retire(olivia, "bookkeeper", "stolen")
    await app.services.keys.revoke(Purpose.ACCESS_TOKEN, by=olivia.id, cause="leaked")


@pytest.fixture
def rolled_back(settings: Settings, tmp_path: Path) -> tuple[str, str]:
    """An older copy is in place; the cookie, and the log's key as it was."""
    cookie = run(settings, settled)
    keep(settings, tmp_path / "backup.db")

    async def change(app: Application) -> str:
        await retired(app)
        return app.services.audit.verifier_key

    key = run(settings, change)
    restore(settings, tmp_path / "backup.db")
    return cookie, key


def test_an_older_copy_is_not_served(settings: Settings, rolled_back: tuple[str, str]) -> None:
    with pytest.raises(Refused, match=r"it has \d+ entries, its checkpoint \d+") as refused:
        run(settings, settled)
    assert refused.value.kind is Kind.CONFLICT


def test_a_kill_is_no_rollback(settings: Settings) -> None:
    """The checkpoint is retained after each signature, so it is never ahead of the database."""
    run(settings, settled)

    async def killed() -> None:
        app = await build(settings, with_default_policies=True)
        await app.services.audit.checkpoint()
        await app.release()

    asyncio.run(killed())
    run(settings, lambda app: app.services.audit.verify())


def test_after_recovery_nothing_of_before_is_alive(
    settings: Settings, rolled_back: tuple[str, str]
) -> None:
    cookie, old_key = rolled_back
    before = (settings.data / "checkpoint").read_text().split("\n")
    done = asyncio.run(recover(settings))
    assert (done.people, done.agents) == (1, 1)
    assert "its checkpoint" in done.cause

    async def look(app: Application) -> None:
        services = app.services
        with pytest.raises(Refused) as refused:
            await services.people.session(cookie)
        assert refused.value.kind is Kind.UNAUTHENTICATED
        agent = await services.agents.show("bookkeeper")
        assert agent.state is AgentState.QUARANTINED
        assert agent.epoch > 1_700_000_000
        (olivia,) = await services.people.people()
        assert olivia.epoch > 1_700_000_000
        live = [key for key in await services.keys.listing() if key.is_live]
        assert {key.purpose for key in live} == set(Purpose)
        assert not [key for key in live if key.cause]
        assert await app.setup_link() is None
        (told,) = await services.audit.search(type="recover")
        assert told.facts["previous_log"] == before[0]
        assert told.facts["previous_size"] == int(before[1])
        receipt = (await services.audit.prove(told.index)).text()
        assert verify_receipt(receipt, done.verifier_key).checkpoint.origin == done.log
        with pytest.raises(Refused):
            verify_receipt(receipt, old_key)
        report = await services.audit.verify()
        assert report.ok, report.problems
        assert report.revoked >= 2

    run(settings, look)
    with pytest.raises(Refused, match="nothing to recover from"):
        asyncio.run(recover(settings))


def test_a_changed_database_is_not_recovered(
    settings: Settings, rolled_back: tuple[str, str]
) -> None:
    with closing(sqlite3.connect(settings.data / "actfor.db")) as raw:
        raw.execute("UPDATE log_leaf SET trace = 'x' WHERE idx = 1")
        raw.commit()
    with pytest.raises(Refused, match=r"was changed, entry 1 .*restore a copy that verifies"):
        asyncio.run(recover(settings))


def test_recovery_takes_a_persons_word(settings: Settings, rolled_back: tuple[str, str]) -> None:
    runner = CliRunner()
    silent = runner.invoke(cli, ["recover", "--data", str(settings.data)])
    assert isinstance(silent.exception, Refused)
    assert "--acknowledge" in silent.exception.detail
    said = runner.invoke(cli, ["recover", "--acknowledge", "--data", str(settings.data)])
    assert said.exit_code == 0, said.output
    assert "1 agents quarantined" in said.output
