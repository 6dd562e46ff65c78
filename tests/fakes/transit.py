"""A key service that speaks the two transit calls we make, as OpenBao answers them.

The real one is not on every machine; shapes and codes follow its API documentation (transit,
encrypt and decrypt data). The cipher is real AES-256-GCM with the associated data.
"""

import json
import os
import threading
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Transit:
    """One server on a free port of loopback, with one key."""

    def __init__(self, token: str) -> None:
        aead = AESGCM(os.urandom(32))

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.headers["x-vault-token"] != token:
                    return self.answer(403, {"errors": ["permission denied"]})
                context = b64decode(body["associated_data"])
                if self.path == "/v1/transit/encrypt/actfor":
                    nonce = os.urandom(12)
                    made = aead.encrypt(nonce, b64decode(body["plaintext"]), context)
                    text = "vault:v1:" + b64encode(nonce + made).decode()
                    return self.answer(200, {"data": {"ciphertext": text, "key_version": 1}})
                raw = b64decode(body["ciphertext"].removeprefix("vault:v1:"))
                try:
                    plain = aead.decrypt(raw[:12], raw[12:], context)
                except InvalidTag:
                    return self.answer(400, {"errors": ["cipher: message authentication failed"]})
                return self.answer(200, {"data": {"plaintext": b64encode(plain).decode()}})

            def answer(self, status: int, body: dict[str, Any]) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()
