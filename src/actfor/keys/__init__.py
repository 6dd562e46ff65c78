"""Keys: their purposes and lives, and the encryption of secrets and personal data at rest."""

from actfor.keys.envelope import Cipher, Place
from actfor.keys.erasable import Erasable
from actfor.keys.kek import Kek, open_kek
from actfor.keys.model import Change, Key, KeyState, Purpose, Rewrapped, Schedule
from actfor.keys.service import (
    INSTALLATION,
    MARK,
    DataKey,
    Erased,
    Held,
    KeyService,
    Texts,
    Vault,
)

__all__ = [
    "INSTALLATION",
    "MARK",
    "Change",
    "Cipher",
    "DataKey",
    "Erasable",
    "Erased",
    "Held",
    "Kek",
    "Key",
    "KeyService",
    "KeyState",
    "Place",
    "Purpose",
    "Rewrapped",
    "Schedule",
    "Texts",
    "Vault",
    "open_kek",
]
