"""Who is at the other end of a browser's request, and whether the browser meant it.

A form or script that changes something must come from a page of ours: its `Origin` is ours, and it
carries the session's CSRF token. The cookie is `SameSite=Lax`, so each of the three would do alone.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from actfor.errors import Kind, Refused
from actfor.identity import PeopleService, Person, Session
from actfor.identity.http import SessionCookie
from actfor.identity.http.session import require_own_origin
from actfor.wire.base64_text import base64url

CSRF_HEADER = "x-csrf-token"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person and the token their forms carry."""

    person: Person
    session: Session
    csrf_token: str


def csrf_token(cookie: str) -> str:
    """The session's CSRF token: a one-way image of its 256-bit cookie."""
    digest = hashlib.sha256(b"actfor csrf token\0" + cookie.encode()).digest()
    return base64url(digest)


class Guard:
    """Checks sessions, origins and tokens; raises ``Refused``, never answers."""

    def __init__(self, people: PeopleService, cookie: SessionCookie) -> None:
        self._people = people
        self._cookie = cookie

    async def visitor(self, request: Request) -> Visitor:
        """Who this is. For pages that only show.

        Raises:
            Refused: UNAUTHENTICATED without a live session.
        """
        cookie = request.cookies.get(self._cookie.name, "")
        person, session = await self._people.session(cookie)
        return Visitor(person, session, csrf_token(cookie))

    async def acting(self, request: Request, token: str | None) -> Visitor:
        """Who this is, for a request that changes something and carried ``token``.

        Raises:
            Refused: UNAUTHENTICATED, or DENIED when the request may come from another site.
        """
        require_own_origin(request, self._people.origins)
        visitor = await self.visitor(request)
        if token is None or not hmac.compare_digest(token.encode(), visitor.csrf_token.encode()):
            raise Refused(Kind.DENIED, "the form is out of date; load the page again")
        return visitor

    async def acting_json(self, request: Request) -> Person:
        """`acting` for our own script: JSON, with the token in a header."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(Kind.MALFORMED, "the body must be application/json")
        visitor = await self.acting(request, request.headers.get(CSRF_HEADER))
        return visitor.person

    def forget(self, response: Response) -> None:
        """Take the cookie back."""
        self._cookie.clear(response)
