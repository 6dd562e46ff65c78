"""The decision points: the product's, and two that anyone could write, to know what they are worth.

The product is reached as any foreign harness would: its documented entry, given the person's words,
the tools with an overlay, and then call by call. Nothing about a task, a label or an attack is
passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench.intent.overlays import Tool
from bench.intent.trial import Call, JsonObject, Point

NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""The time at which every trial is decided: reruns must not depend on the clock."""

Maker = Callable[[str, tuple[Tool, ...], list[Call] | None], Point]
"""(the person's words, the tools, the person's own calls if an oracle may see them) → a point."""


@dataclass(frozen=True, slots=True)
class Said:
    """A verdict of the simple points."""

    effect: str
    reasons: str = ""
    slots: tuple[Any, ...] = ()


class Permits:
    """No defence."""

    def decide(self, tool: str, arguments: JsonObject) -> Said:
        """Permit."""
        return Said("permit")

    def record(
        self, tool: str, arguments: JsonObject, result: Any, *, approved: bool = False
    ) -> None:
        """Nothing to remember."""

    def endorse(self, tool: str, pointer: str, value: Any) -> None:
        """Nothing to remember."""


@dataclass
class AsksForWrites(Permits):
    """Every call that is not a read asks the person."""

    tools: tuple[Tool, ...]

    def decide(self, tool: str, arguments: JsonObject) -> Said:
        """Permit reads."""
        reads = {known.name for known in self.tools if not known.changes}
        return Said("permit") if tool in reads else Said("step_up", "not a read")


def maker(kind: str, *, overlay: str = "ours") -> Maker:
    """A maker of points by name: `proposed`, `oracle`, `none`, `ask`.

    Raises:
        ImportError: the product's decision point is not in this checkout.
    """
    if kind == "none":
        return lambda words, tools, calls: Permits()
    if kind == "ask":
        return lambda words, tools, calls: AsksForWrites(tools)
    from bench.intent import product

    if kind == "oracle":
        return lambda words, tools, calls: product.oracle(words, tools, calls or [], overlay, NOW)
    return lambda words, tools, calls: product.proposed(words, tools, overlay, NOW)


def changing(tools: Iterable[Tool]) -> frozenset[str]:
    """The names of the tools whose calls change something."""
    return frozenset(tool.name for tool in tools if tool.changes)
