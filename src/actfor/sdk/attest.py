"""Ask the server on this machine to attest a process, over its Unix socket.

One line of JSON each way, on one connection that stays open: while it does, the server says at
once when the agent is invalidated. The key is the caller's; the server sees its public half and a
proof: a JWS (``typ`` ``actfor-attestation+jwt``) over the server's nonce, for the server, about
one agent and one process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from actfor.errors import Kind, Refused
from actfor.sdk.sockets import MAX_LINE, raise_error, read_message, write_message
from actfor.wire import jose
from actfor.wire.canonical import JsonObject
from actfor.wire.jose import SigningKey

ATTESTATION_TYPE = "actfor-attestation+jwt"
_PROOF_LIFETIME = timedelta(seconds=60)
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class IssuedSvid:
    """A JWT-SVID as the server handed it over."""

    token: str = field(repr=False)
    agent: str
    instance: str
    issued_at: datetime
    expires_at: datetime


def attestation_proof(
    key: SigningKey, *, agent: str, audience: str, nonce: str, pid: int, now: datetime
) -> str:
    """The proof that whoever asks holds the key. ``agent`` is the agent's SPIFFE ID."""
    claims: JsonObject = {
        "iss": agent,
        "aud": audience,
        "nonce": nonce,
        "pid": pid,
        "iat": int(now.timestamp()),
        "exp": int((now + _PROOF_LIFETIME).timestamp()),
    }
    return jose.sign(claims, typ=ATTESTATION_TYPE, key=key)


class AttestationClient:
    """A connection to the server's attestation socket. One request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._answers: asyncio.Queue[JsonObject | None] = asyncio.Queue()
        self._busy = asyncio.Lock()
        self._closed = asyncio.Event()
        self.on_invalidated: Callable[[str, str], None] | None = None
        self._pump = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, path: str) -> Self:
        """Connect to the socket at ``path``.

        Raises:
            Refused: BUSY when no server listens there.
        """
        try:
            return cls(*await asyncio.open_unix_connection(path, limit=MAX_LINE))
        except OSError as cause:
            raise Refused(Kind.BUSY, f"no server listens at `{path}`") from cause

    async def attest(self, name: str, *, pid: int, key: SigningKey) -> IssuedSvid:
        """Have the server measure process ``pid`` as agent ``name``; an SVID bound to ``key``.

        Raises:
            Refused: the server's refusal with its cause; BUSY when the connection broke.
        """
        async with self._busy:
            challenge = await self._ask({"op": "challenge", "agent": name})
            proof = attestation_proof(
                key,
                agent=str(challenge["id"]),
                audience=str(challenge["audience"]),
                nonce=str(challenge["nonce"]),
                pid=pid,
                now=datetime.now(UTC),
            )
            request: JsonObject = {
                "op": "attest",
                "agent": name,
                "pid": pid,
                "proof": proof,
                "jwk": key.public.jwk,
            }
            answer = await self._ask(request)
        return IssuedSvid(
            token=str(answer["svid"]),
            agent=str(answer["id"]),
            instance=str(answer["instance"]),
            issued_at=_instant(answer, "issued_at"),
            expires_at=_instant(answer, "expires_at"),
        )

    @property
    def closed(self) -> bool:
        """Whether the server ended the connection."""
        return self._closed.is_set()

    async def wait_closed(self, seconds: float) -> None:
        """Return when the server ended the connection, at the latest after so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), max(seconds, 0))

    async def close(self) -> None:
        """Hang up."""
        self._pump.cancel()
        with suppress(asyncio.CancelledError):
            await self._pump
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _ask(self, request: JsonObject) -> JsonObject:
        if self.closed:
            raise Refused(Kind.BUSY, "the server hung up")
        try:
            async with asyncio.timeout(_TIMEOUT):
                await write_message(self._writer, request)
                answer = await self._answers.get()
        except (OSError, TimeoutError) as cause:
            raise Refused(Kind.BUSY, "the server does not answer") from cause
        if answer is None:
            raise Refused(Kind.BUSY, "the server hung up")
        raise_error(answer)
        return answer

    async def _read(self) -> None:
        try:
            while (message := await read_message(self._reader)) is not None:
                if message.get("event") == "invalidated":
                    if self.on_invalidated is not None:
                        self.on_invalidated(str(message.get("agent")), str(message.get("cause")))
                else:
                    self._answers.put_nowait(message)
        except (OSError, Refused):
            pass  # broken or not our protocol: the same as hung up
        finally:
            self._closed.set()
            self._answers.put_nowait(None)


def _instant(answer: Mapping[str, object], name: str) -> datetime:
    value = answer.get(name)
    if not isinstance(value, int):
        raise Refused(Kind.MALFORMED, f"the server's answer has no `{name}`")
    return datetime.fromtimestamp(value, UTC)
