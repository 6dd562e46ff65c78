"""AuthZEN Access Request and Approval Profile, Draft 1 (2026-06): the messages.

A denial may say that it can be asked about (``access_request``); a request becomes a task; when the
task is approved, the question is asked again with ``context.approval``. Whoever asked may take a
task back while nobody has answered it. ``authzen_binding`` has what ties a request to its denial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire import authzen
from actfor.wire.authzen import Evaluation
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.timestamps import rfc3339

PATH: Final = "/access/v1/access-request"
CAPABILITY: Final = "urn:openid:authzen:capability:access-request"
CANCEL_PATH: Final = PATH + "/{task}/cancel"
DENIAL_LIFE: Final = timedelta(minutes=10)
"""How long after a denial it may be asked about."""
APPROVAL: Final = "approval"
JUSTIFICATION: Final = "business_justification"
MAX_TEXT: Final = 4_000
"""Characters of what people are told by who asks."""
MAX_KEY: Final = 256


class Template(StrEnum):
    """``template``: who is asked. It follows from the mandate, never from the request."""

    PERSON = "person"
    """The mandate's person, or an approver."""
    SECOND_PERSON = "second-person"
    """An approver who is not the mandate's person (four eyes)."""


_SAID: Final = {
    Template.PERSON: "A person can permit this one call. They see exactly what would be done.",
    Template.SECOND_PERSON: "Somebody other than the mandate's person can permit this one call.",
}
_ERROR: Final = "urn:openid:authzen:access-request:error:"


class ProblemType(StrEnum):
    """The profile's problem types (RFC 9457), without their common beginning."""

    NOT_REQUESTABLE = "not_requestable"
    EXPIRED_DENIAL = "expired_denial"
    INVALID_BINDING = "invalid_denial_binding"
    DUPLICATE = "duplicate_request"
    UNKNOWN_TASK = "unknown_task"
    INVALID_STATE = "invalid_task_state"


_STATUS: Final = {
    ProblemType.NOT_REQUESTABLE: 400,
    ProblemType.EXPIRED_DENIAL: 410,
    ProblemType.INVALID_BINDING: 400,
    ProblemType.DUPLICATE: 409,
    ProblemType.UNKNOWN_TASK: 404,
    ProblemType.INVALID_STATE: 409,
}


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A request as it was sent: the question, without an approval of an earlier one, and what ties
    it to a denial. ``says`` is for people to read, and unchecked.
    """

    evaluation: Evaluation
    denial: str | None
    binding_token: str | None
    expires_at: str | None
    template: str | None
    says: str | None


def parse_request(document: JsonValue) -> AccessRequest:
    """Read a submission. Members that the profile has and we do not are ignored, but ``items``.

    Raises:
        Refused: MALFORMED, naming the member that is missing or wrong.
    """
    if isinstance(document, Mapping) and "items" in document:
        raise Refused(Kind.MALFORMED, "`items` is not offered: ask about one question at a time")
    evaluation = authzen.parse_evaluation(document)
    denial = document.get("denial") if isinstance(document, Mapping) else None
    if not isinstance(denial, Mapping):
        raise Refused(Kind.MALFORMED, "`denial` says which denial this is about")
    id_, token = _text(denial, "evaluation_id", 128), _text(denial, "binding_token", 8_192)
    if id_ is None and token is None:
        raise Refused(
            Kind.MALFORMED,
            "`denial` needs the `binding_token` or the `evaluation_id` of the denial",
        )
    context = evaluation.context
    kept = {name: value for name, value in context.items() if name != APPROVAL}
    return AccessRequest(
        Evaluation(evaluation.subject, evaluation.action, evaluation.resource, kept),
        id_,
        token,
        _text(denial, "expires_at", 64),
        _text(denial, "template", 64),
        _text(context, JUSTIFICATION, MAX_TEXT, "context"),
    )


def parse_cancel(document: JsonValue) -> str | None:
    """Why a task is taken back, for people to read: the ``reason`` code and the ``comment``.

    Raises:
        Refused: MALFORMED.
    """
    if not isinstance(document, Mapping):
        raise Refused(Kind.MALFORMED, "the body is an object with `reason` and `comment`, or empty")
    said = (_text(document, "reason", 64, ""), _text(document, "comment", 200, ""))
    return ": ".join(part for part in said if part) or None


def _text(members: JsonObject, name: str, most: int, where: str = "denial") -> str | None:
    value = members.get(name)
    if value is None and name not in members:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        named = f"{where}.{name}" if where else name
        raise Refused(Kind.MALFORMED, f"`{named}` is a text of 1 to {most} characters")
    return value


def metadata(base_url: str) -> dict[str, JsonValue]:
    """The metadata's members."""
    return {
        "access_request_endpoint": base_url.rstrip("/") + PATH,
        "capabilities": [CAPABILITY],
    }


def offer(
    answer: JsonObject,
    base_url: str,
    now: datetime,
    *,
    template: str,
    binding_token: str | None = None,
) -> JsonObject:
    """A denial that says where it can be asked about, until when, and who would be asked."""
    context = _context(answer)
    wanted: dict[str, JsonValue] = {
        "endpoint": base_url.rstrip("/") + PATH,
        "template": template,
        "expires_at": rfc3339(now + DENIAL_LIFE),
        "display": {"title": "Ask a person", "description": _SAID[Template(template)]},
    }
    if binding_token is not None:
        wanted["binding_token"] = binding_token
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
    """A task. Only ``links.ticket`` and ``display`` are for an agent's eyes.

    ``links.cancel`` takes it back, while nobody has answered.
    """
    return {
        "id": id_,
        "status": status,
        "status_endpoint": status_endpoint,
        "links": {"ticket": ticket, "cancel": f"{status_endpoint}/cancel"},
        "display": {
            "title": "A person was asked",
            "description": "They answer at the ticket's address.",
        },
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
