"""A domain: subjects, resources and actions of an application that asks us over AuthZEN.

Agents and tools have their own schema and policies. Everything else that a PEP may ask about is a
domain: types and what may be said of them, the entities that are known, and Cedar policies. A PEP
is believed about ``properties`` (it enforces the answer, and could lie about the id as well); what
it leaves out is taken from the known entity. An action's properties are ``context.action``.

Unknown properties are dropped, as AuthZEN asks; a known one of another type is an error.
An entity that nobody described can be asked about, and found only by who asks for it by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import cedarpy
import orjson

from actfor.authorization.model.decision import Decision, Effect
from actfor.errors import Kind, Refused
from actfor.wire.authzen import Entity, Evaluation
from actfor.wire.authzen_obligations import parse_obligations
from actfor.wire.canonical import JsonObject, JsonValue, digest

_TYPES: Final[Mapping[str, type]] = {"Bool": bool, "Long": int, "String": str}
_LONG: Final = 2**63

Shape = Mapping[str, str]
"""Property → Bool, Long or String; all of them may be absent."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Immutable; two with one ``version`` decide alike."""

    name: str
    subjects: Mapping[str, Shape]
    resources: Mapping[str, Shape]
    actions: Mapping[str, Shape]
    context: Shape
    known: Mapping[tuple[str, str], JsonObject]
    version: str
    _policies: cedarpy.PolicySet = field(compare=False, repr=False)
    _schema: cedarpy.Schema = field(compare=False, repr=False)
    _reasons: Mapping[str, str] = field(compare=False, repr=False)
    _obligations: Mapping[str, tuple[JsonObject, ...]] = field(compare=False, repr=False)

    @classmethod
    def read(cls, name: str, described: Mapping[str, Any], policies: str) -> Self:
        """From a description (see ``domains/``) and a text of Cedar policies.

        Raises:
            Refused: MALFORMED, saying what is wrong with either.
        """
        try:
            shapes = {part: described[part] for part in ("subjects", "resources", "actions")}
            context = dict(described.get("context", {}))
            known = {(e["type"], e["id"]): e.get("properties", {}) for e in described["entities"]}
            schema = cedarpy.Schema.from_str(_schema_text(**shapes, context=context))
            _validate(policies, schema)
            reasons, obligations = _annotated(policies)
            handle = cedarpy.PolicySet.from_str(policies)
        except (KeyError, TypeError, ValueError) as cause:
            raise Refused(Kind.MALFORMED, f"domain `{name}`: {cause!s:.2000}") from cause
        version = digest({"domain": dict(described), "policies": policies})
        return cls(name, **shapes, context=context, known=known, version=version,
                   _policies=handle, _schema=schema, _reasons=reasons,
                   _obligations=obligations)  # fmt: skip

    def asks_about(self, evaluation: Evaluation) -> bool:
        """Whether a question's types are ours; the action need not be."""
        return (
            evaluation.subject.type in self.subjects and evaluation.resource.type in self.resources
        )

    def decide(self, evaluation: Evaluation) -> Decision:
        """Permit or deny; denied wherever Cedar reports an error.

        Raises:
            Refused: MALFORMED for a property of the wrong type.
        """
        shape = self.actions.get(evaluation.action.name)
        if shape is None:
            known = ", ".join(sorted(self.actions))
            reason = f"action `{evaluation.action.name}` is not one of {known}"
            return Decision(Effect.DENY, reasons=(reason,), version=self.version)
        action = _fitting(shape, evaluation.action.properties, "action.properties")
        context = _fitting(self.context, evaluation.context, "context")
        request = {
            "principal": _uid(evaluation.subject),
            "action": {"type": "Action", "id": evaluation.action.name},
            "resource": _uid(evaluation.resource),
            "context": {**context, "action": action},
        }
        entities = [
            self._entity(evaluation.subject, self.subjects, "subject"),
            self._entity(evaluation.resource, self.resources, "resource"),
        ]
        if _uid(evaluation.subject) == _uid(evaluation.resource):
            del entities[1]
        return self._asked(request, entities)

    def obligations(self, policies: Iterable[str]) -> list[JsonObject]:
        """What these policies oblige an enforcement point to do."""
        return [each for name in policies for each in self._obligations.get(name, ())]

    def ids(self, type_: str) -> list[str]:
        """The known entities of a type, sorted."""
        return sorted(id_ for kind, id_ in self.known if kind == type_)

    def _entity(self, entity: Entity, shapes: Mapping[str, Shape], what: str) -> JsonObject:
        shape = shapes[entity.type]
        told = _fitting(shape, entity.properties, f"{what}.properties")
        stored = self.known.get((entity.type, entity.id), {})
        return {"uid": _uid(entity), "attrs": {**stored, **told}, "parents": []}

    def _asked(self, request: JsonObject, entities: list[JsonObject]) -> Decision:
        try:
            handle = cedarpy.Entities.from_json_str(orjson.dumps(entities).decode())
            answer = cedarpy.is_authorized(dict(request), self._policies, handle)
        except (ValueError, TypeError) as cause:
            return self._failed((f"cannot be expressed in cedar: {type(cause).__name__}",))
        decided: str = answer.decision.value
        errors = tuple(map(str, answer.diagnostics.errors))
        if errors or decided not in {"Allow", "Deny"}:
            return self._failed(errors or (f"cedar gave no decision: `{decided}`",))
        names = tuple(sorted(answer.diagnostics.id_annotations_by_reason.values()))
        reasons = tuple(self._reasons.get(name, name) for name in names)
        if decided == "Allow":
            return Decision(Effect.PERMIT, names, (), reasons, self.version)
        return Decision(Effect.DENY, names, (), reasons or ("no policy permits it",), self.version)

    def _failed(self, errors: tuple[str, ...]) -> Decision:
        return Decision(Effect.DENY, (), errors, ("it could not be evaluated",), self.version)


def _validate(policies: str, schema: cedarpy.Schema) -> None:
    checked = cedarpy.validate_policies(policies, schema)
    if not checked.validation_passed:
        raise ValueError("; ".join(str(problem.error) for problem in checked.errors))


def _uid(entity: Entity) -> JsonObject:
    return {"type": entity.type, "id": entity.id}


def _fitting(shape: Shape, given: JsonObject, where: str) -> dict[str, JsonValue]:
    """The known properties, each of its type."""
    kept: dict[str, JsonValue] = {}
    for name, kind in shape.items():
        if name not in given:
            continue
        value = given[name]
        # `type(…) is`: True is an int to Python, and a Bool is never a Long to Cedar.
        if type(value) is not _TYPES[kind] or (type(value) is int and not -_LONG <= value < _LONG):
            raise Refused(Kind.MALFORMED, f"`{where}.{name}` must be a {kind}")
        kept[name] = value
    return kept


def _schema_text(
    *,
    subjects: Mapping[str, Shape],
    resources: Mapping[str, Shape],
    actions: Mapping[str, Shape],
    context: Shape,
) -> str:
    lines = [
        f"entity {name} {{{_record(shape)}}};" for name, shape in {**subjects, **resources}.items()
    ]
    for name, shape in actions.items():
        said = ", ".join([*_fields(context), f"action: {{{_record(shape)}}}"])
        lines.append(
            f'action "{name}" appliesTo {{ principal: [{", ".join(subjects)}], '
            f"resource: [{', '.join(resources)}], context: {{{said}}} }};"
        )
    return "\n".join(lines)


def _record(shape: Shape) -> str:
    return ", ".join(_fields(shape))


def _fields(shape: Shape) -> list[str]:
    for name, kind in shape.items():
        if kind not in _TYPES:
            raise ValueError(f"property `{name}` must be a {', '.join(_TYPES)}")
    return [f'"{name}"?: {kind}' for name, kind in shape.items()]


def _annotated(policies: str) -> tuple[dict[str, str], dict[str, tuple[JsonObject, ...]]]:
    """@id → @reason of each policy, and @id → its @obligations.

    Raises:
        ValueError: a policy has no @id or no @reason, or Cedar cannot read the text.
        Refused: MALFORMED obligations.
    """
    reasons: dict[str, str] = {}
    obligations: dict[str, tuple[JsonObject, ...]] = {}
    for policy in orjson.loads(cedarpy.policies_to_json_str(policies))["staticPolicies"].values():
        notes = policy.get("annotations", {})
        if not notes.get("id") or not notes.get("reason"):
            raise ValueError("each policy needs @id and @reason")
        reasons[notes["id"]] = notes["reason"]
        if "obligations" in notes:
            obligations[notes["id"]] = parse_obligations(notes["obligations"])
    return reasons, obligations
