"""Files that hold keys: for their owner's eyes only, and never half written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from actfor.errors import Kind, Refused


def require_private(path: Path) -> None:
    """Raises Refused: MALFORMED if others than the owner may read the file."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Refused(Kind.MALFORMED, f"key file `{path}` is readable by others; chmod 600 it")


def create(path: Path, text: str) -> None:
    """Write a new file, durably; raises FileExistsError where there is one."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)


def replace(path: Path, text: str) -> None:
    """Put a file in its place, durably: a file beside it first, so that none is half written."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    create(beside, text)
    beside.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
