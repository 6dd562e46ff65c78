"""Where leaves are sent, and when to try again. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from actfor.audit.export.formats import Format
from actfor.errors import Kind, Refused

BATCH: Final = 256
"""Events in one delivery, at most."""

LEASE_SECONDS: Final = 30
"""How long one node may hold a destination without renewing; a delivery ends well before."""

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_PLAIN: Final = frozenset({"http", "syslog+tcp"})
_SCHEMES: Final = {
    "file": frozenset({Format.JSONL, Format.OCSF, Format.CEF}),
    "http": frozenset({Format.JSONL, Format.OCSF, Format.OTEL}),
    "https": frozenset({Format.JSONL, Format.OCSF, Format.OTEL}),
    "syslog+tcp": frozenset({Format.JSONL, Format.OCSF, Format.CEF}),
    "syslog+tls": frozenset({Format.JSONL, Format.OCSF, Format.CEF}),
}


@dataclass(frozen=True, slots=True)
class Destination:
    """One place that leaves are sent to.

    ``private`` sends the plaintext of private members along: personal data leaves the place from
    which it can be erased, so it is off unless asked for. ``from_start`` is whether the first
    delivery begins with leaf 0 or with the first leaf after the destination was configured.
    ``token_file`` holds a bearer token, read at each delivery so that it can be rotated.
    """

    name: str
    format: Format
    to: str
    token_file: Path | None = None
    private: bool = False
    from_start: bool = True

    @classmethod
    def parse(
        cls,
        *,
        name: str,
        format: str,  # noqa: A002 - the setting's own word
        to: str,
        token_file: Path | None = None,
        private: bool = False,
        from_start: bool = True,
    ) -> Self:
        """Check a destination as configured.

        Raises:
            Refused: MALFORMED, naming the member that is wrong and why.
        """
        if not _NAME.fullmatch(name):
            raise _wrong(name, "`name` has lower-case letters, digits and hyphens, at most 40")
        if format not in set(Format):
            raise _wrong(name, f"`format` is one of {', '.join(Format)}")
        form, parts = Format(format), _split(name, to)
        if form not in _SCHEMES[parts.scheme]:
            raise _wrong(name, f"`{form}` cannot be sent to `{parts.scheme}:`")
        if parts.scheme in _PLAIN and not _is_loopback(parts.hostname or ""):
            raise _wrong(
                name, f"`to` must be encrypted (not `{parts.scheme}:`) beyond this machine"
            )
        if token_file is not None and parts.scheme not in {"http", "https"}:
            raise _wrong(name, "`token_file` is for http destinations")
        if token_file is not None and not token_file.is_absolute():
            raise _wrong(name, "`token_file` is an absolute path")
        return cls(name, form, to, token_file, private, from_start)

    @property
    def address(self) -> SplitResult:
        """``to``, split."""
        return urlsplit(self.to)


def pause(failures: int) -> float:
    """Seconds to wait after so many failed deliveries in a row: 1, 2, 4, … at most 60."""
    return float(min(60, 2 ** min(max(failures - 1, 0), 6)))


def _split(name: str, to: str) -> SplitResult:
    try:
        parts = urlsplit(to)
        port = parts.port
    except ValueError:
        raise _wrong(name, "`to` is not an address") from None
    if parts.scheme not in _SCHEMES:
        raise _wrong(name, f"`to` begins with one of {', '.join(f'{s}:' for s in _SCHEMES)}")
    if parts.username or parts.password or parts.fragment:
        raise _wrong(name, "`to` holds no credentials and no fragment; use `token_file`")
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/") or parts.path.endswith("/"):
            raise _wrong(name, "`to` is `file:///absolute/path/of/a/file`")
    elif not parts.hostname:
        raise _wrong(name, "`to` names a host")
    elif parts.scheme.startswith("syslog") and port is None:
        raise _wrong(name, "`to` names a port, such as `syslog+tls://siem.example:6514`")
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wrong(name: str, why: str) -> Refused:
    shown = name[:40].encode("unicode_escape").decode("ascii")
    return Refused(Kind.MALFORMED, f"export `{shown}`: {why}")
