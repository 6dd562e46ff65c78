"""Which database a URL means."""

from __future__ import annotations

from typing import TypeAlias

from actfor.errors import Kind, Refused
from actfor.store import postgres, sqlite

Location: TypeAlias = sqlite.Location | postgres.Location


def parse(url: str) -> Location:
    """``sqlite:///<path>`` or ``postgresql://<user>@<host>/<database>``.

    Raises:
        Refused: MALFORMED, naming the part or the setting that is wrong.
    """
    scheme = url.partition(":")[0]
    if scheme in postgres.SCHEMES:
        return postgres.Location.parse(url)
    if scheme == "sqlite":
        return sqlite.Location.parse(url)
    raise Refused(
        Kind.MALFORMED,
        "database url must be `sqlite:///<path>` or `postgresql://<user>@<host>/<database>`",
    )
