"""Step (2) of the line: everything that is known about a call, from our own records.

The agent's part is the tool's name and the arguments. What they mean, whose data they carry, what
was asked for and what is left of the mandate is found out here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final

from actfor.authorization.intent import TARGET, SinkType, key_of, typed
from actfor.authorization.intent.proposal import GRAVE
from actfor.authorization.intent.values import host_of
from actfor.authorization.model import ToolEffect
from actfor.delegation import Delegation, DelegationService, Standing, Use
from actfor.errors import Kind, Refused
from actfor.gateway.calls import Attempt, Stage
from actfor.gateway.case import Caller, Case
from actfor.gateway.catalog import Catalog
from actfor.gateway.effects import Judged, judge
from actfor.gateway.facts import call_facts
from actfor.gateway.memory import Memory, Past
from actfor.gateway.model import Tool
from actfor.gateway.provenance import KnownTool, Label, SlotTrace, Traced
from actfor.gateway.provenance.slots import MAX_SLOTS, slots
from actfor.gateway.refusals import Refusal, at
from actfor.identity import AgentService
from actfor.wire.canonical import JsonObject, digest
from actfor.wire.rar import Call, Coverage

_MAX_TIERS: Final = 4_096
_PARTIES: Final = frozenset({SinkType.RECIPIENT, SinkType.ACCOUNT})
_OUT: Final = frozenset({ToolEffect.SHARE, ToolEffect.EGRESS})


class Gatherer:
    """Owned by the event loop, as the memory it keeps is."""

    def __init__(
        self,
        agents: AgentService,
        delegation: DelegationService,
        catalog: Catalog,
        clock: Callable[[], datetime],
    ) -> None:
        self._agents = agents
        self._delegation = delegation
        self._catalog = catalog
        self._now = clock
        self.memory = Memory(delegation)
        # An agent's tier, by name and epoch: it never changes under one of them.
        self._tiers: dict[tuple[str, int], str] = {}

    async def case(self, trace: str, caller: Caller, attempt: Attempt) -> Case:
        """The call with its facts.

        Raises:
            Refusal: there is no such tool; the arguments have no canonical form; BUSY.
        """
        governed = self._catalog.governed(attempt.server)
        tool = None if governed is None else governed.server.tools.get(attempt.tool)
        if governed is None or tool is None:
            raise Refusal(Stage.TOOL, Refused(Kind.NOT_FOUND, "there is no such tool"))
        with at(Stage.TOOL):
            arguments_digest = digest(attempt.arguments)
        with at(Stage.MANDATE):
            past = await self.memory.of(caller.delegation)
        known = self.memory.tool(tool)
        past.offer(governed.server, self.memory.tool)
        judged = judge(
            tool.overlay, (tool.pinned or tool.listed).get("annotations"), attempt.arguments
        )
        call = self._call(caller.delegation, tool, attempt, judged, past, known)
        coverage = caller.delegation.authority.covers(call)
        use = _use(tool, known, call, judged, coverage, arguments_digest)
        standing = await self._standing(caller.delegation, use, coverage)
        if _is_used_up(caller.delegation, coverage, standing):
            spent = frozenset({coverage.grant_index})
            coverage = caller.delegation.authority.covers(call, spent=spent)
            use = _use(tool, known, call, judged, coverage, arguments_digest)
            standing = await self._standing(caller.delegation, use, coverage)
        traced = await self._traced(
            caller.delegation, past, known, call, coverage, arguments_digest
        )
        tier = await self._tier(caller.delegation)
        facts = call_facts(
            caller, attempt, tool, judged, coverage, standing, traced, use=use, tier=tier
        )
        return Case(
            trace,
            caller,
            attempt,
            governed,
            tool,
            judged,
            arguments_digest,
            facts,
            past,
            known,
            traced,
            use=_as_decided(use, standing),
        )

    def _call(
        self,
        delegation: Delegation,
        tool: Tool,
        attempt: Attempt,
        judged: Judged,
        past: Past,
        known: KnownTool,
    ) -> Call:
        sourced = delegation.authority.needs_origins
        return Call(
            attempt.server,
            tool.name,
            judged.effect.value,
            attempt.arguments,
            judged.amount,
            self._now(),
            past.ledger.origins(known, attempt.arguments) if sourced else {},
        )

    async def _traced(
        self,
        delegation: Delegation,
        past: Past,
        known: KnownTool,
        call: Call,
        coverage: Coverage,
        said: str,
    ) -> Traced:
        """Whose data the call carries, by the endorsements that hold now."""
        effect = ToolEffect(call.effect)
        # A grave effect is not wanted because it is allowed: words, policies or a person say so.
        granted = (
            coverage.covered
            and effect not in GRAVE
            and _is_explicit(delegation, coverage.grant_index)
        )
        trace = partial(
            past.ledger.trace, known, effect, call.arguments, granted=granted, said=said
        )
        traced = trace()
        if any(map(_depends_on_endorsement, traced.slots)):
            with at(Stage.MANDATE):
                held = await self._delegation.endorsements(delegation.mandate.id)
            if past.keep_endorsed(held):
                return trace()
        return traced

    async def _standing(
        self, delegation: Delegation, use: Use, coverage: Coverage
    ) -> Standing | None:
        """What is left for such a call, where more is limited than the mandate's own totals."""
        if not coverage.covered or not _is_counted(delegation, use, coverage):
            return None
        with at(Stage.MANDATE):
            return await self._delegation.standing(delegation, use)

    async def _tier(self, delegation: Delegation) -> str:
        key = (delegation.agent_name, delegation.agent_epoch)
        if (known := self._tiers.get(key)) is not None:
            return known
        with at(Stage.CREDENTIAL):
            agent = await self._agents.show(key[0])
        while len(self._tiers) >= _MAX_TIERS:
            self._tiers.pop(next(iter(self._tiers)))
        return self._tiers.setdefault(key, agent.tier.value)


def _is_explicit(delegation: Delegation, index: int) -> bool:
    """Whether the person named this tool themselves. The mandate tells, never the token: an agent
    that narrows `any tool` to one tool has not become the person who asks for it.
    """
    return delegation.mandate.authority.grants[delegation.origins[index]].is_explicit


def _depends_on_endorsement(slot: SlotTrace) -> bool:
    return slot.how == "endorsed" or (slot.type in TARGET and slot.label is not Label.USER)


def _is_counted(delegation: Delegation, use: Use, coverage: Coverage) -> bool:
    levels = delegation.levels
    grants = [level.grant(coverage.grant_index) for level in levels]
    return (
        use.amount is not None
        or coverage.asks_if_new
        or any(b.windows or b.counts_recipients for b in (one.authority.budget for one in levels))
        or any(grant.rates or grant.max_calls is not None for grant in grants)
    )


def _use(
    tool: Tool,
    known: KnownTool,
    call: Call,
    judged: Judged,
    coverage: Coverage,
    arguments_digest: str,
) -> Use:
    reads = judged.effect is ToolEffect.READ
    results = tool.overlay.results
    return Use(
        amount=judged.amount,
        grant_index=coverage.grant_index if coverage.covered else None,
        call=call,
        recipients=frozenset() if reads else recipients(known, judged.effect, call.arguments),
        changes=None if reads else (known.name, arguments_digest),
        reads_secret=results is not None and bool(results.secret),
    )


def recipients(
    known: KnownTool, effect: ToolEffect, arguments: JsonObject
) -> frozenset[str] | None:
    """Whom a call reaches, in normal form; None where there are too many arguments to tell."""
    found: set[str] = set()
    for count, (_, kind, value) in enumerate(islice(slots(arguments, known.sinks), MAX_SLOTS + 1)):
        if count == MAX_SLOTS:
            return None
        key = key_of(value, kind)
        if kind in _PARTIES:
            # A text may name several at once: each of them is reached.
            found |= {one.key for one in typed(value) if one.type is kind} or {key}
        elif kind is SinkType.URL and effect in _OUT:
            found.add(host_of(key) or key)
    return frozenset(found)


def _is_used_up(delegation: Delegation, coverage: Coverage, standing: Standing | None) -> bool:
    """Whether the calls of the grant that covers were made, so that another one may cover."""
    if standing is None or standing.calls_left is None or standing.calls_left > 0:
        return False
    return delegation.authority.grants[coverage.grant_index].max_calls is not None


def _as_decided(use: Use, standing: Standing | None) -> Use:
    return use if standing is None else replace(use, unasked_seen=standing.unasked_minor)
