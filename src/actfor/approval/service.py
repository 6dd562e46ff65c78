"""Ask a person about one exact call, take the answer, spend it once.

The gateway asks (`request`, `wait`) and spends (`consume`, in the transaction that records the
decision); people look (`show`, `inbox`) and answer (`options`, `answer`). Each transition is
written together with its leaf in the log. There is no other way to an approval.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from actfor.audit import AuditLog, Event, EventType, Revocable
from actfor.errors import Kind, Refused
from actfor.identity import Agent, PeopleService, Person, Role
from actfor.store import Database, Tx, new_id
from actfor.wire.canonical import JsonObject, JsonValue, canonical, digest

MAX_WAIT = 45.0
"""Seconds a call may be held open; longer and clients or proxies give up first."""

MAX_AGENT_TEXT = 4_000
_POLL = 2.0  # another process may write the answer; its commit wakes nobody here
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
        self._audit = audit
        self._texts = audit.texts
        self._people = people
        self._public_url = public_url.rstrip("/")
        self._clock = clock
        self._lifetime = lifetime
        # Run in the transaction that records a yes with endorsements: others keep them.
        self.on_endorsed: list[Callable[[Tx, Approval], None]] = []
        # Owned by the event loop: who waits for which approval.
        self._waiting: dict[str, set[asyncio.Event]] = {}

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
            if not repository.answer(tx, self._texts, taken, tx.now):
                raise Refused(Kind.CONFLICT, "approval was answered by someone else")
            said: dict[str, JsonValue] = {"by": by, "reason": taken.reason}
            self._log(tx, EventType.REVOKE, taken, said, cause="withdrawn")
            return taken

        return await self._database.write(unit)

    def _request(self, tx: Tx, new: Approval) -> Approval:
        known = repository.latest(tx, self._texts, new.digest)
        if known is not None:
            known = self._written(tx, known)
            if known.state in {State.PENDING, State.APPROVED}:
                return known
        check_not_flooding(_recent(tx, new), tx.now)
        repository.add(tx, self._texts, new)
        self._log(
            tx,
            EventType.APPROVAL_REQUEST,
            new,
            {
                "agent_text": new.agent_text,
                "arguments": new.call.arguments,
                "reasons": list(new.reasons),
                "origins": [origin.to_json() for origin in new.origins] or None,
            },
        )
        return new

    async def wait(self, approval_id: str, seconds: float) -> Approval:
        """The approval once it is answered, or as it stands after ``seconds`` (at most 45)."""
        until = asyncio.get_running_loop().time() + min(max(seconds, 0.0), MAX_WAIT)
        woken = asyncio.Event()
        self._waiting.setdefault(approval_id, set()).add(woken)
        try:
            while True:
                woken.clear()
                seen = await self.get(approval_id)
                left = until - asyncio.get_running_loop().time()
                if seen.state is not State.PENDING or left <= 0:
                    return seen
                await _either(woken, min(left, _POLL))
        finally:
            self._forget(approval_id, woken)

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
        spent = known.consume(digest, tx.now)
        if not repository.consume(tx, known.id, digest, tx.now):
            raise Refused(Kind.REPLAYED, "approval was already used")
        self._wake_on_commit(tx, known.id)
        return spent

    async def find(self, digest: str) -> Approval | None:
        """The newest approval for a digest, in whatever state it is now."""
        found = await self._database.read(lambda tx: repository.latest(tx, self._texts, digest))
        return None if found is None else found.at(self._clock())

    # -- people's side ----------------------------------------------------------------------

    async def get(self, approval_id: str) -> Approval:
        """One approval as of now. Does not check who is asking; see `show`."""
        found = await self._database.read(lambda tx: repository.by_id(tx, self._texts, approval_id))
        if found is None:
            raise Refused(Kind.NOT_FOUND, "there is no such approval")
        return found.at(self._clock())

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
        evidence = None
        if decision is Answer.APPROVE:
            if found.state is State.PENDING and assertion is None:
                raise Refused(Kind.UNAUTHENTICATED, "approving needs a passkey assertion")
            # Too late is said before the signature.
            found.approve(person.id, {}, self._clock(), endorse=endorse)
            verified = await self._people.verify_assertion(
                person, found.challenge(decision, endorse), assertion or {}
            )
            evidence = verified.evidence
        elif endorse:
            raise Refused(Kind.MALFORMED, "a no endorses nothing")
        return await self._database.write(
            lambda tx: self._answer(tx, person, approval_id, decision, evidence, reason, endorse)
        )

    def _answer(
        self,
        tx: Tx,
        person: Person,
        approval_id: str,
        decision: Answer,
        evidence: JsonObject | None,
        reason: str | None,
        endorse: tuple[str, ...],
    ) -> Approval:
        known = repository.by_id(tx, self._texts, approval_id)
        if known is None:
            raise Refused(Kind.NOT_FOUND, "there is no such approval")
        current = self._people.check_live(tx, person.id, person.epoch)
        _check(current, known, decision)
        if evidence is not None:
            answered = known.approve(person.id, evidence, tx.now, endorse=endorse)
        else:
            answered = known.deny(person.id, _reason(reason), tx.now)
        if not repository.answer(tx, self._texts, answered, tx.now):
            raise Refused(Kind.CONFLICT, "approval was answered by someone else")
        kind = EventType.APPROVE if evidence is not None else EventType.DENY
        self._log(
            tx,
            kind,
            answered,
            {
                "approver": person.id,
                "reason": answered.reason,
                "assertion": evidence,
                "endorsed": list(endorse) or None,
            },
            assertion_digest=None if evidence is None else digest(evidence),
        )
        if endorse:
            for hook in self.on_endorsed:
                hook(tx, answered)
        return answered

    # -- what ends approvals without an answer ----------------------------------------------

    def cancel_for_agent(self, tx: Tx, agent: Agent) -> None:
        """Hook of `AgentService`: take back all that an untrusted agent asked or was granted."""
        self._cancel(tx, "agent", lambda one: acts_in(one.call, str(agent.id)))

    def cancel_for_mandate(self, tx: Tx, mandate_id: str) -> None:
        """Take back all that was asked under a mandate that is over."""
        self._cancel(tx, "mandate", lambda one: mandate_id == one.call.mandate_id)

    def _cancel(self, tx: Tx, cause: str, concerns: Callable[[Approval], bool]) -> None:
        for known in repository.live(tx, self._texts, tx.now):
            if concerns(known) and repository.cancel(tx, known.id):
                self._log(tx, EventType.REVOKE, known, {}, state=State.CANCELLED, cause=cause)

    def erase_person(self, tx: Tx, person_id: str) -> None:
        """Forget what was asked in a person's name; their open questions were cancelled before."""
        repository.erase(tx, person_id)

    async def sweep(self) -> int:
        """Write down what has expired, each with its leaf; how many."""
        return await self._database.write(self._sweep)

    def _sweep(self, tx: Tx) -> int:
        return sum(
            self._written(tx, old).state is State.EXPIRED
            for old in repository.due(tx, self._texts, tx.now)
        )

    async def run(self) -> None:
        """Background loop: `sweep` every few seconds until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP)
            try:
                if await self._database.read(lambda tx: repository.due(tx, self._texts, tx.now)):
                    await self.sweep()
            except Refused as refused:
                logger.warning("expired approvals could not be written down: %s", refused.detail)

    def _written(self, tx: Tx, known: Approval) -> Approval:
        """``known`` as of now; that it expired is written and logged once."""
        seen = known.at(tx.now)
        if seen.state is State.EXPIRED and repository.expire(tx, known.id, tx.now):
            self._log(tx, EventType.DENY, seen, {})
        return seen

    # -- log and wake -----------------------------------------------------------------------

    def _log(
        self,
        tx: Tx,
        kind: EventType,
        about: Approval,
        private: dict[str, JsonValue],
        *,
        state: State | None = None,
        assertion_digest: str | None = None,
        cause: str | None = None,
    ) -> None:
        """``cause``: what ended it without an answer, `withdrawn`, or its `agent` or `mandate`."""
        facts: dict[str, JsonValue] = {
            "approval": about.id,
            "state": (state or about.state).value,
            "agent": about.call.agent,
            "mandate": about.call.mandate_id,
            "server": about.call.server,
            "tool": about.call.tool,
            "effect": about.call.effect,
            "tool_digest": about.call.tool_digest,
            "policy_version": about.call.policy_version,
            "four_eyes": about.four_eyes,
        }
        if assertion_digest is not None:
            facts["assertion_digest"] = assertion_digest
        if cause is not None:
            facts["cause"] = cause
        said = {name: value for name, value in private.items() if value is not None}
        # Whoever may guess the arguments would know them by their digest: both are commitments.
        said |= {"digest": about.digest, "arguments_digest": about.call.arguments_digest}
        said["person"] = about.call.person_id
        others: dict[str, JsonObject] = {}
        if (who := said.get("approver", said.get("by"))) not in (None, about.call.person_id):
            words = ("approver", "by", "reason", "assertion")
            others[str(who)] = {name: said.pop(name) for name in words if name in said}
        if kind is EventType.REVOKE:
            event = Event.revoked(
                Revocable.APPROVAL, about.id, 1, trace=about.trace, facts=facts, private=said
            )
        else:
            event = Event(kind, about.trace, facts, said)
        self._audit.append(tx, replace(event, others=others))
        self._wake_on_commit(tx, about.id)

    def _wake_on_commit(self, tx: Tx, approval_id: str) -> None:
        tx.on_commit(lambda: self._wake(approval_id))

    def follow(self, approval_id: str) -> None:
        """Another node wrote something of this approval (of any, if empty): whoever waits looks."""
        for one in [approval_id] if approval_id else list(self._waiting):
            self._wake(one)

    def _wake(self, approval_id: str) -> None:
        for woken in self._waiting.get(approval_id, ()):
            woken.set()

    def _forget(self, approval_id: str, woken: asyncio.Event) -> None:
        others = self._waiting[approval_id]
        others.discard(woken)
        if not others:
            del self._waiting[approval_id]


async def _either(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return


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
