"""PostgreSQL: the dialect for more than one node. Where it is, and one connection to it.

The driver is asynchronous and units are not, so a ``Link`` has an event loop of its own, which
turns only while the thread that uses the link waits for an answer. Every wait is bounded, here and
on the server: a database that is slow, cut off or half-open makes a refusal, never a hang.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg

from actfor.errors import Kind, Refused
from actfor.store.failures import ConstraintViolation, StorageFailure
from actfor.store.postgres_dialect import compiled
from actfor.store.statements import Compiled, Row, Scalar, Statement
from actfor.store.transaction import Result

T = TypeVar("T")

WAIT_SECONDS = 1.9
"""How long a unit may take from when it is asked for to its answer: its turn, the connection, all
statements, the COMMIT, and what became of a COMMIT whose answer was lost."""

SCHEMES = ("postgresql", "postgres")
_SETTINGS = {"host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword"} | {
    "passfile",
    "application_name",
}
_MODES = {"disable", "require", "verify-ca", "verify-full"}
_MAX_PREPARED = 512


@dataclass(frozen=True, slots=True)
class Location:
    """Where the database is. Its text and ``repr`` never hold the password."""

    shown: str
    dsn: str = field(repr=False)
    application: str = "actfor"

    def __str__(self) -> str:
        return self.shown

    @classmethod
    def parse(cls, url: str) -> Location:
        """``postgresql://user[:password]@host[:port]/database[?sslmode=verify-full]``.

        ``host=/folder`` among the settings means a Unix socket. The rest of libpq's ways to find
        a password (``passfile``, ``PGPASSWORD``) work; other settings are refused.

        Raises:
            Refused: MALFORMED, naming the part or the setting; what was given is not repeated.
        """
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError:
            raise _malformed("host and port cannot be read") from None
        name = unquote(parts.path[1:])
        if parts.scheme not in SCHEMES or not name or "/" in name:
            raise _malformed("must be `postgresql://<user>@<host>/<database>`")
        settings = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := settings.keys() - _SETTINGS:
            raise _malformed(f"unknown setting `{min(unknown)[:40]}`")
        where = host or settings.get("host", "")
        if not where:
            raise _malformed("there is no host; a Unix socket is `?host=/folder`")
        if "," in where:
            raise _malformed("one host, please: failover belongs in front of the database")
        _check_mode(settings.get("sslmode"), where)
        at = f"{unquote(parts.username)}@" if parts.username else ""
        shown = f"postgresql://{at}{where}{f':{port}' if port else ''}/{name}"
        return cls(shown, url, settings.get("application_name", "actfor")[:60])


def _check_mode(mode: str | None, host: str) -> None:
    if mode is not None and mode not in _MODES:
        raise _malformed(
            f"`sslmode` must be one of {', '.join(sorted(_MODES))}; `prefer` and `allow`"
            " fall back to an open connection without a word"
        )
    if mode is None and not _is_local(host):
        raise _malformed(
            "`sslmode` must be given for a database on another machine: `verify-full`,"
            " or `disable` where something else protects the way there"
        )


def _is_local(host: str) -> bool:
    if host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _malformed(why: str) -> Refused:
    return Refused(Kind.MALFORMED, f"database url: {why}")


class Link:
    """One connection, used by one thread at a time, that none of whose waits is without end.

    After a failure of the connection it is ``dead`` and stays so; make another one.
    """

    def __init__(
        self,
        location: Location,
        *,
        read_only: bool = False,
        lock_seconds: float = WAIT_SECONDS,
        connect_seconds: float | None = None,
    ) -> None:
        """Connect, within ``connect_seconds``. ``lock_seconds`` bounds each wait for a lock, and
        that, too, where nothing else is said.

        Raises:
            StorageFailure: the server cannot be reached, or does not let us in.
        """
        self.dead = False
        self.patience(lock_seconds if connect_seconds is None else connect_seconds)
        if self._left <= 0:
            raise StorageFailure("the database took too long")
        self._loop = asyncio.new_event_loop()  # uvloop is slower here: it starts and stops a lot
        self._prepared: dict[str, Any] = {}
        settings = _session(location, read_only, lock_seconds)
        try:
            connecting = _connect(location, settings, self._left)
            self._raw: Any = self._loop.run_until_complete(connecting)
        except BaseException:
            self._loop.close()
            raise

    def patience(self, seconds: float = WAIT_SECONDS) -> None:
        """Begin to count: from here on, statements may take so long together."""
        self._granted = self._left = seconds

    @property
    def is_out_of_patience(self) -> bool:
        """Whether half of the time was used up: there is none to try the same again."""
        return self._left < self._granted / 2

    def run(self, statement: Statement, params: Mapping[str, Scalar]) -> Result:
        """See ``transaction.Connection``."""
        known = compiled(statement)
        return self.execute(known, known.ordered(params))

    def execute(self, known: Compiled, values: tuple[Scalar, ...]) -> Result:
        """A compiled statement with its values in order."""
        prepared = self._prepare(known.sql)
        rows = self._wait(lambda timeout: prepared.fetch(*values, timeout=timeout))
        return Result([tuple(row) for row in rows], _count(prepared))

    def execute_many(self, known: Compiled, values: list[tuple[Scalar, ...]]) -> None:
        """One compiled statement for each of many; one round trip for all."""
        prepared = self._prepare(known.sql)
        self._wait(lambda timeout: prepared.executemany(values, timeout=timeout))

    def control(self, sql: str) -> str:
        """Fixed text of the store's own; several statements make one round trip."""
        tag: str = self._wait(lambda timeout: self._raw.execute(sql, timeout=timeout))
        return tag

    def fetch(self, sql: str, *values: object) -> list[Row]:
        """A query of the store's own."""
        prepared = self._prepare(sql)
        rows = self._wait(lambda timeout: prepared.fetch(*values, timeout=timeout))
        return [tuple(row) for row in rows]

    def query(
        self, sql: str, values: Sequence[object]
    ) -> tuple[list[tuple[str, int]], list[Row], int]:
        """Any one statement: names and type oids of its columns, its rows, how many it changed."""
        prepared = self._wait(lambda timeout: self._raw.prepare(sql, timeout=timeout))
        rows = self._wait(lambda timeout: prepared.fetch(*values, timeout=timeout))
        columns = [(one.name, one.type.oid) for one in prepared.get_attributes()]
        return columns, [tuple(row) for row in rows], _count(prepared)

    @property
    def in_transaction(self) -> bool:
        """Whether the server has a transaction of ours open."""
        return not self.dead and bool(self._raw.is_in_transaction())

    def close(self) -> None:
        """Say goodbye if the server still listens."""
        if not self.dead:
            with suppress(Exception):  # nothing depends on a polite end
                self._loop.run_until_complete(self._raw.close(timeout=0.5))
        self._die()

    def _prepare(self, sql: str) -> Any:
        known = self._prepared.get(sql)
        if known is None:
            if len(self._prepared) >= _MAX_PREPARED:
                self._prepared.clear()
            known = self._wait(lambda timeout: self._raw.prepare(sql, timeout=timeout))
            self._prepared[sql] = known
        return known

    def _wait(self, start: Callable[[float], Coroutine[Any, Any, T]]) -> T:
        if self.dead:
            raise StorageFailure("the connection to the database is gone")
        if self._left <= 0:
            self._die()
            raise StorageFailure("the database took too long")
        begun = time.monotonic()
        try:
            return self._loop.run_until_complete(start(self._left))
        except asyncpg.PostgresError as cause:
            raise self._translated(cause) from cause
        except (TimeoutError, OSError, asyncpg.InternalClientError) as cause:
            self._die()
            raise StorageFailure(
                f"the connection to the database failed: {_told(cause)}"
            ) from cause
        except asyncpg.InterfaceError as cause:
            if isinstance(cause, ValueError):  # a value of the wrong type: nothing was sent
                raise
            self._die()
            raise StorageFailure(
                f"the connection to the database failed: {_told(cause)}"
            ) from cause
        finally:
            self._left -= time.monotonic() - begun

    def _translated(self, cause: asyncpg.PostgresError) -> Exception:
        # PostgreSQL's manual, appendix A: the first two characters are the class.
        code = cause.sqlstate or ""
        if code.startswith("23"):
            return ConstraintViolation(str(cause))
        if code == "22003":  # SQLite would turn the sum into a float, and the CHECK refuse it
            return ConstraintViolation("a number is out of range")
        if code.startswith(("08", "57P")) or self._raw.is_closed():
            self._die()
        return StorageFailure(f"{code} {cause}")

    def _die(self) -> None:
        if not self.dead:
            self.dead = True
            with suppress(Exception):  # whatever state the transport is in: it is dropped
                self._raw.terminate()
        if not self._loop.is_closed():
            with suppress(Exception):
                self._finish_tasks()
                for _ in range(3):  # turns in which transports close their sockets
                    self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

    def _finish_tasks(self) -> None:
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left, timeout=0.5))


async def connect(location: Location) -> Any:
    """A connection of the driver itself, for code that has a turning loop of its own.

    Raises:
        StorageFailure: the server cannot be reached, or does not let us in.
    """
    return await _connect(location, _session(location, False, WAIT_SECONDS), WAIT_SECONDS)


async def _connect(location: Location, settings: dict[str, str], timeout: float) -> Any:  # noqa: ASYNC109 - the driver's own
    try:
        return await asyncpg.connect(
            location.dsn,
            timeout=timeout,
            command_timeout=WAIT_SECONDS,
            statement_cache_size=0,  # links keep their own prepared statements
            server_settings=settings,
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ssl.SSLError) as cause:
        # `from None`: what the driver says may hold what it was given.
        raise StorageFailure(f"{location}: {_told(cause)}") from None


def apart(work: Callable[[], T]) -> T:
    """Run this in a thread of its own and wait: a link's loop cannot turn inside another's."""
    with ThreadPoolExecutor(1, thread_name_prefix="actfor-apart") as thread:
        return thread.submit(work).result()


def _count(prepared: Any) -> int:
    """The number at the end of a command tag such as `UPDATE 1`."""
    number = (prepared.get_statusmsg() or "").rpartition(" ")[2]
    return int(number) if number.isdigit() else -1


def _session(location: Location, read_only: bool, lock_seconds: float) -> dict[str, str]:  # noqa: FBT001 - private
    """What every session of ours is, whatever the role's or the database's own settings are."""
    wait = str(int(lock_seconds * 1000))
    return {
        "application_name": location.application,
        "TimeZone": "UTC",
        "statement_timeout": wait if lock_seconds == WAIT_SECONDS else "0",
        "lock_timeout": wait,
        # A node that was paused or cut off in the middle must not keep the lock from the others.
        "idle_in_transaction_session_timeout": "5000",
        "client_connection_check_interval": "2000",
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "8000",
        "default_transaction_isolation": "read committed",
        "default_transaction_read_only": "on" if read_only else "off",
        "search_path": "public",
        # What a writer asks goes by keys, and is asked again and again: planned once, it stays so.
        "plan_cache_mode": "auto" if read_only else "force_generic_plan",
    }


def _told(cause: BaseException) -> str:
    """What may be said of a failure to connect: the server's words or the system's, no more."""
    if isinstance(cause, asyncpg.PostgresError):
        return str(cause)
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    if isinstance(cause, ConnectionError):  # the driver's: TLS is not offered, or nobody is there
        return str(cause)
    return type(cause).__name__
