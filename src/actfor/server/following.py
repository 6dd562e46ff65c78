"""What this node does when another one says that something changed: the handlers of the feed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from actfor.approval import ApprovalService
from actfor.audit import Revocable
from actfor.authorization import AuthorizationService
from actfor.gateway import Catalog, Enforcer
from actfor.identity import AgentService
from actfor.store import Feed


def follow_others(
    feed: Feed,
    *,
    authorization: AuthorizationService,
    catalog: Catalog,
    approvals: ApprovalService,
    agents: AgentService,
    enforcer: Enforcer,
    reload_keys: Callable[[], Awaitable[None]],
) -> None:
    """Keep what is in memory as it is in the database, and end what was revoked.

    The topics are what ``audit.model.told`` says of an event. Each handler may be called again for
    the same change, and is called for this node's own changes, too.
    """
    feed.on("policy", authorization.follow)
    feed.on("catalog", catalog.follow)
    feed.on("approval", approvals.follow)
    feed.on("key", lambda _: reload_keys())
    feed.on(Revocable.TOOL, lambda tool: catalog.follow(tool.partition("/")[0]))
    feed.on(Revocable.AGENT, agents.follow)
    for kind in Revocable:
        feed.on(kind, partial(enforcer.end_calls, kind.value))
