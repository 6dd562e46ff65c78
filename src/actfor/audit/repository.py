"""The log's tables. Rows of ``log_leaf`` and ``log_tile`` are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from actfor.store import Tx, insert_ignore, metadata
from actfor.wire.merkle import Frontier
from actfor.wire.timestamps import from_ms, to_ms

_ONE = 1  # the id of a table's only row

log_leaf = Table(
    "log_leaf",
    metadata,
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("type", Text, nullable=False),
    Column("trace", Text, nullable=False),
    Column("agent", Text),
    Column("at", Integer, nullable=False),
    Index(None, "trace", "idx"),
    Index(None, "type", "idx"),
    Index(None, "agent", "idx"),
)
log_payload = Table(
    "log_payload",
    metadata,
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("salt", LargeBinary, nullable=False),
    Column("body", Text, nullable=False),
)
# The same, encrypted by person (see service.payloads); `log_payload` is what older releases left.
log_sealed = Table(
    "log_sealed",
    metadata,
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)
log_ref = Table(
    "log_ref",
    metadata,
    Column("ref", Text, primary_key=True),
    Column("idx", Integer, primary_key=True, autoincrement=False),
)
log_tile = Table(
    "log_tile",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
)
log_head = Table(
    "log_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
)
log_checkpoint = Table(
    "log_checkpoint",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("at", Integer, nullable=False),
)

log_cosigned = Table(
    "log_cosigned",
    metadata,
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("quorum", Integer, nullable=False),
    Column("at", Integer, nullable=False),
)
log_minimum = Table(
    "log_minimum",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("minimum", Integer, nullable=False),
    Column("deleted", Integer, nullable=False),
    Column("at", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A leaf and what is kept beside it; None where there is nothing (any more).

    ``salt`` and ``body`` are what a release before encryption left.
    """

    index: int
    leaf: bytes
    sealed: bytes | None
    salt: bytes | None
    body: str | None


@dataclass(frozen=True, slots=True)
class KeptLeaf:
    """A leaf and all that was made from it when it was added, for comparison."""

    stored: StoredLeaf
    hash: bytes
    type: str
    trace: str
    agent: str | None
    at: int


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """The last tree head that was signed."""

    size: int
    root: bytes
    note: str


_ADD_LEAF = insert(log_leaf).values(
    idx=bindparam("idx"),
    leaf=bindparam("leaf"),
    hash=bindparam("hash"),
    type=bindparam("type"),
    trace=bindparam("trace"),
    agent=bindparam("agent"),
    at=bindparam("at"),
)
_ADD_SEALED = insert(log_sealed).values(idx=bindparam("idx"), body=bindparam("body"))
_OLD_PAYLOADS = (
    select(log_payload.c.idx, log_payload.c.salt, log_payload.c.body)
    .order_by(log_payload.c.idx)
    .limit(bindparam("most"))
)
_OLDEST_PAYLOAD = select(func.min(log_sealed.c.idx))
_DROP_BELOW = delete(log_sealed).where(log_sealed.c.idx < bindparam("below"))
_DROP_OLD_PAYLOAD = delete(log_payload).where(log_payload.c.idx == bindparam("of"))
_ADD_REF = insert_ignore(log_ref).values(ref=bindparam("ref"), idx=bindparam("idx"))
_HASHES = (
    select(log_leaf.c.hash)
    .where(log_leaf.c.idx >= bindparam("start"), log_leaf.c.idx < bindparam("end"))
    .order_by(log_leaf.c.idx)
)
_LEAVES_RAW = (
    select(log_leaf.c.leaf, log_leaf.c.hash)
    .where(log_leaf.c.idx >= bindparam("start"), log_leaf.c.idx < bindparam("end"))
    .order_by(log_leaf.c.idx)
)
_STORED = select(
    log_leaf.c.idx, log_leaf.c.leaf, log_sealed.c.body, log_payload.c.salt, log_payload.c.body
).select_from(
    log_leaf.outerjoin(log_sealed, log_leaf.c.idx == log_sealed.c.idx).outerjoin(
        log_payload, log_leaf.c.idx == log_payload.c.idx
    )
)
_RANGE = _STORED.where(
    log_leaf.c.idx >= bindparam("start"), log_leaf.c.idx < bindparam("end")
).order_by(log_leaf.c.idx)
_KEPT = (
    _STORED.add_columns(
        log_leaf.c.hash, log_leaf.c.type, log_leaf.c.trace, log_leaf.c.agent, log_leaf.c.at
    )
    .where(log_leaf.c.idx >= bindparam("start"), log_leaf.c.idx < bindparam("end"))
    .order_by(log_leaf.c.idx)
)
_REF = select(log_ref.c.idx).where(
    log_ref.c.ref == bindparam("to"), log_ref.c.idx == bindparam("of")
)
_REFS = select(func.count()).select_from(log_ref)
_PAYLOAD_BEYOND = select(log_payload.c.idx).where(
    or_(log_payload.c.idx < 0, log_payload.c.idx >= bindparam("size"))
)
_SEALED_BEYOND = select(log_sealed.c.idx).where(
    or_(log_sealed.c.idx < 0, log_sealed.c.idx >= bindparam("size"))
)
_TILES = select(log_tile.c.level, log_tile.c.n, log_tile.c.root).where(
    log_tile.c.level == bindparam("of_level")
)
_LEVELS = select(log_tile.c.level).distinct()
_OF_TRACE = (
    _STORED.where(log_leaf.c.trace == bindparam("of"))
    .order_by(log_leaf.c.idx)
    .limit(bindparam("most"))
)
_NEWEST = (
    _STORED.where(log_leaf.c.idx < bindparam("before"))
    .order_by(log_leaf.c.idx.desc())
    .limit(bindparam("most"))
)
_BY_TYPE = _NEWEST.where(log_leaf.c.type == bindparam("of_type"))
_BY_AGENT = _NEWEST.where(log_leaf.c.agent == bindparam("of_agent"))
_BY_BOTH = _BY_TYPE.where(log_leaf.c.agent == bindparam("of_agent"))
_REFERRING = (
    select(log_leaf.c.trace)
    .distinct()
    .select_from(log_ref.join(log_leaf, log_leaf.c.idx == log_ref.c.idx))
    .where(log_ref.c.ref == bindparam("to"))
    .limit(bindparam("most"))
)
_LOWEST = select(func.min(log_leaf.c.idx))
_HIGHEST = select(func.max(log_leaf.c.idx))
_COUNT_SINCE = (
    select(func.count()).select_from(log_leaf).where(log_leaf.c.idx >= bindparam("start"))
)
_HEAD = select(log_head.c.size, log_head.c.frontier).where(log_head.c.id == _ONE)
# Behind the sequencer's lock already; the row's own lock stops whoever writes beside it.
_HEAD_TO_GROW = _HEAD.with_for_update()
_FIRST_HEAD = insert(log_head).values(
    id=_ONE, size=bindparam("new_size"), frontier=bindparam("new_frontier")
)
_ADVANCE = (
    update(log_head)
    .where(log_head.c.id == _ONE, log_head.c.size == bindparam("old_size"))
    .values(size=bindparam("new_size"), frontier=bindparam("new_frontier"))
)
_ADD_TILE = insert(log_tile).values(
    level=bindparam("level"), n=bindparam("n"), body=bindparam("body"), root=bindparam("root")
)
_TILE = select(log_tile.c.body).where(
    log_tile.c.level == bindparam("of_level"), log_tile.c.n == bindparam("of_n")
)
_TILE_ROOTS = (
    select(log_tile.c.root)
    .where(
        log_tile.c.level == bindparam("of_level"),
        log_tile.c.n >= bindparam("start"),
        log_tile.c.n < bindparam("end"),
    )
    .order_by(log_tile.c.n)
)
_CHECKPOINT = select(log_checkpoint.c.size, log_checkpoint.c.root, log_checkpoint.c.note).where(
    log_checkpoint.c.id == _ONE
)
_FIRST_CHECKPOINT = insert_ignore(log_checkpoint).values(
    id=_ONE,
    size=bindparam("new_size"),
    root=bindparam("new_root"),
    note=bindparam("new_note"),
    at=bindparam("now"),
)
_REPLACE_CHECKPOINT = (
    update(log_checkpoint)
    .where(log_checkpoint.c.id == _ONE, log_checkpoint.c.note == bindparam("old_note"))
    .values(
        size=bindparam("new_size"),
        root=bindparam("new_root"),
        note=bindparam("new_note"),
        at=bindparam("now"),
    )
)
_COSIGNED = select(log_cosigned.c.size, log_cosigned.c.root, log_cosigned.c.note)
_COSIGNED_OF = _COSIGNED.where(log_cosigned.c.size == bindparam("of_size"))
_PUBLISHED = (
    _COSIGNED.where(log_cosigned.c.quorum == 1).order_by(log_cosigned.c.size.desc()).limit(1)
)
_COSIGNED_SIZES = select(log_cosigned.c.size).order_by(log_cosigned.c.size)
_ADD_COSIGNED = insert(log_cosigned).values(
    size=bindparam("of_size"),
    root=bindparam("root"),
    note=bindparam("note"),
    quorum=bindparam("quorum"),
    at=bindparam("now"),
)
_DROP_COSIGNED = delete(log_cosigned).where(log_cosigned.c.size == bindparam("of_size"))
_DROP_ALL_COSIGNED = delete(log_cosigned)
_DROP_CHECKPOINT = delete(log_checkpoint)
_MINIMUM = select(log_minimum.c.minimum, log_minimum.c.deleted).where(log_minimum.c.id == _ONE)
_MINIMUM_SINCE = select(log_minimum.c.at).where(log_minimum.c.id == _ONE)
_FIRST_MINIMUM = insert_ignore(log_minimum).values(id=_ONE, minimum=0, deleted=0, at=0)
_SET_MINIMUM = (
    update(log_minimum)
    .where(log_minimum.c.id == _ONE, log_minimum.c.minimum <= bindparam("to"))
    .values(minimum=bindparam("to"), at=bindparam("now"))
)
_SET_DELETED = (
    update(log_minimum)
    .where(log_minimum.c.id == _ONE, log_minimum.c.minimum >= bindparam("to"))
    .values(deleted=bindparam("to"))
)
_FIRST_SINCE = (
    select(log_leaf.c.idx)
    .where(log_leaf.c.idx >= bindparam("start"), log_leaf.c.at >= bindparam("since"))
    .order_by(log_leaf.c.idx)
    .limit(1)
)
_DELETE_LEAVES = delete(log_leaf).where(
    log_leaf.c.idx >= bindparam("start"), log_leaf.c.idx < bindparam("end")
)
_DELETE_PAYLOADS = delete(log_payload).where(
    log_payload.c.idx >= bindparam("start"), log_payload.c.idx < bindparam("end")
)
_DELETE_SEALED = delete(log_sealed).where(
    log_sealed.c.idx >= bindparam("start"), log_sealed.c.idx < bindparam("end")
)
_DELETE_SEALED = delete(log_sealed).where(
    log_sealed.c.idx >= bindparam("start"), log_sealed.c.idx < bindparam("end")
)
_DELETE_REFS = delete(log_ref).where(
    log_ref.c.idx >= bindparam("start"), log_ref.c.idx < bindparam("end")
)


def add_leaf(
    tx: Tx, index: int, leaf: bytes, leaf_hash: bytes, type_: str, trace: str, agent: str | None
) -> None:
    """Add one leaf; its index is unique."""
    tx.later(
        _ADD_LEAF,
        idx=index,
        leaf=leaf,
        hash=leaf_hash,
        type=type_,
        trace=trace,
        agent=agent,
        at=to_ms(tx.now),
    )


def add_sealed(tx: Tx, index: int, body: bytes) -> None:
    """Keep what opens a leaf's commitments."""
    tx.later(_ADD_SEALED, idx=index, body=body)


def old_payloads(tx: Tx, most: int) -> list[tuple[int, bytes, str]]:
    """What a release before encryption left, as many as there are, at most ``most``."""
    return [(index, salt, body) for index, salt, body in tx.run(_OLD_PAYLOADS, most=most)]


def oldest_payload(tx: Tx) -> int | None:
    """The first entry of which anything private is kept."""
    row = tx.one(_OLDEST_PAYLOAD)
    return row[0] if row else None


def drop_payloads(tx: Tx, below: int) -> int:
    """Delete what is kept of entries below an index; of how many."""
    return tx.changed(_DROP_BELOW, below=below)


def drop_old_payload(tx: Tx, index: int) -> None:
    """Delete one of them."""
    tx.changed(_DROP_OLD_PAYLOAD, of=index)


def add_reference(tx: Tx, ref: str, index: int) -> None:
    """Remember that this leaf names that thing."""
    tx.later(_ADD_REF, ref=ref, idx=index)


def hashes(tx: Tx, start: int, end: int) -> list[bytes]:
    """The hashes of leaves ``[start, end)``, as many as there are."""
    return [value for (value,) in tx.run(_HASHES, start=start, end=end)]


def leaves(tx: Tx, start: int, end: int) -> list[tuple[bytes, bytes]]:
    """Leaf and hash of ``[start, end)``, as many as there are."""
    return [(leaf, leaf_hash) for leaf, leaf_hash in tx.run(_LEAVES_RAW, start=start, end=end)]


def stored(tx: Tx, start: int, end: int) -> list[StoredLeaf]:
    """Leaves ``[start, end)`` with their payloads, as many as there are."""
    return [StoredLeaf(*row) for row in tx.run(_RANGE, start=start, end=end)]


def kept(tx: Tx, start: int, end: int) -> list[KeptLeaf]:
    """Leaves ``[start, end)`` with everything that is stored of them, as many as there are."""
    return [KeptLeaf(StoredLeaf(*row[:5]), *row[5:]) for row in tx.run(_KEPT, start=start, end=end)]


def is_reference(tx: Tx, ref: str, index: int) -> bool:
    """Whether it is remembered that this leaf names that thing."""
    return tx.one(_REF, to=ref, of=index) is not None


def count_references(tx: Tx) -> int:
    """How many are remembered."""
    row = tx.one(_REFS)
    return row[0] if row else 0


def payloads_beyond(tx: Tx, size: int) -> list[int]:
    """Indices of payloads that belong to no leaf of a log of that size."""
    found = [*tx.run(_PAYLOAD_BEYOND, size=size), *tx.run(_SEALED_BEYOND, size=size)]
    return [index for (index,) in found]


def roots_of_level(tx: Tx, level: int) -> dict[int, bytes]:
    """The root that is stored with each full tile of a level."""
    return {n: root for _, n, root in tx.run(_TILES, of_level=level)}


def levels(tx: Tx) -> list[int]:
    """The levels that have any tile."""
    return sorted(level for (level,) in tx.run(_LEVELS))


def of_trace(tx: Tx, trace: str, most: int) -> list[StoredLeaf]:
    """All leaves of one trace, oldest first."""
    return [StoredLeaf(*row) for row in tx.run(_OF_TRACE, of=trace, most=most)]


def traces_referring_to(tx: Tx, ref: str, most: int) -> list[str]:
    """The traces of the leaves that name this thing."""
    return [trace for (trace,) in tx.run(_REFERRING, to=ref, most=most)]


def newest(
    tx: Tx, before: int, most: int, type_: str | None, agent: str | None
) -> list[StoredLeaf]:
    """The last leaves before an index, newest first, of one type or agent if given."""
    if type_ is not None and agent is not None:
        rows = tx.run(_BY_BOTH, before=before, most=most, of_type=type_, of_agent=agent)
    elif type_ is not None:
        rows = tx.run(_BY_TYPE, before=before, most=most, of_type=type_)
    elif agent is not None:
        rows = tx.run(_BY_AGENT, before=before, most=most, of_agent=agent)
    else:
        rows = tx.run(_NEWEST, before=before, most=most)
    return [StoredLeaf(*row) for row in rows]


def extent(tx: Tx) -> tuple[int, int] | None:
    """The lowest and the highest leaf index; None if there is no leaf."""
    # Two statements: SQLite finds one end of an index in a moment, both ends by reading all of it.
    low, high = tx.one(_LOWEST), tx.one(_HIGHEST)
    return None if low is None or high is None or low[0] is None else (low[0], high[0])


def count_since(tx: Tx, start: int) -> int:
    """How many leaves there are from an index on."""
    row = tx.one(_COUNT_SINCE, start=start)
    return row[0] if row else 0


def head(tx: Tx) -> Frontier:
    """The tree head; the empty tree if nothing was ever appended."""
    row = tx.one(_HEAD)
    return Frontier.from_bytes(*row) if row else Frontier()


def head_to_grow(tx: Tx) -> Frontier:
    """The tree head, for a transaction that will replace it."""
    row = tx.one(_HEAD_TO_GROW)
    return Frontier.from_bytes(*row) if row else Frontier()


def advance(tx: Tx, old: Frontier, new: Frontier) -> None:
    """Replace the head; the transaction fails if it is not ``old`` any more: two writers."""
    if old.size == 0 and tx.one(_HEAD) is None:
        tx.must(_FIRST_HEAD, new_size=new.size, new_frontier=new.to_bytes())
    else:
        tx.must(_ADVANCE, old_size=old.size, new_size=new.size, new_frontier=new.to_bytes())


def add_tile(tx: Tx, level: int, n: int, body: bytes, root: bytes) -> None:
    """Keep a full tile and the root over it."""
    tx.later(_ADD_TILE, level=level, n=n, body=body, root=root)


def tile(tx: Tx, level: int, n: int) -> bytes | None:
    """A full tile, or None if it is not full yet."""
    row = tx.one(_TILE, of_level=level, of_n=n)
    return row[0] if row else None


def tile_roots(tx: Tx, level: int, start: int, end: int) -> list[bytes]:
    """The roots of full tiles ``[start, end)`` of a level, as many as there are."""
    return [value for (value,) in tx.run(_TILE_ROOTS, of_level=level, start=start, end=end)]


def checkpoint(tx: Tx) -> StoredCheckpoint | None:
    """The last signed tree head."""
    row = tx.one(_CHECKPOINT)
    return StoredCheckpoint(*row) if row else None


def replace_checkpoint(
    tx: Tx, old: StoredCheckpoint | None, new: StoredCheckpoint, now: datetime
) -> bool:
    """Compare-and-swap; False if another checkpoint was stored meanwhile."""
    at = to_ms(now)
    if old is None:
        return (
            tx.changed(
                _FIRST_CHECKPOINT, new_size=new.size, new_root=new.root, new_note=new.note, now=at
            )
            == 1
        )
    return (
        tx.changed(
            _REPLACE_CHECKPOINT,
            old_note=old.note,
            new_size=new.size,
            new_root=new.root,
            new_note=new.note,
            now=at,
        )
        == 1
    )


def cosigned(tx: Tx, size: int) -> StoredCheckpoint | None:
    """The note of this size with the cosignatures collected so far."""
    row = tx.one(_COSIGNED_OF, of_size=size)
    return StoredCheckpoint(*row) if row else None


def published(tx: Tx) -> StoredCheckpoint | None:
    """The newest note that the quorum cosigned."""
    row = tx.one(_PUBLISHED)
    return StoredCheckpoint(*row) if row else None


def cosigned_sizes(tx: Tx) -> list[int]:
    """The sizes for which cosignatures are kept."""
    return [size for (size,) in tx.run(_COSIGNED_SIZES)]


def put_cosigned(tx: Tx, note: StoredCheckpoint, *, quorum: bool, now: datetime) -> None:
    """Keep a note with its cosignatures in place of what was kept for its size."""
    tx.changed(_DROP_COSIGNED, of_size=note.size)
    tx.changed(
        _ADD_COSIGNED,
        of_size=note.size,
        root=note.root,
        note=note.note,
        quorum=int(quorum),
        now=to_ms(now),
    )


def drop_cosigned(tx: Tx, size: int) -> None:
    """Forget the cosignatures of one size."""
    tx.changed(_DROP_COSIGNED, of_size=size)


def forget_checkpoints(tx: Tx) -> None:
    """Forget what was signed: the log goes on under another identity (``recovery``)."""
    tx.changed(_DROP_CHECKPOINT)
    tx.changed(_DROP_ALL_COSIGNED)


def minimum(tx: Tx) -> tuple[int, int]:
    """The lowest entry that is served, and the lowest that is still stored."""
    row = tx.one(_MINIMUM)
    return (row[0], row[1]) if row else (0, 0)


def raise_minimum(tx: Tx, to: int, now: datetime) -> bool:
    """Serve nothing below ``to``; False if the minimum is higher already."""
    tx.changed(_FIRST_MINIMUM)
    return tx.changed(_SET_MINIMUM, to=to, now=to_ms(now)) == 1


def first_since(tx: Tx, start: int, since: datetime) -> int | None:
    """The first entry from ``start`` on that is not older than ``since``."""
    row = tx.one(_FIRST_SINCE, start=start, since=to_ms(since))
    return row[0] if row else None


def minimum_since(tx: Tx) -> datetime:
    """When the minimum was raised last."""
    row = tx.one(_MINIMUM_SINCE)
    return from_ms(row[0] if row else 0)


def delete_entries(tx: Tx, start: int, end: int) -> int:
    """Delete entries ``[start, end)`` with their payloads; the tiles over them stay."""
    tx.vital = True  # it makes space
    gone = tx.changed(_DELETE_LEAVES, start=start, end=end)
    tx.changed(_DELETE_PAYLOADS, start=start, end=end)
    tx.changed(_DELETE_SEALED, start=start, end=end)
    tx.changed(_DELETE_SEALED, start=start, end=end)
    tx.changed(_DELETE_REFS, start=start, end=end)
    tx.changed(_SET_DELETED, to=end)
    return gone
