"""A TCP proxy that misbehaves when told to: the network between a node and its database.

pass          bytes go through
delay S       each piece waits so long
stall         nothing goes through, nothing is closed (a pulled cable)
deaf          nothing reaches the database; its answers come through
mute          the database hears everything; its answers are lost
cut           connections are reset, new ones too
cut-after N   reset in the middle of a message, after so many bytes to the database
lose-commit   every COMMIT is lost on its way, and the connection with it
mute-commit   every COMMIT arrives, and the connection is lost before its answer

It is a process, not a thread, because rigs fork.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.faults.harness import fork


@dataclass
class Weather:
    """What the network does now."""

    mode: str = "pass"
    amount: float = 0.0


class Proxy:
    """The proxy in a process of its own; ``set`` changes the weather at once."""

    def __init__(self, port: int) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = fork()
        if self.pid == 0:
            self._ours.close()
            try:
                asyncio.run(_run(port, theirs))
            finally:
                os._exit(0)
        theirs.close()
        self.port = int(self._ours.recv(64))

    def set(self, mode: str, amount: float = 0.0) -> None:
        self._ours.send(json.dumps([mode, amount]).encode())
        self._ours.recv(16)

    def close(self) -> None:
        self._ours.close()
        os.waitpid(self.pid, 0)


async def _run(port: int, control: socket.socket) -> None:
    weather, pairs = Weather(), set[Any]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if weather.mode == "cut":
            _reset(writer)
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            _reset(writer)
            return
        pair = (writer, up_writer)
        pairs.add(pair)
        await asyncio.gather(
            _pump(reader, up_writer, weather, pair, to_database=True),
            _pump(up_reader, writer, weather, pair, to_database=False),
        )
        pairs.discard(pair)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    control.send(str(server.sockets[0].getsockname()[1]).encode())
    control.setblocking(False)
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(control, 256):
        weather.mode, weather.amount = json.loads(data)
        if weather.mode == "cut":
            for pair in [*pairs]:
                _end(pair)
        control.send(b"ok")
    os._exit(0)


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    weather: Weather,
    pair: Any,
    *,
    to_database: bool,
) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            if weather.mode == "delay":
                await asyncio.sleep(weather.amount)
            while weather.mode == "stall":
                await asyncio.sleep(0.02)
            if to_database and weather.mode.endswith("-commit") and b"COMMIT" in data:
                if weather.mode == "mute-commit":
                    writer.write(data)
                    await writer.drain()
                    await asyncio.sleep(0.05)  # it is carried out
                break
            if weather.mode == ("deaf" if to_database else "mute"):
                continue  # lost: what comes later belongs to a message that began with this
            if weather.mode == "cut-after" and to_database:
                weather.amount -= len(data)
                if weather.amount < 0:
                    writer.write(data[: max(0, int(len(data) + weather.amount))])
                    await writer.drain()
                    weather.mode = "pass"
                    break
            writer.write(data)
            await writer.drain()
    _end(pair)


def _end(pair: Any) -> None:
    for writer in pair:
        _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a network does that forgot the connection."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
