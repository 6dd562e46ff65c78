"""A server and its witnesses, each a process: cosigned, rolled back, found out, recovered."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import pytest
from tests.fakes.oracle import ask, independent
from tests.fakes.witness_process import running

from actfor.cli.demo.stage import free_port
from actfor.errors import Refused
from actfor.sdk.witness import Keeper
from actfor.server.settings import load
from actfor.server.wiring import build
from actfor.wire.tlog_policy import Policy, Witnessed

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("ACTFOR_")},
    "NO_COLOR": "1",
}


class Server:
    """`actfor dev` on its data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [*self._command("dev"), f"--port={self.port}", "--log-level=error"],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        assert "console" in self._process.stdout.readline()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()  # type: ignore[union-attr] # it is a pipe
            self._process = None

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._command(*arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=60
        )

    def cosigned(self, policy: Policy, beyond: int = 0) -> Witnessed:
        """What is published, once the quorum cosigned more than so many entries."""
        for _ in range(150):
            with suppress(Refused):
                seen = policy.verify(httpx2.get(f"{self.url}/log/checkpoint").text)
                if seen.checkpoint.size > beyond:
                    return seen
            time.sleep(0.1)
        raise AssertionError("not cosigned within fifteen seconds")

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "actfor", *arguments, f"--data={self.data}"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data")
    yield made
    made.kill()


def log_keys(server: Server) -> str:
    """Both keys of the log, as an operator prints them on the machine itself."""

    async def keys() -> str:
        app = await build(load(data=server.data, port=server.port), with_default_policies=True)
        try:
            return app.services.audit.verifier_key
        finally:
            await app.close()

    return asyncio.run(keys())


@independent
def test_a_server_is_witnessed_and_a_rollback_is_found_by_the_witness_alone(
    server: Server, tmp_path: Path
) -> None:
    server.data.mkdir()
    config = server.data / "actfor.toml"
    config.write_text('log_post_quantum = true\nlog_level = "error"\n')
    keys = log_keys(server)
    assert len(keys.splitlines()) == 2
    names = ("one.example/w", "two.example/w")
    witnesses = [Keeper.create(tmp_path / f"w{n}", name) for n, name in enumerate(names)]
    for witness in witnesses:
        witness.trust(keys)
    with running(tmp_path / "w0") as (first, _), running(tmp_path / "w1") as (second, _):
        policy = "\n".join(
            [
                *(f"log {key}" for key in keys.splitlines()),
                f"witness one {witnesses[0].verifiers[0]} {first}",
                f"witness two {witnesses[1].verifiers[1]} {second}",
                "group both all one two",
                "quorum both",
            ]
        )
        (server.data / "witnesses.policy").write_text(policy)
        config.write_text(config.read_text() + 'witness_policy = "witnesses.policy"\n')
        server.start()
        seen = server.cosigned(Policy.parse(policy))
        assert seen.cosigned.keys() == {"one", "two"}
        # What is served is read by an implementation that is not ours.
        answer = ask(do="log", at=f"{server.url}/log", key=keys.splitlines()[0])
        assert answer["entries"] == seen.checkpoint.size
        note = httpx2.get(f"{server.url}/log/checkpoint").text
        vkeys = [*keys.splitlines(), *(str(w.verifiers[n]) for n, w in enumerate(witnesses))]
        assert len(ask(do="note", note=note, keys=vkeys)["signed"]) == 4
        server.kill()
        # A thief of the machine keeps a copy, lets the log go on, and puts the copy back: with the
        # checkpoint file that belongs to it.
        backup = tmp_path / "backup"
        shutil.copytree(server.data, backup, ignore=shutil.ignore_patterns("*.sock"))
        with closing(sqlite3.connect(backup / "actfor.db")) as copy:
            ((size,),) = copy.execute("SELECT size FROM log_head")
        server.start()  # another setup link: an entry more
        larger = server.cosigned(Policy.parse(policy), beyond=size).checkpoint.size
        server.kill()
        shutil.rmtree(server.data)
        shutil.copytree(backup, server.data)
        refused = server.run("dev", f"--port={server.port}")
        assert refused.returncode == 7
        assert f"cosigned {larger} entries; this log has {size}" in refused.stderr
        # A person's word, and another log.
        done = server.run("recover", "--acknowledge")
        assert done.returncode == 0, done.stderr
        assert "localhost/log/" in done.stdout
