"""Who: people and agents, what is known of them, and the credentials they earn.

People sign in with passkeys. Agents are registered with reference values of their code and are
measured by this server before they get a credential, each time they renew it, and in between.
"""

from actfor.identity.attestors import Attestor
from actfor.identity.attestors.local_process import LocalProcessAttestor
from actfor.identity.attestors.socket import AttestationSocket
from actfor.identity.model import (
    ATTESTED_LOCAL,
    Agent,
    AgentDraft,
    AgentState,
    Assertion,
    AttestedAgent,
    Ceremony,
    Evidence,
    LinkKind,
    ModelRef,
    Person,
    PersonState,
    Reference,
    ReferenceDraft,
    Role,
    Session,
    SetupLink,
    SignedIn,
    Svid,
    Tier,
    Wanted,
)
from actfor.identity.service import AgentService, PeopleService

__all__ = [
    "ATTESTED_LOCAL",
    "Agent",
    "AgentDraft",
    "AgentService",
    "AgentState",
    "Assertion",
    "AttestationSocket",
    "AttestedAgent",
    "Attestor",
    "Ceremony",
    "Evidence",
    "LinkKind",
    "LocalProcessAttestor",
    "ModelRef",
    "PeopleService",
    "Person",
    "PersonState",
    "Reference",
    "ReferenceDraft",
    "Role",
    "Session",
    "SetupLink",
    "SignedIn",
    "Svid",
    "Tier",
    "Wanted",
]
