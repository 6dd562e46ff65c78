"""The index asks Cedar about few policies; the answer must be that of all of them."""

import gc
import sys
from collections.abc import Mapping

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfor.authorization import compile_policies
from actfor.authorization.model import Decision, Effect, Fact, PolicySet, Request, RequestSchema
from actfor.authorization.model.engine import ask
from actfor.authorization.policies import schema_source

SCHEMA = RequestSchema.parse(schema_source())
PUBLIC_SCHEMA = cedarpy.Schema.from_str(schema_source())

AGENTS = ["spiffe://a/agent/one", "spiffe://a/agent/two"]
TOOLS = ["git/log", "git/push", "bank/pay", "bank/a/b"]
SERVERS = ["git", "bank"]
ACTIONS = ["read", "write", "pay"]

principals = st.sampled_from(
    ["principal", "principal is Agent"]
    + [f'principal {how} Agent::"{name}"' for name in AGENTS for how in ("==", "in", "is Agent in")]
)
actions = st.sampled_from(
    ["action", 'action in [Action::"read", Action::"pay"]', 'action in Action::"write"']
    + [f'action == Action::"{name}"' for name in ACTIONS]
)
resources = st.sampled_from(
    ["resource", "resource is Tool"]
    + [f'resource == Tool::"{name}"' for name in TOOLS]
    + [f'resource in Tool::"{name}"' for name in TOOLS[:2]]
    + [f'resource {how} Server::"{name}"' for name in SERVERS for how in ("in", "is Tool in")]
)
EVERYTHING = '@id("all")@reason("r") permit (principal, action, resource);'
# The last three can fail to evaluate: integer overflow is the error no schema can prevent.
TESTS = [
    "context.in_mandate",
    "context.approved",
    "!context.requires_approval",
    "!(!context.within_caps)",
    "context.in_mandate == true",
    'context.tier == "high"',
    '"low" == context.tier',
    'context.tier != "low"',
    "context has amount_minor",
    "!(context has amount_minor)",
    "(context has amount_minor && context.amount_minor < 100)",
    "(context.in_mandate || context.approved)",
    "!(context.in_mandate || context.approved)",
    'resource == Tool::"git/log"',
    'resource in Server::"bank"',
    'principal == Agent::"spiffe://a/agent/one"',
    'action == Action::"pay"',
    'context.tool_state like "p*"',
    '["git", "x"].contains(context.server)',
    "(context has amount_minor && context.amount_minor <= 5)",
    "(context has amount_minor && !(99 >= context.amount_minor))",
    "(context has amount_minor && context.amount_minor < -1)",
    "(context has amount_minor && context has budget_calls_left"
    " && context.amount_minor > context.budget_calls_left)",
    "(context has amount_minor && (context.amount_minor < 5 || context.approved))",
    "(context has sinks_untrusted && context.sinks_untrusted && !context.approved)",
    '(context has effect_asked && context.effect_asked != "no")',
    '(context has effect_asked && context has relevant && context.effect_asked == "no"'
    " && !context.relevant)",
    "(if context.approved then context.in_mandate else false)",
    "(context has amount_minor && context.amount_minor + 9223372036854775807 > 0)",
    "(context has amount_minor && context.amount_minor * 9223372036854775807 > 0)",
    "(context has budget_calls_left && -(context.budget_calls_left - 9223372036854775807) > 0)",
]
tests = st.sampled_from(TESTS)
conditions = st.lists(
    st.builds(
        lambda kind, joint, parts: f"{kind} {{ {f' {joint} '.join(parts)} }}",
        st.sampled_from(["when", "unless"]),
        st.sampled_from(["&&", "||"]),
        st.lists(tests, min_size=1, max_size=3),
    ),
    max_size=3,
).map(" ".join)
policies = st.builds(
    lambda effect, who, what, on, when: f"{effect} ({who}, {what}, {on}) {when};",
    st.sampled_from(["permit", "permit", "forbid"]),
    principals,
    actions,
    resources,
    conditions,
)
sources = st.lists(policies, min_size=1, max_size=8).map(
    lambda texts: "\n".join(f'@id("p{i}")@reason("r{i}")\n{text}' for i, text in enumerate(texts))
)
numbers = st.sampled_from([-1, 0, 1, 99, 100, 2**63 - 1, -(2**63)])
contexts = st.fixed_dictionaries(
    {
        "in_mandate": st.booleans(),
        "approved": st.booleans(),
        "requires_approval": st.booleans(),
        "within_caps": st.booleans(),
        "sender_constrained": st.booleans(),
        "tool_pinned": st.booleans(),
        "mandate_reason": st.sampled_from(["", "no"]),
        "person": st.just("usr_1"),
        "purpose": st.sampled_from(["x", 'a"; permit(principal, action, resource);']),
        "tier": st.sampled_from(["low", "medium", "high"]),
        "assurance": st.sampled_from(["measured", "none"]),
        "server": st.sampled_from(["git", "bank"]),
        "tool_state": st.sampled_from(["pinned", "changed"]),
        "via": st.sampled_from(["gateway", "authzen"]),
    },
    optional={
        "amount_minor": numbers,
        "budget_calls_left": numbers,
        "sinks_untrusted": st.booleans(),
        "effect_asked": st.sampled_from(["yes", "no"]),
        "relevant": st.booleans(),
    },
)
requests = st.builds(
    Request,
    st.sampled_from([*AGENTS, 'x", action, resource); permit(principal']),
    st.sampled_from(ACTIONS),
    st.sampled_from([*TOOLS, "git", "other/tool"]),
    contexts,
)


def whole(source: str, request: Request) -> Decision:
    """What the whole set decides, by cedarpy's public call, with schema, entities and all facts."""
    now = _whole(source, request, request.context)
    if now.effect is Effect.PERMIT or now.errors or request.context["approved"]:
        return now
    then = _whole(source, request, {**request.context, "approved": True})
    if then.effect is Effect.PERMIT:
        return Decision(Effect.STEP_UP, now.policies or then.policies)
    return now


def _whole(source: str, request: Request, context: Mapping[str, Fact]) -> Decision:
    server, _, tool = request.resource.partition("/")
    parents = [{"type": "Server", "id": server}] if tool else []
    answer = cedarpy.is_authorized(
        {
            "principal": {"type": "Agent", "id": request.subject},
            "action": {"type": "Action", "id": request.action},
            "resource": {"type": "Tool", "id": request.resource},
            "context": dict(context),
        },
        source,
        [{"uid": {"type": "Tool", "id": request.resource}, "attrs": {}, "parents": parents}],
        PUBLIC_SCHEMA,
    )
    if answer.diagnostics.errors or answer.decision is cedarpy.Decision.NoDecision:
        return Decision(Effect.DENY, (), tuple(answer.diagnostics.errors) or ("no decision",))
    names = answer.diagnostics.id_annotations_by_reason
    effect = Effect.PERMIT if answer.decision is cedarpy.Decision.Allow else Effect.DENY
    return Decision(effect, tuple(sorted(names[reason] for reason in answer.diagnostics.reasons)))


@settings(max_examples=300, deadline=None)
@given(sources, st.lists(requests, min_size=1, max_size=12))
def test_the_index_decides_as_the_whole_set_does(source: str, asked: list[Request]) -> None:
    indexed = compile_policies(source)
    for request in asked:
        expected, found = whole(source, request), indexed.decide(request)
        assert found.effect is expected.effect
        assert found.policies == expected.policies
        assert bool(found.errors) == bool(expected.errors)


def grid() -> list[Request]:
    """Requests in which each fact of TESTS is once as it should be and once not."""
    usual = _facts(in_mandate=True, within_caps=True, tier="low", tool_state="pinned", server="git")
    changes: list[dict[str, Fact]] = [
        {},
        {"approved": True},
        {"in_mandate": False, "tier": "high"},
        {"requires_approval": True, "amount_minor": 5},
        {"sinks_untrusted": True, "effect_asked": "no", "relevant": False},
        {"amount_minor": 2**63 - 1, "within_caps": False},
        {"budget_calls_left": -(2**63), "tool_state": "new", "server": "other"},
    ]
    whom = [("read", "git/log", AGENTS[0]), ("pay", "bank/pay", AGENTS[1])]
    return [
        Request(agent, action, tool, {**usual, **change})
        for change in changes
        for action, tool, agent in whom
    ]


@pytest.mark.parametrize("first", TESTS)
def test_every_pair_of_conditions_is_decided_as_the_whole_set_does(first: str) -> None:
    for second in ("true", "context.in_mandate", "context.approved", TESTS[-3]):
        for conditions in (f"when {{ {first} && {second} }}", f"unless {{ {first} || {second} }}"):
            tested = f"(principal, action, resource) {conditions};"
            for source in (
                f'@id("x")@reason("r") permit {tested}',
                f'{EVERYTHING}@id("x")@reason("r") forbid {tested}',
            ):
                indexed = compile_policies(source)
                for request in grid():
                    expected, found = whole(source, request), indexed.decide(request)
                    assert found.effect is expected.effect, (source, request)
                    assert found.policies == expected.policies, (source, request)


@settings(max_examples=60, deadline=None)
@given(sources, requests)
def test_explaining_names_every_determining_policy(source: str, request: Request) -> None:
    indexed = compile_policies(source)
    explained = indexed.explain(request)
    satisfied = {answer.id for answer in explained.policies if answer.satisfied}
    if explained.decision.effect is not Effect.STEP_UP:
        assert satisfied.issuperset(explained.decision.policies)
    assert bool(explained.decision.errors) <= any(answer.error for answer in explained.policies)


@settings(max_examples=60, deadline=None)
@given(sources, requests)
def test_the_compiled_call_and_the_public_call_answer_alike(source: str, request: Request) -> None:
    handle = cedarpy.PolicySet.from_str(source)
    fast = ask(handle, request, request.context, hierarchy=True)
    slow = ask(handle, request, request.context, hierarchy=True, native=False)
    assert fast[0] == slow[0]
    assert sorted(fast[1]) == sorted(slow[1])
    assert len(fast[2]) == len(slow[2])


def many(count: int) -> PolicySet:
    return compile_policies(
        "\n".join(
            f'@id("p{i}")@reason("r") permit(principal, action, resource == Tool::"s/t{i}")'
            "when { context.in_mandate };"
            for i in range(count)
        )
    )


def test_only_the_policies_of_the_tool_are_asked_about() -> None:
    policies = many(500)
    request = Request("spiffe://a/agent/one", "read", "s/t7", _facts(in_mandate=True))
    assert len(policies._index.scope(request).entries) == 1
    assert policies.decide(request).policies == ("p7",)


def test_a_stream_of_made_up_names_does_not_grow_the_index() -> None:
    policies = many(3)
    for number in range(2000):
        request = Request(f"spiffe://a/agent/{number}", "read", f"x/{number}", _facts())
        assert policies.decide(request).effect is Effect.DENY
    assert len(policies._index._scopes) <= 4


def test_memory_is_flat_over_many_decisions() -> None:
    policies = compile_policies(
        EVERYTHING + '@id("x")@reason("r") forbid (principal, action, resource) '
        'when { context.purpose like "*secret*" };'
    )

    def decide(count: int) -> None:
        for number in range(count):
            facts = _facts(
                purpose=f"words {number}", server=f"s{number}", in_mandate=number % 2 == 0
            )
            policies.decide(Request(f"spiffe://a/agent/{number}", "read", f"s{number}/t", facts))

    decide(2_000)
    gc.collect()
    before = sys.getallocatedblocks()
    decide(20_000)
    gc.collect()
    assert sys.getallocatedblocks() - before < 500


def test_a_set_that_guards_decide_alone_does_not_trouble_cedar() -> None:
    policies = compile_policies()
    facts = _facts(in_mandate=True, within_caps=True, tool_pinned=True, tier="low")
    scope = policies._index.scope(Request(AGENTS[0], "read", "s/t", facts))
    leaf = scope.leaf(facts)
    assert leaf.handle is None
    assert leaf.permits == ("read-in-mandate",)


def test_cedar_is_asked_again_only_about_what_an_approval_may_change() -> None:
    rule = '@id("{}")@reason("r") {} (principal, action, resource) when {{ {} }};'.format
    yes = rule("yes", "permit", "context.approved")
    secret = 'context.purpose like "*secret*"'
    for source, again in (
        (yes, False),
        (yes + rule("no", "forbid", secret), False),
        (yes + rule("no", "forbid", f"{secret} && !context.approved"), True),
        (yes + rule("no", "permit", f"{secret} && context.approved"), True),
        (rule("yes", "permit", 'context.approved && context.purpose like "*s*"'), True),
    ):
        policies = compile_policies(source)
        facts = _facts(purpose="answers")
        scope = policies._index.scope(Request(AGENTS[0], "read", "s/t", facts))
        now, then = scope.leaf(facts), scope.leaf({**facts, "approved": True})
        assert then.asks_the_same(now, "approved") is not again, source
        decision = policies.decide(Request(AGENTS[0], "read", "s/t", facts))
        assert (decision.effect, decision.policies) == (Effect.STEP_UP, ("yes",))


def _facts(**facts: Fact) -> Mapping[str, Fact]:
    zero: dict[type, Fact] = {bool: False, str: "", int: 0}
    base = {name: zero[kind] for name, kind in SCHEMA.required.items()}
    return {**base, **facts}


@pytest.mark.parametrize(
    "condition",
    [
        "context.in_mandate && context.amount_minor > 0",
        'context == {"in_mandate": true}',
    ],
)
def test_a_condition_that_reads_facts_unsafely_is_not_published(condition: str) -> None:
    from actfor.errors import Refused

    with pytest.raises(Refused, match="line 1: policy `x`"):
        compile_policies(
            f'@id("x")@reason("r") permit(principal, action, resource) when {{ {condition} }};'
        )
