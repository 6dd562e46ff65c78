"""The Unix socket between `actfor run` and the agent it started: who may ask, and for what.

One line of JSON each way. The agent asks ``{"op": "credentials"}``; the launcher answers with the
current credentials, or with ``{"error": {"kind", "detail", "code"}}``. Only processes that descend
from the launched one are answered: the kernel says who the peer is (SO_PEERCRED, on macOS
LOCAL_PEERPID), its ancestors are looked up. The address travels in the environment, nothing else.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, cast

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from actfor.errors import Kind, Refused
from actfor.sdk.sockets import (
    MAX_LINE,
    Peer,
    error_message,
    parse_message,
    peer_of,
    raise_error,
    read_message,
    write_message,
)
from actfor.wire.canonical import JsonObject, JsonValue, canonical
from actfor.wire.jose import SigningKey

ADDRESS_VARIABLE = "ACTFOR_SOCKET"
"""Environment variable with ``unix:///absolute/path``: where to ask, never what the answer is."""

_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an agent needs to act. Repr hides the key and the tokens."""

    agent: str
    instance: str
    svid: str = field(repr=False)
    svid_expires_at: datetime
    key: SigningKey = field(repr=False)
    issuer: str
    server: str
    mandate: str | None = None
    subject_token: str | None = field(default=None, repr=False)

    def to_json(self) -> JsonObject:
        """The answer on the socket; it holds the private key."""
        return {
            "agent": self.agent,
            "instance": self.instance,
            "svid": self.svid,
            "svid_expires_at": int(self.svid_expires_at.timestamp()),
            "key": private_jwk(self.key),
            "issuer": self.issuer,
            "server": self.server,
            "mandate": self.mandate,
            "subject_token": self.subject_token,
        }

    @classmethod
    def from_json(cls, answer: JsonObject) -> Self:
        """Parse the answer.

        Raises:
            Refused: whatever the launcher refused; MALFORMED when it is no answer at all.
        """
        raise_error(answer)
        try:
            return cls(
                agent=_text(answer["agent"]),
                instance=_text(answer["instance"]),
                svid=_text(answer["svid"]),
                svid_expires_at=datetime.fromtimestamp(_number(answer["svid_expires_at"]), UTC),
                key=signing_key(answer["key"]),
                issuer=_text(answer["issuer"]),
                server=_text(answer["server"]),
                mandate=_optional(answer["mandate"]),
                subject_token=_optional(answer["subject_token"]),
            )
        except (KeyError, TypeError, ValueError) as cause:
            raise Refused(Kind.MALFORMED, "the launcher's answer is not credentials") from cause


def private_jwk(key: SigningKey) -> dict[str, JsonValue]:
    """The key as a private JWK (RFC 7518 §6.2.2): for the socket and the profile file only."""
    return cast("dict[str, JsonValue]", ECKey.import_key(key.to_pem()).as_dict(private=True))


def signing_key(jwk: JsonValue) -> SigningKey:
    """The key behind a private JWK.

    Raises:
        Refused: MALFORMED unless it is a P-256 private key.
    """
    if not isinstance(jwk, Mapping):
        raise Refused(Kind.MALFORMED, "the key is not a JWK")
    try:
        return SigningKey(
            ECKey.import_key(cast("dict[str, Any]", dict(jwk)))
        )  # Any: joserfc's type
    except (JoseError, KeyError, TypeError, ValueError) as cause:
        raise Refused(Kind.MALFORMED, "the key is not a P-256 private key") from cause


class CredentialServer:
    """The launcher's end. ``supply`` makes the answer; ``allow`` decides who gets it."""

    def __init__(
        self,
        path: Path,
        *,
        allow: Callable[[Peer], bool],
        supply: Callable[[], Awaitable[Credentials]],
    ) -> None:
        self._path = path
        self._allow = allow
        self._supply = supply
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """What the child finds in ``ACTFOR_SOCKET``."""
        return f"unix://{self._path}"

    async def start(self) -> None:
        """Listen; the socket is the owner's only (0600)."""
        previous = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_LINE)
        finally:
            os.umask(previous)

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            try:
                async with asyncio.timeout(_TIMEOUT):
                    await write_message(writer, await self._answer(reader, writer))
            except Refused as refused:
                await write_message(writer, error_message(refused))
            except TimeoutError:
                pass  # a peer that asks nothing gets nothing
        writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> JsonObject:
        # Read first: closing a socket with unread bytes would reset it under the answer.
        request = await read_message(reader)
        peer = peer_of(writer.get_extra_info("socket"))
        if not await asyncio.to_thread(self._allow, peer):
            raise Refused(Kind.DENIED, "only the launched agent gets its credentials")
        if request is None or request.get("op") != "credentials":
            raise Refused(Kind.MALFORMED, "the only operation is `credentials`")
        return (await self._supply()).to_json()


def address_path(address: str) -> str:
    """The path in ``unix:///path``.

    Raises:
        Refused: MALFORMED for any other address.
    """
    path = address.removeprefix("unix://")
    if not address.startswith("unix:///") or "\0" in path:
        raise Refused(Kind.MALFORMED, f"{ADDRESS_VARIABLE} is not a `unix:///…` address")
    return path


async def fetch(address: str) -> Credentials:
    """Ask the launcher for the current credentials.

    Raises:
        Refused: BUSY when nobody listens there; whatever the launcher refused.
    """
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(
                address_path(address), limit=MAX_LINE
            )
            try:
                await write_message(writer, {"op": "credentials"})
                answer = await read_message(reader)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError) as cause:
        raise _unreachable() from cause
    if answer is None:
        raise _unreachable()
    return Credentials.from_json(answer)


def fetch_sync(address: str) -> Credentials:
    """``fetch`` without an event loop."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT)
            connection.connect(address_path(address))
            connection.sendall(canonical({"op": "credentials"}) + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(MAX_LINE)
    except OSError as cause:
        raise _unreachable() from cause
    if not line:
        raise _unreachable()
    return Credentials.from_json(parse_message(line))


def _unreachable() -> Refused:
    return Refused(Kind.BUSY, "`actfor run` does not answer; start the agent under it")


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _optional(value: JsonValue) -> str | None:
    return None if value is None else _text(value)


def _number(value: JsonValue) -> int:
    if not isinstance(value, int):
        raise TypeError("not a number")
    return value
