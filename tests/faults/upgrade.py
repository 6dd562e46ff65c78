"""R21: the schema is brought to this release, and the process dies on the way.

An old database with rows (of the first schema, of each later one, or none at all) is migrated once
to see its steps; then, for each statement and for the commit, a copy is migrated in a process that
is killed exactly there. What is found must be the old database or the new one, whole; the next
start must end with the same schema and the same rows as the run that nobody interrupted, and the
log in it must verify.

On PostgreSQL, too; and there, ``cycles`` times, a node of this release works on while a newer
one's migration is killed in the middle and then succeeds: nothing that it acknowledged is lost.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine
from tests.conftest import Clock
from tests.fakes.sealed import unseal
from tests.faults.clusters import cluster
from tests.faults.dying import in_a_child
from tests.faults.harness import Plan, Rig, Tally, in_processes
from tests.faults.node import START, Node, Setting, examine, prepare
from tests.faults.old_databases import Old, PostgresOld, SqliteOld
from tests.faults.places import kinds
from tests.faults.steps import Step, Steps, at_each, killed_at, some

from actfor.errors import Refused
from actfor.store import migrations

SHORT = 3
MOST: dict[str | None, int | None] = {"0001": None, None: 12}
"""Steps in the short column, by the schema that it begins with; all steps where it is the first."""
ON_POSTGRES = 3  # so many steps for each cycle
TOGETHER = 15.0


def run(plan: Plan) -> Tally:
    """``cycles`` is how often nodes of two releases work together meanwhile."""
    tally = Tally()
    setting = asyncio.run(_lived_in(f"sqlite:///{plan.folder}/now.db", plan.folder / "w"))
    for revision in _revisions():
        old = SqliteOld(plan.folder, revision, plan.folder / "now.db")
        upgraded = Upgraded(plan, tally, old, None if revision is None else setting)
        upgraded.killed(None if plan.cycles > SHORT else MOST.get(revision, 2))
        if plan.mutant is not None:
            return tally
    if "postgresql" in kinds():
        with ExitStack() as stack:
            _on_postgres(plan, tally, stack)
    return tally


async def _lived_in(url: str, folder: Path) -> Setting:
    """Rows for old databases: no older release sealed text in its columns."""
    setting = await prepare(url, folder)
    node = Node.open(setting)
    await node.database.write(lambda tx: unseal(tx, node.audit.texts))
    await node.close()
    return setting


def _revisions() -> list[str | None]:
    """The first schema, which goes through all of them; none; and each of the later ones."""
    script = ScriptDirectory(str(migrations.SCRIPTS))
    first, *later = reversed([one.revision for one in script.walk_revisions()])
    return [first, None, *later]


class Upgraded:
    """One old database, of which copies are brought to this release."""

    def __init__(self, plan: Plan, tally: Tally, old: Old, setting: Setting | None) -> None:
        self.plan, self.tally, self.old, self.setting = plan, tally, old, setting
        self.migrate = MIGRATE[plan.mutant]
        url = old.fresh()
        self.before = old.whole(url)
        told = killed_at(lambda: self.migrate(url), None)
        self.steps = [*map(_step, told.get("steps", ()))]
        if not self.steps:
            self._wrong("-", f"is not brought to this release: {told}")
        self.after = old.whole(url)
        old.done(url)

    def killed(self, most: int | None) -> None:
        """At each step, or at so many."""
        chosen = self.steps if most is None else some(self.steps, self.plan.rng, most)
        at_each(self.plan, self.tally, chosen, self._one)

    def _one(self, tally: Tally, step: Step) -> None:
        self.tally = tally
        committed = ("commit", 0) in self.steps[: self.steps.index(step)]
        url = self.old.fresh()
        where = f"{step[0]} ({step[1] + 1})"
        if told := killed_at(lambda: self.migrate(url), step):
            self._wrong(where, f"was not interrupted: {told}")
        if self.old.whole(url) != (self.after if committed else self.before):
            self._wrong(where, "left neither the old database nor the new one")
        if told := in_a_child(lambda: self._again(url)):
            self._wrong(where, f"cannot be brought to this release any more: {told}")
        elif self.old.whole(url) != self.after:
            self._wrong(where, "is another database than the one that nobody interrupted")
        elif self.setting is not None:
            asyncio.run(self._serves(replace(self.setting, url=url), where))
        self.old.done(url)

    def _again(self, url: str) -> dict[str, Any]:
        self.migrate(url)
        return {}

    async def _serves(self, setting: Setting, where: str) -> None:
        node = Node.open(setting, Clock(START), unfinished=True)  # it is of this release
        try:
            await examine(node, setting, {}, self.tally, None)
            await node.decide(setting.delegations[0], 1, "after the upgrade")
            self.tally.acknowledged += 1
        except Refused as cause:
            self._wrong(where, f"does not serve: {cause.detail}")
        finally:
            await node.close()

    def _wrong(self, where: str, what: str) -> None:
        self.tally.problems.append(f"{self.old.name}, killed before {where}: {what}")


def _step(told: list[Any]) -> Step:
    return told[0], told[1]


# -- on PostgreSQL, and beside a node that works -------------------------------------------------------


NEWER = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9001", "{head}"
def upgrade():
    op.create_table("half", sa.Column("id", sa.Text))
    op.execute("SELECT pg_sleep(0.3)")
    op.add_column("half", sa.Column("more", sa.Text))
"""
MIDDLE: list[Step] = [
    ("CREATE TABLE HALF", 0), ("ALTER TABLE HALF", 0), ("UPDATE ALEMBIC_VERSION SET", 0), ("commit", 0),
]  # fmt: skip


def _on_postgres(plan: Plan, tally: Tally, stack: ExitStack) -> None:
    server = cluster()
    now = stack.enter_context(server.database())
    setting = asyncio.run(_lived_in(now, plan.folder / "w-pg"))
    old = PostgresOld(server, "0001", now)
    Upgraded(plan, tally, old, setting).killed(ON_POSTGRES * plan.cycles)
    scripts = _newer(plan.folder)
    for cycle in range(plan.cycles):
        if plan.late:
            return
        with server.database() as url:
            _together(plan, tally, url, scripts, cycle)


def _newer(folder: Path) -> Path:
    """The next release: today's migrations and one more, which takes its time."""
    copy = folder / "scripts"
    shutil.copytree(migrations.SCRIPTS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    head = ScriptDirectory(str(migrations.SCRIPTS)).get_current_head()
    (copy / "versions" / "9001_newer.py").write_text(NEWER.format(head=head))
    return copy


def _together(plan: Plan, tally: Tally, url: str, scripts: Path, cycle: int) -> None:
    folder = plan.folder / f"together-{cycle}"
    setting = asyncio.run(prepare(url, folder, agents=2))
    step = MIDDLE[plan.rng.randrange(len(MIDDLE))]
    told = in_processes(partial(_one_node, setting, scripts, step, folder / "upgraded"), 2)
    acknowledged: dict[int, int] = {}
    for releases, (done, odd, busy) in zip(("this", "the next"), told, strict=True):
        acknowledged |= {int(number): index for number, index in done.items()}
        tally.problems += [f"{releases} release, beside the other: {what}" for what in odd]
        tally.count("busy", busy)
    tally.acknowledged += len(acknowledged)
    asyncio.run(_judge(setting, acknowledged, tally))


def _one_node(
    setting: Setting, scripts: Path, step: Step, upgraded: Path, number: int
) -> tuple[dict[int, int], list[str], int]:
    odd: list[str] = []
    if number == 1:
        time.sleep(0.3)
        if "crashed" not in in_a_child(lambda: _killed(setting.url, scripts, step)):
            migrations.migrate(setting.url, scripts)
        else:
            odd.append("its migration failed before it was killed")
        upgraded.touch()
    return asyncio.run(_works(setting, number, upgraded, odd))


def _killed(url: str, scripts: Path, step: Step) -> dict[str, Any]:
    with Steps(step):
        migrations.migrate(url, scripts)
    raise RuntimeError(f"there was no {step}")


async def _works(
    setting: Setting, number: int, upgraded: Path, odd: list[str]
) -> tuple[dict[int, int], list[str], int]:
    """Records permits until the schema is the next release's, and twenty more on that."""
    node = await asyncio.to_thread(lambda: Node.open(setting, Clock(START), unfinished=True))
    done: dict[int, int] = {}
    at, left, busy, last = number * 1_000_000, 20, 0, time.monotonic() + TOGETHER
    try:
        while left and time.monotonic() < last:
            left -= upgraded.exists()
            at += 1
            try:
                done[at] = await node.decide(setting.delegations[number], at, f"once-{at}")
            except Refused as refused:
                busy += 1
                if refused.kind != "busy":
                    odd.append(refused.detail)
    finally:
        await node.close()
    if left or not done:
        odd.append(f"{len(done)} permits in {TOGETHER:.0f} s, and it does not go on")
    return done, odd, busy


async def _judge(setting: Setting, acknowledged: dict[int, int], tally: Tally) -> None:
    node = await asyncio.to_thread(lambda: Node.open(setting, Clock(START), unfinished=True))
    try:
        await examine(node, setting, acknowledged, tally, None)
    finally:
        await node.close()


# -- mutants -----------------------------------------------------------------------------------------


def without_a_transaction(url: str) -> None:
    """Mutant: SQLAlchemy's engine as it comes, which begins nothing before DDL."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection, connection.begin():
        migrations._upgrade(connection, migrations.SCRIPTS)
    engine.dispose()


def version_first(url: str) -> None:
    """Mutant: it says of which version it is, and then becomes so."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as raw:
        (was,) = raw.execute("SELECT version_num FROM alembic_version").fetchone()
        head = ScriptDirectory(str(migrations.SCRIPTS)).get_current_head()
        raw.execute("UPDATE alembic_version SET version_num = ?", (head,))
        raw.commit()
    if was == head:
        return
    engine = migrations.engine_for(url)
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = ?", (was,))
        migrations._upgrade(connection, migrations.SCRIPTS)
    engine.dispose()


MIGRATE: dict[str | None, Callable[[str], None]] = {
    None: migrations.migrate,
    "without-a-transaction": without_a_transaction,
    "version-first": version_first,
}

RIG = Rig(
    "R21", "the process dies while it migrates; nodes of two releases work together", run,
    short=SHORT, release=200, mutants={"without-a-transaction": 1, "version-first": 1},
)  # fmt: skip
