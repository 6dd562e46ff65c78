"""Start, listen, stop. One process, one event loop, one database."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import structlog
import uvicorn
import uvloop

from actfor.errors import Kind, Refused
from actfor.server.protocol import HttpProtocol
from actfor.server.settings import Settings
from actfor.server.telemetry import configure_logging
from actfor.server.wiring import Application, build

log = structlog.get_logger("actfor.server")
GRACE_SECONDS = 10
"""How long running calls may take to end after a stop signal; longer than no call is held."""


class Announce(Protocol):
    """Told once the server listens. ``setup_link`` only while there is no operator."""

    def __call__(self, *, mode: str, url: str, data: Path, setup_link: str | None) -> None:
        """Tell the person at the terminal."""


def serve(settings: Settings, announce: Announce) -> None:
    """Serve until SIGINT or SIGTERM; running calls end first, queued records are made durable.

    Raises:
        Refused: something is not safe to start with; the detail names it.
    """
    configure_logging(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, announce))


async def prepare(settings: Settings) -> str | None:
    """Make data folder, keys, database, default policies; a setup link if there is no operator."""
    configure_logging("warning")
    application = await build(settings, with_default_policies=True)
    try:
        return await application.setup_link()
    finally:
        await application.close()


async def _serve(settings: Settings, announce: Announce) -> None:
    listener = _listen(settings)
    application = await build(settings, with_default_policies=settings.mode == "dev")
    loops: list[asyncio.Task[None]] = []
    try:
        await application.check_startable()
        loops = [_background(name, run) for name, run in application.loops.items()]
        # What lives from here on is long-lived: keep the collector from walking it on every call.
        gc.collect()
        gc.freeze()
        server = _Server(
            uvicorn.Config(
                application.asgi,
                http=HttpProtocol,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
                h11_max_incomplete_event_size=16 * 1024,
            ),
            lambda link: announce(
                mode=settings.mode, url=settings.public_url, data=settings.data, setup_link=link
            ),
            await application.setup_link(),
        )
        await server.serve(sockets=[listener])
    finally:
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await application.close()
        log.info("stopped")


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        where = f"`{settings.host}:{settings.port}`"
        raise Refused(
            Kind.CONFLICT, f"settings `host`, `port`: {where}: {error.strerror}"
        ) from None
    listener.set_inheritable(False)
    return listener


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, announce: Callable[[str | None], None], link: str | None
    ) -> None:
        super().__init__(config)
        self._announce, self._link = announce, link

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce(self._link)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal, and only that: uvicorn's own raises it again when it has stopped,
        which would end the process before what is queued was made durable.
        """
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


def _background(name: str, run: Callable[[], Coroutine[None, None, None]]) -> asyncio.Task[None]:
    """A loop that must not die: if it does, the process ends, for a supervisor to restart."""
    task = asyncio.create_task(run(), name=name)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.critical("a background loop ended", loop=name, exc_info=task.exception())
            sys.stderr.flush()
            os._exit(70)

    task.add_done_callback(ended)
    return task


__all__ = ["Application", "prepare", "serve"]
