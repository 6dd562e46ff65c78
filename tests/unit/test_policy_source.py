"""Publishing refuses what it cannot vouch for, and says where."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfor.authorization import compile_policies, to_request
from actfor.authorization.model import CallFacts, Decision, Effect, RequestSchema, ToolEffect
from actfor.authorization.model.source import MAX_BYTES, read
from actfor.authorization.policies import default_source, schema_source
from actfor.errors import Kind, Refused

SCHEMA = RequestSchema.parse(schema_source())
GOOD = '@id("good")\n@reason("because")\npermit (principal, action, resource);\n'


def refusal(source: str) -> str:
    with pytest.raises(Refused) as refused:
        compile_policies(source)
    assert refused.value.kind is Kind.MALFORMED
    assert "\n" not in refused.value.detail
    return refused.value.detail


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "holds no policy"),
        ("// a comment; permit(principal, action, resource);\n", "holds no policy"),
        ("permit", "line 1: unexpected end of input"),
        (GOOD + "permit (principal, action, resource) whe { true };", "line 4: invalid policy"),
        (GOOD + "// ;\n\n  permit (principal, action, resource) when { foo };", "line 6: invalid"),
        (GOOD + '"never ends; permit (principal, action, resource);', "line 4: "),
        (GOOD + "permit (principal, action, resource);", "line 4: needs @id"),
        (GOOD + GOOD, "line 4: policy `good`: the @id is used twice"),
        ('@id("A B")@reason("r") permit (principal, action, resource);', "needs @id"),
        ('@id("")@reason("r") permit (principal, action, resource);', "needs @id"),
        ('@id @reason("r") permit (principal, action, resource);', "needs @id"),
        ('@id("x") permit (principal, action, resource);', "policy `x`: needs @reason"),
        ('@id("x")@reason(" ") permit (principal, action, resource);', "needs @reason"),
        (
            '@id("x")@reason("it is {nothing}") permit (principal, action, resource);',
            "names an unknown fact `nothing`",
        ),
        ('@id("x")@reason("r") permit (principal == ?principal, action, resource);', "templates"),
        (
            GOOD + '@id("typo")@reason("r")\nforbid (principal, action, resource)\n'
            "unless { context.in_mandat };",
            "line 4: policy `typo`: attribute `in_mandat` in context not found",
        ),
        (
            '@id("x")@reason("r")forbid(principal,action,resource)when{context.amount_minor>5};',
            "unable to guarantee safety of access to optional attribute `amount_minor`",
        ),
        (
            '@id("x")@reason("r") forbid (principal, action, resource) when {context.tier > 5};',
            "expected Long but saw String",
        ),
        (
            '@id("x")@reason("r") permit (principal, action == Action::"fly", resource);',
            'unrecognized action `Action::"fly"`',
        ),
        (
            '@id("x")@reason("r") permit (principal == User::"x", action, resource);',
            "unrecognized entity type `User`",
        ),
        ("x" * (MAX_BYTES + 1), "larger than"),
        ("\ud800", "lone surrogate"),
        (";" * 30_000, "more than"),
    ],
)
def test_a_text_is_refused_naming_line_and_policy(source: str, says: str) -> None:
    assert says in refusal(source)


def test_no_more_than_five_problems_are_told_at_once() -> None:
    text = "".join(f'@id("p{i}") permit (principal, action, resource);\n' for i in range(9))
    assert refusal(text).endswith("(and 4 more)")


def test_a_condition_nested_beyond_reason_is_refused_not_a_crash() -> None:
    for depth in (250, 400, 5000):
        condition = " && ".join(["context.approved"] * depth)
        text = f'@id("x")@reason("r") permit (principal, action, resource) when {{ {condition} }};'
        assert "nested too deeply" in refusal(text)


def test_the_deepest_condition_that_is_accepted_can_be_decided() -> None:
    condition = " && ".join(["context.approved"] * 190)
    text = f'@id("x")@reason("r") permit (principal, action, resource) when {{ {condition} }};'
    policies = compile_policies(text)
    request = to_request(CallFacts(agent="a", server="s", tool="t", effect=ToolEffect.READ))

    def decide_below(frames: int) -> Decision:
        return decide_below(frames - 1) if frames else policies.decide(request)

    assert decide_below(300).effect is Effect.STEP_UP


def test_strings_and_comments_do_not_end_a_statement() -> None:
    text = (
        '// a ; "quote\n@id("a;b")@reason("r")\npermit (principal, action, resource)\n'
        'when { context.purpose == "x;\\";//" }; // ; trailing\n' + GOOD
    )
    _, problems = read(text, SCHEMA)
    assert [(problem.line, problem.message[:9]) for problem in problems] == [(2, "needs @id")]
    policies, none = read(text.replace("a;b", "a-b"), SCHEMA)
    assert none == ()
    assert [policy.line for policy in policies] == [2, 5]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from('@id("x")reason;{}permit\\"/ \n'), max_size=120))
def test_no_text_crashes_the_reader(text: str) -> None:
    policies, problems = read(text, SCHEMA)
    assert policies or problems


def test_a_text_of_quotes_takes_linear_time() -> None:
    _, problems = read('"' + '\\"' * 400_000, SCHEMA)
    assert len(problems) == 1


def test_line_endings_do_not_change_the_version() -> None:
    text = default_source()
    assert compile_policies(text).version == compile_policies(text.replace("\n", "\r\n")).version


def test_one_byte_changes_the_version() -> None:
    text = default_source()
    assert compile_policies(text).version != compile_policies(text + " ").version


def test_the_policies_know_their_lines() -> None:
    text = default_source().splitlines()
    for policy in compile_policies().policies:
        assert text[policy.line - 1] == f'@id("{policy.id}")'


@pytest.mark.parametrize(
    "schema",
    [
        "entity Agent;",
        "type Facts = { when: datetime }; action read appliesTo { context: Facts };",
    ],
)
def test_a_schema_of_another_shape_is_a_programmers_error(schema: str) -> None:
    with pytest.raises(ValueError, match=r"fact|Facts"):
        RequestSchema.parse(schema)
