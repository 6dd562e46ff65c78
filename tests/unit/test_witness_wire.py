"""Cosignatures, policies and the add-checkpoint exchange: C2SP, from the attacker's side too."""

import json
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.oracle import ask, independent
from tests.vectors import make_witness_vectors

from actfor.errors import Kind, Refused
from actfor.sdk.receipt import verify_proof
from actfor.wire import merkle
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.note import Cosigner, Note, NoteSigner, NoteVerifier
from actfor.wire.tlog_policy import Policy
from actfor.wire.witness import (
    AddCheckpoint,
    WitnessRefusal,
    cosignatures,
    require_growth,
    require_signed,
)

ORIGIN = "log.example/one"
LOG = NoteSigner.generate(ORIGIN)
LOG_PQ = Cosigner.generate(ORIGIN, post_quantum=True)
WITNESSES = [Cosigner.generate(f"witness.example/w{n}", post_quantum=bool(n % 2)) for n in range(4)]
LEAVES = [merkle.leaf_hash(bytes([n])) for n in range(40)]
NOW = 1_800_000_000


def head(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, merkle.root(LEAVES[:size]))


def proof(old: int, new: int) -> tuple[bytes, ...]:
    def node(level: int, index: int) -> bytes:
        return merkle.root(LEAVES[index << level : (index + 1) << level])

    return tuple(merkle.prove_consistency(old, new, node))


SIGNED = LOG.sign(head(7).text())


def cosigned(*witnesses: Cosigner, note: str = SIGNED) -> str:
    return note + "".join(witness.cosign(head(7).text(), NOW) for witness in witnesses)


@pytest.mark.parametrize("cosigner", WITNESSES[:2], ids=["ed25519", "ml-dsa-44"])
def test_a_cosignature_names_its_time(cosigner: Cosigner) -> None:
    assert cosigner.verifier.signed_at(Note.parse(cosigned(cosigner))) == NOW
    assert cosigner.verifier.signed_at(Note.parse(SIGNED)) is None


@pytest.mark.parametrize("cosigner", WITNESSES[:2], ids=["ed25519", "ml-dsa-44"])
def test_keys_survive_their_text_forms(cosigner: Cosigner) -> None:
    again = Cosigner.from_text(cosigner.to_text())
    assert again.verifier == cosigner.verifier == NoteVerifier.parse(str(cosigner.verifier))
    with pytest.raises(Refused):
        NoteSigner.from_text(cosigner.to_text())
    with pytest.raises(Refused):
        Cosigner.from_text(LOG.to_text())


@pytest.mark.parametrize("cosigner", WITNESSES[:2], ids=["ed25519", "ml-dsa-44"])
def test_no_changed_byte_of_a_cosignature_goes_unnoticed(cosigner: Cosigner) -> None:
    note = cosigned(cosigner)
    line = note.splitlines()[-1]
    raw = b64decode(line.split(" ")[2])

    @settings(max_examples=40, deadline=None)
    @given(st.integers(4, len(raw) - 1), st.integers(1, 255))
    def check(at: int, by: int) -> None:
        forged = bytearray(raw)
        forged[at] ^= by
        changed = " ".join([*line.split(" ")[:2], b64encode(forged).decode()])
        with pytest.raises(Refused):
            cosigner.verifier.signed_at(Note.parse(note.replace(line, changed)))

    check()


@pytest.mark.parametrize("cosigner", WITNESSES[:2], ids=["ed25519", "ml-dsa-44"])
def test_a_cosignature_is_of_one_checkpoint(cosigner: Cosigner) -> None:
    other = Checkpoint(ORIGIN, 7, b"f" * 32)
    note = LOG.sign(other.text()) + cosigner.cosign(head(7).text(), NOW)
    with pytest.raises(Refused, match="does not verify"):
        cosigner.verifier.signed_at(Note.parse(note))


@independent
def test_an_independent_implementation_accepts_every_kind_of_signature() -> None:
    note = cosigned(LOG_PQ, *WITNESSES)
    keys = [str(key.verifier) for key in (LOG, LOG_PQ, *WITNESSES)]
    answer = ask(do="note", note=note, keys=keys)
    assert (answer["origin"], answer["size"]) == (ORIGIN, 7)
    assert answer["signed"] == sorted(
        [
            f"{ORIGIN}/1",
            f"{ORIGIN}/6",
            *(f"witness.example/w{n}/{6 if n % 2 else 4}" for n in range(4)),
        ]
    )
    forged = ask(do="note", note=note.replace("\n7\n", "\n8\n"), keys=keys)
    assert forged["signed"] == []


# -- policy ----------------------------------------------------------------------------------


def policy(*lines: str, log: str = str(LOG.verifier)) -> Policy:
    witnesses = [f"witness w{n} {key.verifier}" for n, key in enumerate(WITNESSES)]
    return Policy.parse("\n".join([f"log {log}", *witnesses, *lines]))


TWO_AND_ANY = ("group a 2 w0 w1 w2", "group b any w3", "group c all a b", "quorum c")


def test_a_quorum_of_groups_is_counted() -> None:
    rule = policy(*TWO_AND_ANY)
    seen = rule.verify(cosigned(WITNESSES[0], WITNESSES[2], WITNESSES[3]))
    assert seen.checkpoint == head(7)
    assert seen.cosigned == {"w0": NOW, "w2": NOW, "w3": NOW}
    for too_few in ([0, 1, 2], [0, 3], [3], []):
        with pytest.raises(Refused, match="quorum `c` did not cosign"):
            rule.verify(cosigned(*(WITNESSES[n] for n in too_few)))


def test_one_witness_counts_once_however_often_it_cosigned() -> None:
    line = WITNESSES[0].cosign(head(7).text(), NOW) + WITNESSES[0].cosign(head(7).text(), NOW + 1)
    with pytest.raises(Refused, match="w0 did"):
        policy("group a 2 w0 w1", "quorum a").verify(SIGNED + line)


def test_a_cosignature_without_a_time_does_not_count() -> None:
    with pytest.raises(Refused, match="nobody did"):
        policy("quorum w1").verify(SIGNED + WITNESSES[1].cosign(head(7).text(), 0))


def test_the_logs_own_post_quantum_signature_can_be_required() -> None:
    text = f"log {LOG.verifier}\nwitness pq {LOG_PQ.verifier}\nquorum pq\n"
    with pytest.raises(Refused, match="quorum `pq`"):
        Policy.parse(text).verify(SIGNED)
    assert Policy.parse(text).verify(cosigned(LOG_PQ)).checkpoint == head(7)


def test_the_logs_own_post_quantum_signature_is_verified_when_its_key_is_known() -> None:
    keys = Policy.read(f"{LOG.verifier}\n{LOG_PQ.verifier}\n")
    assert keys.verify(SIGNED).checkpoint == keys.verify(cosigned(LOG_PQ)).checkpoint
    other = LOG_PQ.cosign(head(6).text(), NOW)
    with pytest.raises(Refused, match="does not verify"):
        keys.verify(SIGNED + other)


def test_witnesses_do_not_replace_the_log() -> None:
    note = head(7).text() + "\n" + "".join(w.cosign(head(7).text(), NOW) for w in WITNESSES)
    with pytest.raises(Refused, match="not signed by the trusted key"):
        policy("quorum w0").verify(note)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    note = LOG.sign(Checkpoint("log.example/two", 7, bytes(32)).text())
    with pytest.raises(Refused, match="of another log"):
        policy("quorum none").verify(note)


W0 = str(WITNESSES[0].verifier)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quorum w0",
        "quorum none\nquorum none",
        f"witness none {W0}\nquorum none",
        f"witness a {W0}\nwitness a {WITNESSES[1].verifier}\nquorum a",
        f"witness a {W0}\nwitness b {W0}\nquorum a",
        f"witness a {LOG.verifier}\nquorum a",
        f"log {W0}\nquorum none",
        f"log {LOG.verifier}\nlog {LOG.verifier}\nquorum none",
        f"witness a {W0}\ngroup g 2 a\nquorum g",
        f"witness a {W0}\ngroup g 0 a\nquorum g",
        f"witness a {W0}\ngroup g 01 a\nquorum g",
        f"witness a {W0}\ngroup g any a a\nquorum g",
        f"witness a {W0}\ngroup g any a\ngroup h any a\nquorum h",
        f"group g any a\nwitness a {W0}\nquorum g",
        f"witness a {W0}\ngroup g any\nquorum g",
        f"witness a {W0}\ngroup g any g\nquorum g",
        f"witness a {W0}\ngroup g any none\nquorum g",
        f"witness a {W0}\nquorum a\rquorum none",
        f"witness a {W0[:-4]}\nquorum a",
        f"witness\u00a0a {W0}\nquorum a",
        "mirror a\nquorum none",
    ],
    ids=range(22),  # keys are new in every run
)
def test_a_policy_that_does_not_say_one_thing_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        Policy.parse(text)
    assert refused.value.kind is Kind.MALFORMED


def test_comments_blanks_and_any_names_are_allowed() -> None:
    text = f"# who\n\n \t witness \t Ünïcode#1\t{W0}  https://w.example/ \nquorum Ünïcode#1"
    rule = Policy.parse(text)
    assert rule.witnesses[0].url == "https://w.example/"
    assert rule.satisfied(["Ünïcode#1"])


def test_a_long_chain_of_groups_is_counted_without_recursion() -> None:
    lines = [f"witness g0 {W0}", *(f"group g{n + 1} all g{n}" for n in range(490)), "quorum g490"]
    assert Policy.parse("\n".join(lines)).satisfied(["g0"])


# -- add-checkpoint ---------------------------------------------------------------------------

KNOWN = {ORIGIN: (LOG.verifier,)}


def request(old: int, new: int, **change: object) -> AddCheckpoint:
    values = {"old": old, "proof": proof(old, new), "note": LOG.sign(head(new).text()), **change}
    return AddCheckpoint(**values)  # type: ignore[arg-type]


def status(asked: AddCheckpoint, latest: Checkpoint | None) -> tuple[int, int | None]:
    try:
        checkpoint, _ = require_signed(asked, KNOWN)
        require_growth(asked, checkpoint, latest)
    except WitnessRefusal as refusal:
        return refusal.status, refusal.size
    return 200, None


@given(st.integers(0, 40), st.integers(0, 40))
def test_every_consistent_growth_is_cosigned(one: int, two: int) -> None:
    old, new = sorted((one, two))
    asked = request(old, new)
    assert AddCheckpoint.parse(asked.text()) == asked
    assert status(asked, head(old) if old else None) == (200, None)


@pytest.mark.parametrize(
    ("asked", "latest", "expected"),
    [
        (request(5, 9), head(6), (409, 6)),
        (request(5, 9), None, (409, 0)),
        (request(0, 9), head(9), (409, 9)),
        (request(9, 9), head(9), (200, None)),
        (request(9, 9, note=LOG.sign(Checkpoint(ORIGIN, 9, b"f" * 32).text())), head(9), (409, 9)),
        (request(5, 9, note=LOG.sign(Checkpoint(ORIGIN, 9, b"f" * 32).text())), head(5), (422, None)),
        (request(5, 9, proof=()), head(5), (422, None)),
        (request(5, 9, proof=proof(4, 9)), head(5), (422, None)),
        (request(0, 9, proof=proof(5, 9)), None, (422, None)),
        (request(9, 9, proof=(bytes(32),)), head(9), (422, None)),
        (AddCheckpoint(10, (), LOG.sign(head(9).text())), head(10), (400, None)),
        (request(5, 9, note=NoteSigner.generate(ORIGIN).sign(head(9).text())), head(5), (403, None)),
        (request(5, 9, note=LOG.sign("log.example/two\n9\n" + b64encode(bytes(32)).decode() + "\n")), head(5), (404, None)),
        (request(5, 9, note="nonsense"), head(5), (400, None)),
        (request(5, 9, note=LOG.sign("just\nwords\n")), head(5), (400, None)),
    ],
)  # fmt: skip
def test_a_witness_answers_with_the_specs_codes(
    asked: AddCheckpoint, latest: Checkpoint | None, expected: tuple[int, int | None]
) -> None:
    assert status(asked, latest) == expected


NO_REQUESTS = [
    "",
    "old 5",
    f"old 05\n\n{SIGNED}",
    f"old -1\n\n{SIGNED}",
    f"new 5\n\n{SIGNED}",
    f"old 5\nAAAA\n\n{SIGNED}",
    f"old 5\n*\n\n{SIGNED}",
    f"old \u0665\n\n{SIGNED}",
    "old 5\n" + (b64encode(bytes(32)).decode() + "\n") * 64 + "\n" + SIGNED,
]


@pytest.mark.parametrize("body", NO_REQUESTS, ids=range(len(NO_REQUESTS)))
def test_what_is_no_request_is_refused(body: str) -> None:
    with pytest.raises(WitnessRefusal) as refusal:
        AddCheckpoint.parse(body)
    assert refusal.value.status == 400


def test_of_an_answer_only_the_witness_we_asked_is_believed() -> None:
    ours, other = WITNESSES[0], WITNESSES[1]
    text = head(7).text()
    answer = other.cosign(text, NOW) + ours.cosign(text, NOW)
    assert cosignatures(answer, text, ours.verifier) == [ours.cosign(text, NOW).strip()]
    for bad in ("", "nonsense\n", other.cosign(text, NOW), ours.cosign(head(6).text(), NOW)):
        with pytest.raises(Refused):
            cosignatures(bad, text, ours.verifier)


# -- golden vectors ----------------------------------------------------------------------------

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "witness.json").read_text())


def test_the_golden_vectors_are_made_again_to_the_byte() -> None:
    again = make_witness_vectors.make()
    for name, expected in VECTORS["cosigners"].items():
        made = again["cosigners"][name]  # type: ignore[index] # as it was made
        same = {"key", "message"} if "ml-dsa" in name else expected.keys()  # those are random
        assert {part: made[part] for part in same} == {part: expected[part] for part in same}
    for name in VECTORS.keys() - {"cosigners"}:
        assert again[name] == VECTORS[name]


def test_the_golden_vectors_verify() -> None:
    policy = Policy.parse(
        "\n".join(
            [f"log {VECTORS['log_key']}"]
            + [f"witness {name} {one['key']}" for name, one in VECTORS["cosigners"].items()]
            + ["group all all " + " ".join(VECTORS["cosigners"]), "quorum all"]
        )
    )
    lines = "".join(one["line"] for one in VECTORS["cosigners"].values())
    seen = policy.verify(VECTORS["checkpoint"] + lines)
    assert set(seen.cosigned.values()) == {VECTORS["at"]}
    proved = verify_proof(VECTORS["tlog_proof"], VECTORS["log_key"])
    assert proved.entry.encode().decode() == VECTORS["leaves"][5]
    asked = AddCheckpoint.parse(VECTORS["add_checkpoint"])
    six = merkle.root(merkle.leaf_hash(leaf.encode()) for leaf in VECTORS["leaves"][:6])
    require_growth(asked, seen.checkpoint, Checkpoint("log.example/vectors", 6, six))


@independent
def test_an_independent_implementation_accepts_the_golden_vectors() -> None:
    keys = [VECTORS["log_key"], *(one["key"] for one in VECTORS["cosigners"].values())]
    lines = "".join(one["line"] for one in VECTORS["cosigners"].values())
    answer = ask(do="note", note=VECTORS["checkpoint"] + lines, keys=keys)
    assert len(answer["signed"]) == 4
    leaf = VECTORS["leaves"][5].encode().hex()
    proved = ask(do="proof", proof=VECTORS["tlog_proof"], leaf=leaf, key=VECTORS["log_key"])
    assert proved == {"index": 5, "size": 9}
