"""Drafts of mandates, for a person to look at, narrow and confirm. Nothing here grants anything.

From the person's words and the catalogue, deterministically (``authorization.intent.proposal``).
A language model may be asked as well, if the operator set one up: what it says can only narrow that
draft, and stands apart until a person commits it. It is never asked when a call is decided.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from actfor.authorization.intent import ToolReading, read_words
from actfor.authorization.intent.proposal import Draft, propose
from actfor.delegation.model import parse_goal
from actfor.errors import Kind, Refused
from actfor.gateway.catalog import Catalog
from actfor.gateway.effects import SqlEffect
from actfor.gateway.model import Tool
from actfor.gateway.provenance import KnownTool
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import (
    Authority,
    Grant,
    authority_from_draft,
    draft_of,
    explain,
    narrows,
)

logger = logging.getLogger(__name__)

MAX_TOOLS: Final = 256


class Proposer(Protocol):
    """Something that reads words and suggests limits. Untrusted: a model, or whoever answers."""

    async def suggest(self, words: str, tools: Sequence[JsonObject]) -> JsonObject:
        """A draft of an authority (``wire.rar.draft``), from words and tool descriptions.

        Raises:
            Refused: BUSY if there is no answer, MALFORMED if it is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """A draft, what it says in plain words, and for each tool why it is in it.

    ``by`` is `words`, or `model` where a model narrowed it.
    """

    goal: str
    authority: Authority
    lines: tuple[JsonObject, ...]
    by: str = "words"
    note: str = ""

    def to_json(self) -> dict[str, JsonValue]:
        """For the management API; ``draft`` is what ``POST /v1/mandates`` takes, but for agent and
        end.
        """
        return {
            "draft": {"goal": self.goal, **draft_of(self.authority)},
            "words": list(explain(self.authority)),
            "lines": list(self.lines),
            "by": self.by,
            "note": self.note,
        }


class Proposals:
    """Proposals over the governed servers; ``proposer`` is None unless an operator set one up."""

    def __init__(self, catalog: Catalog, proposer: Proposer | None = None) -> None:
        self._catalog = catalog
        self._proposer = proposer

    @property
    def has_model(self) -> bool:
        """Whether a language model may be asked."""
        return self._proposer is not None

    def from_words(self, words: str, servers: Sequence[str] = ()) -> Proposal:
        """What the words mean, over the approved tools of ``servers`` (all, if none is named).

        Raises:
            Refused: MALFORMED for words that are no goal, or leave no tool; NOT_FOUND for a server.
        """
        goal = parse_goal(words)
        readings = self._readings(servers)
        drafted = propose(read_words([goal]), readings)
        return Proposal(goal, self._with_sql(drafted.authority), _lines(drafted))

    async def from_model(self, words: str, servers: Sequence[str] = ()) -> Proposal:
        """The draft from the words, as narrowed by the language model.

        Of what the model says, only what is within that draft is taken; the rest is left out and
        said so. Where it says nothing usable, the draft stays as it was.

        Raises:
            Refused: NOT_FOUND if no model is set up; BUSY if it does not answer; else as
                ``from_words``.
        """
        if self._proposer is None:
            raise Refused(Kind.NOT_FOUND, "no language model is set up to propose mandates")
        plain = self.from_words(words, servers)
        tools = [_described(tool) for tool in self._tools(servers)]
        said = await self._proposer.suggest(plain.goal, tools)
        try:
            suggested = authority_from_draft(said)
        except Refused as refused:
            return replace(plain, note=f"the model's answer was not used: {refused.detail}")
        kept, dropped = _within(suggested, plain.authority)
        if not kept:
            return replace(plain, note="the model's answer was not used: it went beyond the words")
        budget = plain.authority.budget
        narrowed = replace(plain.authority, grants=kept)
        if narrows(replace(narrowed, budget=suggested.budget), plain.authority) is None:
            budget = suggested.budget
        note = f"{dropped} of the model's grants went beyond the words and were left out"
        return replace(
            plain,
            authority=replace(narrowed, budget=budget),
            by="model",
            note=note if dropped else "",
        )

    def _readings(self, servers: Sequence[str]) -> list[tuple[str, ToolReading]]:
        return [(tool.server, _known(tool).reading) for tool in self._tools(servers)]

    def _tools(self, servers: Sequence[str]) -> list[Tool]:
        governed = {server.name: server for server in self._catalog.servers()}
        for name in servers:
            if name not in governed:
                raise Refused(Kind.NOT_FOUND, f"server `{name[:64]}` is not governed here")
        found = [
            tool
            for name, server in sorted(governed.items())
            if not servers or name in servers
            for tool in server.tools.values()
            if tool.is_pinned
        ]
        return found[:MAX_TOOLS]

    def _with_sql(self, authority: Authority) -> Authority:
        """Tools whose effect is that of the text they are given may also read."""
        by_text = {
            (tool.server, tool.name)
            for tool in self._tools(())
            if isinstance(tool.overlay.effect, SqlEffect)
        }
        return replace(authority, grants=tuple(_reading_too(g, by_text) for g in authority.grants))


def _reading_too(grant: Grant, by_text: set[tuple[str, str]]) -> Grant:
    if any((grant.server, name) in by_text for name in grant.tools):
        return replace(grant, effects=(*grant.effects, "read"))
    return grant


def _within(suggested: Authority, drafted: Authority) -> tuple[tuple[Grant, ...], int]:
    """The suggested grants that narrow the draft, as drafted ones; and how many do not."""
    bound = [replace(grant, purpose_bound=True) for grant in suggested.grants]
    kept = [grant for grant in bound if narrows(replace(drafted, grants=(grant,)), drafted) is None]
    return tuple(kept), len(bound) - len(kept)


def _known(tool: Tool) -> KnownTool:
    definition = tool.pinned or tool.listed
    description, schema = definition.get("description"), definition.get("inputSchema")
    return KnownTool.of(
        tool.name,
        description if isinstance(description, str) else "",
        schema if isinstance(schema, dict) else {},
        tool.overlay,
    )


def _described(tool: Tool) -> JsonObject:
    """A tool as a model is told of it: approved definitions only."""
    definition = tool.pinned or {}
    effect = tool.overlay.effect
    return {
        "server": tool.server,
        "tool": tool.name,
        "description": definition.get("description", ""),
        "input_schema": definition.get("inputSchema", {}),
        "effect": "by statement" if isinstance(effect, SqlEffect) else effect.value,
    }


def _lines(drafted: Draft) -> tuple[JsonObject, ...]:
    return tuple(_line(drafted))


def _line(drafted: Draft) -> Iterator[JsonObject]:
    for line in drafted.lines:
        yield {
            "server": line.server,
            "tool": line.tool,
            "effect": line.effect.value,
            "asked": line.ask.name.lower(),
            "because": line.because,
            "approval": line.approval,
        }
