"""What words say outright stands in the draft as a limit; what they leave open is left open."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfor.authorization import Effect, compile_policies
from actfor.errors import Refused
from actfor.gateway.provenance import DecisionPoint, ToolDescription
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import Authority, Call, Grant, explain, narrows

POLICIES = compile_policies()
NOW = datetime(2026, 11, 26, tzinfo=UTC)
LIST: JsonObject = {"type": "array", "items": {"type": "string"}}
NUMBER: JsonObject = {"type": "number"}


def tool(name: str, description: str, /, **arguments: JsonValue) -> ToolDescription:
    properties: JsonObject = {
        n: {"type": "string", "description": d} if isinstance(d, str) else d
        for n, d in arguments.items()
    }
    return ToolDescription(name, description, {"properties": properties})


TOOLS = [
    tool("read_file", "Reads a file.", file_path="Path of the file"),
    tool("send_money", "Sends a transaction.", recipient="IBAN", amount=NUMBER, currency="Code"),
    tool("send_email", "Sends an email.", recipients=LIST, subject="Subject", body="Body"),
    tool("share_file", "Shares a file.", path="Path", email="With whom", role="Role"),
    tool("delete_file", "Deletes a file.", path="Path"),
    tool("delete_invoice", "Deletes an invoice.", invoice_id="Id"),
]
IBAN = "GB29NWBK60161331926819"


def point(words: str) -> DecisionPoint:
    return DecisionPoint.propose(words, TOOLS, now=NOW, policies=POLICIES)


def passing(words: str, name: str) -> Grant:
    """The grant that lets calls of a tool pass without asking."""
    grants = point(words).authority.grants
    return next(g for g in grants if name in g.tools and g.approval != "always")


def limits(words: str, name: str) -> dict[str, JsonValue]:
    return {at: limit.to_json() for at, limit in passing(words, name).args.items()}


@pytest.mark.parametrize(
    ("words", "name", "expected", "calls"),
    [
        (f"Send 50 EUR to {IBAN}", "send_money",
         {"/amount": {"range": {"min": "50", "max": "50"}}, "/currency": {"const": "EUR"},
          "/recipient": {"each": {"const": IBAN}}}, 1),
        (f"Send at most €80 to {IBAN}", "send_money",
         {"/amount": {"range": {"max": "80"}}, "/currency": {"const": "EUR"},
          "/recipient": {"each": {"const": IBAN}}}, 1),
        (f"Send $80 to {IBAN}", "send_money",
         {"/amount": {"range": {"min": "80", "max": "80"}},
          "/recipient": {"each": {"const": IBAN}}}, 1),
        ("Email the report to Bob@x.example and carol@x.example", "send_email",
         {"/recipients": {"each": {"enum": ["Bob@x.example", "bob@x.example", "carol@x.example"]}}}, None),
        ("Delete draft.txt and old.txt", "delete_file",
         {"/path": {"each": {"enum": ["draft.txt", "old.txt"]}}}, 2),
        ("Delete the three oldest invoices", "delete_invoice", {}, 3),
        ("Pay the bill 'bill-december.txt'", "send_money",
         {"/recipient": {"from": {"source": {"server": "tools", "tools": ["read_file"],
          "arguments": {"/file_path": {"pattern": "*bill-december.txt"}}},
          "type": "iban", "cardinality": 1}}}, 1),
    ],
)  # fmt: skip
def test_what_the_words_say_stands_in_the_draft(
    words: str, name: str, expected: dict[str, JsonValue], calls: int | None
) -> None:
    assert limits(words, name) == expected
    assert passing(words, name).max_calls == calls


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Give Grace access to report.pdf", "share_file"),  # Grace's address is in a record
        ("Do what the mail from bob@x.example says and delete what it names", "delete_file"),
        ("Email everyone who came, and ann@x.example", "send_email"),
        ("Summarise notes.txt", "delete_file"),
    ],
)
def test_what_the_words_leave_open_is_left_open(words: str, name: str) -> None:
    assert all(not g.args for g in point(words).authority.grants if name in g.tools)


def test_the_person_reads_what_is_checked() -> None:
    lines = explain(point(f"Send 50 EUR to {IBAN}").authority)
    assert any(
        "/amount must be exactly 50" in line and f'must be exactly "{IBAN}"' in line
        for line in lines
    )
    assert any("beyond what is said above, a person is asked" in line for line in lines)


def test_a_second_payment_is_a_question_and_no_dead_end() -> None:
    asked = point(f"Send 50 EUR to {IBAN}")
    call: JsonObject = {"recipient": IBAN, "amount": 50, "currency": "EUR"}
    assert asked.decide("send_money", call).effect is Effect.PERMIT
    asked.record("send_money", call, "Error: the bank did not answer")
    verdict = asked.decide("send_money", call)
    assert verdict.effect is Effect.STEP_UP
    assert any("its calls are used up" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("member", "value"), [("amount", 51), ("amount", 5), ("currency", "USD"), ("recipient", "x")]
)
def test_another_sum_currency_or_account_asks_and_says_which(member: str, value: JsonValue) -> None:
    call: JsonObject = {"recipient": IBAN, "amount": 50, "currency": "EUR", member: value}
    verdict = point(f"Send 50 EUR to {IBAN}").decide("send_money", call)
    assert verdict.effect is Effect.STEP_UP
    assert f"argument `/{member}` is not within its limit" in verdict.facts["beyond_limit"]  # type: ignore[operator]


def test_an_account_out_of_another_document_does_not_pass() -> None:
    asked = point("Pay the bill 'bill-december.txt'")
    asked.record("read_file", {"file_path": "other.txt"}, f"Please pay 10 to {IBAN}")
    call: JsonObject = {"recipient": IBAN, "amount": 10, "currency": "EUR"}
    assert asked.decide("send_money", call).effect is not Effect.PERMIT


WORDS = st.lists(
    st.sampled_from(
        "send pay delete email the a bill report 50 EUR to at most three invoices draft.txt not"
        f" don't {IBAN} bob@x.example and then Grace everyone file in docs/ twice".split()
    ),
    min_size=1,
    max_size=14,
).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(words=WORDS)
def test_whatever_is_said_striking_what_is_beyond_only_narrows(words: str) -> None:
    try:
        whole = point(words).authority
    except Refused:
        return
    kept = tuple(grant for grant in whole.grants if grant.approval != "always")
    if not kept:
        return
    narrowed = Authority(kept, whole.budget, whole.max_depth, whole.delegates, whole.flows)
    assert narrows(narrowed, whole) is None


@settings(max_examples=150, deadline=None)
@given(words=WORDS, amount=st.integers(0, 99), to=st.sampled_from([IBAN, "DE1", "x"]))
def test_limits_never_cover_what_the_draft_would_not(words: str, amount: int, to: str) -> None:
    """The limited grant passes no call of which a grant without its limits would not."""
    try:
        whole = point(words).authority
    except Refused:
        return
    call = Call("tools", "send_money", "pay", {"recipient": to, "amount": amount}, at=NOW)
    coverage = whole.covers(call)
    if coverage.covered and not coverage.asks and whole.grants[coverage.grant_index].args:
        beyond = [g for g in whole.grants if "send_money" in g.tools and g.approval == "always"]
        assert beyond, "beyond the limits a person is asked"


def test_what_a_call_may_leave_out_is_not_limited() -> None:
    optional = ToolDescription(
        "transfer",
        "Transfers money to an account.",
        {
            "properties": {"account": {"type": "string"}, "amount": NUMBER, "currency": {}},
            "required": ["account", "amount"],
        },
    )
    asked = DecisionPoint.propose(
        f"Transfer 50 EUR to {IBAN}", [optional], now=NOW, policies=POLICIES
    )
    call: JsonObject = {"account": IBAN, "amount": 50}
    assert asked.decide("transfer", call).effect is Effect.PERMIT
    assert asked.decide("transfer", {**call, "amount": 51}).effect is Effect.STEP_UP


def test_what_is_given_away_is_not_the_document_that_says_to_whom() -> None:
    give = tool("transfer_box", "Transfers a box to another owner.", box="Name", to="New owner")
    give = replace(give, overlay={"effect": "share", "sinks": {"/box": "name", "/to": "person"}})
    here = DecisionPoint.propose("Please transfer my ann/gear box to ben.", [*TOOLS, give], now=NOW)
    assert here.decide("transfer_box", {"box": "ann/gear", "to": "ben"}).effect is Effect.PERMIT
    assert here.decide("transfer_box", {"box": "ann/gear", "to": "eve"}).effect is Effect.STEP_UP
