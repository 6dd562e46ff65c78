"""What was tried beside the policies in force, and its SQL."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text, bindparam, desc, insert, select, update

from actfor.authorization.model.facts import ToolEffect
from actfor.authorization.model.trial import Run, Trial
from actfor.authorization.repository.notes import noted
from actfor.keys import Texts
from actfor.store import Row, Tx, metadata
from actfor.wire.timestamps import from_ms, to_ms

_NOTE = "policy_trial.note"
policy_trial = Table(
    "policy_trial",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("agent", Text),
    Column("mandate", Text),
    Column("effects", Text, nullable=False),  # words with a space between
    Column("version", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("started_at", Integer, nullable=False),
    Column("ends_at", Integer, nullable=False),
    Column("stopped_at", Integer),
)
Index("ix_policy_trial_started_at", policy_trial.c.started_at)

_HEAD = (
    policy_trial.c.id,
    policy_trial.c.kind,
    policy_trial.c.agent,
    policy_trial.c.mandate,
    policy_trial.c.effects,
    policy_trial.c.version,
    policy_trial.c.author,
    policy_trial.c.note,
    policy_trial.c.started_at,
    policy_trial.c.ends_at,
    policy_trial.c.stopped_at,
)
_ADD = insert(policy_trial).values(
    {column.name: bindparam(column.name) for column in policy_trial.columns}
)
_ONE = select(*_HEAD, policy_trial.c.source).where(policy_trial.c.id == bindparam("of_id"))
_LATEST = (
    select(*_HEAD)
    .order_by(desc(policy_trial.c.started_at), desc(policy_trial.c.id))
    .limit(bindparam("most"))
)
_LIVE = (
    select(*_HEAD, policy_trial.c.source)
    .where(policy_trial.c.stopped_at.is_(None), policy_trial.c.ends_at > bindparam("now"))
    .order_by(policy_trial.c.started_at, policy_trial.c.id)
)
_STOP = (
    update(policy_trial)
    .where(policy_trial.c.id == bindparam("of_id"), policy_trial.c.stopped_at.is_(None))
    .values(stopped_at=bindparam("new_stopped_at"))
)


def add(tx: Tx, texts: Texts, run: Run, source: str) -> None:
    """Keep a trial; ``source`` is the candidate's text, empty for report-only."""
    tx.run(
        _ADD,
        id=run.id,
        kind=run.kind.value,
        agent=run.agent,
        mandate=run.mandate,
        effects=" ".join(sorted(run.effects)),
        version=run.version,
        source=source,
        author=run.author,
        note=noted(tx, texts, run.author, _NOTE, run.id, run.note),
        started_at=to_ms(run.started_at),
        ends_at=to_ms(run.ends_at),
        stopped_at=None,
    )


def find(tx: Tx, texts: Texts, run_id: str) -> tuple[Run, str] | None:
    """A trial and the candidate's text."""
    row = tx.one(_ONE, of_id=run_id)
    return None if row is None else (_run(tx, texts, row), str(row[-1]))


def latest(tx: Tx, texts: Texts, most: int) -> list[Run]:
    """The last trials, newest first."""
    return [_run(tx, texts, row) for row in tx.run(_LATEST, most=most)]


def live(tx: Tx, texts: Texts) -> list[tuple[Run, str]]:
    """The trials that are going on, oldest first, with the candidates' texts."""
    return [(_run(tx, texts, row), str(row[-1])) for row in tx.run(_LIVE, now=to_ms(tx.now))]


def stop(tx: Tx, run_id: str) -> bool:
    """End a trial; False if it was ended before."""
    return tx.changed(_STOP, of_id=run_id, new_stopped_at=to_ms(tx.now)) == 1


def _run(tx: Tx, texts: Texts, row: Row) -> Run:
    name, kind, agent, mandate, effects, version, author, note, started, ends, stopped = row[:11]
    return Run(
        name,
        Trial(kind),
        agent,
        mandate,
        frozenset(ToolEffect(effect) for effect in effects.split()),
        version,
        author,
        texts.open(tx, _NOTE, name, note) or "",
        from_ms(started),
        from_ms(ends),
        None if stopped is None else from_ms(stopped),
    )
