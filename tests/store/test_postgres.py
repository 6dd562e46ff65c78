"""PostgreSQL slow, gone, half-open, unsafe: refused in time; nothing acknowledged is lost."""

import asyncio
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.conftest import Clock
from tests.fakes import postgres
from tests.fakes.audit_log import decided, grow, open_log
from tests.fakes.proxy import Proxy
from tests.fakes.store_tables import ADD, ALL, RAISE, RENAME, open_with_sample

from actfor.errors import Kind, Refused
from actfor.store import ConstraintViolation, Database, Tx
from actfor.store.failures import StorageFailure
from actfor.store.postgres import Link, Location, apart
from actfor.store.postgres_checks import check_server
from actfor.store.postgres_writer import SEQUENCE_LOCK

BUSY_WITHIN = 2.4  # what is promised is two seconds; the rest is a busy machine
"""Seconds: two for the database, the rest for a machine that runs other tests."""


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.shared().database(postgres.migrated()) as url:
        yield url


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Database]:
    opened = open_with_sample(url, clock)
    yield opened
    opened.close_sync()


@pytest.fixture
def proxied(url: str, clock: Clock) -> Iterator[tuple[Database, Proxy]]:
    """A node whose way to the database can be disturbed."""
    cluster = postgres.shared()
    proxy = Proxy(("127.0.0.1", cluster.port))
    far = cluster.url(database_of(url), tcp=True).replace(str(cluster.port), str(proxy.port))
    opened = open_with_sample(far, clock)
    opened.write_sync(add("first"))
    yield opened, proxy
    proxy.mode = "relay"
    opened.close_sync()
    proxy.close()


def add(name: str, n: int = 1) -> Callable[[Tx], int]:
    return lambda tx: tx.changed(ADD, id=name, n=n)


def ids(store: Database) -> list[str]:
    return [name for name, _ in store.read_sync(lambda tx: tx.run(ALL))]


def database_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


def refused_in_time(work: Callable[[], object]) -> str:
    began = time.monotonic()
    with pytest.raises(Refused) as refused:
        work()
    assert refused.value.kind is Kind.BUSY
    assert time.monotonic() - began < BUSY_WITHIN
    return refused.value.detail


# -- the URL --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://", "must be `postgresql://<user>@<host>/<database>`"),
        ("postgresql://u@localhost", "must be"),
        ("postgresql://u@localhost/", "must be"),
        ("postgresql://u@localhost/a/b", "must be"),
        ("postgresql:///actfor", "there is no host"),
        ("postgresql://u@localhost:many/actfor", "host and port cannot be read"),
        ("postgresql://u:hunter2@a,b/actfor", "one host"),
        ("postgresql://u@localhost/actfor?fsync=off", "unknown setting `fsync`"),
        ("postgresql://u@localhost/actfor?options=-c%20fsync=off", "unknown setting `options`"),
        ("postgresql://u:hunter2@db.example/actfor", "`sslmode` must be given"),
        ("postgresql://u:hunter2@10.0.0.1/actfor", "`sslmode` must be given"),
        ("postgresql://u@db.example/actfor?sslmode=prefer", "`sslmode` must be one of"),
        ("postgresql://u@localhost/actfor?sslmode=allow", "`sslmode` must be one of"),
    ],
)
def test_a_wrong_url_is_refused_by_the_name_of_what_is_wrong(
    url: str, why: str, clock: Clock
) -> None:
    with pytest.raises(Refused) as refused:
        Database.open(url, clock=clock.now)
    assert refused.value.kind is Kind.MALFORMED
    assert why in refused.value.detail
    assert "hunter2" not in refused.value.detail


def test_a_password_is_neither_shown_nor_logged(clock: Clock, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    cluster = postgres.shared()
    url = cluster.url(tcp=True).replace(cluster.password, "hunter2hunter2")
    assert "hunter2" not in f"{Location.parse(url)} {Location.parse(url)!r}"
    with pytest.raises(Refused) as refused:
        Database.open(url, clock=clock.now)
    assert "password authentication failed" in refused.value.detail
    assert "hunter2" not in refused.value.detail + caplog.text


def test_a_database_that_is_not_there_is_refused_by_name(clock: Clock) -> None:
    detail = refused_in_time(
        lambda: Database.open(postgres.shared().url("nowhere"), clock=clock.now)
    )
    assert 'database "nowhere" does not exist' in detail


# -- the server -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Cluster]:
    """A cluster whose settings may be spoilt and which may be killed."""
    folder = postgres.base() / f"actfor-own-{tmp_path_factory.getbasetemp().name}-{id(object())}"
    cluster = postgres.Cluster(folder).create().start()
    yield cluster
    cluster.remove()


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("fsync", "off", "`fsync` is off"),
        ("full_page_writes", "off", "`full_page_writes` is off"),
        ("synchronous_commit", "off", "`synchronous_commit` is off"),
    ],
)
def test_a_server_that_would_lose_records_is_refused_by_the_name_of_the_setting(
    own: postgres.Cluster, clock: Clock, setting: str, value: str, why: str
) -> None:
    own.run(f"ALTER SYSTEM SET {setting} = {value}")
    own.run("SELECT pg_reload_conf()")
    try:
        with pytest.raises(Refused) as refused:
            Database.open(own.url(), clock=clock.now, create_all=True)
        assert refused.value.kind is Kind.CONFLICT
        assert why in refused.value.detail
    finally:
        own.run(f"ALTER SYSTEM RESET {setting}")
        own.run("SELECT pg_reload_conf()")


def test_local_commits_are_refused_where_there_are_synchronous_standbys(
    own: postgres.Cluster, clock: Clock
) -> None:
    own.run("ALTER SYSTEM SET synchronous_standby_names = 'somewhere'")
    own.run("ALTER SYSTEM SET synchronous_commit = 'remote_write'")
    own.run("SELECT pg_reload_conf()")
    try:
        with pytest.raises(Refused, match="remote_write although there are synchronous standbys"):
            Database.open(own.url(), clock=clock.now, create_all=True)
    finally:
        own.run("ALTER SYSTEM RESET synchronous_standby_names")
        own.run("ALTER SYSTEM RESET synchronous_commit")
        own.run("SELECT pg_reload_conf()")


def test_a_server_that_stops_being_safe_acknowledges_nothing_more(
    own: postgres.Cluster, clock: Clock
) -> None:
    with own.database() as url:
        store = open_with_sample(url, clock)
        store.write_sync(add("a"))
        own.run("ALTER SYSTEM SET fsync = off")
        own.run("SELECT pg_reload_conf()")
        try:
            time.sleep(0.3)
            refused_in_time(lambda: store.write_sync(add("b")))
        finally:
            own.run("ALTER SYSTEM RESET fsync")
            own.run("SELECT pg_reload_conf()")
        time.sleep(0.3)
        store.write_sync(add("c"))
        assert ids(store) == ["a", "c"]
        store.close_sync()


class Answering:
    """What a server that cannot be had here would answer."""

    def __init__(self, version: int = 150_000, *, standby: bool = False) -> None:
        self.row = (version, "UTF8", standby, "on", "on", "on", "")

    def fetch(self, _sql: str) -> list[tuple[object, ...]]:
        return [self.row]


def test_an_old_server_and_a_standby_are_refused() -> None:
    with pytest.raises(Refused, match="PostgreSQL 14 is too old"):
        check_server(Answering(140_013))
    with pytest.raises(Refused, match="standby"):
        check_server(Answering(standby=True))
    check_server(Answering())


def test_another_encoding_than_utf8_is_refused(clock: Clock) -> None:
    cluster = postgres.shared()
    cluster.run("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        with pytest.raises(Refused, match="`server_encoding` is LATIN1"):
            Database.open(cluster.url("latin"), clock=clock.now)
    finally:
        cluster.drop("latin")


# -- TLS --------------------------------------------------------------------------------------------


def self_signed(key: Path, certificate: Path, *more: str) -> None:
    given = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    )
    command = ["openssl", *given.split(), "-keyout", key, "-out", certificate, *more]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def tls(own: postgres.Cluster) -> str:
    """Turns TLS on; the path of the certificate."""
    key, certificate = own.data / "server.key", own.folder / "server.crt"
    self_signed(key, certificate, "-addext", "subjectAltName=DNS:localhost")
    (own.data / "server.crt").write_bytes(certificate.read_bytes())
    for path in (key, own.data / "server.crt"):
        postgres.hand_over(path)
    own.run("ALTER SYSTEM SET ssl = on")
    own.run("SELECT pg_reload_conf()")
    return str(certificate)


def secure(url: str, patience: float = 15) -> bool:
    """Whether a connection uses TLS, when there is one: a server reads its settings in its time."""
    last = time.monotonic() + patience
    while True:
        try:
            return connected(url)
        except StorageFailure:
            if time.monotonic() > last:
                raise
            time.sleep(0.05)


def connected(url: str) -> bool:
    """Whether this one connection uses TLS."""

    def work() -> bool:
        link = Link(Location.parse(url))
        ((used,),) = link.fetch("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        link.close()
        return bool(used)

    return apart(work)


def test_a_server_without_tls_is_refused_by_what_is_wrong() -> None:
    with pytest.raises(StorageFailure, match="rejected SSL upgrade"):
        connected(f"{postgres.shared().url(tcp=True)}?sslmode=require")


def test_sslmode_is_honoured(own: postgres.Cluster, tls: str) -> None:
    url = own.url(tcp=True)
    named = url.replace("127.0.0.1", "localhost")
    assert not secure(f"{url}?sslmode=disable")
    assert secure(f"{url}?sslmode=require")
    assert secure(f"{named}?sslmode=verify-full&sslrootcert={tls}")


@pytest.mark.parametrize("which", ["another name", "another authority"])
def test_a_server_that_cannot_prove_itself_is_refused(
    own: postgres.Cluster, tls: str, tmp_path: Path, clock: Clock, which: str
) -> None:
    root = Path(tls)
    if which == "another authority":
        root = tmp_path / "root.crt"
        self_signed(tmp_path / "key", root)
    host = "127.0.0.1" if which == "another name" else "localhost"
    url = own.url(tcp=True).replace("127.0.0.1", host)
    detail = refused_in_time(
        lambda: Database.open(
            f"{url}?sslmode=verify-full&sslrootcert={root}", clock=clock.now, create_all=True
        )
    )
    assert own.password not in detail


# -- the way there ----------------------------------------------------------------------------------


def test_a_connection_that_died_unnoticed_costs_nobody_an_answer(url: str, store: Database) -> None:
    store.write_sync(add("a"))
    assert ids(store) == ["a"]
    postgres.shared().run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
        database_of(url),
    )
    time.sleep(0.1)
    assert store.write_sync(add("b")) == 1
    assert ids(store) == ["a", "b"]


def test_a_backend_that_is_killed_in_the_middle_leaves_nothing_behind(
    url: str, store: Database
) -> None:
    def unit(tx: Tx) -> None:
        tx.changed(ADD, id="half", n=1)
        postgres.shared().run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
            database_of(url),
        )
        time.sleep(0.1)
        tx.changed(ADD, id="other half", n=1)

    refused_in_time(lambda: store.write_sync(unit))
    assert store.write_sync(add("after")) == 1
    assert ids(store) == ["after"]


def test_a_commit_whose_answer_is_lost_is_found_to_have_happened(proxied) -> None:
    store, proxy = proxied
    proxy.cut_after = b"COMMIT"
    assert store.write_sync(add("a")) == 1
    assert proxy.cuts == 1
    assert ids(store) == ["a", "first"]


def test_a_commit_that_never_arrived_is_refused(proxied) -> None:
    store, proxy = proxied
    proxy.cut_before = b"COMMIT"
    detail = refused_in_time(lambda: store.write_sync(add("a")))
    assert detail == "the record could not be made durable"
    assert store.write_sync(add("b")) == 1
    assert ids(store) == ["b", "first"]


def test_a_commit_whose_fate_cannot_be_asked_is_called_unknown(proxied) -> None:
    store, proxy = proxied
    proxy.cut_after, proxy.then = b"COMMIT", "refuse"
    began = time.monotonic()
    with pytest.raises(Refused, match="it is not known whether") as refused:
        store.write_sync(add("a"))
    assert refused.value.kind is Kind.BUSY
    assert time.monotonic() - began < BUSY_WITHIN
    proxy.mode = "relay"
    time.sleep(0.6)
    assert store.write_sync(add("b")) == 1


@pytest.mark.parametrize("mode", ["mute", "refuse"])
def test_a_database_that_cannot_be_reached_is_a_refusal_and_never_a_hang(
    proxied, mode: str
) -> None:
    store, proxy = proxied
    assert ids(store) == ["first"]
    proxy.mode = mode
    refused_in_time(lambda: store.write_sync(add("a")))
    refused_in_time(lambda: ids(store))
    proxy.mode = "relay"
    time.sleep(0.6)
    assert store.write_sync(add("b")) == 1
    assert ids(store) == ["b", "first"]


def test_a_crowd_is_refused_together_when_the_database_is_gone(proxied) -> None:
    store, proxy = proxied
    proxy.mode = "refuse"

    async def crowd() -> list[object]:
        waiting = (store.write(add(f"{n}")) for n in range(600))
        return [*await asyncio.gather(*waiting, return_exceptions=True)]

    began = time.monotonic()
    answers = asyncio.run(crowd())
    assert time.monotonic() - began < BUSY_WITHIN
    assert {type(answer) for answer in answers} == {Refused}


def test_a_sum_that_needs_more_than_64_bits_breaks_a_constraint(store: Database) -> None:
    """SQLite makes it a float; nothing of ours may count that far on either."""
    store.write_sync(add("a", 2**63 - 1))
    with pytest.raises(ConstraintViolation):
        store.write_sync(lambda tx: tx.changed(RAISE, which="a", by=1))
    assert store.read_sync(lambda tx: tx.run(ALL)) == [("a", 2**63 - 1)]


def test_a_crowd_of_readers_is_refused_together_when_nobody_answers(proxied) -> None:
    store, proxy = proxied
    proxy.mode = "mute"

    async def crowd() -> list[object]:
        waiting = (store.read(lambda tx: tx.run(ALL)) for _ in range(200))
        return [*await asyncio.gather(*waiting, return_exceptions=True)]

    began = time.monotonic()
    answers = asyncio.run(crowd())
    assert time.monotonic() - began < BUSY_WITHIN
    assert {type(answer) for answer in answers} == {Refused}


@pytest.mark.parametrize("kind", ["write", "read"])
def test_who_waits_behind_others_is_answered_as_soon_as_they_are(proxied, kind: str) -> None:
    """The time counts from the question, not from when the database could be asked at last."""
    store, proxy = proxied
    proxy.mode = "mute"

    async def one(number: int) -> float:
        await asyncio.sleep(number * 0.15)
        began = time.monotonic()
        with pytest.raises(Refused) as refused:
            if kind == "write":
                await store.write(add(f"{number}"))
            else:
                await store.read(lambda tx: tx.run(ALL))
        assert refused.value.kind is Kind.BUSY
        return time.monotonic() - began

    async def crowd() -> list[float]:
        return [*await asyncio.gather(*(one(n) for n in range(24)))]

    assert max(asyncio.run(crowd())) < BUSY_WITHIN


# -- the lock and the order ---------------------------------------------------------------------------


class Holding:
    """Somebody else who took the writers' lock, on a thread, and does something before COMMIT."""

    def __init__(self, url: str, sql: str = "SELECT 1") -> None:
        self.taken, self.go = threading.Event(), threading.Event()

        async def hold() -> None:
            raw = await asyncpg.connect(url)
            async with raw.transaction():
                await raw.execute(f"SELECT pg_advisory_xact_lock({SEQUENCE_LOCK})")
                await raw.execute(sql)
                self.taken.set()
                await asyncio.to_thread(self.go.wait, 10)
            await raw.close()

        self._thread = threading.Thread(target=lambda: asyncio.run(hold()))
        self._thread.start()
        self.taken.wait(5)

    def end(self) -> None:
        self.go.set()
        self._thread.join()


def test_a_lock_that_is_held_for_too_long_is_a_refusal(url: str, store: Database) -> None:
    other = Holding(url)
    refused_in_time(lambda: store.write_sync(add("a")))
    other.end()
    assert store.write_sync(add("b")) == 1
    assert ids(store) == ["b"]


def test_what_a_killed_predecessor_still_commits_is_seen_by_its_successor(
    url: str, store: Database
) -> None:
    """threats-and-faults §0.3: nothing read before the lock may be relied upon behind it."""
    store.write_sync(add("a", 1))
    zombie = Holding(url, "UPDATE test_sample SET n = 41 WHERE id = 'a'")
    threading.Timer(0.4, zombie.go.set).start()

    def unit(tx: Tx) -> int:
        ((_, n),) = tx.run(ALL)
        tx.changed(RENAME, which="a", to=n + 1)
        return int(n + 1)

    assert store.write_sync(unit) == 42
    zombie.end()


async def test_units_of_two_nodes_have_one_order(url: str, clock: Clock) -> None:
    nodes = [open_with_sample(url, clock), Database.open(url, clock=clock.now)]
    await nodes[0].write(add("a", 0))

    def add_one(tx: Tx) -> int:
        ((_, n),) = tx.run(ALL)
        tx.changed(RENAME, which="a", to=n + 1)
        return int(n)

    seen = await asyncio.gather(*(nodes[n % 2].write(add_one) for n in range(200)))
    assert sorted(seen) == list(range(200))
    for node in nodes:
        node.close_sync()


async def test_two_nodes_grow_one_log(url: str, clock: Clock) -> None:
    nodes = [Database.open(url, clock=clock.now) for _ in range(2)]
    logs = [open_log(node, clock) for node in nodes]

    async def client(k: int) -> None:
        for n in range(10):
            event = decided(n)
            await nodes[k % 2].write(lambda tx: logs[k % 2].append(tx, event))  # noqa: B023
            if n % 5 == 0:
                await logs[k % 2].checkpoint()

    await asyncio.gather(*(client(k) for k in range(20)))
    for log in logs:
        report = await log.verify()
        assert report.ok, report.problems
        assert report.size == 200
    for node in nodes:
        node.close_sync()


def test_a_whole_server_that_is_killed_keeps_what_was_acknowledged(
    own: postgres.Cluster, clock: Clock
) -> None:
    with own.database() as url:
        store = open_with_sample(url, clock)
        log = open_log(store, clock)
        grow(store, log, 50)
        store.write_sync(add("acknowledged"))
        own.kill()
        refused_in_time(lambda: store.write_sync(add("lost")))
        own.start()
        time.sleep(0.6)
        store.write_sync(add("after"))
        assert ids(store) == ["acknowledged", "after"]
        report = asyncio.run(log.verify())
        assert report.ok, report.problems
        assert report.size == 50
        store.close_sync()


# -- what a session is ----------------------------------------------------------------------------------


def test_a_session_is_ours_whatever_the_server_says(url: str) -> None:
    def work() -> dict[str, str]:
        link = Link(Location.parse(url))
        names = ("TimeZone", "lock_timeout", "statement_timeout", "transaction_isolation")
        found = {name: link.fetch(f"SHOW {name}")[0][0] for name in names}
        link.close()
        return found

    assert apart(work) == {
        "TimeZone": "UTC",
        "lock_timeout": "1900ms",
        "statement_timeout": "1900ms",
        "transaction_isolation": "read committed",
    }
