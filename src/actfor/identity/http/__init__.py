"""Identity over HTTP: passkey steps for the browser, ``/v1`` for tools."""

from actfor.identity.http.agents import agents_router
from actfor.identity.http.people import people_router
from actfor.identity.http.session import CurrentPerson, SessionCookie, current_person
from actfor.identity.http.webauthn import webauthn_routes

__all__ = [
    "CurrentPerson",
    "SessionCookie",
    "agents_router",
    "current_person",
    "people_router",
    "webauthn_routes",
]
