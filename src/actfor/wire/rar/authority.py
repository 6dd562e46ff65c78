"""Authority: what a person granted, as data that either covers a call or does not.

Grants are alternatives: a call is covered if one grant covers it. The budget and the depth of
delegation bind all of them. Nothing here counts calls or money spent; whoever records does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue
from actfor.wire.rar.constraint import MAX_TEXT, Constraint
from actfor.wire.rar.money import Money

ANY_TOOL: Final = "*"
"""The only wildcard among tools: alone, it means every tool of the server."""

EFFECTS: Final = frozenset(
    {
        "read",
        "write",
        "delete",
        "pay",
        "share",
        "grant_access",
        "execute",
        "egress",
        "infrastructure",
        "unknown",
    }
)
"""What a tool does to the world; ``authorization`` has one action for each."""
MAX_GRANTS: Final = 32
MAX_TOOLS: Final = 64
MAX_ARGS: Final = 16
MAX_COUNT: Final = 10**9
MAX_DEPTH: Final = 8

Approval: TypeAlias = Literal["policy", "always"]

_ALIASES: Final = {"grant": "grant_access", "infra": "infrastructure"}
_SERVER: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOOL: Final = re.compile(r"[A-Za-z0-9_.\-/]{1,128}")
_POINTER: Final = re.compile(r"(?:/(?:[^~/\x00-\x1f]|~[01])*)+")
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call as the enforcement point judged it. ``amount`` is what it spends, if known."""

    server: str
    tool: str
    effect: str
    arguments: Mapping[str, JsonValue] = field(default_factory=dict)
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Whether a call is covered, why not (safe to show to the agent), and by which grant."""

    covered: bool
    reason: str
    grant_index: int = -1


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing that may be done. Names are sorted and unique; `*` alone means every tool.

    ``args`` maps RFC 6901 pointers into the arguments to what must hold there; an argument that
    is named and absent is not covered, one that is not named is free. ``amount`` limits one call.
    ``approval`` is `always` if a person must be asked each time, whatever policy says.

    Raises:
        Refused: MALFORMED, naming the member that is wrong.
    """

    server: str
    tools: tuple[str, ...]
    effects: tuple[str, ...]
    args: Mapping[str, Constraint] = field(default_factory=dict)
    max_calls: int | None = None
    amount: Money | None = None
    approval: Approval = "policy"

    def __post_init__(self) -> None:
        if not _SERVER.fullmatch(self.server):
            raise Refused(Kind.MALFORMED, f"server `{_shown(self.server)}` is not a server name")
        _set(self, "tools", _tools(self.tools))
        _set(self, "effects", _effects(self.effects))
        if len(self.args) > MAX_ARGS:
            raise Refused(Kind.MALFORMED, f"a grant limits at most {MAX_ARGS} arguments")
        for pointer in self.args:
            if len(pointer) > MAX_TEXT or not _POINTER.fullmatch(pointer):
                raise Refused(
                    Kind.MALFORMED, f"`{_shown(pointer)}` is not a JSON pointer such as `/amount`"
                )
        _set(self, "args", MappingProxyType(dict(sorted(self.args.items()))))
        _count(self.max_calls, "max_calls")
        if self.approval not in {"policy", "always"}:
            raise Refused(Kind.MALFORMED, "`approval` is `policy` or `always`")

    def mismatch(self, call: Call) -> tuple[int, str] | None:
        """None if this grant covers ``call``; else how far it went, and why it stopped."""
        if call.server != self.server:
            return 0, f"no grant for server `{_shown(call.server)}`"
        if self.tools != (ANY_TOOL,) and call.tool not in self.tools:
            return 1, f"no grant for tool `{_shown(call.tool)}`"
        if call.effect not in self.effects:
            return 2, f"no grant for the effect `{_shown(call.effect)}` of `{_shown(call.tool)}`"
        for pointer, constraint in self.args.items():
            value = resolve(call.arguments, pointer)
            if value is _ABSENT:
                return 3, f"argument `{_shown(pointer)}` is limited and missing"
            if not constraint.matches(value):  # type: ignore[arg-type] # not the sentinel: JSON
                return 3, f"argument `{_shown(pointer)}` is not within its limit"
        return self._amount_mismatch(call)

    def _amount_mismatch(self, call: Call) -> tuple[int, str] | None:
        if self.amount is None:
            return None
        if call.amount is None:
            unknown = call.effect == "pay"
            return (4, "the amount is limited and not known") if unknown else None
        if not call.amount.within(self.amount):
            return 4, f"amount {call.amount} is above {self.amount} for one call"
        return None


@dataclass(frozen=True, slots=True)
class Budget:
    """What all calls together may take. None is unlimited."""

    calls: int | None = None
    amount: Money | None = None

    def __post_init__(self) -> None:
        _count(self.calls, "calls")

    def mismatch(self, call: Call) -> str | None:
        """Why a call can never fit, whatever was used before; None if it may fit."""
        if self.calls == 0:
            return "the budget allows no call"
        if self.amount is None:
            return None
        if call.amount is None:
            return "the amount is budgeted and not known" if call.effect == "pay" else None
        if call.amount.currency != self.amount.currency:
            return f"the budget is in {self.amount.currency}, not in {call.amount.currency}"
        return None if call.amount.within(self.amount) else f"amount {call.amount} is over budget"


@dataclass(frozen=True, slots=True)
class Authority:
    """Grants (alternatives), one budget over them, and how many more hops may be delegated."""

    grants: tuple[Grant, ...]
    budget: Budget = field(default_factory=Budget)
    max_depth: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.grants) <= MAX_GRANTS:
            raise Refused(Kind.MALFORMED, f"authority has 1 to {MAX_GRANTS} grants")
        if type(self.max_depth) is not int or not 0 <= self.max_depth <= MAX_DEPTH:
            raise Refused(Kind.MALFORMED, f"delegation depth is 0 to {MAX_DEPTH}")

    def covers(self, call: Call) -> Coverage:
        """Whether ``call`` is covered; of several grants that do, one that need not ask.

        The reason of a refusal is that of the grant that came closest.
        """
        over = self.budget.mismatch(call)
        if over is not None:
            return Coverage(covered=False, reason=over)
        asking: int | None = None
        closest = (-1, "no grant")
        for index, grant in enumerate(self.grants):
            mismatch = grant.mismatch(call)
            if mismatch is None:
                if grant.approval == "policy":
                    return Coverage(covered=True, reason="covered", grant_index=index)
                asking = index if asking is None else asking
            elif mismatch[0] > closest[0]:
                closest = mismatch
        if asking is not None:
            return Coverage(covered=True, reason="covered", grant_index=asking)
        return Coverage(covered=False, reason=closest[1])

    def may_reach(self, server: str, tool: str) -> bool:
        """Whether some call of this tool could be covered: what `tools/list` may show."""
        return any(
            grant.server == server and (grant.tools == (ANY_TOOL,) or tool in grant.tools)
            for grant in self.grants
        )

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers that grants name, sorted."""
        return tuple(sorted({grant.server for grant in self.grants}))

    @property
    def scope(self) -> tuple[str, ...]:
        """The coarse projection `<server>:<effect>`, sorted; never what decides."""
        return tuple(
            sorted(
                {f"{grant.server}:{effect}" for grant in self.grants for effect in grant.effects}
            )
        )


def resolve(arguments: Mapping[str, JsonValue], pointer: str) -> object:
    """The value at an RFC 6901 pointer, or a sentinel that is no JSON value."""
    here: object = arguments
    for token in pointer[1:].split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(here, Mapping):
            here = here.get(name, _ABSENT)
        elif isinstance(here, list | tuple) and name.isascii() and name.isdecimal():
            plain = name == "0" or not name.startswith("0")
            index = int(name) if plain and len(name) < 8 else len(here)
            here = here[index] if index < len(here) else _ABSENT
        else:
            return _ABSENT
    return here


def _tools(tools: Iterable[str]) -> tuple[str, ...]:
    names = tuple(sorted(set(tools)))
    if not 1 <= len(names) <= MAX_TOOLS:
        raise Refused(Kind.MALFORMED, f"a grant names 1 to {MAX_TOOLS} tools")
    if names == (ANY_TOOL,):
        return names
    for name in names:
        if not _TOOL.fullmatch(name):
            raise Refused(Kind.MALFORMED, f"tool `{_shown(name)}` is not a tool name")
    return names


def _effects(effects: Iterable[str]) -> tuple[str, ...]:
    names = tuple(sorted({_ALIASES.get(name, name) for name in effects}))
    if not names:
        raise Refused(Kind.MALFORMED, "a grant names at least one effect")
    for name in names:
        if name not in EFFECTS:
            raise Refused(
                Kind.MALFORMED,
                f"effect `{_shown(name)}` is not one of {', '.join(sorted(EFFECTS))}",
            )
    return names


def _count(value: int | None, name: str) -> None:
    if value is not None and (type(value) is not int or not 0 <= value <= MAX_COUNT):
        raise Refused(Kind.MALFORMED, f"`{name}` is a count from 0")


def _shown(text: str) -> str:
    return text[:80].encode("unicode_escape").decode("ascii")


def _set(grant: Grant, name: str, value: object) -> None:
    object.__setattr__(grant, name, value)  # the one place: before anyone holds the grant
