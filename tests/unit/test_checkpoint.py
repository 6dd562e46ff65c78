"""Signed notes, checkpoints, log proofs and tile paths: C2SP, to the byte."""

import json
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfor.errors import Kind, Refused
from actfor.wire.checkpoint import Checkpoint, LogProof
from actfor.wire.note import NoteSigner, NoteVerifier
from actfor.wire.tiles import Tile, decode_entries, encode_entries, tiles_of

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "log.json").read_text())
NOTE = VECTORS["note"]
# A key of this test alone, fixed because it names the cases below.
SIGNER = NoteSigner.from_text(
    "PRIVATE+KEY+log.example/one+9a4f8d8a+AYofY5DZmDaGttwxAPO3GnWlVX5whH/qrSgfRPMusftN"
)
HEAD = Checkpoint("log.example/one", 7, bytes(range(32)))
SIGNED = SIGNER.sign(HEAD.text())


def test_the_published_note_is_made_and_verified() -> None:
    signer = NoteSigner.from_text(NOTE["signer"])
    assert str(signer.verifier) == NOTE["verifier"]
    note = signer.sign(NOTE["text"])
    assert note == NOTE["text"] + "\n" + NOTE["signature"]
    assert NoteVerifier.parse(NOTE["verifier"]).verify(note) == NOTE["text"]


@pytest.mark.parametrize("key", VECTORS["verifier_keys"])
def test_published_verifier_keys_are_read(key: str) -> None:
    assert str(NoteVerifier.parse(key)) == key


def test_a_signer_key_survives_its_text_form() -> None:
    assert str(NoteSigner.from_text(SIGNER.to_text()).verifier) == str(SIGNER.verifier)


def test_a_checkpoint_reads_as_it_was_signed() -> None:
    assert Checkpoint.verified(SIGNED, SIGNER.verifier) == HEAD
    assert SIGNED.split("\n")[:2] == ["log.example/one", "7"]


def test_signatures_of_unknown_keys_are_ignored_and_ours_is_still_required() -> None:
    witness = NoteSigner.generate("witness.example").sign(HEAD.text()).split("\n\n")[1]
    assert Checkpoint.verified(SIGNED + witness, SIGNER.verifier) == HEAD
    with pytest.raises(Refused, match="not signed by the trusted key"):
        Checkpoint.verified(HEAD.text() + "\n" + witness, SIGNER.verifier)


def test_a_key_of_the_same_name_is_another_key() -> None:
    impostor = NoteSigner.generate("log.example/one")
    with pytest.raises(Refused) as refused:
        Checkpoint.verified(impostor.sign(HEAD.text()), SIGNER.verifier)
    assert refused.value.kind is Kind.DENIED


def test_a_good_signature_does_not_excuse_a_bad_one_of_the_same_key() -> None:
    line = SIGNED.split("\n\n")[1]
    raw = bytearray(b64decode(line.split(" ")[2]))
    raw[-1] ^= 1
    bad = " ".join([*line.split(" ")[:2], b64encode(raw).decode()]) + "\n"
    with pytest.raises(Refused, match="does not verify"):
        Checkpoint.verified(SIGNED + bad, SIGNER.verifier)


@given(st.integers(0, len(SIGNED.encode()) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(at: int, by: int) -> None:
    data = bytearray(SIGNED.encode())
    data[at] ^= by
    try:
        text = bytes(data).decode()
    except UnicodeDecodeError:
        return
    with pytest.raises(Refused):
        Checkpoint.verified(text, SIGNER.verifier)


@given(st.integers(0, len(SIGNED) - 1))
def test_no_cut_note_is_accepted(end: int) -> None:
    with pytest.raises(Refused):
        Checkpoint.verified(SIGNED[:end], SIGNER.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "log.example/two\n7\n" + b64encode(bytes(32)).decode() + "\n",
        "log.example/one\n07\n" + b64encode(bytes(32)).decode() + "\n",
        "log.example/one\n-1\n" + b64encode(bytes(32)).decode() + "\n",
        "log.example/one\n\u0667\n" + b64encode(bytes(32)).decode() + "\n",
        "log.example/one\n7\n" + b64encode(bytes(31)).decode() + "\n",
        "log.example/one\n7\nAAAA\n",
        "log.example/one\n7\n",
        "log.example/one\n7\n" + b64encode(bytes(32)).decode() + "\n\nextension\n",
        "just words\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_of_this_log_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        Checkpoint.verified(SIGNER.sign(text), SIGNER.verifier)


def test_extension_lines_are_ignored() -> None:
    note = SIGNER.sign(HEAD.text() + "extension 1\n")
    assert Checkpoint.verified(note, SIGNER.verifier) == HEAD


@pytest.mark.parametrize(
    "key",
    [
        "",
        "name",
        "name+00000000+AAAA",
        str(SIGNER.verifier).replace("log.example", "log.examp1e"),
        str(SIGNER.verifier)[:-4] + "AAA=",
        str(SIGNER.verifier).replace("+", " "),
        "a b" + str(SIGNER.verifier).removeprefix("log.example/one"),
        VECTORS["note"]["signer"],
    ],
)
def test_a_damaged_verifier_key_is_refused(key: str) -> None:
    with pytest.raises(Refused) as refused:
        NoteVerifier.parse(key)
    assert refused.value.kind is Kind.MALFORMED


@pytest.mark.parametrize(
    "text",
    ["", NOTE["verifier"], NOTE["signer"][:-2], NOTE["signer"].replace("c74f20a3", "c74f20a4")],
)
def test_a_damaged_signer_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(Refused) as refused:
        NoteSigner.from_text(text)
    assert "AYEK" not in refused.value.detail


def test_key_names_cannot_break_the_note() -> None:
    for name in ["", "two words", "plus+", "line\nbreak", "non\u00a0break"]:
        with pytest.raises(Refused):
            NoteSigner.generate(name)


@given(st.integers(0, 2**53), st.lists(st.binary(min_size=32, max_size=32), max_size=20))
def test_a_log_proof_reads_as_it_was_written(index: int, path: list[bytes]) -> None:
    proof = LogProof(index, tuple(path), SIGNED)
    assert LogProof.parse(proof.text()) == proof
    with_extra = LogProof(index, tuple(path), SIGNED, b"\x00extra")
    assert LogProof.parse(with_extra.text()) == with_extra


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@v1", "@v2"),
        ("index 5", "index 05"),
        ("index 5", "index -5"),
        ("index 5", "5"),
        ("index 5\n", ""),
        ("index 5", "extra !!\nindex 5"),
        ("\nAAAA", "\nAAA"),
        ("=\n\n", "=\nAAAA\n\n"),
    ],
)
def test_a_log_proof_in_another_form_is_refused(old: str, new: str) -> None:
    text = LogProof(5, (bytes(32),), SIGNED).text()
    assert old in text
    with pytest.raises(Refused):
        LogProof.parse(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(1, 5, 17), "tile/1/005.p/17"),
        (Tile(None, 1000, 1), "tile/entries/x001/000.p/1"),
        (Tile(63, 999), "tile/63/999"),
    ],
)
def test_tile_paths(tile: Tile, path: str) -> None:
    assert tile.path() == path
    assert Tile.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/01",
        "tile/-1/000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/000/",
        "tile/0/../0/000",
        "tile/entries/000\n",
        "tile/0/" + "x001/" * 20 + "001",
    ],
)
def test_there_is_one_spelling_of_each_tile(path: str) -> None:
    with pytest.raises(Refused) as refused:
        Tile.parse(path)
    assert refused.value.kind is Kind.NOT_FOUND


def test_the_tiles_of_the_specifications_example() -> None:
    # tlog-tiles, Partial Tiles: the tree of 70,000 entries
    tiles = [tile for tile in tiles_of(70_000) if tile.level is not None]
    by_level = {level: [t for t in tiles if t.level == level] for level in (0, 1, 2)}
    assert len(by_level[0]) == 274
    assert by_level[0][-1].width == 112
    assert [t.width for t in by_level[1]] == [256, 17]
    assert [t.width for t in by_level[2]] == [1]
    assert [t.path() for t in tiles_of(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    assert list(tiles_of(0)) == []


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.integers(1, 30))
def test_a_bundle_reads_as_it_was_written_and_not_when_cut(entries: list[bytes], cut: int) -> None:
    bundle = encode_entries(entries)
    assert decode_entries(bundle, len(entries)) == entries
    with pytest.raises(Refused):
        decode_entries(bundle[:-cut], len(entries))
    with pytest.raises(Refused):
        decode_entries(bundle, len(entries) + 1)
