"""The authorization server's use cases."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from actfor.audit import AuditLog
from actfor.delegation.service.access import Access
from actfor.delegation.service.exchange import Exchange
from actfor.delegation.service.logins import Logins
from actfor.delegation.service.mandates import Mandates
from actfor.identity import AgentService, PeopleService
from actfor.store import Database
from actfor.wire.jose import SigningKey

__all__ = ["DelegationService"]


class DelegationService(Mandates, Exchange, Access, Logins):
    """Mandates, exchange, access and logins over one database; see each for its use cases."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        people: PeopleService,
        agents: AgentService,
        *,
        keys: Sequence[SigningKey],
        issuer: str,
        trust_domain: str,
        clock: Callable[[], datetime],
        audiences: Callable[[], Mapping[str, str]],
        policy_version: Callable[[], str],
    ) -> None:
        super().__init__(
            database,
            audit,
            people,
            agents,
            keys=keys,
            issuer=issuer,
            trust_domain=trust_domain,
            clock=clock,
            audiences=audiences,
            policy_version=policy_version,
        )
        self._known = OrderedDict()
