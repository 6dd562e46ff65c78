"""Whose request is this: a browser's session cookie, or a command line's token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from starlette.requests import Request
from starlette.responses import Response

from actfor.errors import Kind, Refused
from actfor.identity.model import SESSION_ABSOLUTE, Person
from actfor.identity.service import PeopleService

CurrentPerson = Callable[[Request], Awaitable[Person]]
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """The session cookie's name and attributes; ``__Host-`` wherever there is TLS (RFC 6265bis).

    ``SameSite=Lax`` and not ``Strict``: a link to an approval, opened from a mail, must find the
    person signed in. What changes anything is a POST, which checks its origin besides.
    """

    name: str
    secure: bool

    @classmethod
    def for_url(cls, public_url: str) -> Self:
        """The cookie of a server with this public URL."""
        secure = public_url.startswith("https://")
        return cls("__Host-actfor" if secure else "actfor_session", secure)

    def write(self, response: Response, cookie: str) -> None:
        """Sign the browser in."""
        response.set_cookie(
            self.name,
            cookie,
            max_age=int(SESSION_ABSOLUTE.total_seconds()),
            path="/",
            secure=self.secure,
            httponly=True,
            samesite="lax",
        )

    def clear(self, response: Response) -> None:
        """Sign the browser out."""
        response.delete_cookie(
            self.name, path="/", secure=self.secure, httponly=True, samesite="lax"
        )


def current_person(
    people: PeopleService, cookie: SessionCookie, authenticate_bearer: CurrentPerson
) -> CurrentPerson:
    """The dependency for ``/v1``: an ``Authorization`` header, if there is one, else the cookie.

    ``authenticate_bearer`` verifies the header and its DPoP proof. A cookie counts for a request
    that changes something only with an ``Origin`` of ours.
    """

    async def dependency(request: Request) -> Person:
        if "authorization" in request.headers:
            return await authenticate_bearer(request)
        if request.method not in _SAFE:
            require_own_origin(request, people.origins)
        person, _ = await people.session(request.cookies.get(cookie.name, ""))
        return person

    return dependency


def require_own_origin(request: Request, origins: tuple[str, ...]) -> None:
    """Refuse a request that a page of another site may have sent.

    Raises:
        Refused: DENIED without an ``Origin`` of ours.
    """
    if request.headers.get("origin") not in origins:
        raise Refused(Kind.DENIED, "the request did not come from a page of this server")
