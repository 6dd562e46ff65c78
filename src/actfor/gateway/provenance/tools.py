"""A tool as provenance sees it: the operator's overlay, else what its definition reads like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from actfor.authorization.intent import SinkType, ToolReading, read_tool
from actfor.authorization.model import ToolEffect
from actfor.errors import Kind, Refused
from actfor.gateway.effects import Judged, Overlay, Results, SqlEffect, judge
from actfor.gateway.provenance.given import require
from actfor.wire.canonical import JsonObject
from actfor.wire.rar import member_pointer


@dataclass(frozen=True, slots=True)
class ToolDescription:
    """A tool of a catalogue. ``overlay`` is the operator's; None leaves it to a suggestion.

    Without ``input_schema`` an argument is for what its name and the description say.
    """

    name: str
    description: str | None = ""
    input_schema: JsonObject | None = None
    overlay: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class KnownTool:
    """A tool with overlay and reading. ``suggested`` says that no operator has spoken."""

    name: str
    overlay: Overlay
    reading: ToolReading
    sinks: Mapping[str, SinkType]
    suggested: bool

    @classmethod
    def read(cls, tool: ToolDescription) -> Self:
        """From a description.

        Raises:
            Refused: MALFORMED for what describes no tool, and for an overlay that is none.
        """
        name, description, schema = _described(tool)
        overlay = _overlay(tool)
        if overlay is not None:
            _require_arguments(name, overlay, schema)
        if overlay is not None and tool.overlay is not None and "effect" not in tool.overlay:
            # A replay has nobody to ask what a tool does; at the gateway, silence is UNKNOWN.
            overlay = replace(overlay, effect=read_tool(name, description, schema).effect)
        return cls.of(name, description, schema, overlay)

    @classmethod
    def of(cls, name: str, description: str, schema: JsonObject, overlay: Overlay | None) -> Self:
        """From a definition and the operator's overlay, if there is one."""
        reading = read_tool(name, description, schema)
        suggested = overlay is None
        if overlay is None:
            overlay = suggest(reading)
        if isinstance(overlay.effect, ToolEffect) and overlay.effect is not reading.effect:
            reading = reading.as_effect(overlay.effect)
        reading = replace(reading, sinks={**reading.sinks, **overlay.sinks})
        return cls(name, overlay, reading, reading.sinks, suggested)

    @property
    def results(self) -> Results | None:
        """The operator's rules for what comes back, if they gave any."""
        return self.overlay.results

    @property
    def returns_content(self) -> bool:
        """Whether what comes back was written by others: the operator's word, else the reading."""
        rules = self.overlay.results
        return self.reading.content if rules is None else not rules.trusted_whole

    @property
    def sql(self) -> SqlEffect | None:
        """Which argument is SQL, where the operator says that one is."""
        effect = self.overlay.effect
        return effect if isinstance(effect, SqlEffect) else None

    def judge(self, arguments: JsonObject) -> Judged:
        """Effect and amount of one call."""
        return judge(self.overlay, None, arguments)

    def called(self, name: str) -> Self:
        """The same tool under another name: two servers may have tools of one name."""
        return replace(self, name=name)

    def with_overlay(self, overlay: Overlay) -> Self:
        """The tool once an operator has spoken."""
        return replace(self, overlay=overlay, suggested=False)


def catalogue(tools: Iterable[ToolDescription]) -> list[KnownTool]:
    """The tools of a decision point.

    Raises:
        Refused: MALFORMED if there is none, one is described twice, or one cannot be read.
    """
    require(tools, Iterable, "`tools` are a list of `ToolDescription`s")
    known: dict[str, KnownTool] = {}
    for tool in map(KnownTool.read, tools):
        if tool.name in known:
            raise Refused(Kind.MALFORMED, f"tool `{tool.name[:64]}` is described twice")
        known[tool.name] = tool
    if not known:
        raise Refused(Kind.MALFORMED, "`tools` are empty: there is nothing to ask for")
    return list(known.values())


def suggest_overlay(tool: ToolDescription) -> Overlay:
    """The overlay that a tool's name, description and schema suggest, for an operator to look at.

    A reading of a stranger's words: never in force at the gateway until an operator says so.
    """
    return suggest(read_tool(*_described(tool)))


def _described(tool: ToolDescription) -> tuple[str, str, JsonObject]:
    """Name, description and schema, as they are read.

    Raises:
        Refused: MALFORMED, naming what is of another type.
    """
    told = f"`tools` are `ToolDescription`s, and one is a `{type(tool).__name__}`"
    require(tool, ToolDescription, told)
    require(tool.name, str, "the `name` of a tool is a text")
    description = "" if tool.description is None else tool.description
    schema = {} if tool.input_schema is None else tool.input_schema
    require(description, str, f"the `description` of `{tool.name[:64]}` is a text, or left out")
    told = f"the `input_schema` of `{tool.name[:64]}` is a JSON Schema object, or left out"
    require(schema, Mapping, told)
    return tool.name, description, dict(schema)


def _overlay(tool: ToolDescription) -> Overlay | None:
    try:
        return None if tool.overlay is None else Overlay.said(tool.overlay)
    except Refused as refused:
        detail = f"the overlay of `{tool.name[:64]}`: {refused.detail}"
        raise Refused(refused.kind, detail) from refused


def _require_arguments(name: str, overlay: Overlay, schema: JsonObject) -> None:
    """Refuse an overlay that speaks of an argument which the schema does not have: a slip of the
    pen would leave the argument that was meant to what its name says.

    Raises:
        Refused: MALFORMED, naming it and those that there are.
    """
    there = schema.get("properties")
    if not isinstance(there, Mapping) or schema.get("additionalProperties"):
        return
    known = [member_pointer("", str(argument)) for argument in there]
    for pointer in overlay.sinks:
        if "/" + pointer.split("/")[1] not in known:
            raise Refused(
                Kind.MALFORMED,
                f"the overlay of `{name[:64]}`: `sinks`: there is no argument `{pointer[:64]}`;"
                f" there are {', '.join(known[:32]) or 'none'}",
            )


def suggest(reading: ToolReading) -> Overlay:
    """The overlay of a reading."""
    return Overlay(reading.effect, None, reading.sinks)
