"""The published policy sets and their SQL. Rows are only added: the last one is in force."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text, bindparam, desc, insert, select

from actfor.authorization.model.publication import Publication
from actfor.authorization.repository.notes import noted
from actfor.keys import Texts
from actfor.store import Row, Tx, metadata
from actfor.wire.timestamps import from_ms, to_ms

policy_publication = Table(
    "policy_publication",
    metadata,
    # Given by the writer as the last one plus one: two writers collide instead of both winning.
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("version", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("schema", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("published_at", Integer, nullable=False),
    Column("approver", Text),
    Column("note", Text),
)
Index("ix_policy_publication_version", policy_publication.c.version)


_NOTE = "policy_publication.note"
_HEAD = (
    policy_publication.c.seq,
    policy_publication.c.version,
    policy_publication.c.author,
    policy_publication.c.cause,
    policy_publication.c.published_at,
    policy_publication.c.approver,
    policy_publication.c.note,
)
_ADD = insert(policy_publication).values(
    {column.name: bindparam(column.name) for column in policy_publication.columns}
)
_VERSION = select(policy_publication.c.version).order_by(desc(policy_publication.c.seq)).limit(1)
_LAST = (
    select(*_HEAD, policy_publication.c.source).order_by(desc(policy_publication.c.seq)).limit(1)
)
_LATEST = select(*_HEAD).order_by(desc(policy_publication.c.seq)).limit(bindparam("most"))
_TEXTS = (
    select(policy_publication.c.source, policy_publication.c.schema)
    .where(policy_publication.c.version == bindparam("of_version"))
    .order_by(desc(policy_publication.c.seq))
    .limit(1)
)
_SOURCE = (
    select(*_HEAD, policy_publication.c.source)
    .where(policy_publication.c.version == bindparam("of_version"))
    .order_by(desc(policy_publication.c.seq))
    .limit(1)
)


def add(tx: Tx, texts: Texts, publication: Publication, source: str, schema: str) -> None:
    """Put a policy set in force, after all earlier ones."""
    tx.run(
        _ADD,
        seq=publication.seq,
        version=publication.version,
        source=source,
        schema=schema,
        author=publication.author,
        cause=publication.cause,
        published_at=to_ms(publication.published_at),
        approver=publication.approver,
        note=noted(tx, texts, publication.author, _NOTE, publication.seq, publication.note),
    )


def version_in_force(tx: Tx) -> str | None:
    """The version of the last publication."""
    row = tx.one(_VERSION)
    return None if row is None else str(row[0])


def last(tx: Tx, texts: Texts) -> tuple[Publication, str] | None:
    """The last publication and its source."""
    row = tx.one(_LAST)
    return None if row is None else (_publication(tx, texts, row), str(row[-1]))


def latest(tx: Tx, texts: Texts, most: int) -> list[Publication]:
    """The last publications, newest first."""
    return [_publication(tx, texts, row) for row in tx.run(_LATEST, most=most)]


def of_version(tx: Tx, texts: Texts, version: str) -> tuple[Publication, str] | None:
    """The last publication of a version and its source."""
    row = tx.one(_SOURCE, of_version=version)
    return None if row is None else (_publication(tx, texts, row), str(row[-1]))


def texts_of(tx: Tx, version: str) -> tuple[str, str] | None:
    """The source of a version and the schema it was read by."""
    row = tx.one(_TEXTS, of_version=version)
    return None if row is None else (str(row[0]), str(row[1]))


def _publication(tx: Tx, texts: Texts, row: Row) -> Publication:
    seq, version, author, cause, published_at, approver, note = row[:7]
    made = from_ms(published_at)
    read = texts.open_some(tx, _NOTE, str(seq), note) or ""
    return Publication(seq, version, author, cause, made, approver, read)
