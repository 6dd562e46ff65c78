"""The log's own SQL on SQLite and PostgreSQL: cosigned, pruned, verified, renounced."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.conftest import Clock
from tests.fakes.audit_log import ORIGIN, SIGNER, grow
from tests.fakes.witness_process import make
from tests.unit.test_pruning import WEEK, YEAR

from actfor.audit import AuditLog, NoteSigner, Witnessing
from actfor.audit.witnesses import FolderWitness
from actfor.errors import Refused
from actfor.store import Database, Tx
from actfor.wire.tlog_policy import Policy


async def test_a_log_is_cosigned_pruned_and_renounced(
    database_url: str, clock: Clock, tmp_path: Path
) -> None:
    database = Database.open(database_url, clock=clock.now)
    keeper = make(tmp_path / "w", "w.example", str(SIGNER.verifier))
    key = keeper.verifiers[0]
    policy = Policy.parse(f"witness w {key}\nquorum w\n")
    log = AuditLog(database, SIGNER, ORIGIN, clock.now, policy=policy)
    witness = FolderWitness("w", key, tmp_path / "drop")
    loop = Witnessing(database, log.policy, [witness], log.consistency)
    try:
        for count in (300, 300):
            grow(database, log, count)
            await log.checkpoint()
            await loop.round()
            asked = (tmp_path / "drop" / "add-checkpoint").read_text()
            lines = keeper.add_checkpoint(asked, 1_800_000_000)
            (tmp_path / "drop" / "cosignatures").write_text(lines)
            await loop.round()
            note = await log.latest_checkpoint() or ""
            assert log.policy.verify(note).cosigned == {"w": 1_800_000_000}
        clock.advance(YEAR)
        grow(database, log, 10)
        kept = await log.checkpoint()
        before = clock.now().replace(year=clock.now().year - 1, month=12, day=31)
        assert (await log.prune(before, by="usr_x")).minimum == 512
        clock.advance(WEEK + 1)
        assert (await log.prune(before, by="usr_x", delete=True)).deleted == 512
        await log.start(kept)
        report = await log.verify()
        assert report.ok, report.problems
        assert (report.size, report.pruned) == (612, 512)
        other = NoteSigner.generate("log.example/other")
        await database.write(lambda tx: log.renounce(tx, other, "tried", kept))
        with pytest.raises(Refused, match="another log was signed"):
            await log.checkpoint()
        new = AuditLog(database, other, other.verifier.name, clock.now)
        await new.start()
        assert (await new.verify()).ok
    finally:
        await database.close()


async def test_a_long_read_is_not_cut_off_while_it_goes_on(database_url: str, clock: Clock) -> None:
    """PostgreSQL's readers bound how long statements take together; a verification renews it."""
    database = Database.open(database_url, clock=clock.now)
    log = AuditLog(database, SIGNER, ORIGIN, clock.now)
    try:
        grow(database, log, 200)
        await log.checkpoint()
        waited = 0.0

        def slow(tx: Tx) -> None:
            nonlocal waited
            if not database_url.startswith("postgresql"):
                return
            for _ in range(5):
                tx.go_on()
                tx.run(sa.text("SELECT pg_sleep(0.5)"))
                waited += 0.5

        await database.read(slow)
        assert waited in {0.0, 2.5}
        assert (await log.verify()).ok
    finally:
        await database.close()
