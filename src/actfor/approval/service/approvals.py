"""Ask a person about one exact call, take the answer, spend it once.

The gateway asks (`request`, `wait`) and spends (`consume`, in the transaction that records the
decision); people look (`show`, `inbox`) and answer (`options`, `answer`). Each transition is
written together with its leaf in the log. There is no other way to an approval.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actfor.approval import repository
from actfor.approval.model import (
    COOLDOWN,
    LIFETIME,
    Answer,
    Approval,
    ExactCall,
    Recent,
    SlotOrigin,
    State,
    acts_in,
    check_may_answer,
    check_not_flooding,
)
from actfor.approval.service.transitions import Transitions
from actfor.approval.service.waiting import Waiting
from actfor.audit import AuditLog
from actfor.errors import Kind, Refused
from actfor.identity import Agent, PeopleService, Person, Role
from actfor.store import Database, Tx, new_id
from actfor.wire.canonical import JsonObject, canonical, digest

MAX_AGENT_TEXT = 4_000
_SWEEP = 5.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Inbox:
    """What a person sees: waiting (oldest first) and settled (newest first)."""

    waiting: tuple[Approval, ...]
    settled: tuple[Approval, ...]


class ApprovalService:
    """``public_url`` is the console's origin; ``lifetime`` how long a question stays open."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        people: PeopleService,
        public_url: str,
        clock: Callable[[], datetime],
        *,
        lifetime: timedelta = LIFETIME,
    ) -> None:
        self._database = database
        self._texts = audit.texts
        self._people = people
        self._public_url = public_url.rstrip("/")
        self._clock = clock
        self._lifetime = lifetime
        # Run in the transaction that records a yes with endorsements: others keep them.
        self.on_endorsed: list[Callable[[Tx, Approval], None]] = []
        self._waiting = Waiting()
        self._transitions = Transitions(audit, self._waiting)

    def url(self, approval_id: str) -> str:
        """Where a person answers. It holds no secret and visiting it changes nothing."""
        return f"{self._public_url}/approvals/{approval_id}"

    # -- the gateway's side -----------------------------------------------------------------

    async def request(
        self,
        call: ExactCall,
        *,
        decision_trace: str,
        reasons: Sequence[str],
        agent_text: str | None = None,
        four_eyes: bool = False,
        origins: Sequence[SlotOrigin] = (),
        within: Callable[[Tx, Approval], None] | None = None,
    ) -> Approval:
        """Ask about this exact call; the one already open (or approved) for it is given back.

        ``reasons`` are the policy's, ``agent_text`` the agent's own words, shown as such;
        ``origins`` where the values of the arguments come from, found by the server. ``within``
        runs in the same transaction, with what is given back; if it refuses, nobody is asked.

        Raises:
            Refused: DENIED when a person just said no to it or the agent asks too much;
                MALFORMED when ``arguments_digest`` is not that of ``arguments``.
        """
        if digest(call.arguments) != call.arguments_digest:
            raise Refused(Kind.MALFORMED, "arguments do not match their digest")
        new = Approval(
            id=new_id("apr"),
            digest=call.digest,
            expires_at=self._clock() + self._lifetime,
            call=call,
            created_at=self._clock(),
            trace=decision_trace,
            reasons=tuple(reasons),
            agent_text=_agent_words(agent_text),
            four_eyes=four_eyes,
            origins=tuple(origins),
        )

        def unit(tx: Tx) -> Approval:
            asked = self._request(tx, new)
            if within is not None:
                within(tx, asked)
            return asked

        return await self._database.write(unit)

    async def withdraw(self, by: str, approval_id: str, reason: str | None) -> Approval:
        """Take back what the enforcement point ``by`` asked, while nobody has answered.

        Either this or an answer comes first, never both; a second time it is as it was. ``reason``
        is the asker's, kept with the key of its account.

        Raises:
            Refused: NOT_FOUND (or somebody else's question); CONFLICT if it was answered; EXPIRED.
        """

        def unit(tx: Tx) -> Approval:
            known = repository.by_id(tx, self._texts, approval_id)
            if known is None or not by or known.call.enforced_by != by:
                raise Refused(Kind.NOT_FOUND, "there is no such approval")
            if known.withdrawn:
                return known
            taken = known.withdraw(by, _reason(reason), tx.now)
            self._transitions.withdraw(tx, taken)
            return taken

        return await self._database.write(unit)

    def _request(self, tx: Tx, new: Approval) -> Approval:
        known = repository.latest(tx, self._texts, new.digest)
        if known is not None:
            known = self._transitions.expire(tx, known)
            if known.state in {State.PENDING, State.APPROVED}:
                return known
        check_not_flooding(_recent(tx, new), tx.now)
        self._transitions.ask(tx, new)
        return new

    async def wait(self, approval_id: str, seconds: float) -> Approval:
        """The approval once it is answered, or as it stands after ``seconds`` (at most 45)."""
        return await self._waiting.until_answered(approval_id, seconds, self.get)

    def follow(self, approval_id: str) -> None:
        """Another node wrote something of this approval (of any, if empty): whoever waits looks."""
        self._waiting.wake(approval_id)

    def consume(self, tx: Tx, digest: str, agent: str | None = None) -> Approval:
        """Spend the approval of this exact call, in the transaction that records the decision.

        The record of the spending is the decision's own leaf: it names the approval.

        Raises:
            Refused: STEP_UP_REQUIRED without an answer, EXPIRED, REPLAYED, DENIED.
        """
        known = repository.latest(tx, self._texts, digest)
        if known is None:
            raise Refused(Kind.STEP_UP_REQUIRED, "nobody was asked about this call")
        if agent is not None and agent != known.call.agent:
            raise Refused(Kind.DENIED, "approval was given to another agent")
        return self._transitions.consume(tx, known, digest)

    async def find(self, digest: str) -> Approval | None:
        """The newest approval for a digest, in whatever state it is now."""
        found = await self._database.read(lambda tx: repository.latest(tx, self._texts, digest))
        return None if found is None else found.at(self._clock())

    # -- people's side ----------------------------------------------------------------------

    async def get(self, approval_id: str) -> Approval:
        """One approval as of now. Does not check who is asking; see `show`."""
        found = await self._database.read(lambda tx: self._known(tx, approval_id))
        return found.at(self._clock())

    def _known(self, tx: Tx, approval_id: str) -> Approval:
        found = repository.by_id(tx, self._texts, approval_id)
        if found is None:
            raise Refused(Kind.NOT_FOUND, "there is no such approval")
        return found

    async def show(self, viewer: Person, approval_id: str) -> Approval:
        """One approval, for whoever may see it; to others it does not exist."""
        found = await self.get(approval_id)
        if not _sees_all(viewer) and found.call.person_id != viewer.id:
            raise Refused(Kind.NOT_FOUND, "there is no such approval")
        return found

    async def inbox(
        self, viewer: Person, *, limit: int = 50, before: datetime | None = None
    ) -> Inbox:
        """Approvals the viewer may see; ``before`` pages through the settled ones."""
        now = self._clock()
        whose = "" if _sees_all(viewer) else viewer.id
        past = before or now + timedelta(days=1)

        def unit(tx: Tx) -> Inbox:
            waiting = repository.pending(tx, self._texts, now, person_id=whose, limit=limit)
            old = repository.settled(
                tx, self._texts, now, person_id=whose, limit=limit, before=past
            )
            return Inbox(tuple(waiting), tuple(one.at(now) for one in old))

        return await self._database.read(unit)

    async def count_waiting(self, viewer: Person) -> int:
        """How many approvals that the viewer may see wait for an answer."""
        now, whose = self._clock(), "" if _sees_all(viewer) else viewer.id
        return await self._database.read(
            lambda tx: repository.count_waiting(tx, now, person_id=whose)
        )

    def refusal(self, person: Person, approval: Approval, answer: Answer) -> str | None:
        """Why this person may not give this answer, or None: for the page, not for the gate."""
        try:
            _check(person, approval, answer)
        except Refused as refused:
            return refused.detail
        return None

    async def options(
        self, person: Person, approval_id: str, *, endorse: tuple[str, ...] = ()
    ) -> JsonObject:
        """WebAuthn request options whose challenge is this approval's, for the answer yes.

        ``endorse`` are the pointers of values that the yes shall also hold for from now on.

        Raises:
            Refused: the person may not approve it, or it no longer waits; MALFORMED for a value
                that was not offered.
        """
        found = await self.show(person, approval_id)
        _check(person, found, Answer.APPROVE)
        if found.state is not State.PENDING:
            raise Refused(Kind.CONFLICT, f"approval is already {found.state}")
        found.require_endorsable(endorse)
        challenge = found.challenge(Answer.APPROVE, endorse)
        return await self._people.assertion_options(person, challenge)

    async def answer(
        self,
        person: Person,
        approval_id: str,
        decision: Answer,
        assertion: JsonObject | None = None,
        reason: str | None = None,
        *,
        endorse: tuple[str, ...] = (),
    ) -> Approval:
        """Record what the person said.

        1. Only who may, and only while it waits. 2. A yes is a passkey's signature over the
        challenge of this approval, this answer, this digest and the values it endorses. 3. In one
        transaction: all of it again, the answer, its leaf. 4. Whoever waits wakes when it is
        durable.

        Raises:
            Refused: DENIED, UNAUTHENTICATED (no or wrong assertion), CONFLICT, EXPIRED.
        """
        found = await self.show(person, approval_id)
        _check(person, found, decision)
        if endorse and decision is not Answer.APPROVE:
            raise Refused(Kind.MALFORMED, "a no endorses nothing")
        evidence = None
        if decision is Answer.APPROVE:
            evidence = await self._signed(person, found, assertion, endorse)

        def unit(tx: Tx) -> Approval:
            known = self._known(tx, approval_id)
            _check(self._people.check_live(tx, person.id, person.epoch), known, decision)
            if evidence is not None:
                answered = known.approve(person.id, evidence, tx.now, endorse=endorse)
            else:
                answered = known.deny(person.id, _reason(reason), tx.now)
            self._transitions.answer(tx, answered)
            for hook in self.on_endorsed if endorse else ():
                hook(tx, answered)
            return answered

        return await self._database.write(unit)

    async def _signed(
        self,
        person: Person,
        found: Approval,
        assertion: JsonObject | None,
        endorse: tuple[str, ...],
    ) -> JsonObject:
        """The evidence that the person signed a yes to this, as it stands."""
        if found.state is State.PENDING and assertion is None:
            raise Refused(Kind.UNAUTHENTICATED, "approving needs a passkey assertion")
        # Too late is said before the signature.
        found.approve(person.id, {}, self._clock(), endorse=endorse)
        challenge = found.challenge(Answer.APPROVE, endorse)
        verified = await self._people.verify_assertion(person, challenge, assertion or {})
        return verified.evidence

    # -- what ends approvals without an answer ----------------------------------------------

    def cancel_for_agent(self, tx: Tx, agent: Agent) -> None:
        """Hook of `AgentService`: take back all that an untrusted agent asked or was granted."""
        self._transitions.cancel(tx, "agent", lambda one: acts_in(one.call, str(agent.id)))

    def cancel_for_mandate(self, tx: Tx, mandate_id: str) -> None:
        """Take back all that was asked under a mandate that is over."""
        self._transitions.cancel(tx, "mandate", lambda one: mandate_id == one.call.mandate_id)

    def erase_person(self, tx: Tx, person_id: str) -> None:
        """Forget what was asked in a person's name; their open questions were cancelled before."""
        repository.erase(tx, person_id)

    async def sweep(self) -> int:
        """Write down what has expired, each with its leaf; how many."""

        def unit(tx: Tx) -> int:
            due = repository.due(tx, self._texts, tx.now)
            return sum(self._transitions.expire(tx, one).state is State.EXPIRED for one in due)

        return await self._database.write(unit)

    async def run(self) -> None:
        """Background loop: `sweep` every few seconds until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP)
            try:
                if await self._database.read(lambda tx: repository.due(tx, self._texts, tx.now)):
                    await self.sweep()
            except Refused as refused:
                logger.warning("expired approvals could not be written down: %s", refused.detail)


def _check(person: Person, approval: Approval, answer: Answer) -> None:
    check_may_answer(
        approval,
        answer,
        person_id=person.id,
        roles=frozenset(role.value for role in person.roles),
        active=person.may(Role.MEMBER),
    )


def _sees_all(viewer: Person) -> bool:
    return viewer.may(Role.APPROVER) or viewer.may(Role.ADMIN)


def _recent(tx: Tx, new: Approval) -> Recent:
    agent, person = new.call.agent, new.call.person_id
    told = repository.denials(tx, agent, person, tx.now - COOLDOWN)
    same = [at for at, about in told if about == new.digest]
    return Recent(
        pending=repository.count_pending(tx, agent, person, tx.now),
        denials=tuple(at for at, _ in told),
        same_call_denied_at=max(same, default=None),
    )


def _agent_words(text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    # No database keeps a NUL in a text; the sign for it says as much to a person.
    cut = text[:MAX_AGENT_TEXT].replace("\0", "\N{SYMBOL FOR NULL}")
    canonical(cut)  # what has no UTF-8 form cannot be kept: MALFORMED
    return cut


def _reason(text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    canonical(text)
    return text.strip()[:300]
