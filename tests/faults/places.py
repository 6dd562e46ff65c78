"""Where a rig that runs on both databases puts them: SQLite with one process, PostgreSQL with two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.clusters import cluster, needed
from tests.faults.harness import NotHere


class Places:
    """Fresh databases, by kind. PostgreSQL is started when it is first wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    @contextmanager
    def fresh(self, kind: str) -> Iterator[tuple[str, int]]:
        """The URL of a new database, and how many nodes may share it."""
        self._count += 1
        if kind == "sqlite":
            yield f"sqlite:///{self._folder}/{self._count}.db", 1
            return
        with cluster().database() as url:
            yield url, 2


def kinds() -> list[str]:
    """The databases that this machine has."""
    try:
        needed()
    except NotHere:
        return ["sqlite"]
    return ["sqlite", "postgresql"]


def started() -> None:
    """Start what the databases need, before processes that share it are forked."""
    if "postgresql" in kinds():
        cluster()
