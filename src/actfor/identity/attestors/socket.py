"""The server's attestation socket, ``<data>/attest.sock``; the client is ``sdk.attest``.

Requests are answered in order; ``{"event": "invalidated", …}`` may come in between, for agents
that this connection attested. Who the peer is, the kernel says; a request cannot.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from actfor.errors import Kind, Refused
from actfor.identity.model import Agent, Challenge, Evidence, Svid
from actfor.sdk.sockets import MAX_LINE, Peer, error_message, peer_of, read_message, write_message
from actfor.wire.canonical import JsonObject, canonical
from actfor.wire.spiffe import SpiffeId

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 256
_MAX_PATH_BYTES = 100


class Attestation(Protocol):
    """What the socket needs of ``identity.service.AgentService``."""

    async def show(self, name: str) -> Agent:
        """The agent with this name."""
        ...

    async def challenge(self, name: str, peer_pid: int) -> Challenge:
        """A nonce for this peer."""
        ...

    async def attest(self, name: str, evidence: Evidence, proof: str, jwk: JsonObject) -> Svid:
        """An SVID, if the process is what was registered."""
        ...


class AttestationSocket:
    """Serves the socket. Add ``notify`` to the service's ``after_invalidated``."""

    def __init__(self, service: Attestation, path: Path) -> None:
        self._service = service
        self._path = path
        self._server: asyncio.Server | None = None
        # Owned by the event loop: open connections, and the agents each one attested.
        self._watching: dict[asyncio.StreamWriter, set[str]] = {}
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def path(self) -> Path:
        """Where clients connect."""
        return self._path

    async def start(self) -> None:
        """Listen; the socket is the server's user's only (0600).

        Raises:
            Refused: MALFORMED for a path too long for a Unix socket.
        """
        if len(os.fsencode(self._path)) > _MAX_PATH_BYTES:
            raise Refused(
                Kind.MALFORMED,
                f"socket path `{self._path}` is too long for a Unix socket; "
                "choose a data folder with a shorter path",
            )
        self._path.unlink(missing_ok=True)
        previous = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._accept, self._path, limit=MAX_LINE)
        finally:
            os.umask(previous)

    async def close(self) -> None:
        """Hang up on everyone and remove the socket."""
        if self._server is not None:
            self._server.close()
        for task in list(self._handlers):
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def notify(self, agent: Agent) -> None:
        """Tell every connection that attested this agent that it is out of service."""
        event = {
            "event": "invalidated",
            "agent": str(agent.id),
            "cause": agent.cause or agent.state,
        }
        for writer, names in self._watching.items():
            if agent.name in names and not writer.is_closing():
                writer.write(canonical(event) + b"\n")

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs handlers as tasks
        self._handlers.add(task)
        self._watching[writer] = set()
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._handlers.discard(task)
            del self._watching[writer]
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._watching) > MAX_CONNECTIONS:
            busy = Refused(Kind.BUSY, "too many processes are being attested")
            await write_message(writer, error_message(busy))
            return
        try:
            peer = peer_of(writer.get_extra_info("socket"))
            while (request := await read_message(reader)) is not None:
                await write_message(writer, await self._guarded(request, peer, writer))
        except Refused as refused:  # not our protocol: say so and hang up
            await write_message(writer, error_message(refused))

    async def _guarded(
        self, request: JsonObject, peer: Peer, writer: asyncio.StreamWriter
    ) -> JsonObject:
        try:
            return await self._answer(request, peer, writer)
        except Refused as refused:
            return error_message(refused)
        except Exception:  # a request's boundary: logged here, no detail for the peer
            logger.exception("an attestation request failed")
            return error_message(Refused(Kind.BUSY, "the server failed; see its log"))

    async def _answer(
        self, request: JsonObject, peer: Peer, writer: asyncio.StreamWriter
    ) -> JsonObject:
        operation, name = request.get("op"), request.get("agent")
        if not isinstance(name, str):
            raise Refused(Kind.MALFORMED, "the request names no agent")
        if operation == "challenge" and request.keys() == {"op", "agent"}:
            return await self._challenge(name, peer)
        if operation == "attest" and request.keys() == {"op", "agent", "pid", "proof", "jwk"}:
            answer = await self._attest(name, request, peer)
            self._watching[writer].add(name)
            return answer
        raise Refused(Kind.MALFORMED, "the operation is `challenge` or `attest`, with its members")

    async def _challenge(self, name: str, peer: Peer) -> JsonObject:
        challenge = await self._service.challenge(name, peer.pid)
        agent = await self._service.show(name)
        return {"id": str(agent.id), "nonce": challenge.nonce, "audience": challenge.audience}

    async def _attest(self, name: str, request: JsonObject, peer: Peer) -> JsonObject:
        pid, proof, jwk = request["pid"], request["proof"], request["jwk"]
        if type(pid) is not int or pid <= 0 or not isinstance(proof, str):
            raise Refused(Kind.MALFORMED, "`pid` is a number and `proof` a text")
        if not isinstance(jwk, dict):
            raise Refused(Kind.MALFORMED, "`jwk` is an object")
        svid = await self._service.attest(name, Evidence(peer.pid, peer.uid, pid), proof, jwk)
        return _issued(svid, svid.agent)


def _issued(svid: Svid, agent: SpiffeId) -> JsonObject:
    return {
        "svid": svid.token,
        "id": str(agent),
        "instance": str(svid.instance),
        "manifest": svid.manifest,
        "issued_at": int(svid.issued_at.timestamp()),
        "expires_at": int(svid.expires_at.timestamp()),
    }
