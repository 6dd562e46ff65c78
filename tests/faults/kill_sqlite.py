"""R1: SIGKILL of the server on SQLite, again and again, while clients that live on take notes.

The clients are in this process, which is never killed. Each cycle forks a server, lets 16 clients
talk to it over a socket, kills it after 2 to 60 ms, and starts the next on the same file. A client
that got no answer asks again for the very same thing; two clients ask for each thing. What was
acknowledged must be in the log, what may happen once must be there once, budgets must count what
the log says, and no checkpoint that a client was given may be contradicted.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import Clock
from tests.faults.harness import Plan, Rig, Tally
from tests.faults.node import START, Node, Parts, Setting, examine, permitted, prepare

from actfor.delegation.model import Delegation
from actfor.errors import Refused
from actfor.store.sequencer import Job, Sequencer, Writer, _answer

CLIENTS = 16
LINEAGE = 200  # kills on one database; then a fresh one, so that checking stays quick
APPROVALS = 32


@dataclass
class Client:
    """Somebody who wants one thing at a time and writes down what they are told."""

    name: int
    wants: dict[str, Any] | None = None
    sent_at: float = 0.0


@dataclass
class Notes:
    """What all clients of one database know."""

    acknowledged: dict[int, int] = field(default_factory=dict)
    twice: int = 0  # things that may happen once, and two clients were told that they had
    refused: int = 0
    retained: str | None = None
    retained_size: int = 0


def run(plan: Plan) -> Tally:
    tally = Tally()
    cycle = 0
    while not plan.over(cycle, tally):
        setting = asyncio.run(
            prepare(f"sqlite:///{plan.folder}/{cycle}.db", plan.folder / f"w{cycle}",
                    agents=2, approvals=APPROVALS)
        )  # fmt: skip
        notes, crowd = Notes(), Crowd(setting, plan)
        for _ in range(min(LINEAGE, plan.cycles - cycle)):
            one_kill(setting, plan, notes, crowd, tally)
            cycle += 1
            if cycle % 40 == 0 and plan.mutant is not None:
                break
        asyncio.run(_examine(setting, notes, tally))
        tally.acknowledged += len(notes.acknowledged)
    return tally


async def _examine(setting: Setting, notes: Notes, tally: Tally) -> None:
    node = Node.open(setting)
    try:
        found = await examine(node, setting, notes.acknowledged, tally, notes.retained)
        tally.double_spent += notes.twice
        tally.count("leaves", len(found))
    finally:
        await node.close()


def one_kill(setting: Setting, plan: Plan, notes: Notes, crowd: Crowd, tally: Tally) -> None:
    """Fork a server, let clients at it, kill it, read what it still had said."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        ours.close()
        try:
            asyncio.run(serve(setting, theirs, plan.mutant, notes.retained))
        finally:
            os._exit(1)
    theirs.close()
    try:
        hello = ours.recv(1 << 16)
        tally.worst("restart_ms_max", (time.monotonic() - began) * 1000)
        if not hello:
            tally.problems.append("the server did not start again")
            return
        if json.loads(hello) < notes.retained_size:
            tally.problems.append("the log is shorter than a checkpoint a client holds")
        crowd.talk(ours, notes, time.monotonic() + plan.rng.uniform(0.002, 0.060))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    crowd.drain(ours, notes)
    ours.close()


class Crowd:
    """The clients. Each number is asked for by two of them."""

    def __init__(self, setting: Setting, plan: Plan) -> None:
        self._plan = plan
        self._agents = len(setting.delegations)
        self._approved = list(setting.approved)
        self._clients = [Client(n) for n in range(CLIENTS)]
        self._number = 0
        self._half: dict[str, Any] | None = None  # what the second client is to ask as well

    def talk(self, server: socket.socket, notes: Notes, until: float) -> None:
        for client in self._clients:
            self._send(server, client)
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([server], [], [], left)
            if ready and not self._hear(server, notes):
                return

    def drain(self, server: socket.socket, notes: Notes) -> None:
        """The server is dead; what it had sent before may still be on the way."""
        while self._hear(server, notes, answer=False):
            pass

    def _hear(self, server: socket.socket, notes: Notes, *, answer: bool = True) -> bool:
        try:
            data = server.recv(1 << 16)
        except ConnectionResetError:
            return False
        if not data:
            return False
        said = json.loads(data)
        client = self._clients[said["client"]]
        wanted, client.wants = client.wants, None
        assert wanted is not None
        self._note(client, wanted, said, notes)
        if answer:
            self._send(server, client)
        return True

    def _note(
        self, client: Client, wanted: dict[str, Any], said: dict[str, Any], notes: Notes
    ) -> None:
        self._plan.remember(
            **wanted, client=client.name, result=said["result"],
            took=round(time.monotonic() - client.sent_at, 6),
        )  # fmt: skip
        if wanted["op"] == "checkpoint":
            size = int(said["result"].split("\n")[1])
            if size >= notes.retained_size:
                notes.retained, notes.retained_size = said["result"], size
        elif isinstance(said["result"], int):
            number = wanted["n"]
            if number in notes.acknowledged:
                notes.twice += 1
            notes.acknowledged[number] = said["result"]
        else:
            notes.refused += 1

    def _send(self, server: socket.socket, client: Client) -> None:
        if client.wants is None:
            client.wants = self._next(client)
        client.sent_at = time.monotonic()
        try:
            server.send(json.dumps({"client": client.name, **client.wants}).encode())
        except (BrokenPipeError, ConnectionResetError):
            pass  # it is dead; asked again of the next one

    def _next(self, client: Client) -> dict[str, Any]:
        if client.name == 0 and self._plan.rng.random() < 0.3:
            return {"op": "checkpoint"}
        if self._half is not None:
            wanted, self._half = self._half, None
            return wanted
        self._number += 1
        wanted = {
            "op": "decide", "n": self._number, "once": f"once-{self._number}",
            "by": self._number % self._agents, "approval": None,
        }  # fmt: skip
        if self._approved and self._plan.rng.random() < 0.05:
            wanted["approval"] = self._approved.pop()
        self._half = dict(wanted)
        return wanted


# -- the process that is killed ------------------------------------------------------------------


async def serve(
    setting: Setting, sock: socket.socket, mutant: str | None, retained: str | None
) -> None:
    """Answer each message when its effects are durable, for ever."""
    node = make(setting, mutant)
    await node.audit.start(retained)
    sock.send(json.dumps((await node.audit.head()).size).encode())
    sock.setblocking(False)
    tasks: set[asyncio.Task[None]] = set()

    def readable() -> None:
        asked = json.loads(sock.recv(1 << 16))
        task = asyncio.get_running_loop().create_task(_answered(node, setting, sock, asked))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_reader(sock, readable)
    await asyncio.get_running_loop().create_future()


async def _answered(
    node: Node, setting: Setting, sock: socket.socket, asked: dict[str, Any]
) -> None:
    result: int | str
    try:
        if asked["op"] == "checkpoint":
            result = await node.audit.checkpoint()
        else:
            delegation = setting.delegations[asked["by"]]
            result = await node.decide(delegation, asked["n"], asked["once"], asked["approval"])
    except Refused as refused:
        result = f"{refused.kind}: {refused.detail}"
    sock.send(json.dumps({"client": asked["client"], "result": result}).encode())


# -- mutants -------------------------------------------------------------------------------------


class TellingWriter:
    """A writing connection that tells somebody just before it commits, on a slow disk."""

    def __init__(self, inner: Writer) -> None:
        self._inner = inner
        self.before_commit: Callable[[], None] = _nothing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def commit(self) -> None:
        self.before_commit()
        time.sleep(0.01)
        self._inner.commit()


def _nothing() -> None: ...


class AnswersEarly(Sequencer):
    """Mutant: units are answered, and only then committed."""

    def _commit(self, batch: list[Job]) -> None:
        def tell() -> None:
            _answer(batch)
            batch.clear()

        self._writer.before_commit = tell
        super()._commit(batch)


class TwoTransactions(Node):
    """Mutant: the one-time things are taken in one transaction, the leaf is written in the next."""

    async def decide(
        self, delegation: Delegation, number: int, once: str, approval: str | None = None
    ) -> int:
        def take(tx: Any) -> None:
            self.delegation.consume(tx, delegation, proof=once)
            if approval is not None:
                self.approvals.consume(tx, approval, str(delegation.agent))

        await self.database.write(take)
        event = permitted(delegation, number, approval)
        return await self.database.write(lambda tx: self.audit.append(tx, event))


def make(setting: Setting, mutant: str | None) -> Node:
    kind = TwoTransactions if mutant == "two-transactions" else Node
    node = kind.open(setting, Clock(START), Parts())
    if mutant == "early-ack":
        inner = node.database._sequencer
        inner.close()
        node.database._sequencer = AnswersEarly(TellingWriter(inner._writer), node.clock.now)
    return node


RIG = Rig(
    "R1", "kill -9 of the server on SQLite", run, short=150, release=10_000,
    mutants={"early-ack": 120, "two-transactions": 120},
)  # fmt: skip
