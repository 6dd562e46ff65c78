"""Durable decisions per second on both databases, beside what the disk and the drivers can do.

    python -m bench.durable FIGURE SECONDS      one contender, one round, one line of JSON

``decided_*`` is step 5 of the enforcement point, the product's own code: the proof, the budgets and
the tool's pin are taken or checked, revocations are read, the leaf is appended with its arguments
sealed, and the caller is answered after the fsync; with 1, 8, 64 and 256 callers at once.
``durable_*`` is the log alone: ``Database.write`` and ``AuditLog.append``, 256 callers.
The wall clock counts here, because what is waited for is the disk; ``*_cpu_us`` is the processor
time of our process for each, which a busy machine does not distort.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from subprocess import run

from tests.conftest import import_tables
from tests.fakes.gateway_world import Token, World, build
from tests.fakes.postgres import Cluster, NoPostgres

from actfor.approval import Approval
from actfor.audit import AuditLog, Event, EventType, NoteSigner
from actfor.authorization.model import Decision
from actfor.gateway.calls import Answered, Attempt, Client, Credentials
from actfor.gateway.case import Case
from actfor.gateway.recording import Recorder
from actfor.store import Database, new_id
from actfor.wire.canonical import JsonValue
from actfor.wire.rar import Budget
from bench.harness import ROOT, NotRun, Samples, scratch
from bench.peers.durable_floor import FLOORS, POSTGRES_FLOORS

NOT_HERE = 3
CALLERS = 256
CROWDS = (1, 8, 64, 256)
OURS = "durable_per_s"
DECIDED = ("decided_sqlite", "decided_postgresql")
NAMES = (OURS, *DECIDED, *FLOORS, *POSTGRES_FLOORS)


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
        if done.returncode == NOT_HERE:
            for figure in _figures(name):
                samples.lose(figure, done.stderr.strip()[-200:])
            continue
        if done.returncode:
            raise NotRun(done.stderr.strip()[-500:])
        for figure, value in json.loads(done.stdout).items():
            samples.add(figure, value)


def main() -> None:
    """See the module."""
    name, seconds = sys.argv[1], float(sys.argv[2])
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        try:
            figures = _measured(name, Path(folder), seconds)
        except NotRun as reason:
            print(reason, file=sys.stderr)
            sys.exit(NOT_HERE)
    print(json.dumps(figures))


def _measured(name: str, folder: Path, seconds: float) -> dict[str, float]:
    if name == OURS:
        return asyncio.run(ours(folder, seconds))
    if name in DECIDED:
        kind = name.removeprefix("decided_")
        with place(kind, folder) as url:
            return asyncio.run(decided(name, url, folder, seconds))
    if name in POSTGRES_FLOORS:
        with place("postgresql", folder) as url:
            return {name: POSTGRES_FLOORS[name](url, record(), seconds)}
    return {name: FLOORS[name](folder, record(), seconds)}


@contextmanager
def place(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new database; PostgreSQL is started for it, with a folder on the same disk.

    Raises:
        NotRun: there is no PostgreSQL here.
    """
    if kind == "sqlite":
        yield f"sqlite:///{folder}/decided.db"
        return
    with tempfile.TemporaryDirectory(prefix="actfor-bench-pg-") as parent:
        Path(parent).chmod(0o755)
        cluster = Cluster(Path(parent) / "cluster")
        try:
            cluster.create().start()
        except NoPostgres as cause:
            raise NotRun(str(cause)) from cause
        try:
            with cluster.database() as url:
                yield url
        finally:
            cluster.remove()


async def decided(name: str, url: str, folder: Path, seconds: float) -> dict[str, float]:
    """Step 5 of the enforcement point, for crowds of callers; each has its own proof each time."""
    import_tables()
    database = Database.open(url, clock=now)
    world = await build(database, now, folder)
    try:
        await world.add()
        token = await world.token(budget=Budget(calls=100_000_000))
        case, decision = await _case(world, token)
        figures: dict[str, float] = {}
        await _record_for(world, case, decision, 0.3, 8)
        for callers in CROWDS:
            began = time.process_time()
            latencies = await _record_for(world, case, decision, seconds, callers)
            cpu = time.process_time() - began
            figures |= {
                f"{name}_{callers}_per_s": len(latencies) / seconds,
                f"{name}_{callers}_p50_ms": _percentile(latencies, 0.50),
                f"{name}_{callers}_p99_ms": _percentile(latencies, 0.99),
                f"{name}_{callers}_cpu_us": cpu / len(latencies) * 1e6,
            }
        report = await world.house.audit.verify()
        assert report.ok, f"the log that was written does not verify: {report.problems[:3]}"
        return figures
    finally:
        await world.catalog.close()
        await database.close()


class Watched(Recorder):
    """Keeps what it recorded last, so that the same can be recorded again."""

    last: tuple[Case, Decision] | None = None

    async def permit(self, case: Case, decision: Decision, approval: Approval | None) -> None:
        """And what was decided."""
        self.last = (case, decision)
        await super().permit(case, decision, approval)


async def _case(world: World, token: Token) -> tuple[Case, Decision]:
    """A permitted call, as it came to where it was recorded."""
    where, enforcer = world.settings.url("counting"), world.enforcer
    recorder = enforcer._recorder  # noqa: SLF001 - watched
    recorder.__class__ = Watched
    assert isinstance(recorder, Watched)
    sent = Credentials("DPoP", token.token, token.proof(where, now()), "POST", where)
    caller = await enforcer.authenticate("counting", sent)
    attempt = Attempt("counting", "echo", {"text": "SELECT id, name"}, Client(True, False))
    outcome = await enforcer.call(caller, attempt)
    assert isinstance(outcome, Answered), outcome
    assert recorder.last is not None
    return recorder.last


async def _record_for(
    world: World, case: Case, decision: Decision, seconds: float, callers: int
) -> list[float]:
    latencies: list[float] = []
    deadline = time.perf_counter() + seconds
    run = new_id("run")

    async def one(number: int) -> None:
        count = 0
        while (began := time.perf_counter()) < deadline:
            count += 1
            name = f"{run}-{number}-{count}"
            caller = replace(case.caller, proof=name, spent=False)
            mine = replace(case, trace=f"dec_{name}", caller=caller)
            await world.enforcer._recorder.permit(mine, decision, None)  # noqa: SLF001 - timed alone
            latencies.append(time.perf_counter() - began)

    await asyncio.gather(*(one(number) for number in range(callers)))
    return latencies


def _figures(name: str) -> list[str]:
    if name not in DECIDED:
        return [name]
    parts = ("per_s", "p50_ms", "p99_ms", "cpu_us")
    return [f"{name}_{callers}_{part}" for callers in CROWDS for part in parts]


async def ours(folder: Path, seconds: float) -> dict[str, float]:
    """Our log, filled by ``CALLERS`` callers who each wait for their own record."""
    database = Database.open(f"sqlite:///{folder}/log.db", clock=now, create_all=True)
    audit = AuditLog(database, NoteSigner.generate("bench.example"), "bench.example", now)
    await _fill(database, audit, 0.2)
    crowd = await _fill(database, audit, seconds)
    alone = await _fill(database, audit, seconds / 2, callers=1)
    report = await audit.verify()
    assert report.ok, f"the log that was written does not verify: {report.problems[:3]}"
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
    "epochs": {
        "agent": {"spiffe://bench.example/agent/bookkeeper": 3},
        "person": {"p" * 43: 1},
        "mandate": {"mdt_" + "a" * 26: 1},
        "grant": {"gr_" + "a" * 26: 0},
        "tool": {"crm/read_query": 1},
    },
}
PRIVATE: dict[str, JsonValue] = {
    "person": "usr_" + "a" * 26,
    "arguments": {"query": "SELECT id, name FROM customers"},
}

if __name__ == "__main__":
    main()
