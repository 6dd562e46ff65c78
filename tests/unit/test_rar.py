"""Authority: what it covers, and that nothing derived from it ever covers more."""

import json
import re
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as _settings
from hypothesis import strategies as st

from actfor.authorization.model import ToolEffect
from actfor.errors import Kind, Refused
from actfor.wire.canonical import canonical
from actfor.wire.rar import (
    EFFECTS,
    FLOW_LABELS,
    SINKS,
    AllOf,
    Amount,
    AnyOf,
    Authority,
    Budget,
    Call,
    Constraint,
    Dates,
    Domain,
    Each,
    Flow,
    From,
    Grant,
    MaxLength,
    Money,
    OneOf,
    Origin,
    Pattern,
    Period,
    Prefix,
    Range,
    Rate,
    Source,
    TimeWindow,
    Typed,
    Where,
    Windowed,
    authority_from_draft,
    authority_hash,
    constraint_from_json,
    constraint_narrows,
    draft_of,
    explain,
    flow_decision,
    from_authorization_details,
    intent_hash,
    narrows,
    origin,
    taken,
    to_authorization_details,
    window_from_json,
)


# Drawing whole authorities is slow on a busy machine, which is not what these tests are about.
def settings(max_examples: int) -> Any:
    slow = [HealthCheck.too_slow]
    return _settings(max_examples=max_examples, deadline=None, suppress_health_check=slow)


RESOURCES = "https://gw.example.com/mcp"


def euro(text: str) -> Money:
    return Money.parse(text, "EUR")


PAY = Grant(
    "bank",
    ("pay",),
    ("pay",),
    {"/to": OneOf(("DE02", "DE03")), "/note": MaxLength(20)},
    max_calls=3,
    amount=euro("500.00"),
)
READ = Grant("crm", ("*",), ("read",))
MANDATE = Authority((PAY, READ), Budget(40, euro("900.00")), 1)


FIVE_HUNDRED = euro("500")


def pay(to: str = "DE02", note: str = "rent", amount: Money | None = FIVE_HUNDRED) -> Call:
    return Call("bank", "pay", "pay", {"to": to, "note": note}, amount)


# -- published vectors (draft-mcguinness-oauth-mission, test vectors) --------------------------


def test_t_int_1_the_published_anchors_are_reproduced() -> None:
    issuer = "https://as.example.com"
    intent = {
        "goal": "Reconcile Q3 invoices",
        "resources": ["https://erp.example.com"],
        "expires_at": "2026-12-31T23:59:59Z",
    }
    authority_set = [
        {
            "type": "mission_resource_access",
            "resource": "https://erp.example.com",
            "actions": ["invoices.read"],
        },
        {
            "type": "mission_resource_access",
            "resource": "https://erp.example.com",
            "actions": ["journal-entries.write"],
            "constraints": {"max_amount": {"amount": "500.00", "currency": "USD"}},
        },
    ]
    assert intent_hash(issuer, intent) == "sha-256:6mIFoCz79uCHNzKLfBpBwqFjoFXdpmpuc65486IqimQ"
    assert (
        authority_hash(issuer, authority_set)
        == "sha-256:vUCCfjGulit9u0qJ0Z6pQSNerZtXMqRlfJNCr4PzLro"
    )
    assert intent_hash(issuer, {"x": 1}) != authority_hash(issuer, {"x": 1})


def test_effects_are_those_that_policies_know() -> None:
    assert {effect.value for effect in ToolEffect} == EFFECTS


# -- coverage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (pay(), None),
        (pay(amount=euro("0")), None),
        (Call("crm", "anything", "read"), None),
        (pay(amount=euro("500.01")), "above 500.00 EUR"),
        (pay(amount=Money.parse("1.00", "USD")), "budget is in EUR"),
        (pay(amount=None), "not known"),
        (pay(to="DE99"), "`/to` is not within"),
        (pay(note="x" * 21), "`/note` is not within"),
        (Call("bank", "pay", "pay", {"to": "DE02"}, euro("1")), "`/note` is limited and missing"),
        (Call("bank", "refund", "pay", {}, euro("1")), "tool `refund`"),
        (Call("bank", "pay", "write", {}, euro("1")), "effect `write`"),
        (Call("crm", "anything", "delete"), "effect `delete`"),
        (Call("hr", "anything", "read"), "server `hr`"),
        (Call("bank", "Pay", "pay", {}, euro("1")), "tool `Pay`"),
        (Call("bank", "pay\n", "pay", {}, euro("1")), r"tool `pay\n`"),
        (Call("bank", "*", "pay", {}, euro("1")), "tool `*`"),
    ],
)
def test_a_call_is_covered_or_the_closest_grant_says_why_not(
    call: Call, reason: str | None
) -> None:
    coverage = MANDATE.covers(call)
    assert coverage.covered is (reason is None)
    assert reason is None or reason in coverage.reason
    assert "\n" not in coverage.reason


def test_of_two_grants_that_cover_the_one_that_need_not_ask_counts() -> None:
    asking = replace(READ, approval="always")
    assert Authority((asking, READ)).covers(Call("crm", "x", "read")).grant_index == 1
    assert Authority((asking,)).covers(Call("crm", "x", "read")).grant_index == 0


@pytest.mark.parametrize(
    ("constraint", "yes", "no"),
    [
        ({"const": 1}, [1, 1.0], [True, "1", None, [1], 2]),
        ({"const": None}, [None], [0, False, "", [], {}]),
        ({"const": {"a": [1]}}, [{"a": [1]}, {"a": [1.0]}], [{"a": [2]}, {"a": [1], "b": 2}]),
        ({"enum": ["a", "b"]}, ["a", "b"], ["A", "c", ["a"], "a ", "\u0430"]),
        (
            {"pattern": "*@example.com"},
            ["ada@example.com", "@example.com", ["a@example.com", "b@example.com"]],
            [
                "ada@example.com.evil.org",
                "ada@EXAMPLE.com",
                "evil@x.org\n@example.com",
                "a@example.com\u2028",
                ["a@example.com", "a@evil.org"],
                [],
                [["a@example.com"]],
                7,
                None,
            ],
        ),
        ({"pattern": "a*b*c"}, ["abc", "aXbYc", "abbcc", "abcabc"], ["ab", "acb", "xabc", "abcx"]),
        ({"pattern": "a*a"}, ["aa", "aba"], ["a", "ab"]),
        ({"pattern": "?[x]"}, ["?[x]"], ["ax", "?x"]),
        ({"pattern": "*"}, ["", "anything"], ["\x00", "\x1b[2J", 1]),
        (
            {"range": {"min": "-1.5", "max": 10}},
            [0, -1.5, 10, 10.0, "10.00", "0", [1, 2]],
            [10.01, -2, "11", "1e1", "0x1", " 5", "٣", "05", True, None, [1, 99], "", 1e400],
        ),
        ({"range": {"max": "500.00"}}, [-5, "500.00"], ["500.01"]),
        (
            {"prefix": "/srv/data"},
            ["/srv/data", "/srv/data/", "/srv/data/x/y.txt", ["/srv/data/a", "/srv/data/b"]],
            [
                "/srv/database",
                "/srv",
                "/srv/data/../etc/passwd",
                "/srv/data/..",
                "/srv/data/./x",
                "/srv/data//x",
                "/srv/data/%2e%2E/x",
                "/srv/data/x%00",
                "/srv/data\\..\\x",
                "/srv/data/x\0",
                "srv/data/x",
                "~/srv/data",
                "file:///srv/data/x",
                ["/srv/data/a", "/etc/b"],
                "",
                1,
            ],
        ),
        ({"prefix": "src"}, ["src", "src/a.py"], ["/src/a.py", "src2", "./src/a.py", "src/../x"]),
        ({"max_length": 3}, ["abc", "", [1, 2, 3]], ["abcd", [1, 2, 3, 4], 5, None, {"a": 1}]),
        (
            {"domain": ["example.com"]},
            [
                "ada@example.com",
                "ada@EXAMPLE.com.",
                "https://example.com",
                "https://example.com:8443/a?b=c@d#e",
                "example.com",
                ["a@example.com", "https://example.com/"],
            ],
            [
                "ada@sub.example.com",
                "ada@example.com.evil.org",
                "ada@evil.org\n@example.com",
                "example.com@evil.org",
                "ada@evil.org,bob@example.com",
                "Ada <ada@example.com>",
                '"a@example.com"@evil.org',
                "ada@evil.org@example.com",
                "https://example.com@evil.org/",
                "https://ada:pw@example.com/",
                "https://example.com\\@evil.org/",
                "https://evil.org/example.com",
                "https://evil.org?example.com",
                "https:/example.com",
                "https://ex%61mple.com/",
                "//example.com/x",
                "javascript:alert(1)//example.com",
                "mailto:ada@example.com",
                "ada@ex\u0430mple.com",
                "ada@\uff45xample.com",
                "ada@example\u3002com",
                " ada@example.com",
                "ada@example.com ",
                "@example.com",
                "ada@",
                [],
                ["a@example.com", "a@evil.org"],
                None,
                7,
            ],
        ),
        (
            {"domain": ["*.example.com", "xn--bcher-kva.example"]},
            ["a@x.example.com", "https://a.b.example.com/", "a@xn--bcher-kva.example"],
            ["a@example.com", "a@xexample.com", "a@b\u00fccher.example", "https://.example.com/"],
        ),
        (
            {"date": {"min": "2026-11-01", "max": "2026-11-30"}},
            [
                "2026-11-01",
                "2026-11-30",
                "2026-11-30T23:59:59-08:00",
                "2026-11-15 10:00",
                "2026-11-15T10:00:00.5Z",
                ["2026-11-02", "2026-11-03"],
            ],
            [
                "2026-12-01",
                "2026-10-31T23:59:59Z",
                "2026-11-31",
                "2026-11-15T25:00",
                "2026-11-15x",
                "2026-W47-1",
                "20261115",
                "15.11.2026",
                "\u0662\u0660\u0662\u0666-11-15",
                ["2026-11-02", "2027-01-01"],
                20261115,
                None,
            ],
        ),
        (
            {"amount": {"max": "500.00", "currency": "EUR"}},
            [
                "500.00 EUR",
                "EUR 12",
                {"amount": "499.99", "currency": "EUR"},
                {"value": 5, "currency": "EUR"},
                ["1 EUR", "2 EUR"],
            ],
            [
                "500.01 EUR",
                "5 USD",
                "-5 EUR",
                "5",
                5,
                "5  EUR",
                "5 EUR EUR",
                "1e2 EUR",
                "0.001 EUR",
                {"amount": "5", "value": "900", "currency": "EUR"},
                {"amount": "5"},
                ["1 EUR", "900 EUR"],
                [],
            ],
        ),
        (
            {"type": "iban"},
            ["DE02120300000000202051", "de02 1203 0000 0000 2020 51"],
            ["DE02", "DE0212030000000020205\u0661", "x", "DE02120300000000202051; x", 7, []],
        ),
        ({"type": "email"}, ["a@b.example"], ["b.example", "https://a@b.example", "a@b, c@d"]),
        ({"type": "url"}, ["https://a.example/x"], ["a.example", "javascript:x", "//a.example"]),
        ({"type": "number"}, [1, "1.5"], ["x", True, "1,5"]),
        (
            {"each": {"any": [{"const": "a"}, {"domain": ["example.com"]}]}},
            ["a", ["a"], ["a", "x@example.com"]],
            ["b", [], ["a", "b"], ["a", "x@evil.org"]],
        ),
        ({"all": [{"pattern": "a*"}, {"max_length": 3}]}, ["a", "abc"], ["abcd", "b", 7]),
        ({"any": [{"const": 1}, {"pattern": "a*"}]}, [1, "ab"], [2, "b"]),
        ({"from": {"source": {"label": "user"}, "type": "text", "cardinality": 1}}, [], ["a", []]),
    ],
)
def test_a_constraint_says_what_an_argument_may_be(
    constraint: dict[str, Any], yes: list[Any], no: list[Any]
) -> None:
    parsed = constraint_from_json(constraint)
    assert [value for value in yes if not parsed.matches(value)] == []
    assert [value for value in no if _matches(parsed, value)] == []
    assert constraint_from_json(parsed.to_json()) == parsed


def _matches(constraint: Constraint, value: Any) -> bool:
    try:
        return constraint.matches(value)
    except Refused:
        return False


@pytest.mark.parametrize(
    "constraint",
    [
        {},
        {"regex": "a+"},
        {"const": 1, "enum": [1]},
        {"enum": []},
        {"enum": "abc"},
        {"enum": [1] * 65},
        {"pattern": ""},
        {"pattern": 7},
        {"pattern": "a\nb"},
        {"pattern": "x" * 1025},
        {"range": {}},
        {"range": {"min": 2, "max": 1}},
        {"range": {"min": "1e5"}},
        {"range": {"min": True}},
        {"range": {"above": 1}},
        {"range": 5},
        {"prefix": ""},
        {"prefix": "/"},
        {"prefix": "/a/"},
        {"prefix": "/a/../b"},
        {"prefix": "~/x"},
        {"max_length": -1},
        {"max_length": True},
        {"max_length": 1.0},
        {"domain": []},
        {"domain": "example.com"},
        {"domain": ["ex\u0430mple.com"]},
        {"domain": ["*.com"]},
        {"domain": ["*"]},
        {"domain": ["a..b"]},
        {"domain": ["https://example.com"]},
        {"domain": ["a.*.example.com"]},
        {"domain": [f"a{n}.example" for n in range(33)]},
        {"date": {}},
        {"date": {"min": "2026-02-30"}},
        {"date": {"min": "2026-11-01T00:00:00Z"}},
        {"date": {"min": "2026-11-02", "max": "2026-11-01"}},
        {"amount": {"max": "5"}},
        {"amount": {"currency": "EUR"}},
        {"amount": {"max": "0.001", "currency": "EUR"}},
        {"amount": {"max": "5", "currency": "eur"}},
        {"type": "regex"},
        {"type": ["email"]},
        {"any": []},
        {"any": [{"const": 1}] * 9},
        {"all": [{"regex": "a"}]},
        {"each": {"each": {"each": {"each": {"const": 1}}}}},
        {"from": {"source": {}, "type": "iban", "cardinality": 1}},
        {"from": {"source": {"label": "root"}, "type": "iban", "cardinality": 1}},
        {"from": {"source": {"tools": ["t"]}, "type": "iban", "cardinality": 1}},
        {"from": {"source": {"label": "user", "x": 1}, "type": "iban", "cardinality": 1}},
        {"from": {"source": {"label": "user"}, "type": "iban"}},
        {"from": {"source": {"label": "user"}, "type": "iban", "cardinality": 0}},
        {"from": {"source": {"label": "user"}, "type": "iban", "cardinality": True}},
        {"from": {"source": {"label": "user"}, "type": "iban", "cardinality": 65}},
        {"from": {"source": {"label": "user"}, "type": "anything", "cardinality": 1}},
        {"from": "user"},
        None,
        "x",
        [],
    ],
)
def test_a_constraint_that_we_cannot_enforce_is_refused(constraint: Any) -> None:
    with pytest.raises(Refused) as caught:
        constraint_from_json(constraint)
    assert caught.value.kind is Kind.MALFORMED


def test_a_nested_argument_is_found_by_its_pointer() -> None:
    grant = Grant("s", ("t",), ("write",), {"/to/0/a~1b~0": OneOf(("x",))})
    authority = Authority((grant,))
    assert authority.covers(Call("s", "t", "write", {"to": [{"a/b~": "x"}]})).covered
    others: list[dict[str, Any]] = [
        {"to": [{"a/b~": "y"}]},
        {"to": {"0": {"a/b~": "y"}}},
        {"to": []},
        {"to": "x"},
        {},
        {"to": [{}, {"a/b~": "x"}]},
    ]
    for arguments in others:
        assert not authority.covers(Call("s", "t", "write", arguments)).covered


def test_matching_is_linear_in_what_an_attacker_sends() -> None:
    began = time.perf_counter()
    Pattern("*a" * 100 + "*b").matches("a" * 1_000_000)
    Prefix("/a").matches("/a" * 500_000)
    Range(Decimal(0), Decimal(1)).matches("9" * 1_000_000)
    assert time.perf_counter() - began < 0.5


# -- money -------------------------------------------------------------------------------------


def test_equal_amounts_are_equal_however_they_are_written() -> None:
    assert euro("500.0") == euro("500.00") == euro("500")
    assert (euro("500.0").minor, euro("500").text) == (50_000, "500.00")
    assert (Money.parse("500", "JPY").minor, str(Money.parse("1.5", "KWD"))) == (500, "1.500 KWD")
    assert Money.of_minor(50_001, "EUR") == euro("500.01")
    assert not euro("1").within(Money.parse("9", "USD"))


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("-1", "EUR"),
        ("1e3", "EUR"),
        ("0.001", "EUR"),
        ("1.5", "JPY"),
        ("NaN", "EUR"),
        ("Infinity", "EUR"),
        ("١", "EUR"),
        ("1,00", "EUR"),
        ("", "EUR"),
        (" 1", "EUR"),
        ("1" * 20, "EUR"),
        (5, "EUR"),
        (None, "EUR"),
        ("1", "eur"),
        ("1", "EURO"),
        ("1", None),
    ],
)
def test_what_is_no_exact_amount_is_refused(amount: Any, currency: Any) -> None:
    with pytest.raises(Refused):
        Money.parse(amount, currency)


@given(st.integers(0, 10**14), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_minor_units_round_trip(minor: int, currency: str) -> None:
    money = Money.of_minor(minor, currency)
    assert money.minor == minor
    assert Money.parse(money.text, currency) == money


# -- narrowing ---------------------------------------------------------------------------------

MORNINGS = TimeWindow(None, datetime(2027, 1, 1, tzinfo=UTC), ("mon", "tue"), 480, 720)
OVER_TIME = replace(
    MANDATE,
    grants=(
        replace(PAY, rates=(Rate(2, Period.DAY),), window=MORNINGS, ask_above=euro("100")),
        replace(READ, ask_new_recipient=True),
    ),
    budget=replace(
        MANDATE.budget,
        recipients=3,
        windows=(Windowed(Period.DAY, 10, euro("300"), 2), Windowed(Period.HOUR, 4)),
    ),
    delegates=("a", "b"),
    flows=(Flow("untrusted", "recipient", "deny"), Flow("secret", "*", "step-up")),
)


def _pay(**changes: Any) -> Authority:
    grants = (replace(OVER_TIME.grants[0], **changes), *OVER_TIME.grants[1:])
    return replace(OVER_TIME, grants=grants)


def _budget(**changes: Any) -> Authority:
    return replace(OVER_TIME, budget=replace(OVER_TIME.budget, **changes))


WIDENED_OVER_TIME: list[tuple[str, Authority]] = [
    ("rate", _pay(rates=(Rate(3, Period.DAY),))),
    ("rate over less time", _pay(rates=(Rate(2, Period.HOUR),))),
    ("rate dropped", _pay(rates=())),
    ("window dropped", _pay(window=None)),
    ("window hours", _pay(window=replace(MORNINGS, end=721))),
    ("window days", _pay(window=replace(MORNINGS, days=("mon", "wed")))),
    ("window offset", _pay(window=replace(MORNINGS, offset=60))),
    ("window end", _pay(window=replace(MORNINGS, not_after=None))),
    ("asking above", _pay(ask_above=euro("100.01"))),
    ("asking above dropped", _pay(ask_above=None)),
    ("asking above in another currency", _pay(ask_above=Money.parse("1", "USD"))),
    (
        "asking of new recipients dropped",
        replace(OVER_TIME, grants=(replace(OVER_TIME.grants[1], ask_new_recipient=False),)),
    ),
    ("recipients", _budget(recipients=4)),
    ("recipients dropped", _budget(recipients=None)),
    ("windows dropped", _budget(windows=())),
    ("window's calls", _budget(windows=(Windowed(Period.DAY, 11, euro("300"), 2),))),
    ("window's amount", _budget(windows=(Windowed(Period.DAY, 4, euro("301"), 2),))),
    ("window's recipients", _budget(windows=(Windowed(Period.DAY, 4, euro("300"), 3),))),
    ("window over less time", _budget(windows=(Windowed(Period.HOUR, 4, euro("300"), 2),))),
    ("delegates", replace(OVER_TIME, delegates=("a", "c"))),
    ("delegates dropped", replace(OVER_TIME, delegates=None)),
    ("flows dropped", replace(OVER_TIME, flows=())),
    ("flow softened", replace(OVER_TIME, flows=(Flow("untrusted", "recipient", "step-up"),))),
    ("flow permitted", replace(OVER_TIME, flows=(*OVER_TIME.flows, Flow("user", "*", "permit")))),
]


@pytest.mark.parametrize(
    ("_what", "wider"), WIDENED_OVER_TIME, ids=[name for name, _ in WIDENED_OVER_TIME]
)
def test_what_is_limited_over_time_is_not_widened_either(_what: str, wider: Authority) -> None:
    assert narrows(OVER_TIME, OVER_TIME) is None
    assert narrows(wider, OVER_TIME)


def test_what_holds_over_a_longer_time_holds_over_a_shorter() -> None:
    tight = Budget(windows=(Windowed(Period.WEEK, 4, euro("300"), 2),))
    assert narrows(
        replace(OVER_TIME, budget=replace(tight, calls=40, amount=euro("300"))), OVER_TIME
    )
    held = replace(tight, calls=4, amount=euro("300"), recipients=2)
    assert narrows(replace(OVER_TIME, budget=held), OVER_TIME) is None
    assert narrows(_pay(rates=(Rate(2, Period.MONTH),)), OVER_TIME) is None
    assert narrows(_pay(rates=(), max_calls=2), OVER_TIME) is None


WIDENED: list[tuple[str, Authority]] = [
    ("tool", replace(MANDATE, grants=(replace(PAY, tools=("pay", "refund")),))),
    ("any tool", replace(MANDATE, grants=(replace(PAY, tools=("*",)),))),
    ("effect", replace(MANDATE, grants=(replace(READ, effects=("read", "write")),))),
    ("server", replace(MANDATE, grants=(replace(READ, server="hr"),))),
    ("argument dropped", replace(MANDATE, grants=(replace(PAY, args={"/to": OneOf(("DE02",))}),))),
    (
        "argument widened",
        replace(MANDATE, grants=(replace(PAY, args={**PAY.args, "/to": Pattern("DE*")}),)),
    ),
    ("calls", replace(MANDATE, grants=(replace(PAY, max_calls=4),))),
    ("calls dropped", replace(MANDATE, grants=(replace(PAY, max_calls=None),))),
    ("amount", replace(MANDATE, grants=(replace(PAY, amount=euro("500.01")),))),
    ("amount dropped", replace(MANDATE, grants=(replace(PAY, amount=None),))),
    ("currency", replace(MANDATE, grants=(replace(PAY, amount=Money.parse("1", "USD")),))),
    ("budget calls", replace(MANDATE, budget=replace(MANDATE.budget, calls=41))),
    ("budget calls dropped", replace(MANDATE, budget=replace(MANDATE.budget, calls=None))),
    ("budget amount", replace(MANDATE, budget=replace(MANDATE.budget, amount=euro("900.01")))),
    ("budget dropped", replace(MANDATE, budget=Budget())),
    ("depth", replace(MANDATE, max_depth=2)),
]


@pytest.mark.parametrize(("_what", "wider"), WIDENED, ids=[name for name, _ in WIDENED])
def test_whatever_is_widened_is_named(_what: str, wider: Authority) -> None:
    assert narrows(wider, MANDATE)


def test_equal_and_narrower_authority_narrows() -> None:
    assert narrows(MANDATE, MANDATE) is None
    narrower = Authority(
        (
            replace(PAY, args={**PAY.args, "/to": OneOf(("DE02",))}, amount=euro("500.0")),
            replace(READ, tools=("read_query",), approval="always"),
        ),
        Budget(1, euro("900.0")),
    )
    assert narrows(narrower, MANDATE) is None
    assert [origin(grant, MANDATE) for grant in narrower.grants] == [0, 1]


def test_an_approval_that_is_required_is_not_lost() -> None:
    asking = Authority((replace(READ, approval="always"),))
    assert "approval" in (narrows(Authority((READ,)), asking) or "")


names = st.sampled_from(["a", "b", "c"])
texts = st.sampled_from(
    [
        *("", "a", "ab", "aab", "b/a", "/a", "/a/b", "/a/b/c", "/a/../b", "ba", "1"),
        *("u@a.example", "u@b.a.example", "https://c.b.a.example/x", "a.example"),
        *("1.50 EUR", "EUR 3", "2026-11-01", "2026-11-03T10:00:00Z", "DE02120300000000202051"),
    ]
)
numbers = st.integers(-2, 4) | st.sampled_from([0.5, 1.0, 2.5])
scalars = texts | numbers | st.booleans() | st.none()
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(names, scalars, max_size=2)
bounds = st.integers(-2, 4).map(Decimal) | st.sampled_from([Decimal("0.5"), Decimal("2.50")])
globs = st.text("ab*/", min_size=1, max_size=4)
kinds = st.sampled_from(["text", "iban", "email", "domain", "number", "amount", "date"])
servers = st.sampled_from(["s", "t"])


@st.composite
def intervals(draw: st.DrawFn, ends: st.SearchStrategy[Any], make: Any) -> Any:
    low, high = draw(st.none() | ends), draw(st.none() | ends)
    assume(low is not None or high is not None)
    assume(low is None or high is None or low <= high)
    return make(low, high)


simple: st.SearchStrategy[Constraint] = st.one_of(
    st.lists(values, min_size=1, max_size=3).map(lambda listed: OneOf(tuple(listed))),
    globs.map(Pattern),
    intervals(bounds, Range),
    intervals(
        st.sampled_from([Decimal(1), Decimal("1.50"), Decimal(4)]), lambda a, b: Amount(a, b, "EUR")
    ),
    intervals(st.sampled_from([date(2026, 11, n) for n in (1, 2, 3)]), Dates),
    st.sampled_from(["/a", "/a/b", "a", "b/a", "/a/b/c"]).map(Prefix),
    st.lists(
        st.sampled_from(["a.example", "*.a.example", "b.a.example", "*.b.a.example"]),
        min_size=1,
        max_size=3,
    ).map(lambda listed: Domain(tuple(listed))),
    kinds.map(Typed),
    st.integers(0, 3).map(MaxLength),
)
sources = st.builds(
    Source,
    label=st.sampled_from(["user", "untrusted"]),
    server=st.just("s"),
    tools=st.lists(names, max_size=2).map(tuple),
    arguments=st.dictionaries(st.just("/a"), globs.map(Pattern), max_size=1),
)
origins = st.builds(
    Origin,
    label=st.sampled_from(["user", "untrusted"]),
    server=servers,
    tool=names,
    arguments=st.dictionaries(names, texts, max_size=1),
)
constraints: st.SearchStrategy[Constraint] = st.recursive(
    simple | st.builds(From, sources, kinds, st.integers(1, 3)),
    lambda inner: st.one_of(
        inner.map(Each),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
    ),
    max_leaves=3,
).filter(lambda made: _depth(made) <= 3)


def _depth(limit: Constraint) -> int:
    match limit:
        case AllOf(parts) | AnyOf(parts):
            return 1 + max(map(_depth, parts))
        case Each(inner):
            return 1 + _depth(inner)
        case From(source=Source(arguments=arguments)):
            return 2 if arguments else 1
    return 0


places = ["/a", "/b", "/a/0", "/a/1", "/b/0", "/a/b", "/a/b/0"]
seen = st.dictionaries(st.sampled_from(places), st.lists(origins, min_size=1, max_size=2))
moneys = st.none() | st.builds(
    Money.of_minor, st.integers(0, 300), st.sampled_from(["EUR", "EUR", "USD"])
)
counts = st.none() | st.integers(0, 3)
instants = st.integers(0, 14 * 24 * 60).map(
    lambda minutes: datetime(2026, 11, 23, tzinfo=UTC) + timedelta(minutes=minutes)
)
windows = st.builds(
    TimeWindow,
    not_before=st.none() | st.sampled_from([datetime(2026, 11, n, tzinfo=UTC) for n in (24, 26)]),
    not_after=st.none() | st.sampled_from([datetime(2026, 11, n, tzinfo=UTC) for n in (28, 30)]),
    days=st.lists(st.sampled_from(["mon", "tue", "sat", "sun"]), min_size=1, unique=True).map(
        tuple
    ),
    start=st.sampled_from([0, 60, 480, 1380]),
    end=st.sampled_from([30, 720, 1440]),
    offset=st.sampled_from([-480, 0, 60, 345]),
)
periods = st.sampled_from([Period.MINUTE, Period.HOUR, Period.DAY])
rates = st.lists(st.builds(Rate, st.integers(0, 3), periods), max_size=2, unique_by=lambda r: r.per)
effects = st.sampled_from(["read", "write", "pay"])
grants = st.builds(
    Grant,
    server=servers,
    tools=st.lists(names, min_size=1, max_size=3) | st.just(["*"]),
    effects=st.lists(effects, min_size=1, max_size=3),
    args=st.dictionaries(st.sampled_from(["/a", "/b", "/a/b", "/a/0"]), constraints, max_size=2),
    max_calls=counts,
    amount=moneys,
    approval=st.sampled_from(["policy", "policy", "always"]),
    rates=rates.map(tuple),
    window=st.none() | windows,
    ask_above=moneys,
    ask_new_recipient=st.booleans(),
    purpose_bound=st.booleans(),
)
budgets = st.builds(
    Budget,
    calls=counts,
    amount=moneys,
    recipients=counts,
    windows=st.lists(
        st.builds(Windowed, periods, st.integers(0, 3), moneys, counts),
        max_size=2,
        unique_by=lambda window: window.per,
    ).map(tuple),
)
flows = st.lists(
    st.builds(
        Flow,
        st.sampled_from(["untrusted", "secret"]),
        st.sampled_from(["*", "recipient", "pay"]),
        st.sampled_from(["permit", "step-up", "deny"]),
    ),
    max_size=3,
).map(tuple)
delegates = st.none() | st.lists(names, max_size=2).map(tuple)
authorities = st.builds(
    Authority,
    grants=st.lists(grants, min_size=1, max_size=3).map(tuple),
    budget=budgets,
    max_depth=st.integers(0, 3),
    delegates=delegates,
    flows=flows,
)
calls = st.builds(
    Call,
    server=servers,
    tool=names,
    effect=effects,
    arguments=st.dictionaries(names, values, max_size=3),
    amount=moneys,
    at=st.none() | instants,
    origins=seen,
)


@given(
    st.lists(constraints, min_size=2, max_size=5), st.lists(values, min_size=1, max_size=8), seen
)
@settings(max_examples=150)
def test_what_satisfies_a_narrower_constraint_satisfies_the_wider(
    several: list[Constraint], tried: list[Any], where: dict[str, list[Origin]]
) -> None:
    here = Where("/a", where)
    for child in several:
        assert constraint_narrows(child, child)
        for parent in several:
            if constraint_narrows(child, parent):
                assert all(
                    parent.matches(value, here) for value in tried if child.matches(value, here)
                )


@given(globs.map(Pattern), globs.map(Pattern), st.lists(st.text("abx/", max_size=5), max_size=30))
@settings(max_examples=150)
def test_one_glob_contains_another_exactly_if_it_takes_all_that_it_takes(
    child: Pattern, parent: Pattern, tried: list[str]
) -> None:
    contained = constraint_narrows(child, parent)
    beyond = [text for text in tried if child.matches(text) and not parent.matches(text)]
    assert not (contained and beyond)
    # and if it is not contained, this text shows it
    assert contained or not parent.matches(child.glob.replace("*", "x"))


@given(st.lists(simple.filter(lambda one: not isinstance(one, OneOf)), min_size=2, max_size=6))
@settings(max_examples=150)
def test_limits_of_one_kind_that_narrow_each_other_are_equal(several: list[Constraint]) -> None:
    """Antisymmetric: the form in which a limit is kept is its normal form."""
    for one in several:
        for other in several:
            if constraint_narrows(one, other) and constraint_narrows(other, one):
                assert one == other


@given(st.data(), authorities, st.lists(calls, max_size=4))
@settings(max_examples=60)
def test_authorities_that_narrow_each_other_cover_the_same(
    data: st.DataObject, one: Authority, tried: list[Call]
) -> None:
    other = data.draw(narrowed(one))
    if narrows(one, other) is None and narrows(other, one) is None:
        for call in tried:
            mine, theirs = one.covers(call), other.covers(call)
            assert (mine.covered, mine.asks) == (theirs.covered, theirs.asks)


@given(windows, windows, st.lists(instants, min_size=1, max_size=20))
@settings(max_examples=150)
def test_a_window_within_another_holds_only_when_that_holds(
    child: TimeWindow, parent: TimeWindow, tried: list[datetime]
) -> None:
    assert child.within(child)
    assert window_from_json(child.to_json() or {"from": "00:00"}) == child
    if child.within(parent):
        assert all(parent.includes(at) for at in tried if child.includes(at))
    if child.within(parent) and parent.within(child):
        assert child == parent


@given(flows, flows, st.sets(st.sampled_from(sorted(SINKS | EFFECTS)), min_size=1, max_size=3))
@settings(max_examples=150)
def test_flows_within_others_are_never_more_lenient(
    child: tuple[Flow, ...], parent: tuple[Flow, ...], targets: set[str]
) -> None:
    one = Authority((READ,), flows=child)
    other = Authority((READ,), flows=parent)
    assume(narrows(one, other) is None)
    severity = {"permit": 0, None: 1, "step-up": 2, "deny": 3}
    for label in FLOW_LABELS:
        mine = flow_decision(one.flows, label, targets)
        assert severity[mine] >= severity[flow_decision(other.flows, label, targets)]


@given(constraints, values)
@settings(max_examples=60)
def test_a_listed_value_narrows_exactly_what_it_satisfies(parent: Constraint, value: Any) -> None:
    assert constraint_narrows(OneOf((value,)), parent) is parent.matches(value)


@st.composite
def narrowed(draw: st.DrawFn, parent: Authority) -> Authority:
    """An attempt at narrowing ``parent`` that often is one, and sometimes cheats."""
    made = []
    for grant in draw(st.lists(st.sampled_from(parent.grants), min_size=1, max_size=2)):
        tools = grant.tools if grant.tools != ("*",) else draw(st.just(("*",)) | st.just(("a",)))
        args = {
            name: draw(st.just(limit) | constraints) if draw(st.booleans()) else limit
            for name, limit in grant.args.items()
        }
        if draw(st.booleans()):
            args[draw(st.sampled_from(["/a", "/b"]))] = draw(constraints)
        made.append(
            replace(
                grant,
                tools=draw(st.lists(st.sampled_from(tools), min_size=1, max_size=3)),
                args=args,
                max_calls=draw(st.just(grant.max_calls) | st.none() | st.integers(0, 3)),
                amount=draw(st.just(grant.amount) | moneys),
                approval=draw(st.just(grant.approval) | st.sampled_from(["policy", "always"])),
                rates=draw(st.just(grant.rates) | rates.map(tuple)),
                window=draw(st.just(grant.window) | windows),
                ask_above=draw(st.just(grant.ask_above) | moneys),
                ask_new_recipient=draw(st.just(grant.ask_new_recipient) | st.booleans()),
            )
        )
    depth = draw(st.integers(0, parent.max_depth))
    return Authority(
        tuple(made),
        draw(st.just(parent.budget) | budgets),
        depth,
        draw(st.just(parent.delegates) | delegates),
        draw(st.just(parent.flows) | flows),
    )


def _sound(child: Authority, parent: Authority, call: Call) -> None:
    mine = child.covers(call)
    if not mine.covered:
        return
    theirs = parent.covers(call)
    assert theirs.covered, theirs.reason
    assert mine.asks or not theirs.asks
    assert mine.asks or mine.asks_if_new or not theirs.asks_if_new
    grant = child.grants[mine.grant_index]
    assert grant.purpose_bound or not parent.grants[origin(grant, parent) or 0].purpose_bound


@given(st.data(), authorities, calls)
@settings(max_examples=150)
def test_whatever_a_narrower_authority_covers_the_wider_covers(
    data: st.DataObject, parent: Authority, call: Call
) -> None:
    child = data.draw(narrowed(parent))
    if narrows(child, parent) is None:
        _sound(child, parent, call)
        assert all(origin(grant, parent) is not None for grant in child.grants)


@given(st.data(), authorities, st.lists(calls, max_size=4))
@settings(max_examples=30)
def test_a_chain_of_exchanges_never_covers_more_than_its_root(
    data: st.DataObject, root: Authority, tried: list[Call]
) -> None:
    here = root
    for _ in range(6):
        wish = data.draw(narrowed(here))
        if narrows(wish, here) is None:  # what an exchange would grant
            here = wish
        assert narrows(here, root) is None  # transitive
        assert here.max_depth <= root.max_depth
        for call in tried:
            _sound(here, root, call)


@given(authorities)
@settings(max_examples=60)
def test_narrowing_is_reflexive(authority: Authority) -> None:
    assert narrows(authority, authority) is None


# -- wire form ---------------------------------------------------------------------------------


@given(authorities)
@settings(max_examples=60)
def test_an_authority_survives_the_wire_and_the_draft(authority: Authority) -> None:
    details = to_authorization_details(authority, resources=RESOURCES)
    through_json = json.loads(canonical(details))
    assert from_authorization_details(through_json, resources=RESOURCES) == authority
    assert authority_from_draft(json.loads(canonical(draft_of(authority)))) == authority
    again = to_authorization_details(
        from_authorization_details(through_json, resources=RESOURCES), resources=RESOURCES
    )
    assert canonical(again) == canonical(details)


DAILY: dict[str, Any] = {"per": "day", "calls": 1}


def detail(**changes: Any) -> dict[str, Any]:
    whole = {
        "type": "mission_resource_access",
        "resource": f"{RESOURCES}/crm",
        "actions": ["read_query"],
        "constraints": {"effects": ["read"]},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not ...}


@pytest.mark.parametrize(
    "details",
    [
        None,
        {},
        [],
        "x",
        [None],
        [detail(type="other")],
        [detail(type=...)],
        [detail(resource="https://evil.example/mcp/crm")],
        [detail(resource=f"{RESOURCES}")],
        [detail(resource=f"{RESOURCES}/")],
        [detail(resource=f"{RESOURCES}/crm/..")],
        [detail(resource=f"{RESOURCES}/CRM")],
        [detail(actions=[])],
        [detail(actions="read_query")],
        [detail(actions=["*", "read_query"])],
        [detail(actions=[7])],
        [detail(actions=["a b"])],
        [detail(actions=[f"t{n}" for n in range(65)])],
        [detail(constraints=...)],
        [detail(constraints={})],
        [detail(constraints={"effects": []})],
        [detail(constraints={"effects": ["READ"]})],
        [detail(constraints={"effects": ["read"], "unknown": 1})],
        [detail(constraints={"effects": ["read"], "max_calls": -1})],
        [detail(constraints={"effects": ["read"], "max_calls": True})],
        [detail(constraints={"effects": ["read"], "requires_action_approval": "yes"})],
        [detail(constraints={"effects": ["read"], "max_amount": "500 EUR"})],
        [detail(constraints={"effects": ["read"], "max_amount": {"amount": 5, "currency": "EUR"}})],
        [detail(constraints={"effects": ["read"], "arguments": {"to": {"const": 1}}})],
        [detail(constraints={"effects": ["read"], "arguments": {"/to": {"from": "x"}}})],
        [detail(constraints={"effects": ["read"], "budget": {"recipients": -1}})],
        [detail(constraints={"effects": ["read"], "budget": {"windows": [{"per": "day"}]}})],
        [detail(constraints={"effects": ["read"], "budget": {"windows": [{"calls": 1}]}})],
        [detail(constraints={"effects": ["read"], "budget": {"windows": [{"per": "eon"}]}})],
        [detail(constraints={"effects": ["read"], "budget": {"windows": [DAILY, {**DAILY}]}})],
        [detail(constraints={"effects": ["read"], "rates": [{"calls": 1}]})],
        [detail(constraints={"effects": ["read"], "rates": [{"calls": True, "per": "day"}]})],
        [detail(constraints={"effects": ["read"], "rates": {"calls": 1, "per": "day"}})],
        [detail(constraints={"effects": ["read"], "time_window": {}})],
        [detail(constraints={"effects": ["read"], "time_window": {"days": []}})],
        [detail(constraints={"effects": ["read"], "time_window": {"days": ["someday"]}})],
        [detail(constraints={"effects": ["read"], "time_window": {"from": "24:00"}})],
        [detail(constraints={"effects": ["read"], "time_window": {"from": "8:00"}})],
        [
            detail(
                constraints={
                    "effects": ["read"],
                    "time_window": {"from": "08:00", "until": "08:00"},
                }
            )
        ],
        [detail(constraints={"effects": ["read"], "time_window": {"utc_offset": "Europe/Berlin"}})],
        [detail(constraints={"effects": ["read"], "time_window": {"not_before": "2026-11-24"}})],
        [detail(constraints={"effects": ["read"], "requires_action_approval": {}})],
        [detail(constraints={"effects": ["read"], "requires_action_approval": {"never": True}})],
        [
            detail(
                constraints={"effects": ["read"], "requires_action_approval": {"new_recipient": 1}}
            )
        ],
        [
            detail(
                constraints={
                    "effects": ["read"],
                    "flows": [{"from": "x", "to": "*", "decision": "deny"}],
                }
            )
        ],
        [
            detail(
                constraints={
                    "effects": ["read"],
                    "flows": [{"from": "user", "to": "moon", "decision": "deny"}],
                }
            )
        ],
        [
            detail(
                constraints={
                    "effects": ["read"],
                    "flows": [{"from": "user", "to": "*", "decision": "ok"}],
                }
            )
        ],
        [detail(constraints={"effects": ["read"], "flows": [{"from": "user", "to": "*"}]})],
        [detail(delegation={"allowed_delegates": "helper"})],
        [detail(delegation={"allowed_delegates": ["Helper!"]})],
        [detail(delegation={"max_depth": 9})],
        [detail(locations=["x"])],
        [detail(), detail(delegation={"max_depth": 1})],
        [detail()] * 33,
    ],
)
def test_details_that_we_do_not_wholly_understand_are_refused(details: Any) -> None:
    with pytest.raises(Refused) as caught:
        from_authorization_details(details, resources=RESOURCES)
    assert caught.value.code == "invalid_authorization_details"


@pytest.mark.parametrize(
    "draft",
    [
        {},
        {"grants": []},
        {"grants": {}},
        {"grants": [None]},
        {"grants": [{"server": "crm", "tools": ["a"]}]},
        {"grants": [{"server": 7, "tools": ["a"], "effects": ["read"]}]},
        {"grants": [{"server": "crm", "tools": ["a"], "effects": ["read"], "expires": 1}]},
        {"grants": [{"server": "crm", "tools": ["a"], "effects": ["read"], "approval": "never"}]},
        {"grants": [{"server": "crm", "tools": ["a"], "effects": ["read"]}], "budget": []},
        {"grants": [{"server": "crm", "tools": ["a"], "effects": ["read"]}], "budget": {"x": 1}},
        {"grants": [{"server": "crm", "tools": ["a"], "effects": ["read"]}], "max_depth": "1"},
    ],
)
def test_a_draft_that_we_do_not_wholly_understand_is_refused(draft: Any) -> None:
    with pytest.raises(Refused) as caught:
        authority_from_draft(draft)
    assert caught.value.kind is Kind.MALFORMED


def test_short_names_of_effects_are_understood() -> None:
    assert Grant("s", ("t",), ("grant", "infra", "read")).effects == (
        "grant_access",
        "infrastructure",
        "read",
    )


# -- from(source, type, cardinality) -----------------------------------------------------------

BILL = From(
    Source("untrusted", "files", ("read_file",), {"/path": OneOf(("bill.txt",))}), "iban", 1
)
IBAN = "DE02120300000000202051"


def seen_in(path: str, label: str = "untrusted", tool: str = "read_file") -> Origin:
    return Origin(label, "files", tool, {"path": path})


@pytest.mark.parametrize(
    ("value", "origin_", "matches"),
    [
        (IBAN, seen_in("bill.txt"), True),
        (IBAN, seen_in("other.txt"), False),
        (IBAN, seen_in("bill.txt", tool="search"), False),
        (IBAN, Origin("untrusted", "mail", "read_file", {"path": "bill.txt"}), False),
        (IBAN, Origin("untrusted", "files", "read_file"), False),
        ("attacker@evil.org", seen_in("bill.txt"), False),
        (IBAN, None, False),
    ],
)
def test_a_value_comes_from_where_the_gateway_saw_it(
    value: str, origin_: Origin | None, matches: bool
) -> None:
    places = {} if origin_ is None else {"/to": (origin_,)}
    assert BILL.matches(value, Where("/to", places)) is matches


def test_one_of_several_places_is_enough_and_each_element_needs_one() -> None:
    both = (seen_in("other.txt"), seen_in("bill.txt"))
    assert BILL.matches(IBAN, Where("/to", {"/to": both}))
    assert not BILL.matches([IBAN, IBAN], Where("/to", {"/to/0": both}))
    assert BILL.matches([IBAN, IBAN], Where("/to", {"/to/0": both, "/to/1": both}))


def test_values_that_came_through_are_told_apart_and_counted_in_one_place() -> None:
    places = {"/to/0": (seen_in("bill.txt"),), "/to/1": (seen_in("bill.txt"),)}
    where = Where("/to", places)
    spelled = [IBAN, "de02 1203 0000 0000 2020 51"]
    assert len({(t.limit, t.value) for t in taken(BILL, spelled, where)}) == 1
    other = taken(Each(BILL), [IBAN, "DE99120300000000202051"], where)
    assert len({t.limit for t in other}) == 1
    assert len({t.value for t in other}) == 2
    assert {t.limit for t in other} == {t.limit for t in taken(BILL, IBAN, Where("/to", {}))}


def test_an_alternative_that_takes_nothing_is_preferred() -> None:
    either = AnyOf((BILL, OneOf((IBAN,))))
    assert taken(either, IBAN, Where("/to", {"/to": (seen_in("bill.txt"),)})) == ()
    grant = Grant("bank", ("pay",), ("pay",), {"/to": either})
    assert Authority((grant,)).covers(Call("bank", "pay", "pay", {"to": IBAN})).takes == ()


# -- asking, time ------------------------------------------------------------------------------


def test_a_grant_asks_above_an_amount_and_where_the_amount_is_not_known() -> None:
    grant = Grant("bank", ("*",), ("pay", "write"), ask_above=euro("50"))
    for amount, asks in ((euro("50"), False), (euro("50.01"), True), (None, True)):
        assert grant.asks(Call("bank", "pay", "pay", {}, amount)) is asks
    assert grant.asks(Call("bank", "pay", "pay", {}, Money.parse("1", "USD")))


def test_a_grant_with_a_window_covers_nothing_at_another_or_an_unknown_time() -> None:
    office = Grant("s", ("t",), ("read",), window=TimeWindow(days=("mon",), start=480, end=600))
    authority = Authority((office,))
    monday = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    for at, covered in (
        (monday, True),
        (monday - timedelta(seconds=1), False),
        (monday + timedelta(hours=2), False),
        (monday + timedelta(days=1), False),
        (None, False),
    ):
        assert authority.covers(Call("s", "t", "read", at=at)).covered is covered


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    night = window_from_json(
        {"days": ["sun"], "from": "22:00", "until": "06:00", "utc_offset": "+01:00"}
    )
    sunday = datetime(2026, 11, 29, tzinfo=UTC)
    assert night.includes(sunday + timedelta(hours=21))
    assert night.includes(sunday + timedelta(hours=28, minutes=59))
    assert not night.includes(sunday + timedelta(hours=29))
    assert not night.includes(sunday + timedelta(hours=2))


def test_the_mandate_in_the_guide_is_one() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "mandates.md").read_text()
    first, second = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)
    authority = authority_from_draft(json.loads(first))
    assert narrows(authority, authority) is None
    assert "DE02120300000000202051" in second
    said = "\n".join(explain(authority))
    assert "must be an IBAN seen in what read_file of files returned" in said
    assert "Everything else is denied." in said


def test_a_refusal_says_what_the_argument_must_be() -> None:
    pay = {"server": "bank", "tools": ["pay"], "effects": ["pay"]}
    day = {"date": {"min": "2026-12-01", "max": "2026-12-31"}}
    many = {"enum": [f"value-{number}\N{RIGHT-TO-LEFT OVERRIDE}" for number in range(60)]}
    mandate = authority_from_draft({"grants": [{**pay, "args": {"/when": day, "/which": many}}]})

    def told(**arguments: str) -> str:
        return mandate.covers(Call("bank", "pay", "pay", arguments)).reason

    assert told(when="2027-01-01", which="value-1") == (
        "argument `/when` is not within its limit: must be from 2026-12-01 to 2026-12-31"
    )
    long = told(when="2026-12-01", which="other")
    assert long.startswith('argument `/which` is not within its limit: must be exactly "value-0')
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in long
    assert len(long) < 400
