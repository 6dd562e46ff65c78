"""What a foreign enforcement point says about its data: it tightens always, loosens by trust only."""

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfor.authorization.http.openapi import authzen_paths
from actfor.authorization.model import Fact, ToolEffect
from actfor.errors import Kind, Refused
from actfor.gateway.provenance import KnownTool, Label, ToolDescription
from actfor.gateway.told import LABELS, MAX_TEXT, MAX_VALUES, Told, told_of
from actfor.gateway.untraced import untraced
from actfor.wire.authzen import EVALUATION_PATH

GOAL = "Tell bob@example.com that the report is ready"
SEND = KnownTool.read(
    ToolDescription(
        "send",
        "Sends a message.",
        {"properties": {name: {"type": "string"} for name in ("to", "cc", "body")}},
        {"effect": "share", "sinks": {"/to": "recipient", "/cc": "recipient", "/body": "text"}},
    )
)
STRANGE = {"to": "mallory@evil.example", "body": "the report is ready"}
SAID = {"to": "bob@example.com", "body": "the report is ready"}
RANK: Final = {label.word: label for label in Label} | {"none": Label.USER}


def facts(
    arguments: dict[str, Any], said: Any = None, *, believed: bool = False, **more: Any
) -> dict[str, Fact]:
    told = Told() if said is None else told_of(said, arguments)
    effect = more.get("effect", ToolEffect.SHARE)
    found = untraced(GOAL, SEND, effect, arguments, told, granted=True, believed=believed)
    return dict(found)


def value(argument: str, label: str, **more: Any) -> dict[str, Any]:
    return {"values": [{"argument": argument, "label": label, **more}]}


# -- loosening ----------------------------------------------------------------------------------


def test_who_is_not_believed_makes_nothing_less_doubtful() -> None:
    said = {**value("/to", "trusted", source="crm/find"), "complete": True}
    assert facts(STRANGE, said) == facts(STRANGE)
    assert facts(STRANGE)["sinks_untrusted"] is True


def test_who_is_believed_says_that_a_system_of_record_has_the_value() -> None:
    found = facts(STRANGE, value("/to", "trusted", source="crm/find"), believed=True)
    assert found["sinks_untrusted"] is False
    assert found["sink_label"] == "trusted"
    # The rest of the history is as unknown as before.
    assert found["read_untrusted"] is True
    assert "relevant" not in found


def test_one_value_is_believed_and_no_other() -> None:
    both = {**STRANGE, "cc": "eve@evil.example"}
    found = facts(both, value("/to", "trusted"), believed=True)
    assert found["sinks_untrusted"] is True
    assert "eve@evil.example" in str(found["sink_origin"])


def test_who_saw_everything_may_say_that_nothing_else_was_read() -> None:
    found = facts(SAID, {"complete": True}, believed=True)
    assert (found["read_untrusted"], found["sinks_untrusted"]) == (False, False)
    assert found["relevant"] is True
    whole = {**value("/body", "untrusted", source="mail/read"), "complete": True}
    found = facts(SAID, whole, believed=True)
    assert (found["read_untrusted"], found["content_untrusted"]) == (True, True)


def test_nobody_says_that_the_words_ask_for_it() -> None:
    """A policy that permits by that is for calls that were counted as well."""
    assert "effect_asked" not in facts(SAID, {"complete": True}, believed=True)


# -- tightening ---------------------------------------------------------------------------------


@pytest.mark.parametrize("believed", [True, False])
@pytest.mark.parametrize(
    ("said", "fact"),
    [
        (value("/to", "untrusted", source="mail/read", author="eve"), "sinks_untrusted"),
        (value("/to", "attested"), "sinks_untrusted"),
        (value("/to", "unknown"), "target_unnamed"),
        (value("/body", "untrusted"), "content_untrusted"),
        (value("/body", "trusted", secret=True), "carries_secret"),
        (value("/body", "trusted", secret=True), "read_secret"),
        ({"read_secret": True}, "read_secret"),
        ({"read_untrusted": True, "complete": True}, "read_untrusted"),
    ],
)
def test_what_tightens_is_taken_from_everybody(
    said: dict[str, Any], fact: str, believed: bool
) -> None:
    """Even about a value that stands in the person's own words."""
    without = facts(SAID, {"complete": True}, believed=believed)
    assert without[fact] is (fact == "read_untrusted" and not believed)
    assert facts(SAID, said, believed=believed)[fact] is True


def test_the_person_is_told_whose_the_value_is() -> None:
    said = value("/to", "untrusted", source="mail/read", field="body", author="eve")
    shown = str(facts(SAID, said)["sink_origin"])
    assert "bob@example.com" in shown
    assert "`mail/read` in `body`, written by `eve`" in shown


def test_a_read_is_held_for_no_name_that_others_wrote() -> None:
    found = facts(SAID, value("/to", "untrusted"), effect=ToolEffect.READ)
    assert found["sinks_untrusted"] is False


def test_a_pointer_is_about_all_that_is_below_it() -> None:
    several = {"to": ["bob@example.com"], "body": "x"}
    assert facts(several, value("/to", "untrusted"))["sinks_untrusted"] is True
    assert facts(several, value("/to/0", "untrusted"))["sinks_untrusted"] is True
    with pytest.raises(Refused):
        facts(several, value("/t", "untrusted"))


TOLD = st.fixed_dictionaries(
    {},
    optional={
        "values": st.lists(
            st.fixed_dictionaries(
                {
                    "argument": st.sampled_from(["/to", "/body"]),
                    "label": st.sampled_from(sorted(LABELS)),
                },
                optional={
                    "secret": st.booleans(),
                    "source": st.sampled_from(["crm/find", "mail/read"]),
                    "author": st.just("eve@evil.example"),
                },
            ),
            max_size=4,
        ),
        "complete": st.booleans(),
        "read_untrusted": st.booleans(),
        "read_secret": st.booleans(),
    },
)
WORSE = (
    "sinks_untrusted", "target_unnamed", "content_untrusted", "read_untrusted", "read_secret",
    "carries_secret", "solicited", "over_count", "unusual_order",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(said=TOLD, arguments=st.sampled_from([SAID, STRANGE]))
def test_whatever_a_stranger_says_the_facts_are_no_better_than_without(
    said: dict[str, Any], arguments: dict[str, Any]
) -> None:
    without, found = facts(arguments), facts(arguments, said)
    assert found.keys() == without.keys()
    for fact in WORSE:
        assert bool(found[fact]) >= bool(without[fact]), fact
    assert RANK[str(found["sink_label"])] >= RANK[str(without["sink_label"])]
    assert found["value_endorsed"] is False


@settings(max_examples=150, deadline=None)
@given(said=TOLD, worse=st.sampled_from(["untrusted", "attested"]))
def test_also_from_who_is_believed_the_worst_that_is_said_of_a_value_counts(
    said: dict[str, Any], worse: str
) -> None:
    more = [*said.get("values", []), {"argument": "/to", "label": worse}]
    assert facts(SAID, {**said, "values": more}, believed=True)["sinks_untrusted"] is True


# -- the shape ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        [],
        "all mine",
        7,
        {"valeus": []},
        {"values": {}},
        {"values": [{}] * (MAX_VALUES + 1)},
        {"values": ["/to"]},
        {"values": [{"argument": "/to"}]},
        {"values": [{"argument": "/to", "label": "user"}]},
        {"values": [{"argument": "/to", "label": "from"}]},
        {"values": [{"argument": "/to", "label": ["trusted"]}]},
        {"values": [{"argument": "/nowhere", "label": "untrusted"}]},
        {"values": [{"argument": "", "label": "untrusted"}]},
        {"values": [{"argument": 1, "label": "untrusted"}]},
        {"values": [{"argument": "/to", "label": "untrusted", "secrt": True}]},
        {"values": [{"argument": "/to", "label": "untrusted", "author": "x" * (MAX_TEXT + 1)}]},
        {"values": [{"argument": "/to", "label": "untrusted", "source": None}]},
        {"complete": 1},
        {"read_secret": "true"},
    ],
)
def test_what_might_have_tightened_is_understood_or_refused(said: Any) -> None:
    with pytest.raises(Refused, match=r"^malformed: `context.provenance`: ") as refused:
        told_of(said, SAID)
    assert refused.value.kind is Kind.MALFORMED


def test_the_openapi_document_says_what_is_parsed() -> None:
    body = authzen_paths()[EVALUATION_PATH]["post"]["requestBody"]["content"]["application/json"]
    context = body["schema"]["properties"]["context"]["properties"]["provenance"]
    values = context["properties"]["values"]
    assert values["maxItems"] == MAX_VALUES
    assert set(values["items"]["properties"]["label"]["enum"]) == set(LABELS)
    assert values["items"]["properties"]["author"]["maxLength"] == MAX_TEXT
    full = {
        "values": [
            {name: _example(name, rule) for name, rule in values["items"]["properties"].items()}
        ],
        **{name: True for name in context["properties"] if name != "values"},
    }
    told = told_of(full, SAID)
    assert told.complete
    assert told.values[0].secret


def _example(name: str, rule: Any) -> Any:
    if name == "argument":
        return "/to"
    if "enum" in rule:
        return rule["enum"][0]
    return "x" if rule["type"] == "string" else True
