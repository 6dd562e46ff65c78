"""Rates with cluster-bootstrap intervals: the tasks are drawn again, not the single trials."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of ``n`` trials, and where 95 % of the draws lie; none of them if n is 0."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def to_json(self) -> dict[str, float | int | None]:
        """As in the last line of the output; shares rounded to 4 places."""
        rounded = [None if x is None else round(x, 4) for x in (self.value, self.low, self.high)]
        return {"value": rounded[0], "low": rounded[1], "high": rounded[2], "n": self.n}

    def percent(self) -> str:
        """For tables."""
        if self.value is None or self.low is None or self.high is None:
            return "-"
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def rate(trials: Iterable[tuple[str, float]], *, seed: int) -> Rate:
    """The mean over (cluster, outcome), its interval by drawing whole clusters with replacement.

    When every outcome is the same there is nothing to draw: the open end is the rule of three on
    the number of clusters (95 % of the time, fewer than 3/n go unseen).
    """
    clusters: dict[str, list[float]] = defaultdict(list)
    for cluster, outcome in trials:
        clusters[cluster].append(float(outcome))
    n = sum(len(outcomes) for outcomes in clusters.values())
    if not n:
        return Rate(None, None, None, 0)
    sums = [(sum(outcomes), len(outcomes)) for _, outcomes in sorted(clusters.items())]
    value = sum(total for total, _ in sums) / n
    slack = min(1.0, 3 / len(sums))
    if value in (0.0, 1.0):
        return Rate(value, max(0.0, value - slack), 1.0, n) if value else Rate(0.0, 0.0, slack, n)
    rng = random.Random(seed)
    draws = sorted(_draw(sums, rng) for _ in range(DRAWS))
    return Rate(value, draws[int(0.025 * DRAWS)], draws[int(0.975 * DRAWS) - 1], n)


def _draw(sums: list[tuple[float, int]], rng: random.Random) -> float:
    drawn = rng.choices(sums, k=len(sums))
    return sum(total for total, _ in drawn) / sum(count for _, count in drawn)


def mean(values: Iterable[float]) -> float | None:
    """The mean, or none of nothing."""
    known = list(values)
    return sum(known) / len(known) if known else None


def quantile(values: Iterable[float], share: float) -> float | None:
    """The value below which ``share`` of them lie."""
    known = sorted(values)
    return known[min(len(known) - 1, int(share * len(known)))] if known else None
