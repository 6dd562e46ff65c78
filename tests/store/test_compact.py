"""What was deleted is in no file of the database afterwards."""

from pathlib import Path

import pytest
from tests.conftest import Clock, import_tables
from tests.fakes import postgres

from actfor.errors import Kind, Refused
from actfor.identity.repository.tables import person
from actfor.store import Database, Tx

OPENED = Path("/proc/self/fd")
CANARY = "Wilhelmina Canary"
FILL = person.insert().values(
    id="usr_1", name=CANARY, roles="", state="active", epoch=1, created_at=1
)
CLEAR = person.update().values(name="")


def hits(folder: Path) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]


async def test_sqlite_forgets_what_was_overwritten(tmp_path: Path, clock: Clock) -> None:
    import_tables()
    database = Database.open(f"sqlite:///{tmp_path}/actfor.db", clock=clock.now)
    await database.write(lambda tx: tx.changed(FILL))
    assert hits(tmp_path)
    await database.write(lambda tx: tx.changed(CLEAR))
    await database.compact(["person"])
    assert hits(tmp_path) == []
    await database.write(lambda tx: tx.changed(CLEAR))  # and goes on
    await database.close()


@pytest.mark.skipif(not OPENED.exists(), reason="needs Linux")
async def test_what_a_unit_may_take_back_is_in_no_temporary_file(
    tmp_path: Path, clock: Clock
) -> None:
    import_tables()
    database = Database.open(f"sqlite:///{tmp_path}/actfor.db", clock=clock.now)

    def fill(tx: Tx) -> None:
        for number in range(300):
            tx.changed(FILL.values(id=f"usr_{number}", name=CANARY * 100))

    def clear(tx: Tx) -> set[str]:
        tx.changed(CLEAR)  # a thousand pages are changed, so their former content is kept
        return {str(each.readlink()) for each in list(OPENED.iterdir()) if each.is_symlink()}

    for _ in range(2):
        await database.write(fill)
        assert not [name for name in await database.write(clear) if "etilqs" in name]
        await database.write(lambda tx: tx.changed(person.delete()))
        await database.compact(["person"])  # and after it, as before
    await database.close()


async def test_a_reader_that_holds_the_log_open_is_told_of(tmp_path: Path, clock: Clock) -> None:
    import sqlite3
    from contextlib import closing

    import_tables()
    database = Database.open(f"sqlite:///{tmp_path}/actfor.db", clock=clock.now)
    await database.write(lambda tx: tx.changed(FILL))
    with closing(sqlite3.connect(tmp_path / "actfor.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM person").fetchall()
        await database.write(lambda tx: tx.changed(CLEAR))
        with pytest.raises(Refused) as refused:
            await database.compact(["person"])
        assert refused.value.kind is Kind.BUSY
    await database.compact(["person"])
    assert hits(tmp_path) == []
    await database.close()


async def test_postgresql_writes_the_table_anew(clock: Clock) -> None:
    import_tables()
    with postgres.shared().database(postgres.migrated()) as url:
        database = Database.open(url, clock=clock.now)
        await database.write(lambda tx: tx.changed(FILL))
        await database.write(lambda tx: tx.changed(CLEAR))
        await database.compact(["person"])
        await database.write(lambda tx: tx.changed(CLEAR))
        await database.close()
