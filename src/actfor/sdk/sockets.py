"""Talking over a Unix socket: one JSON object a line, and who is at the other end.

The kernel names the peer (SO_PEERCRED; on macOS LOCAL_PEERPID and LOCAL_PEERCRED); its ancestors
are looked up. Nothing here believes what the peer says about itself.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, canonical
from actfor.wire.strict_json import loads

MAX_LINE = 64 * 1024
_MACOS_LOCAL_PEERCRED = 1
_MACOS_LOCAL_PEERPID = 2


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a Unix socket, as the kernel knows it."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Who is at the other end.

    Raises:
        Refused: UNAUTHENTICATED where the kernel cannot tell.
    """
    try:
        if sys.platform == "darwin":
            pid = connection.getsockopt(0, _MACOS_LOCAL_PEERPID)
            _, uid = struct.unpack("II", connection.getsockopt(0, _MACOS_LOCAL_PEERCRED, 76)[:8])
        else:
            raw = connection.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
            )
            pid, uid, _ = struct.unpack("3i", raw)
    except (OSError, AttributeError, struct.error) as cause:
        raise Refused(Kind.UNAUTHENTICATED, "the kernel does not name the peer") from cause
    if pid <= 0:
        raise Refused(Kind.UNAUTHENTICATED, "the peer is in another process namespace")
    return Peer(pid, uid)


def descends_from(pid: int, ancestor: int) -> bool:
    """Whether ``pid`` is ``ancestor`` or was started by it, directly or not. Gone: no."""
    try:
        process: psutil.Process | None = psutil.Process(pid)
        while process is not None:
            if process.pid == ancestor:
                return True
            process = process.parent()  # checks start times, so that a reused pid is no parent
    except psutil.Error:
        return False
    return False


async def read_message(reader: asyncio.StreamReader) -> JsonObject | None:
    """One line of JSON; None at the end of the stream.

    Raises:
        Refused: MALFORMED for anything but a JSON object on a line of at most ``MAX_LINE`` bytes.
    """
    try:
        line = await reader.readline()
    except ValueError as cause:
        raise Refused(Kind.MALFORMED, "the message is too long") from cause
    return parse_message(line) if line else None


async def write_message(writer: asyncio.StreamWriter, message: JsonObject) -> None:
    """One line of JSON."""
    writer.write(canonical(message) + b"\n")
    await writer.drain()


def error_message(refused: Refused) -> JsonObject:
    """A refusal on the socket."""
    error = {"kind": refused.kind.value, "detail": refused.detail, "code": refused.code}
    return {"error": error}


def raise_error(answer: JsonObject) -> None:
    """Raise the refusal that an answer carries, if it does."""
    error = answer.get("error")
    if isinstance(error, Mapping):
        kind, code = error.get("kind"), error.get("code")
        known = Kind(kind) if kind in set(Kind) else Kind.DENIED
        raise Refused(known, str(error.get("detail")), code=code if isinstance(code, str) else None)


def parse_message(line: bytes) -> JsonObject:
    """One line as a JSON object; raises as ``read_message`` does."""
    value = loads(line)
    if not isinstance(value, Mapping):
        raise Refused(Kind.MALFORMED, "a message is a JSON object on one line")
    return value
