"""``/v1/policies``: explain a decision, rehearse a change on recorded traffic."""

# Annotations are evaluated here: FastAPI reads them, and they name dependencies given at run time.
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from actfor.authorization.http.policies import PersonId
from actfor.authorization.http.reach import ReachView, reach_view
from actfor.authorization.model import to_request
from actfor.authorization.model.decision import Decision
from actfor.authorization.model.recorded import Reach
from actfor.authorization.model.scenarios import read_facts
from actfor.authorization.model.simulation import Simulation
from actfor.authorization.model.source import MAX_BYTES
from actfor.authorization.service.rehearsal import Account, Rehearsal
from actfor.wire.timestamps import rfc3339

_MAX_SECONDS = 366 * 86_400


class QuestionBody(BaseModel):
    """Facts of a call that nobody makes, by the names of ``CallFacts``."""

    model_config = ConfigDict(extra="forbid")
    facts: dict[str, Any]


class AnswerView(BaseModel):
    """What one policy by itself says."""

    id: str
    effect: str
    satisfied: bool
    error: str | None
    reason: str


class LeverView(BaseModel):
    """One change: who can make it, in words, and the facts as they would be."""

    who: str
    words: str
    facts: dict[str, bool | int | str | None]


class RemedyView(BaseModel):
    """Changes that together lead to a better decision."""

    changes: list[LeverView]
    words: str
    decision: str


class NowView(BaseModel):
    """What the policies in force would decide."""

    decision: str
    policies: list[str]
    policy_version: str


class ExplanationView(BaseModel):
    """A decision, how it came about, and what would have made it pass (empty: nothing would)."""

    agent: str
    effect: str
    resource: str
    facts: dict[str, bool | int | str]
    decision: str
    determining: list[str]
    reasons: list[str]
    errors: list[str]
    policy_version: str
    policies: list[AnswerView]
    remedies: list[RemedyView]
    now: NowView


class AccountView(ExplanationView):
    """The same for a recorded decision. ``replayed``: it is decided today as it was then."""

    id: str
    at: str
    recorded: str
    replayed: bool


class AccountsView(BaseModel):
    """The decisions of one call, oldest first."""

    decisions: list[AccountView]


class CandidateBody(BaseModel):
    """A policy text, and the recorded decisions to try it on."""

    model_config = ConfigDict(extra="forbid")
    source: str = Field(max_length=MAX_BYTES)
    last_seconds: int = Field(ge=1, le=_MAX_SECONDS)
    agent: str | None = Field(default=None, max_length=2048)
    mandate: str | None = Field(default=None, max_length=64)
    against: Literal["recorded", "now"] = "recorded"


class ExampleView(BaseModel):
    """One call that would have been decided otherwise."""

    id: str
    at: str
    agent: str
    effect: str
    resource: str
    policies_before: list[str]
    policies_after: list[str]
    reasons: list[str]


class MoveView(BaseModel):
    """All calls that would have gone from one decision to another."""

    before: str
    after: str
    count: int
    examples: list[ExampleView]


class SimulationView(ReachView):
    """What would be different. ``skipped`` says which records could not be asked again, and why."""

    policy_version: str
    calls: int
    changed: int
    before: dict[str, int]
    after: dict[str, int]
    moves: list[MoveView]
    policies: dict[str, int]
    errors: int
    adapted: int
    skipped: dict[str, int]


def rehearsal_router(rehearsal: Rehearsal, *, reader: PersonId, auditor: PersonId) -> APIRouter:
    """``auditor`` may read other people's decisions; what is shown holds personal data."""
    router = APIRouter(prefix="/v1/policies", tags=["policies"])
    audits = [Depends(auditor)]

    @router.post("/explain", dependencies=[Depends(reader)])
    async def explain(body: QuestionBody) -> ExplanationView:
        """What would be decided about a call with these facts, why, and what would change it."""
        account = await rehearsal.suppose(to_request(read_facts(body.facts)))
        return ExplanationView.model_validate(_told(account))

    @router.get("/decisions/{decision}", dependencies=audits)
    async def recorded(decision: str) -> AccountsView:
        """How a recorded decision came about, and what would have changed it."""
        found = [_account(each) for each in await rehearsal.account(decision)]
        return AccountsView(decisions=found)

    @router.post("/simulate", dependencies=audits)
    async def simulate(body: CandidateBody) -> SimulationView:
        """What a candidate would have decided otherwise."""
        tally, reach = await rehearsal.simulate(
            body.source,
            last=timedelta(seconds=body.last_seconds),
            agent=body.agent,
            mandate=body.mandate,
            against_now=body.against == "now",
        )
        return simulation_view(tally, reach)

    return router


def _told(account: Account) -> dict[str, object]:
    decision = account.explanation.decision
    return {
        "agent": account.request.subject,
        "effect": account.request.action,
        "resource": account.request.resource,
        "facts": dict(account.request.context),
        "decision": decision.effect.value,
        "determining": list(decision.policies),
        "reasons": list(decision.reasons),
        "errors": list(decision.errors),
        "policy_version": decision.version,
        "policies": [AnswerView(**asdict(each)) for each in account.explanation.policies],
        "remedies": [
            RemedyView(
                changes=[
                    LeverView(who=lever.who, words=lever.words, facts=dict(lever.facts))
                    for lever in remedy.levers
                ],
                words=remedy.words,
                decision=remedy.decision.effect.value,
            )
            for remedy in account.remedies
        ],
        "now": _now(account.now),
    }


def _now(decision: Decision) -> NowView:
    return NowView(
        decision=decision.effect.value,
        policies=list(decision.policies),
        policy_version=decision.version,
    )


def _account(account: Account) -> AccountView:
    record = account.record
    assert record is not None  # noqa: S101 - an account from the log has its record
    return AccountView.model_validate(
        {
            **_told(account),
            "id": record.id,
            "at": rfc3339(record.at),
            "recorded": record.effect.value,
            "replayed": account.replayed,
        }
    )


def simulation_view(tally: Simulation, reach: Reach) -> SimulationView:
    """A simulation as it is sent."""
    return SimulationView(
        policy_version=tally.version,
        calls=tally.calls,
        changed=tally.changed,
        before={effect.value: count for effect, count in tally.before.items()},
        after={effect.value: count for effect, count in tally.after.items()},
        moves=[
            MoveView(
                before=move.before.value,
                after=move.after.value,
                count=move.count,
                examples=[
                    ExampleView(
                        id=each.id,
                        at=rfc3339(each.at),
                        agent=each.agent,
                        effect=each.effect,
                        resource=each.resource,
                        policies_before=list(each.before),
                        policies_after=list(each.after.policies),
                        reasons=list(each.after.reasons),
                    )
                    for each in move.examples
                ],
            )
            for move in sorted(tally.moves.values(), key=lambda move: -move.count)
        ],
        policies=dict(tally.policies.most_common(50)),
        errors=tally.errors,
        adapted=tally.adapted,
        skipped=dict(tally.unusable),
        **reach_view(reach),
    )
