"""Check, without any server, what a log says: one receipt, or a whole exported log.

Nothing is trusted but the verifier key, which must come to you by another way than the
receipt. A *retained* checkpoint, kept from earlier, adds what no single signature can show:
that the log still is the one you saw then, not cut, not rewritten, not forked.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from pathlib import Path

from actfor.errors import Kind, Refused
from actfor.wire import merkle
from actfor.wire.canonical import MAX_DEPTH, JsonObject, JsonValue, canonical
from actfor.wire.checkpoint import Checkpoint, LogProof
from actfor.wire.log_entry import LogEntry, Opening
from actfor.wire.strict_json import load_object
from actfor.wire.tiles import TILE_WIDTH, decode_entries, decode_hashes, tiles_of
from actfor.wire.timestamps import from_ms, rfc3339
from actfor.wire.tlog_policy import Policy

_MAX_RECEIPT_BYTES = 2 * 1024 * 1024
_MEMBERS = {"receipt", "leaf", "openings", "proof"}


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """An event that the log of ``checkpoint`` holds. ``private`` was checked, too."""

    entry: LogEntry
    private: Mapping[str, JsonValue]
    checkpoint: Checkpoint
    cosigned: Mapping[str, int] = field(default_factory=dict)

    def summary(self) -> dict[str, JsonValue]:
        """What was proved, for printing."""
        sealed = sorted(self.entry.commitments.keys() - self.private.keys())
        return {
            "verified": "receipt",
            "log": self.checkpoint.origin,
            "entry": self.entry.seq,
            "of": self.checkpoint.size,
            "root": b64encode(self.checkpoint.root).decode(),
            "type": self.entry.type,
            "at": rfc3339(from_ms(self.entry.at)),
            "trace": self.entry.trace,
            "facts": dict(self.entry.facts),
            "private": dict(self.private),
            "not shown": sealed,
        }


@dataclass(frozen=True, slots=True)
class VerifiedExport:
    """A whole log that leads to its signed checkpoint (and continues the retained one)."""

    checkpoint: Checkpoint
    retained: Checkpoint | None

    def summary(self) -> dict[str, JsonValue]:
        """What was proved, for printing."""
        return {
            "verified": "log",
            "log": self.checkpoint.origin,
            "entries": self.checkpoint.size,
            "root": b64encode(self.checkpoint.root).decode(),
            "continues": self.retained.size if self.retained else None,
        }


def verify_receipt(
    text: str, verifier_key: str, *, checkpoint: str | None = None
) -> VerifiedReceipt:
    """Verify that the log whose key this is holds the event in this receipt.

    Checked: the checkpoint's signature and origin, the inclusion of exactly this leaf at exactly
    this index, and that each opened private value is the one committed to. Not checked: that the
    log is the one others see; for that, retain checkpoints and verify an export. A ``checkpoint``
    given here must be of the receipt's own size, for a receipt holds no consistency proof.

    Raises:
        Refused: MALFORMED if it is not a receipt; DENIED if any of it does not hold.
    """
    policy = Policy.read(verifier_key)
    value = _parse(text)
    leaf = canonical(value["leaf"])
    entry = LogEntry.decode(leaf)
    proof = LogProof.parse(_text(value["proof"]))
    witnessed = policy.verify(proof.note)
    signed = witnessed.checkpoint
    merkle.verify_inclusion(
        merkle.leaf_hash(leaf), proof.index, signed.size, proof.path, signed.root
    )
    if entry.seq != proof.index:
        raise Refused(Kind.DENIED, "the event says that it is another entry")
    if checkpoint is not None:
        _same(_retained(checkpoint, policy), signed)
    opened = _opened(entry, value["openings"])
    return VerifiedReceipt(entry, opened, signed, witnessed.cosigned)


def verify_export(
    folder: Path, verifier_key: str, *, checkpoint: str | None = None
) -> VerifiedExport:
    """Verify a folder of C2SP tiles: every entry and every hash leads to the signed root.

    ``checkpoint`` is one that was retained: the exported log must begin with exactly the entries
    it signed. Without it, a log that was cut and signed again by its own key passes.

    Raises:
        Refused: MALFORMED if a file is not what it should be; NOT_FOUND if one is missing; DENIED
            if the log was changed, cut or forked.
    """
    policy = Policy.read(verifier_key)
    signed = policy.verify(_read(folder, "checkpoint").decode(errors="replace")).checkpoint
    hashes = _entries(folder, signed.size)
    _hash_tiles(folder, signed.size, hashes)
    if not compare_digest(merkle.root(hashes), signed.root):
        raise Refused(Kind.DENIED, "the entries do not lead to the signed root")
    retained = None
    if checkpoint is not None:
        retained = _retained(checkpoint, policy)
        if retained.size > signed.size:
            raise Refused(
                Kind.DENIED,
                f"the log was cut: {signed.size} entries, the retained checkpoint has"
                f" {retained.size}",
            )
        if not compare_digest(merkle.root(hashes[: retained.size]), retained.root):
            raise Refused(Kind.DENIED, "the log is not the one of the retained checkpoint")
    return VerifiedExport(signed, retained)


def _retained(note: str, policy: Policy) -> Checkpoint:
    """A checkpoint that was kept: signed by the log; who cosigned it then is of no matter."""
    return Policy(policy.logs).verify(note).checkpoint


def _parse(text: str) -> JsonObject:
    if len(text) > _MAX_RECEIPT_BYTES:
        raise Refused(Kind.MALFORMED, "not a receipt")
    try:
        value = load_object(text.encode(), max_depth=MAX_DEPTH)
    except UnicodeEncodeError as cause:
        raise Refused(Kind.MALFORMED, "not a receipt") from cause
    if value.keys() != _MEMBERS or value["receipt"] != "actfor/v1":
        raise Refused(Kind.MALFORMED, "not a receipt")
    return value


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise Refused(Kind.MALFORMED, "not a receipt")
    return value


def _opened(entry: LogEntry, openings: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(openings, dict):
        raise Refused(Kind.MALFORMED, "not a receipt")
    opened: dict[str, JsonValue] = {}
    for name, given in openings.items():
        opening = Opening.from_json(given)
        if not compare_digest(entry.commitments.get(name, ""), opening.commitment()):
            raise Refused(Kind.DENIED, "a private value is not the one that was committed to")
        opened[name] = opening.value
    return opened


def _same(retained: Checkpoint, signed: Checkpoint) -> None:
    if retained.size != signed.size:
        raise Refused(
            Kind.DENIED,
            f"the receipt speaks of {signed.size} entries, the retained checkpoint of"
            f" {retained.size}; compare with an exported log",
        )
    if retained != signed:
        raise Refused(Kind.DENIED, "the log is not the one of the retained checkpoint")


def _entries(folder: Path, size: int) -> list[bytes]:
    """The leaf hashes of all entries, computed from the entries."""
    hashes: list[bytes] = []
    for tile in tiles_of(size):
        if tile.level is None:
            bundle = decode_entries(_read(folder, tile.path()), tile.width)
            hashes.extend(map(merkle.leaf_hash, bundle))
    return hashes


def _hash_tiles(folder: Path, size: int, hashes: list[bytes]) -> None:
    """Each tile of hashes must be the one that the entries make: mirrors serve proofs from them."""
    level, nodes = 0, hashes
    for tile in tiles_of(size):
        if tile.level is None:
            continue
        if tile.level != level:
            level, nodes = tile.level, _above(nodes)
        start = tile.index * TILE_WIDTH
        found = decode_hashes(_read(folder, tile.path()), tile.width)
        for at, (stored, made) in enumerate(
            zip(found, nodes[start : start + tile.width], strict=True), start
        ):
            if stored != made:
                what = f"entry {at}" if level == 0 else f"hash {at} of tile level {level}"
                raise Refused(Kind.DENIED, f"{what} was changed")


def _above(nodes: list[bytes]) -> list[bytes]:
    starts = range(0, len(nodes) - TILE_WIDTH + 1, TILE_WIDTH)
    return [merkle.root(nodes[start : start + TILE_WIDTH]) for start in starts]


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as cause:
        raise Refused(Kind.NOT_FOUND, f"`{name}` is missing from the exported log") from cause
