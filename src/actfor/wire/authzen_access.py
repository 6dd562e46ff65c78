"""AuthZEN Access Request and Approval Profile, Draft 1 (2026-06): the messages.

A denial may say that it can be asked about (``access_request``); a request becomes a task; when the
task is approved, the question is asked again with ``context.approval``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.timestamps import rfc3339

PATH: Final = "/access/v1/access-request"
CAPABILITY: Final = "urn:openid:authzen:capability:access-request"
DENIAL_LIFE: Final = timedelta(minutes=10)
"""How long after a denial it may be asked about."""
_ERROR: Final = "urn:openid:authzen:access-request:error:"


class ProblemType(StrEnum):
    """The profile's problem types (RFC 9457), without their common beginning."""

    NOT_REQUESTABLE = "not_requestable"
    EXPIRED_DENIAL = "expired_denial"
    INVALID_BINDING = "invalid_denial_binding"
    UNKNOWN_TASK = "unknown_task"


_STATUS: Final = {
    ProblemType.NOT_REQUESTABLE: 409,
    ProblemType.EXPIRED_DENIAL: 410,
    ProblemType.INVALID_BINDING: 400,
    ProblemType.UNKNOWN_TASK: 404,
}


def metadata(base_url: str) -> dict[str, JsonValue]:
    """The metadata's members."""
    return {
        "access_request_endpoint": base_url.rstrip("/") + PATH,
        "capabilities": [CAPABILITY],
    }


def offer(answer: JsonObject, base_url: str, now: datetime) -> JsonObject:
    """A denial that says where it can be asked about, and until when."""
    context = _context(answer)
    wanted: dict[str, JsonValue] = {
        "endpoint": base_url.rstrip("/") + PATH,
        "expires_at": rfc3339(now + DENIAL_LIFE),
    }
    more = {"evaluation_id": context.get("id"), "evaluated_at": rfc3339(now)}
    return {**answer, "context": {**context, **more, "access_request": wanted}}


def unapproved(
    answer: JsonObject, reason: str, next_action: str, retry_after: int | None
) -> JsonObject:
    """A denial of a question that named an approval: why that did not help, and what would."""
    told: dict[str, JsonValue] = {"reason": reason, "next_action": next_action}
    if retry_after is not None:
        told["retry_after"] = retry_after
    return {**answer, "context": {**_context(answer), **told}}


def _context(answer: JsonObject) -> JsonObject:
    context = answer.get("context", {})
    return context if isinstance(context, Mapping) else {}


def task(
    *, id_: str, status: str, status_endpoint: str, ticket: str, expires_at: datetime
) -> JsonObject:
    """A task. Only ``links.ticket`` and ``display`` are for an agent's eyes."""
    return {
        "id": id_,
        "status": status,
        "status_endpoint": status_endpoint,
        "links": {"ticket": ticket},
        "display": {"en": "A person was asked; they answer at the ticket's address."},
        "expires_at": rfc3339(expires_at),
    }


def approved(id_: str, answered_at: datetime | None, until: datetime) -> JsonObject:
    """The result of an approved task: evaluate again with this ``approval`` in the context."""
    approval: dict[str, JsonValue] = {"id": id_, "approved_until": rfc3339(until)}
    if answered_at is not None:
        approval["approved_at"] = rfc3339(answered_at)
    return {"mode": "reevaluate", "approval": approval}


def problem(type_: ProblemType | None, detail: str, status: int | None = None) -> JsonObject:
    """An error, as problem details."""
    name = "about:blank" if type_ is None else _ERROR + type_.value
    code = status if type_ is None else _STATUS[type_]
    return {
        "type": name,
        "title": "The access request was refused",
        "status": code,
        "detail": detail,
    }
