"""An agent under `actfor run`: real processes, real sockets, real files, nothing patched."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.fakes.identity_authenticator import SoftAuthenticator

from actfor.audit import AuditLog, NoteSigner
from actfor.errors import Kind, Refused
from actfor.identity import (
    AgentDraft,
    AgentService,
    AgentState,
    AttestationSocket,
    LocalProcessAttestor,
    PeopleService,
    Person,
    ReferenceDraft,
    Tier,
    Wanted,
)
from actfor.sdk.attest import AttestationClient
from actfor.sdk.sidecar import fetch
from actfor.store import Database
from actfor.wire.jose import SigningKey

ISSUER = "http://localhost:8700"
RUN = Path(__file__).parents[1] / "fakes" / "identity_run.py"
AGENT = """\
import asyncio, json, os, sys
import actfor.sdk
from actfor.sdk.sidecar import fetch_sync

def say(**answer):
    print(json.dumps(answer), flush=True)

async def main():
    async with actfor.sdk.connect() as me:
        say(ready=me.identity, pid=os.getpid(),
            env={k: v for k, v in os.environ.items() if k.startswith("ACTFOR")})
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line.strip() == "exit":
                sys.exit(7)
            try:
                say(svid=fetch_sync(os.environ["ACTFOR_SOCKET"]).svid)
            except actfor.sdk.Refused as refused:
                say(refused=refused.detail)

asyncio.run(main())
"""


@dataclass
class Server:
    """The server's side, in this process; the agents are other processes."""

    folder: Path
    agents: AgentService
    audit: AuditLog
    socket: AttestationSocket
    operator: Person

    @property
    def code(self) -> Path:
        return self.folder / "code"

    async def register(self, name: str = "bookkeeper") -> None:
        reference = ReferenceDraft(
            code=Wanted(str(self.code)), executable=Wanted(os.path.realpath(sys.executable))
        )
        await self.agents.register(
            self.operator, AgentDraft(name, "keeps the books", Tier.LOW, reference)
        )


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="actfor-j-") as made:
        code = Path(made, "code")
        code.mkdir()
        Path(made, "run").mkdir()
        (code / "agent.py").write_text(AGENT)
        (code / "prices.py").write_text("EUR = 100\n")
        yield Path(made)


@asynccontextmanager
async def serving(folder: Path, *, life: float = 600) -> AsyncIterator[Server]:
    def now() -> datetime:
        return datetime.now(UTC)

    database = Database.open(f"sqlite:///{folder}/actfor.db", clock=now, create_all=True)
    audit = AuditLog(database, NoteSigner.generate("test.example"), "test.example", now)
    people = PeopleService(database, audit, "localhost", [ISSUER], now)
    agents = AgentService(
        database,
        audit,
        "example.org",
        ISSUER,
        SigningKey.generate(),
        [LocalProcessAttestor()],
        now,
        svid_lifetime=timedelta(seconds=life),
    )
    socket = AttestationSocket(agents, folder / "attest.sock")
    agents.after_invalidated.append(socket.notify)
    known = await people.people()
    if not known:
        passkey = SoftAuthenticator(ISSUER, "localhost")
        begun = await people.register_options(await people.create_setup_link(), "Ada")
        await people.register(begun.id, passkey.create(dict(begun.options)))
        known = await people.people()
    await socket.start()
    watch = asyncio.create_task(agents.watch())
    try:
        yield Server(folder, agents, audit, socket, known[0])
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await socket.close()
        await database.close()


class Running:
    """One `actfor run`, driven over the agent's standard input and output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ready: dict[str, Any] = {}

    async def next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 20)
        assert line, (await self.end())[1]
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def ask(self, word: str = "svid") -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(word.encode() + b"\n")
        return await self.next()

    async def end(self) -> tuple[int, str]:
        _, errors = await asyncio.wait_for(self.process.communicate(), 20)
        assert self.process.returncode is not None
        return self.process.returncode, errors.decode()


@asynccontextmanager
async def running(
    folder: Path, *options: str, command: list[str] | None = None, ready: bool = True
) -> AsyncIterator[Running]:
    argv = [sys.executable, str(RUN), "run", "--server", ISSUER, "--data", str(folder)]
    argv += [*(options or ("--agent", "bookkeeper")), "--"]
    process = await asyncio.create_subprocess_exec(
        *argv,
        *(command or [sys.executable, "agent.py"]),
        cwd=folder / "code",
        env={
            **os.environ,
            "ACTFOR_SECRET": "canary-in-the-environment",
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    run = Running(process)
    try:
        if ready:
            run.ready = await run.next()
        yield run
    finally:
        if process.returncode is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            await process.communicate()


async def test_one_changed_byte_kills_the_identity_within_a_second(folder: Path) -> None:
    async with serving(folder) as server:
        await server.register()
        async with running(folder) as run:
            # It is somebody.
            assert run.ready["ready"] == "spiffe://example.org/agent/bookkeeper"
            svid = (await run.ask())["svid"]
            seen = await server.agents.verify_svid(svid, ISSUER)
            assert seen.agent.state is AgentState.ACTIVE

            # One byte.
            (server.code / "prices.py").write_text("EUR = 900\n")
            changed = time.monotonic()
            said = None
            while said is None:
                try:
                    await server.agents.verify_svid(svid, ISSUER)
                    assert time.monotonic() - changed < 5
                    await asyncio.sleep(0.01)
                except Refused as refused:
                    said = refused
            assert time.monotonic() - changed < 1
            assert said.kind is Kind.DENIED
            assert "`prices.py` was changed" in said.detail

            # The launcher was told, says why, and ends the agent.
            code, errors = await run.end()
            assert code == 5
            assert "`prices.py` was changed" in errors

        # Renewal is refused for whoever asks, and the log has the cause.
        client = await AttestationClient.open(str(server.socket.path))
        with pytest.raises(Refused, match=r"`prices\.py` was changed"):
            await client.attest("bookkeeper", pid=os.getpid(), key=SigningKey.generate())
        await client.close()
        agent = await server.agents.show("bookkeeper")
        assert (agent.state, agent.cause) == (AgentState.INVALIDATED, "`prices.py` was changed")
        events = await server.audit.search(limit=20)
        causes = {(event.type, event.private.get("cause")) for event in events}
        assert ("agent", "`prices.py` was changed") in causes


async def test_nothing_secret_is_in_the_environment_or_the_arguments(folder: Path) -> None:
    async with serving(folder) as server:
        await server.register()
        async with running(folder) as run:
            svid = (await run.ask())["svid"]
            assert list(run.ready["env"]) == ["ACTFOR_SOCKET"]
            assert run.ready["env"]["ACTFOR_SOCKET"].startswith("unix:///")
            for process in (run.process.pid, run.ready["pid"]):
                text = " ".join(psutil.Process(process).cmdline())
                text += json.dumps(psutil.Process(process).environ())
                assert svid not in text
                assert "PRIVATE" not in text
            child = json.dumps(psutil.Process(run.ready["pid"]).environ())
            assert "canary-in-the-environment" not in child

            # Knowing the address is not enough: this test is no descendant of the launcher.
            with pytest.raises(Refused) as refused:
                await fetch(run.ready["env"]["ACTFOR_SOCKET"])
            assert refused.value.kind is Kind.DENIED
            assert (await run.ask())["svid"] == svid


async def test_credentials_are_renewed_and_the_instance_stays(folder: Path) -> None:
    async with serving(folder, life=2) as server:
        await server.register()
        async with running(folder) as run:
            first = await server.agents.verify_svid((await run.ask())["svid"], ISSUER)
            await asyncio.sleep(2.5)
            second = await server.agents.verify_svid((await run.ask())["svid"], ISSUER)
            assert second.instance == first.instance
            assert second.jkt == first.jkt
            assert second.expires_at > first.expires_at


async def test_an_invalid_agent_may_be_left_running_without_credentials(folder: Path) -> None:
    async with serving(folder) as server:
        await server.register()
        async with running(folder, "--agent", "bookkeeper", "--no-kill-on-invalid") as run:
            assert "svid" in await run.ask()
            (server.code / "evil.py").write_text("")
            deadline = time.monotonic() + 5
            while "refused" not in (answer := await run.ask()):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert "`evil.py` was added" in answer["refused"]
            assert run.process.returncode is None


async def test_a_quarantined_agent_is_ended_at_once(folder: Path) -> None:
    async with serving(folder) as server:
        await server.register()
        async with running(folder) as run:
            await server.agents.quarantine(server.operator, "bookkeeper", "acts oddly")
            code, errors = await run.end()
            assert code == 5
            assert "acts oddly" in errors


async def test_a_server_that_restarts_finds_its_agents_again(folder: Path) -> None:
    async with serving(folder) as server:
        await server.register()
        async with running(folder) as run:
            first = (await run.ask())["svid"]
            await server.socket.close()
            await asyncio.sleep(0.2)
            assert (await run.ask())["svid"] == first  # still good, still handed out
            await server.socket.start()
            deadline = time.monotonic() + 10
            while (await run.ask())["svid"] == first:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            await server.agents.quarantine(server.operator, "bookkeeper", "told after a restart")
            assert "told after a restart" in (await run.end())[1]


async def test_code_that_is_not_what_was_registered_never_gets_credentials(folder: Path) -> None:
    async with serving(folder) as server:
        await server.register()
        (server.code / "agent.py").write_text(AGENT + "\n")
        async with running(folder, ready=False) as run:
            code, errors = await run.end()
            assert code == 5
            assert "`agent.py` was changed" in errors


@pytest.mark.parametrize(
    "command",
    [
        ["-c", "import time; time.sleep(60)"],
        ["../agent-copy.py"],
    ],
)
async def test_other_code_run_by_the_same_python_never_gets_credentials(
    folder: Path, command: list[str]
) -> None:
    (folder / "agent-copy.py").write_text(AGENT)
    async with serving(folder) as server:
        await server.register()
        async with running(folder, command=[sys.executable, *command], ready=False) as run:
            code, errors = await run.end()
            assert code == 5
            assert "attestation refused" in errors
        assert (await server.agents.show("bookkeeper")).state is AgentState.REGISTERED


async def test_without_a_server_the_agent_is_not_started(folder: Path) -> None:
    marker = folder / "started"
    command = ["/bin/sh", "-c", f"touch {marker}"]
    async with running(folder, command=command, ready=False) as run:
        code, errors = await run.end()
    assert code == 9
    assert "no server listens" in errors
    assert not marker.exists()


async def test_an_unknown_agent_and_an_unknown_program_are_said_plainly(folder: Path) -> None:
    async with serving(folder) as server:
        await server.register()
        async with running(folder, "--agent", "nobody", ready=False) as run:
            code, errors = await run.end()
            assert (code, "there is no agent 'nobody'" in errors) == (5, True)
        async with running(folder, command=["/nonexistent"], ready=False) as run:
            code, errors = await run.end()
            assert (code, "is not a program" in errors) == (3, True)


async def test_a_mandate_needs_a_login(folder: Path) -> None:
    async with serving(folder) as server:
        await server.register()
        options = ("--agent", "bookkeeper", "--mandate", "mdt_1")
        async with running(folder, *options, ready=False) as run:
            code, errors = await run.end()
            assert (code, "actfor login" in errors) == (4, True)


async def test_the_agents_own_exit_code_and_signals_pass_through(folder: Path) -> None:
    async with serving(folder) as server:
        await server.register()
        async with running(folder) as run:
            assert run.process.stdin is not None
            run.process.stdin.write(b"exit\n")
            assert (await run.end())[0] == 7
        async with running(folder) as run:
            run.process.send_signal(signal.SIGTERM)
            assert (await run.end())[0] == 128 + signal.SIGTERM
            assert not psutil.pid_exists(run.ready["pid"])
        assert list((folder / "run").iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b'{"op": "attest", "agent": "bookkeeper"}\n',
        b'{"op": "attest", "agent": "bookkeeper", "pid": -1, "proof": "a.b.c", "jwk": {}}\n',
        b'{"op": "attest", "agent": "bookkeeper", "pid": 1, "proof": "a.b.c", "jwk": {}}\n',
        b'{"op": "attest", "agent": "bookkeeper", "pid": 1, "proof": "a.b.c", "jwk": 1}\n',
        b'{"op": "challenge", "agent": "bookkeeper", "uid": 0}\n',
        b'{"op": "challenge", "agent": "../../etc"}\n',
        b'{"op": "challenge", "agent": "x", "agent": "bookkeeper"}\n',
        b"x" * 66_000 + b"\n",
        b"\xff\xfe\n",
    ],
)
async def test_garbage_on_the_attestation_socket_gets_a_refusal(folder: Path, line: bytes) -> None:
    async with serving(folder) as server:
        await server.register()
        reader, writer = await asyncio.open_unix_connection(str(server.socket.path))
        writer.write(line)
        answer = json.loads(await reader.readline())
        writer.close()
        assert answer["error"]["kind"] in {"malformed", "not-found", "unauthenticated"}
        assert "svid" not in answer
