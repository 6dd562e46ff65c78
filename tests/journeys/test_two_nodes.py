"""Two servers beside one PostgreSQL, as processes: one order, one log, one answer to a revocation."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from bench.harness import Process, free_port
from bench.world import World
from tests.fakes import postgres


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    port = free_port()
    upstream = Process([sys.executable, "-m", "bench.peers.mcp_upstream", str(port)], core=None)
    cluster = postgres.shared()
    with cluster.database() as url:
        made = World(tmp_path, f"http://127.0.0.1:{port}/mcp", url)
        try:
            upstream.wait_for(f"http://127.0.0.1:{port}/calls")
            made.build()
            yield made
        finally:
            made.stop()
            upstream.stop()


def send(port: int, request: tuple[bytes, dict[str, str]]) -> tuple[int, str]:
    """A request made for the issuer, sent to one node as a load balancer would."""
    body, headers = request
    answer = httpx2.post(
        f"http://127.0.0.1:{port}/mcp/echo", content=body, headers=headers, timeout=20
    )
    return answer.status_code, answer.text


def log_size(world: World) -> int:
    """What the last checkpoint covers, when there has been time to sign one."""
    time.sleep(1.5)
    return int(httpx2.get(f"{world.url}/log/checkpoint").text.split("\n")[1])


def test_two_nodes_act_as_one(world: World) -> None:
    second, port = world.another_node("second")
    try:
        second.wait_for(f"http://127.0.0.1:{port}/readyz")
        first = int(world.url.rpartition(":")[2])

        # A token that one node issued is good at both; its proof is good once at either.
        for node, text in ((first, "to the first"), (port, "to the second")):
            status, answer = send(node, world.one("call", text))
            assert (status, text in answer) == (200, True), answer
        once = world.one("call", "once")
        assert send(first, once)[0] == 200
        status, answer = send(port, once)
        assert status == 401, answer

        # Revoked at one, denied at the other: the next call, not one later.
        prepared = [world.one("call", "too late") for _ in range(2)]
        world.actfor("agent", "quarantine", "bench", "--reason", "seen at the first node")
        for node, request in zip((port, first), prepared, strict=True):
            status, answer = send(node, request)
            assert status == 401, answer
            assert "quarantined: seen at the first node" in answer

        # One of them is killed; the other goes on, and the log with it.
        os.killpg(second.pid, signal.SIGKILL)
        before = log_size(world)
        world.actfor("agent", "reinstate", "bench")
        assert log_size(world) > before
    finally:
        second.stop()
