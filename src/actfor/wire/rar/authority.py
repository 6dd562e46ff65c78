"""Authority: what a person granted, as data that either covers a call or does not.

Grants are alternatives: a call is covered if one grant covers it. The budget, the flows and the
limits of delegation bind all of them. Nothing here counts calls, money, recipients or values that
were let through; whoever records does (``Coverage`` says what there is to count).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue
from actfor.wire.rar.budget import Budget, Rate, require_count
from actfor.wire.rar.composite import Constraint, counts_values, taken
from actfor.wire.rar.flow import EFFECTS, MAX_FLOWS, Flow
from actfor.wire.rar.limit_words import limit_words
from actfor.wire.rar.money import Money
from actfor.wire.rar.origins import NOWHERE, Origins, Take, Where
from actfor.wire.rar.pointers import ABSENT, require_pointer, resolve
from actfor.wire.rar.window import TimeWindow

ANY_TOOL: Final = "*"
"""The only wildcard among tools: alone, it means every tool of the server."""

MAX_GRANTS: Final = 32
MAX_TOOLS: Final = 64
MAX_ARGS: Final = 16
MAX_RATES: Final = 5
MAX_DEPTH: Final = 8
MAX_DELEGATES: Final = 16
_MOST_WORDS: Final = 300

_LIMITED: Final = 3
_WITHIN: Final = 6
"""How far a grant goes with a call: the tool and effect are granted; all but its counts are."""

Approval: TypeAlias = Literal["policy", "always"]

_ALIASES: Final = {"grant": "grant_access", "infra": "infrastructure"}
_SERVER: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOOL: Final = re.compile(r"[A-Za-z0-9_.\-/]{1,128}")
_AGENT: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62})")


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call as the enforcement point judged it.

    ``amount`` is what it spends, if known; ``at`` when it happens; ``origins`` where the gateway
    has seen the values of its arguments. What is left out is unknown, and a limit on what is
    unknown is not met.
    """

    server: str
    tool: str
    effect: str
    arguments: Mapping[str, JsonValue] = field(default_factory=dict)
    amount: Money | None = None
    at: datetime | None = None
    origins: Origins = field(default_factory=lambda: NOWHERE.origins)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Whether a call is covered, why not (safe to show to the agent), and by which grant.

    ``argument`` is the pointer of the argument that was not within its limit, if that is why.
    ``asks`` is whether the grant itself wants a person asked about this call; ``asks_if_new``
    whether it does if a recipient is new. ``takes`` are values that ``from`` limits let through.
    ``beyond`` is why a grant that would have asked less does not cover the call, if one came close.
    """

    covered: bool
    reason: str
    grant_index: int = -1
    argument: str = ""
    asks: bool = False
    asks_if_new: bool = False
    takes: tuple[Take, ...] = ()
    beyond: str = ""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """How far a grant went with a call (more is closer), and why it stopped.

    ``limit`` is that of ``argument``, if the argument is there and not within it.
    """

    progress: int
    reason: str
    argument: str = ""
    limit: Constraint | None = None

    @property
    def told(self) -> str:
        """The reason, and what the argument must be."""
        if self.limit is None:
            return self.reason
        return f"{self.reason}: {limit_words(self.limit)[:_MOST_WORDS]}"


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing that may be done. Names are sorted and unique; `*` alone means every tool.

    ``args`` maps RFC 6901 pointers into the arguments to what must hold there; an argument that
    is named and absent is not covered, one that is not named is free. ``amount`` limits one call,
    ``max_calls`` all of them, ``rates`` those in any stretch of time, ``window`` when they happen.

    A person is asked each time if ``approval`` is `always`; above ``ask_above`` (and where the
    amount is not known or in another currency); and with ``ask_new_recipient``, about every party
    that the mandate has not reached before. Whatever policy says; policy may ask about more.

    ``purpose_bound`` is a grant that was drafted from the mandate's words instead of written by a
    person: that it is there does not say that the person wants it used; at each call policy looks
    at whether their words ask for it.

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
    rates: tuple[Rate, ...] = ()
    window: TimeWindow | None = None
    ask_above: Money | None = None
    ask_new_recipient: bool = False
    purpose_bound: bool = False

    def __post_init__(self) -> None:
        if not _SERVER.fullmatch(self.server):
            raise Refused(Kind.MALFORMED, f"server `{_shown(self.server)}` is not a server name")
        _set(self, "tools", _tools(self.tools))
        _set(self, "effects", _effects(self.effects))
        if len(self.args) > MAX_ARGS:
            raise Refused(Kind.MALFORMED, f"a grant limits at most {MAX_ARGS} arguments")
        for pointer in self.args:
            require_pointer(pointer)
        _set(self, "args", MappingProxyType(dict(sorted(self.args.items()))))
        require_count(self.max_calls, "max_calls")
        _set(self, "rates", _rates(self.rates))
        if self.approval not in {"policy", "always"}:
            raise Refused(Kind.MALFORMED, "`approval` is `policy` or `always`")
        if self.approval == "always":  # says all that the others could: one way to write it
            _set(self, "ask_above", None)
            _set(self, "ask_new_recipient", False)

    def mismatch(self, call: Call) -> Mismatch | None:
        """None if this grant covers ``call``; else how far it went, and why it stopped."""
        if call.server != self.server:
            return Mismatch(0, f"no grant for server `{_shown(call.server)}`")
        if self.tools != (ANY_TOOL,) and call.tool not in self.tools:
            return Mismatch(1, f"no grant for tool `{_shown(call.tool)}`")
        if call.effect not in self.effects:
            effect, tool = _shown(call.effect), _shown(call.tool)
            return Mismatch(2, f"no grant for the effect `{effect}` of `{tool}`")
        for pointer, limit in self.args.items():
            value = resolve(call.arguments, pointer)
            if value is ABSENT:
                shown = _shown(pointer)
                return Mismatch(3, f"argument `{shown}` is limited and missing", pointer)
            where = Where(pointer, call.origins)
            if not limit.matches(value, where):  # type: ignore[arg-type] # not the sentinel: JSON
                shown = _shown(pointer)
                return Mismatch(3, f"argument `{shown}` is not within its limit", pointer, limit)
        if self.window is not None and (call.at is None or not self.window.includes(call.at)):
            return Mismatch(4, "the grant does not hold at this time")
        return self._amount_mismatch(call)

    def _amount_mismatch(self, call: Call) -> Mismatch | None:
        if self.amount is None:
            return None
        if call.amount is None:
            unknown = call.effect == "pay"
            return Mismatch(5, "the amount is limited and not known") if unknown else None
        if not call.amount.within(self.amount):
            return Mismatch(5, f"amount {call.amount} is above {self.amount} for one call")
        return None

    def asks(self, call: Call) -> bool:
        """Whether a person is asked about ``call``, which is covered; new recipients aside."""
        if self.approval == "always":
            return True
        if self.ask_above is None:
            return False
        return call.amount is None or not call.amount.within(self.ask_above)

    @property
    def is_explicit(self) -> bool:
        """Whether a person named these tools themselves, so that using them needs no other word."""
        return not self.purpose_bound and self.tools != (ANY_TOOL,)

    @property
    def counts_values(self) -> bool:
        """Whether a `from` limit lets values through that must be counted (``takes``)."""
        return any(counts_values(limit) for limit in self.args.values())

    def takes(self, call: Call) -> tuple[Take, ...]:
        """The values of ``call``, which is covered, that ``from`` limits let through."""
        return tuple(
            one
            for pointer, limit in self.args.items()
            for one in taken(
                limit,
                resolve(call.arguments, pointer),  # type: ignore[arg-type] # covered: it is there
                Where(pointer, call.origins),
            )
        )


@dataclass(frozen=True, slots=True)
class Authority:
    """Grants (alternatives); one budget, one set of flow rules, one limit of delegation over all.

    ``max_depth`` is how many more hops may be delegated, ``delegates`` the names of the agents
    that may be delegated to; None does not limit them.
    """

    grants: tuple[Grant, ...]
    budget: Budget = field(default_factory=Budget)
    max_depth: int = 0
    delegates: tuple[str, ...] | None = None
    flows: tuple[Flow, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.grants) <= MAX_GRANTS:
            raise Refused(Kind.MALFORMED, f"authority has 1 to {MAX_GRANTS} grants")
        if type(self.max_depth) is not int or not 0 <= self.max_depth <= MAX_DEPTH:
            raise Refused(Kind.MALFORMED, f"delegation depth is 0 to {MAX_DEPTH}")
        if self.delegates is not None:
            object.__setattr__(self, "delegates", _delegates(self.delegates))
        if len(self.flows) > MAX_FLOWS:
            raise Refused(Kind.MALFORMED, f"authority has at most {MAX_FLOWS} flow rules")
        unique = sorted(set(self.flows), key=lambda flow: (flow.label, flow.to, flow.decision))
        object.__setattr__(self, "flows", tuple(unique))

    def covers(self, call: Call, *, spent: frozenset[int] = frozenset()) -> Coverage:
        """Whether ``call`` is covered; of several grants that do, one that asks least.

        Grants whose counts are used up (``spent``, by index) cover only where no other does: the
        limit is then what refuses. The reason of a refusal is that of the grant that came closest.
        """
        over = self.budget.mismatch(call.amount, pays=call.effect == "pay")
        if over is not None:
            return Coverage(covered=False, reason=over)
        best: tuple[bool, int, int] | None = None
        closest = Mismatch(-1, "no grant")
        for index, grant in enumerate(self.grants):
            mismatch = grant.mismatch(call)
            if mismatch is None:
                asking = 2 if grant.asks(call) else int(grant.ask_new_recipient)
                used_up = index in spent
                if not used_up and asking == 0:
                    return _covered(grant, index, call)
                best = min(best or (used_up, asking, index), (used_up, asking, index))
                mismatch = Mismatch(_WITHIN, "its calls are used up") if used_up else None
            if mismatch is not None and mismatch.progress > closest.progress:
                closest = mismatch
        if best is not None:
            beyond = closest.told if closest.progress >= _LIMITED and not best[0] else ""
            return replace(_covered(self.grants[best[2]], best[2], call), beyond=beyond)
        return Coverage(covered=False, reason=closest.told, argument=closest.argument)

    def may_reach(self, server: str, tool: str) -> bool:
        """Whether some call of this tool could be covered: what `tools/list` may show."""
        return any(
            grant.server == server and (grant.tools == (ANY_TOOL,) or tool in grant.tools)
            for grant in self.grants
        )

    @property
    def needs_origins(self) -> bool:
        """Whether some limit looks at where a value was seen, so that somebody has to find out."""
        return any(grant.counts_values for grant in self.grants)

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


def _covered(grant: Grant, index: int, call: Call) -> Coverage:
    return Coverage(
        covered=True,
        reason="covered",
        grant_index=index,
        asks=grant.asks(call),
        asks_if_new=grant.ask_new_recipient,
        takes=grant.takes(call) if grant.args else (),
    )


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


def _rates(rates: Iterable[Rate]) -> tuple[Rate, ...]:
    ordered = tuple(sorted(rates, key=lambda rate: rate.per.length))
    if len(ordered) > MAX_RATES or len({rate.per for rate in ordered}) != len(ordered):
        raise Refused(Kind.MALFORMED, "a grant names each period at most once among its `rates`")
    return ordered


def _delegates(names: Iterable[str]) -> tuple[str, ...]:
    unique = tuple(sorted(set(names)))
    if len(unique) > MAX_DELEGATES:
        raise Refused(Kind.MALFORMED, f"at most {MAX_DELEGATES} delegates are named")
    for name in unique:
        if not _AGENT.fullmatch(name):
            raise Refused(Kind.MALFORMED, f"delegate `{_shown(name)}` is not an agent's name")
    return unique


def _shown(text: str) -> str:
    return text[:80].encode("unicode_escape").decode("ascii")


def _set(grant: Grant, name: str, value: object) -> None:
    object.__setattr__(grant, name, value)  # the one place: before anyone holds the grant
