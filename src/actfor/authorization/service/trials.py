"""Trials on live traffic: started and stopped by administrators, bounded, and in the log.

``judge`` is asked after each decision while a trial is going on, and at no other time. A shadow
cannot change an answer: it only adds to the record. Its cost is bounded: one candidate at a time,
and a candidate that raises or is slow is suspended here until the next start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actfor.audit import AuditLog, Event, EventType, LoggedEvent
from actfor.authorization.model import Decision, Effect, PolicySet, Request, ToolEffect
from actfor.authorization.model.binding import GATEWAY, bind
from actfor.authorization.model.recorded import Reach, redecide
from actfor.authorization.model.simulation import Asked, Firsts
from actfor.authorization.model.trial import Run, Trial, relaxed, shadowed
from actfor.authorization.repository import trials
from actfor.authorization.service.authorization import AuthorizationService
from actfor.authorization.service.changes import require_note
from actfor.authorization.service.decisions import HELD, MAX_RECORDS, Decisions
from actfor.errors import Kind, Refused
from actfor.store import Database, Tx, new_id
from actfor.wire.canonical import JsonValue
from actfor.wire.timestamps import from_ms, rfc3339, to_ms

logger = logging.getLogger(__name__)

MAX_REPORT_ONLY_RUNS = 16
SLOW_SECONDS = 0.005
SLOW_ALLOWED = 20
EXAMPLES = 5
_LATEST = 100


@dataclass(slots=True)
class _Live:
    """A trial in memory. Owned by the event loop."""

    run: Run
    policies: PolicySet | None
    slow: int = 0
    suspended: str | None = None


@dataclass(slots=True)
class Report:
    """What a trial has shown so far. ``moves`` counts calls by (enforced, candidate) effect."""

    run: Run
    reach: Reach
    calls: int = 0
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    policies: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    suspended: str | None = None

    @property
    def differing(self) -> int:
        """How many calls would have been decided otherwise."""
        return sum(self.moves.values())


class Trials:
    """``author`` is the id of an authenticated administrator; that is checked by callers."""

    def __init__(
        self,
        authorization: AuthorizationService,
        database: Database,
        audit: AuditLog,
        clock: Callable[[], datetime],
        *,
        four_eyes: bool,
        on_judged: Callable[[Trial, bool], None] | None = None,
        most: int = MAX_RECORDS,
        held: int = HELD,
    ) -> None:
        """``on_judged`` hears of each call a trial was asked about, and whether it differed.

        ``most`` is how many decisions one report looks at, the newest; ``held`` how many of them
        are in memory at once.
        """
        self._authorization = authorization
        self._database = database
        self._audit = audit
        self._texts = audit.texts
        self._clock = clock
        self._four_eyes = four_eyes
        self._on_judged = on_judged
        self._most = most
        self._held = held
        self._live: tuple[_Live, ...] = ()

    # -- on each decision -------------------------------------------------------------------

    def judge(self, decision: Decision, request: Request, mandate: str | None) -> Decision:
        """What the trials make of a decision: the same answer, but for report-only runs."""
        enforced = bind(decision, request) if request.context.get("via") == GATEWAY else decision
        now = self._clock()
        for live in self._live:
            if not live.run.is_live(now) or not live.run.concerns(request, mandate):
                continue
            if live.policies is not None:
                enforced = self._shadow(live, live.policies, enforced, request)
            elif (policies := self._authorization.snapshot) is not None:
                enforced = self._relax(live, enforced, request, policies.hard)
        return enforced

    def _shadow(
        self, live: _Live, candidate: PolicySet, enforced: Decision, request: Request
    ) -> Decision:
        if live.suspended is not None:
            return enforced
        started = time.perf_counter()
        try:
            made = shadowed(live.run, enforced, redecide(request, candidate))
        except Exception as cause:  # noqa: BLE001 - whatever is wrong with a candidate, the answer stands
            self._suspend(live, f"it raised {type(cause).__name__}")
            return enforced
        self._count(live, differs=made is not enforced)
        if time.perf_counter() - started > SLOW_SECONDS:
            live.slow += 1
            if live.slow > SLOW_ALLOWED:
                self._suspend(live, f"{live.slow} decisions took longer than {SLOW_SECONDS} s")
        return made

    def _relax(
        self, live: _Live, enforced: Decision, request: Request, hard: frozenset[str]
    ) -> Decision:
        made = relaxed(live.run, enforced, request, hard)
        self._count(live, differs=made is not enforced)
        if made is not enforced:
            logger.warning(
                "NOT ENFORCED, by report-only trial %s: %s of %s on %s would be %s by %s",
                live.run.id,
                request.action,
                request.subject,
                request.resource,
                enforced.effect.value,
                ", ".join(enforced.policies) or "no policy",
            )
        return made

    def _count(self, live: _Live, *, differs: bool) -> None:
        if self._on_judged is not None:
            self._on_judged(live.run.kind, differs)

    def _suspend(self, live: _Live, why: str) -> None:
        live.suspended = why
        logger.error("shadow %s is suspended on this node: %s", live.run.id, why)

    # -- starting and stopping --------------------------------------------------------------

    async def load(self, _key: str = "") -> None:
        """Take up the trials that are going on; call at start, and when another node changed them.

        Raises:
            Refused: BUSY when they cannot be read.
        """
        known = {live.run.id: live for live in self._live}
        found: list[_Live] = []
        for run, source in await self._database.read(lambda tx: trials.live(tx, self._texts)):
            live = known.get(run.id)
            if live is None and not await self._was_started(run):
                logger.critical("trial %s is not in the log: it is not taken up", run.id)
                continue
            live = live or await self._prepared(run, source)
            found.append(live)
            if run.kind is Trial.REPORT_ONLY and run.id not in known:
                logger.warning(
                    "report-only trial %s: policies are NOT ENFORCED, %s", run.id, run.note
                )
        self._live = tuple(found)
        self._authorization.beside = self.judge if found else None

    async def shadow(
        self,
        author: str,
        source: str,
        *,
        lasting: timedelta,
        agent: str | None = None,
        mandate: str | None = None,
        note: str = "",
    ) -> Run:
        """Ask a candidate beside the policies in force: of all calls, an agent's or a mandate's.

        Raises:
            Refused: MALFORMED with line and policy, or for a time that is too long; CONFLICT while
                another shadow is going on.
        """
        candidate = await self._authorization.compile(source)
        run = self._run(
            Trial.SHADOW, author, lasting, agent, mandate, frozenset(), candidate.version, note
        )
        return await self._start(run, candidate.source)

    async def report_only(
        self,
        author: str,
        *,
        effects: Collection[ToolEffect],
        lasting: timedelta,
        agent: str | None = None,
        mandate: str | None = None,
        note: str,
    ) -> Run:
        """Let pass, and record, what policies would hold or deny inside the mandate.

        Raises:
            Refused: MALFORMED without an agent or a mandate, effects, and a note; DENIED where a
                change of policies takes two people; CONFLICT when too many are going on.
        """
        if self._four_eyes:
            raise Refused(
                Kind.DENIED,
                "a change of policies takes two people here: propose policies that permit it",
            )
        run = self._run(
            Trial.REPORT_ONLY, author, lasting, agent, mandate, frozenset(effects), "", note
        )
        return await self._start(run, "")

    async def stop(self, person: str, run_id: str) -> Run:
        """End a trial now.

        Raises:
            Refused: NOT_FOUND; CONFLICT when it is over.
        """

        def unit(tx: Tx) -> Run:
            known = trials.find(tx, self._texts, run_id)
            if known is None:
                raise Refused(Kind.NOT_FOUND, "there is no such trial")
            if not trials.stop(tx, run_id):
                raise Refused(Kind.CONFLICT, "the trial was stopped before")
            self._audit.append(tx, _event(known[0], "stopped", {"by": person}))
            return known[0]

        run = await self._database.write(unit)
        await self.load()
        return run

    # -- looking ----------------------------------------------------------------------------

    async def runs(self) -> list[Run]:
        """The last trials, newest first."""
        return await self._database.read(lambda tx: trials.latest(tx, self._texts, _LATEST))

    async def report(self, run_id: str) -> Report:
        """What a trial has shown so far, counted from the log.

        Raises:
            Refused: NOT_FOUND.
        """
        known = await self._database.read(lambda tx: trials.find(tx, self._texts, run_id))
        if known is None:
            raise Refused(Kind.NOT_FOUND, "there is no such trial")
        run = known[0]
        asked = Decisions(
            self._audit,
            run.started_at,
            until=run.ended_at,
            agent=run.agent,
            mandate=run.mandate,
            most=self._most,
        )
        report = Report(run, asked.reach)
        report.suspended = next(
            (live.suspended for live in self._live if live.run.id == run_id), None
        )
        firsts: Firsts[LoggedEvent] = Firsts()  # the question itself; what comes back is later
        async for portion in asked.portions(self._held):
            of_it = [_asked(event) for event in portion if _is_of(event, run)]
            for event in firsts.take(of_it):
                _count(report, event)
        for event in firsts.rest():
            _count(report, event)
        report.reach = asked.reach
        return report

    # -- inside -----------------------------------------------------------------------------

    def _run(
        self,
        kind: Trial,
        author: str,
        lasting: timedelta,
        agent: str | None,
        mandate: str | None,
        effects: frozenset[ToolEffect],
        version: str,
        note: str,
    ) -> Run:
        require_note(note)
        if "\0" in f"{agent}{mandate}":
            raise Refused(Kind.MALFORMED, "an agent or a mandate is named by visible characters")
        now = from_ms(to_ms(self._clock()))  # as it is stored: the log is compared with that
        return Run(
            new_id("trl"), kind, agent, mandate, effects, version, author, note, now, now + lasting
        )

    async def _start(self, run: Run, source: str) -> Run:
        def unit(tx: Tx) -> None:
            going = [known for known, _ in trials.live(tx, self._texts) if known.kind is run.kind]
            if run.kind is Trial.SHADOW and going:
                raise Refused(Kind.CONFLICT, f"shadow `{going[0].id}` is going on, stop it first")
            if len(going) >= MAX_REPORT_ONLY_RUNS:
                raise Refused(Kind.CONFLICT, "too many report-only trials are going on")
            trials.add(tx, self._texts, run, source)
            self._audit.append(tx, _event(run, "started", {"author": run.author, "note": run.note}))

        await self._database.write(unit)
        await self.load()
        return run

    async def _was_started(self, run: Run) -> bool:
        """Whether the log says so, as it is: a row that somebody wrote beside us lifts nothing."""
        said = _event(run, "started", {}).facts
        return any(
            event.trace == run.id and event.facts == said
            for event in await self._audit.trace(run.id)
        )

    async def _prepared(self, run: Run, source: str) -> _Live:
        if run.kind is Trial.REPORT_ONLY:
            return _Live(run, None)
        schema = self._authorization.schema
        try:
            return _Live(run, await asyncio.to_thread(PolicySet.compile, source, schema))
        except Refused as refused:
            # After a release that changed the schema. An empty set would count as denials.
            live = _Live(run, self._authorization.snapshot)
            self._suspend(live, refused.detail)
            return live


def _is_of(event: LoggedEvent, run: Run) -> bool:
    facts = event.facts
    if run.kind is Trial.REPORT_ONLY and facts.get("effect") not in run.effects:
        return False
    return facts.get("stage", "policy") in {"policy", "approval"} and "policy_version" in facts


def _asked(event: LoggedEvent) -> Asked[LoggedEvent]:
    """A record of which others may follow is held until they cannot; in doubt it is one."""
    context = event.private.get("context")
    first = isinstance(context, Mapping) and not context.get("approved")
    said = event.facts
    waited = said.get("decision") == Effect.STEP_UP.value or said.get("stage") == "approval"
    return Asked(event.trace, event.at, waited or not first, not first, event)


def _count(report: Report, event: LoggedEvent) -> None:
    report.calls += 1
    said = event.facts.get("shadow")
    if not isinstance(said, dict) or said.get("trial") != report.run.id:
        return
    enforced = str(event.facts.get("decision"))
    if event.facts.get("stage") == "approval":
        enforced = Effect.STEP_UP.value
    move = (enforced, str(said.get("decision")))
    report.moves[move] += 1
    report.errors += bool(said.get("errors"))
    named = said.get("policies", event.facts.get("policies"))
    report.policies.update(str(name) for name in named or ())
    if len(shown := report.examples.setdefault(move, [])) < EXAMPLES:
        shown.append(event.trace)


def _event(run: Run, state: str, private: dict[str, JsonValue]) -> Event:
    facts: dict[str, JsonValue] = {
        "trial": run.id,
        "kind": run.kind.value,
        "state": state,
        "ends_at": rfc3339(run.ends_at),
    }
    if run.version:
        facts["candidate"] = run.version
    if run.agent is not None:
        facts["agent"] = run.agent
    if run.mandate is not None:
        facts["mandate"] = run.mandate
    if run.effects:
        facts["effects"] = sorted(run.effects)
    return Event(EventType.POLICY, run.id, facts, private)
