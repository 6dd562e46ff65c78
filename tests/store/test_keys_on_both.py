"""Keys, sealed payloads and erasure on either database, two nodes beside one PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.conftest import Clock, import_tables
from tests.fakes import postgres

from actfor.audit import AuditLog, Event, EventType
from actfor.errors import Refused
from actfor.keys import KeyService, Purpose, Vault, open_kek
from actfor.server.erasure import TABLES
from actfor.server.keyring import recorder
from actfor.store import Database, Tx
from actfor.wire.log_entry import pseudonym


async def node(url: str, clock: Clock, keys: Path) -> tuple[Database, KeyService, AuditLog]:
    import_tables()
    database = Database.open(url, clock=clock.now)
    vault = Vault(open_kek("file", keys))
    service = KeyService(database, vault, clock.now, log_name="a/log")
    await service.open()
    audit = AuditLog(database, service.log_signer(), "a/log", clock.now, vault)
    await audit.start()
    await service.start(recorder(audit))
    return database, service, audit


@pytest.fixture
async def one(
    database_url: str, clock: Clock, tmp_path: Path
) -> AsyncIterator[tuple[Database, KeyService, AuditLog]]:
    made = await node(database_url, clock, tmp_path)
    yield made
    await made[0].close()


async def test_keys_live_and_die_and_the_log_tells_of_it(
    one: tuple[Database, KeyService, AuditLog],
) -> None:
    database, keys, audit = one
    old = keys.signers(Purpose.ACCESS_TOKEN)[0].kid
    await keys.rotate(Purpose.ACCESS_TOKEN, by="usr_1")
    await keys.revoke(Purpose.ACCESS_TOKEN, by="usr_1", cause="stolen")
    with pytest.raises(Refused, match="revoked"):
        await database.read(lambda tx: keys.check(tx, old))
    await keys.rewrap(by="usr_1", new_kek=True)
    told = [event.type for event in reversed(await audit.search(limit=50))]
    assert told.count("revoke") == 2
    assert told[-1] == "key"
    report = await audit.verify()
    assert report.ok, report.problems
    assert report.opened > 0


async def test_a_person_is_erased_from_the_log(
    one: tuple[Database, KeyService, AuditLog],
) -> None:
    database, _, audit = one
    vault = audit._vault

    def unit(tx: Tx) -> tuple[int, int]:
        private = {"person": "usr_canary", "note": "Wilhelmina"}
        first = audit.append(tx, Event(EventType.OUTCOME, "dec_1", {}, private))
        about = pseudonym("usr_canary")
        leaf = audit.append(tx, Event(EventType.ERASE, about, {"subject": about}))
        assert vault.erase(tx, "usr_canary", leaf)
        return first, leaf

    first, leaf = await database.write(unit)
    await database.compact(TABLES)
    found = await audit.event(first)
    assert (found.private, found.erased_by) == ({}, (leaf,))
    report = await audit.verify()
    assert (report.problems, report.erasures) == ((), {leaf: 1})


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[str]:
    with postgres.shared().database(postgres.migrated()) as url:
        yield url


async def test_two_nodes_have_one_set_of_keys(shared: str, clock: Clock, tmp_path: Path) -> None:
    first, one, _ = await node(shared, clock, tmp_path)
    second, two, log = await node(shared, clock, tmp_path)
    try:
        assert one.signers(Purpose.SVID)[0].kid == two.signers(Purpose.SVID)[0].kid
        old = two.signers(Purpose.SVID)[0].kid
        await one.revoke(Purpose.SVID, by="usr_1", cause="stolen")
        # The other node has the old ring in memory, and still permits nothing with it.
        assert two.signers(Purpose.SVID)[0].kid == old
        with pytest.raises(Refused, match="revoked"):
            await second.write(lambda tx: two.check(tx, old))
        await two.reload()
        assert one.signers(Purpose.SVID)[0].kid == two.signers(Purpose.SVID)[0].kid != old
        await two.advance()  # nothing is due twice
        assert [e.type for e in await log.search(limit=50)].count("revoke") == 1
    finally:
        await first.close()
        await second.close()
