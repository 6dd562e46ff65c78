"""`make bench-intent`, or `python -m bench.intent [--quick] [--suite NAME …] [--failures FILE] …`.

Plays fully compromised agents and logged traces through the product's decision point and prints
what still succeeds, what honest tasks pay for it, and intervals. The last line of stdout is one
JSON object. Needs the environment that `scripts/bootstrap.py intent` makes. Exit 1 if a headline
figure is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.intent import replay, report
from bench.intent.cases import LETTERS, Case, Letter
from bench.intent.figures import DOJO, HEADLINE, Figures, headline
from bench.intent.measure import (
    Pairs,
    Plot,
    adaptive,
    halved,
    honest,
    pairs,
    plots,
    sampled,
    static,
)
from bench.intent.mini import FOLDER, HOLDOUT
from bench.intent.mini import suites as mini_suites
from bench.intent.point import Maker, maker
from bench.intent.replay import Trace
from bench.intent.trial import Human

LOGS = Path("shared/data/agentdyn-github")
SEED = 20261126
WRONG = 0.1
MANDATES = ("proposed", "oracle", "ask", "none")


@dataclass(frozen=True, slots=True)
class Trials:
    """What every decision point is put to."""

    cases: list[Case]
    flips: list[Case]
    letter: Letter
    pairs: Pairs
    plots: list[Plot]


def note(text: str) -> None:
    """For people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Parse, measure, tell."""
    options = _options()
    started = time.monotonic()
    note(f"seed {options.seed}, mandate {options.mandate}, overlay {options.overlay}")
    letter = LETTERS[options.injection]
    cases, flips = _cases(options)
    trials = Trials(
        cases, flips, letter, pairs(cases, letter), plots(cases, letter, seed=options.seed)
    )
    figures = _measured(options, trials, options.mandate, options.overlay)
    text = report.told_all(figures, f"mandate {options.mandate}, overlay {options.overlay}")
    if options.compare:
        text += "\n\n" + _compared(options, trials, figures)
    note(f"\n{text}\n\n{_left_out(trials.pairs)}{time.monotonic() - started:.0f} s")
    if options.failures:
        options.failures.write_text(report.failures(figures))
    if options.write:
        report.write(f"{_when(options)}\n\n{text}")
    last = headline(figures)
    print(json.dumps(last))
    sys.exit(not options.suite and any(last[name]["value"] is None for name in HEADLINE))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.intent", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a third of the tasks; under a minute")
    add("--suite", nargs="+", default=[], help="only these suites (`github` is the logs)")
    add("--agentdyn", type=Path, help="the folder of AgentDyn's logs (*.jsonl.gz)")
    add("--mandate", choices=MANDATES, default="proposed", help="or a baseline")
    add("--overlay", choices=["ours", "suggested", "none"], default="ours")
    add("--injection", choices=list(LETTERS), default="machine", help="how injected text reads")
    add("--holdout", action="store_true", help="only the suites that nobody tunes on")
    add("--wheel", type=Path, help="inspect_evals' wheel: tau2 and CodeIPI as hold-outs")
    add("--half", choices=["seen", "reserved"], help="of each suite's tasks, by hash")
    add("--results", choices=["json", "text"], default="json", help="the form of results")
    add("--failures", type=Path, help="write each failed trial to this file")
    add("--compare", action="store_true", help="other overlays, the oracle, no defence; no logs")
    add("--write", action="store_true", help="put the tables into the page in docs/security")
    add("--seed", type=int, default=SEED)
    return parser.parse_args()


def _cases(options: argparse.Namespace) -> tuple[list[Case], list[Case]]:
    """The cases and the flipped ones of the suites asked for."""
    wanted = set(options.suite)
    folders = [HOLDOUT] if options.holdout else [FOLDER]
    own = [home for folder in folders for home in mini_suites(folder)]
    homes: list[Any] = [home for home in own if not wanted or home.name in wanted]
    if not options.holdout and (not wanted or wanted & set(DOJO)):
        from bench.intent import dojo  # imports a dozen model vendors' clients: seconds

        homes += dojo.suites([name for name in DOJO if not wanted or name in wanted])
    if options.wheel:
        from bench.intent import wheel  # pydantic and ten seconds

        made = wheel.suites(options.wheel)
        homes += [home for home in made if not wanted or home.name in wanted]
    cases: list[Case] = [
        case
        for home in homes
        for case in home.cases
        if options.half in (None, halved(f"{case.suite}/{case.user}"))
    ]
    kept = sampled((f"{c.suite}/{c.user}" for c in cases), quick=options.quick)
    flips = [case for home in homes for case in home.flipped if case.open(None).honest]
    return [c for c in cases if f"{c.suite}/{c.user}" in kept], flips


def _measured(
    options: argparse.Namespace,
    trials: Trials,
    mandate: str,
    overlay: str,
    *,
    brief: bool = False,
) -> Figures:
    """All trials under one decision point; ``brief`` leaves out what no comparison shows."""
    make = maker(mandate, overlay=overlay)
    structured = options.results == "json"
    wrong = Human(WRONG, str(options.seed))
    kept, plotted = trials.pairs.kept, trials.plots
    figures = Figures(options.seed)
    figures.honest = list(honest(trials.cases, make, structured=structured))
    figures.static = list(static(kept, make, Human(), trials.letter, structured=structured))
    figures.adaptive = list(adaptive(plotted, make, Human(), structured=structured))
    figures.traces = _traces(options, make)
    if brief:
        return figures
    figures.flips = list(honest(trials.flips, make, structured=structured))
    figures.static_wrong = list(static(kept, make, wrong, trials.letter, structured=structured))
    figures.adaptive_wrong = list(adaptive(plotted, make, wrong, structured=structured))
    return figures


def _traces(options: argparse.Namespace, make: Maker) -> list[Trace]:
    if options.holdout or (options.suite and replay.SUITE not in options.suite):
        return []
    folder = options.agentdyn or _found()
    if folder is None or not folder.is_dir():
        note(f"AgentDyn's logs: not run, there is no {folder or LOGS}")
        return []
    known = replay.tools()
    return [
        replay.replay(trace, make, known)
        for trace in replay.traces(folder, quick=options.quick)
        if trace.attack is None or trace.breached
    ]


def _found() -> Path | None:
    """The shared folder beside the checkout, or beside one of the folders it is in."""
    for parent in Path(__file__).resolve().parent.parent.parent.parents:
        if (parent / LOGS).is_dir():
            return parent / LOGS
    return None


def _compared(options: argparse.Namespace, trials: Trials, ours: Figures) -> str:
    """The same trials under other decision points, a line each."""
    others = (
        ("none", "ours"),
        ("ask", "ours"),
        ("oracle", "ours"),
        ("proposed", "suggested"),
        ("proposed", "none"),
    )
    rows = {f"{options.mandate}, overlay {options.overlay}": ours}
    for mandate, overlay in others:
        name = f"{mandate}, overlay {overlay}"
        rows[name] = _measured(options, trials, mandate, overlay, brief=True)
    return report.compared(rows)


def _left_out(found: Pairs) -> str:
    return "".join(
        f"left out, {reason}: {len(names)} ({' '.join(names)})\n"
        for reason, names in found.left_out.items()
    )


def _when(options: argparse.Namespace) -> str:
    day = datetime.now(UTC).date()
    what = "`--quick`" if options.quick else "full"
    return f"{day}, {what}, seed {options.seed}, AgentDojo {version('agentdojo')}."


if __name__ == "__main__":
    main()
