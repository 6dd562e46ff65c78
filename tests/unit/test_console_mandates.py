"""The mandate form: what it asks for is what is put in words, and what is checked."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfor.console.forms import Form
from actfor.console.mandates import EFFECTS, Filled
from actfor.errors import Kind, Refused
from actfor.wire import rar
from actfor.wire.rar import Authority, Budget, Call, Grant, Money, explain

FILLED = Filled(
    goal="pay October's invoices",
    agent="bookkeeper",
    hours="2",
    tools=("bank/pay", "bank/list", "mail/send"),
    effects=("read", "pay"),
    constraints="pay /amount range 0 500.00\npay /to pattern *@example.com\n/note max_length 80",
    calls="40",
    amount="900.00 eur",
)


def test_the_form_becomes_the_authority_it_describes() -> None:
    authority = FILLED.authority()
    assert authority.budget == Budget(40, Money.parse("900.00", "EUR"))
    by_tools = {grant.tools: grant for grant in authority.grants}
    assert by_tools.keys() == {("pay",), ("list",), ("send",)}
    pay = by_tools[("pay",)]
    assert (pay.server, pay.effects, pay.approval) == ("bank", ("pay", "read"), "policy")
    assert {name: limit.to_json() for name, limit in pay.args.items()} == {
        "/amount": {"range": {"min": "0", "max": "500"}},
        "/note": {"max_length": 80},
        "/to": {"pattern": "*@example.com"},
    }
    assert list(by_tools[("send",)].args) == ["/note"]
    money = Money.parse("499.00", "EUR")
    call = Call(
        "bank", "pay", "pay", {"amount": "499.00", "to": "a@example.com", "note": ""}, money
    )
    assert authority.covers(call).covered
    assert not authority.covers(
        replace(call, arguments={**call.arguments, "to": "a@evil.test"})
    ).covered


def test_the_words_say_all_of_it() -> None:
    words = "\n".join(explain(FILLED.authority(), four_eyes=True))
    for said in (
        "On bank: pay, to read or pay; /amount must be from 0 to 500",
        "/to must look like *@example.com",
        "/note must not be longer than 80",
        "On mail: send",
        "a person is asked when policy says so",
        "In all: at most 40 calls.",
        "In all: at most 900.00 EUR.",
        "Whoever approves a call is not the person it is made for.",
        "It may not pass this on to other agents.",
        "Everything else is denied.",
    ):
        assert said in words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('/a is "3"', '/a must be exactly "3"'),
        ("/a is 3", "/a must be exactly 3"),
        ("/a is open", '/a must be exactly "open"'),
        ("/a enum open, closed", '/a must be exactly "open" or "closed"'),
        ("/a prefix /srv/x", "/a must be /srv/x or below it"),
        ("/a range 5 -", "/a must be at least 5"),
        ("/a range - 5", "/a must be at most 5"),
        ("/a/b max_length 3", "/a/b must not be longer than 3"),
    ],
)
def test_each_kind_of_limit_has_words(line: str, words: str) -> None:
    assert words in explain(replace(FILLED, constraints=line).authority(), four_eyes=False)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"tools": ()},
        {"tools": ("pay",)},
        {"tools": ("bank/pay pay",)},
        {"tools": ("Bank/pay",)},
        {"effects": ()},
        {"effects": ("everything",)},
        {"constraints": "/amount"},
        {"constraints": "/amount between 1 2"},
        {"constraints": "amount range 1 2"},
        {"constraints": "/amount range 2 1"},
        {"constraints": "/amount range a b"},
        {"constraints": "/amount range - -"},
        {"constraints": "/a is 1\n/a is 2"},
        {"constraints": "other /a is 1"},
        {"constraints": "/a prefix ../x"},
        {"constraints": "/a max_length -1"},
        {"constraints": "/a is \ud800"},
        {"calls": "many"},
        {"calls": "-1"},
        {"calls": "1e9"},
        {"calls": "99999999999"},
        {"amount": "500"},
        {"amount": "500,00 EUR"},
        {"amount": "500.001 EUR"},
        {"amount": "EUR 500"},
        {"amount": "-5 EUR"},
    ],
)
def test_what_cannot_be_understood_is_said_and_not_guessed(changes: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        replace(FILLED, **changes).authority()  # type: ignore[arg-type] # wrong on purpose
    assert refused.value.kind is Kind.MALFORMED
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize("hours", ["", "0", "-1", "nan", "inf", "1e3", "745", "8h", "٨", "1.2.3"])
def test_a_mandate_needs_an_end_in_sight(hours: str) -> None:
    with pytest.raises(Refused):
        replace(FILLED, hours=hours).lifetime()


def test_half_an_hour_can_be_written_both_ways() -> None:
    assert replace(FILLED, hours="0.5").lifetime() == timedelta(minutes=30)
    assert replace(FILLED, hours="0,5").lifetime() == timedelta(minutes=30)


def test_the_review_page_sends_back_just_what_was_filled_in() -> None:
    filled = replace(FILLED, four_eyes=True, approval="always")
    assert Filled.read(Form(filled.fields())) == filled


def test_every_effect_has_words() -> None:
    assert {key for key, _ in EFFECTS} == rar.EFFECTS


_NAMES = st.sampled_from(["a", "b", "crm", "bank-1"])


@given(
    st.lists(st.tuples(_NAMES, _NAMES), min_size=1, max_size=6),
    st.sets(st.sampled_from(sorted(rar.EFFECTS)), min_size=1, max_size=4),
)
def test_only_chosen_tools_and_effects_are_ever_covered(
    tools: list[tuple[str, str]], effects: set[str]
) -> None:
    filled = Filled(tools=tuple(f"{s}/{t}" for s, t in tools), effects=tuple(effects))
    authority = filled.authority()
    for server in ("a", "b", "crm", "bank-1"):
        for tool in ("a", "b", "crm", "bank-1"):
            for effect in rar.EFFECTS:
                covered = authority.covers(Call(server, tool, effect)).covered
                assert covered == ((server, tool) in tools and effect in effects)


def test_any_tool_is_said_to_be_any_tool() -> None:
    words = explain(Authority((Grant("crm", ("*",), ("read",)),)), four_eyes=False)
    assert words[0].startswith("On crm: any tool, to read")
