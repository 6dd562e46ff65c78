"""The server's key files: made on first start, mode 0600, refused when anyone else may read them.

One key per purpose (threats-and-faults §6): access tokens (ES256), SVIDs (ES256), the log
(Ed25519), request states (256-bit secret). Private keys never leave this folder.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from actfor.audit import NoteSigner
from actfor.errors import Kind, Refused
from actfor.wire.jose import SigningKey


@dataclass(frozen=True, slots=True)
class Keyring:
    """One key per purpose."""

    tokens: SigningKey
    svids: SigningKey
    log: NoteSigner
    seal: bytes


def open_keyring(folder: Path, *, log_name: str, seal: str | None = None) -> Keyring:
    """Load the keys in ``folder``, making those that are missing.

    Raises:
        Refused: a key file is readable by others, or is not a key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return Keyring(
        tokens=SigningKey.from_pem(_file(folder / "tokens.pem", _es256)),
        svids=SigningKey.from_pem(_file(folder / "svids.pem", _es256)),
        log=NoteSigner.from_text(_file(folder / "log.key", lambda: _log(log_name)).decode()),
        seal=seal.encode() if seal else _secret(folder / "seal.key"),
    )


def _es256() -> bytes:
    return SigningKey.generate().to_pem()


def _log(name: str) -> bytes:
    return NoteSigner.generate(name).to_text().encode()


def _secret(path: Path) -> bytes:
    text = _file(path, lambda: secrets.token_hex(32).encode()).decode().strip()
    if len(text) != 64 or len(set(text)) < 8:
        raise Refused(Kind.MALFORMED, f"key file `{path}` does not hold 256 random bits")
    return bytes.fromhex(text)


def _file(path: Path, make: Callable[[], bytes]) -> bytes:
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Refused(Kind.MALFORMED, f"key file `{path}` is readable by others; chmod 600 it")
    return path.read_bytes()
