"""Behind the demo: the server process, the command line as a person types it, the agent."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from actfor.cli.demo.world import World

ACTFOR = (sys.executable, "-m", "actfor")


class Broken(Exception):  # noqa: N818 - the demo's verdict
    """A step did not do what the demo claims; the demo exits 1."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def find_server(command: str) -> str:
    """Where a published MCP server is installed.

    Looked for beside this environment (as `make demo` puts it) and on the PATH.
    """
    short = command.removeprefix("mcp-server-")
    beside = Path(sys.prefix).parent / f".venv-mcp-{short}" / "bin" / command
    found = str(beside) if beside.exists() else shutil.which(command)
    if found is None:
        raise Broken(f"the MCP server `{command}` is not installed: pip install {command}")
    return found


class Stage:
    """One running `actfor dev` with its own data folder and its own profile."""

    def __init__(self, world: World, port: int) -> None:
        self.world = world
        self.url = f"http://localhost:{port}"
        self._port = port
        self._server: subprocess.Popen[str] | None = None
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ACTFOR_")},
            "XDG_CONFIG_HOME": str(world.root / "config"),
            "NO_COLOR": "1",
        }

    def start(self) -> str:
        """Start the server; the one-time setup link is returned."""
        with (self.world.root / "server.log").open("w") as log:
            self._server = subprocess.Popen(
                [*ACTFOR, "dev", "--data", str(self.world.data), "--port", str(self._port)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
                start_new_session=True,
            )
        link = self._setup_link()
        self._wait_ready()
        return link

    def _setup_link(self) -> str:
        assert self._server is not None  # noqa: S101 - called by start only
        assert self._server.stdout is not None  # noqa: S101
        for line in self._server.stdout:
            if found := re.search(r"https?://\S+/setup\S+", line):
                return found.group()  # nothing more is said on standard output
        raise Broken(f"the server did not start; see {self.world.root / 'server.log'}")

    def _wait_ready(self) -> None:
        for _ in range(200):
            try:
                if httpx2.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            except httpx2.HTTPError:
                time.sleep(0.05)
        raise Broken("the server did not become ready within 10 seconds")

    def stop(self) -> None:
        """Stop the server as an init system would."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(15)
            except subprocess.TimeoutExpired:
                self._server.kill()
        if self._server is not None and self._server.stdout is not None:
            self._server.stdout.close()

    def wait(self) -> None:
        """Block until the server ends."""
        if self._server is not None:
            self._server.wait()

    def actfor(self, *arguments: str, code: int = 0) -> str:
        """Run `actfor ARGUMENTS` as a person would; its standard output.

        Raises:
            Broken: the exit code is not ``code``.
        """
        done = subprocess.run(
            [*ACTFOR, *arguments],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=60,
            check=False,
        )
        if done.returncode != code:
            said = (done.stdout + done.stderr).strip()
            raise Broken(f"`actfor {' '.join(arguments)}` exited {done.returncode}:\n{said}")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Run a command with ``--json`` and parse its answer."""
        return json.loads(self.actfor(*arguments, "--json"))


class AgentProcess:
    """The agent under `actfor run`, driven over its standard input."""

    def __init__(self, stage: Stage, *arguments: str) -> None:
        with (stage.world.root / "agent.log").open("w") as log:
            self._process = subprocess.Popen(
                [*ACTFOR, "run", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=stage.environment,
            )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._pump, daemon=True).start()
        ready = self._next(30)
        if "ready" not in ready:
            raise Broken(f"the agent did not start: {ready['error']}")
        self.identity: str = ready["ready"]

    def _pump(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - opened above
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put('{"ended": true}')

    def call(
        self, server: str, tool: str, on_link: Callable[[str], None] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Have the agent call one tool; ``on_link`` gets an approval link if there is one."""
        assert self._process.stdin is not None  # noqa: S101 - opened above
        command = {"server": server, "tool": tool, "arguments": arguments}
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"ok": False, "error": f"the agent's process ended ({self.code()})"}
        while True:
            answer = self._next(120)
            if "link" not in answer:
                return answer
            if on_link is not None:
                on_link(answer["link"])

    def _next(self, seconds: float) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(self._lines.get(timeout=seconds))
        except queue.Empty:
            raise Broken(f"the agent said nothing for {seconds:.0f} seconds") from None
        if "ended" in answer:
            return {
                "ok": False,
                "ended": True,
                "error": f"the agent's process ended ({self.code()})",
            }
        return answer

    def code(self) -> int | None:
        """The exit code of `actfor run`, waiting a little for it."""
        try:
            return self._process.wait(10)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """Close the agent's input and wait for it to finish."""
        if self._process.poll() is None:
            assert self._process.stdin is not None  # noqa: S101 - opened above
            self._process.stdin.close()
            if self.code() is None:
                self._process.kill()


@contextmanager
def running_agent(stage: Stage, *arguments: str) -> Iterator[AgentProcess]:
    """An agent under `actfor run` for the length of the block."""
    agent = AgentProcess(stage, *arguments)
    try:
        yield agent
    finally:
        agent.end()
