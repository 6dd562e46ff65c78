"""A tool as provenance sees it: the operator's overlay, else what its definition reads like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from actfor.authorization.intent import SinkType, ToolReading, read_tool
from actfor.authorization.model import ToolEffect
from actfor.gateway.effects import Judged, Overlay, Results, SqlEffect, judge
from actfor.wire.canonical import JsonObject


@dataclass(frozen=True, slots=True)
class ToolDescription:
    """A tool of a catalogue. ``overlay`` is the operator's; None leaves it to a suggestion."""

    name: str
    description: str
    input_schema: JsonObject
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
            Refused: MALFORMED for an overlay that is none.
        """
        overlay = None if tool.overlay is None else Overlay.from_json(tool.overlay)
        if overlay is not None and tool.overlay is not None and "effect" not in tool.overlay:
            # A replay has nobody to ask what a tool does; at the gateway, silence is UNKNOWN.
            suggested = read_tool(tool.name, tool.description, tool.input_schema).effect
            overlay = replace(overlay, effect=suggested)
        return cls.of(tool.name, tool.description, tool.input_schema, overlay)

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


def suggest_overlay(tool: ToolDescription) -> Overlay:
    """The overlay that a tool's name, description and schema suggest, for an operator to look at.

    A reading of a stranger's words: never in force at the gateway until an operator says so.
    """
    return suggest(read_tool(tool.name, tool.description, tool.input_schema))


def suggest(reading: ToolReading) -> Overlay:
    """The overlay of a reading."""
    return Overlay(reading.effect, None, reading.sinks)
