"""`make bench`, or `python -m bench [--quick] [--rounds N] [--only PART …] [--write]`.

Measures each part beside a named peer in interleaved rounds, prints a table on stderr and, as the
last line of stdout, one JSON object of figures. A figure that cannot be had here is null.
Exit 1 if a figure of our own is null: then the table says why.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from subprocess import SubprocessError, run

from bench import authzen, durable, exchange, gateway, report
from bench.harness import ROOT, Figures, NotRun, Samples, note
from bench.world import built

PARTS = ("decision", "authzen", "durable", "exchange", "gateway")
STEP_SECONDS = 300
"""Nothing here takes that long; what does is broken, and the other parts go on."""

OURS = {
    "decision": ("decision_us_100", "decision_us_1000"),
    "authzen": ("authzen_per_core_s", "authzen_unrecorded_per_core_s"),
    "durable": ("decided_sqlite_256_per_s",),
    "exchange": ("exchanges_per_core_s",),
    "gateway": ("mcp_calls_per_core_s", "mcp_added_p50_ms"),
}


def main() -> None:
    """Parse, measure, tell."""
    options = _options()
    samples, started = Samples(), time.monotonic()
    seconds = 1.0 if options.quick else 3.0
    if "decision" in options.only:
        _guarded(samples, OURS["decision"], lambda: _decision(samples, options))
    _rounds(samples, options, seconds)
    figures: Figures = {name: samples.median(name) for part in PARTS for name in OURS[part]}
    figures |= {name: samples.median(name) for name in (*samples.taken, *samples.missing)}
    asked = {name for part in options.only for name in OURS[part]} | {*samples.taken}
    table = report.table(samples, {name: figures[name] for name in figures if name in asked})
    note(f"\n{_machine()}, {options.rounds} rounds, {time.monotonic() - started:.0f} s\n\n{table}")
    if options.write:
        report.write(f"{_machine()}, {options.rounds} rounds of {seconds:.0f} s", table)
    print(json.dumps({name: _rounded(value) for name, value in figures.items()}))
    sys.exit(any(figures[name] is None for part in options.only for name in OURS[part]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter rounds; under 90 seconds")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the median is reported")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="only these parts")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    return parser.parse_args()


def _decision(samples: Samples, options: argparse.Namespace) -> None:
    note("decision: in process, beside cedarpy")
    rounds = ["--rounds", str(options.rounds)]
    done = run(
        [sys.executable, "bench/decision.py", *rounds],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=STEP_SECONDS,
        check=False,
    )
    if done.returncode:
        raise NotRun(done.stderr.strip()[-500:])
    for name, value in json.loads(done.stdout.splitlines()[-1]).items():
        if isinstance(value, int | float):
            samples.add(name, value)
        else:
            samples.lose(name, "not measured here")


def _rounds(samples: Samples, options: argparse.Namespace, seconds: float) -> None:
    """Everything alive at once, nothing timed at once: a round measures each contender in turn."""
    with ExitStack() as alive:
        steps: dict[str, Callable[[], None]] = {}
        if "authzen" in options.only:
            note("authzen: over HTTP, beside Cerbos")
            _guarded(
                samples,
                OURS["authzen"],
                lambda: steps.update(authzen=_authzen(samples, seconds, alive)),
            )
        if "durable" in options.only:
            steps["durable"] = lambda: durable.measure(samples, seconds / 2)
        if {"exchange", "gateway"} & set(options.only):
            _guarded(
                samples,
                [name for part in ("exchange", "gateway") for name in OURS[part]],
                lambda: steps.update(_governed(samples, options, seconds, alive)),
            )
        for number in range(options.rounds):
            for part in [*steps]:
                note(f"round {number + 1} of {options.rounds}: {part}")
                if not _guarded(samples, OURS[part], steps[part]):
                    del steps[part]


def _authzen(samples: Samples, seconds: float, alive: ExitStack) -> Callable[[], None]:
    step = alive.enter_context(authzen.contenders(samples))
    return lambda: step(seconds)


def _governed(
    samples: Samples, options: argparse.Namespace, seconds: float, alive: ExitStack
) -> dict[str, Callable[[], None]]:
    note("building a governed world: server, operator, agent, mandate")
    world, upstream, url = alive.enter_context(built())
    steps: dict[str, Callable[[], None]] = {}
    if "exchange" in options.only:
        tokens = exchange.ExchangeBench(world, alive.enter_context(exchange.peer(samples)), samples)
        if _guarded(samples, OURS["exchange"], tokens.check):
            steps["exchange"] = lambda: tokens.round(seconds)
    if "gateway" in options.only:
        proxy = alive.enter_context(gateway.peer(samples, url))
        calls = gateway.GatewayBench(world, upstream, url, proxy, samples)
        if _guarded(samples, OURS["gateway"], calls.check):
            steps["gateway"] = lambda: calls.round(seconds)
    return steps


def _guarded(
    samples: Samples, figures: list[str] | tuple[str, ...], step: Callable[[], None]
) -> bool:
    """Run a step; if it cannot be run, its figures are lost and the others go on."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(STEP_SECONDS)
    try:
        step()
    except (NotRun, OSError, LookupError, ValueError, SubprocessError) as reason:
        said = str(reason) if isinstance(reason, NotRun) else repr(reason)
        note(f"NOT RUN: {', '.join(figures)}: {said}")
        for name in figures:
            samples.lose(name, said)
        return False
    finally:
        signal.alarm(0)
    return True


def _too_long(number: int, frame: object) -> None:
    raise NotRun(f"it took longer than {STEP_SECONDS} seconds")


def _machine() -> str:
    today = datetime.now(UTC).date().isoformat()
    system = f"{platform.system()} {platform.machine()}"
    return f"{today}, {os.cpu_count()} cores, {system}, CPython {platform.python_version()}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


if __name__ == "__main__":
    main()
