"""A disk that is really full: nothing is permitted, and what must be revoked can be."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Clock
from tests.fakes.audit_log import decided, open_log
from tests.fakes.store_tables import ADD, ALL, open_with_sample

from actfor.audit import Event, Revocable
from actfor.errors import Kind, Refused
from actfor.store import Database, Tx

RESERVE = 2 << 20
ONLY = "the disk is full: only revocations are recorded"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def store(disk: Path, clock: Clock) -> Iterator[Database]:
    url = f"sqlite:///{disk}/t.db"
    open_with_sample(url, clock).close_sync()
    opened = Database.open(url, clock=clock.now, create_all=True, reserve=RESERVE)
    yield opened
    opened.close_sync()


def fill(disk: Path) -> Path:
    """Take every byte that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return filler


def add(store: Database, name: str) -> str:
    """How an ordinary record ends."""
    try:
        store.write_sync(lambda tx: tx.changed(ADD, id=name + "x" * 3000, n=1))
    except Refused as refused:
        assert refused.kind is Kind.BUSY
        return refused.detail
    return "recorded"


def until_full(store: Database) -> list[str]:
    """Ordinary records until one is refused for good."""
    ended = []
    for n in range(5000):
        ended.append(add(store, f"{n:05}"))
        if ended[-1] == ONLY:
            return ended
    raise AssertionError("the disk did not become full")


def test_on_a_full_disk_revocations_are_recorded_and_nothing_else(
    store: Database, disk: Path, clock: Clock
) -> None:
    log = open_log(store, clock)
    filler = fill(disk)
    ended = until_full(store)
    assert ended[-2] == "the record could not be made durable"
    assert not (disk / "t.db.ballast").exists()
    recorded = ended.count("recorded")

    def revoke(tx: Tx) -> None:
        log.append(tx, Event.revoked(Revocable.AGENT, "a", 2, trace="agent:a", facts={}))

    for _ in range(50):
        store.write_sync(revoke)
    with pytest.raises(Refused, match=ONLY):
        store.write_sync(lambda tx: log.append(tx, decided()))
    assert len(store.read_sync(lambda tx: tx.run(ALL))) == recorded

    filler.unlink()
    deadline = time.monotonic() + 10
    while add(store, "after") != "recorded":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert (disk / "t.db.ballast").stat().st_blocks * 512 >= RESERVE
    store.write_sync(lambda tx: log.append(tx, decided()))


def test_a_batch_with_both_keeps_the_revocation(store: Database, disk: Path) -> None:
    fill(disk)
    until_full(store)
    store.post(lambda tx: tx.changed(ADD, id="ordinary", n=1))
    store.write_sync(lambda tx: store.feed.tell(tx, "agent", "a"))
    assert "ordinary" not in {name for name, _ in store.read_sync(lambda tx: tx.run(ALL))}


def test_a_server_starts_on_a_full_disk_to_revoke(disk: Path, clock: Clock) -> None:
    """SQLite cannot even be opened there; what was kept for this moment is used for it."""
    url = f"sqlite:///{disk}/t.db"
    open_with_sample(url, clock).close_sync()
    Database.open(url, clock=clock.now, create_all=True, reserve=RESERVE).close_sync()
    assert (disk / "t.db.ballast").exists()
    fill(disk)
    again = Database.open(url, clock=clock.now, create_all=True, reserve=RESERVE)
    again.write_sync(lambda tx: again.feed.tell(tx, "agent", "a"))
    assert add(again, "ordinary") == ONLY
    again.close_sync()


def test_no_ballast_is_kept_where_none_was_asked_for(tmp_path: Path, clock: Clock) -> None:
    open_with_sample(f"sqlite:///{tmp_path}/t.db", clock).close_sync()
    assert not list(tmp_path.glob("*.ballast"))
