"""What a PostgreSQL must be for a commit to mean what we say it means."""

from __future__ import annotations

from actfor.errors import Kind, Refused
from actfor.store.postgres import Link

OLDEST = 15
_ASK = (
    "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
    " pg_is_in_recovery(), current_setting('fsync'), current_setting('full_page_writes'),"
    " current_setting('synchronous_commit'), current_setting('synchronous_standby_names')"
)


def check_server(link: Link) -> None:
    """Refuse a server that would lose or change what it acknowledged.

    Does not see what lies below the server: a disk or a file system that lies about fsync.

    Raises:
        Refused: CONFLICT, naming the setting.
        StorageFailure: the server does not answer.
    """
    ((version, encoding, standby, fsync, full_pages, commit, names),) = link.fetch(_ASK)
    if version < OLDEST * 10_000:
        raise _refused(f"PostgreSQL {version // 10_000} is too old; it must be {OLDEST} or newer")
    if encoding != "UTF8":
        raise _refused(f"`server_encoding` is {encoding}; create the database with UTF8")
    if standby:
        raise _refused("it is a standby, which cannot be written; name the primary")
    if fsync != "on":
        raise _refused(f"`fsync` is {fsync}: a power cut would lose or corrupt what was recorded")
    if full_pages != "on":
        raise _refused(f"`full_page_writes` is {full_pages}: a power cut would corrupt the log")
    if commit == "off":
        raise _refused("`synchronous_commit` is off: acknowledged records would be lost")
    if names and commit in {"local", "remote_write"}:
        # With a synchronous standby the promise is that a failover loses nothing.
        raise _refused(
            f"`synchronous_commit` is {commit} although there are synchronous standbys:"
            " a failover would lose acknowledged records; set it to on"
        )


def _refused(why: str) -> Refused:
    return Refused(Kind.CONFLICT, f"the database server: {why}")
