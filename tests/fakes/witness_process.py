"""Witnesses as real processes: `actfor witness serve`, on a free port of loopback."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actfor.sdk.witness import Keeper


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Serve the witness in this folder; its URL, and the process to be killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "actfor", "witness", "serve", f"--dir={folder}", f"--port={port}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" on ")[1].strip(), process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr] # it is a pipe


def make(folder: Path, name: str, log_keys: str) -> Keeper:
    """A new witness that watches this log."""
    keeper = Keeper.create(folder, name)
    keeper.trust(log_keys)
    return keeper
