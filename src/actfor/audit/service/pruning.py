"""Old entries leave the log by policy, from the front: refused first, deleted later.

    minimum index   nothing below it is served; a whole number of bundles (tlog-tiles, Pruning)
    deleted below   nothing below it is stored

Tiles of hashes stay, so that every receipt of before, and every proof of later entries, still leads
to a signed root. Both steps are leaves: whoever misses the entries finds that the log said so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from actfor.audit import repository
from actfor.errors import Kind, Refused
from actfor.store import Tx
from actfor.wire.tiles import TILE_WIDTH

RETENTION: Final = timedelta(days=183)
"""Six months: the least that the EU AI Act asks for such logs (Articles 19 and 26)."""
GRACE: Final = timedelta(days=7)
"""Between refusing and deleting: a wrong date can be noticed and undone by restoring nothing."""
CHUNK: Final = 16 * TILE_WIDTH
"""Entries deleted in one transaction."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """How the log stands: served from ``minimum`` on, stored from ``deleted`` on."""

    minimum: int
    deleted: int


def require_old_enough(before: datetime, now: datetime, retention: timedelta) -> None:
    """Refuse to prune what the retention still covers.

    Raises:
        Refused: CONFLICT, naming the newest date that may be asked for.
    """
    newest = now - retention
    if before > newest:
        raise Refused(
            Kind.CONFLICT,
            f"entries are kept for {retention.days} days; nothing after {newest:%Y-%m-%d} is"
            " pruned",
        )


def refuse_older(tx: Tx, before: datetime) -> int | None:
    """Raise the minimum index over whole bundles of entries older than ``before``.

    The new minimum, or None if it stays.
    """
    minimum, _ = repository.minimum(tx)
    signed = repository.checkpoint(tx)
    if signed is None:
        return None
    first = repository.first_since(tx, minimum, before)
    # tlog-tiles: at most the size of the current checkpoint.
    end = signed.size if first is None else min(first, signed.size)
    to = end // TILE_WIDTH * TILE_WIDTH
    if to <= minimum or not repository.raise_minimum(tx, to, tx.now):
        return None
    return to


def delete_some(tx: Tx) -> int:
    """Delete the next entries below the minimum, at most ``CHUNK``; how many.

    Raises:
        Refused: CONFLICT while the minimum is younger than ``GRACE``.
    """
    minimum, deleted = repository.minimum(tx)
    if deleted >= minimum:
        return 0
    since = repository.minimum_since(tx)
    if tx.now - since < GRACE:
        raise Refused(
            Kind.CONFLICT,
            f"entries below {minimum} are refused since {since:%Y-%m-%d}; they are deleted"
            f" {GRACE.days} days later at the earliest",
        )
    end = min(minimum, deleted + CHUNK)
    repository.delete_entries(tx, deleted, end)
    return end - deleted
