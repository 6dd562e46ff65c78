"""A PostgreSQL of a rig's own, which may be killed."""

from __future__ import annotations

import atexit
import tempfile
from functools import cache
from pathlib import Path

from tests.fakes.postgres import Cluster, NoPostgres, base, binaries
from tests.faults.harness import NotHere


def needed() -> None:
    """Raises NotHere where there is no PostgreSQL."""
    try:
        binaries()
    except NoPostgres as cause:
        raise NotHere(str(cause)) from cause


@cache
def cluster() -> Cluster:
    """The running server of this rig, for the product and then its mutants; gone at the end.

    It is in memory where there is some. The rigs kill processes and cut connections, and what a
    process wrote outlives it wherever it is; that a commit is flushed before it is answered is R4's.
    """
    made = Cluster(Path(tempfile.mkdtemp(prefix="actfor-faults-pg-", dir=base())))
    atexit.register(made.remove)
    return made.create().start()
