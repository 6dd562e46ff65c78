"""The pages of operators and approvers: thin views over the services, rendered on the server.

Readable on a phone, usable without scripts but for the passkey step, under a policy that allows
nothing inline. Every string that an agent, a tool or a document could have chosen is made visible
(`render`) before it is escaped.
"""

from __future__ import annotations

from starlette.routing import Route

from actfor.approval.http import browser_routes
from actfor.console import static
from actfor.console.desk import Desk, Policies, Services
from actfor.console.guard import Guard
from actfor.console.views import (
    account,
    agents,
    approvals,
    decisions,
    drafts,
    home,
    log,
    mandates,
    people,
    policies,
)
from actfor.identity.http import SessionCookie

__all__ = ["Policies", "Services", "routes"]


def routes(services: Services) -> list[Route]:
    """All pages, the static files, and the approval page's own JSON.

    The passkey steps of signing in are `identity.http.webauthn_routes`.
    """
    guard = Guard(services.people, SessionCookie.for_url(services.issuer))
    desk = Desk(services, guard)
    views = (
        home, approvals, agents, drafts, mandates, decisions, policies, log, people, account,
    )  # fmt: skip
    return [
        static.ROUTE,
        *browser_routes(services.approvals, guard.acting_json),
        *(route for view in views for route in view.routes(desk)),
    ]
