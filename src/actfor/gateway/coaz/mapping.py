"""Which question a message asks: the default mapping of its method, or one that a tool declares.

``DEFAULTS`` are the binding's, and ours for methods that MCP has and the draft does not know
(`server/discover`, `subscriptions/listen`, `tasks/update`, `resources/templates/list`): without
them its own rule, to deny what has no mapping, would lock out every current client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from actfor.errors import Kind, Refused
from actfor.gateway.coaz.expressions import (
    MAX_VALUES,
    Absent,
    check_expression,
    evaluate,
    is_costly,
    require_few,
)
from actfor.wire.canonical import JsonObject, JsonValue

Envelope = Literal["evaluation", "evaluations"]
MAPPING: Final = "x-authzen-mapping"
_DEPTH: Final = 8
_ENTRIES: Final = 20
_EXPRESSIONS: Final = 32
_COSTLY: Final = 4


def _default(name: str, type_: str, id_: str, **context: str) -> JsonObject:
    return {
        "subject": {"type": "identity", "id": "$token.sub"},
        "context": {"agent": "$token.?client_id", **context},
        "action": {"name": name},
        "resource": {"type": type_, "id": id_},
    }


_SERVER: Final = "$token.aud"
DEFAULTS: Final[Mapping[str, JsonObject]] = {
    "initialize": _default(
        "initialize", "mcp_server", _SERVER, protocol_version="$params.protocolVersion"
    ),
    "logging/setLevel": _default("logging/setLevel", "mcp_server", _SERVER, level="$params.level"),
    **{
        name: _default(name, "mcp_server", _SERVER)
        for name in (
            "tools/list",
            "resources/list",
            "resources/templates/list",
            "prompts/list",
            "tasks/list",
            "server/discover",
            "subscriptions/listen",
        )
    },
    "tools/call": _default("tools/call", "tool", "$params.name"),
    "prompts/get": _default("prompts/get", "prompt", "$params.name"),
    **{
        name: _default(name, "resource", "$params.uri")
        for name in ("resources/read", "resources/subscribe", "resources/unsubscribe")
    },
    **{
        name: _default(name, "task", "$params.taskId")
        for name in ("tasks/get", "tasks/result", "tasks/cancel", "tasks/update")
    },
    "completion/complete": _default(
        "completion/complete",
        "$params.ref.type == 'ref/prompt' ? 'prompt' : 'resource'",
        "$params.ref.type == 'ref/prompt' ? params.ref.name : params.ref.uri",
    ),
}


@dataclass(frozen=True, slots=True)
class Mapped:
    """The request to send to the API that ``envelope`` names, and what an operator should know."""

    envelope: Envelope
    request: JsonObject
    warnings: tuple[str, ...] = ()


def passes(method: str) -> bool:
    """Whether a method goes through without a question (COAZ-MCP, pass-through operations)."""
    return method == "ping" or method.startswith("notifications/")


def map_message(
    method: str,
    params: JsonObject,
    claims: JsonObject,
    *,
    mapping: JsonValue = None,
    server_id: str | None = None,
    subject_claim: str = "sub",
) -> Mapped:
    """The question for a message that does not pass through.

    ``claims`` are of a token that was validated; ``mapping`` is what is declared for the called
    tool (``declared``), None for the default; ``server_id`` is this server's resource identifier,
    needed where `aud` has several. ``subject_claim`` names the claim that says for whom the agent
    acts.

    Raises:
        Refused: DENIED for a method that has no mapping; MALFORMED for a mapping error.
    """
    token = {**claims, "aud": _audience(claims.get("aud"), server_id)}
    variables = {"params": params, "token": token}
    person = claims.get(subject_claim)
    if not isinstance(person, str) or not person:
        raise _fault(f"the token has no `{subject_claim}`")
    if mapping is None or method != "tools/call":
        template = DEFAULTS.get(method)
        if template is None:
            raise Refused(Kind.DENIED, f"method `{method[:64]}` has no mapping and is denied")
        made = _resolved(template, variables, 0)
        return Mapped("evaluation", _checked(_anchored(made, person), "the request"))
    name, template = _read(mapping, subject_claim)
    require_few(params, MAX_VALUES)
    if name == "evaluation":
        made = _anchored(_resolved(template, variables, 0), person)
        return Mapped("evaluation", _checked(made, "the request"), _warnings(made))
    return _many(template, variables, person)


def declared(input_schema: JsonValue) -> JsonValue:
    """The mapping that a server declares for a tool, in its input schema; None if it has none."""
    return input_schema.get(MAPPING) if isinstance(input_schema, Mapping) else None


def check_mapping(mapping: JsonValue, *, subject_claim: str = "sub") -> JsonObject:
    """A mapping as an operator gives it, if every call could be asked about by it.

    What depends on arguments is seen at the call: an argument that is missing is an error then.

    Raises:
        Refused: MALFORMED, naming what is wrong: envelope, subject, an expression that is no CEL.
    """
    _, template = _read(mapping, subject_claim)
    for expression in _expressions(template, 0):
        check_expression(expression)
    return mapping if isinstance(mapping, Mapping) else {}


def _require_bounded(template: JsonValue) -> None:
    """So that a server cannot hold the gateway up by what it declares."""
    found = list(_expressions(template, 0))
    if len(found) > _EXPRESSIONS or sum(map(is_costly, found)) > _COSTLY:
        raise _fault(
            f"more than {_EXPRESSIONS} expressions, or {_COSTLY} with a comprehension or `matches`"
        )


def _expressions(template: JsonValue, depth: int) -> Iterator[str]:
    if depth > _DEPTH:
        raise _fault("the mapping is nested too deeply")
    if isinstance(template, str) and template.startswith("$") and not template.startswith("$$"):
        yield template[1:]
    for item in _items(template):
        yield from _expressions(item, depth + 1)


def _items(template: JsonValue) -> Iterable[JsonValue]:
    if isinstance(template, Mapping):
        return template.values()
    return template if isinstance(template, list) else ()


def _read(declared: JsonValue, claim: str) -> tuple[Envelope, JsonObject]:
    """The envelope and its template, with the subject that every mapping has."""
    if not isinstance(declared, Mapping) or len(declared) != 1:
        raise _fault(f"`{MAPPING}` has exactly one member, `evaluation` or `evaluations`")
    [(named, template)] = declared.items()
    name: Envelope = "evaluations" if named == "evaluations" else "evaluation"
    if named != name or not isinstance(template, Mapping):
        raise _fault(f"`{MAPPING}` has exactly one member, `evaluation` or `evaluations`")
    subject = template.get("subject", {})
    if not isinstance(subject, Mapping):
        raise _fault("`subject` must be an object")
    said = subject.get("id", f"$token.{claim}")
    # Anchored: it says that it is the token's subject, so it must be. Anything else would let the
    # guarded server choose who is asked about; the draft's SHOULD is a MUST here (T-AZ-5).
    if not isinstance(said, str) or said.replace(" ", "") not in {"$token.sub", f"$token.{claim}"}:
        raise _fault("`subject.id` must be the token's subject")
    _require_bounded(template)
    if name == "evaluations":
        _check_entries(template)
    return name, {**template, "subject": {"type": "identity", **subject, "id": "$token." + claim}}


def _check_entries(template: JsonObject) -> None:
    entries = template.get("evaluations")
    if not isinstance(entries, list) or not 1 <= len(entries) <= _ENTRIES:
        raise _fault(f"`evaluations` must be an array of 1 to {_ENTRIES} entries")
    for entry in entries:
        if not isinstance(entry, Mapping) or "subject" in entry:
            raise _fault("an entry of `evaluations` is an object without `subject`")


def _many(template: JsonObject, variables: Mapping[str, Any], person: str) -> Mapped:
    made = _anchored(_resolved(template, variables, 0), person)
    # Every check must be made and be a permit: the server may not say where to stop.
    made = {**made, "options": {"evaluations_semantic": "deny_on_first_deny"}}
    shared: JsonObject = {part: made[part] for part in ("action", "resource") if part in made}
    resolved = made["evaluations"]
    for entry in resolved if isinstance(resolved, list) else ():
        own = entry if isinstance(entry, Mapping) else {}
        _checked({**shared, **own}, "an entry of `evaluations`")
    return Mapped("evaluations", made, _warnings(made))


def _warnings(made: JsonObject) -> tuple[str, ...]:
    """What the binding wants of a context, and this one has not."""
    context = made.get("context", {})
    named = isinstance(context, Mapping) and "agent" in context
    return () if named else ("the declared mapping does not name the agent in its context",)


def _anchored(made: JsonValue, person: str) -> JsonObject:
    """The request, once its subject is known to be the token's."""
    if not isinstance(made, Mapping):
        raise _fault("a mapping is an object")
    subject = made.get("subject")
    if not isinstance(subject, Mapping) or subject.get("id") != person:
        raise _fault("`subject.id` is not the token's subject")
    return made


def _checked(made: JsonObject, what: str) -> JsonObject:
    for part, names in (("action", ("name",)), ("resource", ("type", "id"))):
        entity = made.get(part)
        for name in names:
            value = entity.get(name) if isinstance(entity, Mapping) else None
            if not isinstance(value, str) or not value:
                raise _fault(f"{what} has no `{part}.{name}`")
    return made


def _resolved(template: JsonValue, variables: Mapping[str, Any], depth: int) -> JsonValue:
    """Literals as they are, `$…` evaluated, `$$…` a text that begins with `$`; absent left out."""
    if depth > _DEPTH:
        raise _fault("the mapping is nested too deeply")
    if isinstance(template, Mapping):
        members = {name: _value(item, variables, depth) for name, item in template.items()}
        return {name: item for name, item in members.items() if not isinstance(item, Absent)}
    if isinstance(template, list):
        items = [_value(item, variables, depth) for item in template]
        return [item for item in items if not isinstance(item, Absent)]
    return template


def _value(item: JsonValue, variables: Mapping[str, Any], depth: int) -> JsonValue | Absent:
    if isinstance(item, str) and item.startswith("$"):
        return item[1:] if item.startswith("$$") else evaluate(item[1:], variables)
    return _resolved(item, variables, depth + 1)


def _audience(given: JsonValue, server_id: str | None) -> JsonValue:
    """The one audience that is this server (RFC 8707); of several, the one it is known by."""
    if server_id is not None:
        audiences = given if isinstance(given, list) else [given]
        if server_id not in audiences:
            raise _fault("the token's `aud` does not name this server")
        return server_id
    if isinstance(given, list):
        if len(given) != 1:
            raise _fault("the token's `aud` does not name one server")
        [given] = given
    return given if isinstance(given, str) else None


def _fault(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, f"COAZ mapping error: {detail}")
