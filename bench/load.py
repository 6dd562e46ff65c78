"""The load generator: keep-alive HTTP/1.1 on plain sockets, a process of its own, stdlib only.

    python -m bench.load REQUESTS PORT CONNECTIONS SECONDS EXPECT once|repeat

Prints ``ready``, waits for a line, sends, prints one line of JSON. Requests are prepared bytes, so
that signing proofs costs nothing while the clock runs. Any wrong answer ends the run.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path


class Wrong(Exception):  # noqa: N818 - a verdict
    """An answer that must not be counted."""


def main() -> None:
    """See the module."""
    path, port, connections, seconds, expect, mode = sys.argv[1:7]
    requests = read(Path(path))
    source = itertools.cycle(requests) if mode == "repeat" else iter(requests)
    try:
        import uvloop
    except ImportError:  # the standard loop will do
        run = asyncio.run
    else:
        run = uvloop.run
    try:
        result: dict[str, float | str] = run(
            load(source, int(port), int(connections), float(seconds), expect.encode())
        )
    except (Wrong, OSError, asyncio.IncompleteReadError) as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result), flush=True)


def read(path: Path) -> list[bytes]:
    """Length-prefixed requests."""
    data, at, requests = path.read_bytes(), 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        requests.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return requests


async def load(
    source: Iterator[bytes], port: int, connections: int, seconds: float, expect: bytes
) -> dict[str, float | str]:
    """Connect, say so, wait for the word, send until the time is up or the requests are."""
    wires = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    gc.disable()
    latencies: list[float] = []
    started = time.perf_counter()
    deadline = started + seconds

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for request in source:
            sent = time.perf_counter()
            if sent >= deadline:
                break
            writer.write(request)
            status, body = await answer(reader)
            latencies.append(time.perf_counter() - sent)
            if status != 200 or expect not in body:
                raise Wrong(f"HTTP {status}: {body[:300]!r}")

    async with asyncio.timeout(seconds + 30):
        await asyncio.gather(*(one(*wire) for wire in wires))
    return summary(latencies, time.perf_counter() - started)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One response: by content-length or chunked (RFC 9112 §6)."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        size = int(head[at + 17 : head.index(b"\r\n", at + 2)])
        return status, await reader.readexactly(size)
    if b"\r\ntransfer-encoding: chunked" not in head:
        raise Wrong("an answer without a length")
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return status, b"".join(parts)


def summary(latencies: list[float], seconds: float) -> dict[str, float | str]:
    """Count and percentiles, in milliseconds."""
    if not latencies:
        raise Wrong("no request was answered")
    ordered = sorted(latencies)
    return {
        "requests": len(ordered),
        "seconds": seconds,
        "p50": ordered[len(ordered) // 2] * 1000,
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000,
    }


if __name__ == "__main__":
    main()
