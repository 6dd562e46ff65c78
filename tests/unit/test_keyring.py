"""What an older release left is taken over: key files into rows, payloads in clear into ciphertext."""

import secrets
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.conftest import Clock
from tests.fakes.audit_log import ORIGIN, SIGNER

from actfor.audit import AuditLog, Event, EventType, NoteSigner
from actfor.audit.repository import StoredLeaf, log_payload, log_sealed
from actfor.audit.service.payloads import Reader, _parts, _place
from actfor.errors import Refused
from actfor.keys import Purpose, Vault
from actfor.server import load
from actfor.server.wiring import build
from actfor.store import Database, Tx
from actfor.wire.jose import SigningKey


def old_files(folder: Path) -> dict[Purpose, str]:
    """The key files of a release before keys were rows; the ids or secrets in them."""
    folder.mkdir(parents=True)
    tokens, svids = SigningKey.generate(), SigningKey.generate()
    log, seal = NoteSigner.generate("localhost/log"), secrets.token_hex(32)
    content = {
        "tokens.pem": tokens.to_pem(),
        "svids.pem": svids.to_pem(),
        "log.key": log.to_text().encode(),
        "seal.key": seal.encode(),
    }
    for name, data in content.items():
        (folder / name).touch(0o600)
        (folder / name).write_bytes(data)
    return {
        Purpose.ACCESS_TOKEN: tokens.kid,
        Purpose.SVID: svids.kid,
        Purpose.LOG: str(log.verifier),
        Purpose.SEAL: seal,
    }


async def test_key_files_become_rows_and_are_removed(tmp_path: Path) -> None:
    old = old_files(tmp_path / "keys")
    application = await build(load(mode="dev", data=tmp_path), with_default_policies=True)
    keys = application.services.keys
    assert keys.signers(Purpose.ACCESS_TOKEN)[0].kid == old[Purpose.ACCESS_TOKEN]
    assert keys.signers(Purpose.SVID)[0].kid == old[Purpose.SVID]
    assert str(keys.log_signer().verifier) == old[Purpose.LOG]
    assert keys.secrets(Purpose.SEAL)[0].hex() == old[Purpose.SEAL]
    await application.close()
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {"kek.key", "erasure.key"}
    again = await build(load(mode="dev", data=tmp_path), with_default_policies=True)
    assert again.services.keys.signers(Purpose.SVID)[0].kid == old[Purpose.SVID]
    await again.close()


async def test_a_key_file_that_others_could_read_is_not_taken_over(tmp_path: Path) -> None:
    old_files(tmp_path / "keys")
    (tmp_path / "keys" / "tokens.pem").chmod(0o644)
    with pytest.raises(Refused, match=r"tokens\.pem.*readable by others"):
        await build(load(mode="dev", data=tmp_path), with_default_policies=True)
    assert (tmp_path / "keys" / "tokens.pem").exists()


async def test_payloads_in_clear_are_encrypted_at_the_next_start(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    vault = Vault()
    log = AuditLog(database, SIGNER, ORIGIN, clock.now, vault)
    for n in range(3):
        private = {"person": f"usr_{n}", "note": "Wilhelmina Canary"}
        event = Event(EventType.OUTCOME, f"dec_{n}", {}, private)
        await database.write(lambda tx, event=event: log.append(tx, event))

    def as_it_was(tx: Tx) -> None:
        """The same salts and values, as the table before held them."""
        for index, sealed in tx.run(text("SELECT idx, body FROM log_sealed")):
            found = StoredLeaf(index, b"", sealed, None, None)
            ((key_id, part),) = _parts(sealed)
            cipher = vault.find(tx, key_id)
            assert Reader(tx, vault).open(found).openings
            plain = cipher.open(part, _place(index, 0))  # type: ignore[union-attr] # not erased
            tx.changed(
                log_payload.insert().values(idx=index, salt=plain[:32], body=plain[32:].decode())
            )
        tx.changed(log_sealed.delete())

    await database.write(as_it_was)
    assert (await log.verify()).ok  # what an older release left can be read as it is
    assert (await log.event(1)).private == {"person": "usr_1", "note": "Wilhelmina Canary"}
    await log.start()
    assert await database.read(lambda tx: tx.run(log_payload.select())) == []
    report = await log.verify()
    assert report.ok, report.problems
    assert report.opened == 6
    assert (await log.event(1)).private == {"person": "usr_1", "note": "Wilhelmina Canary"}
    await database.compact(["log_payload"])
    for path in tmp_path.glob("actfor.db*"):
        assert b"Wilhelmina" not in path.read_bytes()
