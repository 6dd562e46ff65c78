"""Decide by the policies in force, change them, and rehearse a change before it is made."""

from __future__ import annotations

from actfor.authorization.service.authorization import SYSTEM, AuthorizationService
from actfor.authorization.service.changes import PolicyChanges
from actfor.authorization.service.foreign import (
    Answer,
    Approved,
    Gather,
    Look,
    Looked,
    Named,
    Unapproved,
)
from actfor.authorization.service.pages import Pages
from actfor.authorization.service.pdp import Options, Pdp, Population
from actfor.authorization.service.rehearsal import Rehearsal
from actfor.authorization.service.trials import Trials

__all__ = [
    "SYSTEM",
    "Answer",
    "Approved",
    "AuthorizationService",
    "Gather",
    "Look",
    "Looked",
    "Named",
    "Options",
    "Pages",
    "Pdp",
    "PolicyChanges",
    "Population",
    "Rehearsal",
    "Trials",
    "Unapproved",
]
