"""AuthZEN Authorization API 1.0: the access evaluation, its answer, and the metadata.

Subject, action, resource and context (§5) come in; a boolean and a context (§6) go out.
A denial is an answer, not an error: HTTP 200 with ``decision: false``. What the PEP did wrong is
an HTTP status with a message string as body (§12.1, "Error Responses").

Unknown members are ignored, as the specification asks. Nothing here says who may set which fact:
see ``actfor.authorization.model.foreign``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple
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

_NOTHING: Final[JsonObject] = {}  # a dict, as every parsed object is; nobody writes to a Mapping

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


class Entity(NamedTuple):
    """A subject or a resource (§5.1, §5.2). ``properties`` are the caller's word."""

    type: str
    id: str
    properties: JsonObject = _NOTHING


class Action(NamedTuple):
    """What the subject wants to do (§5.3)."""

    name: str
    properties: JsonObject = _NOTHING


class Evaluation(NamedTuple):
    """One access evaluation request (§6.1). All of it is what the caller says."""

    subject: Entity
    action: Action
    resource: Entity
    context: JsonObject = _NOTHING


def parse_evaluation(document: JsonValue) -> Evaluation:
    """Read a request from parsed JSON.

    Ids are at most ``MAX_ID_BYTES`` of UTF-8 without control characters, types and names at most
    ``MAX_NAME_BYTES``, so that each fits a log entry.

    Raises:
        Refused: MALFORMED, naming the member that is missing or wrong.
    """
    if not isinstance(document, Mapping):
        raise _malformed("the request must be a JSON object")
    return Evaluation(
        _entity(document, "subject"),
        _action(document),
        _entity(document, "resource"),
        _object(document, "context"),
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
    entity = _required(members, name)
    return Entity(
        _text(entity, "type", name, MAX_NAME_BYTES),
        _text(entity, "id", name, MAX_ID_BYTES),
        _object(entity, "properties", name),
    )


def _action(members: JsonObject) -> Action:
    action = _required(members, "action")
    return Action(
        _text(action, "name", "action", MAX_NAME_BYTES), _object(action, "properties", "action")
    )


def _required(members: JsonObject, name: str) -> JsonObject:
    if name not in members:
        raise _malformed(f"the request has no `{name}`")
    return _object(members, name)


def _object(members: JsonObject, name: str, of: str = "") -> JsonObject:
    """A member that is an object; an empty one where it is left out."""
    value = members.get(name, _NOTHING)
    if type(value) is not dict and not isinstance(value, Mapping):  # asked quickly, on a hot path
        raise _malformed(
            f"`{of}.{name}` must be a JSON object" if of else f"`{name}` must be a JSON object"
        )
    return value


def _text(members: JsonObject, name: str, of: str, most: int) -> str:
    value = members.get(name)
    # What is short enough in any spelling is usual, and quickly told.
    if type(value) is str and 0 < len(value) * 4 <= most and value.isprintable():
        return value
    if name not in members:
        raise _malformed(f"`{of}` has no `{name}`")
    if not isinstance(value, str) or not value:
        raise _malformed(f"`{name}` of `{of}` must be a string that is not empty")
    if len(value.encode()) > most:
        raise _malformed(f"`{name}` of `{of}` is longer than {most} bytes")
    if not value.isprintable():
        raise _malformed(f"`{name}` of `{of}` holds a control or invisible character")
    return value


def _malformed(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, detail)
