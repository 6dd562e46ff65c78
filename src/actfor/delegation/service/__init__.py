"""The authorization server's use cases."""

from __future__ import annotations

from actfor.delegation.service.endorsements import Endorsements
from actfor.delegation.service.logins import Logins
from actfor.delegation.service.passing import Passing
from actfor.delegation.service.templates import Templates
from actfor.delegation.service.wishes import Wishes

__all__ = ["DelegationService"]


class DelegationService(Endorsements, Templates, Wishes, Passing, Logins):
    """Mandates, exchange, access and logins over one database; see each for its use cases."""
