"""Rows of keys. What is secret in them is ciphertext (see ``envelope``); the KEK is elsewhere.

`root_key` is wrapped by the KEK, `data_key` by the root key, `signing_key.sealed` and the payloads
of the log by data keys. A data key belongs to one person, or to the installation (``subject`` is
empty); erasing a person is forgetting their data key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Column,
    Integer,
    LargeBinary,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from actfor.keys.model import Key, KeyState, Purpose
from actfor.store import Row, Tx, insert_ignore, metadata
from actfor.wire.timestamps import from_ms, to_ms

root_key = Table(
    "root_key",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("kek", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
)
data_key = Table(
    "data_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False, unique=True),
    Column("root", Integer, nullable=False),
    Column("wrapped", LargeBinary),  # null once erased: the row is a tombstone then
    Column("created_at", Integer, nullable=False),
    Column("erased_by", Integer),  # the leaf that tells of the erasure
    Column("outside", Text),  # the id of the file that seals it, too (``erasable``); null: none
)
signing_key = Table(
    "signing_key",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("since", Integer, nullable=False),
    Column("rotate_at", Integer),
    Column("cause", Text),
    Column("sealed", LargeBinary),  # null once dead: a dead key signs nothing, ever
)


@dataclass(frozen=True, slots=True)
class Root:
    """A wrapped root key."""

    version: int
    kek: str
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A wrapped data key; ``wrapped`` is None once erased, by leaf ``erased_by``."""

    id: str
    root: int
    wrapped: bytes | None
    erased_by: int | None
    outside: str | None = None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A signing key and its sealed private part."""

    key: Key
    sealed: bytes | None


_ROOT = select(root_key.c.version, root_key.c.kek, root_key.c.wrapped)
_ROOT_NEWEST = _ROOT.order_by(root_key.c.version.desc()).limit(1)
_ROOT_OF = _ROOT.where(root_key.c.version == bindparam("of"))
_ADD_ROOT = insert_ignore(root_key).values({c.name: bindparam(c.name) for c in root_key.columns})
_REWRAP_ROOT = (
    update(root_key)
    .where(root_key.c.version == bindparam("of"))
    .values(kek=bindparam("by"), wrapped=bindparam("to"))
)
_DROP_ROOTS = delete(root_key).where(root_key.c.version < bindparam("below"))

_d = data_key.c
_WRAPPED = (_d.id, _d.root, _d.wrapped, _d.erased_by, _d.outside)
_DATA_OF = select(*_WRAPPED).where(_d.subject == bindparam("of"))
_DATA_BY_ID = select(*_WRAPPED).where(_d.id == bindparam("of"))
_SUBJECT = select(_d.subject).where(_d.id == bindparam("of"))
_DATA_LIVE = select(*_WRAPPED).where(_d.wrapped.is_not(None)).order_by(_d.id)
_DATA_INSIDE = select(*_WRAPPED).where(
    _d.wrapped.is_not(None), _d.outside.is_(None), _d.subject != ""
)
_DATA_OUTSIDE = (
    select(_d.subject, _d.id, _d.outside)
    .where(_d.wrapped.is_not(None), _d.outside.is_not(None))
    .order_by(_d.id)
)
_GONE = select(_d.id).where(_d.wrapped.is_(None)).order_by(_d.id)
_ADD_DATA = insert_ignore(data_key).values(
    id=bindparam("id"),
    subject=bindparam("subject"),
    root=bindparam("root"),
    wrapped=bindparam("wrapped"),
    created_at=bindparam("created_at"),
    outside=bindparam("outside"),
)
_REWRAP_DATA = (
    update(data_key)
    .where(_d.id == bindparam("of"), _d.wrapped.is_not(None))
    .values(root=bindparam("by"), wrapped=bindparam("to"), outside=bindparam("outside"))
)
_ERASE_DATA = (
    update(data_key)
    .where(_d.id == bindparam("of"), _d.wrapped.is_not(None))
    .values(wrapped=None, erased_by=bindparam("leaf"))
)

_ERASED = select(_d.subject, _d.erased_by).where(_d.erased_by.is_not(None)).order_by(_d.erased_by)

_s = signing_key.c
_STORED = (
    _s.kid, _s.purpose, _s.state, _s.created_at, _s.since, _s.rotate_at, _s.cause, _s.sealed,
)  # fmt: skip
_KEYS = select(*_STORED).order_by(_s.created_at, _s.kid)
_LIVE_KEYS = _KEYS.where(_s.state != KeyState.DEAD.value)
_LIVE = select(_s.kid).where(_s.state != KeyState.DEAD.value)
_ADD_KEY = insert(signing_key).values({c.name: bindparam(c.name) for c in signing_key.columns})
_MOVE = (
    update(signing_key)
    .where(_s.kid == bindparam("of"), _s.state == bindparam("old"))
    .values(
        state=bindparam("to"),
        since=bindparam("now"),
        rotate_at=bindparam("due"),
        cause=bindparam("why"),
    )
)
_RESCHEDULE = (
    update(signing_key)
    .where(_s.kid == bindparam("of"), _s.state == KeyState.ACTIVE.value)
    .values(rotate_at=bindparam("due"))
)
_DESTROY = (
    update(signing_key)
    .where(_s.kid == bindparam("of"), _s.state == KeyState.DEAD.value)
    .values(sealed=None)
)


def root(tx: Tx, version: int | None = None) -> Root | None:
    """The newest root key, or the one of a version."""
    row = tx.one(_ROOT_NEWEST) if version is None else tx.one(_ROOT_OF, of=version)
    return None if row is None else Root(*row)


def add_root(tx: Tx, new: Root) -> bool:
    """False if another node made that version first."""
    added = tx.changed(
        _ADD_ROOT,
        version=new.version,
        kek=new.kek,
        wrapped=new.wrapped,
        created_at=to_ms(tx.now),
    )
    return added == 1


def rewrap_root(tx: Tx, version: int, kek: str, wrapped: bytes) -> None:
    """Replace the wrapping of a root key."""
    tx.changed(_REWRAP_ROOT, of=version, by=kek, to=wrapped)


def drop_roots(tx: Tx, below: int) -> None:
    """Forget root keys that wrap nothing any more."""
    tx.changed(_DROP_ROOTS, below=below)


def data_key_of(tx: Tx, subject: str) -> Wrapped | None:
    """A subject's data key."""
    row = tx.one(_DATA_OF, of=subject)
    return None if row is None else Wrapped(*row)


def data_key_by_id(tx: Tx, key_id: str) -> Wrapped | None:
    """A data key, or the tombstone it left."""
    row = tx.one(_DATA_BY_ID, of=key_id)
    return None if row is None else Wrapped(*row)


def subject_of(tx: Tx, key_id: str) -> str | None:
    """Whose a data key is, or was."""
    row = tx.one(_SUBJECT, of=key_id)
    return None if row is None else str(row[0])


def live_data_keys(tx: Tx) -> list[Wrapped]:
    """All that are not erased."""
    return [Wrapped(*row) for row in tx.run(_DATA_LIVE)]


def add_data_key(tx: Tx, new: Wrapped, subject: str) -> bool:
    """False if the subject has one."""
    added = tx.changed(
        _ADD_DATA,
        id=new.id,
        subject=subject,
        root=new.root,
        wrapped=new.wrapped,
        created_at=to_ms(tx.now),
        outside=new.outside,
    )
    return added == 1


def rewrap_data_key(tx: Tx, new: Wrapped) -> None:
    """Replace the wrapping of a data key."""
    assert new.wrapped is not None  # noqa: S101 - what is erased is not wrapped again
    tx.changed(_REWRAP_DATA, of=new.id, by=new.root, to=new.wrapped, outside=new.outside)


def inside_data_keys(tx: Tx) -> list[Wrapped]:
    """Live keys of persons that an older release made, which no file outside seals."""
    return [Wrapped(*row) for row in tx.run(_DATA_INSIDE)]


def outside_data_keys(tx: Tx) -> list[tuple[str, str, str]]:
    """Subject, id, and the file that seals it, of each live key that one does."""
    return [(subject, key_id, outside) for subject, key_id, outside in tx.run(_DATA_OUTSIDE)]


def gone_data_keys(tx: Tx) -> list[str]:
    """The ids of the keys that were erased."""
    return [key_id for (key_id,) in tx.run(_GONE)]


def erase_data_key(tx: Tx, key_id: str, leaf: int) -> bool:
    """Forget a data key; its tombstone names the leaf. False if that was done before."""
    return tx.changed(_ERASE_DATA, of=key_id, leaf=leaf) == 1


def erased(tx: Tx) -> list[tuple[str, int]]:
    """The subjects of tombstones and the leaves they name, oldest first."""
    return [(subject, leaf) for subject, leaf in tx.run(_ERASED)]


def keys(tx: Tx) -> list[StoredKey]:
    """Every key there ever was, oldest first."""
    return [_stored(row) for row in tx.run(_KEYS)]


def live(tx: Tx) -> list[StoredKey]:
    """Every key whose signatures count, oldest first. The dead are many after some years."""
    return [_stored(row) for row in tx.run(_LIVE_KEYS)]


def live_kids(tx: Tx) -> frozenset[str]:
    """The keys whose signatures count."""
    return frozenset(kid for (kid,) in tx.run(_LIVE))


def add_key(tx: Tx, new: Key, sealed: bytes) -> None:
    """A new key."""
    tx.changed(
        _ADD_KEY,
        kid=new.kid,
        purpose=new.purpose.value,
        state=new.state.value,
        created_at=to_ms(new.created_at),
        since=to_ms(new.since),
        rotate_at=_ms(new.rotate_at),
        cause=new.cause,
        sealed=sealed,
    )


def move_key(tx: Tx, old: Key, new: Key) -> bool:
    """Replace the state; False if another node did. A dead key loses its private part."""
    moved = tx.changed(
        _MOVE,
        of=old.kid,
        old=old.state.value,
        to=new.state.value,
        now=to_ms(new.since),
        due=_ms(new.rotate_at),
        why=new.cause,
    )
    tx.changed(_DESTROY, of=old.kid)
    return moved == 1


def reschedule(tx: Tx, kid: str, at: datetime) -> bool:
    """When the active key's successor should take over."""
    return tx.changed(_RESCHEDULE, of=kid, due=to_ms(at)) == 1


def _stored(row: Row) -> StoredKey:
    kid, purpose, state, created, since, rotate_at, cause, sealed = row
    return StoredKey(
        Key(
            kid,
            Purpose(purpose),
            KeyState(state),
            from_ms(created),
            from_ms(since),
            None if rotate_at is None else from_ms(rotate_at),
            cause,
        ),
        sealed,
    )


def _ms(at: datetime | None) -> int | None:
    return None if at is None else to_ms(at)
