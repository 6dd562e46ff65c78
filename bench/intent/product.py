"""The product's decision point, reached through its documented entry.

Overlays: `ours` is what overlays/*.yaml says, in the product's form; `suggested` is the product's
own suggestion, accepted unread; `none` leaves every tool undescribed.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any, cast

from actfor.authorization import compile_policies
from actfor.authorization.model import PolicySet
from actfor.gateway.provenance import DecisionPoint, ToolDescription
from actfor.wire.rar import Authority, Constraint, Grant
from actfor.wire.rar.constraint import OneOf
from bench.intent.overlays import Tool
from bench.intent.trial import Call, Point

SERVER = "tools"
"""What the product calls the server of a catalogue that names none."""

_TYPES = {"id": "name", "address": "name"}
"""Our kinds of sinks in the product's words, where it has no such word itself."""


def proposed(words: str, tools: tuple[Tool, ...], overlay: str, now: datetime) -> Point:
    """A point with the mandate that the product itself proposes from the person's words."""
    point = DecisionPoint.propose(
        words, descriptions(tools, overlay), now=now, policies=_policies()
    )
    return cast("Point", point)


@cache
def _policies() -> PolicySet:
    """The default pack, compiled once as a server does."""
    return compile_policies()


def oracle(
    words: str, tools: tuple[Tool, ...], calls: list[Call], overlay: str, now: datetime
) -> Point:
    """A point whose mandate was written knowing the person's calls: the upper bound.

    Each tool they use may be used as often as they use it, its sinks with their values alone.
    """
    effects = {tool.name: tool.effect for tool in tools}
    sinks = {tool.name: tool.sinks for tool in tools}
    grants = [
        _grant(name, effects[name], [c for c in calls if c.tool == name], list(sinks[name]))
        for name in dict.fromkeys(call.tool for call in calls)
    ]
    point = DecisionPoint.propose(
        words,
        descriptions(tools, overlay),
        now=now,
        policies=_policies(),
        authority=Authority(tuple(grants) or (Grant(SERVER, ("none",), ("read",)),)),
    )
    return cast("Point", point)


def _grant(tool: str, effect: str, calls: list[Call], sinks: list[str]) -> Grant:
    limits: dict[str, Constraint] = {}
    for pointer in sinks:
        values = [call.arguments.get(pointer[1:]) for call in calls]
        if all(value is not None for value in values):
            limits[pointer] = OneOf(tuple(values))
    most = None if effect == "read" else len(calls)
    return Grant(SERVER, (tool,), (effect,), limits, most)


def descriptions(tools: tuple[Tool, ...], overlay: str) -> list[ToolDescription]:
    """The catalogue as the product takes it; where no overlay is given it makes do with its own."""
    return [
        ToolDescription(tool.name, tool.description, dict(tool.schema), _overlay(tool, overlay))
        for tool in tools
    ]


def _overlay(tool: Tool, overlay: str) -> dict[str, Any] | None:
    if overlay == "suggested":
        return None
    return {"effect": "unknown"} if overlay == "none" else in_product_form(tool)


def in_product_form(tool: Tool) -> dict[str, Any]:
    """Our neutral entry as the product's overlay."""
    body: dict[str, Any] = {"effect": tool.effect, "results": _results(tool)}
    if tool.sinks:
        body["sinks"] = {pointer: _TYPES.get(kind, kind) for pointer, kind in tool.sinks.items()}
    if tool.amount:
        body["amount"] = dict(tool.amount)
    return body


def _results(tool: Tool) -> Any:
    whole = "trusted" if "" in tool.trusted else "untrusted"
    fields = {"trusted": tool.trusted, "author": tool.author, "secret": tool.secret}
    named = {key: [p for p in pointers if p] for key, pointers in fields.items()}
    kept = {key: pointers for key, pointers in named.items() if pointers}
    return {"label": whole, **kept} if kept else whole
