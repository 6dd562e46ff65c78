"""The decision point without a server: for replaying traces, simulating, and measuring.

``docs/guides/replay.md`` shows how a foreign harness drives it. It decides exactly as the gateway
does (same authority, same traces, same policies), but keeps its counts in memory and asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Final, Self

from actfor.authorization import compile_policies
from actfor.authorization.intent import read_words
from actfor.authorization.intent.proposal import Draft, propose
from actfor.authorization.model import (
    CallFacts,
    Effect,
    Fact,
    PolicySet,
    ToolEffect,
    to_request,
)
from actfor.errors import Kind, Refused
from actfor.gateway.effects import Judged, judge
from actfor.gateway.provenance.given import called, is_failure, require, returned, spoken
from actfor.gateway.provenance.labels import SlotTrace
from actfor.gateway.provenance.ledger import Ledger, Traced
from actfor.gateway.provenance.tools import KnownTool, ToolDescription, catalogue
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import Authority, Call, Coverage, Money, Origins

AGENT: Final = "spiffe://replay.invalid/agent/replayed"
SERVER: Final = "tools"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gateway would do with a call, and everything that was known when it was decided."""

    effect: Effect
    reasons: tuple[str, ...]
    policies: tuple[str, ...]
    facts: Mapping[str, Fact]
    slots: tuple[SlotTrace, ...]


class DecisionPoint:
    """One mandate, its tools, what happened so far. Not shared between threads."""

    def __init__(
        self,
        words: str,
        tools: Iterable[KnownTool],
        *,
        now: datetime,
        policies: PolicySet,
        authority: Authority | None = None,
        server: str = SERVER,
        agent: str = AGENT,
        person: str = "person",
    ) -> None:
        self._words = [words]
        self._tools = {tool.name: tool for tool in tools}
        self._policies = policies
        self._server, self._agent, self._person = server, agent, person
        self._now = now
        self._given = authority
        self.ledger = Ledger(read_words(self._words))
        self.ledger.offer(tool.reading for tool in self._tools.values())
        self.draft: Draft | None = None
        self.authority = self._authority()
        self._calls: dict[int, int] = {}
        self._spent: Money | None = None

    @classmethod
    def propose(
        cls,
        words: str | Sequence[JsonObject],
        tools: Iterable[ToolDescription],
        *,
        now: datetime,
        policies: PolicySet | None = None,
        authority: Authority | None = None,
        server: str = SERVER,
        agent: str = AGENT,
        person: str = "person",
    ) -> Self:
        """A decision point for a person's words and a catalogue of tools.

        ``words`` are the person's alone: no system prompt, no tool's output. Without ``authority``
        the mandate is the one that the product would draft from the words; given, it binds as is
        (its grants name ``server``). ``now`` without a time zone is UTC. ``policies`` default to
        the default pack.

        Raises:
            Refused: MALFORMED, naming what cannot be read: words, a tool, its overlay, the time.
        """
        require(now, datetime, "`now` is a `datetime`")
        if now.utcoffset() is None:
            now = now.replace(tzinfo=UTC)
        none = type(None)
        require(policies, (PolicySet, none), "`policies` are what `compile_policies(text)` makes")
        require(authority, (Authority, none), "`authority` is an `actfor.wire.rar.Authority`")
        return cls(
            spoken(words),
            catalogue(tools),
            now=now,
            policies=policies or _default_pack(),
            authority=authority,
            server=server,
            agent=agent,
            person=person,
        )

    def heard(self, words: str | Sequence[JsonObject]) -> None:
        """The person said more: the mandate is drafted anew from all they said.

        Raises:
            Refused: MALFORMED if it is no text.
        """
        self._words.append(spoken(words))
        self.ledger.hear(read_words(self._words))
        self.authority = self._authority()

    def decide(self, tool: str, arguments: JsonObject | str | None) -> Verdict:
        """What would be done with a call now. Changes nothing. An unknown tool is denied.

        Raises:
            Refused: MALFORMED for arguments that are no JSON object and no text that spells one.
        """
        arguments = called(arguments)
        known = self._tools.get(str(tool))
        if known is None:
            return Verdict(Effect.DENY, ("there is no such tool",), (), {}, ())
        judged = known.judge(arguments)
        coverage = self._coverage(known, judged, arguments)
        traced = self.ledger.trace(known, judged.effect, arguments, granted=self._grants(coverage))
        facts = self._facts(known, judged, coverage, traced)
        request = to_request(facts)
        decision = self._policies.decide(request)
        return Verdict(
            decision.effect, decision.reasons, decision.policies, request.context, traced.slots
        )

    def record(
        self,
        tool: str,
        arguments: JsonObject | str | None,
        result: JsonValue,
        *,
        approved: bool = False,
        failed: bool = False,
    ) -> None:
        """The call ran: it is counted, and what came back is labelled.

        With ``approved`` a person said yes to exactly this call, so its targets are theirs now.
        With ``failed`` (or MCP's ``isError``) nothing was done, so nothing counts; what the agent
        was told is labelled all the same. Whether it had been permitted is not asked.

        Raises:
            Refused: NOT_FOUND for an unknown tool, MALFORMED for what is no JSON.
        """
        known, arguments = self._known(tool), called(arguments)
        parts, readable = returned(result)
        failed = failed or is_failure(result)
        if not failed:
            self._count(known, arguments)
        for part in parts or [""]:
            self.ledger.record(known, arguments, part, approved=approved, failed=failed)
        if not readable:
            self.ledger.unreadable()

    def endorse(self, tool: str, pointer: str, value: JsonValue) -> None:
        """The person saw this value and said that it is right for this argument of this tool.

        Raises:
            Refused: NOT_FOUND for an unknown tool, MALFORMED for what is no pointer or no scalar.
        """
        known = self._known(tool)
        where = "`pointer` is a JSON pointer into the arguments, such as `/to`"
        require(pointer, str, where)
        if not pointer.startswith("/"):
            raise Refused(Kind.MALFORMED, where)
        one = f"`value` is the one value at `{pointer[:64]}`: a text or a number"
        require(value, (str, int, float), one)
        self.ledger.endorse(known.name, pointer, value)

    def _known(self, tool: str) -> KnownTool:
        known = self._tools.get(str(tool))
        if known is None:
            raise Refused(Kind.NOT_FOUND, f"there is no tool `{str(tool)[:64]}`")
        return known

    def _count(self, known: KnownTool, arguments: JsonObject) -> None:
        judged = known.judge(arguments)
        coverage = self._coverage(known, judged, arguments)
        if coverage.covered:
            self._calls[coverage.grant_index] = self._calls.get(coverage.grant_index, 0) + 1
        if judged.amount is not None:
            self._spend(judged.amount)

    # -- the mandate --------------------------------------------------------------------------

    def _authority(self) -> Authority:
        if self._given is not None:
            return self._given
        self.draft = propose(
            self.ledger.wish, [(self._server, tool.reading) for tool in self._tools.values()]
        )
        return self.draft.authority

    def _coverage(self, known: KnownTool, judged: Judged, arguments: JsonObject) -> Coverage:
        """As the gateway finds it; a drafted grant whose calls were made gives way to the next."""
        sourced = self.authority.needs_origins
        call = Call(
            self._server,
            known.name,
            judged.effect.value,
            arguments,
            judged.amount,
            self._now,
            self._origins(known, arguments) if sourced else {},
        )
        spent = frozenset(
            index
            for index, grant in enumerate(self.authority.grants)
            if grant.max_calls is not None and self._calls.get(index, 0) >= grant.max_calls
        )
        return self.authority.covers(call, spent=spent)

    def _origins(self, known: KnownTool, arguments: JsonObject) -> Origins:
        """Where values were seen; all tools here are of the one server."""
        return {
            pointer: tuple(replace(one, server=self._server) if one.tool else one for one in seen)
            for pointer, seen in self.ledger.origins(known, arguments).items()
        }

    def _grants(self, coverage: Coverage) -> bool:
        """Whether a person confirmed a grant for this very tool, as opposed to a drafted one."""
        if self._given is None or not coverage.covered:
            return False
        return self._given.grants[coverage.grant_index].is_explicit

    def _spend(self, amount: Money) -> None:
        if self._spent is None or self._spent.currency != amount.currency:
            self._spent = amount
        else:
            self._spent = Money(self._spent.value + amount.value, amount.currency)

    def _facts(
        self, known: KnownTool, judged: Judged, coverage: Coverage, traced: Traced
    ) -> CallFacts:
        grant = self.authority.grants[coverage.grant_index] if coverage.covered else None
        amount, budget = judged.amount, self.authority.budget
        limits = [
            limit - used
            for limit, used in (
                (budget.calls, sum(self._calls.values())),
                (
                    None if grant is None else grant.max_calls,
                    self._calls.get(coverage.grant_index, 0),
                ),
            )
            if limit is not None
        ]
        left = None if budget.amount is None else budget.amount.minor
        if left is not None and self._spent is not None:
            left -= self._spent.minor
        return CallFacts(
            agent=self._agent,
            server=self._server,
            tool=known.name,
            effect=judged.effect,
            in_mandate=coverage.covered,
            mandate_reason="" if coverage.covered else coverage.reason,
            requires_approval=grant is None or grant.approval == "always",
            beyond_limit=coverage.beyond or None,
            person=self._person,
            purpose=self._words[0],
            tier="low",
            assurance="measured",
            sender_constrained=True,
            tool_pinned=True,
            tool_state="pinned",
            amount_minor=None if amount is None else amount.minor,
            amount_currency=None if amount is None else amount.currency,
            amount_limit_minor=None
            if grant is None or grant.amount is None
            else grant.amount.minor,
            budget_calls_left=min(limits) if limits else None,
            budget_amount_left_minor=left,
            **traced.facts,  # type: ignore[arg-type] # names and types of the schema; a test compares
        )


@cache
def _default_pack() -> PolicySet:
    """Compiled once: it takes longer than a whole trace."""
    return compile_policies()


__all__ = ["DecisionPoint", "ToolEffect", "Verdict", "judge"]
