"""The two ways in which a call leaves the line before it acts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from actfor.authorization.model import Decision
from actfor.errors import Refused
from actfor.gateway.calls import Pending, Stage
from actfor.gateway.case import Case


class Refusal(Exception):  # noqa: N818 - an answer, not a malfunction
    """A step says no: which, why, and what was known by then."""

    def __init__(
        self,
        stage: Stage,
        refused: Refused,
        *,
        case: Case | None = None,
        decision: Decision | None = None,
    ) -> None:
        super().__init__(f"{stage}: {refused}")
        self.stage, self.refused, self.case, self.decision = stage, refused, case, decision


class Asked(Exception):  # noqa: N818 - an answer, not a malfunction
    """A person must decide first."""

    def __init__(self, pending: Pending) -> None:
        super().__init__(pending.trace)
        self.pending = pending


class Again(Exception):  # noqa: N818 - an answer, not a malfunction
    """Other policies came into force: decide anew."""


@contextmanager
def at(stage: Stage, case: Case | None = None, decision: Decision | None = None) -> Iterator[None]:
    """Whatever is refused inside is refused by this step."""
    try:
        yield
    except Refused as refused:
        raise Refusal(stage, refused, case=case, decision=decision) from refused
