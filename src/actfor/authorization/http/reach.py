"""How far back an answer about recorded decisions goes, as it is sent."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from actfor.authorization.model.recorded import Reach
from actfor.wire.timestamps import rfc3339


class ReachView(BaseModel):
    """Part of every answer that was made from recorded decisions."""

    complete: bool = Field(
        description="Whether every decision in the time that was asked for was looked at. "
        "If not, there are older ones, before `since`, that this answer knows nothing about."
    )
    seen: int = Field(description="How many recorded decisions were looked at, the newest.")
    since: str = Field(description="Every decision from then on was looked at (RFC 3339).")


def reach_view(reach: Reach) -> dict[str, Any]:
    """The members of a `ReachView`."""
    return {"complete": reach.complete, "seen": reach.seen, "since": rfc3339(reach.since)}
