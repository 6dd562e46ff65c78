"""Recomputing the whole log: every leaf, every tile, every opening, against the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from actfor.audit import repository
from actfor.audit.model import VerifyReport
from actfor.audit.repository import StoredLeaf
from actfor.audit.service import reading
from actfor.errors import Refused
from actfor.store import Tx
from actfor.wire import merkle
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.log_entry import LogEntry
from actfor.wire.merkle import Frontier
from actfor.wire.note import NoteVerifier
from actfor.wire.tiles import TILE_WIDTH

_CHUNK = 1024
_MAX_PROBLEMS = 20


def verify(tx: Tx, key: NoteVerifier) -> VerifyReport:
    """Report everything that does not hold, up to a limit; trust nothing but the key."""
    run = _Run(tx)
    run.leaves()
    run.tiles()
    signed = run.checkpoint(key)
    run.head()
    return VerifyReport(
        len(run.hashes), signed, run.opened, run.erased, tuple(run.problems[:_MAX_PROBLEMS])
    )


class _Run:
    """One pass over the log. 32 bytes are kept for each leaf."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self.hashes: list[bytes] = []
        self.problems: list[str] = []
        self.opened = 0
        self.erased = 0

    def leaves(self) -> None:
        for index, found in enumerate(self._stored()):
            if found.index != index:
                self.problems.append(f"entry {index} is missing")
                return
            self._leaf(found)
            self.hashes.append(merkle.leaf_hash(found.leaf))

    def tiles(self) -> None:
        level, height = self.hashes, 0
        while len(level) >= TILE_WIDTH:
            roots = []
            for n in range(len(level) // TILE_WIDTH):
                part = level[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]
                if repository.tile(self._tx, height, n) != b"".join(part):
                    self.problems.append(f"tile {n} of level {height} does not match the entries")
                roots.append(merkle.root(part))
            level, height = roots, height + 1

    def checkpoint(self, key: NoteVerifier) -> int:
        stored = repository.checkpoint(self._tx)
        if stored is None:
            return 0
        try:
            signed = Checkpoint.verified(stored.note, key)
        except Refused as refused:
            self.problems.append(refused.detail)
            return 0
        if signed.size > len(self.hashes):
            self.problems.append(f"{signed.size} entries are signed, {len(self.hashes)} are there")
        elif merkle.root(self.hashes[: signed.size]) != signed.root:
            self.problems.append("the entries do not lead to the signed root")
        return signed.size

    def head(self) -> None:
        try:
            head = repository.head(self._tx)
        except ValueError:
            head = Frontier()
        if head.size != len(self.hashes) or head.root() != merkle.root(self.hashes):
            self.problems.append("the tree head does not match the entries")

    def _stored(self) -> Iterator[StoredLeaf]:
        highest, _ = repository.extent(self._tx)
        for start in range(0, highest + 1, _CHUNK):
            yield from repository.stored(self._tx, start, start + _CHUNK)

    def _leaf(self, found: StoredLeaf) -> None:
        try:
            entry = LogEntry.decode(found.leaf)
            opened = reading.openings(found)
        except (Refused, UnicodeEncodeError):
            self.problems.append(f"entry {found.index} is not a log entry")
            return
        if entry.seq != found.index:
            self.problems.append(f"entry {found.index} says that it is entry {entry.seq}")
        for name, opening in opened.items():
            if entry.commitments.get(name) != opening.commitment():
                self.problems.append(f"entry {found.index}: `{name}` is not what was committed to")
        self.opened += len(opened)
        self.erased += len(entry.commitments.keys() - opened.keys())
