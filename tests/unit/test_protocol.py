"""An answer leaves as one packet, and nothing is held back for it: real sockets, uvicorn itself."""

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from actfor.server.protocol import HttpProtocol

BODY = b"decided"
_SEGMENTS_WITH_DATA = 152  # of struct tcp_info: tcpi_data_segs_in (linux/tcp.h)


async def decide(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def nothing_to_say(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, http=HttpProtocol, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


def request(path: str = "/", more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()


async def answer(reader: asyncio.StreamReader) -> bytes:
    await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(len(BODY))


@pytest.mark.skipif(sys.platform != "linux", reason="counts packets as Linux tells them")
async def test_head_and_body_of_an_answer_are_one_packet() -> None:
    async with served(decide) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for count in (1, 2, 3):
            writer.write(request())
            assert await answer(reader) == BODY
            wire = writer.get_extra_info("socket")
            told = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            assert struct.unpack_from("=I", told, _SEGMENTS_WITH_DATA) == (count,)
        writer.close()


async def test_a_piece_of_a_stream_arrives_before_the_next_is_made() -> None:
    read = asyncio.Event()

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"first", b"second"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await read.wait()
        await send({"type": "http.response.body", "body": b""})

    async with served(stream) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        await reader.readuntil(b"first\r\n")
        read.set()
        assert (await reader.readuntil(b"0\r\n\r\n")).startswith(b"6\r\nsecond")
        writer.close()


@pytest.mark.parametrize(
    ("app", "end"), [(decide, b"\r\n\r\n" + BODY), (nothing_to_say, b"\r\n\r\n")]
)
async def test_what_was_answered_last_arrives_before_the_connection_ends(
    app: ASGIApp, end: bytes
) -> None:
    async with served(app) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(more="Connection: close\r\n"))
        assert (await reader.read()).endswith(end)
        writer.close()


async def test_questions_sent_at_once_are_answered_in_their_order() -> None:
    async def path(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"7")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async with served(path) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        asked = [b"/%06d" % number for number in range(20)]
        writer.write(b"".join(request(one.decode()) for one in asked))
        assert [await answer(reader) for _ in asked] == asked
        writer.close()


async def test_who_hangs_up_between_question_and_answer_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await gone.wait()
        await decide(scope, receive, send)

    async with served(slow) as port, asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        await asked.wait()
        writer.transport.abort()
        gone.set()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        assert await answer(reader) == BODY
        writer.close()
    assert not caplog.records
