"""Every transition of an approval: the row's compare-and-swap and its leaf, in one transaction.

A spent approval has no leaf of its own: the decision that spends it names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from actfor.approval import repository
from actfor.approval.model import Approval, State
from actfor.approval.service.waiting import Waiting
from actfor.audit import AuditLog, Event, EventType, Revocable
from actfor.errors import Kind, Refused
from actfor.store import Tx
from actfor.wire.canonical import JsonObject, JsonValue, digest

_ANSWERERS = ("approver", "by", "reason", "assertion")
"""What a leaf says of who answered: theirs, unless the question was theirs as well."""


class Transitions:
    """Writes them; whoever waits for the approval wakes when it is durable."""

    def __init__(self, audit: AuditLog, waiting: Waiting) -> None:
        self._audit = audit
        self._texts = audit.texts
        self._waiting = waiting

    def ask(self, tx: Tx, new: Approval) -> None:
        """A question nobody has answered."""
        repository.add(tx, self._texts, new)
        asked: dict[str, JsonValue] = {
            "agent_text": new.agent_text,
            "arguments": new.call.arguments,
            "reasons": list(new.reasons),
            "origins": [origin.to_json() for origin in new.origins] or None,
        }
        self._log(tx, EventType.APPROVAL_REQUEST, new, asked)

    def answer(self, tx: Tx, answered: Approval) -> None:
        """What a person said.

        Raises:
            Refused: CONFLICT if somebody else was first.
        """
        self._settle(tx, answered)
        yes = answered.state is State.APPROVED
        said: dict[str, JsonValue] = {
            "approver": answered.approver,
            "reason": answered.reason,
            "assertion": answered.assertion,
            "endorsed": list(answered.endorsed) or None,
        }
        evidence = None if answered.assertion is None else digest(answered.assertion)
        kind = EventType.APPROVE if yes else EventType.DENY
        self._log(tx, kind, answered, said, assertion_digest=evidence)

    def withdraw(self, tx: Tx, taken: Approval) -> None:
        """Taken back by who asked.

        Raises:
            Refused: CONFLICT if a person was first.
        """
        self._settle(tx, taken)
        said: dict[str, JsonValue] = {"by": taken.approver, "reason": taken.reason}
        self._log(tx, EventType.REVOKE, taken, said, cause="withdrawn")

    def consume(self, tx: Tx, known: Approval, digest: str) -> Approval:
        """Spent on the call that it was given for.

        Raises:
            Refused: whatever state it is in instead; REPLAYED if another call was first.
        """
        spent = known.consume(digest, tx.now)
        if not repository.consume(tx, known.id, digest, tx.now):
            raise Refused(Kind.REPLAYED, "approval was already used")
        self._waiting.wake_on_commit(tx, known.id)
        return spent

    def cancel(self, tx: Tx, cause: str, concerns: Callable[[Approval], bool]) -> None:
        """Whatever is open or unspent and rests on what was taken: an `agent` or a `mandate`."""
        for known in repository.live(tx, self._texts, tx.now):
            if concerns(known) and repository.cancel(tx, known.id):
                gone = replace(known, state=State.CANCELLED)
                self._log(tx, EventType.REVOKE, gone, {}, cause=cause)

    def expire(self, tx: Tx, known: Approval) -> Approval:
        """``known`` as of now; that it expired is written and logged once."""
        seen = known.at(tx.now)
        if seen.state is State.EXPIRED and repository.expire(tx, known.id, tx.now):
            self._log(tx, EventType.DENY, seen, {})
        return seen

    def _settle(self, tx: Tx, answered: Approval) -> None:
        if not repository.answer(tx, self._texts, answered, tx.now):
            raise Refused(Kind.CONFLICT, "approval was answered by someone else")

    def _log(
        self,
        tx: Tx,
        kind: EventType,
        about: Approval,
        private: dict[str, JsonValue],
        **clear: JsonValue,
    ) -> None:
        """``cause``: what ended it without an answer, `withdrawn`, or its `agent` or `mandate`."""
        facts = {**_facts(about), **{name: one for name, one in clear.items() if one is not None}}
        said, others = _commitments(about, private)
        if kind is EventType.REVOKE:
            event = Event.revoked(
                Revocable.APPROVAL, about.id, 1, trace=about.trace, facts=facts, private=said
            )
        else:
            event = Event(kind, about.trace, facts, said)
        self._audit.append(tx, replace(event, others=others))
        self._waiting.wake_on_commit(tx, about.id)


def _facts(about: Approval) -> dict[str, JsonValue]:
    return {
        "approval": about.id,
        "state": about.state.value,
        "agent": about.call.agent,
        "mandate": about.call.mandate_id,
        "server": about.call.server,
        "tool": about.call.tool,
        "effect": about.call.effect,
        "tool_digest": about.call.tool_digest,
        "policy_version": about.call.policy_version,
        "four_eyes": about.four_eyes,
    }


def _commitments(
    about: Approval, private: dict[str, JsonValue]
) -> tuple[dict[str, JsonValue], dict[str, JsonObject]]:
    """What is only committed to, with the mandate's person's key; and others', with theirs."""
    said: dict[str, JsonValue] = {name: one for name, one in private.items() if one is not None}
    # Whoever may guess the arguments would know them by their digest: both are commitments.
    said |= {"digest": about.digest, "arguments_digest": about.call.arguments_digest}
    said["person"] = about.call.person_id
    others: dict[str, JsonObject] = {}
    if (who := said.get("approver", said.get("by"))) not in (None, about.call.person_id):
        others[str(who)] = {name: said.pop(name) for name in _ANSWERERS if name in said}
    return said, others
