"""C2SP tlog-tiles: a log as static resources that anyone can fetch, cache and mirror.

    checkpoint                   the signed tree head
    tile/<L>/<N>[.p/<W>]         256 (or W) hashes: perfect nodes at tree level 8 * L
    tile/entries/<N>[.p/<W>]     256 (or W) entries, each with a uint16 length before it

Only tiles of trees for which a checkpoint was signed are served or fetched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from actfor.errors import Kind, Refused
from actfor.wire.merkle import EMPTY_ROOT, HASH_BYTES, fold, root

TILE_WIDTH = 256
TILE_HEIGHT = 8
MAX_ENTRY_BYTES = 65_535

_PATH = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a tile stands. ``level`` is None for a bundle of entries; ``width`` 256 is full."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @classmethod
    def parse(cls, path: str) -> Self:
        """Read ``tile/0/x001/x234/067.p/12``; one spelling for each tile.

        Raises:
            Refused: NOT_FOUND for any other path, as a static file server would.
        """
        match = _PATH.fullmatch(path)
        if match is None or len(path) > 64:
            raise Refused(Kind.NOT_FOUND, "no such tile")
        level = None if match[1] == "entries" else int(match[1])
        tile = cls(
            level, int(match[2].replace("x", "").replace("/", "")), int(match[3] or TILE_WIDTH)
        )
        if (level or 0) > 63 or tile.width > TILE_WIDTH or tile.path() != path:
            raise Refused(Kind.NOT_FOUND, "no such tile")
        return tile

    def path(self) -> str:
        """The one spelling of this tile's path, below the log's prefix."""
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
        index = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.level is None else self.level}/{index}{partial}"


def tiles_of(size: int) -> Iterator[Tile]:
    """All tiles of a tree of this size: entries first, then hashes level by level."""
    for index, width in _widths(size):
        yield Tile(None, index, width)
    level = 0
    while size:
        for index, width in _widths(size):
            yield Tile(level, index, width)
        size, level = size // TILE_WIDTH, level + 1


class TreeWalk:
    """A tree grown leaf by leaf, with at most 255 hashes kept for each tile level.

    ``on_tile`` is told every tile that becomes full: level, index, its hashes. ``resume`` is, for
    each level, the hashes right of its full tiles, in a tree that was walked before up to a whole
    number of tiles of entries.
    """

    def __init__(
        self,
        on_tile: Callable[[int, int, list[bytes]], None] | None = None,
        *,
        resume: list[list[bytes]] | None = None,
    ) -> None:
        self._levels: list[list[bytes]] = resume or [[]]
        self._on_tile = on_tile
        self.size = sum(
            len(hashes) * TILE_WIDTH**level for level, hashes in enumerate(self._levels)
        )
        self._full = [self.size // TILE_WIDTH ** (level + 1) for level in range(len(self._levels))]

    def add(self, leaf_hash: bytes) -> None:
        """One more leaf."""
        self.size += 1
        level = self._levels[0]
        level.append(leaf_hash)
        if len(level) == TILE_WIDTH:
            self._complete(0)

    def root(self) -> bytes:
        """The root over all leaves so far."""
        right: bytes | None = None
        for level in self._levels:
            if level and right is None:
                right = root(level)
            elif level and right is not None:
                right = fold(level, right)
        return EMPTY_ROOT if right is None else right

    def partial(self) -> Iterator[tuple[int, int, list[bytes]]]:
        """The tiles that are not full: level, index, hashes."""
        for level, hashes in enumerate(self._levels):
            if hashes:
                yield level, self._full[level], hashes

    def _complete(self, level: int) -> None:
        hashes, self._levels[level] = self._levels[level], []
        if self._on_tile is not None:
            self._on_tile(level, self._full[level], hashes)
        self._full[level] += 1
        if level + 1 == len(self._levels):
            self._levels.append([])
            self._full.append(0)
        above = self._levels[level + 1]
        above.append(_root_of_tile(hashes))
        if len(above) == TILE_WIDTH:
            self._complete(level + 1)


def _root_of_tile(hashes: list[bytes]) -> bytes:
    """The root over 256 hashes; the loop that a large log spends its time in."""
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
    return hashes[0]


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """A bundle: each entry after its big-endian uint16 length."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_entries(bundle: bytes, width: int) -> list[bytes]:
    """Exactly ``width`` entries, nothing left over.

    Raises:
        Refused: DENIED if the bundle was cut, padded or has another number of entries.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(bundle):
        start = at + 2
        at = start + int.from_bytes(bundle[at:start], "big")
        entries.append(bundle[start:at])
    if at != len(bundle) or len(entries) != width:
        raise Refused(Kind.DENIED, "a bundle of entries was cut or changed")
    return entries


def decode_hashes(tile: bytes, width: int) -> list[bytes]:
    """Exactly ``width`` hashes; raises as ``decode_entries`` does."""
    if len(tile) != width * HASH_BYTES:
        raise Refused(Kind.DENIED, "a tile of hashes was cut or changed")
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def _widths(size: int) -> Iterator[tuple[int, int]]:
    """Index and width of each tile that holds one level of ``size`` hashes."""
    full, rest = divmod(size, TILE_WIDTH)
    yield from ((index, TILE_WIDTH) for index in range(full))
    if rest:
        yield full, rest
