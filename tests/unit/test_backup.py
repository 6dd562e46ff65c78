"""Backup, verify, restore: one file, what it says is so, and nothing revoked comes back."""

import asyncio
import fcntl
import json
import shutil
import stat
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from tests.fakes import postgres
from tests.fakes.backup_world import (
    CANARY,
    Scene,
    backed_up,
    check_nothing_came_back,
    configured,
    live,
    running,
)
from tests.fakes.gateway_world import counting_http

from actfor.audit import Event, EventType
from actfor.errors import Kind, Refused
from actfor.gateway.model import Http
from actfor.identity import PersonState
from actfor.server import restore, verify_backup, write_backup
from actfor.server.wiring import build
from actfor.store import Tx, new_id
from actfor.store.migrations import UNFINISHED, configuration, engine_for, packaged
from actfor.wire.log_entry import pseudonym


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    with counting_http(tmp_path_factory.mktemp("counting") / "journal") as url:
        yield Http(url)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, upstream: Http) -> Scene:
    return asyncio.run(backed_up(tmp_path_factory.mktemp("scene"), upstream))


@pytest.fixture
def scene(tmp_path: Path, told: Scene) -> Scene:
    """A copy of what was told once: its data folder, and the backup."""
    data, file = tmp_path / "data", tmp_path / told.file.name
    shutil.copytree(told.data, data, ignore=shutil.ignore_patterns("*.sock"))
    shutil.copy2(told.file, file)
    return Scene(configured(data), told.cast, file, data)


def canary_in(folder: Path) -> list[str]:
    found = (p for p in folder.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes())
    return sorted(path.name for path in found)


async def test_a_backup_is_one_private_file_that_verifies(scene: Scene) -> None:
    assert stat.S_IMODE(scene.file.stat().st_mode) == 0o600
    found = verify_backup(scene.settings, scene.file, scene.cast.key)
    assert found.problems == ()
    assert found.trusted
    assert found.opened
    elsewhere = verify_backup(configured(scene.data.parent / "nothing"), scene.file)
    assert (elsewhere.problems, elsewhere.trusted, elsewhere.opened) == ((), False, None)
    with pytest.raises(Refused, match="exists already"):
        write_backup(scene.settings, scene.file)
    with zipfile.ZipFile(scene.file) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    for secret in (
        b"PRIVATE KEY",
        b"PRIVATE+KEY",
        (scene.data / "keys/kek.key").read_bytes()[22:86],
    ):
        assert secret not in content


async def test_what_a_killed_backup_left_is_overwritten_and_is_nobodys_to_read(
    scene: Scene,
) -> None:
    left = scene.file.with_name("tuesday.part")
    left.write_bytes(b"cut short" * 100_000)
    left.chmod(0o644)
    write_backup(scene.settings, scene.file.with_name("tuesday"))
    assert verify_backup(scene.settings, scene.file.with_name("tuesday")).problems == ()
    assert stat.S_IMODE(scene.file.with_name("tuesday").stat().st_mode) == 0o600
    assert not left.exists()


async def test_a_backup_takes_no_other_file_for_its_own(scene: Scene, tmp_path: Path) -> None:
    part, precious = tmp_path / "tuesday.part", tmp_path / "precious"
    precious.write_text("somebody's")
    part.symlink_to(precious)
    with pytest.raises(Refused, match="symbolic links"):
        write_backup(scene.settings, tmp_path / "tuesday")
    part.unlink()
    with part.open("w") as another:
        fcntl.flock(another, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="another process's"):
            write_backup(scene.settings, tmp_path / "tuesday")
    with pytest.raises(Refused, match="exists already"):
        write_backup(scene.settings, precious)
    assert precious.read_text() == "somebody's"
    assert sorted(each.name for each in tmp_path.glob("precious*")) == ["precious"]


async def test_a_database_that_never_got_its_tables_is_replaced(
    scene: Scene, tmp_path: Path
) -> None:
    """What a server leaves that was killed in its first start: nobody is vouched for by it."""
    shutil.copytree(scene.data / "keys", tmp_path / "new/keys")
    (tmp_path / "new/actfor.db").touch()
    new = configured(tmp_path / "new")
    with pytest.raises(Refused, match="--operator"):
        await restore(new, scene.file, key=scene.cast.key, replace=True)
    ledger = scene.data / "erasures.jsonl"
    await restore(
        new, scene.file, key=scene.cast.key, replace=True, operators=["Olivia"], erasures=ledger
    )
    await check_nothing_came_back(scene, new)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("0001", "of an older release"),
        ("0078", "of an older release"),
        ("9999", "newer than this release"),
        ("", "has no schema"),
    ],
)
def test_the_database_of_another_release_is_not_backed_up_and_the_refusal_says_why(
    tmp_path: Path, schema: str, says: str
) -> None:
    settings = configured(tmp_path / "data")
    settings.data.mkdir()
    (settings.data / "actfor.db").touch()
    if schema:
        bring_to(settings.database_url, schema)
    file = tmp_path / "tuesday"
    with pytest.raises(Refused, match=says) as refused:
        write_backup(settings, file)
    assert refused.value.kind is Kind.CONFLICT
    assert [*tmp_path.glob("tuesday*")] == []


def bring_to(url: str, schema: str) -> None:
    """An empty database of this schema; of one that is not known, this release's under its name."""
    engine = engine_for(url)
    with engine.begin() as connection:
        known, _ = packaged()
        command.upgrade(configuration(connection), schema if schema in known else "head")
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{schema}'")  # noqa: S608 - ours
    engine.dispose()


def rewritten(file: Path, to: Path, change: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            new.writestr(name, change.get(name, old.read(name)))
    return to


async def test_a_changed_backup_is_neither_verified_nor_restored(scene: Scene) -> None:
    with zipfile.ZipFile(scene.file) as archive:
        people = archive.read("tables/person.jsonl")
        manifest = json.loads(archive.read("manifest.json"))
    promoted = people.replace(b'"member"', b'"admin"')
    assert promoted != people
    manifest["tables"]["person"]["rows"] += 1
    changes: list[dict[str, bytes]] = [
        {"tables/person.jsonl": promoted},
        {"tables/log_leaf.jsonl": b"[]\n"},
        {"manifest.json": json.dumps(manifest).encode()},
        {"checkpoint": b"another\n"},
    ]
    for change in changes:
        changed = rewritten(scene.file, scene.file.with_name("changed"), change)
        with pytest.raises(Refused):
            verify_backup(scene.settings, changed, scene.cast.key)
        with pytest.raises(Refused):
            await restore(scene.settings, changed, key=scene.cast.key, replace=True)
    for size in (0, 100, scene.file.stat().st_size - 50):
        short = scene.file.with_name("short")
        short.write_bytes(scene.file.read_bytes()[:size])
        with pytest.raises(Refused):
            verify_backup(scene.settings, short, scene.cast.key)
    async with running(scene.settings) as services:  # what was there is still what is served
        assert (await services.delegation.mandate(scene.cast.mandate)).state == "revoked"


async def test_a_backup_that_somebody_else_signed_is_refused(scene: Scene, tmp_path: Path) -> None:
    other = configured(tmp_path / "other")
    async with running(other) as services:
        await services.people.create_setup_link()
        forged = tmp_path / "forged"
        await asyncio.to_thread(write_backup, other, forged)
    assert verify_backup(other, forged).problems == ()
    with pytest.raises(Refused) as refused:
        verify_backup(other, forged, scene.cast.key)
    assert refused.value.kind is Kind.DENIED


async def test_nothing_that_was_revoked_since_comes_back(scene: Scene) -> None:
    with pytest.raises(Refused, match="--key"):
        await restore(scene.settings, scene.file, replace=True)
    with pytest.raises(Refused, match="--replace"):
        await restore(scene.settings, scene.file, key=scene.cast.key)
    done = await restore(scene.settings, scene.file, key=scene.cast.key, replace=True)
    assert (done.disabled, done.erased) == (1, 1)
    assert done.replaced is not None
    await check_nothing_came_back(scene, scene.settings)
    async with running(scene.settings) as services:
        carol = await services.people.person(scene.cast.carol.id)
        assert (carol.state, carol.name) == (PersonState.ERASED, "")
        erased = [e for e in await services.audit.search(limit=100) if e.type == EventType.ERASE]
        assert [e.facts["subject"] for e in erased] == [pseudonym(carol.id)]
    assert not (scene.data / ".restoring").exists()
    done.replaced.unlink()
    assert canary_in(scene.data) == []


async def test_where_the_database_is_lost_only_who_is_named_comes_back(
    scene: Scene, tmp_path: Path
) -> None:
    new = configured(tmp_path / "new")
    shutil.copytree(scene.data / "keys", tmp_path / "new/keys")
    with pytest.raises(Refused, match="--operator"):
        await restore(new, scene.file, unverified=True)
    with pytest.raises(Refused, match="nobody in the backup is `Mallory`"):
        await restore(new, scene.file, unverified=True, operators=["Mallory"])
    done = await restore(
        new,
        scene.file,
        key=scene.cast.key,
        operators=["Olivia"],
        erasures=scene.data / "erasures.jsonl",
    )
    assert (done.disabled, done.erased, done.replaced) == (1, 1, None)
    await check_nothing_came_back(scene, new)
    assert canary_in(tmp_path / "new") == []
    assert (tmp_path / "new/erasures.jsonl").exists()


async def test_without_its_kek_a_backup_restores_nothing(scene: Scene, tmp_path: Path) -> None:
    other = configured(tmp_path / "other")
    with pytest.raises(Refused, match="wrapped by"):
        await restore(other, scene.file, unverified=True, operators=["Olivia"])
    assert not (tmp_path / "other/actfor.db").exists()


async def test_without_the_key_file_of_persons_a_backup_restores_nothing(
    scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / "other/keys").mkdir(parents=True)
    shutil.copy(scene.data / "keys/kek.key", tmp_path / "other/keys/kek.key")
    other = configured(tmp_path / "other")
    assert verify_backup(other, scene.file).opened is None
    with pytest.raises(Refused, match=r"erasure\.key"):
        await restore(other, scene.file, unverified=True, operators=["Olivia"])
    assert not (tmp_path / "other/actfor.db").exists()


async def test_who_was_erased_stays_erased_where_the_ledger_is_lost(
    scene: Scene, tmp_path: Path
) -> None:
    """Their key is no longer in `erasure.key`, and that says enough."""
    shutil.copytree(scene.data / "keys", tmp_path / "new/keys")
    new = configured(tmp_path / "new")
    done = await restore(new, scene.file, unverified=True, operators=["Olivia"])
    assert done.erased == 1
    assert canary_in(tmp_path / "new") == []
    async with running(new) as services:
        assert (await services.people.person(scene.cast.carol.id)).state is PersonState.ERASED
        assert (await services.audit.verify()).ok


async def test_a_served_database_is_not_replaced(scene: Scene) -> None:
    async with running(scene.settings) as services:
        with pytest.raises(Refused) as refused:
            await restore(scene.settings, scene.file, unverified=True, replace=True)
        assert refused.value.kind is Kind.BUSY
        assert (await services.audit.verify()).ok


async def test_a_backup_is_of_one_moment_while_the_server_writes(
    tmp_path: Path, upstream: Http
) -> None:
    settings = configured(tmp_path / "data")
    file = tmp_path / "busy.backup"
    async with running(settings) as services:
        await live(services, upstream, tmp_path)

        def append(event: Event, tx: Tx) -> None:
            services.audit.append(tx, event)

        async def write() -> None:
            while True:
                event = Event(EventType.OUTCOME, new_id("dec"), {"n": 1}, {"x": "y" * 200})
                await services.database.write(partial(append, event))

        writing = [asyncio.create_task(write()) for _ in range(4)]
        await asyncio.sleep(0.3)
        before = (await services.audit.head()).size
        made = await asyncio.to_thread(write_backup, settings, file)
        await asyncio.sleep(0.2)
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)
        assert (await services.audit.head()).size > made.size >= before
    assert verify_backup(settings, file).problems == ()


async def test_a_backup_moves_between_the_databases(scene: Scene, tmp_path: Path) -> None:
    """SQLite to PostgreSQL and back: the same rows, the same log."""
    with postgres.shared().database() as url:
        there = configured(tmp_path / "there", url)
        shutil.copytree(scene.data / "keys", tmp_path / "there/keys")
        await restore(there, scene.file, unverified=True, operators=["Olivia"])
        with pytest.raises(Refused, match="not empty"):
            await restore(there, scene.file, unverified=True, operators=["Olivia"])
        await check_nothing_came_back(scene, there)
        again = tmp_path / "again.backup"
        await asyncio.to_thread(write_backup, there, again)
        back = configured(tmp_path / "back")
        shutil.copytree(scene.data / "keys", tmp_path / "back/keys")
        assert verify_backup(back, again).problems == ()
        await restore(back, again, unverified=True, operators=["Olivia"])
    async with running(back) as services:
        assert (await services.audit.verify()).ok
        assert (await services.people.person(scene.cast.olivia.id)).name == "Olivia"


def state_of(name: str) -> str:
    """The schema's version in a PostgreSQL, as whoever opens it finds it; empty without one."""
    cluster = postgres.shared()
    there = cluster.run("SELECT to_regclass('public.alembic_version')::text", database=name)
    if there[0][0] is None:
        return ""
    found = cluster.run("SELECT version_num FROM alembic_version", database=name)
    return str(found[0][0]) if found else ""


@pytest.mark.parametrize("after", [None, 0.0, 0.15, 0.4])
async def test_a_restore_into_postgresql_that_is_killed_brings_nothing_back(
    scene: Scene, tmp_path: Path, after: float | None
) -> None:
    """Killed while it fills the tables, and so long after they can be seen by others."""
    cluster = postgres.shared()
    name = cluster.new_database()
    there = configured(tmp_path / "there", cluster.url(name))
    shutil.copytree(scene.data / "keys", tmp_path / "there/keys")
    command = [
        Path(sys.executable).with_name("actfor"), "restore", scene.file, "--unverified",
        "--operator", "Olivia", "--data", tmp_path / "there", "--db", cluster.url(name),
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, stdout=-3, stderr=-3)
    try:
        if after is None:
            waiting = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            locked = f"{waiting} WHERE d.datname = '{name}' AND l.locktype = 'advisory'"
            while process.returncode is None and cluster.run(locked)[0][0] == 0:
                await asyncio.sleep(0.005)
        else:
            while process.returncode is None and state_of(name) == "":
                await asyncio.sleep(0.005)
            await asyncio.sleep(after)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    found = state_of(name)
    if found == UNFINISHED:
        with pytest.raises(Refused, match="cut short") as refused:
            await build(there, with_default_policies=True)
        assert refused.value.kind is Kind.CONFLICT
        with pytest.raises(Refused, match="has not ended"):
            await asyncio.to_thread(write_backup, there, tmp_path / "again")
        with pytest.raises(Refused, match="make a new database"):
            await restore(there, scene.file, unverified=True, operators=["Olivia"])
    elif found == "":
        await restore(there, scene.file, unverified=True, operators=["Olivia"])
    if found != UNFINISHED:
        await check_nothing_came_back(scene, there)
    if after == 0.0:
        assert found == UNFINISHED  # or this test looks at nothing
    cluster.drop(name)
