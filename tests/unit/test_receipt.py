"""Offline: what a receipt and an exported log prove, and each way of lying with them."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes.audit_log import ORIGIN, SIGNER, export, grow, open_log

from actfor.audit import AuditLog, NoteSigner
from actfor.errors import Refused
from actfor.sdk.receipt import verify_export, verify_receipt
from actfor.store import Database
from actfor.wire import merkle
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.log_entry import LogEntry
from actfor.wire.tiles import Tile, decode_entries, encode_entries, tiles_of

KEY = str(SIGNER.verifier)


@pytest.fixture
def log(database: Database, clock: Clock) -> AuditLog:
    return open_log(database, clock)


@pytest.fixture
async def text(database: Database, log: AuditLog) -> str:
    grow(database, log, 300)
    return (await log.prove(257)).text()


async def test_a_receipt_proves_its_event_offline(text: str) -> None:
    verified = verify_receipt(text, KEY)
    assert (verified.entry.seq, verified.checkpoint.size) == (257, 300)
    assert verified.entry.facts["n"] == 257
    assert verified.private == {"person": "usr_257"}
    summary = verified.summary()
    assert summary["not shown"] == []
    assert json.loads(json.dumps(summary))["trace"] == verified.entry.trace


async def test_a_receipt_shows_only_what_it_was_asked_to_reveal(
    database: Database, log: AuditLog
) -> None:
    grow(database, log, 2)
    text = (await log.prove(1, reveal=())).text()
    assert "usr_1" not in text
    verified = verify_receipt(text, KEY)
    assert verified.private == {}
    assert verified.summary()["not shown"] == ["person"]


@pytest.mark.parametrize("index", [-1, 300, 2**70])
async def test_there_is_no_receipt_of_what_did_not_happen(
    text: str, log: AuditLog, index: int
) -> None:
    with pytest.raises(Refused, match="no event"):
        await log.prove(index)


async def test_every_event_of_a_growing_log_has_a_receipt(
    database: Database, log: AuditLog
) -> None:
    for _ in range(4):
        grow(database, log, 130)
        for index in (0, 129, (await log.head()).size - 1):
            assert verify_receipt((await log.prove(index)).text(), KEY).entry.seq == index


async def test_no_changed_character_goes_unnoticed(text: str) -> None:
    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.integers(0, len(text) - 1), st.characters(exclude_categories=["Cs"]))
    def check(at: int, char: str) -> None:
        forged = text[:at] + char + text[at + 1 :]
        try:
            verified = verify_receipt(forged, KEY)
        except Refused:
            return
        # What still verifies says the same: white space between tokens, or an escape.
        assert verified == verify_receipt(text, KEY)

    check()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"effect": "delete"', '"effect": "read"'),
        ('"delete"', '"Delete"'),
        ("usr_257", "usr_258"),
        ("index 257", "index 258"),
        ('"seq": 257', '"seq": 258'),
        ('"actfor/v1"', '"actfor/v2"'),
        ('"person": "', '"human": "'),
        (f"{ORIGIN}\\n300", f"{ORIGIN}\\n301"),
        ('"openings": {', '"openings": {"more": 1, '),
    ],
)
async def test_a_forged_receipt_is_refused(text: str, old: str, new: str) -> None:
    assert old in text
    with pytest.raises(Refused):
        verify_receipt(text.replace(old, new), KEY)


async def test_another_event_under_the_same_proof_is_refused(text: str, log: AuditLog) -> None:
    forged = json.loads(text)
    forged["leaf"] = json.loads((await log.prove(256)).text())["leaf"]
    forged["openings"] = {}
    with pytest.raises(Refused, match="does not lead"):
        verify_receipt(json.dumps(forged), KEY)


async def test_a_receipt_of_another_log_or_key_is_refused(text: str) -> None:
    for name in (ORIGIN, "other.example"):
        with pytest.raises(Refused):
            verify_receipt(text, str(NoteSigner.generate(name).verifier))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "\ud800", "x" * 3_000_000])
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        verify_receipt(text, KEY)


async def test_a_receipt_agrees_with_a_retained_checkpoint_of_its_size(
    text: str, log: AuditLog
) -> None:
    kept = await log.checkpoint()
    assert verify_receipt(text, KEY, checkpoint=kept).entry.seq == 257
    forked = SIGNER.sign(Checkpoint(ORIGIN, 300, b"f" * 32).text())
    with pytest.raises(Refused, match="not the one of the retained"):
        verify_receipt(text, KEY, checkpoint=forked)
    other = SIGNER.sign(Checkpoint(ORIGIN, 299, b"f" * 32).text())
    with pytest.raises(Refused, match="compare with an exported log"):
        verify_receipt(text, KEY, checkpoint=other)


@pytest.fixture
async def exported(database: Database, log: AuditLog, tmp_path: Path) -> Path:
    grow(database, log, 700)
    await export(log, tmp_path / "log")
    return tmp_path / "log"


async def test_an_exported_log_verifies_and_continues_what_was_retained(
    database: Database, log: AuditLog, tmp_path: Path
) -> None:
    kept = {0: await log.checkpoint()}
    for size in (1, 255, 256, 257, 600):
        grow(database, log, size - max(kept))
        kept[size] = await log.checkpoint()
    await export(log, tmp_path / "log")
    assert verify_export(tmp_path / "log", KEY).summary()["entries"] == 600
    for size, note in kept.items():
        report = verify_export(tmp_path / "log", KEY, checkpoint=note)
        assert report.summary()["continues"] == size


async def test_an_empty_log_verifies(log: AuditLog, tmp_path: Path) -> None:
    await export(log, tmp_path / "log")
    assert verify_export(tmp_path / "log", KEY).checkpoint.size == 0


async def test_no_flipped_byte_in_any_file_goes_unnoticed(exported: Path) -> None:
    files = sorted(path for path in exported.rglob("*") if path.is_file())
    assert len(files) == 1 + len(list(tiles_of(700)))

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(files), st.integers(0), st.integers(1, 255))
    def check(path: Path, at: int, by: int) -> None:
        honest = path.read_bytes()
        forged = bytearray(honest)
        forged[at % len(forged)] ^= by
        path.write_bytes(forged)
        try:
            with pytest.raises(Refused):
                verify_export(exported, KEY)
        finally:
            path.write_bytes(honest)

    check()


async def test_a_changed_entry_is_named(exported: Path) -> None:
    path = exported / "tile/entries/001"
    path.write_bytes(path.read_bytes().replace(b'"n":300,', b'"n":301,'))
    with pytest.raises(Refused, match="entry 300 was changed"):
        verify_export(exported, KEY)


def rewrite(folder: Path, entries: list[bytes], signer: NoteSigner | None) -> None:
    """What a liar with the files (and the key, if given) does: all tiles made anew."""
    hashes = [merkle.leaf_hash(entry) for entry in entries]
    note = (folder / "checkpoint").read_text()
    shutil.rmtree(folder)
    level, nodes = 0, hashes
    for tile in tiles_of(len(entries)):
        start, end = tile.index * 256, tile.index * 256 + tile.width
        if tile.level not in {None, level}:
            level, nodes = (
                level + 1,
                [merkle.root(nodes[at : at + 256]) for at in range(0, len(nodes) - 255, 256)],
            )
        path = folder / tile.path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            encode_entries(entries[start:end]) if tile.level is None else b"".join(nodes[start:end])
        )
    if signer is not None:
        note = signer.sign(Checkpoint(ORIGIN, len(entries), merkle.root(hashes)).text())
    (folder / "checkpoint").write_text(note)


def entries_of(folder: Path) -> list[bytes]:
    widths = [tile for tile in tiles_of(700) if tile.level is None]
    return [
        entry
        for tile in widths
        for entry in decode_entries((folder / tile.path()).read_bytes(), tile.width)
    ]


@pytest.mark.parametrize("how", ["delete middle", "truncate", "swap", "duplicate", "insert"])
async def test_rewritten_files_without_the_key_are_refused(exported: Path, how: str) -> None:
    entries = entries_of(exported)
    changed = {
        "delete middle": entries[:300] + entries[301:],
        "truncate": entries[:-1],
        "swap": [entries[1], entries[0], *entries[2:]],
        "duplicate": [*entries[:-1], entries[-2]],
        "insert": [*entries[:300], b"{}", *entries[300:]],
    }[how]
    rewrite(exported, changed, signer=None)
    with pytest.raises(Refused):
        verify_export(exported, KEY)


async def test_a_cut_log_signed_again_is_refused_by_a_retained_checkpoint(exported: Path) -> None:
    kept = (exported / "checkpoint").read_text()
    rewrite(exported, entries_of(exported)[:650], SIGNER)
    verify_export(exported, KEY)  # its own signature cannot show it
    with pytest.raises(Refused, match=r"the log was cut: 650 entries, the retained .* 700"):
        verify_export(exported, KEY, checkpoint=kept)


async def test_a_fork_signed_by_the_log_itself_is_refused_by_a_retained_checkpoint(
    exported: Path,
) -> None:
    kept = (exported / "checkpoint").read_text()
    entries = entries_of(exported)
    forged = entries[5].replace(b'"permit"', b'"denied"')
    more = LogEntry(700, "evt_x", "admin", 0, "t", {}, {}).encode()
    rewrite(exported, [*entries[:5], forged, *entries[6:], more], SIGNER)
    verify_export(exported, KEY)
    with pytest.raises(Refused, match="not the one of the retained checkpoint"):
        verify_export(exported, KEY, checkpoint=kept)


async def test_a_missing_file_is_named(exported: Path) -> None:
    (exported / Tile(0, 1).path()).unlink()
    with pytest.raises(Refused, match="`tile/0/001` is missing"):
        verify_export(exported, KEY)
