"""Whether the clock can be believed by those who forget.

What may be taken once is remembered until it is stale by itself, and then forgotten. A clock that
is set forward makes everything stale at once; set back again, what was forgotten could be taken a
second time. So nothing is forgotten until the clock has gone along with the machine's steady one
for longer than a proof lives.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

logger = logging.getLogger(__name__)

STEP: Final = timedelta(seconds=5)
"""More than that between two looks was no drift: somebody set the clock."""

SETTLED: Final = timedelta(hours=1)


class Steady:
    """Compares two clocks at each look. Begins unsettled: nobody knows what was before."""

    def __init__(self, now: datetime, passed: float) -> None:
        """``passed`` is seconds of a clock that nobody sets, from any beginning."""
        self._now, self._passed, self._since = now, passed, passed

    def look(self, now: datetime, passed: float) -> bool:
        """Whether the clock was not set for ``SETTLED``."""
        step = now - self._now - timedelta(seconds=passed - self._passed)
        self._now, self._passed = now, passed
        if abs(step) > STEP:
            self._since = passed
            logger.warning("the clock was set by %.0f s", step.total_seconds())
        return passed - self._since >= SETTLED.total_seconds()
