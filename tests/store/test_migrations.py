"""Schema versions: written from the tables, equal to the tables, all or nothing."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from math import ceil
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from tests.conftest import Clock, import_tables

from actfor.errors import Kind, Refused
from actfor.store import Database, metadata, migrations

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the migrations with 0001 written from the tables of today."""
    copy = tmp_path_factory.mktemp("migrations") / "scripts"
    ignored = shutil.ignore_patterns("__pycache__", "0*.py")
    shutil.copytree(migrations.SCRIPTS, copy, ignore=ignored)
    (copy / "versions").mkdir(exist_ok=True)
    make(copy, "0001", "spine")
    return copy


def make(scripts: Path, *arguments: str) -> None:
    script = ROOT / "scripts" / "make-migration"
    command = [sys.executable, str(script), *arguments, "--scripts", str(scripts)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def difference(url: str) -> list[object]:
    import_tables()
    engine = migrations.engine_for(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found: list[object] = compare_metadata(context, metadata)
    engine.dispose()
    return found


def tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Name, type, nullability and key of each column of each table, and the indexes."""
    raw = sqlite3.connect(path)
    names = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    found = {
        name: [
            *(
                (row[1], row[2], row[3], row[5])
                for row in raw.execute(f"PRAGMA table_info({name})")
            ),
            *sorted((row[1], row[2]) for row in raw.execute(f"PRAGMA index_list({name})")),
            *sorted(row[2:5] for row in raw.execute(f"PRAGMA foreign_key_list({name})")),
        ]
        for name in names
        if name != "alembic_version"
    }
    raw.close()
    return found


def test_a_written_migration_makes_exactly_the_tables(
    tmp_path: Path, scripts: Path, clock: Clock
) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    migrations.migrate(url, scripts)
    assert difference(url) == []
    import_tables()
    Database.open(f"sqlite:///{tmp_path}/c.db", clock=clock.now, create_all=True).close_sync()
    assert tables(tmp_path / "m.db") == tables(tmp_path / "c.db")


def test_the_packaged_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    migrations.migrate(url)
    assert difference(url) == []


def test_migrating_again_changes_nothing(tmp_path: Path, scripts: Path) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    migrations.migrate(url, scripts)
    raw = sqlite3.connect(tmp_path / "m.db")
    before = raw.execute("PRAGMA schema_version").fetchone()
    migrations.migrate(url, scripts)
    assert raw.execute("PRAGMA schema_version").fetchone() == before
    raw.close()


def test_a_schema_newer_than_this_release_is_refused(tmp_path: Path, scripts: Path) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    migrations.migrate(url, scripts)
    raw = sqlite3.connect(tmp_path / "m.db")
    raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.commit()
    raw.close()
    with pytest.raises(Refused, match="schema `9999`, newer") as refused:
        migrations.migrate(url, scripts)
    assert refused.value.kind is Kind.CONFLICT


def test_a_migration_that_fails_leaves_the_schema_it_found(tmp_path: Path, scripts: Path) -> None:
    copy = tmp_path / "scripts"
    shutil.copytree(scripts, copy)
    url = f"sqlite:///{tmp_path}/m.db"
    migrations.migrate(url, scripts)
    before = tables(tmp_path / "m.db")
    (copy / "versions" / "0002_broken.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        "revision, down_revision = '0002', '0001'\n"
        "def upgrade():\n"
        "    op.create_table('half', sa.Column('id', sa.Text))\n"
        "    raise ZeroDivisionError\n"
    )
    with pytest.raises(ZeroDivisionError):
        migrations.migrate(url, copy)
    assert tables(tmp_path / "m.db") == before


def test_two_processes_migrating_at_once_agree(tmp_path: Path, scripts: Path) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    failed: list[BaseException] = []

    def run() -> None:
        try:
            migrations.migrate(url, scripts)
        except BaseException as cause:
            failed.append(cause)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert difference(url) == []


def test_a_migrated_database_opens_and_works(
    tmp_path: Path, scripts: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fakes.audit_log import STEP, grow, open_log

    migrations.migrate(f"sqlite:///{tmp_path}/m.db", scripts)
    monkeypatch.setattr("actfor.store.migrations.migrate", lambda url: None)
    database = Database.open(f"sqlite:///{tmp_path}/m.db", clock=clock.now)
    grow(database, open_log(database, clock), 300)
    assert database.units == ceil(300 / STEP)
    database.close_sync()
