"""A call that a foreign enforcement point lets through, under a mandate that it names.

The question says ``context.mandate`` (its id) and ``context.arguments`` (the tool's arguments). All
else is from our own records: the mandate, the agent, the pinned tool, what the operator says of it.
No token proves that the agent asks: the PEP vouches for who calls. Nobody traced its data, so it is
the person's where their words say it, and otherwise read from others (``untraced``), unless the PEP
says where it comes from (``told``) and the operator believes it. What only a
gateway can count (budgets, rates, recipients) or trace (flow rules, `from`) is refused here, not
estimated, and every sum asks: small payments add up only where somebody adds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from actfor.approval import ApprovalService, ExactCall, State
from actfor.audit import Revocable
from actfor.authorization.intent.proposal import GRAVE
from actfor.authorization.model import CallFacts, Fact
from actfor.authorization.service import Approved, Named, Unapproved
from actfor.delegation import DelegationService, Mandate
from actfor.errors import Kind, Refused
from actfor.gateway.catalog import Catalog
from actfor.gateway.effects import Judged, judge
from actfor.gateway.model import Tool
from actfor.gateway.provenance import KnownTool
from actfor.gateway.told import PROVENANCE, Told, told_of
from actfor.gateway.untraced import untraced
from actfor.identity import Agent, AgentService
from actfor.identity.model import AgentState
from actfor.store import Tx
from actfor.wire.authzen import Evaluation
from actfor.wire.canonical import JsonObject, JsonValue, digest
from actfor.wire.rar import Authority, Budget, Call, Coverage, Grant
from actfor.wire.spiffe import SpiffeId

MANDATE, ARGUMENTS, APPROVAL = "mandate", "arguments", "approval"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the foreign calls stand on. ``read`` is a tool as provenance reads it, remembered;
    ``believed`` are the names of the PEPs that may say where values come from.
    """

    agents: AgentService
    delegation: DelegationService
    catalog: Catalog
    approvals: ApprovalService
    clock: Callable[[], datetime]
    read: Callable[[Tool], KnownTool]
    believed: frozenset[str] = frozenset()


class ForeignCalls:
    """Looks up questions under mandates (``authorization.service.Look``)."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, pep: str, evaluation: Evaluation) -> ForeignCall | None:
        """The question with all that is known; None if it names no mandate.

        Raises:
            Refused: DENIED, EXPIRED, NOT_FOUND with the reason; MALFORMED for wrong members.
        """
        if MANDATE not in evaluation.context:
            return None
        mandate_id, arguments = evaluation.context[MANDATE], evaluation.context.get(ARGUMENTS, {})
        if not isinstance(mandate_id, str) or not isinstance(arguments, Mapping):
            raise Refused(
                Kind.MALFORMED, "`context.mandate` is an id, `context.arguments` an object"
            )
        parts, said = self._parts, evaluation.context.get(PROVENANCE)
        told = Told() if said is None else told_of(said, arguments)
        mandate = await parts.delegation.mandate(mandate_id)
        mandate.require_active(parts.clock())
        if str(mandate.agent) != evaluation.subject.id:
            raise Refused(Kind.DENIED, "the mandate is for another agent")
        agent = await parts.agents.show(_name(evaluation.subject.id))
        if agent.state is not AgentState.ACTIVE:
            raise Refused(Kind.DENIED, f"agent `{agent.name}` is {agent.state}")
        server, _, name = evaluation.resource.id.partition("/")
        tool = parts.catalog.tool(server, name)
        annotations = (tool.pinned or tool.listed).get("annotations")
        judged = judge(tool.overlay, annotations, arguments)
        if judged.effect.value != evaluation.action.name:
            raise Refused(
                Kind.DENIED, f"this call is `{judged.effect}`, not `{evaluation.action.name}`"
            )
        call = Call(server, name, judged.effect.value, arguments, judged.amount, parts.clock(), {})
        coverage = mandate.authority.covers(call)
        believed = pep in parts.believed
        return ForeignCall(
            parts, evaluation, mandate, agent, tool, judged, coverage, arguments, told, believed
        )


@dataclass(frozen=True, slots=True)
class ForeignCall:
    """One question with what is known of it (``authorization.service.Looked``)."""

    parts: Parts
    evaluation: Evaluation
    mandate: Mandate
    agent: Agent
    tool: Tool
    judged: Judged
    coverage: Coverage
    arguments: JsonObject
    told: Told
    believed: bool

    @property
    def named(self) -> Named:
        """For the record: which call, under whose mandate, and what was said about its data."""
        said = self.evaluation.context.get(PROVENANCE)
        return Named(
            self.mandate.id,
            self.mandate.person_id,
            self.arguments,
            said,
            believed=self.believed,
            ignored=(PROVENANCE,) if self.told.loosens and not self.believed else (),
        )

    @property
    def facts(self) -> CallFacts:
        """All from our own records; of the data, what its history being unknown means."""
        covered, why = self.coverage.covered, self.coverage.reason
        grant = self.mandate.authority.grants[self.coverage.grant_index] if covered else None
        if grant is not None and (limit := _counted(self.mandate.authority, grant)):
            covered, why = False, f"the mandate limits {limit}, which only the gateway counts"
        amount = self.judged.amount
        return CallFacts(
            agent=self.evaluation.subject.id,
            server=self.tool.server,
            tool=self.tool.name,
            effect=self.judged.effect,
            in_mandate=covered,
            mandate_reason="" if covered else why,
            # A grant that was drafted from the words binds only where words are looked at.
            requires_approval=grant is None
            or self.coverage.asks
            or self.coverage.asks_if_new
            or grant.purpose_bound
            or amount is not None,
            person=self.mandate.person_id,
            purpose=self.mandate.goal,
            tier=self.agent.tier.value,
            assurance="none",
            sender_constrained=False,
            tool_pinned=self.tool.is_pinned,
            tool_state=self.tool.state.value,
            amount_minor=None if amount is None else amount.minor,
            amount_currency=None if amount is None else amount.currency,
            amount_limit_minor=None
            if grant is None or grant.amount is None
            else grant.amount.minor,
            **self._data(grant),  # type: ignore[arg-type] # by the schema's names and types; a test compares
        )

    def _data(self, grant: Grant | None) -> Mapping[str, Fact]:
        effect = self.judged.effect
        # As in the gateway: a grave effect is not wanted because it is allowed.
        granted = grant is not None and effect not in GRAVE and grant.is_explicit
        known = self.parts.read(self.tool)
        return untraced(
            self.mandate.goal,
            known,
            effect,
            self.arguments,
            self.told,
            granted=granted,
            believed=self.believed,
        )

    def exact(self, version: str) -> ExactCall:
        """What a person approves: this question, under these policies, to the byte."""
        return ExactCall(
            agent=self.evaluation.subject.id,
            chain=(self.evaluation.subject.id,),
            person_id=self.mandate.person_id,
            mandate_id=self.mandate.id,
            server=self.tool.server,
            tool=self.tool.name,
            tool_digest=self.tool.pinned_digest or "",
            arguments=self.arguments,
            arguments_digest=digest(self.arguments),
            policy_version=version,
            effect=self.judged.effect.value,
            manifest=self.agent.manifest_digest,
        )

    async def approval(self, version: str) -> Approved | Unapproved | None:
        """ARAP §re-evaluation: the id is no grant; what counts is a yes to exactly this call."""
        named = self.evaluation.context.get(APPROVAL)
        if named is None:
            return None
        id_ = named.get("id") if isinstance(named, Mapping) else None
        if not isinstance(id_, str):
            return Unapproved("approval_unverifiable", "request")
        try:
            known = await self.parts.approvals.get(id_)
        except Refused:
            return Unapproved("approval_unverifiable", "request")
        if known.digest != self.exact(version).digest:
            return Unapproved("out_of_scope", "request")
        if known.state is State.PENDING:
            return Unapproved("grant_pending", "retry", 5)
        if known.state is State.DENIED:
            return Unapproved("policy_denied", "none")
        if known.state is not State.APPROVED:
            return Unapproved("approval_expired", "request")
        return Approved(known.id, known.digest)

    def check(self, tx: Tx, approved: Approved | None) -> JsonObject:
        """In the recording transaction: nothing was taken back; the approval is spent."""
        epochs: dict[str, JsonValue] = {
            **self.parts.delegation.check_mandate(tx, self.mandate, self.agent),
            Revocable.TOOL.value: {f"{self.tool.server}/{self.tool.name}": self.tool.epoch},
        }
        self.parts.catalog.check_pinned(tx, self.tool)
        told: dict[str, JsonValue] = {"mandate": self.mandate.id, "epochs": epochs}
        if approved is not None:
            self.parts.approvals.consume(tx, approved.digest, self.evaluation.subject.id)
            epochs[Revocable.APPROVAL.value] = {approved.id: 0}
            told["approval"] = approved.id
        return told


def _counted(authority: Authority, grant: Grant) -> str | None:
    """What the mandate limits that nobody here counts or traces."""
    if authority.budget != Budget():
        return "calls or money"
    if grant.max_calls is not None or grant.rates:
        return "the number of calls"
    if grant.ask_above is not None or grant.ask_new_recipient:
        return "sums or recipients"
    return "where data may flow" if authority.flows else None


def _name(agent: str) -> str:
    name = SpiffeId.parse(agent).agent_name
    if name is None:
        raise Refused(Kind.DENIED, "the subject is not a registered agent")
    return name
