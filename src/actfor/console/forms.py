"""Forms as plain HTML sends them, read strictly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl

from starlette.requests import Request

from actfor.errors import Kind, Refused

MAX_FORM = 64 * 1024
MAX_FIELDS = 500
_LOCAL = re.compile(r"/(?![/\\])[A-Za-z0-9._~/?=&%:@!$,;+-]*")


class Form:
    """The fields of one submitted form; a name may have several values."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self._fields = tuple(fields)

    @classmethod
    async def read(cls, request: Request) -> Form:
        """Parse the body.

        Raises:
            Refused: MALFORMED unless it is url-encoded UTF-8 within the limits.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise Refused(Kind.MALFORMED, "the form must be application/x-www-form-urlencoded")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_FORM:
                raise Refused(Kind.MALFORMED, f"the form is larger than {MAX_FORM} bytes")
        try:
            return cls(
                parse_qsl(
                    body.decode("ascii"),
                    keep_blank_values=True,
                    errors="strict",
                    max_num_fields=MAX_FIELDS,
                )
            )
        except ValueError as cause:
            raise Refused(Kind.MALFORMED, "the form could not be read") from cause

    def one(self, name: str) -> str:
        """The field's only value, without surrounding space; "" when it was not sent.

        Raises:
            Refused: MALFORMED when it was sent twice.
        """
        values = self.all(name)
        if len(values) > 1:
            raise Refused(Kind.MALFORMED, f"`{name}` was sent more than once")
        return values[0] if values else ""

    def all(self, name: str) -> list[str]:
        """All values of a field, in order. Browsers send line ends as CR LF; here they are LF."""
        found = (value for key, value in self._fields if key == name)
        return [value.replace("\r\n", "\n").strip() for value in found]

    def pairs(self) -> list[tuple[str, str]]:
        """Every field in order, to be sent once more."""
        return list(self._fields)


def local_path(target: str) -> str:
    """``target`` if it is a path of this site, else the home page (no open redirect)."""
    return target if _LOCAL.fullmatch(target) else "/"
