"""Copy a published log into a folder, verifying as it goes; the next run fetches what is new.

    <folder>/checkpoint, tile/…    the layout of C2SP tlog-tiles, to be served by any web server

The checkpoint is written last: until then the folder holds what the previous run verified. A run
that was cut short is taken up again from the tiles that it wrote.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path

from actfor.errors import Kind, Refused
from actfor.wire import merkle
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    TreeWalk,
    decode_entries,
    decode_hashes,
    tiles_of,
)
from actfor.wire.tlog_policy import Policy

Fetch = Callable[[str], bytes]
"""The resource below the log's prefix; raises ``Refused`` NOT_FOUND where there is none."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What the folder holds now, how many entries are new, and below which they were pruned."""

    checkpoint: Checkpoint
    added: int
    pruned: int


def mirror(fetch: Fetch, folder: Path, trust: str) -> Mirrored:
    """Bring the folder up to the log's newest checkpoint.

    ``trust`` is the log's verifier key or a policy. What is fetched must continue what the folder
    holds, and every entry and every hash must lead to the signed root.

    Raises:
        Refused: DENIED if the log was changed, cut or forked since the last run, or serves what it
            did not sign; the folder is then as it was. NOT_FOUND where the log lacks a resource.
    """
    policy = Policy.read(trust)
    note = fetch("checkpoint")
    signed = policy.verify(note.decode(errors="replace")).checkpoint
    kept = _kept(folder, policy)
    if kept is not None and kept.size > signed.size:
        raise Refused(
            Kind.DENIED, f"the log was cut: {signed.size} entries, the folder holds {kept.size}"
        )
    run = _Run(fetch, folder, signed, kept)
    try:
        run.run()
    except Refused:
        run.undo()
        raise
    _write(folder / "checkpoint", note)
    _sweep(folder, kept, signed)
    return Mirrored(signed, signed.size - (kept.size if kept else 0), run.pruned)


class _Run:
    def __init__(
        self, fetch: Fetch, folder: Path, signed: Checkpoint, kept: Checkpoint | None
    ) -> None:
        self._fetch = fetch
        self._folder = folder
        self._signed = signed
        self._kept = kept
        # Whole tiles that were verified are not looked at again; the last, partial one is.
        self._start = (kept.size if kept else 0) // TILE_WIDTH
        self._held = set(tiles_of(kept.size)) if kept else set()
        self._tree = TreeWalk(self._tile, resume=self._resumed())
        self.pruned = 0

    def run(self) -> None:
        self._compare()
        for tile in tiles_of(self._signed.size):
            if tile.level is not None:
                break  # entries come first
            if tile.index >= self._start:
                self._bundle(tile)
        for level, n, hashes in self._tree.partial():
            self._tile(level, n, hashes)
        if not compare_digest(self._tree.root(), self._signed.root):
            raise Refused(Kind.DENIED, "the entries do not lead to the signed root")

    def undo(self) -> None:
        """Nothing that was not led to a signed root stays."""
        for tile in tiles_of(self._signed.size):
            if tile not in self._held and tile.index >= self._first(tile):
                (self._folder / tile.path()).unlink(missing_ok=True)

    def _first(self, tile: Tile) -> int:
        return self._start >> (TILE_HEIGHT * (tile.level or 0))

    def _resumed(self) -> list[list[bytes]]:
        """The hashes right of the full tiles at each level above the entries, as verified before.

        If they were changed on our disk since, the roots that are compared below do not fit.
        """
        levels: list[list[bytes]] = [[]]
        size, level = self._start, 1
        while size:
            n, width = divmod(size, TILE_WIDTH)
            levels.append(self._local(Tile(level, n, width)) if width else [])
            size, level = size // TILE_WIDTH, level + 1
        return levels

    def _local(self, tile: Tile) -> list[bytes]:
        try:
            return decode_hashes((self._folder / tile.path()).read_bytes(), tile.width)
        except FileNotFoundError:
            raise Refused(
                Kind.DENIED, f"the folder has lost `{tile.path()}`; begin with an empty one"
            ) from None

    def _bundle(self, tile: Tile) -> None:
        for leaf_hash in self._hashes(tile):
            self._tree.add(leaf_hash)
            self._compare()

    def _hashes(self, tile: Tile) -> Iterator[bytes]:
        path = tile.path()
        local = self._folder / path
        if tile.width == TILE_WIDTH and local.exists():  # written by a run that was cut short
            yield from map(merkle.leaf_hash, decode_entries(local.read_bytes(), tile.width))
            return
        try:
            bundle = self._fetch(path)
        except Refused as refused:
            if refused.kind is not Kind.NOT_FOUND or self._tree.size != self._front():
                raise
            # tlog-tiles, Pruning: the entries are gone, their hashes are not.
            hashes = self._fetch(Tile(0, tile.index, tile.width).path())
            self.pruned = self._tree.size + tile.width
            yield from decode_hashes(hashes, tile.width)
            return
        leaves = decode_entries(bundle, tile.width)
        self._put(tile, bundle)
        yield from map(merkle.leaf_hash, leaves)

    def _front(self) -> int:
        """Where the next pruned bundle must stand: pruned entries are a prefix of the log."""
        return self.pruned or self._start * TILE_WIDTH

    def _tile(self, level: int, n: int, made: list[bytes]) -> None:
        """The log must serve the hashes that its entries make; ours come from the entries."""
        tile = Tile(level, n, len(made))
        body = b"".join(made)
        if self._fetch(tile.path()) != body:
            raise Refused(Kind.DENIED, f"`{tile.path()}` is not what the entries make")
        self._put(tile, body)

    def _put(self, tile: Tile, body: bytes) -> None:
        """Write a tile, unless it was verified before: then it must be the same."""
        path = self._folder / tile.path()
        if tile not in self._held or not path.exists():
            _write(path, body)
        elif path.read_bytes() != body:
            raise Refused(Kind.DENIED, "the log does not continue what the folder holds")

    def _compare(self) -> None:
        kept = self._kept
        if kept is None or kept.size != self._tree.size:
            return
        if not compare_digest(self._tree.root(), kept.root):
            raise Refused(Kind.DENIED, "the log does not continue what the folder holds")


def _kept(folder: Path, policy: Policy) -> Checkpoint | None:
    try:
        note = (folder / "checkpoint").read_text(errors="replace")
    except FileNotFoundError:
        return None
    return Policy(policy.logs).verify(note).checkpoint


def _sweep(folder: Path, kept: Checkpoint | None, signed: Checkpoint) -> None:
    """Partial tiles that grew are of no more use (tlog-tiles, Partial Tiles)."""
    if kept is None:
        return
    current = set(tiles_of(signed.size))
    for tile in tiles_of(kept.size):
        if tile not in current:
            path = folder / tile.path()
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()


def _write(path: Path, body: bytes) -> None:
    """As a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
