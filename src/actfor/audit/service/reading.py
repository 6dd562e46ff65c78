"""Looking things up in the log. Everything here runs in a read transaction."""

from __future__ import annotations

from actfor.audit import repository
from actfor.audit.model import LoggedEvent, references
from actfor.audit.repository import StoredLeaf
from actfor.audit.service.payloads import Reader
from actfor.audit.service.tree import Nodes
from actfor.errors import Kind, Refused
from actfor.store import Tx
from actfor.wire.log_entry import LogEntry
from actfor.wire.tiles import TILE_WIDTH, Tile, encode_entries

MAX_EVENTS = 500
_MAX_TRACES = 20


def event(reader: Reader, found: StoredLeaf) -> LoggedEvent:
    """A stored leaf as an event."""
    opened = reader.open(found)
    return LoggedEvent.of(LogEntry.decode(found.leaf), opened.openings, opened.erased_by)


def span(tx: Tx, reader: Reader, start: int, most: int) -> list[LoggedEvent]:
    """The events from an index on."""
    end = start + max(0, min(most, MAX_EVENTS))
    return [event(reader, found) for found in repository.stored(tx, start, end)]


def search(
    tx: Tx, reader: Reader, limit: int, before: int | None, type_: str | None, agent: str | None
) -> list[LoggedEvent]:
    """The newest events before an index."""
    most = max(1, min(limit, MAX_EVENTS))
    first = 2**62 if before is None else before
    return [event(reader, found) for found in repository.newest(tx, first, most, type_, agent)]


def trace(tx: Tx, reader: Reader, trace_or_id: str) -> list[LoggedEvent]:
    """The events of a trace, and of the things they refer to (its mandate, its grant, and the
    grants that one was passed on from).
    """
    events = {found.index: event(reader, found) for found in _own(tx, trace_or_id)}
    named = sorted({ref for found in events.values() for ref in references(found.facts)})
    named = named[:_MAX_TRACES]
    for ref in named:  # grows on the way, by those above a grant
        for found in repository.of_trace(tx, ref, MAX_EVENTS):
            seen = events.setdefault(found.index, event(reader, found))
            parent = seen.facts.get("parent")
            if isinstance(parent, str) and parent not in named and len(named) < _MAX_TRACES:
                named.append(parent)
    return [events[index] for index in sorted(events)]


def _own(tx: Tx, trace_or_id: str) -> list[StoredLeaf]:
    """By trace; else an id that other events name (an approval) stands for their traces."""
    found = repository.of_trace(tx, trace_or_id, MAX_EVENTS)
    if found:
        return found
    traces = repository.traces_referring_to(tx, trace_or_id, _MAX_TRACES)
    return [leaf for named in traces for leaf in repository.of_trace(tx, named, MAX_EVENTS)]


def tile(tx: Tx, wanted: Tile) -> bytes:
    """The bytes of a tile of the checkpointed tree (tlog-tiles: nothing beyond it is served)."""
    signed = repository.checkpoint(tx)
    span = TILE_WIDTH ** (wanted.level or 0)
    start = wanted.index * TILE_WIDTH
    end = start + wanted.width
    if signed is None or end * span > signed.size:
        raise Refused(Kind.NOT_FOUND, "no such tile")
    # tlog-tiles, Pruning: full bundles that end at or below the minimum index are gone; tiles of
    # hashes stay, so that every later proof, and every earlier receipt, can still be led to a root.
    if wanted.level is None and start < repository.minimum(tx)[0]:
        raise Refused(Kind.NOT_FOUND, "these entries were pruned")
    if wanted.level is None:
        return encode_entries([leaf for leaf, _ in repository.leaves(tx, start, end)])
    return b"".join(Nodes(tx).hashes(wanted.level, start, end))
