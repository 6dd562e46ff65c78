"""An agent's view of itself: who it is, and how it reaches the servers it may use.

    async with actfor.sdk.connect() as me:
        async with httpx2.AsyncClient(auth=me.auth("crm")) as http:
            ...  # requests to me.mcp_url("crm")

Credentials come from `actfor run` over its Unix socket whenever they are needed. They are never in
the environment, in arguments or in anything a model could read.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

from actfor.errors import Kind, Refused
from actfor.sdk.auth import DelegatedAuth, answer_of, ask, ask_async
from actfor.sdk.sidecar import ADDRESS_VARIABLE, Credentials, fetch, fetch_sync
from actfor.sdk.wishes import WISH_PATH, Source, Wish, form_of
from actfor.wire.canonical import JsonObject

_SERVER = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class Agent:
    """The running agent. Made by ``connect``."""

    def __init__(self, address: str, first: Credentials) -> None:
        self._address = address
        self._issuer = first.issuer
        self._identity = first.agent
        self._instance = first.instance
        self._mandate = first.mandate
        self._auths: dict[str, DelegatedAuth] = {}

    @property
    def identity(self) -> str:
        """The agent's SPIFFE ID."""
        return self._identity

    @property
    def instance(self) -> str:
        """The SPIFFE ID of this very process."""
        return self._instance

    @property
    def mandate(self) -> str | None:
        """The id of the mandate it acts under, if it was given one."""
        return self._mandate

    def mcp_url(self, server: str) -> str:
        """The URL of a governed MCP server; it is also the audience of the tokens for it."""
        if not _SERVER.fullmatch(server):
            raise Refused(Kind.MALFORMED, f"{server[:80]!a} is not the name of a server")
        return f"{self._issuer}/mcp/{server}"

    def auth(self, server: str) -> DelegatedAuth:
        """``auth=`` for an ``httpx2`` client that talks to this server; one per server, shared."""
        url = self.mcp_url(server)
        if url not in self._auths:
            self._auths[url] = DelegatedAuth(
                url,
                credentials=lambda: fetch_sync(self._address),
                credentials_async=lambda: fetch(self._address),
            )
        return self._auths[url]

    def auth_through(self, server: str, passed_on: str) -> DelegatedAuth:
        """``auth=`` for what another agent passed on to this one (``DelegatedAuth.pass_on``).

        A new one each time: it acts through that agent, under its mandate, and ends with it.
        """

        async def later() -> Credentials:
            return replace(await fetch(self._address), subject_token=passed_on)

        return DelegatedAuth(
            self.mcp_url(server),
            credentials=lambda: replace(fetch_sync(self._address), subject_token=passed_on),
            credentials_async=later,
        )

    def wish(self, wanted: JsonObject, *, says: str | None = None) -> Wish:
        """Ask people for more than the mandate holds. It grants nothing; see ``sdk.wishes``.

        ``wanted`` is a draft of a mandate: `grants`, and `budget` and `flows` if there are any.
        ``says`` is shown to people as this agent's words, unchecked.

        Raises:
            Refused: MALFORMED; DENIED when too many wishes are open; others if the agent itself is
                refused.
            httpx2.TransportError: the issuer cannot be reached.
        """
        credentials = fetch_sync(self._address)
        answer = answer_of(ask(credentials, form_of(credentials, wanted, says), WISH_PATH))
        return Wish(answer, self._source(), self.mcp_url)

    async def wish_async(self, wanted: JsonObject, *, says: str | None = None) -> Wish:
        """``wish`` on an event loop."""
        credentials = await fetch(self._address)
        form = form_of(credentials, wanted, says)
        answer = answer_of(await ask_async(credentials, form, WISH_PATH))
        return Wish(answer, self._source(), self.mcp_url)

    def _source(self) -> Source:
        return Source(lambda: fetch_sync(self._address), lambda: fetch(self._address))

    def __repr__(self) -> str:
        return f"Agent({self._identity!r})"


@asynccontextmanager
async def connect(address: str | None = None) -> AsyncIterator[Agent]:
    """This process as an agent. ``address`` defaults to what `actfor run` put in ``ACTFOR_SOCKET``.

    Waits until the agent is attested.

    Raises:
        Refused: not under `actfor run` (BUSY), or the attestation was refused, with its cause.
    """
    where = address or _from_environment()
    yield Agent(where, await fetch(where))


@contextmanager
def connect_sync(address: str | None = None) -> Iterator[Agent]:
    """``connect`` for code without an event loop."""
    where = address or _from_environment()
    yield Agent(where, fetch_sync(where))


def _from_environment() -> str:
    address = os.environ.get(ADDRESS_VARIABLE)
    if not address:
        raise Refused(
            Kind.BUSY, f"{ADDRESS_VARIABLE} is not set; start the agent with `actfor run`"
        )
    return address
