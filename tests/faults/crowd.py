"""Clients that are never killed, and servers that are: what both kill rigs are made of.

The clients are in the rig's process. Each wants one thing at a time, sends it to a server, and
writes down what it is told; two clients want each thing, at different servers where there are two.
One that got no answer asks again, for the very same thing. A server is a forked process with a
`Node`; it is told what to do over a socket pair whose messages keep their bounds.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.harness import Plan, Tally, fork
from tests.faults.node import Node, Setting, examine, permitted

from actfor.delegation.model import Delegation
from actfor.errors import Refused
from actfor.store.sequencer import Job, Sequencer, Writer, _answer

CLIENTS = 16
LONGEST_START = 60.0
Making = Callable[[Setting], Node]


# -- clients ---------------------------------------------------------------------------------------


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
    slowest: float = 0.0  # seconds from a request to its answer, in the server


class Crowd:
    """The clients. Each number is asked for by two of them."""

    def __init__(self, setting: Setting, plan: Plan, servers: int = 1) -> None:
        self.notes = Notes()
        self._plan = plan
        self._agents = len(setting.delegations)
        self._approved = list(setting.approved)
        self._clients = [Client(n) for n in range(CLIENTS)]
        self._servers = servers
        self._number = 0
        self._half: dict[str, Any] | None = None  # what the second client is to ask as well

    def talk(self, servers: Sequence[Server], until: float, *, start: bool = True) -> None:
        """Ask, listen, ask again, until that time; sets off all clients where told to."""
        by_socket = {server.socket: server for server in servers}
        if start:
            for client in self._clients:
                self._send(servers[client.name % self._servers], client)
        while by_socket and (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([*by_socket], [], [], left)
            for sock in ready:
                if not self._hear(by_socket[sock], answer=True):
                    del by_socket[sock]

    def drain(self, server: Server) -> None:
        """The server is dead; what it had sent before may still be on the way."""
        while self._hear(server, answer=False):
            pass

    def resume(self, server: Server) -> None:
        """Those who talked to the server that is new again ask it for what they still want."""
        for client in self._clients:
            if client.name % self._servers == server.number:
                self._send(server, client)

    def _hear(self, server: Server, *, answer: bool) -> bool:
        try:
            data = server.socket.recv(1 << 16)
        except ConnectionResetError:
            return False
        if not data:
            return False
        said = json.loads(data)
        client = self._clients[said["client"]]
        wanted, client.wants = client.wants, None
        assert wanted is not None
        self.notes.slowest = max(self.notes.slowest, said["took"])
        self._note(client, wanted, said["result"])
        if answer:
            self._send(server, client)
        return True

    def _note(self, client: Client, wanted: dict[str, Any], result: int | str) -> None:
        took, notes = time.monotonic() - client.sent_at, self.notes
        self._plan.remember(**wanted, client=client.name, result=result, took=round(took, 6))
        if isinstance(result, int):
            notes.twice += wanted["n"] in notes.acknowledged
            notes.acknowledged[wanted["n"]] = result
        elif wanted["op"] == "checkpoint" and result.startswith("log."):
            size = int(result.split("\n")[1])
            if size >= notes.retained_size:
                notes.retained, notes.retained_size = result, size
        else:
            notes.refused += 1
            if result.startswith("busy") and wanted["op"] == "decide":
                client.wants = wanted  # it may or may not have happened: asked again
                time.sleep(0.002)

    def _send(self, server: Server, client: Client) -> None:
        if client.wants is None:
            client.wants = self._next(client)
        client.sent_at = time.monotonic()
        try:
            server.socket.send(json.dumps({"client": client.name, **client.wants}).encode())
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


async def judge(setting: Setting, notes: Notes, tally: Tally) -> None:
    """Compare the clients' notes with the database, when no server runs."""
    node = Node.open(setting)
    try:
        found = await examine(node, setting, notes.acknowledged, tally, notes.retained)
        tally.double_spent += notes.twice
        tally.acknowledged += len(notes.acknowledged)
        tally.count("leaves", len(found))
    finally:
        await node.close()


# -- the process that is killed ----------------------------------------------------------------------


class Server:
    """A node in a process of its own, from its birth to its SIGKILL."""

    def __init__(
        self, setting: Setting, make: Making, *, number: int = 0, retained: str | None = None
    ) -> None:
        self.number = number
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._born = time.monotonic()
        self.pid = fork()
        if self.pid == 0:
            self.socket.close()
            try:
                asyncio.run(_serve(setting, make, theirs, retained))
            finally:
                os._exit(1)
        theirs.close()

    def ready(self, tally: Tally) -> int | None:
        """Wait until it serves; how many leaves it found, or None: it did not start."""
        ready, _, _ = select.select([self.socket], [], [], LONGEST_START)
        hello = self.socket.recv(1 << 16) if ready else b""
        tally.worst("restart_ms_max", (time.monotonic() - self._born) * 1000)
        return int(hello) if hello else None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def end(self) -> None:
        """Kill it, and forget what it still had to say."""
        self.kill()
        self.socket.close()


async def _serve(setting: Setting, make: Making, sock: socket.socket, retained: str | None) -> None:
    """Answer each message when its effects are durable, for ever."""
    node = make(setting)
    await node.audit.start(retained)
    sock.send(str((await node.audit.head()).size).encode())
    sock.setblocking(False)
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def readable() -> None:
        data = sock.recv(1 << 16)
        if not data:
            os._exit(0)  # the rig is gone
        task = loop.create_task(_answered(node, setting, sock, json.loads(data)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_reader(sock, readable)
    await loop.create_future()


async def _answered(
    node: Node, setting: Setting, sock: socket.socket, asked: dict[str, Any]
) -> None:
    result: int | str
    began = time.monotonic()
    try:
        if asked["op"] == "checkpoint":
            result = await node.audit.checkpoint()
        else:
            delegation = setting.delegations[asked["by"]]
            result = await node.decide(delegation, asked["n"], asked["once"], asked["approval"])
    except Refused as refused:
        result = f"{refused.kind}: {refused.detail}"
    told = {"client": asked["client"], "result": result, "took": time.monotonic() - began}
    sock.send(json.dumps(told).encode())


# -- mutants -----------------------------------------------------------------------------------------


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


def early_ack(setting: Setting) -> Node:
    """A node that answers before the record is durable."""
    node = Node.open(setting)
    inner = node.database._sequencer
    inner.close()
    node.database._sequencer = AnswersEarly(TellingWriter(inner._writer), node.clock.now)
    return node


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


def two_transactions(setting: Setting) -> Node:
    return TwoTransactions.open(setting)
