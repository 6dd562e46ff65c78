"""R14: somebody who can write the files changes one thing; the verifier says that, and where.

Two targets. The database of a log: any row of any of its tables is flipped, deleted, doubled,
swapped or cut off, also by an attacker who then makes hashes, tiles and head fit what they wrote;
`AuditLog.verify` and `AuditLog.start` look. And an exported folder of C2SP tiles; `verify_export`
of the SDK looks, with the checkpoint that an auditor kept. Every change must be found; a change of
one entry must be found at that entry.

The attacker of the last kind holds the log's key, too: only a kept checkpoint shows that.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.conftest import Clock, import_tables
from tests.fakes.audit_log import export
from tests.fakes.postgres import base
from tests.faults.harness import Plan, Rig, Tally, in_lanes
from tests.faults.node import ORIGIN, START

from actfor.audit import AuditLog, Event, EventType, NoteSigner
from actfor.audit import repository as rows
from actfor.audit.model import VerifyReport
from actfor.errors import Refused
from actfor.sdk.receipt import verify_export
from actfor.store import Database, Tx
from actfor.wire import merkle
from actfor.wire.canonical import canonical
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.merkle import Frontier
from actfor.wire.strict_json import load_object
from actfor.wire.tiles import TILE_WIDTH

SMALL, LARGE = 600, 10_000
LARGE_PART = 40  # one cycle in so many is on the large log
MANDATES = ["mdt_" + letter * 26 for letter in "abcd"]


@dataclass(frozen=True)
class Change:
    """What was done; ``says`` must match one of the findings (None: any finding will do)."""

    what: str
    says: str | None = None


@dataclass(frozen=True)
class Grown:
    """A log, its export, and the checkpoint that an auditor kept from when it was half as long."""

    size: int
    database: Path
    folder: Path
    signer: NoteSigner
    kept: str


def grow(folder: Path, size: int) -> Grown:
    import_tables()
    signer = NoteSigner.generate(ORIGIN)
    folder.mkdir(parents=True)
    path = folder / "log.db"
    with opened(path, signer) as (database, log):
        kept = ""
        for start in range(0, size, 500):
            numbers = range(start, min(start + 500, size))
            database.write_sync(partial(_append_all, log, numbers))
            if not kept and start >= size // 2:
                kept = asyncio.run(log.checkpoint())
        asyncio.run(export(log, folder / "export"))
    return Grown(size, path, folder / "export", signer, kept)


def _append_all(log: AuditLog, numbers: range, tx: Tx) -> None:
    for n in numbers:
        _append(log, tx, n)


def _append(log: AuditLog, tx: Tx, n: int) -> None:
    agent = f"spiffe://example.org/agent/a{n % 7}"
    if n % 5 == 0:  # an event that others are found by
        facts: dict[str, Any] = {"agent": agent, "mandate": MANDATES[n % 4], "action": "noted"}
        log.append(tx, Event(EventType.MANDATE, f"mdt_{n}", facts))
    else:
        mandate = MANDATES[n % 4]
        epochs = {"agent": {agent: 1}, "mandate": {mandate: 1}, "person": {"sub_x": 1}}
        facts = {"agent": agent, "decision": "permit", "n": n, "mandate": mandate, "epochs": epochs}
        private = {"person": f"usr_{n}", "arguments": {"q": f"SELECT {n}"}} if n % 2 else {}
        log.append(tx, Event(EventType.DECIDE, f"dec_{n}", facts, private))


@contextmanager
def opened(
    path: Path, signer: NoteSigner, kind: type[AuditLog] = AuditLog
) -> Iterator[tuple[Database, AuditLog]]:
    clock = Clock(START)
    database = Database.open(f"sqlite:///{path}", clock=clock.now)
    try:
        yield database, kind(database, signer, ORIGIN, clock.now)
    finally:
        database.close_sync()


# -- the attacker with a database shell ----------------------------------------------------------


class Shell:
    """One change to the database, chosen by dice."""

    def __init__(self, grown: Grown, path: Path, plan: Plan) -> None:
        self.grown, self.rng = grown, plan.rng
        self.db = sqlite3.connect(path, isolation_level=None)
        self.i = self.rng.randrange(grown.size)
        self.entry = rf"\bentry {self.i}\b"

    def row(self, sql: str, *args: Any) -> Any:
        return self.db.execute(sql, args).fetchone()

    def flip(self, data: bytes) -> bytes:
        at, bit = self.rng.randrange(len(data)), 1 << self.rng.randrange(8)
        return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]

    def leaf(self, i: int) -> bytes:
        leaf: bytes = self.row("SELECT leaf FROM log_leaf WHERE idx=?", i)[0]
        return leaf

    def close(self) -> None:
        self.db.close()

    # each method makes one change and says how it must be found

    def flips_a_leaf(self) -> Change:
        self.db.execute(
            "UPDATE log_leaf SET leaf=? WHERE idx=?", (self.flip(self.leaf(self.i)), self.i)
        )
        return Change("leaf flipped", self.entry)

    def rewrites_a_leaf(self) -> Change:
        self.db.execute("UPDATE log_leaf SET leaf=? WHERE idx=?", (self.forged(self.i), self.i))
        return Change("leaf rewritten", self.entry)

    def forged(self, i: int) -> bytes:
        value = dict(load_object(self.leaf(i)))
        value["facts"] = {**value["facts"], "agent": "spiffe://example.org/agent/innocent"}  # type: ignore[dict-item]
        return canonical(value)

    def rewrites_a_leaf_and_its_hash(self) -> Change:
        leaf = self.forged(self.i)
        self.db.execute(
            "UPDATE log_leaf SET leaf=?, hash=?, agent='spiffe://example.org/agent/innocent'"
            " WHERE idx=?", (leaf, merkle.leaf_hash(leaf), self.i),
        )  # fmt: skip
        full = self.i < self.grown.size // TILE_WIDTH * TILE_WIDTH
        return Change("leaf and hash rewritten", self.entry if full else None)

    def rewrites_everything_it_can(self) -> Change:
        """Leaf, hash, every tile, the head; what it lacks is the key."""
        self.rewrites_a_leaf_and_its_hash()
        self.fit()
        return Change("leaf rewritten, tree made to fit", r"signed")

    def fit(self) -> list[bytes]:
        hashes = [row[0] for row in self.db.execute("SELECT hash FROM log_leaf ORDER BY idx")]
        level, height = hashes, 0
        while len(level) >= TILE_WIDTH:
            parts = [level[n : n + TILE_WIDTH] for n in range(0, len(level), TILE_WIDTH)]
            parts = [part for part in parts if len(part) == TILE_WIDTH]
            roots = [merkle.root(part) for part in parts]
            for n, part in enumerate(parts):
                self.db.execute(
                    "UPDATE log_tile SET body=?, root=? WHERE level=? AND n=?",
                    (b"".join(part), roots[n], height, n),
                )
            level, height = roots, height + 1
        frontier = Frontier()
        for leaf_hash in hashes:
            frontier = frontier.append(leaf_hash)
        self.db.execute(
            "UPDATE log_head SET size=?, frontier=?", (len(hashes), frontier.to_bytes())
        )
        return hashes

    def rewrites_everything_and_signs(self) -> Change:
        """The key was stolen: the database is whole, and is not the one that was kept."""
        self.i = self.rng.randrange(self.grown.size // 2)
        self.rewrites_a_leaf_and_its_hash()
        root = merkle.root(self.fit())
        note = self.grown.signer.sign(Checkpoint(ORIGIN, self.grown.size, root).text())
        self.db.execute("UPDATE log_checkpoint SET root=?, note=?", (root, note))
        return Change("rewritten and signed with the stolen key", "does not match|continue")

    def flips_a_hash(self) -> Change:
        found = self.row("SELECT hash FROM log_leaf WHERE idx=?", self.i)[0]
        self.db.execute("UPDATE log_leaf SET hash=? WHERE idx=?", (self.flip(found), self.i))
        return Change("stored hash flipped", self.entry)

    def hides_a_leaf_from_search(self) -> Change:
        column = self.rng.choice(("type", "trace", "agent", "at"))
        value = 1 if column == "at" else "nobody"
        self.db.execute(f"UPDATE log_leaf SET {column}=? WHERE idx=?", (value, self.i))  # noqa: S608 - one of ours
        return Change(f"column {column} rewritten", self.entry)

    def deletes_a_leaf(self) -> Change:
        self.db.execute("DELETE FROM log_leaf WHERE idx=?", (self.i,))
        return Change("leaf deleted", self.entry if self.i < self.grown.size - 1 else None)

    def cuts_the_end(self) -> Change:
        self.db.execute("DELETE FROM log_leaf WHERE idx>=?", (self.i,))
        self.db.execute("DELETE FROM log_sealed WHERE idx>=?", (self.i,))
        return Change("end cut off")

    def cuts_the_end_and_fits(self) -> Change:
        if self.i == 0:
            return self.cuts_the_end()
        self.cuts_the_end()
        self.db.execute("DELETE FROM log_tile WHERE level=0 AND (n+1)*256>?", (self.i,))
        self.db.execute("DELETE FROM log_tile WHERE level=1 AND (n+1)*65536>?", (self.i,))
        self.db.execute("DELETE FROM log_ref WHERE idx>=?", (self.i,))
        self.fit()
        return Change("end cut off, tree made to fit", "signed")

    def swaps_two_leaves(self) -> Change:
        j = (self.i + self.rng.randrange(1, self.grown.size)) % self.grown.size
        for a, b in ((self.i, -1), (j, self.i), (-1, j)):
            self.db.execute("UPDATE log_leaf SET idx=? WHERE idx=?", (b, a))
        return Change("two leaves swapped", rf"\bentry ({self.i}|{j})\b")

    def appends_a_leaf(self) -> Change:
        self.db.execute(
            "INSERT INTO log_leaf SELECT ?, leaf, hash, type, trace, agent, at FROM log_leaf"
            " WHERE idx=?", (self.grown.size, self.i),
        )  # fmt: skip
        return Change("leaf doubled at the end", rf"\bentry {self.grown.size}\b|head")

    def flips_a_payload(self) -> Change:
        i, body = self._payload()
        self.db.execute("UPDATE log_sealed SET body=? WHERE idx=?", (self.flip(body), i))
        return Change("payload changed", rf"\bentry {i}\b")

    def swaps_two_payloads(self) -> Change:
        i, j = self._payload()[0], self._payload()[0]
        if i == j:
            return self.flips_a_payload()
        for a, b in ((i, -1), (j, i), (-1, j)):
            self.db.execute("UPDATE log_sealed SET idx=? WHERE idx=?", (b, a))
        return Change("two payloads swapped", rf"\bentry ({i}|{j})\b")

    def _payload(self) -> tuple[int, bytes]:
        found = self.row(
            "SELECT idx, body FROM log_sealed WHERE idx>=? ORDER BY idx LIMIT 1", self.i
        ) or self.row("SELECT idx, body FROM log_sealed ORDER BY idx LIMIT 1")
        self.i = self.rng.randrange(self.grown.size)
        return int(found[0]), found[1]

    def changes_a_tile(self) -> Change:
        tiles = self.db.execute("SELECT level, n, body, root FROM log_tile").fetchall()
        level, n, body, root = self.rng.choice(tiles)
        how = self.rng.randrange(4)
        if how == 0:
            self.db.execute(
                "UPDATE log_tile SET body=? WHERE level=? AND n=?", (self.flip(body), level, n)
            )
        elif how == 1:
            self.db.execute(
                "UPDATE log_tile SET root=? WHERE level=? AND n=?", (self.flip(root), level, n)
            )
        elif how == 2:
            self.db.execute("DELETE FROM log_tile WHERE level=? AND n=?", (level, n))
        else:
            self.db.execute(
                "INSERT INTO log_tile VALUES (?, ?, ?, ?)", (level, 10_000 + n, body, root)
            )
            n += 10_000
        change = ("body flipped", "root flipped", "deleted", "added")[how]
        return Change(
            f"tile {change}", rf"tile {n} of level {level}|entry {n * TILE_WIDTH}\b|\bentry \d+"
        )

    def changes_the_head(self) -> Change:
        size, frontier = self.row("SELECT size, frontier FROM log_head")
        how = self.rng.randrange(3)
        if how == 0:
            self.db.execute("UPDATE log_head SET frontier=?", (self.flip(frontier),))
        elif how == 1:
            self.db.execute("UPDATE log_head SET size=?", (size + self.rng.choice((-1, 1)),))
        else:
            self.db.execute("DELETE FROM log_head")
        return Change("head changed", "head")

    def changes_the_checkpoint(self) -> Change:
        root, note = self.row("SELECT root, note FROM log_checkpoint")
        how = self.rng.randrange(4)
        if how == 0:
            self.db.execute("UPDATE log_checkpoint SET root=?", (self.flip(root),))
        elif how == 1:
            self.db.execute("UPDATE log_checkpoint SET size=size-1")
        elif how == 2:
            at = self.rng.randrange(len(note))
            changed = note[:at] + ("A" if note[at] != "A" else "B") + note[at + 1 :]
            self.db.execute("UPDATE log_checkpoint SET note=?", (changed,))
        else:
            other = NoteSigner.generate(ORIGIN).sign(
                Checkpoint(ORIGIN, self.grown.size, root).text()
            )
            self.db.execute("UPDATE log_checkpoint SET note=?", (other,))
        return Change("checkpoint changed")

    def loses_the_checkpoint(self) -> Change:
        self.db.execute("DELETE FROM log_checkpoint")
        return Change("checkpoint deleted")

    def changes_what_refers(self) -> Change:
        ref, i = self.rng.choice(self.db.execute("SELECT ref, idx FROM log_ref").fetchall())
        if self.rng.random() < 0.5:
            self.db.execute("DELETE FROM log_ref WHERE ref=? AND idx=?", (ref, i))
        else:
            self.db.execute("UPDATE log_ref SET ref='mdt_zzz' WHERE ref=? AND idx=?", (ref, i))
        return Change("reference hidden", rf"\bentry {i}\b")


_HELP = {"row", "flip", "leaf", "fit", "forged", "close"}


def _changes() -> list[Callable[[Shell], Change]]:
    names = [name for name in vars(Shell) if name not in _HELP and not name.startswith("_")]
    return [getattr(Shell, name) for name in names]


def in_database(grown: Grown, plan: Plan, cycle: int, path: Path) -> tuple[Change, list[str]]:
    """Change a copy; what the product's own verification says of it."""
    shutil.copy(grown.database, path)
    changes = _changes()
    with closing(Shell(grown, path, plan)) as shell:
        change = changes[cycle % len(changes)](shell)
    kind = {
        "trusts-stored-hashes": TrustsHashes,
        "forgets-the-kept-checkpoint": ForgetsWhatWasKept,
    }.get(plan.mutant or "", AuditLog)
    try:
        with opened(path, grown.signer, kind) as (_, log):
            said = list(asyncio.run(log.verify()).problems)
            try:
                asyncio.run(log.start(grown.kept))
            except Refused as refused:
                said.append(refused.detail)
    except Refused as refused:
        said = [refused.detail]
    except Exception as crash:
        said = []
        change = Change(f"{change.what}, which crashed the verifier ({crash!r})")
    return change, said


# -- the attacker with a file manager --------------------------------------------------------------


def in_export(grown: Grown, plan: Plan, cycle: int) -> tuple[Change, list[str]]:
    """Change one file of the exported folder, look, put it back."""
    files = sorted(path for path in grown.folder.rglob("*") if path.is_file())
    victim = plan.rng.choice(files)
    before = victim.read_bytes()
    other: Path | None = None
    how = cycle % 5
    if how == 0:
        at, bit = plan.rng.randrange(len(before)), 1 << plan.rng.randrange(8)
        victim.write_bytes(before[:at] + bytes([before[at] ^ bit]) + before[at + 1 :])
    elif how == 1:
        victim.unlink()
    elif how == 2:
        victim.write_bytes(before[: plan.rng.randrange(len(before))])
    elif how == 3:
        other = plan.rng.choice([path for path in files if path.read_bytes() != before])
        after = other.read_bytes()
        victim.write_bytes(after)
        other.write_bytes(before)
    else:
        victim.write_bytes(before + plan.rng.randbytes(1 + plan.rng.randrange(40)))
    name = ("flipped", "deleted", "cut", "swapped", "longer")[how]
    try:
        verify_export(grown.folder, str(grown.signer.verifier), checkpoint=grown.kept)
        said = []
    except Refused as refused:
        said = [refused.detail]
    finally:
        if other is not None:
            other.write_bytes(victim.read_bytes())
        victim.write_bytes(before)
    return Change(f"{victim.relative_to(grown.folder)} {name}"), said


# -- the rig ---------------------------------------------------------------------------------------


def run(plan: Plan) -> Tally:
    small = grow(plan.folder / "small", SMALL)
    large = grow(plan.folder / "large", LARGE) if plan.mutant is None else small
    tally = in_lanes(plan, partial(tampered, small, large))
    tally.figures["detected"] = tally.acknowledged / max(1, plan.done)
    return tally


def tampered(small: Grown, large: Grown, plan: Plan) -> Tally:
    """One lane. What is changed is in memory, where there is some: nothing here is about a disk."""
    with TemporaryDirectory(prefix="actfor-faults-", dir=base()) as folder:
        small, large = (_own(grown, Path(folder)) for grown in (small, large))
        return _tampered(small, large, plan, Path(folder) / "copy.db")


def _tampered(small: Grown, large: Grown, plan: Plan, copy: Path) -> Tally:
    tally, cycle, missed = Tally(), 0, dict[str, int]()
    while not plan.over(cycle, tally):
        grown = large if cycle % LARGE_PART == LARGE_PART - 1 else small
        dice = plan.rng.randrange(1 << 30)
        if cycle % 3 == 2:
            change, said = in_export(grown, plan, dice)
        else:
            change, said = in_database(grown, plan, dice, copy)
        plan.remember(change=change.what, size=grown.size, said=said)
        tally.acknowledged += bool(said)
        if not said:
            missed[f"not found: {change.what}"] = missed.get(f"not found: {change.what}", 0) + 1
        elif change.says is not None and not any(re.search(change.says, one) for one in said):
            what = f"found elsewhere: {change.what}: {said[0]}, not /{change.says}/"
            missed[what] = missed.get(what, 0) + 1
        tally.problems = [f"{what} ({times} times)" for what, times in missed.items()]
        cycle += 1
    return tally


def _own(grown: Grown, folder: Path) -> Grown:
    """Its export in a folder of this lane's, whose files are changed and put back."""
    own = folder / f"export-{grown.size}"
    shutil.copytree(grown.folder, own, dirs_exist_ok=True)
    return replace(grown, folder=own)


# -- mutants ---------------------------------------------------------------------------------------


class TrustsHashes(AuditLog):
    """Mutant: recomputes the tree from the hashes that are stored, not from the leaves."""

    async def verify(self) -> VerifyReport:
        return await self._database.read(self._recomputed)

    def _recomputed(self, tx: Tx) -> VerifyReport:
        size = rows.head(tx).size
        hashes = rows.hashes(tx, 0, size)
        stored = rows.checkpoint(tx)
        assert stored is not None
        signed = Checkpoint.verified(stored.note, self._signer.verifier)
        whole = merkle.root(hashes[: signed.size]) == signed.root
        problems = () if whole else ("the entries do not lead to the signed root",)
        return VerifyReport(size, signed.size, 0, 0, problems)


class ForgetsWhatWasKept(AuditLog):
    """Mutant: believes whatever is signed, however little it has to do with what was kept."""

    async def start(self, retained: str | None = None) -> None:
        await super().start(None)


RIG = Rig(
    "R14", "one change to a stored or exported log", run, short=2_000, release=100_000,
    mutants={"trusts-stored-hashes": 100, "forgets-the-kept-checkpoint": 400},
)  # fmt: skip
