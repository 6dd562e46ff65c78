"""A PostgreSQL of a rig's own, which may be killed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.postgres import Cluster, NoPostgres, binaries
from tests.faults.harness import NotHere


def needed() -> None:
    """Raises NotHere where there is no PostgreSQL."""
    try:
        binaries()
    except NoPostgres as cause:
        raise NotHere(str(cause)) from cause


@contextmanager
def cluster(**settings: str) -> Iterator[Cluster]:
    """A running server in a folder that its user may read; gone afterwards."""
    made = Cluster(Path(tempfile.mkdtemp(prefix="actfor-faults-pg-")), **settings)
    try:
        yield made.create().start()
    finally:
        made.remove()
