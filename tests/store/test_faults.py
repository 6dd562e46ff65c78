"""A disk that is full, a file that is gone, a setting that would lose records: refused."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Clock
from tests.fakes.audit_log import decided, grow, open_log
from tests.fakes.store_tables import ADD, ALL, open_with_sample

from actfor.audit import AuditLog
from actfor.errors import Kind, Refused
from actfor.store import Database, Tx
from actfor.store.sqlite import Location, open_writer

PAGES = "PRAGMA max_page_count"


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    opened = open_with_sample(f"sqlite:///{tmp_path}/t.db", clock)
    yield opened
    opened.close_sync()


def add(name: str, n: int = 1) -> Callable[[Tx], int]:
    return lambda tx: tx.changed(ADD, id=name, n=n)


def ids(store: Database) -> set[str]:
    return {name for name, _ in store.read_sync(lambda tx: tx.run(ALL))}


async def test_a_full_disk_is_refused_and_recovers(store: Database) -> None:
    """SQLITE_FULL in the middle of a batch: nothing of it happened, nothing before it is lost."""
    control = store._writer._connection.control
    acked = set()
    pages = control("PRAGMA page_count").fetchone()[0]
    control(f"{PAGES}={pages + 4}")
    for n in range(100):
        answers = await asyncio.gather(
            *[store.write(add(f"{n}-{k}" + "x" * 500)) for k in range(4)], return_exceptions=True
        )
        acked |= {f"{n}-{k}" + "x" * 500 for k, answer in enumerate(answers) if answer == 1}
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        if refused:
            assert {(one.kind, one.detail) for one in refused} == {
                (Kind.BUSY, "the record could not be made durable")
            }
            break
    else:
        pytest.fail("the disk never became full")
    assert ids(store) == acked
    control(f"{PAGES}=1000000")
    assert await store.write(add("after")) == 1
    assert ids(store) == acked | {"after"}


async def test_a_full_disk_does_not_disturb_the_log(database: Database, clock: Clock) -> None:
    log: AuditLog = open_log(database, clock)
    grow(database, log, 300)
    await log.checkpoint()
    control = database._writer._connection.control
    control(f"{PAGES}={control('PRAGMA page_count').fetchone()[0]}")
    failed = 0
    for n in range(200):
        try:
            await database.write(lambda tx, n=n: log.append(tx, decided(n, person="x" * 900)))  # type: ignore[misc]
        except Refused:
            failed += 1
    assert failed > 100
    control(f"{PAGES}=1000000")
    await database.write(lambda tx: log.append(tx, decided()))
    await log.start()
    report = await log.verify()
    assert report.ok, report.problems
    assert report.size == 300 + 200 - failed + 1


LIMITED = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from actfor.errors import Refused
from tests.fakes.store_tables import ADD, ALL, open_with_sample
from tests.conftest import Clock
store = open_with_sample(f"sqlite:///{sys.argv[1]}/t.db", Clock(datetime.now(UTC)))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (128 * 1024, hard))
acked, refused = [], 0
for n in range(400):
    name = f"{n:04}" + "x" * 400
    try:
        store.write_sync(lambda tx: tx.changed(ADD, id=name, n=n))
        acked.append(name)
    except Refused:
        refused += 1
assert acked and refused, (len(acked), refused)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
store.write_sync(lambda tx: tx.changed(ADD, id="after", n=0))
present = [name for name, _ in store.read_sync(lambda tx: tx.run(ALL))]
assert present == [*acked, "after"]
store.close_sync()
"""


def test_the_kernel_refusing_to_write_is_refused_and_recovers(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("how", ["deleted", "replaced", "log deleted"])
async def test_a_database_file_that_is_gone_acknowledges_nothing(
    tmp_path: Path, clock: Clock, how: str
) -> None:
    """SQLite would write on into the unlinked file: durable, and never found again."""
    store = open_with_sample(f"sqlite:///{tmp_path}/t.db", clock)
    await store.write(add("before"))
    path = tmp_path / ("t.db-wal" if how == "log deleted" else "t.db")
    path.unlink()
    if how == "replaced":
        path.write_bytes(b"")
    with pytest.raises(Refused) as refused:
        await store.write(add("lost"))
    assert refused.value.kind is Kind.BUSY
    store.close_sync()


async def test_a_corrupt_database_refuses_instead_of_answering(
    tmp_path: Path, clock: Clock
) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    store = open_with_sample(url, clock)
    for n in range(200):
        await store.write(add(f"{n:04}" + "x" * 200))
    store.close_sync()
    path = tmp_path / "t.db"
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(Refused) as refused:
        opened = Database(Location.parse(url), clock.now)
        try:
            opened.read_sync(lambda tx: tx.run(ALL))
        finally:
            opened.close_sync()
    assert refused.value.kind is Kind.BUSY


def test_a_locked_database_is_refused_and_recovers(tmp_path: Path, store: Database) -> None:
    other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store._writer._connection.control("PRAGMA busy_timeout=50")
    with pytest.raises(Refused) as refused:
        store.write_sync(add("a"))
    assert refused.value.kind is Kind.BUSY
    assert ids(store) == set()
    other.execute("ROLLBACK")
    assert store.write_sync(add("a")) == 1
    other.close()


def test_a_second_writer_is_kept_away(tmp_path: Path, clock: Clock, store: Database) -> None:
    with pytest.raises(Refused, match="in use by another process"):
        Database(Location.parse(f"sqlite:///{tmp_path}/t.db"), clock.now)
    assert store.write_sync(add("a")) == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite:///x.db?synchronous=normal", "`synchronous=normal` can lose acknowledged"),
        ("sqlite:///x.db?synchronous=off", "`synchronous=off` can lose acknowledged"),
        ("sqlite:///x.db?journal_mode=delete", "unknown setting `journal_mode`"),
        ("sqlite:///x.db?nonsense", "unknown setting `nonsense`"),
        ("sqlite:///:memory:", "not durable"),
        ("sqlite://", "must be"),
        ("sqlite:///", "must be"),
        ("sqlite://host/x.db", "must be"),
        ("mysql://localhost/actfor", "must be"),
        ("", "must be"),
    ],
)
def test_an_url_that_would_not_be_durable_is_refused(url: str, why: str, clock: Clock) -> None:
    with pytest.raises(Refused, match=why) as refused:
        Database.open(url, clock=clock.now)
    assert refused.value.kind is Kind.MALFORMED


@pytest.mark.parametrize("level", ["NORMAL", "OFF"])
def test_a_database_that_does_not_grant_full_is_refused(tmp_path: Path, level: str) -> None:
    with pytest.raises(Refused, match=f"does not grant `synchronous={level.lower()}`") as refused:
        open_writer(Location(tmp_path / "t.db", level))
    assert refused.value.kind is Kind.CONFLICT


def test_full_and_wal_are_what_the_writer_really_has(store: Database) -> None:
    control = store._writer._connection.control
    assert control("PRAGMA synchronous").fetchone() == (2,)
    assert control("PRAGMA journal_mode").fetchone() == ("wal",)
    assert control("PRAGMA foreign_keys").fetchone() == (1,)


def test_only_the_owner_may_read_the_files(tmp_path: Path, store: Database) -> None:
    store.write_sync(add("a"))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("t.db*")}
    assert modes.keys() >= {"t.db", "t.db-wal", "t.db-shm"}
    assert set(modes.values()) == {0o600}


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "t.db").mkdir()
    with pytest.raises(Refused) as refused:
        Database(Location.parse(f"sqlite:///{tmp_path}/t.db"), clock.now)
    assert refused.value.kind is Kind.BUSY


async def test_too_many_waiting_units_are_refused_at_once(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actfor.store.sequencer.MAX_WAITING", 10)
    gate = threading.Event()
    store.post(lambda tx: gate.wait(5))
    with pytest.raises(Refused, match="too many") as refused:
        for n in range(20):
            store.post(add(f"{n}"))
    assert refused.value.kind is Kind.BUSY
    gate.set()
    async with asyncio.timeout(5):
        while store.units < 10:
            await asyncio.sleep(0.01)
    assert await store.write(add("after")) == 1
