"""A key service that speaks Vault's transit API: OpenBao, HashiCorp Vault.

    transit:https://vault.example:8200/v1/transit/keys/actfor?token-source=file:/run/vault-token

Only ``encrypt`` and ``decrypt`` of that one key are called, with the context as associated data
(the key must be of type ``aes256-gcm96``). The token is read again for each call, because an agent
such as ``vault agent`` renews it in the file. The service is asked when the server starts and when
the root key changes, never for a request.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

from actfor.errors import Kind, Refused
from actfor.keys.kek import secret_from

_SECONDS: Final = 5.0


class TransitKek:
    """One key of one service."""

    def __init__(self, url: str, mount: str, name: str, query: str) -> None:
        self._url, self._mount, self._name, self._query = url, mount, name, query

    @classmethod
    def open(cls, url: str) -> Self:
        """Parse the setting; the service is not called yet.

        Raises:
            Refused: MALFORMED.
        """
        parts = urlsplit(url)
        mount, found, name = parts.path.rpartition("/keys/")
        loopback = parts.hostname in {"127.0.0.1", "::1", "localhost"}
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise Refused(Kind.MALFORMED, "setting `kek`: transit needs https")
        if not found or not name or "/" in name or not mount.startswith("/v1/"):
            raise Refused(
                Kind.MALFORMED, "setting `kek`: transit needs a path as /v1/transit/keys/NAME"
            )
        secret_from(parts.query, "token-source")
        return cls(f"{parts.scheme}://{parts.netloc}", mount, name, parts.query)

    @property
    def id(self) -> str:
        """Service, mount and name; the service keeps its own key versions."""
        return f"transit-{urlsplit(self._url).netloc}{self._mount}/{self._name}"

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """See ``Kek``."""
        body = {"plaintext": _text(key), "associated_data": _text(context)}
        return str(self._call("encrypt", body, "ciphertext")).encode()

    def unwrap(self, wrapped: bytes, context: bytes, kek_id: str) -> bytes:
        """See ``Kek``."""
        if kek_id != self.id:
            raise Refused(Kind.CONFLICT, f"the keys were wrapped by `{kek_id}`, not `{self.id}`")
        body = {"ciphertext": wrapped.decode(), "associated_data": _text(context)}
        return b64decode(str(self._call("decrypt", body, "plaintext")), validate=True)

    def _call(self, action: str, body: dict[str, str], wanted: str) -> Any:
        url = f"{self._url}{self._mount}/{action}/{self._name}"
        headers = {"x-vault-token": secret_from(self._query, "token-source")}
        try:
            answer = httpx2.post(url, json=body, headers=headers, timeout=_SECONDS)
        except httpx2.HTTPError as error:
            raise Refused(
                Kind.BUSY, f"the key service cannot be reached: {type(error).__name__}"
            ) from error
        if answer.status_code == httpx2.codes.BAD_REQUEST and action == "decrypt":
            raise Refused(Kind.CONFLICT, "the key service does not unwrap the root key")
        if answer.status_code != httpx2.codes.OK:
            kind = (
                Kind.DENIED
                if answer.status_code < httpx2.codes.INTERNAL_SERVER_ERROR
                else Kind.BUSY
            )
            raise Refused(kind, f"the key service answered {answer.status_code} to {action}")
        try:
            return answer.json()["data"][wanted]
        except (ValueError, KeyError, TypeError) as cause:
            raise Refused(Kind.BUSY, f"the key service's answer has no `{wanted}`") from cause


def _text(data: bytes) -> str:
    return b64encode(data).decode()
