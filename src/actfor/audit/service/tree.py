"""The stored tree: how a transaction makes it grow, and how its nodes are found again.

Leaves are rows; every 256 hashes of a level become a full tile in the transaction that
completes them; partial tiles are never stored, they are read from the level below.
"""

from __future__ import annotations

from actfor.audit import repository
from actfor.errors import Kind, Refused
from actfor.store import Tx
from actfor.wire import merkle
from actfor.wire.merkle import HASH_BYTES, Frontier
from actfor.wire.tiles import TILE_HEIGHT, TILE_WIDTH


class Growth:
    """The tree head during one transaction (a ``store.Participant``).

    The head is read in every transaction, never kept between two: after a crash another process
    may have committed since (threats-and-faults §0.3).
    """

    def __init__(self, start: Frontier) -> None:
        self._start = start
        self.frontier = start

    @classmethod
    def of(cls, tx: Tx) -> Growth:
        """The growth shared by the units of this transaction."""
        return tx.participant(cls, lambda: cls(repository.head_to_grow(tx)))

    def mark(self) -> object:
        """A frontier is a value, so it is its own bookmark."""
        return self.frontier

    def rewind(self, mark: object) -> None:
        """A unit was rolled back, and its leaves with it."""
        assert isinstance(mark, Frontier)  # noqa: S101 - our own mark
        self.frontier = mark

    def flush(self, tx: Tx) -> None:
        """Write the tiles that became full, and the head, once for all units."""
        old, new = self._start, self.frontier
        if old.size == new.size:
            return
        for n in range(old.size // TILE_WIDTH, new.size // TILE_WIDTH):
            _complete(tx, 0, n)
        repository.advance(tx, old, new)


def _complete(tx: Tx, level: int, n: int) -> None:
    """Keep tile ``n`` of a level, and the tile above if that is full now, too."""
    hashes = _below(tx, level, n * TILE_WIDTH, (n + 1) * TILE_WIDTH)
    repository.add_tile(tx, level, n, b"".join(hashes), merkle.root(hashes))
    if (n + 1) % TILE_WIDTH == 0:
        _complete(tx, level + 1, n // TILE_WIDTH)


def _below(tx: Tx, level: int, start: int, end: int) -> list[bytes]:
    """Hashes ``[start, end)`` of a tile level, from what that level is made of."""
    if level == 0:
        found = repository.hashes(tx, start, end)
    else:
        found = repository.tile_roots(tx, level - 1, start, end)
    if len(found) != end - start:
        raise Refused(Kind.CONFLICT, f"the log's tree has lost hashes at level {level}")
    return found


class Nodes:
    """Finds nodes of the committed tree inside one transaction (a ``merkle.Node`` when called)."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._full: dict[tuple[int, int], bytes | None] = {}  # tiles already looked up

    def __call__(self, level: int, index: int) -> bytes:
        """The perfect node ``(level, index)``, which must be below the committed size."""
        above, height = divmod(level, TILE_HEIGHT)
        return merkle.root(self.hashes(above, index << height, (index + 1) << height))

    def hashes(self, level: int, start: int, end: int) -> list[bytes]:
        """Hashes ``[start, end)`` of one tile level, all within one tile."""
        n, first = divmod(start, TILE_WIDTH)
        body = self._tile(level, n)
        if body is None:
            return _below(self._tx, level, start, end)
        last = first + end - start
        return [body[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(first, last)]

    def root(self, size: int) -> bytes:
        """The root of the tree as it was at ``size``."""
        if size == 0:
            return merkle.EMPTY_ROOT
        return merkle.root_of_range(0, size, self)

    def _tile(self, level: int, n: int) -> bytes | None:
        if (level, n) not in self._full:
            self._full[level, n] = repository.tile(self._tx, level, n)
        return self._full[level, n]
