"""Publish policies, decide by the ones in force, answer foreign enforcement points.

The set in force is an immutable snapshot, swapped when a publication is durable. Nothing is decided
without one. No decision is ever cached.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from actfor.audit import AuditLog, Event, EventType
from actfor.authorization.model import (
    Decision,
    Effect,
    Explanation,
    PolicySet,
    Problem,
    Request,
    RequestSchema,
    caps,
    to_request,
)
from actfor.authorization.model.foreign import ignored, obliged
from actfor.authorization.model.publication import Publication
from actfor.authorization.model.source import Policy, no_permit, read, refuse
from actfor.authorization.policies import default_source, schema_source
from actfor.authorization.repository import publications as repository
from actfor.authorization.service.foreign import (
    Answer,
    Approved,
    Gather,
    Look,
    Looked,
    Named,
    asked,
    found_out,
)
from actfor.authorization.service.stored import check_stored
from actfor.errors import Kind, Refused
from actfor.store import Database, Tx, new_id
from actfor.wire.authzen import Evaluation
from actfor.wire.canonical import JsonObject, JsonValue

logger = logging.getLogger(__name__)

Beside = Callable[[Decision, Request, str | None], Decision]

SYSTEM = "system"
_ATTEMPTS = 3
_HISTORY = 500
_FORMER = 8


class AuthorizationService:
    """``on_publish`` is called with each new set, after it is durable and in force."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        clock: Callable[[], datetime],
        *,
        on_publish: Callable[[PolicySet], None] | None = None,
    ) -> None:
        self._database = database
        self._audit = audit
        self._texts = audit.texts
        self._clock = clock
        self._on_publish = on_publish
        self.schema = RequestSchema.parse(schema_source())
        self.fault: str | None = None
        """Why the stored policies are not in force; None where they are, or there are none."""
        self.beside: Beside | None = None
        """What trials make of each decision (``Trials.judge``); None while there are none."""
        # Swapped as a whole by `_swap`, in the order of publication; readers take it once.
        self._snapshot: PolicySet | None = None
        # A memo of versions that never change; owned by the event loop.
        self._former: dict[str, PolicySet] = {}

    # -- deciding ---------------------------------------------------------------------------

    @property
    def snapshot(self) -> PolicySet | None:
        """The policy set in force; None before ``load``, or when none was ever published."""
        return self._snapshot

    @property
    def ready(self) -> bool:
        """Whether there is a policy set to decide by."""
        return self._snapshot is not None

    def decide(self, request: Request, mandate: str | None = None) -> Decision:
        """Permit, deny or ask a human. Without a policy set in force: deny.

        ``mandate`` is the id of the mandate that is acted under, for trials that concern one.
        """
        policies = self._snapshot
        if policies is None:
            return Decision(Effect.DENY, reasons=("no policy set is in force",))
        decision = policies.decide(request)
        return decision if self.beside is None else self.beside(decision, request, mandate)

    def obligations(self, decision: Decision) -> tuple[JsonObject, ...]:
        """What the policies that determined a decision of the set in force oblige its asker to."""
        policies = self._snapshot
        if policies is None or not policies.obliging:  # as a rule none obliges, on a hot path
            return ()
        if policies.version != decision.version or not decision.policies:
            return ()
        named = set(decision.policies)
        return tuple(
            o for policy in policies.obliging if policy.id in named for o in policy.obligations
        )

    def explain(self, request: Request) -> Explanation:
        """The decision, and what each policy with a matching scope says by itself.

        Raises:
            Refused: NOT_FOUND when no policy set is in force.
        """
        return self._in_force().explain(request)

    def check_current(self, tx: Tx, version: str) -> None:
        """Refuse, in the transaction that records a decision, one made by a replaced policy set.

        So that in log order no decision by an old version follows the publication of a new one.

        Raises:
            Refused: CONFLICT when another version is in force; decide again.
        """
        if self.version_in_force(tx) != version:
            raise Refused(Kind.CONFLICT, "the policies changed while this was decided, try again")

    def version_in_force(self, tx: Tx) -> str:
        """The version of the last publication, as this transaction sees it; "" before the first."""
        return repository.version_in_force(tx) or ""

    async def evaluate(
        self,
        pep: str,
        evaluation: Evaluation,
        gather: Gather | None = None,
        *,
        record: bool = True,
        look: Look | None = None,
    ) -> Answer:
        """Answer a foreign enforcement point; recorded durably before this returns.

        Without ``record`` nothing is written and the answer's id names no record: for an operator
        who has said that the enforcement points keep their own. Nothing here can then be explained
        or simulated, and a publication takes effect on this node when it hears of it.

        ``pep`` is the authenticated name of who asks. Without ``gather`` the server knows nothing
        about the call, and only a policy written for that PEP can permit it. ``look`` finds what it
        knows of a call under a mandate that the question names, and a person's approval of it.

        Raises:
            Refused: MALFORMED for a reported fact of the wrong type; BUSY when the answer could
                not be recorded.
        """
        for _ in range(_ATTEMPTS):
            # 1. Gather facts. What only the server may say is dropped from what the caller said.
            looked, facts, refusal = await found_out(pep, evaluation, gather, look)
            request = to_request(facts)
            # 2. Decide; and again, if a person has approved what would need it.
            decision = self._judge(request, refusal)
            approved, unapproved, template = None, None, ""
            if decision.effect is Effect.STEP_UP and looked is not None:
                template = looked.template
                found = await looked.approval(decision.version)
                if isinstance(found, Approved):
                    approved, request = found, to_request(facts._replace(approved=True))
                    version, decision = decision.version, self._judge(request, None)
                    if decision.version != version:
                        continue  # the person approved under other policies
                else:
                    unapproved = found
            obligations = self.obligations(decision)
            decision = obliged(decision, obligations, evaluation)
            named = None if looked is None else looked.named
            told = ignored(evaluation, self.schema) + (() if named is None else named.ignored)
            answer = Answer(new_id("dec"), decision, told, obligations, unapproved, template)
            if not record and looked is None:
                return answer
            # 3. Record, unless the policies have changed meanwhile.
            try:
                event = asked(pep, evaluation, request, answer, named, refused=refusal is not None)
                checked = looked if decision.permitted else None
                unit = partial(
                    self._record, answer=answer, event=event, looked=checked, approved=approved
                )
                await self._database.write(unit)
            except Refused as refused:
                if refused.kind is Kind.CONFLICT:
                    await self.follow()
                    continue
                if not decision.permitted or refused.kind is Kind.BUSY:
                    raise
                # What was taken back meanwhile, or an approval that another question spent.
                return await self._taken_back(pep, evaluation, request, answer, named, refused)
            # 4. Answer.
            return answer
        raise Refused(Kind.BUSY, "the policies are changing, try again")

    def _judge(self, request: Request, refusal: str | None) -> Decision:
        if refusal is None:
            return self.decide(request)
        version = self._snapshot.version if self._snapshot else ""
        return Decision(Effect.DENY, reasons=(refusal,), version=version)

    async def _taken_back(
        self,
        pep: str,
        evaluation: Evaluation,
        request: Request,
        answer: Answer,
        named: Named | None,
        why: Refused,
    ) -> Answer:
        decision = answer.decision._replace(effect=Effect.DENY, reasons=(why.detail,))
        denied = answer._replace(decision=decision, obligations=())
        event = asked(pep, evaluation, request, denied, named, refused=True)
        await self._database.write(partial(self._record, answer=denied, event=event))
        return denied

    def _record(
        self,
        tx: Tx,
        *,
        answer: Answer,
        event: Event,
        looked: Looked | None = None,
        approved: Approved | None = None,
    ) -> None:
        if answer.decision.version:  # without policies in force there are only denials
            self.check_current(tx, answer.decision.version)
        if looked is not None:
            event = replace(event, facts={**event.facts, **looked.check(tx, approved)})
        self._audit.append(tx, event)

    # -- publishing -------------------------------------------------------------------------

    async def load(self) -> None:
        """Put the last publication in force again; call at start, and when another node published.

        A release that changes the schema changes what the same text means: the set is checked
        against the new schema and published anew under its new version.

        What is stored must be what was published: the text that its version is the digest of, and
        the version that the log names last. Where it is not, or is not valid any more, nothing is
        in force: every call is denied, ``ready`` is False and ``fault`` says why, until an
        administrator publishes or rolls back.
        """
        stored = await self._database.read(self._last)
        if stored is None:
            return
        publication, source = stored
        try:
            policies = await self._as_published(publication, source)
        except Refused as refused:
            if refused.kind is Kind.BUSY:
                raise
            self._deny_all(refused.detail)
            return
        if policies.version == publication.version:
            self._swap(policies)
        else:
            await self._publish(policies, SYSTEM, cause="schema changed", replaces=None)

    async def follow(self, _key: str = "") -> None:
        """Put in force what another node published. Until then, nothing decided here is recorded.

        Where it was published under another release's schema nothing is in force here any more:
        this node permits nothing, and must be replaced.
        """
        stored = await self._database.read(self._last)
        if stored is None or stored[0].version == self._version:
            return
        try:
            policies = await self._as_published(*stored)
        except Refused as refused:
            if refused.kind is Kind.BUSY:
                raise
            self._deny_all(refused.detail)
            return
        if policies.version == stored[0].version:
            self._swap(policies)
        else:
            self._deny_all("the policies in force need another release's schema")

    @property
    def _version(self) -> str:
        return self._snapshot.version if self._snapshot else ""

    async def _as_published(self, publication: Publication, source: str) -> PolicySet:
        await check_stored(self._database, self._audit, publication, source)
        return await asyncio.to_thread(PolicySet.compile, source, self.schema)

    def _deny_all(self, why: str) -> None:
        self._snapshot, self.fault = None, why
        logger.critical("no policy is in force, everything is denied: %s", why)

    async def ensure_default(self) -> None:
        """Publish the packaged default pack if nothing was ever published."""
        if await self._database.read(self._last) is None:
            policies = PolicySet.compile(default_source(), self.schema)
            await self._publish(policies, SYSTEM, cause="default pack", replaces=None)

    async def check(self, source: str) -> tuple[Problem, ...]:
        """Everything that is wrong with a policy text; nothing means that it may be published."""
        policies, problems = await asyncio.to_thread(read, source, self.schema)
        return problems or _unfit(policies)

    async def publish(
        self,
        author: str,
        source: str,
        *,
        replaces: str | None = None,
        cause: str = "published",
        note: str = "",
    ) -> Publication:
        """Check a policy text strictly and put it in force; what is in force already stays so.

        ``author`` is the id of an authenticated administrator: who that may be, and whether a
        second one must agree, is checked by the caller (see ``PolicyChanges``). With
        ``replaces``, refuse unless that version is the one in force.

        Raises:
            Refused: MALFORMED with line and policy; CONFLICT; BUSY when it could not be recorded.
        """
        policies = await self.compile(source)
        return await self._publish(policies, author, cause=cause, replaces=replaces, note=note)

    async def compile(self, source: str) -> PolicySet:
        """A policy text as it may be published: valid, with permits, each with its caps.

        Raises:
            Refused: MALFORMED with line and policy.
        """
        # In a thread: a large set takes a second, and decisions go on meanwhile.
        policies = await asyncio.to_thread(PolicySet.compile, source, self.schema)
        refuse(_unfit(policies.policies))
        return policies

    async def history(self) -> list[Publication]:
        """The last publications, newest first."""
        return await self._database.read(lambda tx: repository.latest(tx, self._texts, _HISTORY))

    async def published(self, version: str | None = None) -> tuple[Publication, str]:
        """A publication and its source; of the version in force where none is named.

        Raises:
            Refused: NOT_FOUND.
        """
        found = await self._database.read(
            lambda tx: (
                self._last(tx)
                if version is None
                else repository.of_version(tx, self._texts, version)
            )
        )
        if found is None:
            raise Refused(Kind.NOT_FOUND, "there is no such policy version")
        return found

    async def set_of(self, version: str) -> PolicySet:
        """The policies of a version as they were when it was published, by its own schema.

        Raises:
            Refused: NOT_FOUND; MALFORMED when this release's Cedar does not read them any more.
        """
        if self._snapshot is not None and self._snapshot.version == version:
            return self._snapshot
        known = self._former.get(version)
        if known is None:
            texts = await self._database.read(lambda tx: repository.texts_of(tx, version))
            if texts is None:
                raise Refused(Kind.NOT_FOUND, "there is no such policy version")
            known = await asyncio.to_thread(_as_it_was, *texts)
            if len(self._former) >= _FORMER:
                self._former.clear()
            self._former[version] = known
        return known

    async def _publish(
        self,
        policies: PolicySet,
        author: str,
        *,
        cause: str,
        replaces: str | None,
        note: str = "",
    ) -> Publication:
        made = Publication(0, policies.version, author, cause, self._clock(), None, note)
        return await self._database.write(
            lambda tx: self.put_in_force(tx, policies, made, replaces=replaces)
        )

    def put_in_force(
        self,
        tx: Tx,
        policies: PolicySet,
        made: Publication,
        *,
        replaces: str | None = None,
        proposal: str | None = None,
    ) -> Publication:
        """Publish in the caller's transaction; ``made.seq`` is given here. The last one if alike.

        Raises:
            Refused: CONFLICT when ``replaces`` is not the version in force.
        """
        known = self._last(tx)
        last = known[0] if known else None
        if replaces is not None and (last is None or last.version != replaces):
            raise Refused(Kind.CONFLICT, f"version `{replaces[:64]}` is not in force any more")
        healthy = self._snapshot is not None
        if last is not None and last.version == policies.version and healthy:
            return last
        made = replace(made, seq=last.seq + 1 if last else 1)
        repository.add(tx, self._texts, made, policies.source, self.schema.text)
        self._audit.append(tx, _published(made, last, policies, proposal))
        tx.on_commit(lambda: self._swap(policies))
        return made

    def _last(self, tx: Tx) -> tuple[Publication, str] | None:
        return repository.last(tx, self._texts)

    def _swap(self, policies: PolicySet) -> None:
        self._snapshot, self.fault = policies, None
        if self._on_publish is not None:
            self._on_publish(policies)

    def _in_force(self) -> PolicySet:
        if self._snapshot is None:
            raise Refused(Kind.NOT_FOUND, "no policy set is in force")
        return self._snapshot


def _as_it_was(source: str, schema: str) -> PolicySet:
    return PolicySet.compile(source, RequestSchema.parse(schema))


def _unfit(policies: tuple[Policy, ...]) -> tuple[Problem, ...]:
    """Why a set that can be read may not be published."""
    return (*no_permit(policies), *caps.problems(policies))


def _published(
    made: Publication, last: Publication | None, policies: PolicySet, proposal: str | None
) -> Event:
    facts: dict[str, JsonValue] = {
        "policy_version": made.version,
        "replaces": last.version if last else None,
        "policies": len(policies.policies),
        "cause": made.cause,
    }
    if lifted := sum(caps.uncapped(policy) is not None for policy in policies.policies):
        facts["uncapped"] = lifted
    private: dict[str, JsonValue] = {"author": made.author}
    if proposal is not None:
        facts["proposal"] = proposal
        private["approver"] = made.approver
    if made.note:
        private["note"] = made.note
    return Event(EventType.POLICY, made.version, facts, private)
