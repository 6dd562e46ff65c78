"""A real agent process for attestation tests: a small code tree and something that runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actfor.identity import AgentDraft, ModelRef, ReferenceDraft, Tier, Wanted

SLEEPER = "import sys, time\nprint('up', flush=True)\ntime.sleep(60)\n"
PYTHON = os.path.realpath(sys.executable)


def code_tree(root: Path) -> Path:
    """A code root with a script that says `up` and sleeps, and a module beside it."""
    root.mkdir()
    (root / "agent.py").write_text(SLEEPER)
    (root / "helper.py").write_text("answer = 42\n")
    return root


def draft(root: Path, name: str = "bookkeeper", **more: Any) -> AgentDraft:
    """A registration of that tree, run by this Python."""
    reference = ReferenceDraft(
        code=Wanted(str(root)),
        executable=Wanted(PYTHON),
        model=ModelRef("vendor/model", "2026-10-01"),
        **more,
    )
    return AgentDraft(name, "keeps the books", Tier.LOW, reference)


@contextmanager
def running(
    *argv: str, cwd: Path, env: dict[str, str] | None = None, wait: bool = True
) -> Iterator[subprocess.Popen[str]]:
    """A child process, as `actfor run` starts it; it is up when the block begins."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": "/nonexistent/bytecode", **(env or {})}
    process = subprocess.Popen(
        argv, cwd=cwd, env=environment, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        if wait:
            assert process.stdout is not None
            process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()
