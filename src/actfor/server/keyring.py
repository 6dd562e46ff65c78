"""How the server's keys come to be: which provider wraps, what older releases left, what is logged.

Private keys are rows, encrypted (room `keys`); only the key that wraps them is outside, in
``<data>/keys/kek.key`` unless the setting ``kek`` names an HSM or a key service. Key files that an
older release made there are taken over at the first start, and removed once that is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from actfor.audit import AuditLog, Event, EventType
from actfor.errors import Kind, Refused
from actfor.keys import (
    Change,
    Erasable,
    KeyService,
    Purpose,
    Rewrapped,
    Schedule,
    Vault,
    open_kek,
)
from actfor.keys.private_file import require_private
from actfor.server.settings import Settings
from actfor.store import Database, Tx
from actfor.wire.canonical import JsonValue
from actfor.wire.log_entry import Revocable

_FILES: Final = {
    Purpose.ACCESS_TOKEN: "tokens.pem",
    Purpose.SVID: "svids.pem",
    Purpose.LOG: "log.key",
    Purpose.SEAL: "seal.key",
}


def open_vault(settings: Settings) -> Vault:
    """The vault under the KEK that the settings name.

    Raises:
        Refused: MALFORMED, naming the setting or the file.
    """
    folder = settings.data / "keys"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    before = open_kek(settings.kek_before, folder) if settings.kek_before else None
    kek = open_kek(settings.kek, folder)
    return Vault(kek, before=before, outside=Erasable(erasure_key(settings)))


def erasure_key(settings: Settings) -> Path:
    """Where the file outside is: beside the KEK's, or in the data folder where that is no file."""
    scheme, _, path = settings.kek.partition(":")
    folder = Path(path).parent if scheme == "file" and path else settings.data / "keys"
    return folder / "erasure.key"


async def open_keys(
    settings: Settings,
    database: Database,
    vault: Vault,
    clock: Callable[[], datetime],
    *,
    log_name: str,
) -> KeyService:
    """Load the keys, making those that are missing.

    Raises:
        Refused: CONFLICT if the KEK is not the one that wrapped them.
    """
    folder = settings.data / "keys"
    every = timedelta(days=settings.key_days)
    schedules = {purpose: Schedule(rotate_every=every) for purpose in Purpose}
    keys = KeyService(database, vault, clock, schedules=schedules, log_name=log_name)
    await keys.open(adopt=_of_older_release(folder))
    for name in _FILES.values():
        (folder / name).unlink(missing_ok=True)
    return keys


def recorder(audit: AuditLog) -> Callable[[Tx, Change | Rewrapped], None]:
    """Tells the log of every step in a key's life, in the step's own transaction."""

    def record(tx: Tx, change: Change | Rewrapped) -> None:
        audit.append(tx, _event(change))

    return record


def _event(change: Change | Rewrapped) -> Event:
    if isinstance(change, Rewrapped):
        facts: dict[str, JsonValue] = {
            "action": "keys-rewrapped",
            "kek": change.kek,
            "data_keys": change.data_keys,
        }
        return Event(EventType.KEY, "keys", facts, {"person": change.by})
    key = change.key
    facts = {
        "action": "key-revoked" if change.revoked else f"key-{key.state}",
        "kid": key.kid,
        "purpose": key.purpose.value,
        "state": key.state.value,
    }
    private: dict[str, JsonValue] = {}
    if change.by is not None:
        private["person"] = change.by
    if key.cause is not None:
        private["cause"] = key.cause
    if not change.revoked:
        return Event(EventType.KEY, key.kid, facts, private)
    # A key has no epochs: it lives (0), or from this leaf on it does not.
    return Event.revoked(Revocable.KEY, key.kid, 1, trace=key.kid, facts=facts, private=private)


def _of_older_release(folder: Path) -> Mapping[Purpose, bytes]:
    found = {}
    for purpose, name in _FILES.items():
        path = folder / name
        if path.exists():
            require_private(path)
            found[purpose] = path.read_bytes()
    if Purpose.SEAL in found:
        text = found[Purpose.SEAL].decode(errors="replace").strip()
        if len(text) != 64 or len(set(text)) < 8:
            raise Refused(Kind.MALFORMED, "`seal.key` does not hold 256 random bits")
        found[Purpose.SEAL] = bytes.fromhex(text)
    return found
