"""SIGKILL at random moments: what was acknowledged is there, and the tree is whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def crash(folder: Path, kills: int, *mutant: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.store_crasher", str(folder), str(kills), "7", *mutant],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return report


def test_thirty_kills_lose_no_acknowledged_record(tmp_path: Path) -> None:
    report = crash(tmp_path, 30)
    assert int(str(report["acked"])) > 100
    assert report["lost"] == 0
    assert report["problems"] == []


@pytest.mark.parametrize("mutant", ["early-ack"])
def test_the_rig_catches_a_writer_that_answers_too_early(tmp_path: Path, mutant: str) -> None:
    # Without this the test above could pass because it looks at nothing.
    assert int(str(crash(tmp_path, 40, mutant)["lost"])) > 0
