"""What every upstream promises.

INVARIANT: a call reaches a server only on a connection whose own listing carries the approved
definition of that tool. A server that restarts with other tools is noticed before it is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from actfor.gateway.model import Definition
from actfor.wire.canonical import JsonObject, JsonValue

OnListed: TypeAlias = Callable[[str, Mapping[str, Definition]], Awaitable[None]]
"""Told each listing a connection takes, before any call uses that connection."""

MAX_PAGES: Final = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes. ``call_seconds`` bounds one tool call, ``start_seconds`` a connection."""

    start_seconds: float = 20.0
    call_seconds: float = 60.0
    answer_bytes: int = 4 * 1024 * 1024


class UpstreamError(Exception):
    """The server's own JSON-RPC error, to be passed on as it is."""

    def __init__(self, code: int, message: str, data: JsonValue | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.data = code, message, data


class UpstreamLost(Exception):  # noqa: N818 - a state of the world
    """No answer from the server. ``detail`` is ours and safe to show.

    ``sent`` tells whether the call may have been executed.
    """

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.detail, self.sent = detail, sent


class Upstream(Protocol):
    """One governed server."""

    async def refresh(self) -> Mapping[str, Definition]:
        """Connect if need be, list the tools, report them to ``on_listed``, return them.

        Raises:
            UpstreamLost: it cannot be reached.
            Refused: MALFORMED if what it lists cannot be governed.
        """
        ...

    async def call(self, tool: str, digest: str, arguments: JsonObject) -> JsonObject:
        """Call the tool whose definition has this digest; the result is passed on untouched.

        Does not decide whether the caller may; ``gateway.enforce`` did.

        Raises:
            UpstreamError: the server answered with a JSON-RPC error.
            UpstreamLost: it did not answer, or no longer lists that definition.
        """
        ...

    async def close(self) -> None:
        """End the connection and the process, if there is one. Calls in flight are lost."""
        ...


def check_listed(name: str, listed: Mapping[str, Definition], tool: str, digest: str) -> None:
    """Refuse to call what this connection does not list as approved."""
    definition = listed.get(tool)
    if definition is None or definition.digest != digest:
        raise UpstreamLost(
            f"`{tool}` of `{name}` is no longer the tool that was approved", sent=False
        )


def next_cursor(page: JsonObject, seen: set[str]) -> str | None:
    """The cursor of the next page of a listing, or None. Ends what would never end."""
    cursor = page.get("nextCursor")
    if not isinstance(cursor, str) or cursor in seen or len(seen) >= MAX_PAGES:
        return None
    seen.add(cursor)
    return cursor


def tools_of(page: JsonObject) -> Sequence[JsonValue]:
    """The tools on one page; raises UpstreamLost if it is no listing."""
    tools = page.get("tools")
    if not isinstance(tools, list):
        raise UpstreamLost("the server's list of tools is not a list", sent=False)
    return tools
