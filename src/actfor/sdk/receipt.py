"""Check, without any server, what a log says: one receipt, or a whole exported log.

Nothing is trusted but the verifier key, which must come to you by another way than the
receipt. A *retained* checkpoint, kept from earlier, adds what no single signature can show:
that the log still is the one you saw then, not cut, not rewritten, not forked.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from pathlib import Path
from typing import Final, cast

from actfor.errors import Kind, Refused
from actfor.sdk.revocations import Revocations
from actfor.wire import merkle
from actfor.wire.canonical import MAX_DEPTH, JsonObject, JsonValue, canonical
from actfor.wire.checkpoint import PROOF_HEADER, Checkpoint, LogProof
from actfor.wire.log_entry import LogEntry, Opening, members
from actfor.wire.strict_json import load_object
from actfor.wire.tiles import (
    TILE_WIDTH,
    Tile,
    TreeWalk,
    decode_entries,
    decode_hashes,
    tiles_of,
)
from actfor.wire.timestamps import from_ms, rfc3339
from actfor.wire.tlog_policy import Policy

__all__ = [
    "PROOF_HEADER",
    "VerifiedExport",
    "VerifiedReceipt",
    "proof_of",
    "verify_export",
    "verify_proof",
    "verify_receipt",
]

_MAX_RECEIPT_BYTES = 2 * 1024 * 1024
_MOST_SHOWN: Final = 20
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
    permits: int = 0
    revoked: int = 0
    pruned: int = 0
    cosigned: Mapping[str, int] = field(default_factory=dict)

    def summary(self) -> dict[str, JsonValue]:
        """What was proved, for printing."""
        return {
            "verified": "log",
            "log": self.checkpoint.origin,
            "entries": self.checkpoint.size,
            "root": b64encode(self.checkpoint.root).decode(),
            "continues": self.retained.size if self.retained else None,
            "cosigned by": sorted(self.cosigned),
            "permits": self.permits,
            "revocations": self.revoked,
            "permits after revoke": 0,
            "pruned below": self.pruned,
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


def verify_proof(text: str, trust: str, *, leaf: bytes | None = None) -> VerifiedReceipt:
    """Verify a C2SP `.tlog-proof` of an entry of this log; ``trust`` is a key or a policy.

    The leaf is the one given, else the proof's extra data: nothing there is believed before its
    hash was led to the signed root.

    Raises:
        Refused: MALFORMED if it is not a proof, or there is no leaf; DENIED if it does not hold.
    """
    proof = LogProof.parse(text)
    leaf = proof.extra if leaf is None else leaf
    if not leaf:
        raise Refused(Kind.MALFORMED, "the proof has no leaf with it; give the leaf, too")
    witnessed = Policy.read(trust).verify(proof.note)
    signed = witnessed.checkpoint
    merkle.verify_inclusion(
        merkle.leaf_hash(leaf), proof.index, signed.size, proof.path, signed.root
    )
    entry = LogEntry.decode(leaf)
    if entry.seq != proof.index:
        raise Refused(Kind.DENIED, "the event says that it is another entry")
    return VerifiedReceipt(entry, {}, signed, witnessed.cosigned)


def proof_of(receipt: str) -> str:
    """The `.tlog-proof` file of a receipt, with the leaf as its extra data. Not verified.

    Raises:
        Refused: MALFORMED if it is not a receipt.
    """
    value = _parse(receipt)
    proof = LogProof.parse(_text(value["proof"]))
    return replace(proof, extra=canonical(value["leaf"])).text()


def verify_export(
    folder: Path, verifier_key: str, *, checkpoint: str | None = None
) -> VerifiedExport:
    """Verify a folder of C2SP tiles: every entry and every hash leads to the signed root, and no
    permit follows the revocation of anything that it depends on.

    ``checkpoint`` is one that was retained: the exported log must begin with exactly the entries
    it signed. Without it, a log that was cut and signed again by its own key passes. The folder is
    read once, from front to back; what is kept does not grow with it.

    Raises:
        Refused: MALFORMED if a file is not what it should be; NOT_FOUND if one is missing; DENIED
            if the log was changed, cut or forked, or permits what was revoked: each such entry.
    """
    policy = Policy.read(verifier_key)
    witnessed = policy.verify(_read(folder, "checkpoint").decode(errors="replace"))
    signed = witnessed.checkpoint
    retained = None if checkpoint is None else _retained(checkpoint, policy)
    if retained is not None and retained.size > signed.size:
        raise Refused(
            Kind.DENIED,
            f"the log was cut: {signed.size} entries, the retained checkpoint has {retained.size}",
        )
    walk = _Walk(folder, signed, retained)
    walk.run()
    return VerifiedExport(
        signed,
        retained,
        walk.revocations.permits,
        walk.revocations.revoked,
        walk.pruned,
        witnessed.cosigned,
    )


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


class _Walk:
    """One pass over an exported folder."""

    def __init__(self, folder: Path, signed: Checkpoint, retained: Checkpoint | None) -> None:
        self._folder = folder
        self._signed = signed
        self._retained = retained
        self._tree = TreeWalk(self._tile)
        self._wrong: list[str] = []
        self.revocations = Revocations()
        self.pruned = 0
        self._stated_minimum = 0

    def run(self) -> None:
        self._compare_root()
        for tile in tiles_of(self._signed.size):
            if tile.level is not None:
                break  # entries come first
            self._bundle(tile)
        for level, n, hashes in self._tree.partial():
            self._tile(level, n, hashes)
        if not compare_digest(self._tree.root(), self._signed.root):
            raise Refused(Kind.DENIED, "the entries do not lead to the signed root")
        if self.pruned > self._stated_minimum:
            raise Refused(
                Kind.NOT_FOUND, f"entries below {self.pruned} are missing from the exported log"
            )
        if self._wrong:
            more = len(self._wrong) - _MOST_SHOWN
            tail = f"; and {more} more" if more > 0 else ""
            raise Refused(Kind.DENIED, "; ".join(self._wrong[:_MOST_SHOWN]) + tail)

    def _bundle(self, tile: Tile) -> None:
        path = tile.path()
        pruned = self.pruned == self._tree.size and tile.width == TILE_WIDTH
        if pruned and not (self._folder / path).exists():
            # tlog-tiles, Pruning: entries may be gone from the front; the log itself must say so.
            hashes = _read(self._folder, Tile(0, tile.index).path())
            for leaf_hash in decode_hashes(hashes, TILE_WIDTH):
                self._tree.add(leaf_hash)
                self._compare_root()
            self.pruned = self._tree.size
            return
        kept = -1 if self._retained is None else self._retained.size
        for leaf in decode_entries(_read(self._folder, path), tile.width):
            index = self._tree.size
            self._tree.add(merkle.leaf_hash(leaf))
            self._entry(index, leaf)
            if index + 1 == kept:
                self._compare_root()

    def _entry(self, index: int, leaf: bytes) -> None:
        try:
            value = members(leaf)
        except Refused:
            self._wrong.append(f"entry {index} is not a log entry")
            return
        if value["seq"] != index:
            self._wrong.append(f"entry {index} says that it is entry {value['seq']}")
        facts = cast("JsonObject", value["facts"])
        self._wrong.extend(self.revocations.see(index, value["type"], facts))
        if value["type"] == "prune" and isinstance(minimum := facts.get("minimum_index"), int):
            self._stated_minimum = max(self._stated_minimum, minimum)

    def _compare_root(self) -> None:
        kept = self._retained
        if kept is None or kept.size != self._tree.size:
            return
        if not compare_digest(self._tree.root(), kept.root):
            raise Refused(Kind.DENIED, "the log is not the one of the retained checkpoint")

    def _tile(self, level: int, n: int, made: list[bytes]) -> None:
        """The tile must be the one that the entries make: mirrors serve proofs from it."""
        found = decode_hashes(_read(self._folder, Tile(level, n, len(made)).path()), len(made))
        if found == made:
            return
        at = next(k for k in range(len(made)) if found[k] != made[k]) + n * TILE_WIDTH
        what = f"entry {at}" if level == 0 else f"hash {at} of tile level {level}"
        raise Refused(Kind.DENIED, f"{what} was changed")


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as cause:
        raise Refused(Kind.NOT_FOUND, f"`{name}` is missing from the exported log") from cause
