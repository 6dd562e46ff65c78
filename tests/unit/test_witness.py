"""Witnesses, both ways: real processes cosign a real log, and refuse every second history of it."""

import asyncio
import itertools
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from tests.conftest import Clock
from tests.fakes.audit_log import ORIGIN, SIGNER, grow, open_log
from tests.fakes.oracle import ask, independent
from tests.fakes.witness_process import make, running

from actfor.audit import AuditLog, Cosigner, Witnessing
from actfor.audit.witnesses import FolderWitness, HttpWitness, witnesses_of
from actfor.errors import Kind, Refused
from actfor.sdk.receipt import verify_receipt
from actfor.sdk.witness import Keeper, WitnessServer
from actfor.store import Database
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.note import Note
from actfor.wire.tlog_policy import Policy
from actfor.wire.witness import AddCheckpoint, WitnessRefusal

KEY = str(SIGNER.verifier)


@pytest.fixture
def log(database: Database, clock: Clock) -> AuditLog:
    return open_log(database, clock)


@pytest.fixture
def keepers(tmp_path: Path) -> list[Keeper]:
    return [make(tmp_path / f"w{n}", f"witness.example/w{n}", KEY) for n in range(3)]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Keeper], str]]:
    """Serve a keeper from a thread of this process; its URL."""
    with ExitStack() as stack:

        def start(keeper: Keeper) -> str:
            server = stack.enter_context(WitnessServer(keeper, "127.0.0.1", 0))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}"

        yield start


def policy_text(keepers: list[Keeper], urls: list[str], threshold: int = 2) -> str:
    # The second witness is known by its ML-DSA-44 key, the others by Ed25519.
    lines = [
        f"witness w{n} {keeper.verifiers[n == 1]} {url}"
        for n, (keeper, url) in enumerate(zip(keepers, urls, strict=True))
    ]
    names = " ".join(f"w{n}" for n in range(len(keepers)))
    return "\n".join([f"log {KEY}", *lines, f"group g {threshold} {names}", "quorum g"])


def head(note: str | None) -> Checkpoint:
    return Checkpoint.parse(Note.parse(note or "").text)


Watch = Callable[[Database, Policy], tuple[AuditLog, Witnessing]]


@pytest.fixture
async def witnessed(clock: Clock) -> AsyncIterator[Watch]:
    """A log with its witnesses, as one node has them."""
    loops = []

    def make(database: Database, policy: Policy) -> tuple[AuditLog, Witnessing]:
        log = AuditLog(database, SIGNER, ORIGIN, clock.now, policy=policy)
        loop = Witnessing(database, log.policy, witnesses_of(policy), log.consistency)
        loops.append(loop)
        return log, loop

    yield make
    for loop in loops:
        await loop.close()


async def test_real_witnesses_cosign_what_is_published(
    database: Database, clock: Clock, keepers: list[Keeper], tmp_path: Path, witnessed: Watch
) -> None:
    with ExitStack() as stack:
        made = [stack.enter_context(running(tmp_path / f"w{n}")) for n in range(3)]
        text = policy_text(keepers, [url for url, _ in made])
        policy = Policy.parse(text)
        log, loop = witnessed(database, policy)
        for size in (3, 300):
            grow(database, log, size)
            await log.checkpoint()
            await loop.round()
        note = await log.latest_checkpoint() or ""
        assert policy.verify(note).cosigned.keys() == {"w0", "w1", "w2"}
        assert head(note).size == 303
        receipt = (await log.prove(257)).text()
        assert verify_receipt(receipt, text).entry.seq == 257
        # One is killed: two are a quorum. Another: the last published checkpoint stays.
        made[0][1].kill()
        grow(database, log, 5)
        await log.checkpoint()
        await loop.round()
        assert policy.verify(await log.latest_checkpoint() or "").cosigned.keys() == {"w1", "w2"}
        made[1][1].kill()
        grow(database, log, 5)
        signed = await log.checkpoint()
        await loop.round()
        assert head(await log.latest_checkpoint()).size == 308
        assert head(signed).size == 313
        assert "cannot be reached" in loop.states()["w0"]
        # What is not cosigned yet has a receipt that whoever demands the quorum refuses.
        fresh = (await log.prove(310)).text()
        assert verify_receipt(fresh, KEY).entry.seq == 310
        with pytest.raises(Refused, match="quorum `g`"):
            verify_receipt(fresh, text)
    # Restarted after a SIGKILL, they remember, and go on.
    with ExitStack() as stack:
        urls = [stack.enter_context(running(tmp_path / f"w{n}"))[0] for n in range(3)]
        log, loop = witnessed(database, Policy.parse(policy_text(keepers, urls)))
        await loop.compare()
        assert head(await log.latest_checkpoint()).size == 313


@independent
async def test_an_independent_implementation_accepts_the_cosigned_checkpoint(
    database: Database, clock: Clock, keepers: list[Keeper], serve: Callable[[Keeper], str]
) -> None:
    policy = Policy.parse(policy_text(keepers, [serve(keeper) for keeper in keepers]))
    own = Cosigner.generate(ORIGIN, post_quantum=True)
    log = AuditLog(database, SIGNER, ORIGIN, clock.now, cosigner=own, policy=policy)
    loop = Witnessing(database, log.policy, witnesses_of(policy), log.consistency)
    grow(database, log, 10)
    await log.checkpoint()
    await loop.round()
    await loop.close()
    keys = [KEY, str(own.verifier), *(str(key) for keeper in keepers for key in keeper.verifiers)]
    answer = ask(do="note", note=await log.latest_checkpoint(), keys=keys)
    # Both keys of the log; of each witness the one that the policy names.
    assert answer["signed"] == [
        f"{ORIGIN}/1",
        f"{ORIGIN}/6",
        "witness.example/w0/4",
        "witness.example/w1/6",
        "witness.example/w2/4",
    ]


async def test_a_restored_backup_is_recognised_by_a_witness(
    database: Database,
    clock: Clock,
    keepers: list[Keeper],
    serve: Callable[[Keeper], str],
    tmp_path: Path,
    witnessed: Watch,
) -> None:
    policy = Policy.parse(policy_text(keepers[:1], [serve(keepers[0])], 1))
    log, loop = witnessed(database, policy)
    grow(database, log, 10)
    await log.checkpoint()
    backup = copy_of(tmp_path / "backup.db", clock)
    grow(database, log, 10)
    await log.checkpoint()
    await loop.round()
    old, old_loop = witnessed(backup, policy)
    with pytest.raises(Refused, match=r"cosigned 20 entries; this log has 10") as refused:
        await old_loop.compare()
    assert refused.value.kind is Kind.CONFLICT
    # Grown past what the witness saw, it still is another log.
    grow(backup, old, 15)
    await old.checkpoint()
    again = witnessed(backup, policy)[1]
    with pytest.raises(Refused, match="saw entries that this log does not have"):
        await again.compare()
    # The honest one goes on.
    grow(database, log, 1)
    await log.checkpoint()
    await loop.compare()
    assert keepers[0].latest(ORIGIN) == head(await log.latest_checkpoint())
    await backup.close()


async def test_of_two_histories_of_one_size_a_witness_cosigns_one(
    database: Database,
    clock: Clock,
    keepers: list[Keeper],
    serve: Callable[[Keeper], str],
    tmp_path: Path,
    witnessed: Watch,
) -> None:
    policy = Policy.parse(policy_text(keepers[:1], [serve(keepers[0])], 1))
    log, loop = witnessed(database, policy)
    grow(database, log, 10)
    await log.checkpoint()
    await loop.round()
    copy = copy_of(tmp_path / "copy.db", clock)
    second, second_loop = witnessed(copy, policy)
    for one, its in ((log, database), (second, copy)):
        grow(its, one, 3)
        await one.checkpoint()
    await loop.compare()
    with pytest.raises(Refused, match="another tree of size 13"):
        await second_loop.compare()
    assert second_loop.misfit is not None
    assert head(await second.latest_checkpoint()).size == 10
    await copy.close()


async def test_another_node_that_is_ahead_is_no_misfit(
    database: Database,
    clock: Clock,
    keepers: list[Keeper],
    serve: Callable[[Keeper], str],
    witnessed: Watch,
) -> None:
    policy = Policy.parse(policy_text(keepers[:1], [serve(keepers[0])], 1))
    (log, one), (_, two) = witnessed(database, policy), witnessed(database, policy)
    for _ in range(4):
        grow(database, log, 7)
        await log.checkpoint()
        await one.compare()
        await two.compare()
    assert (one.misfit, two.misfit) == (None, None)


async def test_a_witness_that_lies_about_its_size_is_a_misfit_not_a_loop(
    database: Database,
    clock: Clock,
    keepers: list[Keeper],
    serve: Callable[[Keeper], str],
    witnessed: Watch,
) -> None:
    url = serve(keepers[0])
    stranger = Policy.parse(policy_text([keepers[1]], [url], 1).replace(" w1 ", " w0 "))
    log, loop = witnessed(database, stranger)
    grow(database, log, 2)
    await log.checkpoint()
    await loop.round()
    assert "did not cosign" in loop.states()["w0"]
    assert head(await log.latest_checkpoint()).size == 2


async def test_files_carried_by_hand_complete_a_quorum(
    database: Database,
    clock: Clock,
    keepers: list[Keeper],
    serve: Callable[[Keeper], str],
    tmp_path: Path,
    witnessed: Watch,
) -> None:
    drop = tmp_path / "drop"
    urls = [serve(keepers[0]), f"file://{drop}"]
    policy = Policy.parse(policy_text(keepers[:2], urls))
    log, loop = witnessed(database, policy)
    for expected in (4, 8):
        grow(database, log, 4)
        await log.checkpoint()
        await loop.round()
        asked = (drop / "add-checkpoint").read_text()
        # Meanwhile the log grows, and the witness on the line cosigns that.
        grow(database, log, 4)
        await log.checkpoint()
        await loop.round()
        (drop / "cosignatures").write_text(keepers[1].add_checkpoint(asked, 1_800_000_000))
        await loop.round()
        note = await log.latest_checkpoint() or ""
        assert policy.verify(note).checkpoint.size == expected
        await loop.round()


async def test_a_carried_note_that_is_not_of_this_log_is_not_published(
    database: Database, clock: Clock, keepers: list[Keeper], tmp_path: Path, witnessed: Watch
) -> None:
    drop = tmp_path / "drop"
    policy = Policy.parse(policy_text(keepers[:1], [f"file://{drop}"], 1))
    log, loop = witnessed(database, policy)
    grow(database, log, 4)
    await log.checkpoint()
    drop.mkdir()
    forged = AddCheckpoint(0, (), SIGNER.sign(Checkpoint(ORIGIN, 3, b"f" * 32).text())).text()
    (drop / "add-checkpoint").write_text(forged)
    (drop / "cosignatures").write_text(keepers[0].add_checkpoint(forged, 1_800_000_000))
    with pytest.raises(Refused, match="not this log's"):
        await loop.round()
    assert head(await log.latest_checkpoint()).size == 4


def copy_of(path: Path, clock: Clock) -> Database:
    """The database as a thief or a backup has it."""
    with (
        closing(sqlite3.connect(path.parent / "actfor.db")) as source,
        closing(sqlite3.connect(path)) as target,
    ):
        source.backup(target)
    return Database.open(f"sqlite:///{path}", clock=clock.now)


# -- the keeper ------------------------------------------------------------------------------


def body(note: str, old: int = 0) -> str:
    return AddCheckpoint(old, (), note).text()


def first(size: int) -> str:
    return SIGNER.sign(Checkpoint(ORIGIN, size, bytes([size]) * 32).text())


def test_a_witness_keeps_its_keys_to_itself(tmp_path: Path) -> None:
    keeper = make(tmp_path / "w", "w.example", KEY)
    with pytest.raises(Refused, match="holds a witness already"):
        Keeper.create(tmp_path / "w", "other.example")
    assert Keeper.open(tmp_path / "w").verifiers == keeper.verifiers
    (tmp_path / "w" / "witness.key").chmod(0o640)
    with pytest.raises(Refused, match="readable by others"):
        Keeper.open(tmp_path / "w")
    with pytest.raises(Refused, match="holds no witness"):
        Keeper.open(tmp_path / "nowhere")


def test_a_witness_watches_logs_only(tmp_path: Path) -> None:
    keeper = make(tmp_path / "w", "w.example", KEY)
    keeper.trust(KEY)
    assert [str(key) for key in keeper.logs()[ORIGIN]] == [KEY]
    with pytest.raises(Refused, match="but a witness's"):
        keeper.trust(str(keeper.verifiers[0]))


def test_a_damaged_record_is_not_cosigned_over(tmp_path: Path) -> None:
    keeper = make(tmp_path / "w", "w.example", KEY)
    keeper.add_checkpoint(body(first(5)), 1)
    (record,) = (tmp_path / "w" / "state").iterdir()
    record.write_text("")
    with pytest.raises(Refused, match="is damaged"):
        keeper.add_checkpoint(body(first(6)), 2)


def test_of_many_first_checkpoints_at_once_one_is_cosigned(tmp_path: Path) -> None:
    keeper = make(tmp_path / "w", "w.example", KEY)
    won, lost = [], []

    def race(n: int) -> None:
        try:
            keeper.add_checkpoint(body(first(n)), 1)
            won.append(n)
        except WitnessRefusal as refusal:
            lost.append(refusal.status)

    threads = [threading.Thread(target=race, args=(n + 1,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latest = keeper.latest(ORIGIN)
    assert latest is not None
    assert won == [latest.size]
    assert set(lost) == {409}
    assert len(lost) == 15


def test_the_witness_answers_over_http_as_specified(
    tmp_path: Path, serve: Callable[[Keeper], str]
) -> None:
    keeper = make(tmp_path / "w", "w.example", KEY)
    with httpx2.Client(base_url=serve(keeper)) as client:
        given = client.post("/add-checkpoint", content=body(first(5)))
        assert given.status_code == 200
        assert all(line.startswith("— w.example ") for line in given.text.splitlines())
        conflict = client.post("/add-checkpoint", content=body(first(5)))
        assert (conflict.status_code, conflict.text) == (409, "5\n")
        assert conflict.headers["content-type"] == "text/x.tlog.size"
        assert client.post("/add-checkpoint", content="nonsense").status_code == 400
        assert client.post("/add-checkpoint", content=b"\xff\xfe").status_code == 400
        assert client.post("/other", content=body(first(5))).status_code == 404
        assert client.post("/add-checkpoint", content=b"x" * 100_000).status_code == 413
        chunked = client.post("/add-checkpoint", content=iter([b"old 0\n"]))
        assert chunked.status_code == 411
        assert f"log {ORIGIN} 5" in client.get("/").text
        assert client.get("/witness.key").status_code == 404


def test_a_folder_witness_needs_an_absolute_folder() -> None:
    key = Cosigner.generate("w.example").verifier
    for url in ("file:relative", "file://host/path", "file:"):
        with pytest.raises(Refused, match="not an absolute file URL"):
            FolderWitness.at("w", key, url)
    text = f"witness w {key} ftp://w.example\nquorum w"
    with pytest.raises(Refused, match="not an http, https or file URL"):
        witnesses_of(Policy.parse(text))


class Hostile(BaseHTTPRequestHandler):
    """A witness, or whoever sits in its place, that answers what it likes."""

    answer: Callable[[BaseHTTPRequestHandler], None]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).answer(self)

    def log_message(self, *_: object) -> None:
        pass


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    with suppress(OSError):
        handler.wfile.write(body)


_SIZES = itertools.cycle([0, 1, 2])
ANSWERS: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "nonsense": lambda h: _send(h, 200, b"yes, of course\n"),
    "nothing": lambda h: _send(h, 200, b""),
    "not text": lambda h: _send(h, 200, b"\xff\xfe\x00"),
    "endless": lambda h: _send(h, 200, b"\xe2\x80\x94 w x\n" * 40_000),
    "elsewhere": lambda h: _send(h, 307, b"", location="http://127.0.0.1:1/"),
    "conflict without a size": lambda h: _send(h, 409, b"many\n"),
    "conflict with another size each time": lambda h: _send(h, 409, f"{next(_SIZES)}\n".encode()),
    "error": lambda h: _send(h, 500, b"oh\n"),
    "silence": lambda h: time.sleep(1.5),
}


@pytest.mark.parametrize("what", list(ANSWERS))
async def test_a_hostile_witness_changes_nothing_and_ends_soon(
    database: Database, clock: Clock, keepers: list[Keeper], what: str
) -> None:
    handler = type("Handler", (Hostile,), {"answer": staticmethod(ANSWERS[what])})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        policy = Policy.parse(policy_text(keepers[:1], [url], 1))
        log = AuditLog(database, SIGNER, ORIGIN, clock.now, policy=policy)
        asked = HttpWitness("w0", keepers[0].verifiers[0], url, timeout_seconds=1.0)
        loop = Witnessing(database, log.policy, [asked], log.consistency)
        grow(database, log, 3)
        signed = await log.checkpoint()
        async with asyncio.timeout(8):
            await loop.round()
        await loop.close()
        server.shutdown()
    assert await log.latest_checkpoint() == signed
    assert loop.misfit is None
    assert "witness `w0`" in loop.states()["w0"]
