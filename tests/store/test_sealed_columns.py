"""What tables say of a person stands sealed in every file, and opens nowhere once they are erased."""

import asyncio
import json
import shutil
import sqlite3
import zipfile
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table, Text
from tests.conftest import Clock, import_tables
from tests.fakes import postgres
from tests.fakes.backup_world import configured, running
from tests.fakes.console_authenticator import Passkey
from tests.fakes.console_people import exact_call
from tests.fakes.delegation_world import BANK, build
from tests.fakes.gateway_world import EVERYTHING, register
from tests.fakes.sealed import found_in, in_clear, needles, opened, put_in_clear, values
from tests.unit.test_delegation_usage import PAY, delegated, take

from actfor.approval import Answer, Approval
from actfor.approval.model import SlotOrigin
from actfor.delegation import MandateDraft
from actfor.delegation.model import Wish
from actfor.delegation.repository import usage, wishes
from actfor.errors import Kind, Refused
from actfor.gateway.model import Http
from actfor.identity import Person, PersonState
from actfor.keys import MARK, Erasable, KeyService, Texts, Vault
from actfor.keys.kek.file import FileKek
from actfor.server import Settings, personal, restore, verify_backup, write_backup
from actfor.server.backup import Archive, _encoded, _statement
from actfor.server.keyring import open_vault
from actfor.server.wiring import Services, utc
from actfor.store import Database, Tx, metadata, new_id
from actfor.store import snapshot as store
from actfor.wire.rar import Authority, Budget, Grant
from actfor.wire.rar.constraint import OneOf

NAME = "Zoë Wilhelmina Kanarienvögel"
SAID = {
    name: f"{name}-kanarie-ünd-🐤-marker"
    for name in ("goal", "limit", "argument", "words", "reason", "value", "note", "why", "wish")
}
MARKERS = [NAME, *SAID.values()]
OPEN = "a purpose that stands in clear"
POLICY = """@id("none") @reason("nothing") forbid (principal, action, resource) when { false };"""


# -- every column has its place ------------------------------------------------------------------


def misplaced(schema: MetaData) -> list[str]:
    """Columns of text or bytes that `personal` does not place exactly once, and the reverse."""
    there = {
        f"{table.name}.{column.name}"
        for table in schema.tables.values()
        for column in table.columns
        if column.type.python_type in {str, bytes}
    }
    placed = [
        f"{table}.{column}"
        for kind in (personal.SEALED, personal.BLINDED, personal.CLEAR)
        for table, columns in kind.items()
        for column in columns
    ]
    twice = {one for one in placed if placed.count(one) > 1}
    return sorted((there ^ set(placed)) | twice)


def test_every_column_is_sealed_or_says_why_not() -> None:
    import_tables()
    assert misplaced(metadata) == []
    assert all(reason for columns in personal.CLEAR.values() for reason in columns.values())


@pytest.mark.parametrize("place", ["person", "new_table"])
def test_a_column_that_somebody_adds_has_to_be_placed(place: str) -> None:
    import_tables()
    changed = MetaData()
    for table in metadata.tables.values():
        table.to_metadata(changed)
    if place == "person":
        changed.tables["person"].append_column(Column("email", Text))
        assert misplaced(changed) == ["person.email"]
    else:
        Table("new_table", changed, Column("id", Text, primary_key=True))
        assert misplaced(changed) == ["new_table.id"]
    changed.remove(changed.tables["mandate"])
    assert "mandate.goal" in misplaced(changed)


# -- sealing a text ------------------------------------------------------------------------------


@pytest.fixture
def texts(database: Database) -> Texts:
    return Vault().texts


def stored(database: Database, texts: Texts, text: str, owner: str = "usr_a") -> str:
    return database.write_sync(lambda tx: texts.seal(tx, owner, "person.name", "usr_a", text))


def read(database: Database, texts: Texts, text: str, at: str = "person.name/usr_a") -> str | None:
    column, _, row = at.partition("/")
    return database.read_sync(lambda tx: texts.open(tx, column, row, text))


@pytest.mark.parametrize("text", ["", " ", "Ada", NAME, "\u202eadA", MARK + "x", "x" * 5000])
def test_any_text_comes_back_as_it_was(database: Database, texts: Texts, text: str) -> None:
    sealed = stored(database, texts, text)
    assert sealed.startswith(MARK)
    # A few characters stand in any ciphertext by chance.
    assert len(text) < 6 or not any(needle in sealed.encode() for needle in needles(text))
    assert sealed != stored(database, texts, text), "equal texts do not show"
    for _ in range(2):  # deciphered, and remembered
        assert read(database, texts, sealed) == text
    none: str | None = database.write_sync(
        lambda tx: texts.seal_some(tx, "usr_a", "person.name", "usr_a", None)
    )
    assert none is None


@pytest.mark.parametrize("place", ["person.name/usr_b", "person.roles/usr_a", "mandate.goal/usr_a"])
def test_a_text_opens_in_its_own_place_only(database: Database, texts: Texts, place: str) -> None:
    sealed = stored(database, texts, "Ada")
    assert read(database, texts, sealed) == "Ada"  # now it is remembered
    for moved in (sealed, sealed[:-4] + "AAAA", sealed[:-1], sealed.split(":")[0] + ":"):
        with pytest.raises(Refused) as refused:
            read(database, texts, moved, place)
        assert refused.value.kind is Kind.CONFLICT
    with pytest.raises(Refused):
        read(database, texts, sealed[:-8] + "AAAAAAA=")


def test_who_was_erased_is_not_remembered_either(database: Database) -> None:
    vault = Vault()
    sealed, other = (stored(database, vault.texts, "Ada", who) for who in ("usr_a", "usr_b"))
    assert read(database, vault.texts, sealed) == "Ada"
    database.write_sync(lambda tx: vault.erase(tx, "usr_a", 7))
    assert read(database, vault.texts, sealed) is None
    assert read(database, vault.texts, other) == "Ada"
    with pytest.raises(Refused, match="erased"):
        stored(database, vault.texts, "Ada")


# -- a life in every table -----------------------------------------------------------------------


@dataclass
class Cast:
    olivia: Person
    zoe: Person
    mandate: str  # Olivia's
    approval: str  # Olivia's, and Zoë said yes


async def join(services: Services, token: str, name: str) -> tuple[Person, Passkey]:
    passkey = Passkey(services.people.origins[0])
    begun = await services.people.register_options(token, name)
    return (await services.people.register(begun.id, passkey.create(begun.options))).person, passkey


async def live(services: Services, upstream: Http, folder: Path) -> Cast:
    """Zoë leaves her words in every column that is sealed; Olivia lives beside her."""
    people, approvals = services.people, services.approvals
    olivia, _ = await join(services, await people.create_setup_link(), "Olivia")
    roles = ["admin", "approver"]
    zoe, passkey = await join(services, await people.invite(olivia, NAME, roles), NAME)
    await people.register_options(await people.invite_passkey(zoe, zoe.id))
    await people.register_options(await people.invite(olivia, "Nobody Yet", roles))
    agent = await register(services.agents, olivia, folder, services.database)
    await services.catalog.add_server(olivia, "counting", upstream, approve_listed=True)
    until = services.clock() + timedelta(hours=2)
    grant = Grant("counting", ("echo",), EVERYTHING, {"/text": OneOf((SAID["limit"],))})
    draft = MandateDraft(agent.name, SAID["goal"], Authority((grant,), Budget()), until)
    hers = await services.delegation.commit_mandate(zoe, draft)
    gone = await services.delegation.commit_mandate(zoe, draft)
    await services.delegation.revoke_mandate(zoe, gone.id, SAID["reason"])
    others = Authority((Grant("counting", ("echo",), EVERYTHING),), Budget())
    own = await services.delegation.commit_mandate(
        olivia, replace(draft, goal="keep the books", authority=others)
    )

    async def ask(who: Person, mandate: str, argument: str, words: str) -> Approval:
        call = exact_call(who.id, {"to": argument}, mandate_id=mandate)
        origin = SlotOrigin("/to", "/to", argument, "a stranger", words, endorsable=True)
        return await approvals.request(
            call, decision_trace="dec_1", reasons=[words], agent_text=words, origins=[origin]
        )

    await ask(zoe, hers.id, SAID["argument"], SAID["words"])
    yes = await ask(olivia, own.id, "DE02", "pay the rent")
    options = await approvals.options(zoe, yes.id, endorse=("/to",))
    await approvals.answer(zoe, yes.id, Answer.APPROVE, passkey.get(options), endorse=("/to",))
    no = await ask(olivia, own.id, "DE03", "pay again")
    await approvals.answer(zoe, no.id, Answer.DENY, None, SAID["why"])

    def unit(tx: Tx) -> None:
        slots = [("/to", SAID["value"])]
        services.delegation.endorse(
            tx, mandate_id=hers.id, tool="bank/pay", slots=slots, by=zoe.id, approval_id=yes.id
        )
        now = services.clock()
        authority = Authority((grant,), Budget())
        wish = Wish(new_id("wsh"), str(agent.id), authority, SAID["wish"], now, until)
        wishes.add(tx, services.audit.texts, wish, services.delegation.resources)

    await services.database.write(unit)
    in_force = (await services.authorization.published())[1]
    await services.policy_changes.publish(zoe.id, f"{in_force}\n{POLICY}", note=SAID["note"])
    lasting = timedelta(hours=1)
    await services.trials.shadow(zoe.id, in_force, lasting=lasting, note=SAID["note"])
    services.policy_changes.four_eyes = True
    await services.policy_changes.publish(zoe.id, in_force, note=SAID["note"])
    await services.audit.checkpoint()
    return Cast(olivia, zoe, own.id, yes.id)


@dataclass
class Scene:
    settings: Settings
    cast: Cast
    backup: Path
    files: Path  # of the database


@pytest.fixture(params=["sqlite", "postgresql"])
async def scene(
    request: pytest.FixtureRequest, own: postgres.Cluster, upstream: Http, tmp_path: Path
) -> Scene:
    """Zoë's life, and a backup of it, before she is erased."""
    import_tables()
    server = request.param == "postgresql"
    url = own.url(own.new_database()) if server else None
    settings, backup = configured(tmp_path / "data", url), tmp_path / "before.backup"
    async with running(settings) as services:
        cast = await live(services, upstream, tmp_path)
        await asyncio.to_thread(write_backup, settings, backup)
    return Scene(settings, cast, backup, own.data if server else tmp_path / "data")


def old_rows(scene: Scene, keys: Path, folder: Path) -> dict[str, list[str]]:
    """What opens of the backup's rows, under no guard of ours, with the keys in a folder."""
    archive = Archive(scene.backup)
    url = f"sqlite:///{folder}/old.db"
    store.load(url, archive.backup.schema, archive.content(), closed=False)
    archive.close()
    database = Database.open(url, clock=utc)
    vault = Vault(FileKek.open(keys / "kek.key"), outside=Erasable(keys / "erasure.key"))
    try:
        return database.read_sync(lambda tx: opened(tx, vault.texts))
    finally:
        database.close_sync()
        (folder / "old.db").unlink()


def markers_in(rows: dict[str, list[str]]) -> set[str]:
    return {one for texts in rows.values() for text in texts for one in MARKERS if one in text}


async def test_no_file_holds_a_word_of_hers_and_no_copy_opens_after_the_erasure(
    scene: Scene, tmp_path: Path
) -> None:
    keys = tmp_path / "data/keys"
    # 1. Before: sealed everywhere, so that no backup, replica or log of the database has it.
    assert found_in(scene.backup, MARKERS) == []
    assert found_in(scene.files, MARKERS) == []
    assert found_in(scene.files, ["keeps the books"]), "an agent's purpose is there to be found"
    before = old_rows(scene, keys, tmp_path)
    there = {f"{table}.{one}" for table, columns in personal.SEALED.items() for one in columns}
    left_out = {f"{table}.{one}" for table in personal.NOT_COPIED for one in personal.SEALED[table]}
    assert set(before) == there - left_out, "every sealed column holds something here"
    assert markers_in(before) == {*MARKERS} - {SAID["wish"]}

    # 2. Erased: nothing of hers opens any more, neither here nor in the backup.
    async with running(scene.settings) as services:
        assert await services.database.read(in_clear) == []
        live_rows = await services.database.read(lambda tx: opened(tx, services.audit.texts))
        assert markers_in(live_rows) == {*MARKERS}
        done = await services.erasure.erase(scene.cast.olivia, scene.cast.zoe.id)
        assert done.compacted
        left = await services.database.read(lambda tx: opened(tx, services.audit.texts))
        assert markers_in(left) == set()
        history = await services.authorization.history()
        assert [one.note for one in history if one.author == scene.cast.zoe.id] == [""]
        kept = await services.approvals.get(scene.cast.approval)
        assert (kept.assertion, kept.approver) == (None, scene.cast.zoe.id)
        assert (await services.audit.verify()).ok
    assert found_in(scene.files, MARKERS) == []
    after = old_rows(scene, keys, tmp_path)
    assert markers_in(after) == set()
    assert "keep the books" in after["mandate.goal"], "the others' rows open as before"
    assert "Olivia" in after["person.name"]
    assert any("DE02" in call for call in after["approval.call"])

    # 3. Restored without any ledger: she is erased, the others are as they were.
    shutil.copytree(keys, tmp_path / "new/keys")
    new = configured(tmp_path / "new")
    assert verify_backup(new, scene.backup).problems == ()
    done_again = await restore(new, scene.backup, unverified=True, operators=["Olivia"])
    assert done_again.erased == 1
    async with running(new) as services:
        zoe = await services.people.person(scene.cast.zoe.id)
        assert (zoe.state, zoe.name) == (PersonState.ERASED, "")
        olivia = await services.people.person(scene.cast.olivia.id)
        assert (olivia.state, olivia.name) == (PersonState.ACTIVE, "Olivia")
        mine = await services.delegation.mandates(None)
        assert [(one.person_id, one.goal) for one in mine] == [(olivia.id, "keep the books")]
        assert (await services.approvals.get(scene.cast.approval)).call.arguments == {"to": "DE02"}
        found = await services.database.read(lambda tx: opened(tx, services.audit.texts))
        assert markers_in(found) == set()
        assert await services.delegation.wishes(olivia) == []
        assert (await services.audit.verify()).ok


async def test_an_older_copy_in_place_of_the_database_shows_her_as_erased(
    scene: Scene, tmp_path: Path
) -> None:
    """Put there with all that remembers the log, so that no guard sees that it is older."""
    if scene.settings.database_url.startswith("postgresql"):
        pytest.skip("the same code; copying a server's folder back is slow")
    folder = tmp_path / "data"
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("*.sock", "keys"))
    async with running(scene.settings) as services:
        await services.erasure.erase(scene.cast.olivia, scene.cast.zoe.id)
    for path in [one for one in folder.iterdir() if one.is_file()]:
        path.unlink()
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    async with running(scene.settings) as services:
        zoe = await services.people.person(scene.cast.zoe.id)
        assert (zoe.state, zoe.name) == (PersonState.ERASED, "")
        assert len(await services.delegation.mandates(None)) == 1
        assert (await services.audit.verify()).ok


# -- what an older release wrote -----------------------------------------------------------------


_SINCE_0076 = (
    "DROP TABLE access_request",
    "ALTER TABLE mandate_wish DROP COLUMN person_id",
    "ALTER TABLE mandate_wish DROP COLUMN answer",
    "ALTER TABLE mandate_wish DROP COLUMN mandate_id",
)
"""What newer releases added to the schema, taken away again."""
_NEWER = {"access_request"}


def unsealed(settings: Settings, folder: Path) -> dict[str, list[str]]:
    """Make of the database one that an older release left, but for its schema: all in clear."""
    keys = folder / "keys"
    vault = Vault(FileKek.open(keys / "kek.key"), outside=Erasable(keys / "erasure.key"))
    database = Database.open(settings.database_url, clock=utc)
    rows = database.read_sync(
        lambda tx: [
            (*column.split("."), row, vault.texts.open(tx, column, row, value))
            for column, row, value in values(tx)
        ]
    )
    before = database.read_sync(lambda tx: opened(tx, vault.texts))
    database.close_sync()
    with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as raw:
        for table, column, row, text in rows:
            (key,) = (one[1] for one in raw.execute(f"PRAGMA table_info({table})") if one[5])
            put = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"  # noqa: S608 - our own names
            raw.execute(put, (text, row))
        raw.commit()
    return before


def older_schema(settings: Settings) -> None:
    """Take away what releases since 0076 added to the schema."""
    with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as raw:
        for since in _SINCE_0076:
            raw.execute(since)
        raw.execute("UPDATE alembic_version SET version_num = '0076'")
        raw.commit()


async def test_a_database_of_an_older_release_is_sealed_at_the_first_start(
    upstream: Http, tmp_path: Path
) -> None:
    import_tables()
    settings = configured(tmp_path / "data")
    async with running(settings) as services:
        cast = await live(services, upstream, tmp_path)
    before = unsealed(settings, tmp_path / "data")
    assert set(MARKERS) == {
        one.split(": ")[1].split(" as ")[0] for one in found_in(tmp_path / "data", MARKERS)
    }, "every word is there in clear, and the search finds it"
    with pytest.raises(Refused, match="in clear that an older release wrote"):
        write_backup(settings, tmp_path / "early")
    assert not (tmp_path / "early").exists()
    older_schema(settings)

    for _ in range(2):  # the second start finds nothing to do
        async with running(settings) as services:
            assert await services.database.read(in_clear) == []
            after = await services.database.read(lambda tx: opened(tx, services.audit.texts))
            assert after == before
            assert (await services.people.person(cast.zoe.id)).name == NAME
            assert (await services.approvals.get(cast.approval)).assertion is not None
            assert (await services.audit.verify()).ok
    assert found_in(tmp_path / "data", MARKERS) == []
    await asyncio.to_thread(write_backup, settings, tmp_path / "late")
    assert found_in(tmp_path / "late", MARKERS) == []


async def test_text_in_clear_is_sealed_in_batches_on_either_database(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    """With a mandate's person found through the mandate, and a row that nobody's key seals."""
    world = await build(database, clock, tmp_path)
    _, mandate, _ = await world.ready()
    seals, delegation = world.house.audit.texts, world.delegation

    def endorse(tx: Tx, first: int) -> None:
        slots = [("/to", f"value {n}") for n in range(first, first + 10)]
        delegation.endorse(
            tx, mandate_id=mandate.id, tool="b/p", slots=slots, by=world.ada.id, approval_id="apr_1"
        )

    for first in range(0, 60, 10):
        await database.write(partial(endorse, first=first))
    before = await database.read(lambda tx: opened(tx, seals))

    for column, row, value in await database.read(lambda tx: list(values(tx))):
        await database.write(
            partial(put_in_clear, texts=seals, column=column, row=row, value=value)
        )
    assert "mandate_endorsement.value" in await database.read(in_clear)
    assert await personal.seal_old(database, seals, delegation) > 60
    assert await database.read(in_clear) == []
    assert await database.read(lambda tx: opened(tx, seals)) == before
    assert await personal.seal_old(database, seals, delegation) == 0


def clear_backup(settings: Settings, sealed: Path, to: Path) -> None:
    """A backup as an older release wrote it: the rows of the database as they stand, signed."""
    vault = open_vault(settings)
    with zipfile.ZipFile(sealed) as old, zipfile.ZipFile(to, "w") as new:
        body = json.loads(old.read("manifest.json")) | {"schema": "0076"}

        def unit(tx: Tx) -> None:
            for table in store.tables():
                if table.name in _NEWER | personal.NOT_COPIED:
                    body["tables"].pop(table.name, None)
                    continue
                rows: list[list[object]] = [[column.name for column in table.columns]]
                rows += [[_encoded(value) for value in row] for row in store.rows(tx, table)]
                text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
                new.writestr(f"tables/{table.name}.jsonl", text)
                about = {"rows": len(rows) - 1, "sha256": sha256(text).hexdigest()}
                body["tables"][table.name] = about
            manifest = json.dumps(body).encode()
            signer = KeyService.log_signer_of(tx, vault)
            new.writestr("manifest.json", manifest)
            new.writestr("manifest.sig", signer.sign(_statement(manifest)))
            new.writestr("checkpoint", old.read("checkpoint"))

        store.read_snapshot(settings.database_url, utc, unit)


async def test_a_backup_of_an_older_release_is_restored_sealed(
    upstream: Http, tmp_path: Path
) -> None:
    """Its file holds what it held; what comes out of it does not. Who was erased stays so."""
    import_tables()
    settings = configured(tmp_path / "data")
    async with running(settings) as services:
        cast = await live(services, upstream, tmp_path)
        await asyncio.to_thread(write_backup, settings, tmp_path / "sealed")
    unsealed(settings, tmp_path / "data")
    file = tmp_path / "clear"
    await asyncio.to_thread(clear_backup, settings, tmp_path / "sealed", file)
    older_schema(settings)
    assert found_in(file, [NAME])
    shutil.copytree(tmp_path / "data/keys", tmp_path / "all/keys")
    new = configured(tmp_path / "all")
    await restore(new, file, unverified=True, operators=["Olivia", NAME])
    async with running(new) as services:
        assert (await services.people.person(cast.zoe.id)).name == NAME
        assert await services.database.read(in_clear) == []
    assert found_in(tmp_path / "all", MARKERS) == []

    async with running(settings) as services:
        await services.erasure.erase(cast.olivia, cast.zoe.id)
    shutil.copytree(tmp_path / "data/keys", tmp_path / "others/keys")
    later = configured(tmp_path / "others")
    assert (await restore(later, file, unverified=True, operators=["Olivia"])).erased == 1
    assert found_in(tmp_path / "others", MARKERS) == []
    async with running(later) as services:
        assert (await services.people.person(cast.zoe.id)).name == ""
        assert (await services.approvals.get(cast.approval)).call.arguments == {"to": "DE02"}
        found = await services.database.read(lambda tx: opened(tx, services.audit.texts))
        assert markers_in(found) == set()


# -- values that are only compared ---------------------------------------------------------------


async def test_whom_a_mandate_reached_is_known_and_not_readable(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    world = await build(database, clock, tmp_path)
    budget = {"recipients": 2}
    _, delegation = await delegated(world, BANK, grants=[PAY], budget=budget)
    reached = "zoe@kanarie.example"
    await take(world, delegation, recipients=frozenset({reached}))
    await take(world, delegation, recipients=frozenset({reached}))
    owner = delegation.mandate.id

    def sets(tx: Tx) -> list[tuple[str, str]]:
        return usage.remembered(tx, owner)

    known = [value for name, value in await database.read(sets) if name == "recipient"]
    assert len(known) == 1, "the same one counts once"
    assert known[0].startswith(MARK)
    assert not any(needle in known[0].encode() for needle in needles(reached))

    # An older release kept it as it is: blinded, and still the same one.
    def older(tx: Tx) -> None:
        usage.reword(tx, owner, "recipient", known[0], reached)

    await database.write(older)
    assert ("recipient", reached) in await database.read(sets)
    assert await database.write(lambda tx: world.delegation.blind_old(tx, 10)) == 1
    assert ("recipient", known[0]) in await database.read(sets)
    assert await database.write(lambda tx: world.delegation.blind_old(tx, 10)) == 0
