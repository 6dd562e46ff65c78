"""Use cases of identity."""

from actfor.identity.service.agents import AgentService
from actfor.identity.service.people import PeopleService

__all__ = ["AgentService", "PeopleService"]
