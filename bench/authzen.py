"""Decisions over HTTP with 1,000 policies: our AuthZEN endpoint beside Cerbos.

    python -m bench.authzen [--rounds N] [--seconds S]

Ours authenticates the enforcement point, decides, and has the answer durable in the log (one fsync
for all that wait together) before it is sent; once more with `authzen_record` off, which is what
Cerbos does: it decides and records nothing. All hold 1,000 policies and permit the same read; each
is pinned to one core and charged its whole CPU time.
The last line is JSON. Where Cerbos cannot be installed it is left out, with the reason.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from actfor.wire.authzen import EVALUATION_PATH
from bench.authzen_app import FACTS, TOKEN
from bench.harness import (
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
    scratch,
)
from bench.peers import cerbos_pdp

POLICIES = 1000
AGENT = "spiffe://example.org/agent/clerk"
SERVER, TOOL = "crm", "find"
CONNECTIONS = 16
EXPECT = '"decision":true'
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}


class Ours:
    """Our endpoint, started on a database of its own."""

    def __init__(self, folder: Path, *, recorded: bool) -> None:
        port = free_port()
        folder.mkdir()
        self.url = f"http://127.0.0.1:{port}{EVALUATION_PATH}"
        argv = [sys.executable, "-m", "bench.authzen_app", str(port), str(folder), str(POLICIES)]
        argv.append("recorded" if recorded else "unrecorded")
        self.process = Process(argv, core=cores()[0])
        question = {
            "subject": {"type": "agent", "id": AGENT},
            "action": {"name": "read"},
            "resource": {"type": "tool", "id": f"{SERVER}/{TOOL}"},
        }
        self.body = json.dumps(question).encode()

    def start(self) -> None:
        """Wait for it and look at one answer."""
        self.process.wait_for(self.url)
        answer = json.loads(ask(self.url, self.body, HEADERS))
        if not answer["decision"] or answer["context"]["policies"] != ["read-in-mandate"]:
            raise NotRun(f"not the decision that is to be measured: {answer}")

    def run(self, connections: int, seconds: float) -> Run:
        """One timed run."""
        request = raw_request(self.url, self.body, HEADERS)
        return _drive(self.url, request, self.process, connections, seconds, EXPECT)


@contextmanager
def peer(samples: Samples) -> Iterator[cerbos_pdp.Cerbos | None]:
    """Cerbos with as many policies, or None with its figures lost."""
    kinds = [SERVER, *(f"s{number}" for number in range(POLICIES - 1))]
    with ExitStack() as alive:
        made: cerbos_pdp.Cerbos | None = None
        try:
            folder = alive.enter_context(tempfile.TemporaryDirectory(dir=scratch()))
            made = cerbos_pdp.Cerbos(Path(folder), kinds)
            alive.enter_context(running(made.process))
            made.start(_question())
        except NotRun as reason:
            made = None
            note(f"NOT RUN: cerbos: {reason}")
            for name in ("per_core_s", "c1_p50_ms", "c16_p99_ms"):
                samples.lose(f"peer_cerbos_{name}", str(reason))
        yield made


def measure(samples: Samples, rounds: int, seconds: float) -> None:
    """All in turn, ``rounds`` times."""
    with contenders(samples) as step:
        for _ in range(rounds):
            step(seconds)


@contextmanager
def contenders(samples: Samples) -> Iterator[Callable[[float], None]]:
    """Everything alive; what is given measures each in turn for so many seconds."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder, peer(samples) as other:
        ours = Ours(Path(folder) / "recorded", recorded=True)
        bare = Ours(Path(folder) / "unrecorded", recorded=False)
        with running(ours.process), running(bare.process):
            for each in (ours, bare):
                each.start()
                each.run(CONNECTIONS, 1.0)

            def step(seconds: float) -> None:
                _ours(ours, samples, seconds, "authzen")
                _ours(bare, samples, seconds, "authzen_unrecorded")
                if other is not None:
                    _theirs(other, samples, seconds)

            yield step


def _ours(ours: Ours, samples: Samples, seconds: float, name: str) -> None:
    crowd, alone = ours.run(CONNECTIONS, seconds), ours.run(1, seconds / 2)
    samples.add(f"{name}_per_core_s", crowd.per_core)
    samples.add(f"{name}_c16_p99_ms", crowd.p99)
    samples.add(f"{name}_c1_p50_ms", alone.p50)


def _theirs(other: cerbos_pdp.Cerbos, samples: Samples, seconds: float) -> None:
    request = other.request(_question())
    runs = [
        _drive(other.url, request, other.process, connections, span, cerbos_pdp.EXPECT)
        for connections, span in ((CONNECTIONS, seconds), (1, seconds / 2))
    ]
    samples.add("peer_cerbos_per_core_s", runs[0].per_core)
    samples.add("peer_cerbos_c16_p99_ms", runs[0].p99)
    samples.add("peer_cerbos_c1_p50_ms", runs[1].p50)


def _question() -> bytes:
    return cerbos_pdp.question(AGENT, SERVER, TOOL, {**FACTS, "within_caps": True})


def _drive(
    url: str, request: bytes, process: Process, connections: int, seconds: float, expect: str
) -> Run:
    return drive(
        url,
        [request],
        server=process.pid,
        connections=connections,
        seconds=seconds,
        expect=expect,
        repeat=True,
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    samples = Samples()
    measure(samples, options.rounds, options.seconds)
    figures = {name: samples.median(name) for name in (*samples.taken, *samples.missing)}
    for name, value in figures.items():
        note(f"{name:>26}  {'not run' if value is None else f'{value:,.2f}'}")
    print(json.dumps({n: None if v is None else round(v, 3) for n, v in figures.items()}))


if __name__ == "__main__":
    main()
