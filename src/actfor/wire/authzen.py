"""AuthZEN Authorization API 1.0: the access evaluation, its answer, and the metadata.

Subject, action, resource and context (§5) come in; a boolean and a context (§6) go out.
A denial is an answer, not an error: HTTP 200 with ``decision: false``. What the PEP did wrong is
an HTTP status with a message string as body (§12.1, "Error Responses").

Unknown members are ignored, as the specification asks. Nothing here says who may set which fact:
see ``actfor.authorization.model.foreign``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.jose import SigningKey, sign

EVALUATION_PATH: Final = "/access/v1/evaluation"
METADATA_PATH: Final = "/.well-known/authzen-configuration"
REQUEST_ID: Final = "x-request-id"
SIGNED_METADATA_TYPE: Final = "authzen-metadata+jwt"

MAX_ID_BYTES: Final = 512
MAX_NAME_BYTES: Final = 64

STATUS: Mapping[Kind, int] = MappingProxyType(
    {
        Kind.MALFORMED: 400,
        Kind.UNAUTHENTICATED: 401,
        Kind.EXPIRED: 401,
        Kind.REPLAYED: 401,
        Kind.DENIED: 403,
        Kind.STEP_UP_REQUIRED: 403,
        Kind.NOT_FOUND: 404,
        Kind.CONFLICT: 409,
        Kind.BUSY: 503,
    }
)
"""The status of a refused *message*. The outcome of an evaluation is always 200."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A subject or a resource (§5.1, §5.2). ``properties`` are the caller's word."""

    type: str
    id: str
    properties: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Action:
    """What the subject wants to do (§5.3)."""

    name: str
    properties: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One access evaluation request (§6.1). All of it is what the caller says."""

    subject: Entity
    action: Action
    resource: Entity
    context: JsonObject = field(default_factory=dict)


def parse_evaluation(document: JsonValue) -> Evaluation:
    """Read a request from parsed JSON.

    Ids are at most ``MAX_ID_BYTES`` of UTF-8 without control characters, types and names at most
    ``MAX_NAME_BYTES``, so that each fits a log entry.

    Raises:
        Refused: MALFORMED, naming the member that is missing or wrong.
    """
    members = _object(document, "the request")
    return Evaluation(
        _entity(members, "subject"),
        _action(members),
        _entity(members, "resource"),
        _object(members.get("context", {}), "`context`"),
    )


def response(
    *,
    decision: bool,
    id_: str,
    reasons: Sequence[str],
    policies: Sequence[str],
    policy_version: str,
    step_up: bool = False,
    ignored: Sequence[str] = (),
) -> dict[str, JsonValue]:
    """The answer (§6.2): the decision, and a Reason Object with members of our own.

    ``id`` is the id under which the decision is in the log. ``reason_user`` may be shown to the
    user, ``reason_admin`` must not be (§6.2.3). ``step_up`` says that a person's approval would
    change the answer; ``ignored`` names the facts that the caller sent and only the server sets.
    """
    context: dict[str, JsonValue] = {
        "id": id_,
        "policies": list(policies),
        "policy_version": policy_version,
    }
    if not decision:
        named = ", ".join(policies) or "none"
        context["reason_user"] = {"en": "; ".join(reasons)}
        context["reason_admin"] = {"en": f"determining policies: {named}; {'; '.join(reasons)}"}
    if step_up:
        context["step_up"] = {"type": "approval"}
    if ignored:
        context["ignored"] = list(ignored)
    return {"decision": decision, "context": context}


def metadata(base_url: str, more: Mapping[str, JsonValue] | None = None) -> dict[str, JsonValue]:
    """The PDP's metadata (§9). ``base_url`` must be the one the document is fetched from.

    ``more`` are members for what is offered beside the evaluation; what is not offered is left
    out, as the specification asks.
    """
    base = base_url.rstrip("/")
    return {
        "policy_decision_point": base,
        "access_evaluation_endpoint": base + EVALUATION_PATH,
        **(more or {}),
    }


def sign_metadata(document: JsonObject, key: SigningKey) -> str:
    """``signed_metadata`` (§9): the metadata as claims, with `iss`; itself it is no claim.

    The specification names no ``typ``; ours says what it is, so that nobody takes it for a token.
    There is no ``exp``: it counts as long as its key is in the issuer's JWK Set.
    """
    claims = {name: value for name, value in document.items() if name != "signed_metadata"}
    claims["iss"] = document["policy_decision_point"]
    return sign(claims, typ=SIGNED_METADATA_TYPE, key=key)


def metadata_path(base_url: str) -> str:
    """Where the metadata of a PDP is found: the well-known name stands before its path (§9.2)."""
    return METADATA_PATH + urlsplit(base_url).path.rstrip("/")


def is_json(content_type: str | None) -> bool:
    """Whether a Content-Type is ``application/json``, with or without parameters."""
    return (content_type or "").partition(";")[0].strip().lower() == "application/json"


def _entity(members: JsonObject, name: str) -> Entity:
    entity = _object(_required(members, name, "the request"), f"`{name}`")
    return Entity(
        _text(entity, "type", f"`{name}`", MAX_NAME_BYTES),
        _text(entity, "id", f"`{name}`", MAX_ID_BYTES),
        _object(entity.get("properties", {}), f"`{name}.properties`"),
    )


def _action(members: JsonObject) -> Action:
    action = _object(_required(members, "action", "the request"), "`action`")
    return Action(
        _text(action, "name", "`action`", MAX_NAME_BYTES),
        _object(action.get("properties", {}), "`action.properties`"),
    )


def _required(members: JsonObject, name: str, where: str) -> JsonValue:
    if name not in members:
        raise _malformed(f"{where} has no `{name}`")
    return members[name]


def _text(members: JsonObject, name: str, where: str, most: int) -> str:
    value = _required(members, name, where)
    if not isinstance(value, str) or not value:
        raise _malformed(f"`{name}` of {where} must be a string that is not empty")
    if len(value) * 4 > most and len(value.encode()) > most:
        raise _malformed(f"`{name}` of {where} is longer than {most} bytes")
    if not value.isprintable():
        raise _malformed(f"`{name}` of {where} holds a control or invisible character")
    return value


def _object(value: JsonValue, what: str) -> JsonObject:
    if type(value) is not dict and not isinstance(value, Mapping):  # asked quickly, on a hot path
        raise _malformed(f"{what} must be a JSON object")
    return value


def _malformed(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, detail)
