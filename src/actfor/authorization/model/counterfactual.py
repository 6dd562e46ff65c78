"""What would have made it pass: the smallest changes that somebody could bring about.

Each *lever* is a change of the world that a person, an operator or the agent's owner can make, and
what it does to the facts. Levers are tried alone, then in pairs, then in threes, by deciding again;
what a smaller set already achieves is not named again. Where nothing helps, that is the answer.

Nothing here grants anything: it asks the same pure question about facts that are not so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from actfor.authorization.model.decision import Decision, Effect
from actfor.authorization.model.facts import (
    CallFacts,
    Fact,
    Request,
    ToolEffect,
    in_words,
    to_request,
)
from actfor.authorization.model.guards import numbers_beside
from actfor.authorization.model.policyset import PolicySet
from actfor.authorization.model.recorded import redecide

_MOST_LEVERS = 3
_MOST_REMEDIES = 8
_RANK = {Effect.DENY: 0, Effect.STEP_UP: 1, Effect.PERMIT: 2}


@dataclass(frozen=True, slots=True)
class Lever:
    """One change: who can make it, in words, and the facts as they would be."""

    name: str
    who: str
    words: str
    facts: Mapping[str, Fact | None]
    """By the names of CallFacts; None: the fact would be absent."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """Levers that together lead to a better decision, and the decision they lead to."""

    levers: tuple[Lever, ...]
    decision: Decision

    @property
    def words(self) -> str:
        """In one line."""
        return " and ".join(lever.words for lever in self.levers)


def remedies(request: Request, policies: PolicySet) -> tuple[Remedy, ...]:
    """What would have led to a better decision, fewest changes first; a permit before a question.

    Empty for a permit, and where nothing that anyone can bring about would help.
    """
    now = redecide(request, policies)
    facts = _facts_of(request)
    if now.effect is Effect.PERMIT or facts is None:
        return ()
    levers = list(_levers(facts, request, policies))
    found: list[Remedy] = []
    for size in range(1, _MOST_LEVERS + 1):
        for chosen in combinations(levers, size):
            if _overlap(chosen) or _is_covered(chosen, found):
                continue
            decision = redecide(_changed(request, facts, chosen), policies)
            if _RANK[decision.effect] > _RANK[now.effect]:
                found.append(Remedy(chosen, decision))
        if any(remedy.decision.effect is Effect.PERMIT for remedy in found):
            break  # the smallest changes that let it pass: larger ones are not asked for
    found.sort(key=lambda each: (len(each.levers), -_RANK[each.decision.effect]))
    return tuple(found[:_MOST_REMEDIES])


def _levers(facts: CallFacts, request: Request, policies: PolicySet) -> Iterator[Lever]:
    """In the order of effort."""
    if not facts.approved:
        words = "a person approves exactly this call"
        yield Lever("approval", "approver", words, {"approved": True})
    yield from _smaller_amounts(facts, request, policies)
    yield from _inside(facts)
    yield from _flags(facts)
    yield from _limits(facts)


def _smaller_amounts(facts: CallFacts, request: Request, policies: PolicySet) -> Iterator[Lever]:
    """The largest smaller amount that would change the answer.

    Only where a limit of the mandate or a number in a policy stands can the answer turn, so those
    and the numbers beside them are all that need to be tried.
    """
    amount = facts.amount_minor
    if amount is None:
        return
    limits = (facts.amount_limit_minor, facts.budget_amount_left_minor)
    marks = {limit for limit in limits if limit is not None}
    for policy in policies.policies:
        marks |= numbers_beside(policy.body["conditions"], "amount_minor")
    now = _RANK[redecide(request, policies).effect]
    best = now
    for smaller in sorted({mark + step for mark in marks for step in (-1, 0)}, reverse=True):
        if not 0 <= smaller < amount:
            continue
        words = f"the amount is {in_words(smaller, facts.amount_currency)} or less"
        lever = Lever("amount", "agent", words, {"amount_minor": smaller})
        rank = _RANK[redecide(_changed(request, facts, (lever,)), policies).effect]
        if rank > best:
            best = rank
            yield lever


def _inside(facts: CallFacts) -> Iterator[Lever]:
    """Either the agent keeps to what the mandate says, or the person says more."""
    if not facts.in_mandate:
        covered: Mapping[str, Fact] = {"in_mandate": True, "mandate_reason": ""}
        why = f" ({facts.mandate_reason})" if facts.mandate_reason else ""
        yield Lever("call", "agent", f"the call keeps to the mandate{why}", covered)
        yield Lever("mandate", "person", "the person's mandate covers exactly this call", covered)


def _flags(facts: CallFacts) -> Iterator[Lever]:
    """Each where its first fact is as it should not be; what nobody traced is not put right."""
    for wrong, lever in _FLAGS:
        name = next(iter(lever.facts))
        if getattr(facts, name) == wrong:
            known = {key: each for key, each in lever.facts.items() if _is_known(facts, key)}
            origin = f" ({facts.sink_origin})" if facts.sink_origin else ""
            yield replace(lever, words=lever.words.replace("{origin}", origin), facts=known)


def _is_known(facts: CallFacts, name: str) -> bool:
    return getattr(facts, name) is not None


def _limits(facts: CallFacts) -> Iterator[Lever]:
    """What the person can widen, but only where it is too narrow for this call."""
    if facts.budget_calls_left is not None and facts.budget_calls_left < 1:
        words = "the person gives a mandate with calls left"
        yield Lever("calls", "person", words, {"budget_calls_left": 1})
    if facts.beyond_limit is not None:
        words = f"the call keeps to what passes without asking ({facts.beyond_limit})"
        yield Lever("limit", "agent", words, {"beyond_limit": None, "requires_approval": False})
    amount = facts.amount_minor
    if amount is None:
        return
    money = in_words(amount, facts.amount_currency)
    for name, words in (
        ("amount_limit_minor", f"the mandate lets one call spend {money}"),
        ("budget_amount_left_minor", f"the mandate has {money} left to spend"),
    ):
        limit = getattr(facts, name)
        if limit is not None and limit < amount:
            yield Lever(name, "person", words, {name: amount})


_FLAGS: tuple[tuple[Fact, Lever], ...] = (
    (
        True,
        Lever(
            "endorsement",
            "person",
            "the person endorses this value for this argument{origin}",
            {"sinks_untrusted": False, "value_endorsed": True, "sink_label": "attested"},
        ),
    ),
    (
        True,
        Lever(
            "target",
            "agent",
            "the target is one that the person or a system of record names",
            {"sinks_untrusted": False, "sink_label": "user", "solicited": False},
        ),
    ),
    (
        "no",
        Lever(
            "words",
            "person",
            "the mandate's words ask for it",
            {"effect_asked": "yes", "relevant": True},
        ),
    ),
    (
        True,
        Lever("count", "person", "the words mean more than one such call", {"over_count": False}),
    ),
    (
        True,
        Lever(
            "name",
            "agent",
            "what it acts on is named in the words, or was read{origin}",
            {"target_unnamed": False},
        ),
    ),
    (
        True,
        Lever("secret", "agent", "the arguments carry no secret", {"carries_secret": False}),
    ),
    (
        True,
        Lever(
            "history",
            "person",
            "it is done under a mandate that has read nothing of others yet",
            {"unusual_order": False, "solicited": False, "read_untrusted": False},
        ),
    ),
    (
        False,
        Lever(
            "pin",
            "operator",
            "an operator approves the tool's present definition",
            {"tool_pinned": True, "tool_state": "pinned"},
        ),
    ),
    (
        "none",
        Lever(
            "attestation",
            "owner",
            "the agent is attested by measurement",
            {"assurance": "measured"},
        ),
    ),
    (
        "declared",
        Lever(
            "attestation",
            "owner",
            "the agent is attested by measurement",
            {"assurance": "measured"},
        ),
    ),
    (
        False,
        Lever(
            "proof",
            "owner",
            "the agent's token is bound to its key",
            {"sender_constrained": True},
        ),
    ),
    (
        True,
        Lever(
            "without asking",
            "person",
            "the mandate does not ask before this call",
            {"requires_approval": False},
        ),
    ),
)
_FIELDS = frozenset(CallFacts._fields)


def _changed(request: Request, facts: CallFacts, levers: Iterable[Lever]) -> Request:
    """The question with the levers pulled, and with what follows from them (the caps)."""
    changes: dict[str, Any] = {}  # Any: values of CallFacts' fields, each by its name
    for lever in levers:
        changes |= lever.facts
    before, after = to_request(facts).context, to_request(facts._replace(**changes)).context
    context = dict(request.context)
    for name in before.keys() | after.keys():
        if before.get(name) != after.get(name):
            if name in after:
                context[name] = after[name]
            else:
                context.pop(name, None)
    return Request(request.subject, request.action, request.resource, context)


def _facts_of(request: Request) -> CallFacts | None:
    """The facts that lead to a request; None for a question about no tool."""
    server, _, tool = request.resource.partition("/")
    known = {name: value for name, value in request.context.items() if name in _FIELDS}
    known |= {"agent": request.subject, "server": server, "tool": tool}
    make: Callable[..., CallFacts] = CallFacts
    return make(**known, effect=ToolEffect(request.action)) if tool else None


def _overlap(levers: tuple[Lever, ...]) -> bool:
    """Whether two of them change one fact: they are alternatives."""
    names = [name for lever in levers for name in lever.facts]
    return len(names) != len(set(names))


def _is_covered(levers: tuple[Lever, ...], found: Iterable[Remedy]) -> bool:
    """Whether fewer of these levers already lead to a permit."""
    return any(
        remedy.decision.effect is Effect.PERMIT
        and set(_names(remedy.levers)) <= set(_names(levers))
        for remedy in found
    )


def _names(levers: Iterable[Lever]) -> Iterator[str]:
    return (f"{lever.name}={sorted(lever.facts.items())}" for lever in levers)
