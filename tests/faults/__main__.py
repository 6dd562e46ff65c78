"""`python -m tests.faults [RIG …] [--release | --cycles N] [--seed S] [--keep DIR]`.

Runs rigs one after another; each prints one line of JSON. Exit 1 if the product failed or a mutant
survived, 3 if a rig that was asked for by name cannot be run here.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator

from tests.faults.harness import Rig, execute, scratch, seed_or_new

RIGS = {
    "R1": "kill_sqlite",
    "R2": "kill_postgres",
    "R3": "kill_cluster",
    "R4": "power_cut",
    "R5": "crash_points",
    "R6": "races",
    "R7": "revocation",
    "R8": "disk_full",
    "R9": "clock",
    "R10": "network",
    "R11": "resources",
    "R14": "tamper",
    "R15": "rollback",
    "R16": "key_rotation",
    "R21": "upgrade",
    "R23": "cut_short",
}


def main() -> None:
    options = _options()
    logging.disable(logging.CRITICAL)  # refusals in their thousands are what is wanted here
    codes = [_run(name, options) for name in options.rigs or RIGS]
    sys.exit(1 if 1 in codes else 3 if 3 in codes and options.rigs else 0)


def load(name: str) -> Rig:
    """The rig of that name; only its own module is imported."""
    rig: Rig = importlib.import_module(f"tests.faults.{RIGS[name]}").RIG
    return rig


def _run(name: str, options: argparse.Namespace) -> int:
    rig = load(name)
    cycles = options.cycles or (rig.release if options.release else rig.short)
    seed = seed_or_new(options.seed)
    print(f"{name} {rig.title}: {cycles} cycles, seed {seed}", file=sys.stderr, flush=True)
    folder = scratch(options.keep)
    report = execute(
        rig, cycles=cycles, seed=seed, folder=folder, mutants=not options.no_mutants,
        minutes=options.minutes,
    )  # fmt: skip
    if report["ok"] is False or options.keep:
        print(f"  kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(report), flush=True)
    return {True: 0, False: 1, None: 3}[report["ok"]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("rigs", nargs="*", choices=[*RIGS, []], help="which; all if none is named")
    parser.add_argument("--release", action="store_true", help="the release column: hours")
    parser.add_argument("--cycles", type=int, help="that many, whatever the column says")
    parser.add_argument("--minutes", type=float, help="end then, with as many as were done")
    parser.add_argument("--seed", default=os.environ.get("ACTFOR_FAULTS_SEED"), help="repeat a run")
    parser.add_argument("--keep", metavar="DIR", help="keep databases and histories there")
    parser.add_argument("--no-mutants", action="store_true", help="only the product")
    return parser.parse_args()


def names() -> Iterator[str]:
    yield from RIGS


if __name__ == "__main__":
    main()
