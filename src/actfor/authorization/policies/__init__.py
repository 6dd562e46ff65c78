"""The packaged policies: the schema every set obeys, the default pack, packs for common agents.

A pack is layered on the default: its ``permit``s widen what needs no question, its ``forbid``s hold
whoever approves. Each has a table of scenarios beside it (``packs/NAME.yaml``).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from actfor.authorization.model.template import Parameter, Value, fill, parameters
from actfor.errors import Kind, Refused

PACKS: Mapping[str, str] = {
    "coding": "writes software: reads and writes freely, runs in the sandbox, spends nothing",
    "finance": "prepares and makes payments: measured code, small sums, a ceiling",
    "support": "answers customers: replies and small refunds without asking",
    "operations": "runs systems: measured code, a person for every change, nothing leaves",
    "guarded": "any agent: money, deletion, infrastructure, access and code always ask",
}


def schema_source() -> str:
    """The Cedar schema, as text."""
    return _text("schema.cedarschema")


def default_source() -> str:
    """The default policy pack, as text."""
    return _text("default.cedar")


def pack_source(name: str, values: Mapping[str, Value] | None = None) -> str:
    """The default pack with one of PACKS on top of it, its parameters chosen.

    Raises:
        Refused: NOT_FOUND; MALFORMED for a parameter it has not, or a value of another type.
    """
    text = _pack(name)
    chosen = values or {}
    return default_source() + "\n" + (fill(text, chosen) if chosen else text)


def pack_parameters(name: str) -> tuple[Parameter, ...]:
    """What may be chosen in a pack.

    Raises:
        Refused: NOT_FOUND.
    """
    return parameters(_pack(name))


def pack_table(name: str) -> str:
    """A pack's scenarios, as YAML. They hold for its default parameters.

    Raises:
        Refused: NOT_FOUND.
    """
    _pack(name)
    return _text(f"packs/{name}.yaml")


def rule(
    name: str,
    rule_id: str,
    *,
    agent: str,
    tool: str | None = None,
    values: Mapping[str, Value] | None = None,
) -> str:
    """A rule for one agent and one tool (``server/tool``) or server, made from a template.

    Raises:
        Refused: NOT_FOUND; MALFORMED for what the template does not take.
    """
    templates = rules()
    if name not in templates:
        raise Refused(Kind.NOT_FOUND, f"there is no rule `{name[:64]}`: {', '.join(templates)}")
    slots = {"?principal": ("Agent", agent)}
    if tool is not None:
        slots["?resource"] = ("Tool" if "/" in tool else "Server", tool)
    return fill(templates[name], values or {}, slots=slots, ids={name: rule_id})


def rules() -> dict[str, str]:
    """The templates of ``rule``, by name."""
    found: dict[str, Any] = {}
    for statement in _text("templates.cedar").split("\n\n"):
        if '@id("' in statement:
            found[statement.partition('@id("')[2].partition('"')[0]] = statement
    return found


def _pack(name: str) -> str:
    if name not in PACKS:
        known = ", ".join(PACKS)
        raise Refused(Kind.NOT_FOUND, f"there is no pack `{name[:64]}`: there is {known}")
    return _text(f"packs/{name}.cedar")


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
