"""Asks the independent C2SP implementation in `.venv-tlog` (see `tlog_oracle.py`)."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-tlog/bin/python"
independent = pytest.mark.skipif(
    not PYTHON.exists(), reason="the independent log reader: run `make oracle`"
)


def ask(**request: Any) -> dict[str, Any]:
    """What it answers; `error` is its own word for no."""
    done = subprocess.run(
        [str(PYTHON), str(Path(__file__).with_name("tlog_oracle.py"))],
        input=json.dumps(request) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
