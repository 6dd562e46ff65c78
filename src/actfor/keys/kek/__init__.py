"""What wraps the root key: a file, an HSM (PKCS#11), or a key service over HTTP.

The key-encryption key never encrypts data. It wraps one 32-byte root key, which is unwrapped when
the server starts and when it changes, so a slow or remote provider is never on a request's path.

    file                               <data>/keys/kek.key, made on first start
    file:/etc/actfor/kek.key           another file
    pkcs11:token=actfor;object=kek?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/p
    transit:https://vault.example:8200/transit/keys/actfor?token-source=file:/run/vault-token
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs

from actfor.errors import Kind, Refused


class Kek(Protocol):
    """A provider. ``id`` names the key that wraps now, and is kept beside what it wrapped."""

    @property
    def id(self) -> str:
        """Stable for as long as the same key wraps."""
        ...

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt 32 bytes, bound to ``context``.

        Raises:
            Refused: BUSY when the provider cannot be reached, DENIED when it will not.
        """
        ...

    def unwrap(self, wrapped: bytes, context: bytes, kek_id: str) -> bytes:
        """Undo ``wrap`` of the key that was called ``kek_id`` then.

        Raises:
            Refused: CONFLICT if it is another key or was changed; BUSY, DENIED as above.
        """
        ...


def open_kek(setting: str, folder: Path) -> Kek:
    """The provider that the setting names; ``folder`` is where the default file is.

    Raises:
        Refused: MALFORMED, naming what is wrong with the setting or the file.
    """
    scheme, _, rest = setting.partition(":")
    if scheme == "file":
        from actfor.keys.kek.file import FileKek

        return FileKek.open(Path(rest) if rest else folder / "kek.key")
    if scheme == "pkcs11":
        from actfor.keys.kek.pkcs11 import Pkcs11Kek

        return Pkcs11Kek.open(rest)
    if scheme == "transit":
        from actfor.keys.kek.transit import TransitKek

        return TransitKek.open(rest)
    raise Refused(
        Kind.MALFORMED, f"setting `kek`: `{setting[:60]}` is not file, pkcs11:… or transit:…"
    )


def secret_from(query: str, name: str) -> str:
    """The secret in the file that ``name=file:/path`` of a provider's query points to.

    A secret itself never stands in a setting: settings end up in process lists and logs.

    Raises:
        Refused: MALFORMED.
    """
    source = parse_qs(query).get(name, [""])[0]
    if not source.startswith("file:"):
        raise Refused(Kind.MALFORMED, f"setting `kek`: `{name}` must be file:/path")
    try:
        return Path(source.removeprefix("file:")).read_text().strip()
    except OSError as error:
        raise Refused(Kind.MALFORMED, f"setting `kek`: `{name}`: {error.strerror}") from None
