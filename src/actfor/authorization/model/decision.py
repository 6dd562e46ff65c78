"""What a decision says: an effect, and why.

Cedar skips a policy that fails to evaluate, so a broken ``forbid`` silently permits.
INVARIANT: a decision with errors is never a PERMIT (see ``policyset``).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from actfor.wire.canonical import JsonObject, JsonValue

_NAMED_POLICIES = 16
_NAMED_REASONS = 4


class Effect(Enum):
    """What the enforcement point must do next."""

    PERMIT = "permit"
    STEP_UP = "step-up"
    DENY = "deny"


class Decision(NamedTuple):
    """An effect, the ids of the policies that determined it, and their reasons in plain words.

    For a STEP_UP these are the policies that deny now or, where none does, those that an
    approval would satisfy. A DENY without policies means that no policy permits the request.
    ``reasons`` may hold facts about the person's mandate: show them to the person and to
    operators; ``errors`` to operators only. ``version`` names the policy set.
    """

    effect: Effect
    policies: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    version: str = ""
    shadow: JsonObject | None = None
    """What a trial says of it, for the record (see ``trial``); nobody enforces it."""

    @property
    def permitted(self) -> bool:
        """Whether the call may go ahead now."""
        return self.effect is Effect.PERMIT

    @property
    def reason(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons[:_NAMED_REASONS])

    def facts(self) -> dict[str, JsonValue]:
        """The decision as facts of a log leaf: no personal data, and bounded in size."""
        facts: dict[str, JsonValue] = {
            "decision": self.effect.value,
            "policies": list(self.policies[:_NAMED_POLICIES]),
            "policy_version": self.version,
        }
        if len(self.policies) > _NAMED_POLICIES:
            facts["policies_total"] = len(self.policies)
        if self.errors:
            facts["errors"] = len(self.errors)
        if self.shadow is not None:
            facts["shadow"] = self.shadow
        return facts
