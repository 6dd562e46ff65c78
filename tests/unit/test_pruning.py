"""Old entries leave by policy: refused, then deleted; what was proved stays provable."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.conftest import Clock
from tests.fakes.audit_log import SIGNER, grow, open_log
from tests.unit.test_mirror import Served

from actfor.audit import AuditLog
from actfor.audit.offline import verify_database
from actfor.errors import Kind, Refused
from actfor.sdk.mirror import mirror
from actfor.sdk.receipt import verify_export, verify_receipt
from actfor.store import Database
from actfor.wire.tiles import Tile

KEY = str(SIGNER.verifier)
YEAR = 365 * 24 * 3600.0
WEEK = 7 * 24 * 3600.0


@pytest.fixture
async def log(database: Database, clock: Clock) -> AuditLog:
    """600 entries of a year ago, 200 of now."""
    log = open_log(database, clock)
    grow(database, log, 600)
    await log.checkpoint()
    clock.advance(YEAR)
    grow(database, log, 200)
    await log.checkpoint()
    return log


async def test_old_entries_are_refused_in_whole_bundles(log: AuditLog, clock: Clock) -> None:
    done = await log.prune(clock.now() - timedelta(days=200), by="usr_ann")
    assert (done.minimum, done.deleted) == (512, 0)
    for n in (0, 1):
        with pytest.raises(Refused, match="were pruned"):
            await log.tile(Tile(None, n))
        assert len(await log.tile(Tile(0, n))) == 8192
    assert await log.tile(Tile(None, 2))
    with pytest.raises(Refused, match="event 511 was pruned") as refused:
        await log.prove(511)
    assert refused.value.kind is Kind.NOT_FOUND
    assert verify_receipt((await log.prove(512)).text(), KEY).entry.seq == 512
    (told,) = await log.search(type="prune")
    assert told.facts == {"action": "entries-refused", "minimum_index": 512}
    assert (await log.verify()).ok


@pytest.mark.parametrize("days", [0, 100, 182])
async def test_the_retention_is_kept(log: AuditLog, clock: Clock, days: int) -> None:
    with pytest.raises(Refused, match="kept for 183 days") as refused:
        await log.prune(clock.now() - timedelta(days=days), by="usr_ann")
    assert refused.value.kind is Kind.CONFLICT
    assert await log.tile(Tile(None, 0))


async def test_pruning_twice_says_it_once(log: AuditLog, clock: Clock) -> None:
    before = clock.now() - timedelta(days=200)
    for _ in range(2):
        assert (await log.prune(before, by="usr_ann")).minimum == 512
    # An earlier date takes nothing back.
    assert (await log.prune(before - timedelta(days=400), by="usr_ann")).minimum == 512
    assert len(await log.search(type="prune")) == 1


async def test_what_is_refused_is_deleted_a_week_later(
    database: Database, log: AuditLog, clock: Clock, tmp_path: Path
) -> None:
    old_receipt = (await log.prove(5)).text()
    kept = await log.checkpoint()
    before = clock.now() - timedelta(days=200)
    await log.prune(before, by="usr_ann")
    clock.advance(WEEK - 1)
    with pytest.raises(Refused, match="7 days later at the earliest"):
        await log.prune(before, by="usr_ann", delete=True)
    clock.advance(2)
    done = await log.prune(before, by="usr_ann", delete=True)
    assert (done.minimum, done.deleted) == (512, 512)
    assert [event.facts["action"] for event in await log.search(type="prune")] == [
        "entries-deleted",
        "entries-refused",
    ]
    # The log goes on: it opens, verifies, proves, and continues what was signed before.
    grow(database, log, 300)
    await log.start(kept)
    report = await log.verify()
    assert report.ok, report.problems
    assert report.pruned == 512
    assert verify_database(tmp_path / "actfor.db", KEY, checkpoint=kept)["pruned below"] == 512
    assert await log.consistency(10, 1000)
    assert verify_receipt(old_receipt, KEY).entry.seq == 5
    assert verify_receipt((await log.prove(600)).text(), KEY).entry.seq == 600
    with pytest.raises(Refused, match="was pruned"):
        await log.prove(5)
    with pytest.raises(Refused, match="no event"):
        await log.event(5)


async def test_a_pruned_log_is_mirrored_and_verified(
    log: AuditLog, clock: Clock, tmp_path: Path
) -> None:
    kept = await log.checkpoint()
    folder, early = tmp_path / "log", tmp_path / "early"
    mirror(Served(log), early, KEY)
    await log.prune(clock.now() - timedelta(days=200), by="usr_ann")
    await log.checkpoint()
    assert mirror(Served(log), folder, KEY).pruned == 512
    verified = verify_export(folder, KEY, checkpoint=kept)
    assert (verified.pruned, verified.summary()["pruned below"]) == (512, 512)
    # Who mirrored before has them still, and goes on.
    mirror(Served(log), early, KEY)
    assert verify_export(early, KEY).pruned == 0


async def test_entries_that_the_log_did_not_prune_may_not_be_missing(
    log: AuditLog, tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    mirror(Served(log), folder, KEY)
    (folder / "tile/entries/000").unlink()
    with pytest.raises(Refused, match="entries below 256 are missing"):
        verify_export(folder, KEY)
    (folder / "tile/entries/002").unlink()
    with pytest.raises(Refused, match="`tile/entries/002` is missing"):
        verify_export(folder, KEY)


async def test_rows_deleted_by_hand_are_missing_not_pruned(
    database: Database, log: AuditLog
) -> None:
    import sqlalchemy as sa

    database.write_sync(lambda tx: tx.changed(sa.text("DELETE FROM log_leaf WHERE idx < 256")))
    report = await log.verify()
    assert report.problems[0] == "entry 0 is missing"
