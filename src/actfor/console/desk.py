"""What every page does before and after its own work: session, CSRF, frame, refusals.

A view gets a signed-in visitor (and, for what changes something, a form that was checked) and
returns a response. Whatever is refused becomes a page that says so in plain words.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from actfor.approval import ApprovalService
from actfor.audit import AuditLog, LoggedEvent
from actfor.authorization import AuthorizationService, PolicyChanges, Rehearsal, Trials
from actfor.console.forms import Form
from actfor.console.guard import Guard, Visitor
from actfor.console.html import HEADERS, page
from actfor.delegation import DelegationService
from actfor.errors import Kind, Refused
from actfor.gateway import Catalog, Proposals
from actfor.identity import AgentService, PeopleService, Person, Role

Endpoint = Callable[[Request], Awaitable[Response]]
View = Callable[[Request, Visitor], Awaitable[Response]]
Action = Callable[[Request, Visitor, Form], Awaitable[Response]]

_PAGES = {
    Kind.MALFORMED: (400, "That could not be read"),
    Kind.UNAUTHENTICATED: (401, "Please sign in"),
    Kind.DENIED: (403, "Not allowed"),
    Kind.STEP_UP_REQUIRED: (403, "A person must decide first"),
    Kind.REPLAYED: (409, "Already done"),
    Kind.EXPIRED: (410, "Too late"),
    Kind.NOT_FOUND: (404, "Nothing here"),
    Kind.CONFLICT: (409, "It changed meanwhile"),
    Kind.BUSY: (503, "Not now"),
}
_NOTICES = {
    "denied": "Denied. The call will not be made.",
    "approved": "Approved, once.",
    "quarantined": "The agent is in quarantine: from now on nothing it asks is permitted.",
    "revoked": "The mandate is revoked: no call under it is permitted any more.",
    "committed": "The mandate is given.",
    "withdrawn": "Taken back: from now on this value is asked about again.",
    "published": "In force: every call from now on is decided by it.",
    "proposed": "Proposed. Another administrator must agree.",
    "closed": "The proposal is closed; nothing has changed.",
    "stopped": "The trial is over.",
}


@dataclass(frozen=True, slots=True)
class Policies:
    """What is decided by, how it is changed, and what a change would do."""

    authorization: AuthorizationService
    changes: PolicyChanges
    rehearsal: Rehearsal
    trials: Trials


@dataclass(frozen=True, slots=True)
class Services:
    """All that the console shows. ``clock`` is the time of the pages, UTC."""

    people: PeopleService
    agents: AgentService
    delegation: DelegationService
    approvals: ApprovalService
    audit: AuditLog
    catalog: Catalog
    proposals: Proposals
    policies: Policies
    issuer: str
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class LogState:
    """How long the log is, and its root as checkpoints write it (base64)."""

    size: int
    root: str | None


class Desk:
    """The frame around the views."""

    def __init__(self, services: Services, guard: Guard) -> None:
        self.services = services
        self.guard = guard

    def shown(self, view: View) -> Endpoint:
        """A page for who is signed in; others are asked to sign in and come back."""

        async def endpoint(request: Request) -> Response:
            try:
                visitor = await self.guard.visitor(request)
            except Refused as refused:
                if refused.kind is Kind.UNAUTHENTICATED:
                    return _to_signin(request)
                return self.refused(refused, None)
            try:
                return await view(request, visitor)
            except Refused as refused:
                return self.refused(refused, visitor)

        return endpoint

    def done(self, action: Action) -> Endpoint:
        """A form that changes something: from our own page, with the session's token."""

        async def endpoint(request: Request) -> Response:
            visitor: Visitor | None = None
            try:
                form = await Form.read(request)
                visitor = await self.guard.acting(request, form.one("csrf"))
                return await action(request, visitor, form)
            except Refused as refused:
                return self.refused(refused, visitor)

        return endpoint

    async def page(self, visitor: Visitor, template: str, here: str, /, **context: Any) -> Response:
        """A page in the frame; ``here`` is its entry in the navigation."""
        waiting = await self.services.approvals.count_waiting(visitor.person)
        return page(template, {**_frame(visitor, here, waiting), **context})

    def refused(self, refused: Refused, visitor: Visitor | None) -> Response:
        """A refusal as a page."""
        status, title = _PAGES[refused.kind]
        frame = _frame(visitor, "", 0) if visitor else {}
        return page(
            "error.html",
            {**frame, "title": title, "detail": refused.detail, "back": "/"},
            status=status,
        )

    async def log_state(self) -> LogState:
        """Size and root of the log as it is now."""
        head = await self.services.audit.head()
        return LogState(head.size, b64encode(head.root).decode() if head.size else None)

    def whose(self, visitor: Visitor) -> Person | None:
        """Whose affairs a visitor may see: everyone's (None) or their own."""
        person = visitor.person
        return None if person.may(Role.ADMIN) or person.may(Role.APPROVER) else person

    def concerns(self, visitor: Visitor, events: Sequence[LoggedEvent]) -> list[LoggedEvent]:
        """The events that a visitor may see; what is not theirs does not exist for them."""
        own = self.whose(visitor)
        if own is None:
            return list(events)
        return [event for event in events if event.private.get("person") == own.id]

    async def names(self) -> dict[str, str]:
        """Everyone's name, by id."""
        return {person.id: person.name for person in await self.services.people.people()}


def notice(request: Request) -> str | None:
    """The sentence for ``?done=``; anything unknown says nothing."""
    return _NOTICES.get(request.query_params.get("done", ""))


def go(path: str) -> Response:
    """After a form was handled, look at the result (303: with GET)."""
    return RedirectResponse(path, status_code=303, headers=HEADERS)


def _to_signin(request: Request) -> Response:
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return go(f"/signin?next={quote(target, safe='')}")


def _frame(visitor: Visitor, here: str, waiting: int) -> dict[str, Any]:
    return {
        "person": visitor.person,
        "csrf_token": visitor.csrf_token,
        "here": here,
        "pending": waiting,
    }
