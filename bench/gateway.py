"""Governed MCP calls: through our gateway, through FastMCP's proxy, and without either.

Ours is the whole line of `gateway/enforce.py` for each call: DPoP-bound token, Cedar decision,
durable record, the upstream over HTTP, outcome record. FastMCP's proxy passes calls on and checks
nothing. All three stand before or are the same upstream, and say back the same 600 bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from bench.harness import (
    ROOT,
    NotRun,
    Process,
    Run,
    Samples,
    ask,
    cores,
    drive,
    free_port,
    note,
    raw_request,
    running,
)
from bench.world import World

CONNECTIONS = 8
WARM_SECONDS = 1.5
TEXT = "What is said here comes back. " * 20
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2025-11-25",
}
BODY = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "echo", "arguments": {"text": TEXT}},
    }
).encode()
_EXPECTED_PER_S = 2500
_PEER = "peer_fastmcp_proxy_calls_per_core_s"
_PEER_ADDED = "peer_fastmcp_proxy_added_p50_ms"


class GatewayBench:
    """Ours, the peer's and no gateway at all; `round` measures each once."""

    def __init__(
        self, world: World, upstream: Process, url: str, peer: Proxy | None, samples: Samples
    ) -> None:
        self._world = world
        self._upstream = upstream
        self._url = url
        self._peer = peer
        self._samples = samples

    def check(self) -> None:
        """One call through each: the text comes back, the upstream ran it once. Then get warm."""
        body, headers = self._world.one("call", TEXT)
        self._check(self._world.mcp_url, body, headers)
        if self._peer is not None:
            self._check(self._peer.url, BODY, HEADERS)
            self._theirs(self._peer, CONNECTIONS, WARM_SECONDS)
        self._ours(CONNECTIONS, WARM_SECONDS)

    def round(self, seconds: float) -> None:
        """Each at 8 connections (the rate) and at one (the added latency)."""
        before = self._ran()
        crowd = self._ours(CONNECTIONS, seconds)
        alone = self._ours(1, seconds)
        if self._ran() - before != crowd.requests + alone.requests:
            raise NotRun("the upstream did not run each governed call exactly once")
        direct = self._direct(seconds / 2)
        self._samples.add("mcp_calls_per_core_s", crowd.per_core)
        self._samples.add("mcp_c8_p50_ms", crowd.p50)
        self._samples.add("mcp_c8_p99_ms", crowd.p99)
        self._samples.add("mcp_c1_p99_ms", alone.p99)
        self._samples.add("mcp_added_p50_ms", alone.p50 - direct.p50)
        self._samples.add("upstream_direct_p50_ms", direct.p50)
        if self._peer is not None:
            self._samples.add(_PEER, self._theirs(self._peer, CONNECTIONS, seconds).per_core)
            added = self._theirs(self._peer, 1, seconds).p50 - direct.p50
            self._samples.add(_PEER_ADDED, added)

    def _ours(self, connections: int, seconds: float) -> Run:
        return drive(
            self._world.mcp_url,
            self._world.prepare("call", int(seconds * _EXPECTED_PER_S), TEXT),
            server=self._world.server.pid,
            connections=connections,
            seconds=seconds,
            expect=TEXT,
        )

    def _direct(self, seconds: float) -> Run:
        return self._repeat(self._url, self._upstream.pid, 1, seconds)

    def _theirs(self, peer: Proxy, connections: int, seconds: float) -> Run:
        return self._repeat(peer.url, peer.process.pid, connections, seconds)

    def _repeat(self, url: str, pid: int, connections: int, seconds: float) -> Run:
        return drive(
            url,
            [raw_request(url, BODY, HEADERS)],
            server=pid,
            connections=connections,
            seconds=seconds,
            expect=TEXT,
            repeat=True,
        )

    def _check(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        before = self._ran()
        answer = json.loads(ask(url, body, headers))
        content = answer.get("result", {}).get("content", [{}])
        if content[0].get("text") != TEXT or self._ran() != before + 1:
            raise NotRun(f"not the answer of one call: {str(answer)[:300]}")

    def _ran(self) -> int:
        with urllib.request.urlopen(self._url.replace("/mcp", "/calls"), timeout=5) as answer:
            count: int = json.load(answer)["calls"]
        return count


class Proxy:
    """One running FastMCP proxy before the upstream."""

    def __init__(self, upstream: str) -> None:
        python = install()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/mcp"
        self.process = Process(
            [python, "bench/peers/fastmcp_proxy.py", str(port), upstream], core=cores()[0]
        )

    def start(self) -> None:
        """Wait for it."""
        self.process.wait_for(self.url)


def install() -> str:
    """The peer's environment, made from its hashed lock once; its Python.

    Raises:
        NotRun: it cannot be made here.
    """
    done = subprocess.run(
        [sys.executable, "scripts/bootstrap.py", "bench"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
        check=False,
    )
    python = ROOT / ".venv-bench" / "bin" / "python"
    if done.returncode or not os.access(python, os.X_OK):
        raise NotRun(f"its environment cannot be made: {(done.stderr or done.stdout)[-300:]}")
    return str(python)


@contextmanager
def peer(samples: Samples, upstream: str) -> Iterator[Proxy | None]:
    """FastMCP's proxy, running, or None (said aloud) where it cannot be had."""
    try:
        found = Proxy(upstream)
    except NotRun as reason:
        _lose(samples, reason)
        yield None
        return
    with running(found.process):
        started = True
        try:
            found.start()
        except NotRun as reason:
            _lose(samples, reason)
            started = False
        yield found if started else None


def _lose(samples: Samples, reason: NotRun) -> None:
    note(f"FastMCP's proxy is NOT RUN: {reason}")
    for name in (_PEER, _PEER_ADDED):
        samples.lose(name, str(reason))
