"""The mandate that a person's words mean, drafted for them to see, narrow and confirm.

Deterministic: the same words and catalogue give the same draft, to the byte. Reads are granted;
what the words ask for is granted, each line with the words it rests on, within what they say of
it (``limits``); what else could be a step on the way is granted and bound by provenance. A grave
effect that nobody asked for is granted only with a person's approval each time, and so is what is
beyond the limits: words may be misread, so a person is asked before anything is refused. Who wants
it refused strikes that second grant. A tool the words forbid is not granted at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from actfor.authorization.intent.asking import Ask, Grounds, asks
from actfor.authorization.intent.limits import MOST_LIMITED, NONE, Limits, limits_of
from actfor.authorization.intent.request import Wish
from actfor.authorization.intent.tool import ToolReading
from actfor.authorization.model.facts import ToolEffect
from actfor.errors import Kind, Refused
from actfor.wire.rar import Authority, Grant

GRAVE: Final = frozenset(
    {
        ToolEffect.PAY,
        ToolEffect.DELETE,
        ToolEffect.GRANT_ACCESS,
        ToolEffect.EXECUTE,
        ToolEffect.INFRASTRUCTURE,
        ToolEffect.UNKNOWN,
    }
)
"""Effects that are hard to take back, or not known."""
_BY_ITS_CALL: Final = frozenset({ToolEffect.GRANT_ACCESS, ToolEffect.EXECUTE})
"""Of these the call itself may show that it was meant, where no verb does: all that it names was
said, or it only looks. The policies ask a person about all others."""
_PER_GRANT: Final = 64


@dataclass(frozen=True, slots=True)
class Line:
    """One tool of a draft: what it does, whether the words ask for it, and which words."""

    server: str
    tool: str
    effect: ToolEffect
    ask: Ask
    because: str
    approval: str
    limits: Limits = NONE


@dataclass(frozen=True, slots=True)
class Draft:
    """A mandate's authority as drafted, and a line for each tool to show the person."""

    authority: Authority
    lines: tuple[Line, ...]


def propose(wish: Wish, tools: Iterable[tuple[str, ToolReading]]) -> Draft:
    """The draft for a catalogue, given as (server, reading).

    Raises:
        Refused: MALFORMED where the words forbid all there is, or there is nothing.
    """
    catalogue = list(tools)
    readings = [tool for _, tool in catalogue]
    readers = [(server, tool) for server, tool in catalogue if tool.effect is ToolEffect.READ]
    lines = [_line(wish, server, tool, readings, readers) for server, tool in catalogue]
    kept = [line for line in lines if line.approval != "never"]
    limited = [line for line in kept if line.limits][:MOST_LIMITED]
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in kept:
        approval = "always" if line in limited else line.approval
        groups.setdefault((line.server, approval), []).append(line)
    grants = [
        *(_grant(line.server, line.approval, [line], line.limits) for line in limited),
        *(
            _grant(server, approval, group[start : start + _PER_GRANT])
            for (server, approval), group in groups.items()
            for start in range(0, len(group), _PER_GRANT)
        ),
    ]
    if not grants:
        raise Refused(Kind.MALFORMED, "the words leave no tool of the catalogue to use")
    return Draft(Authority(tuple(grants)), tuple(lines))


def _effects(line: Line) -> Iterator[str]:
    """What a tool does; for one that pays also what nobody can read, which asks a person."""
    yield line.effect.value
    if line.effect is ToolEffect.PAY:
        yield ToolEffect.UNKNOWN.value


def _grant(server: str, approval: str, lines: list[Line], limits: Limits = NONE) -> Grant:
    return Grant(
        server,
        tuple(line.tool for line in lines),
        tuple(sorted({effect for line in lines for effect in _effects(line)})),
        args=limits.args,
        max_calls=limits.max_calls,
        approval="always" if approval == "always" else "policy",
        purpose_bound=True,  # drafted: that it is there does not say that it is wanted
    )


def _line(
    wish: Wish,
    server: str,
    tool: ToolReading,
    catalogue: list[ToolReading],
    readers: list[tuple[str, ToolReading]],
) -> Line:
    grounds: Grounds = asks(wish, tool, catalogue)
    forbidden = bool(tool.verbs & wish.denied) and tool.effect is not ToolEffect.READ
    if forbidden:
        approval = "never"
    elif grounds.ask is Ask.NO and tool.effect in GRAVE - _BY_ITS_CALL:
        approval = "always"
    else:
        approval = "policy"
    limits = limits_of(wish, tool, grounds, readers) if approval == "policy" else NONE
    return Line(server, tool.name, tool.effect, grounds.ask, grounds.because, approval, limits)
