"""R5: the process dies at every single step of every write operation, one after the other.

A first run counts the steps that an operation makes on the writing connection (begin, savepoint,
statement, release, commit, answered). Then, for each step, a fresh copy of the database, a fresh
process, and SIGKILL exactly there. What is found afterwards must be what stood before the
transaction or what stands after it, and the log must verify; nothing in between exists. If nothing
was committed, the same request must then succeed; if all was, what works once must be refused.

Last, a governed call by the real enforcement point to a tool server that lives on: each call that
the server received has its permit on disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.conftest import Clock
from tests.fakes import gateway_world
from tests.fakes.console_people import House, exact_call
from tests.fakes.delegation_world import ISSUER, World, form
from tests.fakes.gateway_mcp import journal_lines
from tests.fakes.identity_process import code_tree, draft
from tests.faults.harness import Plan, Rig, Tally, fork
from tests.faults.node import SERVERS, START, Node, Parts, Setting, permitted, prepare, sign
from tests.faults.ruling import Ruling, keys_of

from actfor.approval import Answer
from actfor.audit import AuditLog, Event
from actfor.audit.service import verifying
from actfor.audit.service.payloads import Reader
from actfor.authorization.model.facts import ToolEffect
from actfor.authorization.policies import default_source
from actfor.errors import Refused
from actfor.gateway.calls import Answered, Attempt, Client, Credentials
from actfor.gateway.enforce import Enforcer
from actfor.gateway.model import Http
from actfor.identity import Evidence
from actfor.identity.model import PersonState
from actfor.keys import Purpose, Vault
from actfor.sdk.attest import attestation_proof
from actfor.server.erasure import Erasure, read_ledger
from actfor.store import Database, Tx
from actfor.store.batched import Queued
from actfor.store.sequencer import Writer
from actfor.store.sqlite_writer import SqliteWriter
from actfor.wire import dpop, token_exchange
from actfor.wire.dpop import DpopProof
from actfor.wire.jose import SigningKey
from actfor.wire.note import NoteVerifier

# -- the writing connection that dies ----------------------------------------------------------------


class RowByRow(SqliteWriter):
    """The product's writer; rows that wait are written one at a time, and each is told before."""

    tell: Callable[[str], None]

    def _put(self, rows: Sequence[Queued]) -> None:
        for row in rows:
            self.tell("row")
            super()._put([row])

    def _send_all(self) -> None:
        super()._send_all()
        self.tell("commit")


class Dying:
    """A writing connection that counts its steps, and kills the process before one of them."""

    def __init__(self, inner: Writer, die_before: int | None) -> None:
        self._inner: Any = inner
        self._inner.__class__ = RowByRow
        self._inner.tell = self.step
        self._die_before = die_before
        self.steps: list[str] = []
        self.shapes: list[Any] = []  # what stands after each commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def step(self, what: str) -> None:
        if len(self.steps) == self._die_before:
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps.append(what)

    def begin(self) -> None:
        self.step("begin")
        self._inner.begin()

    def run(self, statement: Any, params: Any) -> Any:
        self.step("statement")
        return self._inner.run(statement, params)

    def savepoint(self) -> None:
        self.step("savepoint")
        self._inner.savepoint()

    def release(self) -> None:
        self.step("release")
        self._inner.release()

    def rollback_to(self) -> None:
        self.step("rollback to savepoint")
        self._inner.rollback_to()

    def commit(self) -> None:
        self._inner.commit()
        self.step("committed")
        if self._die_before is None:
            self.shapes.append(shape(lambda sql: self._inner._connection.control(sql).fetchall()))


class CommitsEachUnit(Dying):
    """Mutant: a unit is committed as soon as it ends, before the tree head is written."""

    def release(self) -> None:
        super().release()
        self._inner.tell = lambda what: None
        self._inner.commit()
        self._inner.begin()
        self._inner.tell = self.step


class LogsAfterwards(AuditLog):
    """Mutant: the event is written in a transaction of its own, when the first is durable."""

    def append(self, tx: Tx, event: Event) -> int:
        tx.on_commit(lambda: self._database.post(lambda later: super(LogsAfterwards, self).append(later, event)))  # fmt: skip
        return 0


def shape(run: Callable[[str], list[Any]]) -> dict[str, Any]:
    """What stands in the database, without what is random: counts, sums, states, by table."""
    found: dict[str, Any] = {}
    for (table,) in run("SELECT name FROM sqlite_master WHERE type='table' ORDER BY name"):
        columns = run(f"PRAGMA table_info({table})")
        parts = ["count(*)"]
        parts += [f"total({name})" for _, name, kind, *_ in columns if kind == "INTEGER"]
        parts += [
            f"group_concat({name})" for _, name, *_ in columns if name in {"state", "type", "kind"}
        ]
        (row,) = run(f"SELECT {', '.join(parts)} FROM (SELECT * FROM {table} ORDER BY 1)")  # noqa: S608 - names from the schema
        found[table] = [
            dict(Counter(value.split(","))) if isinstance(value, str) else value for value in row
        ]
    return found


# -- operations --------------------------------------------------------------------------------------

Context = Any


@dataclass(frozen=True)
class Operation:
    """``arrange`` runs before and in another process; ``act`` is what is interrupted."""

    name: str
    act: Callable[[Node, Setting, Context], Awaitable[object]]
    arrange: Callable[[Node, Setting], Awaitable[Context]] | None = None
    once: bool = False  # done, it must be refused when asked for again
    transactions: int = 1
    holds: Callable[[Node, Setting, Context], str | None] | None = None
    """What is wrong when it was done once more, or None."""


async def _asked(node: Node, setting: Setting) -> Any:
    call = exact_call(setting.person.id, {"n": 77}, agent=str(setting.delegations[0].agent))
    asked = await node.approvals.request(call, decision_trace="dec_77", reasons=["rig"])
    options = await node.approvals.options(setting.person, asked.id)
    return asked.id, sign(setting, options), call


async def _invited(node: Node, setting: Setting) -> Any:
    token = await node.people.invite(setting.person, "Bob", ("approver",))
    begun = await node.people.register_options(token, None)
    passkey = type(setting.passkey)(node.people.origins[0])
    return begun.id, passkey.create(begun.options)


async def _signing_in(node: Node, setting: Setting) -> Any:
    begun = await node.people.signin_options()
    return begun.id, sign(setting, begun.options)


def _world(node: Node, setting: Setting) -> World:
    house = House(node.database, node.audit, node.people, node.approvals, node.clock.now)
    keys = [setting.token_key]
    return World(
        house, node.agents, node.delegation, keys, setting.svid_key, node.clock, Path("/"),
        setting.person, SERVERS,
    )  # fmt: skip


async def _exchanging(node: Node, setting: Setting) -> Any:
    world = _world(node, setting)
    holder = await world.attest(setting.delegations[0].agent_name)
    subject = await world.subject(setting.delegations[0].mandate)
    return token_exchange.parse(form(holder, subject)), world.verified(holder.key)


async def _challenged(node: Node, setting: Setting) -> Any:
    key, name = SigningKey.generate(), setting.delegations[0].agent_name
    evidence = Evidence(os.getpid(), os.getuid(), os.getpid())
    challenge = await node.agents.challenge(name, evidence.peer_pid)
    agent = await node.agents.show(name)
    proof = attestation_proof(
        key, agent=str(agent.id), audience=ISSUER, nonce=challenge.nonce, pid=evidence.pid,
        now=node.clock.now(),
    )  # fmt: skip
    return name, evidence, proof, key.public.jwk


def _login_proof(node: Node) -> DpopProof:
    key = SigningKey.generate()
    url = f"{ISSUER}/token"
    made = dpop.build_proof(
        key=key, method="POST", url=url, now=node.clock.now(), jti="jti_login_0123456789"
    )
    return dpop.verify_proof(made, method="POST", url=url, now=node.clock.now())


async def _device(node: Node, setting: Setting) -> Any:
    proof = _login_proof(node)
    return await node.delegation.start_device(proof), proof


async def _device_approved(node: Node, setting: Setting) -> Any:
    started, proof = await _device(node, setting)
    await node.delegation.approve_device(setting.person, started.user_code)
    return started, proof


async def _expired(node: Node, setting: Setting) -> Any:
    await _asked(node, setting)


async def _quarantined(node: Node, setting: Setting) -> Any:
    await node.agents.quarantine(setting.person, setting.delegations[0].agent_name, "rig")


async def _code(node: Node, setting: Setting) -> Any:
    return code_tree(Path(setting.url.removeprefix("sqlite:///") + ".code"))


async def _joined(node: Node, setting: Setting) -> Any:
    return await node.people.register(*(await _invited(node, setting)))


async def _sweep(node: Node, setting: Setting, _: Context) -> object:
    node.clock.advance(3_600)
    return await node.approvals.sweep()


async def _grown(node: Node, setting: Setting, to: int = 255) -> Any:
    """255 leaves, so that the next completes a tile."""
    size = (await node.audit.head()).size

    def unit(tx: Tx) -> None:
        for n in range(size, to):
            node.audit.append(tx, permitted(setting.delegations[0], 1_000_000 + n))

    await node.database.write(unit)


async def _waiting(node: Node, setting: Setting) -> Any:
    """A question under the mandate, a yes that was not used, and a value that was endorsed."""
    delegation = setting.delegations[0]
    call = exact_call(
        setting.person.id, {"n": 78}, agent=str(delegation.agent), mandate_id=delegation.mandate.id,
        chain=(str(delegation.agent),),
    )  # fmt: skip
    await node.approvals.request(call, decision_trace="dec_78", reasons=["rig"])
    await node.database.write(
        lambda tx: node.delegation.endorse(
            tx, mandate_id=delegation.mandate.id, tool="bank/pay", slots=[("/to", "DE02")],
            by=setting.person.id, approval_id="apr_rig",
        )
    )  # fmt: skip
    (endorsed,) = await node.delegation.endorsements(delegation.mandate.id)
    return endorsed.id


async def _published(node: Node, setting: Setting) -> Any:
    """Two versions, one in force; the first, and a text that is to follow."""
    ruling = Ruling(node, four_eyes=False)
    await ruling.authorization.ensure_default()
    first = await node.database.read(ruling.authorization.version_in_force)
    second = await ruling.authorization.publish("usr_a", default_source() + "\n// second\n")
    return first, second.version, default_source() + "\n// third\n"


async def _proposed(node: Node, setting: Setting) -> Any:
    text = (await _published(node, setting))[2]
    return await Ruling(node).propose(text)


async def _trying(node: Node, setting: Setting) -> Any:
    return (await _tried(node, setting, None)).id


async def _tried(node: Node, setting: Setting, _: Context) -> Any:
    return await Ruling(node).trials.report_only(
        "usr_a", effects=[ToolEffect.READ], lasting=timedelta(hours=1),
        agent=str(setting.delegations[0].agent), note="rig",
    )  # fmt: skip


async def _with_keys(node: Node, setting: Setting) -> Any:
    (active, *_) = (await keys_of(node)).held(Purpose.ACCESS_TOKEN)
    return active.key.kid


async def _rotate(node: Node, setting: Setting, _: Context) -> None:
    await (await keys_of(node)).rotate(Purpose.ACCESS_TOKEN, by="usr_rig")


async def _kill_key(node: Node, setting: Setting, made: Context) -> object:
    keys = await keys_of(node)
    return await keys.revoke(Purpose.ACCESS_TOKEN, by="usr_rig", cause="stolen", kid=made)


async def _revoke_mandate(node: Node, setting: Setting, _: Context) -> None:
    await node.delegation.revoke_mandate(setting.person, setting.delegations[0].mandate.id, "rig")


async def _rewrap(node: Node, setting: Setting, _: Context) -> object:
    return await (await keys_of(node)).rewrap(by="usr_rig")


async def _with_mandate(node: Node, setting: Setting) -> Any:
    """Somebody with a mandate and a question, who is to be erased."""
    joined = await _joined(node, setting)
    draft_ = _world(node, setting).draft(setting.delegations[0].agent_name)
    await node.delegation.commit_mandate(joined.person, draft_)
    call = exact_call(joined.person.id, {"n": 79}, agent=str(setting.delegations[0].agent))
    await node.approvals.request(call, decision_trace="dec_79", reasons=["rig"])
    return joined.person.id


async def _erase(node: Node, setting: Setting, made: Context) -> object:
    erasure = Erasure(
        database=node.database, audit=node.audit, vault=Vault(), people=node.people,
        delegation=node.delegation, approvals=node.approvals, ledger=_ledger(setting),
    )  # fmt: skip
    return await erasure.erase(setting.person, made)


def _ledger(setting: Setting) -> Path:
    return Path(setting.url.removeprefix("sqlite:///") + ".erasures")


def _is_in_the_ledger(node: Node, setting: Setting, made: Context) -> str | None:
    told = {line.person for line in read_ledger(_ledger(setting))}
    return None if made in told else "the ledger of erasures lacks one"


async def _long(node: Node, setting: Setting) -> Any:
    await _grown(node, setting, 300)
    await node.audit.checkpoint()


async def _refused_long_ago(node: Node, setting: Setting) -> Any:
    await _long(node, setting)
    await _prune(node, setting, None)


async def _prune(node: Node, setting: Setting, _: Context) -> object:
    return await _pruned(node, setting, delete=False)


async def _pruned(node: Node, setting: Setting, *, delete: bool) -> object:
    node.audit.retention = timedelta(0)
    node.clock.advance(20 * 86_400 if delete else 86_400)
    return await node.audit.prune(START + timedelta(seconds=1), by=setting.person.id, delete=delete)


OPERATIONS = (
    Operation(
        "permit with approval",
        lambda node, s, _: node.decide(s.delegations[0], 1, "once-1", s.approved[0]), once=True,
    ),
    Operation(
        "permit that completes a tile",
        lambda node, s, _: node.decide(s.delegations[0], 1, "once-1"), _grown, once=True,
    ),
    Operation("checkpoint", lambda node, s, _: node.audit.checkpoint(), _quarantined),
    Operation(
        "approval asked",
        lambda node, s, _: node.approvals.request(
            exact_call(s.person.id, {"n": 5}), decision_trace="dec_5", reasons=["rig"]
        ),
    ),
    Operation(
        "approval answered yes",
        lambda node, s, made: node.approvals.answer(s.person, made[0], Answer.APPROVE, made[1]),
        _asked, once=True, transactions=2,
    ),
    Operation(
        "approval answered no",
        lambda node, s, made: node.approvals.answer(s.person, made[0], Answer.DENY, reason="no"),
        _asked, once=True,
    ),
    Operation("approvals expired", _sweep, _expired),
    Operation("person invited", lambda node, s, _: node.people.invite(s.person, "Eve", ("admin",))),
    Operation(
        "person registered", lambda node, s, made: node.people.register(*made), _invited,
        once=True, transactions=2,
    ),
    Operation(
        "person signed in", lambda node, s, made: node.people.signin(*made), _signing_in,
        once=True, transactions=2,
    ),
    Operation(
        "person disabled",
        lambda node, s, made: node.people.change(
            s.person, made.person.id, state=PersonState.DISABLED
        ),
        _joined,
    ),
    Operation(
        "agent registered",
        lambda node, s, root: node.agents.register(s.person, draft(root, "newcomer")), _code,
        once=True,
    ),
    Operation(
        "agent attested", lambda node, s, made: node.agents.attest(*made), _challenged, once=True,
        transactions=0,
    ),
    Operation(
        "agent quarantined",
        lambda node, s, _: node.agents.quarantine(s.person, s.delegations[0].agent_name, "rig"),
        _asked, once=True,
    ),
    Operation(
        "agent reinstated",
        lambda node, s, _: node.agents.reinstate(s.person, s.delegations[0].agent_name),
        _quarantined, once=True,
    ),
    Operation(
        "agent retired",
        lambda node, s, _: node.agents.retire(s.person, s.delegations[0].agent_name, "rig"),
        once=True,
    ),
    Operation(
        "mandate committed",
        lambda node, s, _: node.delegation.commit_mandate(
            s.person, _world(node, s).draft(s.delegations[0].agent_name)
        ),
    ),
    Operation(
        "mandate revoked", _revoke_mandate, _asked, once=True,
    ),
    Operation(
        "token exchanged", lambda node, s, made: node.delegation.exchange(*made), _exchanging,
        once=True,
    ),
    Operation(
        "device login begun", lambda node, s, _: node.delegation.start_device(_login_proof(node))
    ),
    Operation(
        "device login approved",
        lambda node, s, made: node.delegation.approve_device(s.person, made[0].user_code), _device,
        once=True,
    ),
    Operation(
        "device login redeemed",
        lambda node, s, made: node.delegation.poll_device(made[0].device_code, made[1]),
        _device_approved, once=True,
    ),
    Operation(
        "mandate revoked with what hangs on it", _revoke_mandate, _waiting, once=True,
    ),
    Operation(
        "grant revoked",
        lambda node, s, _: node.delegation.revoke_grant(
            s.person, s.delegations[0].mandate.id, s.delegations[0].grant_id, "rig"
        ),
        once=True,
    ),
    Operation(
        "endorsement withdrawn",
        lambda node, s, made: node.delegation.withdraw_endorsement(
            s.person, s.delegations[0].mandate.id, made
        ),
        _waiting, once=True,
    ),
    Operation(
        "policies published",
        lambda node, s, made: Ruling(node).authorization.publish(
            "usr_a", made[2], replaces=made[1]
        ),
        _published, once=True,
    ),
    Operation(
        "policies rolled back",
        lambda node, s, made: Ruling(node, four_eyes=False).changes.roll_back("usr_a", made[0]),
        _published, once=True,
    ),
    Operation(
        "policies proposed", lambda node, s, made: Ruling(node).propose(made[2]), _published
    ),
    Operation(
        "policies approved", lambda node, s, made: Ruling(node).changes.approve("usr_b", made),
        _proposed, once=True,
    ),
    Operation("trial begun", _tried),
    Operation(
        "trial stopped", lambda node, s, made: Ruling(node).trials.stop("usr_a", made), _trying,
        once=True,
    ),
    Operation("keys rotated", _rotate, _with_keys, transactions=3),
    Operation("key killed", _kill_key, _with_keys, once=True, transactions=3),
    Operation("keys wrapped again", _rewrap, _with_keys, transactions=3),
    Operation("person erased", _erase, _with_mandate, holds=_is_in_the_ledger),
    Operation("entries refused", _prune, _long),
    Operation(
        "entries deleted", lambda node, s, _: _pruned(node, s, delete=True), _refused_long_ago,
        transactions=2,
    ),
)  # fmt: skip


EVERY_TIME = 22  # of them are interrupted at every step also in the short column


# -- the rig -----------------------------------------------------------------------------------------


def run(plan: Plan) -> Tally:
    """``cycles`` is how many operations are interrupted at every step; the others at three."""
    tally = Tally()
    chosen = OPERATIONS if plan.mutant is None else OPERATIONS[: plan.cycles]
    setting = asyncio.run(
        prepare(f"sqlite:///{plan.folder}/template.db", plan.folder / "w", approvals=1)
    )
    for n, operation in enumerate(chosen):
        Interrupted(plan, tally, setting, operation).everywhere(exhaustive=n < plan.cycles)
        if plan.late:
            break
        if plan.mutant is not None and not tally.sound:
            return tally
    if plan.mutant is None or plan.mutant == "acts-before-it-records":
        governed_calls(plan, tally)
    return tally


class Interrupted:
    """One operation on copies of one database."""

    def __init__(self, plan: Plan, tally: Tally, setting: Setting, operation: Operation) -> None:
        self.plan, self.tally, self.operation = plan, tally, operation
        self.base = plan.folder / f"{operation.name.replace(' ', '-')}.db"
        self.work = plan.folder / "work.db"
        shutil.copy(setting.url.removeprefix("sqlite:///"), self.base)
        self.setting = _at(setting, self.base)
        self.context = asyncio.run(self._arrange())
        self.before = _dump(self.base)

    async def _arrange(self) -> Context:
        node = Node.open(self.setting, Clock(START))
        try:
            if self.operation.arrange is not None:
                return await self.operation.arrange(node, self.setting)
        finally:
            await node.close()
        return None

    def everywhere(self, *, exhaustive: bool) -> None:
        first = self._child(None)
        steps, shapes = first["steps"], first["shapes"]
        wanted = self.operation.transactions
        if wanted and len(shapes) != wanted:
            self._wrong("-", f"{len(shapes)} transactions instead of {wanted}")
        points = range(len(steps)) if exhaustive else self._some(steps)
        for at in points:
            committed = steps[:at].count("commit")
            self._child(at)
            self._examine(f"{steps[at]} ({at} of {len(steps)})", committed, shapes)
            self.tally.count("crashes")
        self.tally.count("operations")

    def _some(self, steps: list[str]) -> list[int]:
        """Just before the last commit, just behind it, and one step anywhere."""
        last = len(steps) - 1 - steps[::-1].index("commit")
        return sorted({last, last + 1, self.plan.rng.randrange(len(steps))})

    def _child(self, die_before: int | None) -> dict[str, Any]:
        """Run the operation in a process of its own, on a copy; what it told before it ended."""
        for old in self.work.parent.glob("work.db*"):
            if old.is_file():
                old.unlink()
        shutil.copy(self.base, self.work)
        receiving, sending = os.pipe()
        child = fork()
        if child == 0:
            try:
                told = asyncio.run(self._act(die_before))
                os.write(sending, json.dumps(told).encode())
            except BaseException as cause:
                os.write(sending, json.dumps({"crashed": repr(cause)}).encode())
            finally:
                os._exit(0)
        os.close(sending)
        data = b""
        while part := os.read(receiving, 1 << 16):
            data += part
        os.close(receiving)
        os.waitpid(child, 0)
        if die_before is None or data:
            told = json.loads(data)
            if "crashed" in told or die_before is not None:
                self._wrong(die_before, f"was not interrupted: {told}")
            steps: dict[str, Any] = {"steps": [], "shapes": []} | told
            return steps
        return {}

    async def _act(self, die_before: int | None) -> dict[str, Any]:
        parts = Parts(audit=LogsAfterwards) if self.plan.mutant == "logs-afterwards" else Parts()
        setting = _at(self.setting, self.work)
        node = Node.open(setting, Clock(START), parts)
        kind = CommitsEachUnit if self.plan.mutant == "commits-each-unit" else Dying
        dying = kind(node.database._writer, die_before)
        node.database._sequencer._writer = dying
        await self.operation.act(node, setting, self.context)
        await gateway_world.settle(_Plain(node.database))
        if die_before is None:
            await _quiet(dying)
        dying.step("answered")
        return {"steps": dying.steps, "shapes": dying.shapes}

    def _examine(self, where: str, committed: int, shapes: list[Any]) -> None:
        found = _shape_of(self.work)
        if committed == 0:
            if _dump(self.work) != self.before:
                self._wrong(where, "left something behind before it was committed")
        elif found != (after := shapes[min(committed, len(shapes)) - 1]):
            self._wrong(where, f"left neither before nor after: {_difference(found, after)}")
        asyncio.run(self._come_back(where, committed, len(shapes)))

    async def _come_back(self, where: str, committed: int, of: int) -> None:
        setting = _at(self.setting, self.work)
        node = Node.open(setting, Clock(START))
        try:
            await node.audit.start()
            for problem in (await node.audit.verify()).problems:
                self._wrong(where, problem)
            refused = await self._again(node, setting)
            if self.operation.holds is not None:
                wrong = self.operation.holds(node, setting, self.context)
                if wrong is not None:
                    self._wrong(where, wrong)
        except Refused as cause:
            self._wrong(where, f"cannot start: {cause.detail}")
            return
        finally:
            await node.close()
        self.tally.acknowledged += 1
        if committed == 0 and refused is not None:
            self._wrong(where, f"nothing had happened, and it is refused afterwards: {refused}")
        if committed == of and self.operation.once and refused is None:
            self.tally.double_spent += 1

    async def _again(self, node: Node, setting: Setting) -> str | None:
        try:
            await self.operation.act(node, setting, self.context)
        except Refused as refused:
            return refused.detail
        return None

    def _wrong(self, where: object, what: str) -> None:
        self.tally.problems.append(f"{self.operation.name}, killed before {where}: {what}")


async def _quiet(dying: Dying) -> None:
    """Wait until nothing more is done: what was only queued is a part of the operation, too."""
    seen = -1
    while seen != len(dying.steps):
        seen = len(dying.steps)
        await asyncio.sleep(0.15)


class _Plain:
    """Lets `settle` wait for posted units without counting as a step of the operation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, unit: Callable[[Tx], Any]) -> Any:
        while self._database._sequencer._queue.qsize():
            await asyncio.sleep(0.001)


def _at(setting: Setting, path: Path) -> Setting:
    return replace(setting, url=f"sqlite:///{path}")


def _dump(path: Path) -> list[str]:
    """The content of every table, as a reader who recovers the write-ahead log sees it."""
    with closing(sqlite3.connect(path)) as database:
        return [line for line in database.iterdump() if line.startswith("INSERT")]


def _shape_of(path: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as database:
        made: dict[str, Any] = json.loads(
            json.dumps(shape(lambda sql: database.execute(sql).fetchall()))
        )
        return made


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    return "; ".join(
        f"{table}: {found.get(table)} instead of {wanted.get(table)}"
        for table in sorted({*found, *wanted})
        if found.get(table) != wanted.get(table)
    )


# -- a governed call ---------------------------------------------------------------------------------


class ActsFirst(Enforcer):
    """Mutant: the record is queued, and the call is made while it is on its way to the disk."""

    async def _record(self, *args: Any) -> None:
        task = asyncio.get_running_loop().create_task(super()._record(*args))
        task.add_done_callback(lambda done: done.exception())


def governed_calls(plan: Plan, tally: Tally) -> None:
    journal = plan.folder / "journal.jsonl"
    with gateway_world.counting_http(journal) as url:
        first = _governed(plan, journal, url, None)
        steps = first.get("steps", [])
        if not first.get("answered"):
            tally.problems.append(f"a governed call did not work: {first}")
        for at in range(len(steps)):
            before = len(journal_lines(journal)) if journal.exists() else 0
            _governed(plan, journal, url, at)
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
    tally.count("operations")


def _governed(plan: Plan, journal: Path, url: str, die_before: int | None) -> dict[str, Any]:
    for old in plan.folder.glob("governed*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    receiving, sending = os.pipe()
    child = fork()
    if child == 0:
        try:
            told = asyncio.run(_call(plan, journal, url, die_before))
        except BaseException as cause:
            told = {"crashed": repr(cause)}
        with suppress(OSError):
            os.write(sending, json.dumps(told).encode())
        os._exit(0)
    os.close(sending)
    data = b""
    while part := os.read(receiving, 1 << 16):
        data += part
    os.close(receiving)
    os.waitpid(child, 0)
    found: dict[str, Any] = json.loads(data) if data else {}
    return found


async def _call(plan: Plan, journal: Path, url: str, die_before: int | None) -> dict[str, Any]:
    clock = Clock(START)
    database = Database.open(f"sqlite:///{plan.folder}/governed.db", clock=clock.now)
    folder = plan.folder / "governed"
    folder.mkdir()
    world = await gateway_world.build(database, clock.now, folder, journal=journal)
    (plan.folder / "governed.key").write_text(world.house.audit.verifier_key)
    await world.add(transport=Http(url))
    token = await world.token()
    if plan.mutant == "acts-before-it-records":
        world.enforcer.__class__ = ActsFirst
    dying = Dying(database._writer, die_before)
    database._sequencer._writer = dying
    where = world.settings.url("counting")
    caller = await world.enforcer.authenticate(
        "counting", Credentials("DPoP", token.token, token.proof(where, clock.now()), "POST", where)
    )
    attempt = Attempt("counting", "echo", {"text": "hello"}, Client(True, False))
    outcome = await world.enforcer.call(caller, attempt)
    await gateway_world.settle(database)
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


RIG = Rig(
    "R5", "the process dies at every step of every write operation", run,
    short=EVERY_TIME, release=len(OPERATIONS),
    mutants={"commits-each-unit": 2, "logs-afterwards": 2, "acts-before-it-records": 0},
)  # fmt: skip
