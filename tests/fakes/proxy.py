"""A TCP proxy on a thread that can stand between a node and its database, and misbehave."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress


class Proxy:
    """Relays 127.0.0.1:``port`` to ``target``, until told otherwise.

    ``mode``: ``relay``; ``mute`` keeps connections open and relays nothing (half-open); ``refuse``
    cuts every connection, old and new. ``cut_before`` and ``cut_after`` are byte strings: the first
    time a client sends one, the connection is cut before or right after it was passed on; the
    answer is never relayed. ``then`` is the mode from that moment on.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self.mode = "relay"
        self.then = "relay"
        self.cut_before: bytes | None = None
        self.cut_after: bytes | None = None
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            if self.mode == "refuse":
                for one in list(self._clients):
                    self._cut(one)
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._pairs:
                    self._relay(key.fileobj)
        for one in list(self._clients):
            self._cut(one)
        self._listener.close()
        self._selector.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self.mode == "refuse":
            client.close()
            return
        server = socket.create_connection(self._target)
        for one, other in ((client, server), (server, client)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ, None)
        self._clients.add(client)

    def _relay(self, source: socket.socket) -> None:
        if self.mode == "mute":
            return  # what came stays in the kernel's buffer: nobody is told anything
        try:
            data = source.recv(1 << 16)
            if not data:
                self._cut(source)
                return
            is_client = source in self._clients
            if is_client and self.cut_before and self.cut_before in data:
                self._misbehave(source, b"")
            elif is_client and self.cut_after and self.cut_after in data:
                self._misbehave(source, data)
            else:
                self._pairs[source].sendall(data)
        except OSError:
            self._cut(source)

    def _misbehave(self, client: socket.socket, last: bytes) -> None:
        self.cut_before = self.cut_after = None
        self.cuts += 1
        if last:
            self._pairs[client].sendall(last)
            with suppress(OSError):  # wait for the answer, and keep it
                self._pairs[client].settimeout(2)
                self._pairs[client].recv(1 << 16)
        self.mode = self.then
        self._cut(client)

    def _cut(self, one: socket.socket) -> None:
        other = self._pairs.pop(one, None)
        if other is None:
            return
        self._pairs.pop(other, None)
        for end in (one, other):
            self._clients.discard(end)
            with suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.close()
