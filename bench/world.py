"""A governed world for the load: a real `actfor dev`, an operator, an attested agent, a mandate.

Everything goes through the product's own front doors: the setup link, the command line, the
attestation socket, the token endpoint. Nothing is patched and nothing is switched off.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.harness import NotRun, Process, cores, free_port, pinned, running, scratch
from bench.passkey import Operator

ACTFOR = (sys.executable, "-m", "actfor")
SERVER = "echo"
MANDATE = "Say things back while the benchmark runs"


class World:
    """One server with everything around it that a governed call needs. Use `built`."""

    def __init__(self, root: Path, upstream: str, database: str = "") -> None:
        """``database`` is a URL; without one, the server keeps what it does on SQLite."""
        self._root = root
        self._upstream = upstream
        self._port = free_port()
        self.url = f"http://localhost:{self._port}"
        self.token_url = f"{self.url}/token"
        self.mcp_url = f"{self.url}/mcp/{SERVER}"
        # PYTHONPATH and its kin would make the agent run code that was not measured.
        foreign = ("ACTFOR_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self._environment = {**kept, "XDG_CONFIG_HOME": str(root / "config"), "NO_COLOR": "1"}
        self.server = Process(
            [
                *ACTFOR,
                "dev",
                "--data",
                str(root / "data"),
                "--port",
                str(self._port),
                *_db(database),
            ],
            core=cores()[0],
            env=self._environment,
        )
        self._database = database
        self._agent: subprocess.Popen[str] | None = None

    def build(self) -> None:
        """Operator, command line, upstream, agent, mandate, and the attested process."""
        self.server.wait_for(f"{self.url}/readyz")
        operator = Operator(self.url)
        operator.set_up(self._setup_link())
        self._login(operator)
        operator.close()
        self.actfor(
            "gateway", "add", SERVER, "--url", self._upstream,
            "--effect", "echo=read", "--approve-tools",
        )  # fmt: skip
        code = self._root / "agent"
        shutil.copytree(Path(__file__).parent / "agent", code)
        self.actfor("agent", "register", "bench", "--purpose", "measures", "--code", str(code))
        made = self.actfor(
            "mandate", "create", "--agent", "bench", "--goal", MANDATE, "--hours", "1", "--yes",
            "--grant", f"{SERVER}:echo:read", "--json",
        )  # fmt: skip
        self._launch(json.loads(made)["id"], code)

    def prepare(self, make: str, count: int, text: str = "") -> Path:
        """Have the agent write ``count`` signed requests; the file, until the next `prepare`."""
        path = self._root / "requests"
        command = {
            "make": make,
            "audience": SERVER,
            "count": count,
            "path": str(path),
            "text": text,
        }
        assert self._agent is not None
        assert self._agent.stdin is not None
        self._agent.stdin.write(json.dumps(command) + "\n")
        self._agent.stdin.flush()
        answer = self._heard()
        if not answer["ok"]:
            raise NotRun(f"the agent could not prepare requests: {answer['error']}")
        return path

    def one(self, make: str, text: str = "") -> tuple[bytes, dict[str, str]]:
        """One prepared request as body and headers, for looking at its answer."""
        request = self.prepare(make, 1, text).read_bytes()[4:]
        head, _, body = request.partition(b"\r\n\r\n")
        return body, dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])

    def actfor(self, *arguments: str) -> str:
        """Run `actfor ARGUMENTS` as a person would; its standard output."""
        done = subprocess.run(
            [*ACTFOR, *arguments],
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=60,
            check=False,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise NotRun(f"`actfor {' '.join(arguments)}` exited {done.returncode}: {said[-500:]}")
        return done.stdout

    def another_node(self, name: str) -> tuple[Process, int]:
        """A second server beside the same database, and its port. Who calls it stops it."""
        port = free_port()
        data = ("--data", str(self._root / name))
        return Process(
            [*ACTFOR, "dev", *data, "--port", str(port), *_db(self._database)],
            core=cores()[0],
            env={
                **self._environment,
                "ACTFOR_ISSUER": self.url,
                "ACTFOR_KEK": f"file:{self._root}/data/keys/kek.key",
            },
        ), port

    def stop(self) -> None:
        """End the agent, then the server."""
        if self._agent is not None:
            assert self._agent.stdin is not None
            with suppress(BrokenPipeError):  # it was ended because its agent was
                self._agent.stdin.close()
            try:
                self._agent.wait(10)
            except subprocess.TimeoutExpired:
                self._agent.kill()
                self._agent.wait()
            if self._agent.stdout is not None:
                self._agent.stdout.close()
        self.server.stop()

    def _setup_link(self) -> str:
        for _ in range(100):
            if found := re.search(r"https?://\S+/setup\S+", self.server.tail()):
                return found.group()
            time.sleep(0.05)
        raise NotRun(f"the server printed no setup link: {self.server.tail()}")

    def _login(self, operator: Operator) -> None:
        login = subprocess.Popen(
            [*ACTFOR, "login", "--server", self.url, "--no-browser"],
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        assert login.stderr is not None
        said = ""
        for line in login.stderr:
            said += line
            if found := re.search(r"https?://\S+/device\S*", line):
                operator.confirm(found.group())
                break
        said += login.stderr.read()
        login.stderr.close()
        if login.wait(60) != 0:
            raise NotRun(f"`actfor login` failed: {said[-500:]}")

    def _launch(self, mandate: str, code: Path) -> None:
        argv = [*ACTFOR, "run", "--agent", "bench", "--mandate", mandate]
        with (self._root / "agent.log").open("w") as log:
            self._agent = subprocess.Popen(
                [*pinned(cores()[1]), *argv, "--", sys.executable, str(code / "agent.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment,
            )
        self._heard()

    def _heard(self) -> dict[str, Any]:
        assert self._agent is not None
        assert self._agent.stdout is not None
        line = self._agent.stdout.readline()
        if not line:
            raise NotRun(f"the agent ended: {(self._root / 'agent.log').read_text()[-500:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _db(url: str) -> tuple[str, ...]:
    return ("--db", url) if url else ()


@contextmanager
def built() -> Iterator[tuple[World, Process, str]]:
    """A world, the upstream's process and the upstream's URL; all gone at the end."""
    port = free_port()
    upstream = Process(
        [sys.executable, "-m", "bench.peers.mcp_upstream", str(port)], core=cores()[1]
    )
    with running(upstream), tempfile.TemporaryDirectory(dir=scratch()) as folder:
        upstream.wait_for(f"http://127.0.0.1:{port}/calls")
        world = World(Path(folder), f"http://127.0.0.1:{port}/mcp")
        try:
            world.build()
            yield world, upstream, f"http://127.0.0.1:{port}/mcp"
        finally:
            world.stop()
