"""A call that a foreign enforcement point lets through, under a mandate that it names.

The question says ``context.mandate`` (its id) and ``context.arguments`` (the tool's arguments). All
else is from our own records: the mandate, the agent, the pinned tool, what the operator says of it.
The PEP vouches for who calls. An agent that another one asked has a mandate through that one only:
``context.access_token`` is then its token, which shows the chain (``Held``). Nobody traced its
data, so it is the person's where their words say it, and otherwise read from others (``untraced``),
unless the PEP says where it comes from (``told``) and the operator believes it. What only a gateway
can count (budgets, rates, recipients) or trace (flow rules, `from`) is refused here, not
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
from actfor.gateway.held import Held
from actfor.gateway.mapped import MappedCall, MappedCalls, is_mapped
from actfor.gateway.model import Tool
from actfor.gateway.provenance import KnownTool
from actfor.gateway.told import PROVENANCE, Told, told_of
from actfor.gateway.untraced import untraced
from actfor.identity import Agent, AgentService
from actfor.store import Tx
from actfor.wire.authzen import Evaluation
from actfor.wire.authzen_access import Template
from actfor.wire.canonical import JsonObject, JsonValue, digest
from actfor.wire.rar import Call, Coverage, Grant
from actfor.wire.spiffe import SpiffeId

MANDATE, ARGUMENTS, APPROVAL, TOKEN = "mandate", "arguments", "approval", "access_token"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the foreign calls stand on. ``read`` is a tool as provenance reads it, remembered;
    ``audience`` what tokens for a server are made out to; ``mapped`` asks what mappings of tools
    ask; ``believed`` are the names of the PEPs that may say where values come from.
    """

    agents: AgentService
    delegation: DelegationService
    catalog: Catalog
    approvals: ApprovalService
    clock: Callable[[], datetime]
    read: Callable[[Tool], KnownTool]
    audience: Callable[[str], str]
    mapped: MappedCalls
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
        if not {MANDATE, TOKEN} & evaluation.context.keys():
            return None
        arguments = evaluation.context.get(ARGUMENTS, {})
        if not isinstance(arguments, Mapping):
            raise Refused(Kind.MALFORMED, "`context.arguments` is an object")
        parts, said = self._parts, evaluation.context.get(PROVENANCE)
        told = Told() if said is None else told_of(said, arguments)
        held = await self._held(evaluation)
        agent = await parts.agents.show(_name(evaluation.subject.id))
        agent.require_live()
        server, _, name = evaluation.resource.id.partition("/")
        tool = parts.catalog.tool(server, name)
        annotations = (tool.pinned or tool.listed).get("annotations")
        judged = judge(tool.overlay, annotations, arguments)
        if judged.effect.value != evaluation.action.name:
            raise Refused(
                Kind.DENIED, f"this call is `{judged.effect}`, not `{evaluation.action.name}`"
            )
        call = Call(server, name, judged.effect.value, arguments, judged.amount, parts.clock(), {})
        coverage = held.authority.covers(call)
        mapped = None
        if coverage.covered and is_mapped(tool):
            audience = parts.audience(server)
            claims = held.claims(parts.delegation.issuer, audience)
            mapped = await parts.mapped(tool, arguments, claims)
            if mapped.refused is not None:
                raise Refused(Kind.DENIED, mapped.refused.detail)
        return ForeignCall(
            parts, pep, evaluation, held, agent, tool, judged, coverage, arguments, told, mapped
        )

    async def _held(self, evaluation: Evaluation) -> Held:
        """What the agent holds: by its token if there is one, else the mandate that is named."""
        parts, context = self._parts, evaluation.context
        id_, token = context.get(MANDATE), context.get(TOKEN)
        if MANDATE in context and not isinstance(id_, str):
            raise Refused(Kind.MALFORMED, "`context.mandate` is an id")
        if TOKEN not in context:
            mandate = await parts.delegation.mandate(str(id_))
            mandate.require_active(parts.clock())
            if str(mandate.agent) != evaluation.subject.id:
                raise Refused(Kind.DENIED, "the mandate is for another agent")
            return Held(mandate)
        if not isinstance(token, str):
            raise Refused(Kind.MALFORMED, "`context.access_token` is a token")
        server, _, _ = evaluation.resource.id.partition("/")
        shown = await parts.delegation.shown(token, audience=parts.audience(server))
        if id_ not in {None, shown.mandate.id}:
            raise Refused(Kind.DENIED, "the token was made from another mandate")
        if str(shown.agent) != evaluation.subject.id:
            raise Refused(Kind.DENIED, "the token is another agent's")
        return Held(shown.mandate, shown)


@dataclass(frozen=True, slots=True)
class ForeignCall:
    """One question with what is known of it (``authorization.service.Looked``)."""

    parts: Parts
    pep: str
    evaluation: Evaluation
    held: Held
    agent: Agent
    tool: Tool
    judged: Judged
    coverage: Coverage
    arguments: JsonObject
    told: Told
    mapped: MappedCall | None = None

    @property
    def mandate(self) -> Mandate:
        """The mandate that all of it is under."""
        return self.held.mandate

    @property
    def believed(self) -> bool:
        """Whether the PEP may say where values come from."""
        return self.pep in self.parts.believed

    @property
    def template(self) -> Template:
        """Who would be asked to permit it."""
        return Template.SECOND_PERSON if self.mandate.four_eyes else Template.PERSON

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
            chain=self.held.chain,
        )

    @property
    def facts(self) -> CallFacts:
        """All from our own records; of the data, what its history being unknown means."""
        covered, why = self.coverage.covered, self.coverage.reason
        index = self.coverage.grant_index
        grant = self.held.authority.grants[index] if covered else None
        if grant is not None and (limit := self.held.counted(index)):
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
            **self.held.between,
            **self._data(grant),  # type: ignore[arg-type] # by the schema's names and types; a test compares
        )

    def _data(self, grant: Grant | None) -> Mapping[str, Fact]:
        effect = self.judged.effect
        # As in the gateway: a grave effect is not wanted because it is allowed.
        granted = (
            grant is not None
            and effect not in GRAVE
            and self.held.is_explicit(self.coverage.grant_index)
        )
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
            chain=self.held.chain or (self.evaluation.subject.id,),
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
            enforced_by=self.pep,
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
            **self.held.check(tx, self.parts.delegation, self.agent),
            Revocable.TOOL.value: {f"{self.tool.server}/{self.tool.name}": self.tool.epoch},
        }
        self.parts.catalog.check_pinned(tx, self.tool)
        told: dict[str, JsonValue] = {"mandate": self.mandate.id, "epochs": epochs}
        if (shown := self.held.shown) is not None:
            told |= {"grant": shown.grant_id, "jti": shown.jti}
        if self.mapped is not None:
            told["coaz"] = self.mapped.facts
        if approved is not None:
            self.parts.approvals.consume(tx, approved.digest, self.evaluation.subject.id)
            epochs[Revocable.APPROVAL.value] = {approved.id: 0}
            told["approval"] = approved.id
        return told


def _name(agent: str) -> str:
    name = SpiffeId.parse(agent).agent_name
    if name is None:
        raise Refused(Kind.DENIED, "the subject is not a registered agent")
    return name
