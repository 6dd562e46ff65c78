"""What another authority would have made of calls that were made under a mandate. Pure.

Calls come newest first, in portions; nothing of them is kept but counts and a few examples. When a
limit in all would have run out is found by a second look (``RunOut``), for only then is it known
how many calls there were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from actfor.delegation.usage import SLICES, slice_ms
from actfor.wire.canonical import JsonValue
from actfor.wire.rar import Authority, Call, Coverage, Money, Period
from actfor.wire.timestamps import to_ms

EXAMPLES = 20
"""Differing calls that are shown of each kind, the newest."""


@dataclass(frozen=True, slots=True)
class UsedCall:
    """One recorded call. ``passed``: permitted, or let through by a person in the end."""

    trace: str
    at: datetime
    call: Call
    covered: bool
    asked: bool
    passed: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the draft makes of one call that it would treat otherwise."""

    used: UsedCall
    covered: bool
    asks: bool
    reason: str


@dataclass(slots=True)
class Verdicts:
    """So many calls, and the first ``EXAMPLES`` that were seen of them."""

    total: int = 0
    examples: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        """Count one."""
        self.total += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(verdict)


@dataclass(frozen=True, slots=True)
class Spent:
    """A limit that these calls would have gone beyond, in words.

    ``at`` is the first call that would have been one too many; of a limit over time, the first of
    those that are too many together.
    """

    what: str
    at: UsedCall
    over_time: bool = False


@dataclass(slots=True)
class Rehearsed:
    """A draft against recorded calls.

    ``lost`` were covered and are not any more, ``gained`` the reverse, ``asked`` would be asked
    about and were not. ``unknown`` cannot be told: where a value came from is not in the record.
    ``spent`` are limits of counts and money that would not have been enough, the first one first.
    """

    calls: int = 0
    covered_before: int = 0
    covered_after: int = 0
    lost: Verdicts = field(default_factory=Verdicts)
    gained: Verdicts = field(default_factory=Verdicts)
    asked: Verdicts = field(default_factory=Verdicts)
    unknown: int = 0
    spent: list[Spent] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Limit:
    """At most ``most`` in all, or in any ``per``; of one grant, or of all of them.

    Money is counted in minor units of ``currency``, calls as one each.
    """

    what: str
    most: int
    grant: int | None = None
    currency: str = ""
    per: Period | None = None

    def weight(self, call: Call, grant: int) -> int:
        """What a call takes of it."""
        if self.grant is not None and self.grant != grant:
            return 0
        if not self.currency:
            return 1
        amount = call.amount
        return amount.minor if amount is not None and amount.currency == self.currency else 0


@dataclass(slots=True)
class _OverTime:
    """What was taken in the time after a call, in slices as the mandate itself is counted."""

    limit: _Limit
    period: Period
    slices: dict[int, int] = field(default_factory=dict)
    beyond: UsedCall | None = None

    def add(self, used: UsedCall, weight: int) -> None:
        """Count one, older than all before it."""
        if not weight:
            return
        here = to_ms(used.at) // slice_ms(self.period)
        self.slices = {s: n for s, n in self.slices.items() if s - here <= SLICES}
        self.slices[here] = self.slices.get(here, 0) + weight
        if sum(self.slices.values()) > self.limit.most:
            self.beyond = used


class Trying:
    """Ask a draft about calls, given newest first."""

    def __init__(self, draft: Authority) -> None:
        self._draft = draft
        self.found = Rehearsed()
        self._in_all = {limit: 0 for limit in _limits(draft) if limit.per is None}
        self._over_time = [_OverTime(lim, lim.per) for lim in _limits(draft) if lim.per]

    def take(self, calls: Iterable[UsedCall]) -> None:
        """Count some more."""
        for used in calls:
            self._one(used)

    def run_out(self) -> RunOut | None:
        """What to give the same calls to once more, newest first; None if nothing ran out."""
        over = {limit: took for limit, took in self._in_all.items() if took > limit.most}
        return RunOut(self._draft, over) if over else None

    def result(self, run_out: RunOut | None) -> Rehearsed:
        """All of it."""
        spent = [] if run_out is None else run_out.spent()
        for meter in self._over_time:
            if meter.beyond is not None:
                spent.append(Spent(meter.limit.what, meter.beyond, over_time=True))
        self.found.spent = sorted(spent, key=lambda one: one.at.at)
        return self.found

    def _one(self, used: UsedCall) -> None:
        found, coverage = self.found, self._draft.covers(used.call)
        found.calls += 1
        found.covered_before += used.covered
        if not coverage.covered and used.covered and _rests_on_origin(coverage, self._draft):
            found.unknown += 1
            return
        found.covered_after += coverage.covered
        _note(found, used, coverage)
        if coverage.covered and used.passed:
            for limit in self._in_all:
                self._in_all[limit] += limit.weight(used.call, coverage.grant_index)
            for meter in self._over_time:
                meter.add(used, meter.limit.weight(used.call, coverage.grant_index))


class RunOut:
    """Finds the call at which each limit would have been used up, given newest first again.

    ``over`` has what was taken in all of each limit that would not have been enough.
    """

    def __init__(self, draft: Authority, over: Mapping[_Limit, int]) -> None:
        self._draft = draft
        self._left = Counter(over)
        self._at: dict[_Limit, UsedCall] = {}

    def take(self, calls: Iterable[UsedCall]) -> bool:
        """Look at some more; False once all is found."""
        for used in calls:
            coverage = self._draft.covers(used.call)
            if coverage.covered and used.passed:
                self._one(used, coverage.grant_index)
        return any(left > limit.most for limit, left in self._left.items())

    def spent(self) -> list[Spent]:
        """What was found."""
        return [Spent(limit.what, used) for limit, used in self._at.items()]

    def _one(self, used: UsedCall, grant: int) -> None:
        for limit, took in self._left.items():
            weight = limit.weight(used.call, grant)
            if weight and took > limit.most:
                self._at[limit] = used
                self._left[limit] = took - weight


def simulate(calls: Sequence[UsedCall], draft: Authority) -> Rehearsed:
    """Ask the draft about each of some calls."""
    newest_first = sorted(calls, key=lambda each: each.at, reverse=True)
    trying = Trying(draft)
    trying.take(newest_first)
    run_out = trying.run_out()
    if run_out is not None:
        run_out.take(newest_first)
    return trying.result(run_out)


def _limits(draft: Authority) -> list[_Limit]:
    """The counts and sums of an authority; recipients are not in the record of a call."""
    budget = draft.budget
    found = _of("the budget of", budget.calls, budget.amount)
    for window in budget.windows:
        found += _of("at most", window.calls, window.amount, per=window.per)
    for index, grant in enumerate(draft.grants):
        of = f" of {grant.server}: {', '.join(grant.tools)}"
        found += _of("at most", grant.max_calls, None, grant=index, of=of)
        for rate in grant.rates:
            found += _of("at most", rate.calls, None, grant=index, of=of, per=rate.per)
    return found


def _of(
    words: str,
    calls: int | None,
    amount: Money | None,
    *,
    grant: int | None = None,
    of: str = "",
    per: Period | None = None,
) -> list[_Limit]:
    ends = f" in any {per}" if per else ""
    found: list[_Limit] = []
    if calls is not None:
        several = "call" if calls == 1 else "calls"
        found.append(_Limit(f"{words} {calls} {several}{of}{ends}", calls, grant, per=per))
    if amount is not None:
        what = f"{words} {amount}{ends}"
        found.append(_Limit(what, amount.minor, grant, amount.currency, per))
    return found


def _note(found: Rehearsed, used: UsedCall, coverage: Coverage) -> None:
    verdict = Verdict(used, coverage.covered, coverage.asks, coverage.reason)
    if used.covered and not coverage.covered:
        found.lost.add(verdict)
    elif coverage.covered and not used.covered:
        found.gained.add(verdict)
    elif coverage.covered and coverage.asks and not used.asked:
        found.asked.add(verdict)


def _rests_on_origin(coverage: Coverage, draft: Authority) -> bool:
    """Whether the limit that failed asks where a value came from."""
    limits = (grant.args.get(coverage.argument) for grant in draft.grants)
    return any(limit is not None and _asks_origin(limit.to_json()) for limit in limits)


def _asks_origin(form: JsonValue) -> bool:
    if isinstance(form, Mapping):
        return "from" in form or any(_asks_origin(inner) for inner in form.values())
    return isinstance(form, list | tuple) and any(_asks_origin(inner) for inner in form)
