"""HTTP/1.1 as uvicorn speaks it, an answer in one system call.

uvicorn writes an answer's head and its body by themselves, and uvloop sends what it is given at
once: two system calls and two packets for each answer, and a reader that is woken twice.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's own, on a transport that sends a head with the body that follows it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """See ``asyncio.Protocol``."""
        super().connection_made(_Joining(transport, self.loop))  # type: ignore[arg-type] # all of one that is asked for


class _Joining:
    """A transport that keeps a write until the next one, but not beyond this turn of the loop.

    So what is kept is never more than one write, and an answer that comes piece by piece is not
    held up.
    """

    __slots__ = ("_kept", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._kept = b""

    def write(self, data: bytes) -> None:
        if self._kept:
            kept, self._kept = self._kept, b""
            self._transport.writelines((kept, data))
        else:
            self._kept = data
            self._loop.call_soon(self._send)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        kept, self._kept = self._kept, b""
        if kept and not self._transport.is_closing():
            self._transport.write(kept)

    def __getattr__(self, name: str) -> Any:  # Any: whatever else a transport can do
        return getattr(self._transport, name)
