"""The governed servers and their tools, as an operator approved them.

A tool's definition is approved by its digest, and stays what was approved:

    unapproved -> pinned                    an operator approves the definition shown to them
    pinned     -> changed                   the server lists another definition; denied
    changed    -> pinned                    an operator approves the new definition
    pinned     -> missing                   the server lists it no more; denied
    missing    -> pinned | changed          it comes back, to the byte or not

An unapproved or changed tool stays so, listed or not, until an operator approves it.

INVARIANT: only PINNED tools are called, and only while the server still lists the pinned digest.
Agents see the pinned definition, never the listed one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from actfor.errors import Kind, Refused
from actfor.gateway.effects import Overlay
from actfor.gateway.targets import Http, Stdio, Transport, transport_from_json
from actfor.wire.canonical import JsonObject, JsonValue, canonical
from actfor.wire.mcp import pinned_definition, tool_digest
from actfor.wire.timestamps import to_ms

SERVER_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A server's name is a path segment of its audience: ASCII, lower case, none looks alike."""

TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_.\-/]{1,128}")
"""MCP 2025-11-25, tools: the characters a tool's name should have. Others are refused (C6)."""

__all__ = [
    "Definition",
    "Http",
    "Server",
    "Stdio",
    "Tool",
    "ToolState",
    "Transport",
    "changes",
    "check_server_name",
    "read_listing",
    "transport_from_json",
]

MAX_TOOLS: Final = 1000
MAX_DEFINITION: Final = 65_536
"""Bytes of one definition's canonical form."""

_TICK: Final = timedelta(milliseconds=1)


class ToolState(StrEnum):
    """Where a tool stands. Only PINNED is ever called."""

    UNAPPROVED = "unapproved"
    PINNED = "pinned"
    CHANGED = "changed"
    MISSING = "missing"


def _malformed(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, detail)


def check_server_name(name: str) -> str:
    """The name, if it may be one.

    Raises:
        Refused: MALFORMED.
    """
    if not SERVER_NAME.fullmatch(name):
        raise _malformed(
            "a server's name has lower-case letters, digits and inner hyphens, at most 63"
        )
    return name


@dataclass(frozen=True, slots=True)
class Definition:
    """One tool as its server lists it now, with ``_meta`` left out."""

    name: str
    body: JsonObject
    digest: str


def read_listing(tools: Iterable[JsonValue]) -> dict[str, Definition]:
    """The definitions in a ``tools/list`` answer, by name.

    Raises:
        Refused: MALFORMED if one is no definition, two share a name, or they are too many or too
            large: a server that says such things is not asked for anything.
    """
    found: dict[str, Definition] = {}
    for tool in tools:
        definition = _definition(tool)
        if definition.name in found:
            raise _malformed(f"the server lists `{definition.name}` twice")
        found[definition.name] = definition
        if len(found) > MAX_TOOLS:
            raise _malformed(f"the server lists more than {MAX_TOOLS} tools")
    return found


def _definition(tool: JsonValue) -> Definition:
    if not isinstance(tool, dict):
        raise _malformed("the server lists a tool that is not an object")
    name, schema = tool.get("name"), tool.get("inputSchema")
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        raise _malformed(
            "the server lists a tool whose name has other characters than a-z A-Z 0-9 _ - . /"
        )
    if not isinstance(schema, dict):
        raise _malformed(f"the server lists `{name}` without an input schema")
    body = pinned_definition(tool)
    if len(canonical(body)) > MAX_DEFINITION:
        raise _malformed(f"the definition of `{name}` is larger than {MAX_DEFINITION} bytes")
    return Definition(name, body, tool_digest(tool))


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of one server. ``listed`` is what the server says, ``pinned`` what was approved."""

    server: str
    name: str
    listed: JsonObject
    listed_digest: str
    state: ToolState
    overlay: Overlay = field(default_factory=Overlay)
    pinned: JsonObject | None = None
    pinned_digest: str | None = None
    approved_by: str | None = None
    approved_at: datetime | None = None
    mirrors_headers: bool = field(init=False, compare=False, repr=False)
    """Whether the pinned schema asks clients to mirror arguments in ``Mcp-Param-*`` headers."""

    def __post_init__(self) -> None:
        mirrors = self.pinned is not None and b'"x-mcp-header"' in canonical(self.pinned)
        object.__setattr__(self, "mirrors_headers", mirrors)

    @classmethod
    def first_seen(cls, server: str, definition: Definition) -> Self:
        """A tool nobody has approved yet."""
        return cls(
            server, definition.name, definition.body, definition.digest, ToolState.UNAPPROVED
        )

    @property
    def epoch(self) -> int:
        """Rises with each approval: what was permitted under an earlier one ended with its pin."""
        return 0 if self.approved_at is None else to_ms(self.approved_at)

    @property
    def is_pinned(self) -> bool:
        """Whether it may be called at all."""
        return self.state is ToolState.PINNED and self.pinned_digest == self.listed_digest

    def seen(self, definition: Definition | None) -> Self:
        """The tool after its server listed ``definition`` for it, or no more listed it."""
        if definition is None:
            gone = self.state is ToolState.PINNED
            return replace(self, state=ToolState.MISSING) if gone else self
        same = definition.digest == self.pinned_digest
        if self.pinned_digest is None:
            state = ToolState.UNAPPROVED
        elif same and self.state in {ToolState.PINNED, ToolState.MISSING}:
            state = ToolState.PINNED
        else:
            # Also when a changed tool turns back: whoever flips a definition is looked at.
            state = ToolState.CHANGED
        return replace(self, listed=definition.body, listed_digest=definition.digest, state=state)

    def approve(self, digest: str, person: str, now: datetime) -> Self:
        """Pin the listed definition, which the operator saw as ``digest``.

        Raises:
            Refused: CONFLICT if the server lists something else by now, or nothing.
        """
        if self.state is ToolState.MISSING:
            raise Refused(Kind.CONFLICT, f"the server no longer lists `{self.name}`")
        if digest != self.listed_digest:
            raise Refused(
                Kind.CONFLICT, f"the definition of `{self.name}` is not the one you were shown"
            )
        return replace(
            self,
            state=ToolState.PINNED,
            pinned=self.listed,
            pinned_digest=digest,
            approved_by=person,
            approved_at=now if self.approved_at is None else max(now, self.approved_at + _TICK),
        )


@dataclass(frozen=True, slots=True)
class Server:
    """One governed server and its tools, by name."""

    name: str
    transport: Transport
    added_by: str
    added_at: datetime
    tools: Mapping[str, Tool] = field(default_factory=dict)

    def with_tool(self, tool: Tool) -> Self:
        """The server with ``tool`` in place of its former self."""
        return replace(self, tools={**self.tools, tool.name: tool})


def changes(server: Server, listing: Mapping[str, Definition]) -> list[Tool]:
    """The tools that are not what they were, after a listing: new, changed, gone, or back."""
    known = [tool.seen(listing.get(name)) for name, tool in server.tools.items()]
    new = [
        Tool.first_seen(server.name, definition)
        for name, definition in listing.items()
        if name not in server.tools
    ]
    return [tool for tool in known if tool != server.tools[tool.name]] + new
