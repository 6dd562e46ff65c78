"""The part of R5 that is a governed call: the real enforcement point, a tool server that lives on.

Killed at any step, each call that the server received has its permit on disk.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.conftest import Clock
from tests.fakes import gateway_world
from tests.fakes.gateway_mcp import journal_lines
from tests.faults.dying import Dying, Unanswered, in_a_child
from tests.faults.harness import Plan, Tally
from tests.faults.node import START

from actfor.audit.service import verifying
from actfor.audit.service.payloads import Reader
from actfor.gateway.calls import Answered, Attempt, Client, Credentials
from actfor.gateway.model import Http
from actfor.gateway.recording import Recorder
from actfor.keys import Vault
from actfor.store import Database
from actfor.wire.note import NoteVerifier


class ActsFirst(Recorder):
    """Mutant: the record is queued, and the call is made while it is on its way to the disk."""

    async def permit(self, *args: Any) -> None:
        task = asyncio.get_running_loop().create_task(super().permit(*args))
        task.add_done_callback(lambda done: done.exception())


def governed_calls(plan: Plan, tally: Tally) -> None:
    """Kill it at every step."""
    journal = plan.folder / "journal.jsonl"
    Database.open(f"sqlite:///{plan.folder}/empty.db", clock=Clock(START).now).close_sync()
    with gateway_world.counting_http(journal) as url:
        first = _killed(plan, journal, url, None)
        steps = first.get("steps", [])
        if not first.get("answered"):
            tally.problems.append(f"a governed call did not work: {first}")
        for at in range(len(steps)):
            if plan.mutant is not None and not tally.sound:
                return
            _one(plan, tally, (journal, url), steps, at)
    tally.count("operations")


def _one(plan: Plan, tally: Tally, server: tuple[Path, str], steps: list[str], at: int) -> None:
    journal, url = server
    before = len(journal_lines(journal)) if journal.exists() else 0
    _killed(plan, journal, url, at)
    called = len(journal_lines(journal)) - before
    permits, problems = _recorded(plan.folder / "governed.db", plan.folder / "governed.key")
    if called > permits:
        tally.problems.append(
            f"a governed call, killed before {steps[at]} ({at} of {len(steps)}):"
            f" {called} calls reached the server, {permits} permits are on disk"
        )
    tally.problems += problems
    tally.count("crashes")
    tally.acknowledged += called


def _killed(plan: Plan, journal: Path, url: str, at: int | None) -> dict[str, Any]:
    for old in plan.folder.glob("governed*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    return in_a_child(lambda: asyncio.run(_call(plan, journal, url, at)))


async def _call(plan: Plan, journal: Path, url: str, die_before: int | None) -> dict[str, Any]:
    clock, path = Clock(START), plan.folder / "governed.db"
    shutil.copy(plan.folder / "empty.db", path)
    database = Database.open(f"sqlite:///{path}", clock=clock.now, unfinished=True)
    folder = plan.folder / "governed"
    folder.mkdir()
    world = await gateway_world.build(database, clock.now, folder, journal=journal)
    (plan.folder / "governed.key").write_text(world.house.audit.verifier_key)
    await world.add(transport=Http(url))
    token = await world.token()
    if plan.mutant == "acts-before-it-records":
        world.enforcer._recorder.__class__ = ActsFirst
    dying = Dying(database._writer, die_before)
    database._sequencer._writer = dying
    unanswered = Unanswered(database)
    where = world.settings.url("counting")
    caller = await world.enforcer.authenticate(
        "counting", Credentials("DPoP", token.token, token.proof(where, clock.now()), "POST", where)
    )
    attempt = Attempt("counting", "echo", {"text": "hello"}, Client(True, False))
    outcome = await world.enforcer.call(caller, attempt)
    await unanswered.none()
    dying.step("answered")
    return {"steps": dying.steps, "answered": isinstance(outcome, Answered)}


def _recorded(path: Path, key: Path) -> tuple[int, list[str]]:
    """How many permits are on disk, and whether the log verifies."""
    if not key.exists():
        return 0, []
    clock = Clock(START)
    database = Database.open(f"sqlite:///{path}", clock=clock.now)
    try:
        verifier = NoteVerifier.parse(key.read_text())
        report = database.read_sync(lambda tx: verifying.verify(tx, verifier, Reader(tx, Vault())))
        with closing(sqlite3.connect(path)) as raw:
            (permits,) = raw.execute(
                "SELECT count(*) FROM log_leaf WHERE type='decide' AND instr(leaf, '\"decision\":\"permit\"')"
            ).fetchone()
        return permits, list(report.problems)
    finally:
        database.close_sync()
