"""What every test may ask for: a real database, SQLite or PostgreSQL, and a clock that obeys."""

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.fakes import postgres

import actfor
from actfor.store import Database
from actfor.store.schema import repositories

# While slices are being written: tables from their repositories, without a migration.
# At integration: False, and every test runs on the migrated schema.
CREATE_ALL = False


def import_tables() -> list[str]:
    """Import every slice's repository, so that `metadata` knows all tables; say what failed."""
    failed = []
    for name in repositories(Path(actfor.__file__).parent):
        try:
            importlib.import_module(name)
        except (ImportError, SyntaxError, NameError) as cause:
            if not CREATE_ALL:
                raise
            failed.append(f"{name}: {cause}")
    return failed


def pytest_report_header() -> list[str]:
    return [f"tables not ready: {line}" for line in import_tables()]


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


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    import_tables()
    opened = Database.open(
        f"sqlite:///{tmp_path}/actfor.db", clock=clock.now, create_all=CREATE_ALL
    )
    yield opened
    opened.close_sync()
