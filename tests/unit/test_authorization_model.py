"""What the default pack and the decision itself promise, from the attacker's side."""

from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfor.authorization import compile_policies
from actfor.authorization.model import (
    CallFacts,
    Decision,
    Effect,
    Fact,
    PolicySet,
    Request,
    RequestSchema,
    ToolEffect,
    to_request,
)
from actfor.authorization.model.facts import named_effect
from actfor.authorization.model.foreign import facts_for
from actfor.authorization.policies import default_source, schema_source
from actfor.errors import Refused
from actfor.wire.authzen import parse_evaluation

SCHEMA = RequestSchema.parse(schema_source())
PACK = compile_policies()
# An operator who permits everything, beside the default pack.
GENEROUS = compile_policies(
    default_source()
    + '@id("anything")@reason("r") permit (principal, action, resource);'
    + '@id("anything-approved")@reason("r") permit (principal, action, resource)'
    "when { context.approved };"
)
SAFE = CallFacts(
    agent="spiffe://example.org/agent/clerk",
    server="crm",
    tool="update",
    effect=ToolEffect.READ,
    in_mandate=True,
    requires_approval=False,
    tier="low",
    assurance="measured",
    sender_constrained=True,
    tool_pinned=True,
    tool_state="pinned",
)

amounts = st.none() | st.sampled_from([-(2**63), -1, 0, 1, 4999, 5000, 5001, 10**6, 2**63 - 1])
facts = st.fixed_dictionaries(
    {
        "agent": st.text(max_size=20),
        "server": st.text(max_size=10),
        "tool": st.text(max_size=10),
        "effect": st.sampled_from(ToolEffect),
        "in_mandate": st.booleans(),
        "mandate_reason": st.text(max_size=20),
        "requires_approval": st.booleans(),
        "approved": st.booleans(),
        "person": st.text(max_size=5),
        "purpose": st.text(max_size=20),
        "tier": st.sampled_from(["low", "medium", "high"]),
        "assurance": st.sampled_from(["measured", "declared", "none"]),
        "sender_constrained": st.booleans(),
        "tool_pinned": st.booleans(),
        "tool_state": st.sampled_from(["pinned", "changed"]),
        "via": st.sampled_from(["gateway", "authzen"]),
        "pep": st.none() | st.text(max_size=5),
        "amount_minor": amounts,
        "amount_currency": st.none() | st.just("EUR"),
        "amount_limit_minor": amounts,
        "budget_calls_left": amounts,
        "budget_amount_left_minor": amounts,
    }
).map(lambda given: CallFacts(**given))


def decide(policies: PolicySet = PACK, **changes: Any) -> Decision:  # Any: facts by name
    return policies.decide(to_request(SAFE._replace(**changes)))


@settings(max_examples=400, deadline=None)
@given(facts)
def test_no_approval_and_no_other_policy_lifts_what_the_pack_forbids(call: CallFacts) -> None:
    forbidden = (
        not call.in_mandate
        or not call.tool_pinned
        or not call.within_caps
        or (call.tier == "high" and call.assurance != "measured")
    )
    for policies in (PACK, GENEROUS):
        decision = policies.decide(to_request(call))
        assert not decision.errors
        if forbidden:
            assert decision.effect is Effect.DENY, decision


@settings(max_examples=200, deadline=None)
@given(facts)
def test_an_effect_that_cannot_be_taken_back_is_never_permitted_unasked(call: CallFacts) -> None:
    decision = PACK.decide(to_request(call._replace(approved=False)))
    if call.effect not in {ToolEffect.READ, ToolEffect.WRITE, ToolEffect.PAY}:
        assert decision.effect is not Effect.PERMIT
    if call.requires_approval:
        assert decision.effect is not Effect.PERMIT


@settings(max_examples=200, deadline=None)
@given(facts)
def test_step_up_means_that_approval_alone_permits(call: CallFacts) -> None:
    now = PACK.decide(to_request(call._replace(approved=False)))
    then = PACK.decide(to_request(call._replace(approved=True)))
    assert (now.effect is Effect.STEP_UP) <= (then.effect is Effect.PERMIT)
    if now.effect is not Effect.PERMIT:
        assert (now.effect is Effect.STEP_UP) == (then.effect is Effect.PERMIT)


@settings(max_examples=200, deadline=None)
@given(facts)
def test_every_decision_has_a_reason_and_a_version(call: CallFacts) -> None:
    decision = PACK.decide(to_request(call))
    assert decision.reason
    assert "\n" not in decision.reason
    assert decision.version == PACK.version
    assert decision.policies or decision.effect is Effect.DENY


@pytest.mark.parametrize("effect", ToolEffect)
def test_each_effect_has_its_default(effect: ToolEffect) -> None:
    unasked = {ToolEffect.READ, ToolEffect.WRITE}
    expected = Effect.PERMIT if effect in unasked else Effect.STEP_UP
    assert decide(effect=effect).effect is expected
    assert decide(effect=effect, approved=True).effect is Effect.PERMIT
    assert decide(effect=effect, in_mandate=False, approved=True).effect is Effect.DENY


def test_the_defaults_of_the_facts_deny() -> None:
    for effect in ToolEffect:
        bare = CallFacts(agent="a", server="s", tool="t", effect=effect)
        assert PACK.decide(to_request(bare)).effect is Effect.DENY
        approved = bare._replace(approved=True)
        assert GENEROUS.decide(to_request(approved)).effect is Effect.DENY


def test_an_effect_nobody_has_heard_of_asks_a_person() -> None:
    assert ToolEffect("launch") is ToolEffect.UNKNOWN
    assert ToolEffect("READ") is ToolEffect.UNKNOWN
    assert ToolEffect("infra") is ToolEffect.INFRASTRUCTURE
    assert decide(effect=ToolEffect("launch")).effect is Effect.STEP_UP


def test_a_payment_is_split_at_the_limit_and_counted_against_the_budget() -> None:
    pay: dict[str, Any] = {"effect": ToolEffect.PAY, "amount_currency": "EUR"}
    assert decide(**pay, amount_minor=5000).effect is Effect.PERMIT
    assert decide(**pay, amount_minor=5001).effect is Effect.STEP_UP
    assert decide(**pay).effect is Effect.STEP_UP
    assert decide(**pay, budget_amount_left_minor=9).policies == ("amount-unknown",)
    spent = decide(**pay, amount_minor=5001, budget_amount_left_minor=5000)
    assert spent.reason == "the amount 50.01 EUR is more than the 50.00 EUR left in the mandate"
    assert decide(**pay, amount_minor=-1, approved=True).policies == ("negative-amount",)
    assert decide(budget_calls_left=0, approved=True).policies == ("calls-spent",)


def test_a_reason_quotes_facts_but_never_reads_them_again() -> None:
    decision = decide(in_mandate=False, mandate_reason="tool `{purpose}`\n\x1b is\tnot granted")
    assert decision.reason == "outside the mandate: tool `{purpose}` \x1b is not granted"
    assert len(decide(in_mandate=False, mandate_reason="x" * 9999).reason) < 300


@pytest.mark.parametrize(
    "hostile", ['a", action, resource); permit(principal', "\ud800", "", "\x00"]
)
def test_an_id_is_data_however_it_is_spelt(hostile: str) -> None:
    changes: list[dict[str, Any]] = [{"agent": hostile}, {"tool": hostile}, {"server": hostile}]
    for change in changes:
        assert decide(**change, in_mandate=False).effect is Effect.DENY
        named = compile_policies(
            '@id("one")@reason("r") permit (principal == Agent::"good", action,'
            'resource == Tool::"crm/good");'
        )
        assert decide(named, **change).effect is Effect.DENY


BROKEN: list[dict[str, object]] = [
    {"in_mandate": 1},
    {"in_mandate": "true"},
    {"in_mandate": None},
    {"amount_minor": True},
    {"amount_minor": 1.5},
    {"amount_minor": 2**63},
    {"amount_minor": "5"},
    {"amount_minor": None},
    {"tier": 3},
    {"tier": ["low"]},
    {"risk": 1},
    {"approved": "yes"},
]


@pytest.mark.parametrize("change", BROKEN)
def test_a_request_out_of_schema_is_denied_as_an_error_as_cedar_would(
    change: dict[str, Fact],
) -> None:
    good = to_request(SAFE)
    request = good._replace(context={**good.context, **change})
    decision = PACK.decide(request)
    assert decision.effect is Effect.DENY
    assert decision.errors
    assert by_cedar(request) is not cedarpy.Decision.Allow


@pytest.mark.parametrize("name", sorted(SCHEMA.required))
def test_a_request_without_a_required_fact_is_denied_as_an_error(name: str) -> None:
    good = to_request(SAFE)
    context = {key: value for key, value in good.context.items() if key != name}
    decision = PACK.decide(good._replace(context=context))
    assert decision.effect is Effect.DENY
    assert decision.errors == (
        f"fact `{name}` is missing or not a {SCHEMA.required[name].__name__}",
    )
    assert by_cedar(good._replace(context=context)) is cedarpy.Decision.NoDecision


def test_an_unknown_action_is_denied_as_an_error() -> None:
    request = to_request(SAFE)._replace(action="READ")
    assert PACK.decide(request).errors == ("action `READ` is not in the schema",)
    assert by_cedar(request) is cedarpy.Decision.NoDecision


def by_cedar(request: Request) -> cedarpy.Decision:
    """Cedar's own answer by a set that permits everything: NoDecision if it refuses the request."""
    return cedarpy.is_authorized(
        {
            "principal": {"type": "Agent", "id": request.subject},
            "action": {"type": "Action", "id": request.action},
            "resource": {"type": "Tool", "id": request.resource},
            "context": dict(request.context),
        },
        "permit (principal, action, resource);",
        [],
        schema_source(),
    ).decision


@settings(max_examples=200, deadline=None)
@given(facts)
def test_every_request_made_of_facts_fits_the_schema_by_our_check_and_by_cedars(
    call: CallFacts,
) -> None:
    request = to_request(call)
    assert SCHEMA.fault(request) is None
    assert by_cedar(request) is cedarpy.Decision.Allow


@settings(max_examples=200, deadline=None)
@given(facts, st.sampled_from([None, 70]))
def test_a_foreign_question_binds_what_it_and_its_asker_say_and_nothing_else(
    call: CallFacts, amount: int | None
) -> None:
    entity = {"type": "agent", "id": "spiffe://x/agent/asked"}
    asked = parse_evaluation(
        {
            "subject": entity,
            "action": {"name": "pay"},
            "resource": {"type": "tool", "id": "bank/a/b"},
            "context": {} if amount is None else {"amount_minor": amount, "amount_currency": "X"},
        }
    )
    judged = call.amount_minor is not None
    assert facts_for("crm", asked, call) == call._replace(
        agent="spiffe://x/agent/asked",
        server="bank",
        tool="a/b",
        effect=ToolEffect.PAY,
        approved=False,
        via="authzen",
        pep="crm",
        amount_minor=call.amount_minor if judged else amount,
        amount_currency=call.amount_currency if judged else None if amount is None else "X",
    )


def test_the_facts_and_the_schema_name_the_same_things() -> None:
    named = set(CallFacts._fields) - {"agent", "tool", "effect"}
    assert SCHEMA.facts == named | {"within_caps"}
    assert SCHEMA.actions == set(ToolEffect)


def test_a_forbid_that_cannot_be_evaluated_denies() -> None:
    broken = compile_policies(
        '@id("all")@reason("r") permit (principal, action, resource);'
        '@id("overflows")@reason("r") forbid (principal, action, resource)'
        "when { context has amount_minor && context.amount_minor + 1 < 0 };"
    )
    decision = decide(broken, amount_minor=2**63 - 1)
    assert decision.effect is Effect.DENY
    assert len(decision.errors) == 1
    assert "`overflows`" in decision.errors[0]
    assert "9223372036854775807" not in decision.reason
    assert decide(broken, amount_minor=2**63 - 1, approved=True).effect is Effect.DENY


def test_a_decisions_facts_fit_a_log_leaf_however_many_policies_determine_it() -> None:
    crowd = compile_policies(
        "".join(
            f'@id("{"p" * 58}{i}")@reason("r") permit (principal, action, resource);'
            for i in range(300)
        )
    )
    decision = decide(crowd)
    assert len(decision.policies) == 300
    logged = decision.facts()
    assert logged["policies_total"] == 300
    assert len(str(logged)) < 1600


@pytest.mark.parametrize("name", ["fly", "writes", "", "READ", "read "])
def test_an_effect_that_somebody_names_is_one(name: str) -> None:
    """A tool's unknown effect is `unknown`; a person's is a mistake, and lifts nothing."""
    with pytest.raises(Refused, match="is not one of read, write"):
        named_effect(name)


def test_effects_are_named_as_elsewhere() -> None:
    assert [named_effect(name) for name in ("read", "grant", "unknown")] == [
        ToolEffect.READ,
        ToolEffect.GRANT_ACCESS,
        ToolEffect.UNKNOWN,
    ]
