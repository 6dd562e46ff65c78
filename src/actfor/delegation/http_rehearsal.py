"""``/v1/mandates/{id}/simulate`` and ``/suggest``: another authority on what really happened."""

# No `annotations` future here: FastAPI reads the local dependency aliases at run time.

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from actfor.authorization.http.reach import ReachView, reach_view
from actfor.authorization.model.recorded import Reach
from actfor.delegation.http import CurrentPerson
from actfor.delegation.model import Mandate
from actfor.delegation.rehearsing import Rehearsed, Spent, UsedCall, Verdicts
from actfor.delegation.service import DelegationService
from actfor.delegation.service.rehearsal import MandateRehearsal
from actfor.delegation.suggesting import Suggestion
from actfor.errors import Kind, Refused
from actfor.identity import Person, Role
from actfor.wire.rar import DRAFT_MEMBERS, authority_from_draft, draft_of, narrows, only
from actfor.wire.timestamps import rfc3339

_MAX_SECONDS = 366 * 86_400
_WEEK = 7 * 86_400


class DraftBody(BaseModel):
    """An authority as a person writes it, and how far back to look."""

    model_config = ConfigDict(extra="forbid")
    draft: dict[str, Any]
    last_seconds: int = Field(default=_WEEK, ge=1, le=_MAX_SECONDS)


class CallView(BaseModel):
    """One recorded call."""

    id: str
    at: str
    server: str
    tool: str
    effect: str
    amount: dict[str, Any] | None


class VerdictView(CallView):
    """A call that the draft would treat otherwise, and why."""

    reason: str


class SpentView(BaseModel):
    """A count or a sum that would not have been enough; ``at`` is the first call too many.

    Of a limit `over_time` it is the first of those that are too many together.
    """

    limit: str
    at: CallView
    over_time: bool


class RehearsedView(ReachView):
    """A draft on recorded calls; of each kind of difference the first examples and how many."""

    calls: int
    covered_before: int
    covered_after: int
    lost: list[VerdictView]
    lost_total: int
    gained: list[VerdictView]
    gained_total: int
    asked: list[VerdictView]
    asked_total: int
    unknown: int
    spent: list[SpentView]
    narrower: bool
    wider_because: str | None


class FindingView(BaseModel):
    """One thing that is wider than its use."""

    what: str
    words: str


class SuggestionView(ReachView):
    """A draft that can be committed in place of the mandate.

    Where it is not `complete`, calls before `since` are not covered for their own sake: what is
    said to be unused may have been used then.
    """

    mandate: str
    calls: int
    findings: list[FindingView]
    draft: dict[str, Any]


def mandate_rehearsal_router(
    delegation: DelegationService, rehearsal: MandateRehearsal, current_person: CurrentPerson
) -> APIRouter:
    """For the mandate's own person, and for administrators."""
    routes = APIRouter(prefix="/v1/mandates", tags=["mandates"])
    Who = Annotated[Person, Depends(current_person)]  # noqa: N806 - a type
    Seconds = Annotated[int, Query(ge=1, le=_MAX_SECONDS)]  # noqa: N806 - a type

    @routes.post("/{mandate_id}/simulate")
    async def simulate(mandate_id: str, body: DraftBody, person: Who) -> RehearsedView:
        """What a draft would make of the calls that were made under the mandate."""
        mandate = await _own(delegation, mandate_id, person)
        only(body.draft, DRAFT_MEMBERS | {"goal"}, "draft member")  # it might have limited it
        draft = authority_from_draft(body.draft)
        last = timedelta(seconds=body.last_seconds)
        found, reach = await rehearsal.simulate(mandate, draft, last)
        return _rehearsed(found, reach, narrows(draft, mandate.authority))

    @routes.get("/{mandate_id}/suggest")
    async def suggest(
        mandate_id: str, person: Who, last_seconds: Seconds = _WEEK
    ) -> SuggestionView:
        """A narrower authority that covers all that was let through, and why it is narrower."""
        mandate = await _own(delegation, mandate_id, person)
        made, reach = await rehearsal.suggest(mandate, timedelta(seconds=last_seconds))
        return _suggested(made, reach, mandate)

    return routes


async def _own(delegation: DelegationService, mandate_id: str, person: Person) -> Mandate:
    found = await delegation.mandate(mandate_id)
    if found.person_id != person.id and not person.may(Role.ADMIN):
        raise Refused(Kind.NOT_FOUND, "there is no such mandate")
    return found


def _rehearsed(found: Rehearsed, reach: Reach, widened: str | None) -> RehearsedView:
    return RehearsedView(
        calls=found.calls,
        covered_before=found.covered_before,
        covered_after=found.covered_after,
        lost=_verdicts(found.lost),
        lost_total=found.lost.total,
        gained=_verdicts(found.gained),
        gained_total=found.gained.total,
        asked=_verdicts(found.asked),
        asked_total=found.asked.total,
        unknown=found.unknown,
        spent=[_spent(one) for one in found.spent],
        narrower=widened is None,
        wider_because=widened,
        **reach_view(reach),
    )


def _suggested(made: Suggestion, reach: Reach, mandate: Mandate) -> SuggestionView:
    return SuggestionView(
        mandate=mandate.id,
        calls=made.calls,
        findings=[FindingView(what=each.what, words=each.words) for each in made.findings],
        draft=draft_of(made.authority),
        **reach_view(reach),
    )


def _verdicts(verdicts: Verdicts) -> list[VerdictView]:
    return [VerdictView(**_call(each.used), reason=each.reason) for each in verdicts.examples]


def _spent(one: Spent) -> SpentView:
    return SpentView(limit=one.what, at=CallView(**_call(one.at)), over_time=one.over_time)


def _call(used: UsedCall) -> dict[str, Any]:
    call = used.call
    return {
        "id": used.trace,
        "at": rfc3339(used.at),
        "server": call.server,
        "tool": call.tool,
        "effect": call.effect,
        "amount": None if call.amount is None else call.amount.to_json(),
    }
