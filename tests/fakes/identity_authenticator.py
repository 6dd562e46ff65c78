"""A passkey in software, for tests that have no browser. Real keys, real signatures.

``create`` and ``get`` take the options as the server sends them (JSON text or dict) and return what
``PublicKeyCredential.toJSON()`` would. Flags, counter and origin can be set to play the attacker.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

_UP, _UV, _BE, _BS, _AT = 0x01, 0x04, 0x08, 0x10, 0x40


@dataclass
class _Credential:
    id: bytes
    key: ec.EllipticCurvePrivateKey
    user: bytes


@dataclass
class SoftAuthenticator:
    """Holds any number of discoverable ES256 credentials. Counts only if ``counter`` is set."""

    origin: str
    rp_id: str
    counter: int | None = None
    user_verified: bool = True
    backup_eligible: bool = False
    backed_up: bool = False
    credentials: list[_Credential] = field(default_factory=list)

    def create(self, options: str | dict[str, Any]) -> dict[str, Any]:
        """Answer ``PublicKeyCredentialCreationOptionsJSON`` with attestation "none"."""
        asked = _parsed(options)
        assert asked["rp"]["id"] == self.rp_id
        assert any(alg["alg"] == -7 for alg in asked["pubKeyCredParams"])
        known = {_decode(entry["id"]) for entry in asked.get("excludeCredentials", [])}
        assert not known & {credential.id for credential in self.credentials}, "InvalidStateError"
        made = _Credential(
            os.urandom(32), ec.generate_private_key(ec.SECP256R1()), _decode(asked["user"]["id"])
        )
        self.credentials.append(made)
        attested = bytes(16) + struct.pack(">H", len(made.id)) + made.id + _cose(made.key)
        attestation = {
            "fmt": "none",
            "attStmt": {},
            "authData": self._authenticator_data(_AT) + attested,
        }
        return self._credential(
            made,
            {
                "clientDataJSON": _encode(self._client_data("webauthn.create", asked["challenge"])),
                "attestationObject": _encode(cbor2.dumps(attestation)),
                "transports": ["internal"],
            },
        )

    def get(self, options: str | dict[str, Any]) -> dict[str, Any]:
        """Answer ``PublicKeyCredentialRequestOptionsJSON`` with an assertion."""
        asked = _parsed(options)
        assert asked["rpId"] == self.rp_id
        allowed = {_decode(entry["id"]) for entry in asked.get("allowCredentials", [])}
        chosen = next(c for c in self.credentials if not allowed or c.id in allowed)
        if self.counter is not None:
            self.counter += 1
        client_data = self._client_data("webauthn.get", asked["challenge"])
        data = self._authenticator_data(0)
        signed = data + hashlib.sha256(client_data).digest()
        return self._credential(
            chosen,
            {
                "clientDataJSON": _encode(client_data),
                "authenticatorData": _encode(data),
                "signature": _encode(chosen.key.sign(signed, ec.ECDSA(hashes.SHA256()))),
                "userHandle": _encode(chosen.user),
            },
        )

    def _credential(self, made: _Credential, response: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": _encode(made.id),
            "rawId": _encode(made.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        }

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return json.dumps(
            {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        ).encode()

    def _authenticator_data(self, more: int) -> bytes:
        flags = _UP | more | (_UV if self.user_verified else 0)
        flags |= (_BE if self.backup_eligible else 0) | (_BS if self.backed_up else 0)
        rp_hash = hashlib.sha256(self.rp_id.encode()).digest()
        return rp_hash + bytes([flags]) + struct.pack(">I", self.counter or 0)


def _cose(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return cbor2.dumps(
        {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
    )


def _parsed(options: str | dict[str, Any]) -> dict[str, Any]:
    return json.loads(options) if isinstance(options, str) else dict(options)


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
