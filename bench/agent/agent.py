"""The benchmark's agent: signs requests ahead of time, so that the clock sees the server only.

It runs under `actfor run`, is attested like any agent, and holds its own key. One JSON command a
line on standard input, one JSON answer a line:

    {"make": "exchange", "audience": "echo", "count": 1000, "path": "…"}
    {"make": "call", "audience": "echo", "count": 1000, "path": "…", "text": "…"}

Each request carries a fresh DPoP proof and can be sent once. The file is length-prefixed requests.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2

from actfor.sdk.sidecar import ADDRESS_VARIABLE, Credentials, fetch_sync
from actfor.wire.dpop import build_proof

VERSION = "2026-07-28"
TOKEN_TYPE = "urn:ietf:params:oauth:token-type"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Agent:
    """Credentials from the launcher, and the access token it got last."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[str, float]] = {}

    @property
    def me(self) -> Credentials:
        """What the launcher holds now."""
        return fetch_sync(os.environ[ADDRESS_VARIABLE])

    def exchanges(self, command: Mapping[str, Any]) -> Iterator[bytes]:
        """RFC 8693 requests for one audience."""
        me = self.me
        url, body = f"{me.issuer}/token", self._form(me, command["audience"])
        while True:
            yield raw(url, body, {**FORM, "DPoP": proof(me, url)})

    def calls(self, command: Mapping[str, Any]) -> Iterator[bytes]:
        """Calls of the tool `echo` in one text."""
        me, server = self.me, command["audience"]
        url, token = f"{me.issuer}/mcp/{server}", self._token(me, server)
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Authorization": f"DPoP {token}",
            "MCP-Protocol-Version": VERSION,
            "Mcp-Method": "tools/call",
            "Mcp-Name": "echo",
        }
        params = {"name": "echo", "arguments": {"text": command["text"]}, "_meta": META}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        body = json.dumps(call).encode()
        while True:
            yield raw(url, body, {**headers, "DPoP": proof(me, url, token)})

    def _token(self, me: Credentials, server: str) -> str:
        token, until = self._tokens.get(server, ("", 0.0))
        if time.monotonic() < until:
            return token
        url = f"{me.issuer}/token"
        answer = httpx2.post(
            url, content=self._form(me, server), headers={**FORM, "DPoP": proof(me, url)}
        )
        if answer.status_code != 200:
            raise RuntimeError(f"the exchange was refused: {answer.text[:300]}")
        got = answer.json()
        token = str(got["access_token"])
        self._tokens[server] = (token, time.monotonic() + got["expires_in"] * 0.5)
        return token

    def _form(self, me: Credentials, server: str) -> bytes:
        return urlencode(
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token": me.subject_token or "",
                "subject_token_type": f"{TOKEN_TYPE}:access_token",
                "actor_token": me.svid,
                "actor_token_type": f"{TOKEN_TYPE}:jwt",
                "resource": f"{me.issuer}/mcp/{server}",
            }
        ).encode()


def proof(me: Credentials, url: str, token: str | None = None) -> str:
    """A fresh DPoP proof."""
    return build_proof(
        key=me.key,
        method="POST",
        url=url,
        now=datetime.now(UTC),
        jti=secrets.token_urlsafe(16),
        access_token=token,
    )


def raw(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A whole HTTP/1.1 request, behind its length."""
    host, _, path = url.removeprefix("http://").partition("/")
    lines = [f"POST /{path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
    return len(request).to_bytes(4, "big") + request


def main() -> None:
    """Answer commands until standard input ends."""
    agent = Agent()
    makers: dict[str, Callable[[Mapping[str, Any]], Iterator[bytes]]]
    makers = {"exchange": agent.exchanges, "call": agent.calls}
    say({"ready": agent.me.agent})
    for line in sys.stdin:
        command = json.loads(line)
        try:
            with Path(command["path"]).open("wb") as file:
                file.writelines(islice(makers[command["make"]](command), command["count"]))
            say({"ok": True})
        except Exception as error:  # noqa: BLE001 - told to the benchmark, which decides
            say({"ok": False, "error": f"{type(error).__name__}: {error}"})


def say(answer: dict[str, Any]) -> None:
    """One line of JSON on standard output."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
