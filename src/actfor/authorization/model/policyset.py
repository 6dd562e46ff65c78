"""A set of policies, and what it decides.

``PolicySet.decide`` is a pure function of the set and a request: no clock, no database, no network.
Whatever a policy may look at is in the request.

Permit iff Cedar says Allow and reports no error. Step-up by a second question: see ``decide``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from actfor.authorization.model.decision import Decision, Effect
from actfor.authorization.model.engine import Answer, ask
from actfor.authorization.model.facts import Fact, Request, in_words
from actfor.authorization.model.index import Index, Leaf, Scope
from actfor.authorization.model.schema import RequestSchema
from actfor.authorization.model.source import Policy, parse
from actfor.wire.canonical import digest

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_NUMBERED = re.compile(r"`policy(\d+)`")
_QUOTED = 200  # characters of one fact quoted in a reason


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """What one policy by itself says about a request."""

    id: str
    effect: str
    satisfied: bool
    error: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, and the answers of every policy whose scope matches the request."""

    decision: Decision
    policies: tuple[PolicyAnswer, ...]


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Policies that are valid under a schema, parsed once and indexed. Immutable.

    ``version`` is the digest of text and schema: two sets with one version decide alike.
    """

    source: str
    schema: RequestSchema
    policies: tuple[Policy, ...]
    version: str
    hard: frozenset[str]
    """The ids of the ``forbid``s that no trial lifts."""
    obliging: tuple[Policy, ...]
    """The policies with @obligations."""
    _index: Index = field(compare=False, repr=False)
    _reasons: Mapping[str, str] = field(compare=False, repr=False)

    @classmethod
    def compile(cls, source: str, schema: RequestSchema) -> Self:
        """Parse and check a policy text.

        Raises:
            Refused: MALFORMED, with line and policy: see ``source.parse``.
        """
        text = source.replace("\r\n", "\n")
        policies = parse(text, schema)
        version = version_of(text, schema.text)
        reasons = {policy.id: policy.reason for policy in policies}
        hard = frozenset(
            policy.id for policy in policies if "hard" in policy.body.get("annotations", {})
        )
        obliging = tuple(policy for policy in policies if policy.obligations)
        index = Index(policies, schema)
        return cls(text, schema, policies, version, hard, obliging, index, reasons)

    def decide(self, request: Request) -> Decision:
        """Permit, deny, or ask a human.

        STEP_UP means: denied now, and approval alone would change that. It is
        found by asking the same policies a second time with the approval granted,
        so authors write ``when { context.approved }`` and nothing else. Cedar itself is asked a
        second time only where one of the policies left to it looks at the approval.
        """
        if (fault := self.schema.fault(request)) is not None:
            return self._failed((fault,))
        scope = self._index.scope(request)
        leaf = scope.leaf(request.context)
        told = _cedar(leaf, request, request.context)
        allowed, policies, errors = _joined(leaf, told)
        if errors:
            return self._failed(errors)
        if allowed:
            return self._decision(Effect.PERMIT, policies, request)
        if not request.context.get("approved", True) and _may_change(policies, scope):
            granted = {**request.context, "approved": True}
            then = scope.leaf(granted)
            if not then.asks_the_same(leaf, "approved"):
                told = _cedar(then, request, granted)
            would, unlocked, errors = _joined(then, told)
            if would and not errors:
                return self._decision(Effect.STEP_UP, policies or unlocked, request)
        return self._decision(Effect.DENY, policies, request)

    def explain(self, request: Request) -> Explanation:
        """The decision, and what each policy with a matching scope says by itself. Slow."""
        decision = self.decide(request)
        if self.schema.fault(request) is not None:
            return Explanation(decision, ())
        matching = self._index.scope(request).entries
        return Explanation(decision, tuple(self._alone(e.policy, request) for e in matching))

    def _alone(self, policy: Policy, request: Request) -> PolicyAnswer:
        leaf = self._index.only(policy)
        assert leaf.handle is not None  # noqa: S101 - `only` leaves it to Cedar
        _, satisfied, errors = ask(leaf.handle, request, request.context, hierarchy=leaf.hierarchy)
        reason = self._reason(policy.id, request)
        error = _named(errors[0], leaf) if errors else None
        return PolicyAnswer(policy.id, policy.effect, bool(satisfied), error, reason)

    def _decision(self, effect: Effect, policies: tuple[str, ...], request: Request) -> Decision:
        named = tuple(sorted(policies)) if len(policies) > 1 else policies
        reasons = tuple([self._reason(name, request) for name in named])
        if not named:
            reasons = (f"no policy permits `{request.action}` on `{request.resource[:_QUOTED]}`",)
        return Decision(effect, named, (), reasons, self.version)

    def _failed(self, errors: tuple[str, ...]) -> Decision:
        reasons = ("the policies could not be evaluated for this request",)
        return Decision(Effect.DENY, (), errors, reasons, self.version)

    def _reason(self, policy: str, request: Request) -> str:
        reason = self._reasons[policy]
        if "{" not in reason:
            return reason
        # One pass: a fact's value that looks like a placeholder is not replaced again.
        return _PLACEHOLDER.sub(lambda name: _told(name[1], request.context), reason)


def _told(name: str, context: Mapping[str, Fact]) -> str:
    """A fact as a reason says it; an amount with its currency."""
    value = context.get(name)
    if name.endswith("_minor") and value is not None:
        value = in_words(value, context.get("amount_currency"))
    return _quoted(value)


def _cedar(leaf: Leaf, request: Request, context: Mapping[str, Fact]) -> Answer:
    """What Cedar says of the policies that are left to it."""
    if leaf.handle is None:
        return False, (), ()
    read = context
    if leaf.reads is not None:
        read = {name: context[name] for name in leaf.reads if name in context}
    allowed, named, errors = ask(leaf.handle, request, read, hierarchy=leaf.hierarchy)
    return allowed, named, tuple([_named(error, leaf) for error in errors])


def _joined(leaf: Leaf, told: Answer) -> Answer:
    """All policies of a leaf together: the decided ones, and what Cedar told of the rest."""
    allowed, named, errors = told
    if errors:
        return False, (), errors
    # Of an answer's policies all permit, or all forbid (Cedar names what determined it).
    permits = leaf.permits + named if allowed else leaf.permits
    forbids = leaf.forbids if allowed else leaf.forbids + named
    # As Cedar joins them: a satisfied forbid denies; else a satisfied permit allows.
    return (False, forbids, ()) if forbids else (bool(permits), permits, ())


def version_of(source: str, schema: str) -> str:
    """The name of a set: a digest of the text and of the schema that gives it its meaning."""
    return digest({"policies": source.replace("\r\n", "\n"), "schema": schema})


def _may_change(denying: tuple[str, ...], scope: Scope) -> bool:
    """Whether an approval might change a denial.

    A ``forbid`` that does not look at the approval denies whatever the approval says.
    """
    return scope.liftable.issuperset(denying) if denying else bool(scope.liftable)


def _named(error: str, leaf: Leaf) -> str:
    """Cedar's message, with the @id in place of its own number."""
    return _NUMBERED.sub(lambda found: f"`{leaf.names[int(found[1])]}`", error)


def _quoted(fact: Fact | None) -> str:
    if fact is None:
        return "(unknown)"
    return " ".join(str(fact).split())[:_QUOTED]
