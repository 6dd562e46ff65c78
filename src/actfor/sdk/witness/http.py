"""The witness over HTTP, on nothing but the standard library: `POST /add-checkpoint`, `GET /`.

Anyone may ask: what is answered depends on the checkpoint's signature alone. Bodies are small,
connections few and short-lived; put a proxy in front where the Internet can reach it.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from actfor.errors import Refused
from actfor.sdk.witness.keeper import Keeper
from actfor.wire.witness import MAX_REQUEST_BYTES, SIZE_TYPE, WitnessRefusal

logger = logging.getLogger(__name__)
MAX_CONNECTIONS: Final = 64
CONNECTION_SECONDS: Final = 60.0
_IDLE_SECONDS: Final = 10.0
_TEXT: Final = "text/plain; charset=utf-8"


class WitnessServer(ThreadingHTTPServer):
    """Serves one ``Keeper``. ``serve_forever`` and ``shutdown`` as in the standard library."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, keeper: Keeper, host: str, port: int) -> None:
        self.keeper = keeper
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        """A connection waits for a free slot; the kernel's queue holds the next ones."""
        self._slots.acquire()
        super().process_request(request, client_address)  # type: ignore[arg-type] # as given to us

    def process_request_thread(self, request: object, client_address: object) -> None:
        """One connection, however many requests, for a limited time."""
        over = threading.Timer(CONNECTION_SECONDS, _cut, [request])
        over.daemon = True
        over.start()
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type] # as given to us
        finally:
            over.cancel()
            self._slots.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: D102
        logger.warning("a connection ended badly")


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"  # tlog-witness: witnesses SHOULD support keep-alive
    timeout = _IDLE_SECONDS
    server_version = "actfor-witness"
    sys_version = ""

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path != "/add-checkpoint":
            self._answer(404, "there is only `add-checkpoint`\n")
            return
        try:
            lines = self.server.keeper.add_checkpoint(body, int(time.time()))
        except WitnessRefusal as refusal:
            if refusal.size is not None:
                self._answer(refusal.status, f"{refusal.size}\n", SIZE_TYPE)
            else:
                self._answer(refusal.status, refusal.detail + "\n")
        except Refused as refused:
            logger.critical("%s", refused.detail)
            self._answer(500, "the witness cannot answer for this log\n")
        except OSError:
            logger.exception("the witness could not keep its record")
            self._answer(500, "the witness could not keep its record\n")
        else:
            self._answer(200, lines)

    def do_GET(self) -> None:
        keeper = self.server.keeper
        if self.path != "/":
            self._answer(404, "not found\n")
            return
        lines = [f"key {key}" for key in keeper.verifiers]
        lines += [
            f"log {origin} {latest.size if (latest := keeper.latest(origin)) else 0}"
            for origin in keeper.logs()
        ]
        self._answer(200, "\n".join(lines) + "\n")

    def _body(self) -> str | None:
        """The request's text; None where it was refused, and the connection ends then."""
        lengths = self.headers.get_all("content-length") or []
        length = lengths[0] if len(lengths) == 1 else ""
        self.close_connection = True
        if "transfer-encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._answer(411, "a length is required\n")
        elif len(length) > 9 or int(length) > MAX_REQUEST_BYTES:
            self._answer(413, "the request is too large\n")
        else:
            raw = self.rfile.read(int(length))
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                self._answer(400, "the request is not UTF-8\n")
                return None
            if len(raw) == int(length):
                self.close_connection = self.headers.get("connection", "").lower() == "close"
                return text
        return None

    def _answer(self, status: int, text: str, content_type: str = _TEXT) -> None:
        body = text.encode()
        self.send_response(status, HTTPStatus(status).phrase)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-content-type-options", "nosniff")
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        logger.info(format, *args)


def _cut(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        logger.debug("a connection was over already")
