"""The demo is the product's promise: it must run, unattended, and its own checks must hold."""

import subprocess
import sys
from pathlib import Path

import pytest

from actfor.cli.demo.browser import find_chromium


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="NOT RUN: no Chromium on this machine")
def test_the_demo_does_what_it_claims(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "actfor", "demo", "--auto", "--folder", str(tmp_path / "demo")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout
    for what in (
        "PERMIT  handbook.git_log",
        "PERMIT  crm.read_query",
        "PERMIT  crm.write_query",
        "DENY    crm.create_table",
        "STEP-UP crm.write_query    UPDATE with a stranger's address",
        "DENY    crm.write_query    nothing was changed",
        "STEP-UP crm.write_query    DELETE",
        "identity invalidated after",
        "forged token",
        "in the signed log, nothing changed",
        "exit 8, verification failed",
        "Every step did what it claims.",
    ):
        assert what in told, f"{what!r} is missing in:\n{told}"
    assert told.index("STEP-UP crm.write_query") < told.index("approved")
