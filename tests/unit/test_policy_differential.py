"""The index against Cedar over the whole set: packs as they are used, and every fact there is."""

from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.unit.test_policy_index import whole

from actfor.authorization import CallFacts, compile_policies, to_request
from actfor.authorization.model import PolicySet, Request, ToolEffect
from actfor.authorization.policies import PACKS, default_source, pack_source, rule, rules

AGENTS = ["spiffe://a/agent/one", "spiffe://a/agent/two", 'x", action, resource); permit(principal']
TOOLS = ["sandbox/run", "helpdesk/reply", "bank/pay", "diagnostics/top", "bank"]
WORDS = [
    "yes",
    "maybe",
    "via",
    "means",
    "no",
    "user",
    "untrusted",
    "EUR",
    "USD",
    "measured",
    "none",
]
# Shrinking a set of policies takes minutes and says little more: the request is in the assertion.
NO_SHRINK = (Phase.explicit, Phase.reuse, Phase.generate)
NUMBERS = [-(2**63), -1, 0, 1, 1000, 1001, 4999, 5001, 50000, 50001, 10**6 + 1, 2**63 - 1]


def every_fact() -> st.SearchStrategy[CallFacts]:
    """All fields of CallFacts by their types, so that a new fact is covered without this file."""
    plain: dict[type, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.sampled_from(NUMBERS),
        str: st.sampled_from(WORDS),
        ToolEffect: st.sampled_from(ToolEffect),
        NoneType: st.none(),
    }
    named: dict[str, st.SearchStrategy[Any]] = {
        "agent": st.sampled_from(AGENTS),
        "server": st.sampled_from([tool.partition("/")[0] for tool in TOOLS]),
        "tool": st.sampled_from([tool.partition("/")[2] or "x" for tool in TOOLS]),
        "tier": st.sampled_from(["low", "medium", "high"]),
    }
    made = {
        name: named[name]
        if name in named
        else st.one_of([plain[kind] for kind in get_args(hint) or (hint,)])
        for name, hint in get_type_hints(CallFacts).items()
    }
    # Usually inside the mandate: elsewhere a handful of `forbid`s decides everything.
    good = {
        "in_mandate": st.sampled_from([True, True, True, False]),
        "tool_pinned": st.sampled_from([True, True, True, False]),
        "requires_approval": st.sampled_from([False, False, True]),
    }
    return st.builds(CallFacts, **{**made, **good})


requests = every_fact().map(to_request)
made_rules = st.lists(
    st.tuples(st.sampled_from(sorted(rules())), st.sampled_from(AGENTS), st.sampled_from(TOOLS)),
    max_size=12,
)
# Errors that no schema prevents: the one policy that overflows denies the whole request.
OVERFLOWS = (
    '@id("overflows")@reason("r") forbid (principal, action == Action::"pay", resource) '
    "when { context has amount_minor && context.amount_minor * 2 > 100 };\n"
    '@id("has-both")@reason("r") forbid (principal, action, resource in Server::"bank") '
    "when { context has budget_calls_left && context has relevant && !context.relevant "
    "&& context.budget_calls_left - 1 < 0 };\n"
)
PACKED = {name: pack_source(name) for name in PACKS}


def compared(source: str, policies: PolicySet, asked: list[Request]) -> None:
    for request in asked:
        expected, found = whole(source, request), policies.decide(request)
        assert found.effect is expected.effect, request
        assert found.policies == expected.policies, request
        assert bool(found.errors) == bool(expected.errors), request


@pytest.mark.parametrize("name", PACKS)
@settings(max_examples=15, deadline=None, phases=NO_SHRINK)
@given(st.lists(requests, min_size=8, max_size=8))
def test_a_pack_is_decided_as_the_whole_set_does(name: str, asked: list[Request]) -> None:
    compared(PACKED[name], compile_policies(PACKED[name]), asked)


@settings(max_examples=40, deadline=None, phases=NO_SHRINK)
@given(made_rules, st.booleans(), st.lists(requests, min_size=6, max_size=6))
def test_a_set_with_rules_from_templates_is_decided_as_the_whole_set_does(
    chosen: list[tuple[str, str, str]], overflows: bool, asked: list[Request]
) -> None:
    source = default_source() + (OVERFLOWS if overflows else "")
    for number, (template, agent, tool) in enumerate(chosen):
        source += rule(template, f"made-{number}", agent=agent, tool=tool)
    compared(source, compile_policies(source), asked)


def test_hundreds_of_rules_are_decided_as_the_whole_set_does() -> None:
    source = default_source()
    for number in range(300):
        template = sorted(rules())[number % len(rules())]
        agent = f"spiffe://a/agent/{number % 7}"
        source += rule(template, f"made-{number}", agent=agent, tool=f"s{number % 50}/t")
    policies = compile_policies(source)
    asked = [
        to_request(
            CallFacts(
                agent=f"spiffe://a/agent/{number % 9}", server=f"s{number % 52}", tool="t",
                effect=list(ToolEffect)[number % len(ToolEffect)], in_mandate=number % 5 != 0,
                requires_approval=number % 3 == 0, tier="low", tool_pinned=True,
                amount_minor=NUMBERS[number % len(NUMBERS)] if number % 2 else None,
            )
        )
        for number in range(60)
    ]  # fmt: skip
    compared(source, policies, asked)
