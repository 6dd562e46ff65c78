"""After an erasure, with every key that still exists: no old copy opens what the log kept of them.

Files, write-ahead logs and backups that were made before hold the person's rows, sealed.
"""

import asyncio
import shutil
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import import_tables
from tests.fakes import postgres
from tests.fakes.backup_world import CANARY, Cast, configured, live, running
from tests.fakes.sealed import values

from actfor.audit import Event, EventType, repository
from actfor.audit.service.payloads import _parts, _place
from actfor.errors import Refused
from actfor.gateway.model import Http
from actfor.identity import Person
from actfor.keys import Cipher, Place, Vault
from actfor.keys import repository as key_rows
from actfor.keys.erasable import Erasable
from actfor.keys.kek.file import FileKek
from actfor.keys.service.vault import _place as place_of_key
from actfor.keys.service.vault import _root_context
from actfor.server import Settings, restore, write_backup
from actfor.server.backup import Archive
from actfor.server.wiring import Services, utc
from actfor.store import Database, Tx
from actfor.store import snapshot as store

WORDS = "words of Carol's alone"


@dataclass
class Scene:
    settings: Settings
    cast: Cast
    backup: Path


async def story(settings: Settings, upstream: Http, folder: Path) -> Scene:
    """People live, a backup is made; everything before the erasure."""
    backup = folder / "before.backup"
    async with running(settings) as services:
        cast = await live(services, upstream, folder)
        await remember(services, cast.carol)
        await services.audit.checkpoint()
        await asyncio.to_thread(write_backup, settings, backup)
    return Scene(settings, cast, backup)


async def remember(services: Services, person: Person) -> None:
    event = Event(EventType.OUTCOME, "dec_words", {}, {"person": person.id, "said": WORDS})
    await services.database.write(lambda tx: services.audit.append(tx, event))


def loaded(scene: Scene, folder: Path) -> Database:
    """The old backup, as somebody has it who kept it: its rows, under no guard of ours."""
    archive = Archive(scene.backup)
    url = f"sqlite:///{folder}/old.db"
    store.load(url, archive.backup.schema, archive.content(), closed=False)
    archive.close()
    return Database.open(url, clock=utc)


def secrets(tx: Tx, keys: Path) -> list[bytes]:
    """Every key there is, and whatever somebody with all of them might take for one."""
    kek, raw = FileKek.open(keys / "kek.key"), [*FileKek.open(keys / "kek.key").keys]
    outside = Erasable(keys / "erasure.key")
    root = key_rows.root(tx)
    assert root is not None
    opened = kek.unwrap(root.wrapped, _root_context(root.version), root.kek)
    raw += [opened, *outside._nodes.values()]
    for key in key_rows.live_data_keys(tx):
        if (sealing := outside._key_of(key.id)) is not None:
            raw.append(sealing)
        inner = Cipher(opened).open(key.wrapped or b"", place_of_key(key.id, key.root))
        raw += [inner[at : at + 32] for at in range(len(inner) - 31)]
        for one in list(raw):
            try:
                raw.append(Cipher(one).open(inner, Place("data_key", key.id, "outside")))
            except Refused:
                continue
    return raw


def opened_of(tx: Tx, person: str, keys: Path) -> list[bytes]:
    """What opens of the person's payloads and columns by trying every secret on each of them."""
    mine = key_rows.data_key_of(tx, person)
    assert mine is not None
    candidates = [Cipher(raw) for raw in dict.fromkeys(secrets(tx, keys))]
    found, tried = [], 0
    for leaf in repository.stored(tx, 0, 10_000):
        for number, (key_id, sealed) in enumerate(_parts(leaf.sealed or b"")):
            if key_id != mine.id:
                continue
            tried += 1
            for cipher in candidates:
                try:
                    found.append(cipher.open(sealed, _place(leaf.index, number)))
                except Refused:
                    continue
    assert tried, "the person has payloads, or this test looks at nothing"
    tried = 0
    for column, row, value in values(tx):
        of, _, body = value[1:].partition(":")
        if of == mine.id:
            tried += 1
            table, _, name = column.partition(".")
            for cipher in candidates:
                with suppress(Refused):
                    found.append(cipher.open(b64decode(body), Place(table, row, name)))
    assert tried, "the person has sealed columns, or this test looks at nothing"
    return found


def canary_in(folder: Path) -> list[str]:
    """Files that hold the person's name or words in clear."""
    needles = [text.encode() for text in (CANARY, WORDS)]
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    ]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_an_old_backup_does_not_open_for_who_was_erased_and_does_for_the_others(
    kind: str, own: postgres.Cluster, upstream: Http, tmp_path: Path
) -> None:
    import_tables()
    name = own.new_database()
    settings = configured(tmp_path / "data", own.url(name) if kind == "postgresql" else None)
    scene = await story(settings, upstream, tmp_path)
    keys, files = tmp_path / "data/keys", tmp_path / "old"
    files.mkdir()
    old = loaded(scene, files)
    before = old.read_sync(lambda tx: opened_of(tx, scene.cast.carol.id, keys))
    assert any(WORDS.encode() in text for text in before), "before, all of this opens"
    assert CANARY.encode() in before
    # A copy of the server's own files: what an old base backup or a stolen disk holds.
    copied = tmp_path / "disk"
    source = own.data if kind == "postgresql" else tmp_path / "data"
    shutil.copytree(source, copied, ignore=shutil.ignore_patterns(".s.*", "*.sock", "keys"))
    assert canary_in(copied) == [], "sealed from the first write on, in every file"
    (tmp_path / "clear").mkdir()
    (tmp_path / "clear/file").write_bytes(b"\x01" + CANARY.encode())
    assert canary_in(tmp_path / "clear"), "the search finds what is there"

    async with running(settings) as services:
        done = await services.erasure.erase(scene.cast.olivia, scene.cast.carol.id)
        assert done.compacted
        assert (await services.audit.verify()).ok

    assert old.read_sync(lambda tx: opened_of(tx, scene.cast.carol.id, keys)) == []
    olivia = old.read_sync(lambda tx: opened_of(tx, scene.cast.olivia.id, keys))
    assert olivia, "the others' payloads open as before"
    old.close_sync()

    # No write-ahead log has to be removed for it.
    assert canary_in(own.data if kind == "postgresql" else tmp_path / "data") == []

    # Restored, with the keys that there are now and without any ledger.
    shutil.copytree(keys, tmp_path / "new/keys")
    new = configured(tmp_path / "new")
    await restore(new, scene.backup, unverified=True, operators=["Olivia"])
    assert canary_in(tmp_path / "new") == []
    async with running(new) as services:
        events = await services.audit.events(0, 10_000)
        assert not [one for one in events if WORDS in str(one.private)]
        assert [one for one in events if one.private.get("person") == scene.cast.olivia.id]
        assert (await services.audit.verify()).ok


async def test_a_node_without_the_file_does_not_start_and_makes_none_of_its_own(
    upstream: Http, tmp_path: Path
) -> None:
    settings = configured(tmp_path / "data")
    scene = await story(settings, upstream, tmp_path)
    file = tmp_path / "data/keys/erasure.key"
    kept = file.read_bytes()
    file.unlink()
    with pytest.raises(Refused, match=r"erasure\.key"):
        async with running(settings):
            pass
    file.write_bytes(kept)
    async with running(settings) as services:
        assert (await services.people.person(scene.cast.carol.id)).name == CANARY


async def test_keys_of_an_older_release_are_sealed_by_the_file_at_the_next_start(
    upstream: Http, tmp_path: Path
) -> None:
    settings = configured(tmp_path / "data")
    scene = await story(settings, upstream, tmp_path)
    kek = FileKek.open(tmp_path / "data/keys/kek.key")
    database = Database.open(settings.database_url, clock=utc)
    older = Vault(kek)
    newcomer = "usr_older"
    database.write_sync(lambda tx: older.key_of(tx, newcomer))
    found = database.read_sync(lambda tx: key_rows.data_key_of(tx, newcomer))
    assert found is not None
    assert found.outside is None
    database.close_sync()
    async with running(settings) as services:
        now = await services.database.read(lambda tx: key_rows.data_key_of(tx, newcomer))
        assert now is not None
        assert now.outside == Erasable(tmp_path / "data/keys/erasure.key").id
        await remember(services, scene.cast.carol)
        assert (await services.audit.verify()).ok
