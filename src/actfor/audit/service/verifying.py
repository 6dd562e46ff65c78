"""Recomputing the whole log: every leaf, every tile, every opening, against the checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from actfor.audit import repository
from actfor.audit.model import UNREFERENCED, EventType, VerifyReport, references
from actfor.audit.repository import KeptLeaf, StoredLeaf
from actfor.audit.service.payloads import Reader
from actfor.errors import Refused
from actfor.store import Tx
from actfor.wire import merkle
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.log_entry import LogEntry
from actfor.wire.merkle import HASH_BYTES, Frontier
from actfor.wire.note import NoteVerifier
from actfor.wire.tiles import TILE_WIDTH

_CHUNK = 1024
_MAX_PROBLEMS = 20
_MOST_NAMED = 8
"""Where more entries than that differ from their tile, it is the tile that was changed."""
_STARTS = range(0, TILE_WIDTH * HASH_BYTES, HASH_BYTES)


def verify(tx: Tx, key: NoteVerifier, reader: Reader) -> VerifyReport:
    """Report everything that does not hold, up to a limit; trust nothing but the key.

    What was derived from a leaf and stored beside it (hash, columns, references, tiles) is compared
    with the leaf, too: whoever searches or serves proofs reads those.
    """
    run = _Run(tx, reader)
    run.leaves()
    run.erasures_told()
    run.strays()
    run.tiles()
    signed = run.checkpoint(key)
    run.head()
    return VerifyReport(
        len(run.hashes),
        signed,
        run.opened,
        run.erased,
        tuple(run.problems[:_MAX_PROBLEMS]),
        dict(sorted(run.erasures.items())),
    )


class _Run:
    """One pass over the log. 32 bytes are kept for each leaf."""

    def __init__(self, tx: Tx, reader: Reader) -> None:
        self._tx = tx
        self._reader = reader
        self.hashes: list[bytes] = []
        self.problems: list[str] = []
        self.opened = 0
        self.erased = 0
        self.references = 0
        self.erasures: Counter[int] = Counter()  # by the leaf that tells of it
        self._told: set[int] = set()  # leaves of type erase
        self._seen: set[int] = set()  # the first entry that is kept

    def leaves(self) -> None:
        for index, found in enumerate(self._kept()):
            if found.stored.index != index:
                self.problems.append(f"entry {index} is missing")
                return
            made = merkle.leaf_hash(found.stored.leaf)
            if made != found.hash:
                self.problems.append(f"entry {index} was changed: it does not have its hash")
            self._leaf(found)
            self.hashes.append(made)

    def erasures_told(self) -> None:
        """Whoever erases says so in the log: what is gone names the leaf, and that leaf is one."""
        pruned = min(self._seen, default=0)
        for leaf in sorted(self.erasures.keys() - self._told):
            if leaf < pruned:
                continue
            self.problems.append(f"payloads are gone by entry {leaf}, which erases nothing")

    def strays(self) -> None:
        """Rows beside the leaves that no leaf accounts for."""
        size = len(self.hashes)
        for index in repository.payloads_beyond(self._tx, size):
            self.problems.append(f"there is a payload for entry {index}, and no such entry")
        kept = repository.count_references(self._tx)
        if kept != self.references:
            self.problems.append(f"{kept} references are kept, the entries make {self.references}")

    def tiles(self) -> None:
        nodes, level = self.hashes, 0
        while len(nodes) >= TILE_WIDTH:
            nodes = self._level(level, nodes)
            level += 1
        for above in repository.levels(self._tx):
            if not 0 <= above < level:
                self.problems.append(f"there are tiles of level {above}, and no such level")

    def _level(self, level: int, nodes: list[bytes]) -> list[bytes]:
        """Compare the full tiles of a level; return the level above."""
        stored = repository.roots_of_level(self._tx, level)
        roots = []
        for n in range(len(nodes) // TILE_WIDTH):
            part = nodes[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]
            roots.append(merkle.root(part))
            self._tile(level, n, part)
            if stored.pop(n, roots[-1]) != roots[-1]:
                self.problems.append(f"tile {n} of level {level} does not have its root")
        for n in sorted(stored):
            self.problems.append(f"there is a tile {n} of level {level}, and no such tile")
        return roots

    def _tile(self, level: int, n: int, part: list[bytes]) -> None:
        body = repository.tile(self._tx, level, n)
        if body == b"".join(part):
            return
        kept = [] if body is None else [body[at : at + HASH_BYTES] for at in _STARTS]
        other = [at for at, made in enumerate(part) if kept[at : at + 1] != [made]]
        if level > 0 or len(other) > _MOST_NAMED:
            self.problems.append(f"tile {n} of level {level} does not match the entries")
            return
        for at in other:
            index = n * TILE_WIDTH + at
            self.problems.append(f"entry {index} was changed: it is another in its tile")

    def checkpoint(self, key: NoteVerifier) -> int:
        stored = repository.checkpoint(self._tx)
        if stored is None:
            return 0
        try:
            signed = Checkpoint.verified(stored.note, key)
        except Refused as refused:
            self.problems.append(refused.detail)
            return 0
        if (signed.size, signed.root) != (stored.size, stored.root):
            self.problems.append("the stored checkpoint is not the one that was signed")
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

    def _kept(self) -> Iterator[KeptLeaf]:
        highest, _ = repository.extent(self._tx)
        for start in range(0, highest + 1, _CHUNK):
            yield from repository.kept(self._tx, start, start + _CHUNK)

    def _leaf(self, found: KeptLeaf) -> None:
        index = found.stored.index
        try:
            entry = LogEntry.decode(found.stored.leaf)
        except Refused:
            self.problems.append(f"entry {index} is not a log entry")
            return
        if entry.seq != index:
            self.problems.append(f"entry {index} says that it is entry {entry.seq}")
        agent = entry.facts.get("agent")
        named = agent if isinstance(agent, str) else None
        if (found.type, found.trace, found.at) != (entry.type, entry.trace, entry.at) or (
            found.agent != named
        ):
            self.problems.append(f"entry {index} is filed as something else than it says")
        if entry.type not in UNREFERENCED:
            self._references(index, entry)
        self._openings(found.stored, entry)

    def _references(self, index: int, entry: LogEntry) -> None:
        for ref in {*references(entry.facts)}:
            self.references += 1
            if not repository.is_reference(self._tx, ref, index):
                self.problems.append(f"entry {index} cannot be found by `{ref}`, which it names")

    def _openings(self, found: StoredLeaf, entry: LogEntry) -> None:
        if not self._seen:
            self._seen.add(found.index)
        try:
            opened = self._reader.open(found)
        except (Refused, UnicodeEncodeError):
            self.problems.append(f"entry {found.index}: what was kept of it cannot be read")
            return
        for name, opening in opened.openings.items():
            if entry.commitments.get(name) != opening.commitment():
                self.problems.append(f"entry {found.index}: `{name}` is not what was committed to")
        self.opened += len(opened.openings)
        self.erased += len(entry.commitments.keys() - opened.openings.keys())
        self.erasures.update(opened.erased_by)
        if entry.type == EventType.ERASE:
            self._told.add(found.index)
