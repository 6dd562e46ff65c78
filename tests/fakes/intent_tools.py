"""Tools described in one line, and what a decision point says about a call."""

from datetime import UTC, datetime

from actfor.gateway.provenance import DecisionPoint, ToolDescription
from actfor.wire.canonical import JsonObject, JsonValue

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def said(words: str, *tools: ToolDescription) -> DecisionPoint:
    return DecisionPoint.propose(words, list(tools), now=NOW)


def tool(name: str, description: str, arguments: str, **overlay: JsonValue) -> ToolDescription:
    properties: JsonObject = {argument: {"type": "string"} for argument in arguments.split()}
    return ToolDescription(name, description, {"properties": properties}, overlay=overlay or None)


def effect(point: DecisionPoint, name: str, **arguments: JsonValue) -> str:
    return point.decide(name, arguments).effect.value
