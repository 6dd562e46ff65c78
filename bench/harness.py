"""How the benchmarks measure: pinned processes, CPU of process trees, interleaved rounds, medians.

The main figure is *requests per second of the server's CPU time*: what one core would do. It
survives noisy neighbours far better than the wall clock does. Latencies are the wall clock's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".bench"
"""Scratch on the checkout's disk (a /tmp in memory would make every fsync free)."""

Figures = dict[str, float | None]


class NotRun(Exception):  # noqa: N818 - an answer, not a malfunction
    """A contender cannot run here; the message says why. Its figures are null, never made up."""


def scratch() -> Path:
    """``WORK``, made on first use and invisible to git."""
    WORK.mkdir(exist_ok=True)
    (WORK / ".gitignore").write_text("*\n")
    return WORK


def note(text: str) -> None:
    """A line of progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def cores() -> tuple[int | None, int | None]:
    """(the server's core, the load's); ``None`` where this system cannot pin or has one core."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else (None, None)


def pin(pid: int, core: int | None) -> None:
    """Keep a process, and what it starts later, on one core."""
    if core is not None:
        os.sched_setaffinity(pid, {core})


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and all its descendants, ended children included. Resolution: 10 ms."""
    root = psutil.Process(pid)
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
            total += getattr(times, "children_user", 0) + getattr(times, "children_system", 0)
    return total


class Process:
    """A server under test, or a peer: started pinned, its output kept for when it fails."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        core: int | None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log", delete=False)  # noqa: SIM115 - closed in stop()
        self._process = subprocess.Popen(
            [*pinned(core), *argv],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=cwd or ROOT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        self.pid = self._process.pid

    def wait_for(self, url: str, seconds: float = 30) -> None:
        """Return when ``url`` answers anything at all.

        Raises:
            NotRun: the process ended, or the time is up.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(url, timeout=2).close()
            except urllib.error.HTTPError as answer:
                answer.close()
                return
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise NotRun(f"it did not answer within {seconds:.0f} s: {self.tail()}")

    def tail(self) -> str:
        """The end of what it printed."""
        return Path(self._log.name).read_text(errors="replace")[-2000:].strip()

    def stop(self) -> None:
        """End it and its children, politely first."""
        for send, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, send)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                break
        self._log.close()
        Path(self._log.name).unlink(missing_ok=True)


def pinned(core: int | None) -> list[str]:
    """The front of a command line that starts the rest on one core (and says nothing elsewhere)."""
    if core is None:
        return []
    pinning = (
        f"import os,sys;os.sched_setaffinity(0,{{{core}}});os.execvp(sys.argv[1],sys.argv[1:])"
    )
    return [sys.executable, "-I", "-c", pinning]


@contextlib.contextmanager
def running(*processes: Process) -> Iterator[None]:
    """Stop these at the end, whatever happened."""
    try:
        yield
    finally:
        for process in processes:
            process.stop()


@dataclass(frozen=True, slots=True)
class Run:
    """What one timed run of the load generator saw. Times in seconds, latencies in milliseconds."""

    requests: int
    seconds: float
    cpu: float
    p50: float
    p99: float

    @property
    def per_core(self) -> float:
        """Requests per second of the server's CPU time."""
        return self.requests / max(self.cpu, 0.01)


def drive(
    url: str,
    requests: Path | Iterable[bytes],
    *,
    server: int,
    connections: int,
    seconds: float,
    expect: str,
    repeat: bool = False,
) -> Run:
    """Send prepared requests for ``seconds`` (or until none is left) and account the server's CPU.

    ``requests`` are whole HTTP/1.1 requests, or a file of them (`save`). Each is sent once, unless
    ``repeat``.
    ``server`` is the process whose tree is charged. An answer that is not a 200 containing
    ``expect`` ends the benchmark: a fast refusal is not a fast answer.

    Raises:
        NotRun: the load generator saw such an answer, or got none.
    """
    port = int(url.rsplit(":", 1)[1].split("/", 1)[0])
    if not isinstance(requests, Path):
        requests = save(requests, scratch() / "requests")
    argv = [sys.executable, "-m", "bench.load", str(requests), str(port), str(connections)]
    argv += [str(seconds), expect, "repeat" if repeat else "once"]
    load = subprocess.Popen(
        [*pinned(cores()[1]), *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with load:
        assert load.stdin is not None
        assert load.stdout is not None
        load.stdout.readline()  # connected and ready
        before = cpu_seconds(server)
        load.stdin.write("go\n")
        load.stdin.flush()
        answer = load.stdout.readline()
        cpu = cpu_seconds(server) - before
    if not answer:
        raise NotRun("the load generator broke off")
    seen = json.loads(answer)
    if "error" in seen:
        raise NotRun(f"an answer was wrong: {seen['error']}")
    return Run(seen["requests"], seen["seconds"], cpu, seen["p50"], seen["p99"])


def save(requests: Iterable[bytes], path: Path) -> Path:
    """Write requests as the load generator reads them: each behind its length (4 bytes)."""
    with path.open("wb") as file:
        for request in requests:
            file.write(len(request).to_bytes(4, "big") + request)
    return path


def ask(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> str:
    """One request, for looking at an answer before anything is timed.

    Raises:
        NotRun: the status is not a success; the answer's beginning is in the message.
    """
    request = urllib.request.Request(url, body, dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        raise NotRun(f"HTTP {error.code}: {error.read().decode(errors='replace')[:300]}") from error
    except OSError as error:
        raise NotRun(str(error)) from error
    return text


def raw_request(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A whole HTTP/1.1 POST as bytes."""
    host, _, path = url.removeprefix("http://").partition("/")
    lines = [f"POST /{path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@dataclass(slots=True)
class Samples:
    """Figures of several rounds; the median of each is what is reported."""

    taken: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """One round's figure."""
        self.taken.setdefault(name, []).append(value)

    def lose(self, name: str, why: str) -> None:
        """This figure cannot be had here."""
        self.missing[name] = why

    def median(self, name: str) -> float | None:
        """The median of the rounds, or None if the figure could not be had."""
        values = self.taken.get(name)
        return statistics.median(values) if values and name not in self.missing else None

    def spread(self, name: str) -> float:
        """(max - min) / median: how much to trust the figure."""
        values = self.taken.get(name) or [0.0]
        middle = statistics.median(values)
        return (max(values) - min(values)) / middle if middle else 0.0
