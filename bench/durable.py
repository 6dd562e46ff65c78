"""Durable records: leaves of the audit log acknowledged per second, beside the disk and the driver.

    python -m bench.durable FIGURE SECONDS      one contender, one round, one line of JSON

Ours is the real path of a decision's record: ``Database.write`` and ``AuditLog.append`` with the
arguments as a salted commitment, the Merkle tree kept, 256 callers each waiting for its own fsync.
The wall clock counts here, because what is waited for is the disk.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from subprocess import run

from actfor.audit import AuditLog, Event, EventType, NoteSigner
from actfor.store import Database
from actfor.wire.canonical import JsonValue
from bench.harness import ROOT, NotRun, Samples, scratch
from bench.peers.durable_floor import FLOORS

CALLERS = 256
OURS = "durable_per_s"
NAMES = (OURS, *FLOORS)


def measure(samples: Samples, seconds: float) -> None:
    """One round of every contender, each in a process and a folder of its own."""
    for name in NAMES:
        done = run(
            [sys.executable, "-m", "bench.durable", name, str(seconds)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=seconds + 60,
            check=False,
        )
        if done.returncode:
            raise NotRun(done.stderr.strip()[-500:])
        for figure, value in json.loads(done.stdout).items():
            samples.add(figure, value)


def main() -> None:
    """See the module."""
    name, seconds = sys.argv[1], float(sys.argv[2])
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        if name == OURS:
            figures = asyncio.run(ours(Path(folder), seconds))
        else:
            figures = {name: FLOORS[name](Path(folder), record(), seconds)}
    print(json.dumps(figures))


async def ours(folder: Path, seconds: float) -> dict[str, float]:
    """Our log, filled by ``CALLERS`` callers who each wait for their own record."""
    database = Database.open(f"sqlite:///{folder}/log.db", clock=now, create_all=True)
    audit = AuditLog(database, NoteSigner.generate("bench.example"), "bench.example", now)
    await _fill(database, audit, 0.2)
    crowd = await _fill(database, audit, seconds)
    alone = await _fill(database, audit, seconds / 2, callers=1)
    report = await audit.verify()
    assert report.ok, "the log that was written does not verify"
    await database.close()
    return {
        OURS: len(crowd) / seconds,
        "durable_p50_ms": _percentile(crowd, 0.50),
        "durable_p99_ms": _percentile(crowd, 0.99),
        "durable_alone_p50_ms": _percentile(alone, 0.50),
        "durable_alone_p99_ms": _percentile(alone, 0.99),
    }


async def _fill(
    database: Database, audit: AuditLog, seconds: float, callers: int = CALLERS
) -> list[float]:
    latencies: list[float] = []
    deadline = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        count = 0
        while (sent := time.perf_counter()) < deadline:
            made = event(f"dec_{number:04d}{count:020d}")
            await database.write(partial(audit.append, event=made))
            latencies.append(time.perf_counter() - sent)
            count += 1

    await asyncio.gather(*(caller(number) for number in range(callers)))
    return latencies


def event(trace: str) -> Event:
    """A decision as the gateway records it."""
    return Event(EventType.DECIDE, trace, FACTS, PRIVATE)


def record() -> bytes:
    """The same decision as bytes, for the floors."""
    return json.dumps({"trace": "dec_0000", "facts": FACTS, "private": PRIVATE}).encode()


def now() -> datetime:
    """The clock of the benchmark."""
    return datetime.now(UTC)


def _percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] * 1000


_DIGEST = "sha-256:" + "A" * 43
FACTS: dict[str, JsonValue] = {
    "agent": "spiffe://bench.example/agent/bookkeeper",
    "server": "crm",
    "tool": "read_query",
    "tool_digest": _DIGEST,
    "arguments_digest": _DIGEST,
    "effect": "read",
    "decision": "permit",
    "policies": ["pack.reads-in-mandate"],
    "policy_version": _DIGEST,
    "mandate": "mdt_" + "a" * 26,
    "grant": "gr_" + "a" * 26,
    "manifest": _DIGEST,
    "agent_epoch": 3,
    "person_epoch": 1,
}
PRIVATE: dict[str, JsonValue] = {
    "person": "usr_" + "a" * 26,
    "arguments": {"query": "SELECT id, name FROM customers"},
}

if __name__ == "__main__":
    main()
