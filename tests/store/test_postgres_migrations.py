"""Schema versions on PostgreSQL: equal to the tables, once, all or nothing, beside running nodes."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Clock, import_tables
from tests.fakes import postgres
from tests.fakes.audit_log import grow, open_log

from actfor.errors import Kind, Refused
from actfor.store import Database, migrations
from actfor.store.postgres import apart
from actfor.store.roles import grants

ROOT = Path(__file__).parent.parent.parent
SLOW = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9001", "{head}"
def upgrade():
    op.create_table("half", sa.Column("id", sa.Text))
    op.execute("SELECT pg_sleep({seconds})")
    op.create_table("other_half", sa.Column("id", sa.Text))
"""
COLUMNS = """
SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
ORDER BY 1, 2
"""
INDEXES = """
SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
ORDER BY 1
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
AND contype <> 'n' ORDER BY 1, 2
"""


@pytest.fixture
def name() -> Iterator[str]:
    """An empty database."""
    cluster = postgres.shared()
    made = cluster.new_database()
    yield made
    cluster.drop(made)


@pytest.fixture
def url(name: str) -> str:
    return postgres.shared().url(name)


def migrate(url: str, scripts: Path = migrations.SCRIPTS) -> None:
    apart(lambda: migrations.migrate(url, scripts))


def schema(name: str) -> list[object]:
    cluster = postgres.shared()
    return [cluster.run(sql, database=name) for sql in (COLUMNS, INDEXES, CONSTRAINTS)]


def head() -> str:
    sql = "SELECT version_num FROM alembic_version"
    return str(postgres.shared().run(sql, database=postgres.migrated())[0][0])


def with_slow(folder: Path, seconds: float) -> Path:
    """Today's migrations and one more, which takes its time between two tables."""
    copy = folder / "scripts"
    shutil.copytree(migrations.SCRIPTS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = SLOW.format(head=head(), seconds=seconds)
    (copy / "versions" / "9001_slow.py").write_text(text)
    return copy


def test_the_migrations_make_exactly_the_tables(name: str, url: str, clock: Clock) -> None:
    import_tables()
    Database.open(url, clock=clock.now, create_all=True).close_sync()
    assert schema(name) == schema(postgres.migrated())


def test_every_text_is_compared_by_its_bytes_and_every_integer_has_64_bits() -> None:
    (columns, _, _) = schema(postgres.migrated())
    kinds = {(kind, collation, default) for _, _, kind, collation, _, default in columns}
    assert kinds == {("text", "C", None), ("bigint", None, None), ("bytea", None, None)}


def test_migrating_again_changes_nothing(name: str, url: str) -> None:
    migrate(url)
    before = schema(name)
    migrate(url)
    assert schema(name) == before


def test_a_schema_newer_than_this_release_is_refused(name: str, url: str) -> None:
    migrate(url)
    postgres.shared().run("UPDATE alembic_version SET version_num = '9999'", database=name)
    with pytest.raises(Refused, match="schema `9999`, newer") as refused:
        migrate(url)
    assert refused.value.kind is Kind.CONFLICT


def test_nodes_that_start_at_once_migrate_once(name: str, url: str, clock: Clock) -> None:
    failed: list[BaseException] = []

    def start() -> None:
        try:
            Database.open(url, clock=clock.now).close_sync()
        except BaseException as cause:
            failed.append(cause)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert schema(name) == schema(postgres.migrated())


def test_a_migration_that_is_killed_half_way_leaves_the_schema_it_found(
    name: str, url: str, tmp_path: Path
) -> None:
    migrate(url)
    before = schema(name)
    scripts = with_slow(tmp_path, 30)
    program = (
        "import sys; from pathlib import Path; from actfor.store.migrations import migrate;"
        "migrate(sys.argv[1], Path(sys.argv[2]))"
    )
    running = subprocess.Popen([sys.executable, "-c", program, url, str(scripts)], cwd=ROOT)
    wait_for(
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND datname = $1", name
    )
    running.send_signal(signal.SIGKILL)
    running.wait()
    # The server notices that nobody is there any more, and lets the lock go.
    migrate(url, with_slow(tmp_path / "again", 0))
    assert {row[0] for row in schema(name)[0]} == {row[0] for row in before[0]} | {
        "half",
        "other_half",
    }


def wait_for(sql: str, *params: object) -> None:
    deadline = time.monotonic() + 20
    while not postgres.shared().run(sql + " AND pid <> pg_backend_pid()", *params):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_node_goes_on_while_a_newer_one_migrates(
    name: str, url: str, tmp_path: Path, clock: Clock
) -> None:
    """Yesterday's code on today's schema: it waits for the lock, it loses nothing, it goes on."""
    node = Database.open(url, clock=clock.now)
    log = open_log(node, clock)
    grow(node, log, 20)
    newer = threading.Thread(target=lambda: migrate(url, with_slow(tmp_path, 0.5)))
    newer.start()
    time.sleep(0.1)
    grow(node, log, 20)
    newer.join()
    grow(node, log, 20)
    assert ("half",) in {row[:1] for row in schema(name)[0]}
    node.close_sync()


def test_a_role_that_may_not_change_the_schema_starts_on_one_that_is_up_to_date(
    name: str, url: str, clock: Clock
) -> None:
    cluster = postgres.shared()
    migrate(url)
    role = f"node_{name}"  # roles are the whole cluster's
    cluster.run(f"CREATE ROLE {role} LOGIN")
    try:
        cluster.run(grants(role), database=name)
        node = Database.open(cluster.url(name, user=role), clock=clock.now)
        grow(node, open_log(node, clock), 300)
        node.close_sync()
        for sql in (
            "UPDATE log_leaf SET leaf = ''",
            "DELETE FROM log_leaf",
            "TRUNCATE log_leaf",
            "UPDATE log_tile SET body = ''",
            "CREATE TABLE mine (id TEXT)",
            "DROP TABLE log_leaf",
        ):
            with pytest.raises(Exception, match="denied|must be owner|is not pruned"):
                cluster.run(f"SET ROLE {role}; {sql};", database=name)
    finally:
        cluster.run(f"DROP OWNED BY {role}; DROP ROLE {role};", database=name)


def test_a_leaf_is_changed_by_nobody_and_deleted_only_once_it_is_pruned(
    name: str, url: str, clock: Clock
) -> None:
    """Not even by the owner of the tables; a superuser who drops the triggers leaves the proofs."""
    cluster = postgres.shared()
    node = Database.open(url, clock=clock.now)
    grow(node, open_log(node, clock), 300)
    node.close_sync()
    for sql in (
        "UPDATE log_leaf SET leaf = '' WHERE idx = 7",
        "DELETE FROM log_leaf WHERE idx = 7",
        "TRUNCATE log_leaf",
        "UPDATE log_tile SET body = ''",
        "TRUNCATE log_tile",
    ):
        with pytest.raises(Exception, match="is not changed|is not pruned"):
            cluster.run(sql, database=name)
    cluster.run(
        "INSERT INTO log_minimum (id, minimum, deleted, at) VALUES (1, 10, 0, 0)"
        " ON CONFLICT (id) DO UPDATE SET minimum = 10",
        database=name,
    )
    cluster.run("DELETE FROM log_leaf WHERE idx < 10", database=name)
    with pytest.raises(Exception, match="leaf 10 is not pruned"):
        cluster.run("DELETE FROM log_leaf WHERE idx <= 10", database=name)
