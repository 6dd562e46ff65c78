"""Events as OCSF 1.5.0 (Open Cybersecurity Schema Framework). Pure.

    what happened                                         OCSF class
    a call decided, a call ended                          6003 API Activity
    a token issued or refused, a mandate, an approval     3003 Authorize Session
    a person signed in or out                             3002 Authentication
    a right ended                                         3005 User Access Management
    an agent, tool, policy, key or setting changed        3004 Entity Management

The user of an event is the *agent* (``type`` "AI Agent"): it is who acted. The person it acted for
is personal data and stands in ``unmapped.private`` only where the destination asks for it. All
facts of the leaf stand in ``unmapped`` as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import actfor
from actfor.audit.model import LoggedEvent
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.timestamps import to_ms

VERSION: Final = "1.5.0"

_API, _SESSION, _AUTH, _ACCESS, _ENTITY = 6003, 3003, 3002, 3005, 3004
_CLASSES: Final = {
    "decide": _API,
    "outcome": _API,
    "delegate": _SESSION,
    "mandate": _SESSION,
    "approval-request": _SESSION,
    "approve": _SESSION,
    "deny": _SESSION,
    "session": _AUTH,
    "revoke": _ACCESS,
}
_OTHER: Final = 99
_CRUD: Final = {"read": 2, "write": 3, "delete": 4}
_REFUSED: Final = frozenset({"deny", "step-up"})
_FAILED: Final = frozenset({"tool-error", "upstream-error", "not-executed"})


def ocsf(event: LoggedEvent, *, private: bool) -> JsonObject:
    """One event. A new type of event that nobody has mapped is Entity Management, "Other"."""
    kind = _CLASSES.get(event.type, _ENTITY)
    activity = _activity(event, kind)
    body: dict[str, JsonValue] = {
        "class_uid": kind,
        "category_uid": kind // 1000,
        "activity_id": activity,
        "type_uid": kind * 100 + activity,
        "time": to_ms(event.at),
        "severity_id": _severity(event),
        "metadata": {
            "version": VERSION,
            "uid": event.id,
            "correlation_uid": event.trace,
            "sequence": event.index,
            "product": {
                "name": "actfor",
                "vendor_name": "actfor",
                "version": actfor.__version__,
            },
        },
        "unmapped": _unmapped(event, private=private),
    }
    if activity == _OTHER:
        body["activity_name"] = _text(event.facts.get("action")) or event.type
    return {**body, **_status(event), **_parts(event, kind)}


def _activity(event: LoggedEvent, kind: int) -> int:
    """``activity_id`` within the class."""
    if kind == _API:
        return _CRUD.get(_text(event.facts.get("effect")), _OTHER)
    if kind == _AUTH:
        return {"signed-in": 1, "signed-out": 2}.get(_text(event.facts.get("action")), _OTHER)
    if kind == _ACCESS:
        return 2  # Revoke Privileges
    return _OTHER


def _severity(event: LoggedEvent) -> int:
    """1 informational, 2 low, 3 medium."""
    if event.type in {"revoke", "erase", "recover"} or event.facts.get("decision") == "deny":
        return 3
    return 2 if event.facts.get("decision") == "step-up" else 1


def _status(event: LoggedEvent) -> JsonObject:
    decision, status = _text(event.facts.get("decision")), _text(event.facts.get("status"))
    if decision in _REFUSED or status in _FAILED or event.type == "deny":
        why = _text(event.facts.get("reason")) or decision or status or event.type
        return {"status_id": 2, "status": "Failure", "status_detail": why}
    if status == "unknown":
        return {"status_id": 0, "status": "Unknown"}
    return {"status_id": 1, "status": "Success"}


def _parts(event: LoggedEvent, kind: int) -> JsonObject:
    """What each class requires beside the common members."""
    agent = _user(event)
    if kind == _API:
        server, tool = _text(event.facts.get("server")), _text(event.facts.get("tool"))
        resource = _text(event.facts.get("resource"))
        return {
            "actor": {"user": agent},
            "api": {
                "operation": tool or resource or "unknown",
                "service": {"name": server or resource.partition("/")[0] or "unknown"},
                "request": {"uid": event.trace},
            },
            "src_endpoint": {"svc_name": agent["name"]},
        }
    if kind == _ACCESS:
        return {"user": agent, "privileges": [_text(event.facts.get("action")) or "all"]}
    if kind == _SESSION:
        return {"user": agent, "privileges": _privileges(event)}
    if kind == _AUTH:
        return {"user": agent, "service": {"name": "actfor"}}
    named = _text(event.facts.get("agent")) or event.type
    return {"entity": {"type": event.type, "uid": event.trace, "name": named}}


def _privileges(event: LoggedEvent) -> list[JsonValue]:
    named = [_text(event.facts.get(name)) for name in ("mandate", "grant", "approval", "tool")]
    return [name for name in named if name] or [event.type]


def _user(event: LoggedEvent) -> Mapping[str, JsonValue]:
    agent = _text(event.facts.get("agent"))
    if not agent:
        return {"uid": event.trace, "name": "person", "type_id": 1, "type": "User"}
    return {"uid": agent, "name": agent, "type_id": _OTHER, "type": "AI Agent"}


def _unmapped(event: LoggedEvent, *, private: bool) -> JsonObject:
    body: dict[str, JsonValue] = {"event": event.type, "facts": event.facts}
    if private:
        body["private"] = event.private
        body["erased"] = list(event.erased)
    return body


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""
