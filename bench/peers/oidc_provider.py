"""panva's oidc-provider (npm) as the peer of the token exchange: installed by hash, started, asked.

It has no RFC 8693 grant of its own, so what is measured is client_credentials for an ES256 JWT
access token: once with a client secret (one signature made: the cheapest way it has to issue),
once with a signed client assertion and DPoP (two signatures checked, one made: the nearest it
comes to our exchange, which checks three and writes a durable record).
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from actfor.wire import dpop, jose
from actfor.wire.canonical import JsonValue
from actfor.wire.jose import SigningKey
from bench.harness import WORK, NotRun, Process, ask, cores, free_port, note, raw_request, scratch

HERE = Path(__file__).resolve().parent / "oidc"
TARGET = WORK / "oidc-provider"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class OidcProvider:
    """One running oidc-provider; `plain` and `bound` make requests for it."""

    def __init__(self) -> None:
        node = install()
        self._port = free_port()
        self.issuer = f"http://localhost:{self._port}"
        self.url = f"{self.issuer}/token"
        self._key = SigningKey.generate()
        self.process = Process(
            [node, "server.mjs", str(self._port), json.dumps(self._key.public.published)],
            core=cores()[0],
            cwd=TARGET,
        )

    def start(self) -> None:
        """Wait for it and look at one answer of each kind."""
        self.process.wait_for(f"{self.issuer}/.well-known/openid-configuration")
        for request in (next(self.plain()), next(self.bound())):
            head, _, body = request.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")[1:]
            answer = json.loads(ask(self.url, body, dict(line.split(": ", 1) for line in lines)))
            header = jose.header_of(answer["access_token"].split(".")[0])
            if header["alg"] != "ES256":
                raise NotRun("oidc-provider did not issue an ES256 access token")

    def plain(self) -> Iterator[bytes]:
        """Requests with a client secret."""
        form = {"grant_type": "client_credentials", "scope": "tools", "client_id": "plain"}
        body = urlencode({**form, "client_secret": "bench-only-secret"}).encode()
        while True:
            yield raw_request(self.url, body, FORM)

    def bound(self) -> Iterator[bytes]:
        """Requests with a fresh client assertion and a fresh DPoP proof each."""
        form = {"grant_type": "client_credentials", "scope": "tools", "client_id": "agent"}
        while True:
            now = datetime.now(UTC)
            body = {
                **form,
                "client_assertion_type": ASSERTION,
                "client_assertion": self._assertion(int(now.timestamp())),
            }
            proof = dpop.build_proof(
                key=self._key, method="POST", url=self.url, now=now, jti=secrets.token_urlsafe(16)
            )
            yield raw_request(self.url, urlencode(body).encode(), {**FORM, "DPoP": proof})

    def _assertion(self, now: int) -> str:
        claims: dict[str, JsonValue] = {
            "iss": "agent",
            "sub": "agent",
            "aud": self.issuer,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_urlsafe(16),
        }
        return jose.sign(claims, typ="JWT", key=self._key)


def install() -> str:
    """Install the locked packages once; the path of ``node``.

    Raises:
        NotRun: there is no node or npm, or the packages cannot be had.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotRun("node and npm are not installed")
    lock = (HERE / "package-lock.json").read_bytes()
    stamp = TARGET / ".lock"
    if not stamp.is_file() or stamp.read_bytes() != lock:
        note(f"installing {TARGET.name} (once) …")
        scratch()
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(HERE, TARGET)
        done = subprocess.run(
            [npm, "ci", "--omit=dev", "--ignore-scripts", "--silent"],
            cwd=TARGET,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if done.returncode:
            raise NotRun(f"npm ci failed: {done.stderr.strip()[-300:]}")
        stamp.write_bytes(lock)
    shutil.copy(HERE / "server.mjs", TARGET)
    return node
