"""An issuer and resource server on loopback for the SDK's tests: real HTTP, real DPoP checks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from actfor.errors import Refused
from actfor.sdk.sidecar import Credentials
from actfor.wire.dpop import verify_proof
from actfor.wire.jose import SigningKey


@dataclass
class Issuer:
    """What it was asked, and how it should behave."""

    url: str = ""
    jkt: str | None = None
    life: int = 300
    exchanges: list[dict[str, list[str]]] = field(default_factory=list)
    calls: list[tuple[str, str, bytes]] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)  # by path, for any token
    reject: set[str] = field(default_factory=set)  # access tokens that are no longer good
    exchange_answer: tuple[int, dict[str, Any]] | None = None
    passing: dict[str, Any] = field(default_factory=dict)  # what differs where one passes on
    token_nonce: str | None = None
    resource_nonce: str | None = None

    def exchange(self, proof: str, body: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
        if self.exchange_answer is not None:
            return (*self.exchange_answer, {})
        headers = {"DPoP-Nonce": self.token_nonce} if self.token_nonce else {}
        try:
            seen = verify_proof(
                proof,
                method="POST",
                url=f"{self.url}/token",
                now=datetime.now(UTC),
                jkt=self.jkt,
                nonce=self.token_nonce,
            )
        except Refused as refused:
            return 400, {"error": refused.code, "error_description": refused.detail}, headers
        self.proofs.append(seen.jti)
        self.exchanges.append(parse_qs(body.decode(), strict_parsing=True))
        token = f"token-{len(self.exchanges)}"
        answer = {"access_token": token, "token_type": "DPoP", "expires_in": self.life}
        if "requested_actor" in self.exchanges[-1]:
            answer |= self.passing
        return 200, answer, headers

    def call(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, str]]:
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        answer = {"DPoP-Nonce": self.resource_nonce} if self.resource_nonce else {}
        try:
            seen = verify_proof(
                headers.get("DPoP", ""),
                method=method,
                url=self.url + path,
                now=datetime.now(UTC),
                access_token=token,
                jkt=self.jkt,
                nonce=self.resource_nonce,
            )
        except Refused as refused:
            return 401, {**answer, "WWW-Authenticate": f'DPoP error="{refused.code}"'}
        self.proofs.append(seen.jti)
        if scheme != "DPoP" or token in self.reject:
            return 401, {**answer, "WWW-Authenticate": 'DPoP error="invalid_token"'}
        self.calls.append((token, method, body))
        return 200, answer


class _Handler(BaseHTTPRequestHandler):
    issuer: Issuer

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/token":
            status, answer, headers = self.issuer.exchange(self.headers.get("DPoP", ""), body)
        else:
            path = self.path.partition("?")[0]
            status, headers = self.issuer.call(self.command, path, self.headers, body)
            answer = self.issuer.answers.get(path, {"ok": True}) if status == 200 else {}
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _serve  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def serving(issuer: Issuer) -> Iterator[Issuer]:
    """The issuer on a free port of loopback for the length of the block."""
    handler = type("Handler", (_Handler,), {"issuer": issuer})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def credentials(issuer: Issuer, key: SigningKey, **more: Any) -> Credentials:
    """Credentials as the launcher would hand them over."""
    given: dict[str, Any] = {
        "agent": "spiffe://example.org/agent/bookkeeper",
        "instance": "spiffe://example.org/agent/bookkeeper/i/1",
        "svid": "svid.svid.svid",
        "svid_expires_at": datetime.now(UTC) + timedelta(minutes=10),
        "key": key,
        "issuer": issuer.url,
        "server": issuer.url,
        "mandate": "mdt_1",
        "subject_token": "subject",
        **more,
    }
    return Credentials(**given)
