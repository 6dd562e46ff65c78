"""A person for the benchmark: makes a passkey in software, confirms the command line's code.

A benchmark has to run where there is no browser. The ceremonies are the real ones over HTTP; only
the authenticator is this file (WebAuthn level 3: ES256, user verified, attestation "none").
"""

from __future__ import annotations

import json
import re
import secrets
import struct
from hashlib import sha256
from html import unescape
from typing import Any

import cbor2
import httpx2

from actfor.wire.base64_text import base64url, unbase64url
from actfor.wire.jose import SigningKey
from bench.harness import NotRun

_PRESENT_VERIFIED_ATTESTED = 0x01 | 0x04 | 0x40


class Operator:
    """The first operator of one server, in a cookie jar."""

    def __init__(self, url: str) -> None:
        self._origin = url
        self._http = httpx2.Client(base_url=url, headers={"origin": url}, timeout=30)

    def set_up(self, link: str) -> None:
        """Spend the one-time setup link on a new passkey; afterwards this jar is signed in."""
        token = link.rpartition("t=")[2]
        begun = self._post(
            "/webauthn/register/options", json={"token": token, "name": "Bench Operator"}
        ).json()
        credential = create_passkey(begun["options"], self._origin)
        finish = {"ceremony": begun["ceremony"], "credential": credential}
        self._post("/webauthn/register/finish", json=finish)

    def confirm(self, link: str) -> None:
        """Confirm the code of `actfor login`, as its page asks."""
        page = self._http.get(link.removeprefix(self._origin)).text
        fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
        if "user_code" not in dict(fields):
            raise NotRun(f"the device page has no code: {page[-300:]}")
        self._post("/device", data={name: unescape(value) for name, value in fields})

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _post(self, path: str, **body: Any) -> httpx2.Response:
        answer = self._http.post(path, **body)
        if answer.status_code >= 400:
            raise NotRun(f"{path}: HTTP {answer.status_code}: {answer.text[:300]}")
        return answer


def create_passkey(options: dict[str, Any], origin: str) -> dict[str, Any]:
    """What ``navigator.credentials.create()`` would answer, as JSON."""
    key, credential_id = SigningKey.generate(), secrets.token_bytes(16)
    public = key.public
    # COSE_Key (RFC 9053 §7.1.1): EC2, ES256, P-256, x, y.
    cose = {1: 2, 3: -7, -1: 1, -2: unbase64url(public.x), -3: unbase64url(public.y)}
    authenticator_data = (
        sha256(options["rp"]["id"].encode()).digest()
        + struct.pack(">BI", _PRESENT_VERIFIED_ATTESTED, 1)
        + bytes(16)
        + struct.pack(">H", len(credential_id))
        + credential_id
        + cbor2.dumps(cose)
    )
    client_data = {
        "type": "webauthn.create",
        "challenge": options["challenge"],
        "origin": origin,
        "crossOrigin": False,
    }
    attestation = {"fmt": "none", "attStmt": {}, "authData": authenticator_data}
    return {
        "id": base64url(credential_id),
        "rawId": base64url(credential_id),
        "type": "public-key",
        "authenticatorAttachment": "platform",
        "clientExtensionResults": {},
        "response": {
            "clientDataJSON": base64url(json.dumps(client_data).encode()),
            "attestationObject": base64url(cbor2.dumps(attestation)),
            "transports": ["internal"],
        },
    }
