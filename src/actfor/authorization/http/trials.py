"""``/v1/policies/trials``: a candidate beside what is in force, or enforcement that reports."""

# Annotations are evaluated here: FastAPI reads them, and they name dependencies given at run time.
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from actfor.authorization.http.policies import PersonId
from actfor.authorization.http.reach import ReachView, reach_view
from actfor.authorization.model.facts import named_effect
from actfor.authorization.model.source import MAX_BYTES
from actfor.authorization.model.trial import Run
from actfor.authorization.service.changes import MAX_NOTE
from actfor.authorization.service.trials import Report, Trials
from actfor.wire.timestamps import rfc3339

_MAX_SECONDS = 30 * 86_400


class ShadowBody(BaseModel):
    """A candidate, whose calls it is asked about (everyone's, if nobody is named), how long."""

    model_config = ConfigDict(extra="forbid")
    source: str = Field(max_length=MAX_BYTES)
    seconds: int = Field(default=7 * 86_400, ge=60, le=_MAX_SECONDS)
    agent: str | None = Field(default=None, max_length=2048)
    mandate: str | None = Field(default=None, max_length=64)
    note: str = Field(default="", max_length=MAX_NOTE)


class ReportOnlyBody(BaseModel):
    """For whom policies are not enforced, for which effects, how long, and why."""

    model_config = ConfigDict(extra="forbid")
    effects: list[str] = Field(min_length=1, max_length=16)
    seconds: int = Field(default=86_400, ge=60, le=_MAX_SECONDS)
    agent: str | None = Field(default=None, max_length=2048)
    mandate: str | None = Field(default=None, max_length=64)
    note: str = Field(min_length=1, max_length=MAX_NOTE)


class TrialView(BaseModel):
    """One trial. ``kind`` is ``shadow`` or ``report-only``."""

    id: str
    kind: str
    agent: str | None
    mandate: str | None
    effects: list[str]
    candidate: str
    author: str
    note: str
    started_at: str
    ends_at: str
    stopped_at: str | None


class TrialsView(BaseModel):
    """Trials, newest first."""

    trials: list[TrialView]


class DifferenceView(BaseModel):
    """Calls that were decided one way and would have been another."""

    enforced: str
    candidate: str
    count: int
    examples: list[str]


class ReportView(TrialView, ReachView):
    """What a trial has shown. ``suspended``: why this node does not ask the candidate any more."""

    calls: int
    differing: int
    differences: list[DifferenceView]
    policies: dict[str, int]
    errors: int
    suspended: str | None


def trials_router(trials: Trials, *, admin: PersonId, auditor: PersonId) -> APIRouter:
    """Starting and stopping takes an administrator; reports take an auditor."""
    router = APIRouter(prefix="/v1/policies/trials", tags=["policies"])
    audits = [Depends(auditor)]

    @router.get("", dependencies=audits)
    async def listed() -> TrialsView:
        """The trials, newest first."""
        return TrialsView(trials=[trial_view(run) for run in await trials.runs()])

    @router.post("/shadow", status_code=201)
    async def shadow(body: ShadowBody, author: Annotated[str, Depends(admin)]) -> TrialView:
        """Ask a candidate what the policies in force are asked, and record where it differs."""
        run = await trials.shadow(
            author,
            body.source,
            lasting=timedelta(seconds=body.seconds),
            agent=body.agent,
            mandate=body.mandate,
            note=body.note,
        )
        return trial_view(run)

    @router.post("/report-only", status_code=201)
    async def report_only(
        body: ReportOnlyBody, author: Annotated[str, Depends(admin)]
    ) -> TrialView:
        """Let one agent's or mandate's calls pass where only policies stand in the way."""
        run = await trials.report_only(
            author,
            effects={named_effect(name) for name in body.effects},
            lasting=timedelta(seconds=body.seconds),
            agent=body.agent,
            mandate=body.mandate,
            note=body.note,
        )
        return trial_view(run)

    @router.get("/{trial}", dependencies=audits)
    async def report(trial: str) -> ReportView:
        """What a trial has shown so far."""
        return report_view(await trials.report(trial))

    @router.post("/{trial}/stop")
    async def stop(trial: str, person: Annotated[str, Depends(admin)]) -> TrialView:
        """End a trial now."""
        return trial_view(await trials.stop(person, trial))

    return router


def trial_view(run: Run) -> TrialView:
    """A trial as it is sent."""
    return TrialView(
        id=run.id,
        kind=run.kind.value,
        agent=run.agent,
        mandate=run.mandate,
        effects=sorted(run.effects),
        candidate=run.version,
        author=run.author,
        note=run.note,
        started_at=rfc3339(run.started_at),
        ends_at=rfc3339(run.ends_at),
        stopped_at=None if run.stopped_at is None else rfc3339(run.stopped_at),
    )


def report_view(report: Report) -> ReportView:
    """A report as it is sent."""
    return ReportView(
        **trial_view(report.run).model_dump(),
        calls=report.calls,
        differing=report.differing,
        differences=[
            DifferenceView(
                enforced=move[0],
                candidate=move[1],
                count=count,
                examples=report.examples[move],
            )
            for move, count in report.moves.most_common()
        ],
        policies=dict(report.policies.most_common(50)),
        errors=report.errors,
        suspended=report.suspended,
        **reach_view(report.reach),
    )
