"""Identity's tables and every statement that touches them; for `identity.service` only."""

from actfor.identity.repository import agents, people

__all__ = ["agents", "people"]
