"""Policies made from data: agents, tools and numbers go into Cedar's tree, never into its text.

A template is a Cedar policy with the slots ``?principal`` and ``?resource``, and with numbers or
texts that may be chosen: ``@parameters("ask_above=2000")`` says that the literal ``2000`` in this
policy is the parameter ``ask_above``, and that 2000 is its default. Filling one walks the policy's
JSON form, replaces slots and literals by values, and has Cedar write the text.

INVARIANT: what a value holds stays a value. An agent id that reads like a policy is an id: the text
is read again, and must give the very tree that was filled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import cedarpy

from actfor.errors import Kind, Refused

Value: TypeAlias = int | str

PARAMETERS = "parameters"
MAX_TEXT = 512
_LONG = 2**63
_PARAMETER = re.compile(r"\s*(?P<name>[a-z][a-z0-9_]*)\s*=\s*(?P<value>[^,]*?)\s*(?:,|$)")
_SLOTS = {"principal": "?principal", "resource": "?resource"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One literal that may be chosen, and what it is by default."""

    name: str
    default: Value


def parameters(text: str) -> tuple[Parameter, ...]:
    """The parameters of all policies of a text; one name means the same in all of them.

    Raises:
        ValueError: the text is not Cedar, or two policies disagree: a programmer's error.
    """
    found: dict[str, Parameter] = {}
    for body in _bodies(text).values():
        for parameter in _parameters(body):
            if found.setdefault(parameter.name, parameter) != parameter:
                raise ValueError(f"parameter `{parameter.name}` has two defaults")
    return tuple(found.values())


def fill(
    text: str,
    values: Mapping[str, Value],
    *,
    slots: Mapping[str, tuple[str, str]] | None = None,
    ids: Mapping[str, str] | None = None,
) -> str:
    """The policies of a text with their parameters and slots filled, as Cedar writes them.

    ``slots`` gives an entity (type, id) for ``?principal`` and ``?resource``; ``ids`` renames
    policies by their @id. What is not a parameter or a slot of the text is refused.

    Raises:
        Refused: MALFORMED for an unknown parameter or slot, a slot without a value, or a value
            of another type than the default.
    """
    known = {parameter.name: parameter for parameter in parameters(text)}
    for name, value in values.items():
        _check(name, value, known)
    bodies = [_filled(body, values, slots or {}, ids or {}) for body in _bodies(text).values()]
    document = {
        "staticPolicies": {f"policy{index}": body for index, body in enumerate(bodies)},
        "templates": {},
        "templateLinks": [],
    }
    made: str = cedarpy.format_policies(cedarpy.policies_from_json_str(json.dumps(document)))
    again = json.loads(cedarpy.policies_to_json_str(made))["staticPolicies"]
    if list(again.values()) != bodies:
        raise Refused(Kind.MALFORMED, "a value could not be written as a policy's value")
    return made.rstrip() + "\n"


def _bodies(text: str) -> dict[str, Any]:
    document = json.loads(cedarpy.policies_to_json_str(text))
    bodies: dict[str, Any] = {**document["staticPolicies"], **document["templates"]}
    return dict(sorted(bodies.items(), key=lambda item: int(item[0].removeprefix("policy"))))


def _parameters(body: Mapping[str, Any]) -> Iterator[Parameter]:
    declared = body.get("annotations", {}).get(PARAMETERS) or ""
    literals = set(_literals(body))
    for found in _PARAMETER.finditer(declared):
        value: Value = found["value"]
        number = re.fullmatch(r"-?\d+", found["value"])
        if number is not None and ("n", int(found["value"])) in literals:
            value = int(found["value"])
        elif ("s", found["value"]) not in literals:
            raise ValueError(f"parameter `{found['name']}` names no literal of its policy")
        yield Parameter(found["name"], value)


def _literals(node: Any) -> Iterator[tuple[str, Value]]:
    """Numbers and texts, and the ids of entities, wherever they stand."""
    if isinstance(node, dict):
        value = node.get("Value")
        if type(value) is int:
            yield "n", value
        elif isinstance(value, str):
            yield "s", value
        if "type" in node and isinstance(node.get("id"), str):
            yield "s", node["id"]
        for name, inner in node.items():
            if name != "annotations":
                yield from _literals(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _literals(inner)


def _check(name: str, value: Value, known: Mapping[str, Parameter]) -> None:
    parameter = known.get(name)
    if parameter is None:
        listed = f"there is {', '.join(sorted(known))}" if known else "nothing may be chosen here"
        raise Refused(Kind.MALFORMED, f"there is no parameter `{name[:64]}`; {listed}")
    if type(value) is not type(parameter.default):
        kind = "a whole number" if type(parameter.default) is int else "a text"
        raise Refused(Kind.MALFORMED, f"parameter `{name}` is {kind}")
    if isinstance(value, int) and not -_LONG <= value < _LONG:
        raise Refused(Kind.MALFORMED, f"parameter `{name}` is too large")
    if isinstance(value, str) and not 0 < len(value) <= MAX_TEXT:
        raise Refused(Kind.MALFORMED, f"parameter `{name}` has 1 to {MAX_TEXT} characters")


def _filled(
    body: Mapping[str, Any],
    values: Mapping[str, Value],
    slots: Mapping[str, tuple[str, str]],
    ids: Mapping[str, str],
) -> dict[str, Any]:
    chosen = {
        parameter.default: values[parameter.name]
        for parameter in _parameters(body)
        if parameter.name in values
    }
    made: dict[str, Any] = _replaced(body, chosen)
    annotations = dict(body.get("annotations", {}))
    if PARAMETERS in annotations:
        annotations[PARAMETERS] = ", ".join(
            f"{each.name}={values.get(each.name, each.default)}" for each in _parameters(body)
        )
    if annotations.get("id") in ids:
        annotations["id"] = ids[annotations["id"]]
    made["annotations"] = annotations
    for part, slot in _SLOTS.items():
        if made[part].get("slot") != slot:
            continue
        if slot not in slots:
            raise Refused(Kind.MALFORMED, f"this rule needs a value for `{slot}`")
        kind, name = slots[slot]
        # Nothing is a server; its tools are in it.
        op = "in" if kind == "Server" else made[part]["op"]
        made[part] = {"op": op, "entity": {"type": kind, "id": name}}
    return made


def _replaced(node: Any, chosen: Mapping[Value, Value]) -> Any:
    if isinstance(node, list):
        return [_replaced(inner, chosen) for inner in node]
    if not isinstance(node, dict):
        return node
    made = {name: _replaced(inner, chosen) for name, inner in node.items() if name != "annotations"}
    for name in ("Value", "id"):
        value = made.get(name)
        # True equals 1 to Python, and is no number to Cedar.
        if not isinstance(value, int | str) or isinstance(value, bool):
            continue
        if (name == "Value" or "type" in made) and value in chosen:
            made[name] = chosen[value]
    return made
