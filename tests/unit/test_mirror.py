"""A copy of the log that verifies as it grows; independent readers accept it; liars are refused."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.conftest import Clock
from tests.fakes.audit_log import ORIGIN, SIGNER, grow, open_log
from tests.fakes.oracle import ask, independent

from actfor.audit import AuditLog, Cosigner
from actfor.audit.offline import verify_database
from actfor.errors import Kind, Refused
from actfor.sdk import standalone
from actfor.sdk.mirror import mirror
from actfor.sdk.receipt import proof_of, verify_export, verify_proof, verify_receipt
from actfor.store import Database
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.tiles import Tile

KEY = str(SIGNER.verifier)
T = TypeVar("T")


@pytest.fixture
def log(database: Database, clock: Clock) -> AuditLog:
    return open_log(database, clock)


class Served:
    """The log as HTTP serves it, each answer as it is when asked; counts the requests."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self.asked: list[str] = []
        self.forged: dict[str, bytes] = {}

    def __call__(self, path: str) -> bytes:
        self.asked.append(path)
        if path in self.forged:
            return self.forged[path]
        if path == "checkpoint":
            return (done(self._log.latest_checkpoint()) or "").encode()
        body: bytes = done(self._log.tile(Tile.parse(path)))
        return body


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that never waits comes to."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("it waits")


@pytest.mark.parametrize("sizes", [(0, 1), (3, 256), (255, 257), (300, 300), (700, 1100), (512, 1100)])  # fmt: skip
async def test_a_mirror_grows_with_the_log(
    database: Database, log: AuditLog, tmp_path: Path, sizes: tuple[int, int]
) -> None:
    served, folder = Served(log), tmp_path / "log"
    first, second = sizes
    grow(database, log, first)
    await log.checkpoint()
    assert mirror(served, folder, KEY).added == first
    grow(database, log, second - first)
    await log.checkpoint()
    served.asked.clear()
    assert mirror(served, folder, KEY).added == second - first
    whole = first // 256
    assert not [path for path in served.asked if path.startswith("tile/entries/000") and whole]
    verified = verify_export(folder, KEY)
    assert verified.checkpoint.size == second
    assert not [path for path in folder.rglob("*") if ".new" in path.name]


@independent
async def test_an_independent_implementation_reads_the_folder_and_the_proofs(
    database: Database, log: AuditLog, tmp_path: Path
) -> None:
    folder, old = tmp_path / "log", []
    for size in (5, 250, 300):
        grow(database, log, size)
        note = await log.checkpoint()
        mirror(Served(log), folder, KEY)
        lines = note.split("\n")
        old.append([int(lines[1]), base64.b64decode(lines[2]).hex()])
    answer = ask(do="log", at=str(folder), key=KEY, old=old)
    assert answer["entries"] == 555
    receipt = (await log.prove(300)).text()
    leaf = verify_receipt(receipt, KEY).entry.encode()
    proved = ask(do="proof", proof=proof_of(receipt), leaf=leaf.hex(), key=KEY)
    assert proved == {"index": 300, "size": 555}
    # And what it is not told is wrong it finds itself.
    bundle = folder / "tile/entries/001"
    bundle.write_bytes(bundle.read_bytes().replace(b'"permit"', b'"denied"', 1))
    assert "error" in ask(do="log", at=str(folder), key=KEY)
    forged = leaf.replace(b"permit", b"denied")
    assert "error" in ask(do="proof", proof=proof_of(receipt), leaf=forged.hex(), key=KEY)


async def test_a_run_that_was_cut_short_is_taken_up_again(
    database: Database, log: AuditLog, tmp_path: Path
) -> None:
    grow(database, log, 1000)
    await log.checkpoint()
    folder = tmp_path / "log"

    class Cut(Served):
        def __call__(self, path: str) -> bytes:
            if len(self.asked) == 5:
                raise ConnectionError
            return super().__call__(path)

    with pytest.raises(ConnectionError):
        mirror(Cut(log), folder, KEY)
    assert not (folder / "checkpoint").exists()
    served = Served(log)
    mirror(served, folder, KEY)
    assert "tile/entries/000" not in served.asked
    assert verify_export(folder, KEY).checkpoint.size == 1000


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("tile/entries/001", "does not continue"),
        ("tile/0/001", "not what the entries make"),
        ("tile/1/000.p/2", "not what the entries make"),
        ("tile/entries/002.p/188", "not what the entries make"),
    ],
)
async def test_what_the_log_did_not_sign_is_not_kept(
    database: Database, log: AuditLog, tmp_path: Path, path: str, why: str
) -> None:
    grow(database, log, 300)
    await log.checkpoint()
    folder = tmp_path / "log"
    mirror(Served(log), folder, KEY)
    grow(database, log, 400)
    await log.checkpoint()
    liar = Served(log)
    honest = liar(path)
    entries = "entries" in path
    old, new = (b'"permit"', b'"denied"') if entries else (honest[:9], bytes(9))
    liar.forged[path] = honest.replace(old, new, 1)
    with pytest.raises(Refused, match=why) as refused:
        mirror(liar, folder, KEY)
    assert refused.value.kind is Kind.DENIED
    # The folder is as it was, and the honest log completes it.
    assert verify_export(folder, KEY).checkpoint.size == 300
    mirror(Served(log), folder, KEY)
    assert verify_export(folder, KEY).checkpoint.size == 700


async def test_a_fork_or_a_cut_of_what_was_copied_is_refused(
    database: Database, log: AuditLog, clock: Clock, tmp_path: Path
) -> None:
    grow(database, log, 300)
    await log.checkpoint()
    folder = tmp_path / "log"
    mirror(Served(log), folder, KEY)
    other = Database.open(f"sqlite:///{tmp_path}/other.db", clock=clock.now)
    fork = open_log(other, clock)
    grow(other, fork, 299)
    await fork.checkpoint()
    with pytest.raises(Refused, match="the log was cut: 299 entries, the folder holds 300"):
        mirror(Served(fork), folder, KEY)
    for size in (1, 300):
        grow(other, fork, size)
        await fork.checkpoint()
        with pytest.raises(Refused, match=r"does not continue|not what|signed root"):
            mirror(Served(fork), folder, KEY)
    assert verify_export(folder, KEY).checkpoint.size == 300
    await other.close()


async def test_a_folder_that_lost_a_tile_says_so(
    database: Database, log: AuditLog, tmp_path: Path
) -> None:
    grow(database, log, 700)
    await log.checkpoint()
    folder = tmp_path / "log"
    mirror(Served(log), folder, KEY)
    grow(database, log, 1)
    await log.checkpoint()
    shutil.rmtree(folder / "tile/1")
    with pytest.raises(Refused, match="has lost `tile/1/000.p/2`"):
        mirror(Served(log), folder, KEY)


# -- .tlog-proof --------------------------------------------------------------------------------


async def test_a_proof_file_proves_its_entry(database: Database, log: AuditLog) -> None:
    grow(database, log, 300)
    receipt = (await log.prove(257)).text()
    text = proof_of(receipt)
    assert text.startswith("c2sp.org/tlog-proof@v1\nextra ")
    verified = verify_proof(text, KEY)
    assert (verified.entry.seq, verified.checkpoint.size) == (257, 300)
    assert "usr_257" not in text
    bare = "\n".join(line for line in text.split("\n") if not line.startswith("extra "))
    with pytest.raises(Refused, match="has no leaf"):
        verify_proof(bare, KEY)
    assert verify_proof(bare, KEY, leaf=verified.entry.encode()).entry == verified.entry
    other = verify_receipt((await log.prove(256)).text(), KEY).entry.encode()
    for forged in (
        text.replace("index 257", "index 256"),
        text.replace(f"{ORIGIN}\n300", f"{ORIGIN}\n301"),
    ):
        with pytest.raises(Refused):
            verify_proof(forged, KEY)
    with pytest.raises(Refused, match="does not lead"):
        verify_proof(bare, KEY, leaf=other)


async def test_a_proof_with_post_quantum_signatures_is_read(
    database: Database, clock: Clock
) -> None:
    own = Cosigner.generate(ORIGIN, post_quantum=True)
    log = AuditLog(database, SIGNER, ORIGIN, clock.now, cosigner=own)
    grow(database, log, 2)
    text = proof_of((await log.prove(1)).text())
    assert log.verifier_key == f"{KEY}\n{own.verifier}"
    assert verify_proof(text, log.verifier_key).entry.seq == 1
    assert verify_proof(text, f"log {KEY}\nwitness pq {own.verifier}\nquorum pq").cosigned


# -- a database file ----------------------------------------------------------------------------


async def test_a_copy_of_the_database_verifies_without_server_and_keys(
    database: Database, log: AuditLog, tmp_path: Path
) -> None:
    grow(database, log, 300)
    kept = await log.checkpoint()
    grow(database, log, 10)
    await log.checkpoint()
    found = verify_database(tmp_path / "actfor.db", KEY, checkpoint=kept)
    assert (found["entries"], found["permits"], found["continues"]) == (310, 310, 300)
    forked = SIGNER.sign(Checkpoint(ORIGIN, 300, b"f" * 32).text())
    with pytest.raises(Refused, match="do not lead to the checkpoint that was kept"):
        verify_database(tmp_path / "actfor.db", KEY, checkpoint=forked)
    with pytest.raises(Refused, match="not signed by the trusted key"):
        verify_database(tmp_path / "actfor.db", str(type(SIGNER).generate(ORIGIN).verifier))


# -- the stand-alone file -----------------------------------------------------------------------

ALONE = Path(standalone.__file__)


def alone(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Copied elsewhere, run without our package."""
    return subprocess.run(
        [sys.executable, "-I", *map(str, arguments)], capture_output=True, text=True, check=False
    )


async def test_the_stand_alone_file_verifies_all_that_we_hand_out(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    own = Cosigner.generate(ORIGIN, post_quantum=True)
    log = AuditLog(database, SIGNER, ORIGIN, clock.now, cosigner=own)
    copy = tmp_path / "verifier.py"
    shutil.copy(ALONE, copy)
    (tmp_path / "vkey").write_text(log.verifier_key)
    (tmp_path / "policy").write_text(f"log {KEY}\nwitness pq {own.verifier}\nquorum pq\n")
    grow(database, log, 200)
    (tmp_path / "kept").write_text(await log.checkpoint())
    grow(database, log, 100)
    receipt = (await log.prove(257)).text()
    (tmp_path / "receipt").write_text(receipt)
    (tmp_path / "x.tlog-proof").write_text(proof_of(receipt))
    mirror(Served(log), tmp_path / "log", KEY)
    for what in ("receipt", "x.tlog-proof", "log"):
        for trust in ("vkey", "policy"):
            done = alone(copy, "--key", tmp_path / trust, tmp_path / what)
            assert done.returncode == 0, done.stderr
    kept = ("--key", KEY, "--checkpoint", tmp_path / "kept")
    done = alone(copy, *kept, tmp_path / "log")
    assert json.loads(done.stdout)["continues"] == 200
    # Changes of any of it.
    wrongs = {
        "receipt": receipt.replace("usr_57", "usr_58"),
        "x.tlog-proof": proof_of(receipt).replace("index 257", "index 256"),
    }
    for what, text in wrongs.items():
        (tmp_path / what).write_text(text)
        assert alone(copy, "--key", KEY, tmp_path / what).returncode == 8
    stranger = str(type(SIGNER).generate(ORIGIN).verifier)
    assert alone(copy, "--key", stranger, tmp_path / "log").returncode == 8
    for path in ("checkpoint", "tile/0/000", "tile/entries/001.p/44", "tile/1/000.p/1"):
        honest = (tmp_path / "log" / path).read_bytes()
        changed = bytearray(honest)
        changed[len(changed) // 2] ^= 1
        (tmp_path / "log" / path).write_bytes(changed)
        done = alone(copy, "--key", tmp_path / "vkey", tmp_path / "log")
        assert (done.returncode, done.stdout) == (8, ""), path
        (tmp_path / "log" / path).write_bytes(honest)
