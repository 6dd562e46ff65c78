"""The use cases about keys."""

from actfor.keys.service.lifecycle import Held, KeyService
from actfor.keys.service.texts import MARK, DataKey, Erased, Texts
from actfor.keys.service.vault import INSTALLATION, Vault

__all__ = ["INSTALLATION", "MARK", "DataKey", "Erased", "Held", "KeyService", "Texts", "Vault"]
