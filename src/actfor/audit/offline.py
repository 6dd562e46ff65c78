"""Recompute the log of a database file, without its server and without its keys."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from actfor.audit.service import verifying
from actfor.errors import Kind, Refused
from actfor.store.readers import SqliteReaders
from actfor.store.sqlite import Location
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.tlog_policy import Policy


def verify_database(path: Path, trust: str, *, checkpoint: str | None = None) -> JsonObject:
    """What recomputing the log in this SQLite file shows; nothing is written.

    ``trust`` is the log's verifier key or a policy, ``checkpoint`` a note that was kept. Not
    checked: what opens the commitments, for that takes the server's keys.

    Raises:
        Refused: DENIED with everything that does not hold; BUSY if the file cannot be read.
    """
    policy = Policy.read(trust)
    kept = None if checkpoint is None else Policy(policy.logs).verify(checkpoint).checkpoint
    readers = SqliteReaders(
        Location.parse(f"sqlite:///{path.resolve()}"), lambda: datetime.now(UTC)
    )
    try:
        report = readers.read_sync(lambda tx: verifying.verify(tx, policy, None, kept=kept))
    finally:
        readers.close()
    if not report.ok:
        raise Refused(Kind.DENIED, "; ".join(report.problems))
    found: dict[str, JsonValue] = {
        "verified": "database",
        "entries": report.size,
        "signed": report.checkpoint_size,
        "continues": kept.size if kept else None,
        "permits": report.permits,
        "revocations": report.revoked,
        "permits after revoke": 0,
        "pruned below": report.pruned,
    }
    return found
