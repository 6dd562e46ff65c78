"""The use cases about keys."""

from actfor.keys.service.lifecycle import Held, KeyService
from actfor.keys.service.vault import INSTALLATION, DataKey, Erased, Vault

__all__ = ["INSTALLATION", "DataKey", "Erased", "Held", "KeyService", "Vault"]
