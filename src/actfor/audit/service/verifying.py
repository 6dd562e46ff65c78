"""Recomputing the whole log: every leaf, every tile, every opening, against the checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import cast

from actfor.audit import repository
from actfor.audit.model import UNREFERENCED, EventType, VerifyReport, references
from actfor.audit.repository import KeptLeaf, StoredCheckpoint, StoredLeaf
from actfor.audit.service.payloads import Reader
from actfor.errors import Refused
from actfor.sdk.revocations import Revocations
from actfor.store import Tx
from actfor.wire import merkle
from actfor.wire.canonical import JsonObject
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.log_entry import members
from actfor.wire.merkle import HASH_BYTES, Frontier
from actfor.wire.tiles import TILE_HEIGHT, TILE_WIDTH, TreeWalk
from actfor.wire.tlog_policy import Policy

_CHUNK = 1024
_MAX_PROBLEMS = 20
_PART = 64
"""Entries after which a database that counts how long we read counts anew."""
_ENOUGH = 1000
"""After so many problems nothing more is looked for."""
_MOST_NAMED = 8
"""Where more entries than that differ from their tile, it is the tile that was changed."""
_STARTS = range(0, TILE_WIDTH * HASH_BYTES, HASH_BYTES)


def verify(
    tx: Tx, policy: Policy, reader: Reader | None, *, kept: Checkpoint | None = None
) -> VerifyReport:
    """Report everything that does not hold, up to a limit; trust nothing but the policy's log keys.

    What was derived from a leaf and stored beside it (hash, columns, references, tiles) is compared
    with the leaf, too: whoever searches or serves proofs reads those. And no permit may follow the
    revocation of anything that it depends on (``sdk.revocations``).

    The log is read once, from front to back; what is held does not grow with it. Without a
    ``reader`` what opens the commitments is not looked at. ``kept`` is a checkpoint that somebody
    kept: the log must begin with what it signed.
    """
    run = _Run(tx, policy, reader)
    run.signatures()
    if kept is not None:
        run.expect(kept.size, kept.root, "the checkpoint that was kept")
    run.leaves()
    run.erasures_told()
    run.strays()
    run.above()
    run.heads()
    return VerifyReport(
        size=run.tree.size,
        checkpoint_size=run.signed,
        opened=run.opened,
        erased=run.erased,
        problems=tuple(run.problems[:_MAX_PROBLEMS]),
        permits=run.revocations.permits,
        revoked=run.revocations.revoked,
        pruned=run.pruned,
        erasures=dict(sorted(run.erasures.items())),
    )


class _Run:
    """One pass over the log."""

    def __init__(self, tx: Tx, policy: Policy, reader: Reader | None) -> None:
        self._tx = tx
        self._reader = reader
        self._policy = policy
        self._expected: dict[int, list[tuple[bytes, str]]] = {}  # roots by size, and whose
        self.tree = TreeWalk(self._tile)
        self.revocations = Revocations()
        self.problems: list[str] = []
        self.signed = 0
        self.opened = 0
        self.erased = 0
        self.references = 0
        self.pruned = 0
        self.erasures: Counter[int] = Counter()  # by the leaf that tells of it
        self._told: set[int] = set()  # leaves of type erase

    def signatures(self) -> None:
        """What was signed, to be compared where the walk comes to its size."""
        stored = repository.checkpoint(self._tx)
        if stored is not None and self._signature(stored, "the signed root"):
            self.signed = stored.size
        for size in repository.cosigned_sizes(self._tx):
            cosigned = repository.cosigned(self._tx, size)
            if cosigned is not None:
                self._signature(cosigned, f"the cosigned root of {size} entries")

    def expect(self, size: int, root: bytes, what: str) -> None:
        """Compare the root at this size, when the walk comes there."""
        self._expected.setdefault(size, []).append((root, what))

    def leaves(self) -> None:
        """Every entry, in order."""
        _, self.pruned = repository.minimum(self._tx)
        self._roots()
        self._gap(self.pruned, named=False)
        for found in self._kept():
            if found.stored.index < self.tree.size:
                self.problems.append(f"entry {found.stored.index} was pruned, and is there")
                continue
            self._gap(found.stored.index, named=True)
            if found.stored.index % _PART == 0:
                self._tx.go_on()
            made = merkle.leaf_hash(found.stored.leaf)
            if made != found.hash:
                index = found.stored.index
                self.problems.append(f"entry {index} was changed: it does not have its hash")
            self._leaf(found)
            self._add(made)
            if len(self.problems) > _ENOUGH:
                return

    def erasures_told(self) -> None:
        """Whoever erases says so in the log: what is gone names the leaf, and that leaf is one."""
        for leaf in sorted(self.erasures.keys() - self._told):
            if leaf >= self.pruned:
                self.problems.append(f"payloads are gone by entry {leaf}, which erases nothing")

    def strays(self) -> None:
        """Rows beside the leaves that no leaf accounts for."""
        self._tx.go_on()
        size = self.tree.size
        for index in repository.payloads_beyond(self._tx, size):
            self.problems.append(f"there is a payload for entry {index}, and no such entry")
        kept = repository.count_references(self._tx)
        if kept != self.references:
            self.problems.append(f"{kept} references are kept, the entries make {self.references}")

    def above(self) -> None:
        """Tiles that no entries account for."""
        for level in repository.levels(self._tx):
            full = self.tree.size >> (TILE_HEIGHT * (level + 1)) if level >= 0 else 0
            if not full:
                self.problems.append(f"there are tiles of level {level}, and no such level")
                continue
            for n in sorted(n for n in repository.roots_of_level(self._tx, level) if n >= full):
                self.problems.append(f"there is a tile {n} of level {level}, and no such tile")

    def heads(self) -> None:
        """What was signed beyond the last entry, and the head that the next entry is added to."""
        for size in sorted(self._expected):
            self.problems.append(f"{size} entries are signed, {self.tree.size} are there")
        try:
            head = repository.head(self._tx)
        except ValueError:
            head = Frontier()
        if head.size != self.tree.size or head.root() != self.tree.root():
            self.problems.append("the tree head does not match the entries")

    def _signature(self, stored: StoredCheckpoint, what: str) -> bool:
        try:
            # Who cosigned is for those who verify from outside; here it is the log's own key.
            signed = Policy(self._policy.logs).verify(stored.note).checkpoint
        except Refused as refused:
            self.problems.append(refused.detail)
            return False
        if (signed.size, signed.root) != (stored.size, stored.root):
            self.problems.append("the stored checkpoint is not the one that was signed")
        self.expect(signed.size, signed.root, what)
        return True

    def _add(self, leaf_hash: bytes) -> None:
        self.tree.add(leaf_hash)
        if self.tree.size in self._expected:
            self._roots()

    def _roots(self) -> None:
        for root, what in self._expected.pop(self.tree.size, ()):
            if self.tree.root() != root:
                self.problems.append(f"the entries do not lead to {what}")

    def _gap(self, end: int, *, named: bool) -> None:
        """Go on behind missing entries, by the hashes that their tiles still have."""
        while self.tree.size < end:
            index = self.tree.size
            if named:
                self.problems.append(f"entry {index} is missing")
            body = repository.tile(self._tx, 0, index // TILE_WIDTH) or b""
            at = index % TILE_WIDTH * HASH_BYTES
            self._add(body[at : at + HASH_BYTES].ljust(HASH_BYTES, b"\0"))
            if len(self.problems) > _ENOUGH:
                return

    def _tile(self, level: int, n: int, part: list[bytes]) -> None:
        """Compare a full tile with what the entries make."""
        stored = repository.tile_roots(self._tx, level, n, n + 1)
        if stored and stored[0] != merkle.root(part):
            self.problems.append(f"tile {n} of level {level} does not have its root")
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

    def _kept(self) -> Iterator[KeptLeaf]:
        _, highest = repository.extent(self._tx) or (0, -1)
        for start in range(0, highest + 1, _CHUNK):
            yield from repository.kept(self._tx, start, start + _CHUNK)

    def _leaf(self, found: KeptLeaf) -> None:
        index = found.stored.index
        try:
            entry = members(found.stored.leaf)
        except Refused:
            self.problems.append(f"entry {index} is not a log entry")
            return
        type_, facts = entry["type"], cast("JsonObject", entry["facts"])
        if entry["seq"] != index:
            self.problems.append(f"entry {index} says that it is entry {entry['seq']}")
        agent = facts.get("agent")
        named = agent if isinstance(agent, str) else None
        if (found.type, found.trace, found.at, found.agent) != (
            type_, entry["trace"], entry["at"], named,
        ):  # fmt: skip
            self.problems.append(f"entry {index} is filed as something else than it says")
        self.problems.extend(self.revocations.see(index, type_, facts))
        if type_ not in UNREFERENCED:
            self._references(index, facts)
        if type_ == EventType.ERASE:
            self._told.add(index)
        if self._reader is not None:
            self._openings(self._reader, found.stored, cast("JsonObject", entry["commitments"]))

    def _references(self, index: int, facts: JsonObject) -> None:
        for ref in {*references(facts)}:
            self.references += 1
            if not repository.is_reference(self._tx, ref, index):
                self.problems.append(f"entry {index} cannot be found by `{ref}`, which it names")

    def _openings(self, reader: Reader, found: StoredLeaf, commitments: JsonObject) -> None:
        try:
            opened = reader.open(found)
            wrong = [
                name
                for name, opening in opened.openings.items()
                if commitments.get(name) != opening.commitment()
            ]
        except (Refused, UnicodeEncodeError):
            self.problems.append(f"entry {found.index}: what was kept of it cannot be read")
            return
        for name in wrong:
            self.problems.append(f"entry {found.index}: `{name}` is not what was committed to")
        self.opened += len(opened.openings)
        self.erased += len(commitments.keys() - opened.openings.keys())
        self.erasures.update(opened.erased_by)
