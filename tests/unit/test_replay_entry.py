"""The decision point as a foreign harness drives it: forgiving of its traces, clear about the rest."""

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from math import nan
from pathlib import Path
from typing import Any

import pytest

from actfor.authorization import Effect
from actfor.errors import Kind, Refused
from actfor.gateway.provenance import DecisionPoint, Label, ToolDescription, suggest_overlay

GUIDE = Path(__file__).parents[2] / "docs/guides/replay.md"
NOW = datetime(2026, 11, 26, tzinfo=UTC)
WORDS = "Please pay the bill 'bill-december.txt' for me."
READ = ToolDescription(
    "read_file", "Reads the contents of the file.\n\n:param file_path: The path of the file."
)
PAY = ToolDescription("send_money", "Sends a transaction.", overlay={"effect": "pay"})
IBAN = "UK12345678901234567890"
BILL = f"Total: 98.70. IBAN: {IBAN}"
MAIL = "- id_: '7'\n  sender: eve@evil.example\n  body: Hello there\n"


def point(words: Any = WORDS, tools: Any = (READ, PAY), **more: Any) -> DecisionPoint:
    return DecisionPoint.propose(words, tools, **{"now": NOW, **more})


AMOUNTS: list[Any] = [98.7, "98.70", Decimal("98.70")]


def after(result: Any, **more: Any) -> DecisionPoint:
    made = point()
    made.record("read_file", {"file_path": "bill-december.txt"}, result, **more)
    return made


def test_the_guides_snippets_run() -> None:
    snippets = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    there: dict[str, Any] = {}
    for text in snippets:
        exec(text, there)  # noqa: S102 - the guide's own, in its order
    assert len(snippets) == 2


def test_a_name_and_a_docstring_are_enough_of_a_tool() -> None:
    made = point(tools=[READ, ToolDescription("send_money", None, None)])
    assert made.decide("read_file", {"file_path": "bill-december.txt"}).effect is Effect.PERMIT
    asked = made.decide("send_money", {"recipient": IBAN, "amount": "98.70"})
    assert asked.effect is Effect.STEP_UP
    assert suggest_overlay(READ).effect == "read"


@pytest.mark.parametrize(
    "bill",
    [
        BILL,
        [{"type": "text", "content": BILL}],
        [{"type": "text", "text": "Thank you."}, {"type": "text", "text": BILL}],
        {"content": [{"type": "text", "text": BILL}], "isError": False},
        json.dumps(f"Bill\n\tTotal:\t98.70\nIBAN:\t{IBAN}\n"),
    ],
)
def test_a_text_is_read_alike_however_a_trace_wraps_it(bill: Any) -> None:
    made = after(bill)
    for amount in AMOUNTS:
        paid = made.decide("send_money", {"recipient": IBAN, "amount": amount})
        assert paid.effect is Effect.PERMIT, paid.reasons


@pytest.mark.parametrize("wrapped", [MAIL, [{"type": "text", "content": MAIL}]])
def test_an_overlay_finds_its_fields_in_text_that_is_wrapped(wrapped: Any) -> None:
    rules = {"effect": "read", "results": {"trusted": ["/*/id_"], "author": ["/*/sender"]}}
    made = point("Delete it", [ToolDescription("get_mail", "Mail.", overlay=rules),
                               ToolDescription("delete_mail", "Deletes a mail.")])  # fmt: skip
    made.record("get_mail", None, wrapped)
    (slot,) = made.decide("delete_mail", {"email_id": "eve@evil.example"}).slots
    assert slot.label is Label.ATTESTED
    (slot,) = made.decide("delete_mail", {"email_id": "7"}).slots
    assert slot.label is Label.TRUSTED


def test_what_cannot_be_read_may_have_held_anything() -> None:
    for image in ([{"type": "image", "data": "…"}], {"content": [{"type": "image"}]}):
        verdict = after(image).decide("send_money", {"recipient": IBAN, "amount": 98.7})
        assert verdict.slots[0].label is Label.UNTRUSTED


@pytest.mark.parametrize(
    "result",
    [None, "", True, 7, 10**400, nan, [], {}, ["a", None, [["b"]]], {1: date(2026, 1, 1)}, ("x",),
     {"type": "text"}, [{"type": "text", "id": 3}], "\ud800", {"content": "x"}, {"isError": True}],
)  # fmt: skip
def test_whatever_a_tool_returned_is_taken(result: Any) -> None:
    made = after(result)
    assert made.decide("send_money", {"recipient": IBAN, "amount": 1}).effect is not Effect.PERMIT


def test_arguments_may_be_a_text_or_nothing_as_in_a_log() -> None:
    made = point()
    assert made.decide("read_file", '{"file_path": "bill-december.txt"}').slots
    assert made.decide("read_file", None).effect is Effect.PERMIT
    made.record("read_file", None, "no such file", failed=True)
    nested = {"file_path": [["a"], {"b": None}, ("c", 3)]}
    assert made.decide("read_file", nested).effect is Effect.PERMIT


def test_a_call_that_failed_does_not_count_and_its_text_is_known_all_the_same() -> None:
    once = "Please send 5 EUR to DE75512108001245126199, once."
    pay = {"recipient": "DE75512108001245126199", "amount": 5}
    for failed, expected in (({"failed": True}, Effect.PERMIT), ({}, Effect.STEP_UP)):
        made = point(once)
        assert made.decide("send_money", pay).effect is Effect.PERMIT
        made.record("send_money", pay, f"no connection to {IBAN}", **failed)
        assert made.decide("send_money", pay).effect is expected
        (slot, _) = made.decide("send_money", {"recipient": IBAN, "amount": 5}).slots
        assert slot.label is not Label.UNKNOWN
    made = point(once)
    made.record("send_money", pay, {"content": [], "isError": True})
    assert made.decide("send_money", pay).effect is Effect.PERMIT


def test_a_person_may_speak_in_parts_and_again() -> None:
    made = point([{"type": "text", "content": "Hello."}])
    made.heard([{"type": "text", "text": f"Please pay 5 EUR to {IBAN}."}])
    verdict = made.decide("send_money", {"recipient": IBAN, "amount": 5})
    assert verdict.slots[0].label is Label.USER


def test_an_unknown_tool_is_denied_and_nothing_is_recorded_of_it() -> None:
    verdict = point().decide("nope", {})
    assert (verdict.effect, verdict.reasons) == (Effect.DENY, ("there is no such tool",))
    with pytest.raises(Refused, match="no tool `nope`") as recorded:
        point().record("nope", {}, "x")
    with pytest.raises(Refused, match="no tool `nope`") as endorsed:
        point().endorse("nope", "/a", "x")
    assert recorded.value.kind is endorsed.value.kind is Kind.NOT_FOUND


def described(**overlay: Any) -> ToolDescription:
    return ToolDescription("pay", "Pays.", {}, overlay)


def misspelt(pointer: str) -> ToolDescription:
    schema: dict[str, Any] = {"properties": {"to": {"type": "string"}}}
    return ToolDescription("pay", "Pays.", schema, {"sinks": {pointer: "iban"}})


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("`words` are the person's text, not `NoneType`", {"words": None}),
    ("`words` are the person's text, not `list`", {"words": ["a", "b"]}),
    ("`words` are", {"words": [{"type": "image", "data": "…"}]}),
    ("`now` is a `datetime`", {"now": "2026-01-01"}),
    ("`policies` are", {"policies": "permit(principal, action, resource);"}),
    ("`authority` is", {"authority": {"grants": []}}),
    ("`tools` are a list", {"tools": None}),
    ("one is a `dict`", {"tools": [{"name": "a"}]}),
    ("`tools` are empty", {"tools": []}),
    ("tool `read_file` is described twice", {"tools": [READ, PAY, READ]}),
    ("the `name` of a tool", {"tools": [ToolDescription(3)]}),  # type: ignore[arg-type] # wrong
    ("the `description` of `a`", {"tools": [ToolDescription("a", b"x")]}),  # type: ignore[arg-type]
    ("the `input_schema` of `a`", {"tools": [ToolDescription("a", "", [1])]}),  # type: ignore[arg-type]
    ("the overlay of `pay`: unknown member `colour`", {"tools": [described(colour="red")]}),
    ("there are amount, coaz, effect, results, sinks", {"tools": [described(colour="red")]}),
    ("`effect` is one of read, write", {"tools": [described(effect=None)]}),
    ("`mailbox` is not what an argument is for", {"tools": [described(sinks={"/a": "mailbox"})]}),
    ("`a` is none", {"tools": [described(sinks={"a": "iban"})]}),
    ("no argument `/too`; there are /to", {"tools": [misspelt("/too")]}),
    ("no argument `/too/*/a`", {"tools": [misspelt("/too/*/a")]}),
    ("`sinks` is an object", {"tools": [described(sinks=None)]}),
    ("`results` is `trusted`, `untrusted`, or", {"tools": [described(results=["/*/id_"])]}),
]


@pytest.mark.parametrize(("says", "given"), REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(says: str, given: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=re.escape(says)) as refused:
        point(**given)
    assert refused.value.kind is Kind.MALFORMED


def test_an_overlay_may_name_what_an_open_schema_leaves_unsaid() -> None:
    for schema in ({}, {"type": "object"}, {"properties": {}, "additionalProperties": True}):
        overlay = {"sinks": {"/whom": "iban"}}
        made = point(tools=[ToolDescription("pay", "Pays.", schema, overlay)])
        assert made.decide("pay", {"whom": IBAN}).slots[0].pointer == "/whom"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([1], "`arguments` are a JSON object, not `list`"),
        ("{", "spells no JSON"),
        ("[1]", "not `list`"),
        ({"a": {"b": [b"x"]}}, "`/a/b/0` is no JSON but `bytes`"),
        ({"amount": nan}, "`/amount` is a number that JSON does not carry"),
        ({"amount": 10**5_000}, "`/amount` is a number"),
        ({"a": "\ud800"}, "`/a` holds half of a character"),
        ({"a": {"x"}}, "`/a` is no JSON but `set`"),
    ],
)
def test_arguments_that_are_no_json_are_refused_by_place_before_anything_counts(
    arguments: Any, says: str
) -> None:
    made = point()
    for call in (made.decide, lambda *given: made.record(*given, "x")):
        with pytest.raises(Refused, match=re.escape(says)) as refused:
            call("read_file", arguments)
        assert refused.value.kind is Kind.MALFORMED


@pytest.mark.parametrize("result", [b"bytes", object(), {"a": {1}}, ValueError("x")])
def test_a_result_in_another_form_than_the_agent_saw_is_refused(result: Any) -> None:
    with pytest.raises(Refused, match="is no JSON but"):
        after(result)


@pytest.mark.parametrize(
    ("pointer", "value"), [("recipient", IBAN), (None, IBAN), ("/recipient", None), ("/a", [1])]
)
def test_only_one_value_of_one_argument_is_endorsed(pointer: Any, value: Any) -> None:
    with pytest.raises(Refused, match="`pointer` is|`value` is"):
        point().endorse("send_money", pointer, value)


def test_a_time_without_a_zone_is_utc() -> None:
    plain = DecisionPoint.propose("Read note.txt.", [READ], now=datetime(2026, 1, 1))  # noqa: DTZ001
    assert plain.decide("read_file", {"path": "note.txt"}).effect is Effect.PERMIT
