"""The policy texts that waited for a second administrator, and their SQL."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text, bindparam, desc, insert, select, update

from actfor.authorization.model.publication import Proposal, ProposalState
from actfor.authorization.repository.notes import noted
from actfor.keys import Texts
from actfor.store import Row, Tx, metadata
from actfor.wire.timestamps import from_ms, to_ms

_NOTE = "policy_proposal.note"
policy_proposal = Table(
    "policy_proposal",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("replaces", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("settled_by", Text),
    Column("settled_at", Integer),
)
Index("ix_policy_proposal_created_at", policy_proposal.c.created_at)

_HEAD = (
    policy_proposal.c.id,
    policy_proposal.c.version,
    policy_proposal.c.replaces,
    policy_proposal.c.author,
    policy_proposal.c.cause,
    policy_proposal.c.note,
    policy_proposal.c.created_at,
    policy_proposal.c.state,
    policy_proposal.c.settled_by,
    policy_proposal.c.settled_at,
)
_ADD = insert(policy_proposal).values(
    {column.name: bindparam(column.name) for column in policy_proposal.columns}
)
_ONE = select(*_HEAD, policy_proposal.c.source).where(policy_proposal.c.id == bindparam("of_id"))
_LATEST = (
    select(*_HEAD)
    .order_by(desc(policy_proposal.c.created_at), desc(policy_proposal.c.id))
    .limit(bindparam("most"))
)
# Compare-and-swap: of two administrators at once, one settles it.
_SETTLE = (
    update(policy_proposal)
    .where(policy_proposal.c.id == bindparam("of_id"), policy_proposal.c.state == "open")
    .values(
        state=bindparam("new_state"),
        settled_by=bindparam("new_settled_by"),
        settled_at=bindparam("new_settled_at"),
    )
)


def add(tx: Tx, texts: Texts, proposal: Proposal, source: str) -> None:
    """Keep a proposal."""
    tx.run(
        _ADD,
        id=proposal.id,
        version=proposal.version,
        source=source,
        replaces=proposal.replaces,
        author=proposal.author,
        cause=proposal.cause,
        note=noted(tx, texts, proposal.author, _NOTE, proposal.id, proposal.note),
        created_at=to_ms(proposal.created_at),
        state=proposal.state.value,
        settled_by=None,
        settled_at=None,
    )


def find(tx: Tx, texts: Texts, proposal_id: str) -> tuple[Proposal, str] | None:
    """A proposal and its source."""
    row = tx.one(_ONE, of_id=proposal_id)
    return None if row is None else (_proposal(tx, texts, row), str(row[-1]))


def latest(tx: Tx, texts: Texts, most: int) -> list[Proposal]:
    """The last proposals, newest first."""
    return [_proposal(tx, texts, row) for row in tx.run(_LATEST, most=most)]


def settle(tx: Tx, proposal: Proposal) -> bool:
    """Write down how an open proposal ended; False if it had ended before."""
    assert proposal.settled_at is not None  # noqa: S101 - a settled proposal has a time
    return (
        tx.changed(
            _SETTLE,
            of_id=proposal.id,
            new_state=proposal.state.value,
            new_settled_by=proposal.settled_by,
            new_settled_at=to_ms(proposal.settled_at),
        )
        == 1
    )


def _proposal(tx: Tx, texts: Texts, row: Row) -> Proposal:
    name, version, replaces, author, cause, note, made, state, settled_by, settled_at = row[:10]
    return Proposal(
        name,
        version,
        replaces,
        author,
        cause,
        texts.open(tx, _NOTE, name, note) or "",
        from_ms(made),
        ProposalState(state),
        settled_by,
        None if settled_at is None else from_ms(settled_at),
    )
