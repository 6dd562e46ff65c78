"""Ask people for more than the mandate holds, wait for their answer, and go on with it.

    wish = me.wish({"grants": [{"server": "crm", "tools": ["refund"], "effects": ["pay"]}]},
                   says="The customer is right, and I may not refund.")
    granted = wish.wait(3600)
    httpx2.Client(auth=granted.auth("crm"))

A wish grants nothing. A person sees it as this agent's wish, unchecked; they may narrow it, and
commit a mandate in their own words. Then this agent, and no other, gets their token for it, for as
long as the wish is kept (a day) and the mandate lasts.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import httpx2

from actfor.errors import Kind, Refused
from actfor.sdk.auth import DelegatedAuth, Form, answer_of, ask, ask_async
from actfor.sdk.sidecar import Credentials
from actfor.wire.canonical import JsonObject
from actfor.wire.rar import authority_from_draft, to_authorization_details

WISH_PATH: Final = "/mandate_request"
_FIRST_PAUSE: Final = 2.0
_MOST_PAUSE: Final = 30.0
_FRESH: Final = 60
"""Seconds that a person's token must still live to be exchanged; else a new one is fetched."""
_ID: Final = re.compile(r"wsh_[a-z2-7]{26}")
_SERVER_ERRORS: Final = 3
_OVER: Final = {
    "dismissed": (Kind.DENIED, "a person said no to the wish"),
    "expired": (Kind.EXPIRED, "nobody answered the wish"),
    "ended": (Kind.EXPIRED, "the mandate that was given for the wish is over"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where the agent's credentials come from, for both kinds of callers."""

    now: Callable[[], Credentials]
    later: Callable[[], Awaitable[Credentials]]


def form_of(credentials: Credentials, wanted: JsonObject, says: str | None) -> Form:
    """The form that asks. ``wanted`` is a draft: `grants`, and `budget`, `flows` if there are any
    (docs/guides/mandates.md). An agent that acts for somebody asks that person, and nobody else.

    Raises:
        Refused: MALFORMED, naming what is wrong.
    """
    authority = authority_from_draft(wanted)
    details = to_authorization_details(authority, resources=f"{credentials.issuer}/mcp")
    form = {"actor_token": credentials.svid, "authorization_details": json.dumps(details)}
    if credentials.subject_token is not None:
        form["subject_token"] = credentials.subject_token
    return form if says is None else {**form, "says": says}


class Wish:
    """One wish that people can see now. Made by ``Agent.wish``."""

    def __init__(self, answer: JsonObject, source: Source, url: Callable[[str], str]) -> None:
        id_, expires_at = answer.get("id"), answer.get("expires_at")
        if not isinstance(id_, str) or not _ID.fullmatch(id_) or not isinstance(expires_at, str):
            raise Refused(Kind.MALFORMED, "the issuer's answer is not a wish")
        self.id = id_
        self.expires_at = datetime.fromisoformat(expires_at)
        self._source = source
        self._url = url

    def answer(self) -> Granted | None:
        """What a person made of it by now; None if nobody answered yet.

        Raises:
            Refused: DENIED if a person said no, EXPIRED if nobody will answer any more or the
                mandate is over; BUSY; others if the agent itself is refused.
            httpx2.TransportError: the issuer cannot be reached.
        """
        credentials = self._source.now()
        return self._told(ask(credentials, _asking(credentials), f"{WISH_PATH}/{self.id}"))

    async def answer_async(self) -> Granted | None:
        """``answer`` on an event loop."""
        credentials = await self._source.later()
        path = f"{WISH_PATH}/{self.id}"
        return self._told(await ask_async(credentials, _asking(credentials), path))

    def wait(self, seconds: float) -> Granted:
        """Wait for a person. Looks every 2 to 30 seconds, and bears that the issuer is away.

        Raises:
            Refused: as ``answer``; EXPIRED after ``seconds``: the wish stays open, wait again.
        """
        pauses = _Pauses(seconds)
        while True:
            try:
                if (granted := self.answer()) is not None:
                    return granted
            except (Refused, httpx2.TransportError) as error:
                pauses.bear(error)
            time.sleep(pauses.next())

    async def wait_async(self, seconds: float) -> Granted:
        """``wait`` on an event loop."""
        pauses = _Pauses(seconds)
        while True:
            try:
                if (granted := await self.answer_async()) is not None:
                    return granted
            except (Refused, httpx2.TransportError) as error:
                pauses.bear(error)
            await asyncio.sleep(pauses.next())

    def _told(self, response: httpx2.Response) -> Granted | None:
        answer = answer_of(response)
        state = answer.get("state")
        if state == "open":
            return None
        if isinstance(state, str) and state in _OVER:
            raise Refused(*_OVER[state])
        mandate, token, life = (
            answer.get(name) for name in ("mandate", "subject_token", "expires_in")
        )
        if (
            state != "granted"
            or not isinstance(mandate, str)
            or not isinstance(token, str)
            or type(life) is not int
        ):
            raise Refused(Kind.MALFORMED, "the issuer's answer does not say what became of it")
        return Granted(self, mandate, token, time.monotonic() + life)

    def __repr__(self) -> str:
        return f"Wish({self.id!r})"


class Granted:
    """A mandate that a person gave for a wish. ``mandate`` is its id; what it holds may be less."""

    def __init__(self, wish: Wish, mandate: str, token: str, until: float) -> None:
        self.mandate = mandate
        self._wish = wish
        self._held = (token, until)

    def auth(self, server: str) -> DelegatedAuth:
        """``auth=`` for an ``httpx2`` client that talks to this server, under this mandate.

        Its calls raise `Refused` as ``Wish.answer`` does when the mandate is over.
        """
        source = self._wish._source  # noqa: SLF001 - same module

        def credentials() -> Credentials:
            if self._stale():
                self._renew(self._wish.answer())
            return self._with(source.now())

        async def credentials_async() -> Credentials:
            if self._stale():
                self._renew(await self._wish.answer_async())
            return self._with(await source.later())

        return DelegatedAuth(
            self._wish._url(server),  # noqa: SLF001 - same module
            credentials=credentials,
            credentials_async=credentials_async,
        )

    def _stale(self) -> bool:
        return time.monotonic() >= self._held[1] - _FRESH

    def _renew(self, again: Granted | None) -> None:
        if again is None or again.mandate != self.mandate:
            raise Refused(Kind.MALFORMED, "the issuer says another thing about a granted wish")
        self._held = again._held  # noqa: SLF001 - same class

    def _with(self, given: Credentials) -> Credentials:
        return replace(given, subject_token=self._held[0], mandate=self.mandate)

    def __repr__(self) -> str:
        return f"Granted({self.mandate!r})"


class _Pauses:
    """How long to wait between looks, and until when; which errors are borne."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._pause = _FIRST_PAUSE
        self._borne = 0

    def bear(self, error: Exception) -> None:
        """Raise what is an answer; what is none, only if it happens again and again."""
        if isinstance(error, Refused) and error.kind is not Kind.BUSY:
            raise error
        self._borne += 1
        if self._borne > _SERVER_ERRORS:
            raise error

    def next(self) -> float:
        """Seconds until the next look.

        Raises:
            Refused: EXPIRED when the time is over.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise Refused(Kind.EXPIRED, "nobody answered the wish yet")
        pause, self._pause = min(self._pause, left), min(self._pause * 1.5, _MOST_PAUSE)
        return pause


def _asking(credentials: Credentials) -> Form:
    return {"actor_token": credentials.svid}
