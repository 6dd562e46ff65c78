"""What one call takes from a mandate, beyond the totals in its own row. Pure.

A *meter* counts over time: calls of a grant, calls, money. A *set* knows different things:
recipients that were reached, values that a `from` limit let through, calls that changed something.
Each has an owner: the mandate, and the token where it is narrower; that of a
sub-agent counts for those above it as well. ``repository.usage`` keeps both.

Meters are kept in slices, ``SLICES`` to a period; a slice counts until all of it is over. So up to
one slice more than the period is counted: a little too much, never too little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, TypeAlias

from actfor.delegation.model import Delegation
from actfor.wire.rar import ABSENT, Authority, Budget, Call, Grant, Money, Period, Take, resolve
from actfor.wire.timestamps import to_ms

SLICES: Final = 60
Blind: TypeAlias = Callable[[str], str]
RECIPIENT: Final = "recipient"
CALLED: Final = "called"
HISTORY: Final = "history"
READ_SECRET: Final = "read_secret"  # noqa: S105 - the name of a mark
UNASKED: Final = "unasked"
UNASKED_PERIOD: Final = Period.DAY


@dataclass(frozen=True, slots=True)
class Use:
    """One call as it is taken from a mandate.

    ``grant_index`` is the grant of the token's authority that covers it; without it, the call
    counts against every grant that limits its calls. ``recipients`` are the parties it reaches, in
    a form in which equal ones are equal; None is not known, and refused where they are limited.
    ``asked`` is whether a person approved it. ``changes`` names the call (tool and arguments) if it
    changes something, for knowing later what was done before.
    """

    amount: Money | None = None
    grant_index: int | None = None
    call: Call | None = None
    recipients: frozenset[str] | None = None
    asked: bool = False
    changes: tuple[str, str] | None = None
    reads_secret: bool = False
    """Whether what comes back may hold secrets."""
    unasked_seen: int | None = None
    """What ``unasked`` was when the call was decided; more by now means: decide again."""


@dataclass(frozen=True, slots=True)
class Meter:
    """``more`` to be counted; at most ``limit`` in any ``period``, None only counts."""

    owner: str
    name: str
    more: int
    period: Period
    limit: int | None
    what: str

    def slice_of(self, now: datetime) -> int:
        """The slice in which something counts that happens now."""
        return to_ms(now) // slice_ms(self.period)


@dataclass(frozen=True, slots=True)
class Member:
    """``value`` joins a set of different values. At most ``limit`` of them; None only remembers."""

    owner: str
    name: str
    value: str
    limit: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Distinct:
    """At most ``limit`` different values of a set may have been used in the last ``period``."""

    owner: str
    name: str
    period: Period
    limit: int
    what: str


@dataclass(frozen=True, slots=True)
class Taking:
    """All that one call takes over time and from sets."""

    meters: tuple[Meter, ...] = ()
    members: tuple[Member, ...] = ()
    distinct: tuple[Distinct, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left for a call like this one, for the facts of its decision.

    None is unlimited. ``recipients_fit`` is whether there may be as many as it would make;
    ``new_recipients`` whether it reaches someone the mandate has not reached; ``unasked_minor``
    what was spent in the last day, in the call's currency, without asking anyone.
    """

    calls_left: int | None = None
    amount_left_minor: int | None = None
    recipients_fit: bool = True
    new_recipients: bool = False
    unasked_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the database remembers of a mandate's calls, wherever they were made.

    ``changed`` are those that changed something: (tool, digest of the arguments).
    """

    changed: frozenset[tuple[str, str]] = frozenset()
    read_secret: bool = False


@dataclass(slots=True)
class _Parts:
    meters: list[Meter] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    distinct: list[Distinct] = field(default_factory=list)


def slice_ms(period: Period) -> int:
    """How long one slice of a period is, in milliseconds."""
    return int(period.length / timedelta(milliseconds=1)) // SLICES


def taking(delegation: Delegation, use: Use, blind: Blind) -> Taking:
    """What a call takes: from the mandate, and from each token in the chain that is narrower.

    ``blind`` makes of a person's values what may stand in a table: equal for equal ones.
    """
    mandate, levels = delegation.mandate, delegation.levels
    parts = _Parts()
    _recipients(parts, mandate.id, mandate.authority.budget, use, blind)
    _over_time(parts, mandate.id, mandate.authority.budget, use)
    for above, level in pairwise(reversed(levels)):
        # What says the same as the one above it counts nothing that is not counted there.
        if level.authority.budget != above.authority.budget:
            if level.authority.budget.counts_recipients:
                _recipients(parts, level.owner, level.authority.budget, use, blind)
            _over_time(parts, level.owner, level.authority.budget, use)
    for index in _used(delegation.authority, use):
        _grant(parts, mandate.id, delegation.origins[index], levels[-1].grant(index), use, blind)
        for above, level in pairwise(reversed(levels)):
            if level.grant(index) != above.grant(index):
                _grant(parts, level.owner, level.origins[index], level.grant(index), use, blind)
    if use.changes is not None:
        parts.members.append(
            Member(mandate.id, f"{CALLED}:{use.changes[0]}", use.changes[1], None, "calls")
        )
    if use.reads_secret:
        parts.members.append(Member(mandate.id, HISTORY, READ_SECRET, None, "history"))
    if use.amount is not None and not use.asked:
        parts.meters.append(unasked(mandate.id, use.amount))
    return Taking(tuple(parts.meters), tuple(parts.members), tuple(parts.distinct))


def unasked(owner: str, amount: Money) -> Meter:
    """What was spent without asking anyone: small payments add up here, however they are split."""
    name = f"{UNASKED}:{amount.currency}"
    return Meter(owner, name, amount.minor, UNASKED_PERIOD, None, "unasked")


def _recipients(parts: _Parts, owner: str, budget: Budget, use: Use, blind: Blind) -> None:
    for one in sorted(use.recipients or ()):
        parts.members.append(Member(owner, RECIPIENT, blind(one), budget.recipients, "recipients"))


def _over_time(parts: _Parts, owner: str, budget: Budget, use: Use) -> None:
    for window in budget.windows:
        per = window.per
        if window.calls is not None:
            parts.meters.append(Meter(owner, f"calls:{per}", 1, per, window.calls, "calls"))
        if window.amount is not None and use.amount is not None:
            limit, more = window.amount.minor, use.amount.minor
            parts.meters.append(Meter(owner, f"amount:{per}", more, per, limit, "money"))
        if window.recipients is not None:
            parts.distinct.append(Distinct(owner, RECIPIENT, per, window.recipients, "recipients"))


def _grant(parts: _Parts, owner: str, index: int, grant: Grant, use: Use, blind: Blind) -> None:
    for rate in grant.rates:
        name = f"grant:{index}:{rate.per}"
        parts.meters.append(Meter(owner, name, 1, rate.per, rate.calls, "calls of the grant"))
    for take in _takes(grant, use.call):
        name = f"from:{index}:{take.limit}"
        parts.members.append(
            Member(owner, name, blind(take.value), take.most, "values from its source")
        )


def _takes(grant: Grant, call: Call | None) -> Sequence[Take]:
    if call is None or any(resolve(call.arguments, name) is ABSENT for name in grant.args):
        return ()
    return grant.takes(call)


def _used(authority: Authority, use: Use) -> Sequence[int]:
    if use.grant_index is not None:
        return (use.grant_index,)
    return range(len(authority.grants))
