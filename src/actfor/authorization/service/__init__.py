"""Decide by the policies in force, change them, and rehearse a change before it is made."""

from __future__ import annotations

from actfor.authorization.service.authorization import (
    SYSTEM,
    Answer,
    AuthorizationService,
    Gather,
)
from actfor.authorization.service.changes import PolicyChanges
from actfor.authorization.service.rehearsal import Rehearsal
from actfor.authorization.service.trials import Trials

__all__ = [
    "SYSTEM",
    "Answer",
    "AuthorizationService",
    "Gather",
    "PolicyChanges",
    "Rehearsal",
    "Trials",
]
