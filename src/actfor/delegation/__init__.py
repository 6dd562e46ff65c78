"""On whose behalf: mandates committed, tokens exchanged, delegations checked and spent.

The authorization server of RFC 6749 and RFC 8693, for agents that act for people and for the
command line. There is no token without a person, an agent and a mandate that names both.
"""

from actfor.delegation.model import (
    Delegation,
    DeviceStart,
    Endorsement,
    IssuedGrant,
    Mandate,
    MandateDraft,
    MandateState,
    Proved,
)
from actfor.delegation.service import DelegationService
from actfor.delegation.usage import Standing, Use

__all__ = [
    "Delegation",
    "DelegationService",
    "DeviceStart",
    "Endorsement",
    "IssuedGrant",
    "Mandate",
    "MandateDraft",
    "MandateState",
    "Proved",
    "Standing",
    "Use",
]
