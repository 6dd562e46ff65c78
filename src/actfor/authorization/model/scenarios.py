"""Decision tables: what a policy set must decide, written down.

    facts:                          # common to all rows; any field of CallFacts
      agent: spiffe://example.org/agent/clerk
      server: crm
      tool: update
      in_mandate: true
    scenarios:
      - it: asks a person before a deletion
        facts: {effect: delete}     # replaces the common ones
        decision: step-up           # permit, step-up or deny
        policies: [deletion-approved]   # optional: exactly these determine it
        reason: a deletion needs        # optional: the reasons hold this text

Facts that a table does not mention have the defaults of ``CallFacts``, which deny.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

from actfor.authorization.model.decision import Decision, Effect
from actfor.authorization.model.facts import SAID, CallFacts, ToolEffect, to_request
from actfor.authorization.model.policyset import PolicySet
from actfor.authorization.model.recorded import redecide
from actfor.errors import Kind, Refused

_FACTS = frozenset(CallFacts._fields)
_NEEDED = ("agent", "server", "tool", "effect")
_TABLE = frozenset({"about", "facts", "scenarios"})
_ROW = frozenset({"it", "facts", "decision", "policies", "reason"})


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row: facts, and the decision they must lead to."""

    it: str
    facts: CallFacts
    effect: Effect
    policies: frozenset[str] | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided about a scenario. ``failure`` is None where that is as written."""

    scenario: Scenario
    decision: Decision
    failure: str | None


def read_table(document: object) -> tuple[Scenario, ...]:
    """The rows of one decision table, as a YAML or JSON parser returns it.

    Raises:
        Refused: MALFORMED for an unknown member or fact, a wrong type, an unknown effect or word,
            or a table without rows: a table that tests nothing must not pass.
    """
    table = _mapping(document, "the table", _TABLE)
    common = _mapping(table.get("facts", {}), "`facts`", _FACTS)
    rows = table.get("scenarios")
    if not isinstance(rows, list) or not rows:
        raise _malformed("the table needs a list of `scenarios`")
    return tuple(_scenario(row, index, common) for index, row in enumerate(rows, start=1))


def read_facts(members: object) -> CallFacts:
    """The facts of one call, by the names of CallFacts.

    Raises:
        Refused: MALFORMED for an unknown or missing fact, or one of the wrong type.
    """
    return _facts(_mapping(members, "`facts`", _FACTS), "`facts`")


def check(scenarios: tuple[Scenario, ...], policies: PolicySet) -> Iterator[Outcome]:
    """Decide each scenario as the enforcement point that asks it would, and compare. Pure."""
    for scenario in scenarios:
        decision = redecide(to_request(scenario.facts), policies)
        yield Outcome(scenario, decision, _difference(scenario, decision))


def _difference(scenario: Scenario, decision: Decision) -> str | None:
    named = ", ".join(decision.policies) or "no policy"
    found = f"is {decision.effect.value} by {named}: {decision.reason}"
    if decision.errors:
        return f"{found} ({decision.errors[0]})"
    if decision.effect is not scenario.effect:
        return f"should be {scenario.effect.value}, {found}"
    if scenario.policies is not None and scenario.policies != set(decision.policies):
        return f"should be by {', '.join(sorted(scenario.policies)) or 'no policy'}, {found}"
    if scenario.reason is not None and scenario.reason not in decision.reason:
        return f"should say `{scenario.reason}`, {found}"
    return None


def _scenario(row: object, index: int, common: Mapping[str, Any]) -> Scenario:
    where = f"scenario {index}"
    members = _mapping(row, where, _ROW)
    name, wanted = members.get("it"), members.get("decision")
    if not isinstance(name, str) or not name:
        raise _malformed(f"{where} needs `it`, a sentence")
    own = _mapping(members.get("facts", {}), f"`facts` of {where}", _FACTS)
    try:
        effect = Effect(wanted)
    except ValueError:
        raise _malformed(f"`decision` of {where} is permit, step-up or deny") from None
    policies, reason = members.get("policies"), members.get("reason")
    if policies is not None and not _is_texts(policies):
        raise _malformed(f"`policies` of {where} is a list of policy ids")
    if reason is not None and not isinstance(reason, str):
        raise _malformed(f"`reason` of {where} is a text")
    facts = _facts({**common, **own}, where)
    return Scenario(name, facts, effect, None if policies is None else frozenset(policies), reason)


def _facts(members: Mapping[str, Any], where: str) -> CallFacts:
    for name in _NEEDED:
        if name not in members:
            raise _malformed(f"{where} has no `{name}`")
    effect = members["effect"]
    if effect not in ToolEffect.__members__.values():
        raise _malformed(f"`effect` of {where} is one of {', '.join(ToolEffect)}")
    for name, value in members.items():
        if value is not None and type(value) not in _PLAIN[name]:
            raise _malformed(f"fact `{name}` of {where} has the wrong type")
        if value is not None and value not in SAID.get(name, (value,)):
            known = ", ".join(sorted(SAID[name]))
            raise _malformed(f"fact `{name}` of {where} is one of {known}")
    return CallFacts(**{**members, "effect": ToolEffect(effect)})


def _plain_types() -> Mapping[str, tuple[type, ...]]:
    """The types each fact may have, from the annotations of CallFacts (``str | None``)."""
    plain = {bool: bool, int: int, str: str, ToolEffect: str}
    return MappingProxyType(
        {
            name: tuple(plain[kind] for kind in get_args(hint) or (hint,) if kind in plain)
            for name, hint in get_type_hints(CallFacts).items()
        }
    )


_PLAIN = _plain_types()


def _mapping(value: object, what: str, known: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _malformed(f"{what} must be a mapping")
    for name in value:
        if name not in known:
            raise _malformed(f"unknown member `{str(name)[:64]}` in {what}")
    return value


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _malformed(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, detail)
