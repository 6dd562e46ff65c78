"""AuthZEN for foreign enforcement points, and ``/v1/policies`` for operators."""

from __future__ import annotations

from actfor.authorization.http.authzen import MAX_BODY, Authenticate, Signing, authzen_routes
from actfor.authorization.http.changes import changes_router
from actfor.authorization.http.openapi import authzen_paths
from actfor.authorization.http.policies import PersonId, policies_router
from actfor.authorization.http.rehearsal import rehearsal_router
from actfor.authorization.http.trials import trials_router

__all__ = [
    "MAX_BODY",
    "Authenticate",
    "PersonId",
    "Signing",
    "authzen_paths",
    "authzen_routes",
    "changes_router",
    "policies_router",
    "rehearsal_router",
    "trials_router",
]
