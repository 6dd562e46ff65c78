"""What every test may ask for: a real database, SQLite or PostgreSQL, and a clock that obeys."""

import gc
import importlib
import logging
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from tests.fakes import postgres

import actfor
from actfor.store import Database
from actfor.store.migrations import migrate
from actfor.store.schema import repositories

# How long a draw takes says how busy the machine is, nothing about the law that is tested.
settings.register_profile("actfor", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("actfor")

DEFAULT = os.environ.get("ACTFOR_TEST_DATABASE", "sqlite")
"""What a test runs on that asks for a database; `postgresql` tries the whole suite there."""

BOTH = frozenset(
    {
        "test_approval_service",
        "test_audit_http",
        "test_authorization_service",
        "test_delegation_mandates",
        "test_delegation_usage",
        "test_identity_people",
        "test_policy_changes",
        "test_sealed_columns",
    }
)
"""Modules whose tests run on both: the repositories, and the services closest to them."""


FIRST = (*(f"[{rig}]" for rig in ("R5", "R7", "R2", "R6", "R1")), "tests/faults/")
"""What takes minutes begins first, the longest before the others, so that nobody waits for it alone
at the end. Rigs wait more than they work: one process of tests is at them (`--dist worksteal`) while
the others are at what works, and who is through takes over what the others have not begun."""


ROOM = 2 << 30
"""Bytes that must be free in memory for the tests' folders to be there."""


def pytest_configure() -> None:
    """Tests' folders are in memory, where there is room: fsync stays on and costs little.

    What is to survive a crash is tried elsewhere: the rigs bring a disk of their own.
    """
    memory = postgres.base()
    roomy = memory.is_dir() and shutil.disk_usage(memory).free >= ROOM
    if roomy and not os.statvfs(memory).f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def import_tables() -> None:
    """Import every slice's repository, so that `metadata` knows all tables."""
    for name in repositories(Path(actfor.__file__).parent):
        importlib.import_module(name)


class Clock:
    """Time as the test says. `now` is what services are given."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 24, 4, 5, 6, 789000, tzinfo=UTC))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database of each kind, for tests that must hold on both; it has today's tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/actfor.db"
        return
    with postgres.shared().database(postgres.migrated()) as url:
        yield url


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """A command that is run in this process configures logging for all of it: put it back."""
    own = [logging.getLogger(), logging.getLogger("actfor.request")]
    kept = [(one.level, list(one.handlers), one.propagate) for one in own]
    yield
    for one, (level, handlers, propagate) in zip(own, kept, strict=True):
        one.setLevel(level)
        one.handlers = handlers
        one.propagate = propagate


@cache
def migrated_file() -> bytes:
    """An empty SQLite database with today's tables: migrated once for each process of tests."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        migrate(f"sqlite:///{path}")
        return path.read_bytes()


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Database]:
    """A database with today's tables: of each kind where the module's tests say so (`BOTH`)."""
    import_tables()
    wanted = getattr(request, "param", DEFAULT)
    if request.node.get_closest_marker("sqlite") is None and wanted == "postgresql":
        with postgres.shared().database(postgres.migrated()) as url:
            yield from _opened(url, clock)
        return
    (tmp_path / "actfor.db").write_bytes(migrated_file())
    yield from _opened(f"sqlite:///{tmp_path}/actfor.db", clock)


def _opened(url: str, clock: Clock) -> Iterator[Database]:
    opened = Database.open(url, clock=clock.now)
    yield opened
    opened.close_sync()


@pytest.hookimpl(trylast=True)  # after the dice
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: [name not in item.nodeid for name in FIRST])


def pytest_collection_finish() -> None:
    """All tests and libraries are there to stay: the collector need not walk them in each test."""
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    name = metafunc.module.__name__.rpartition(".")[2]
    bound = metafunc.definition.get_closest_marker("sqlite") is not None
    if "database" in metafunc.fixturenames and name in BOTH and not bound:
        metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)
