"""A log with events in it, and its export to a folder, for the log's own tests."""

from pathlib import Path

from tests.conftest import Clock

from actfor.audit import AuditLog, Event, EventType, NoteSigner
from actfor.store import Database, new_id
from actfor.wire.canonical import JsonValue
from actfor.wire.tiles import tiles_of

ORIGIN = "log.example/main"
SIGNER = NoteSigner.generate(ORIGIN)
AGENT = "spiffe://example.com/agent/bookkeeper"


def open_log(database: Database, clock: Clock) -> AuditLog:
    return AuditLog(database, SIGNER, ORIGIN, clock.now)


def decided(n: int = 0, **private: str) -> Event:
    facts: dict[str, JsonValue] = {
        "agent": AGENT,
        "tool": "write_query",
        "effect": "delete",
        "decision": "permit",
        "n": n,
        "epochs": {"agent": {AGENT: 1}},
    }
    return Event(EventType.DECIDE, new_id("dec"), facts, private)


STEP = 40
"""How many events a transaction of `grow` appends."""


def grow(database: Database, log: AuditLog, count: int) -> None:
    """Add `count` events, the odd ones with a private member.

    In small transactions: each of those persons costs PostgreSQL a round trip, and a transaction
    has about a second, also where four tests share two cores.
    """
    for start in range(0, count, STEP):

        def unit(tx, start=start):
            for n in range(start, min(start + STEP, count)):
                log.append(tx, decided(n, **({"person": f"usr_{n}"} if n % 2 else {})))

        database.write_sync(unit)


async def export(log: AuditLog, folder: Path) -> int:
    """Write all files of the log as a mirror would fetch them; return the size."""
    note = await log.checkpoint()
    size = int(note.split("\n")[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint").write_text(note)
    for tile in tiles_of(size):
        path = folder / tile.path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await log.tile(tile))
    return size
