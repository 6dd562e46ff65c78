"""Authority: what it covers, and that nothing derived from it ever covers more."""

import json
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actfor.authorization.model import ToolEffect
from actfor.errors import Kind, Refused
from actfor.wire.canonical import canonical
from actfor.wire.rar import (
    EFFECTS,
    Authority,
    Budget,
    Call,
    Constraint,
    Grant,
    MaxLength,
    Money,
    OneOf,
    Pattern,
    Prefix,
    Range,
    authority_from_draft,
    authority_hash,
    constraint_from_json,
    constraint_narrows,
    draft_of,
    from_authorization_details,
    intent_hash,
    narrows,
    origin,
    to_authorization_details,
)

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
texts = st.sampled_from(["", "a", "ab", "aab", "b/a", "/a", "/a/b", "/a/b/c", "/a/../b", "ba", "1"])
numbers = st.integers(-2, 4) | st.sampled_from([0.5, 1.0, 2.5])
scalars = texts | numbers | st.booleans() | st.none()
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(names, scalars, max_size=2)
bounds = st.integers(-2, 4).map(Decimal) | st.sampled_from([Decimal("0.5"), Decimal("2.50")])
globs = st.text("ab*/", min_size=1, max_size=4)


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    low, high = draw(st.none() | bounds), draw(st.none() | bounds)
    assume(low is not None or high is not None)
    assume(low is None or high is None or low <= high)
    return Range(low, high)


constraints: st.SearchStrategy[Constraint] = st.one_of(
    st.lists(values, min_size=1, max_size=3).map(lambda listed: OneOf(tuple(listed))),
    globs.map(Pattern),
    ranges(),
    st.sampled_from(["/a", "/a/b", "a", "b/a", "/a/b/c"]).map(Prefix),
    st.integers(0, 3).map(MaxLength),
)
moneys = st.none() | st.builds(
    Money.of_minor, st.integers(0, 300), st.sampled_from(["EUR", "EUR", "USD"])
)
effects = st.sampled_from(["read", "write", "pay"])
grants = st.builds(
    Grant,
    server=st.sampled_from(["s", "t"]),
    tools=st.lists(names, min_size=1, max_size=3) | st.just(["*"]),
    effects=st.lists(effects, min_size=1, max_size=3),
    args=st.dictionaries(st.sampled_from(["/a", "/b", "/a/b", "/a/0"]), constraints, max_size=2),
    max_calls=st.none() | st.integers(0, 3),
    amount=moneys,
    approval=st.sampled_from(["policy", "always"]),
)
authorities = st.builds(
    Authority,
    grants=st.lists(grants, min_size=1, max_size=3).map(tuple),
    budget=st.builds(Budget, st.none() | st.integers(0, 3), moneys),
    max_depth=st.integers(0, 3),
)
calls = st.builds(
    Call,
    server=st.sampled_from(["s", "t"]),
    tool=names,
    effect=effects,
    arguments=st.dictionaries(names, values, max_size=3),
    amount=moneys,
)


@given(st.lists(constraints, min_size=2, max_size=5), st.lists(values, min_size=1, max_size=8))
@settings(max_examples=400)
def test_what_satisfies_a_narrower_constraint_satisfies_the_wider(
    several: list[Constraint], tried: list[Any]
) -> None:
    for child in several:
        assert constraint_narrows(child, child)
        for parent in several:
            if constraint_narrows(child, parent):
                assert all(parent.matches(value) for value in tried if child.matches(value))


@given(constraints, values)
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
            )
        )
    calls_ = draw(st.just(parent.budget.calls) | st.integers(0, 3))
    amount = draw(st.just(parent.budget.amount) | moneys)
    depth = draw(st.integers(0, parent.max_depth))
    return Authority(tuple(made), Budget(calls_, amount), depth)


def _sound(child: Authority, parent: Authority, call: Call) -> None:
    mine = child.covers(call)
    if not mine.covered:
        return
    theirs = parent.covers(call)
    assert theirs.covered, theirs.reason
    if parent.grants[theirs.grant_index].approval == "always":
        assert child.grants[mine.grant_index].approval == "always"


@given(st.data(), authorities, calls)
@settings(max_examples=400)
def test_whatever_a_narrower_authority_covers_the_wider_covers(
    data: st.DataObject, parent: Authority, call: Call
) -> None:
    child = data.draw(narrowed(parent) | authorities)
    assume(narrows(child, parent) is None)
    _sound(child, parent, call)
    for grant in child.grants:
        assert origin(grant, parent) is not None


@given(st.data(), authorities, st.lists(calls, max_size=4))
@settings(max_examples=120)
def test_a_chain_of_exchanges_never_covers_more_than_its_root(
    data: st.DataObject, root: Authority, tried: list[Call]
) -> None:
    here = root
    for _ in range(8):
        wish = data.draw(narrowed(here))
        if narrows(wish, here) is None:  # what an exchange would grant
            here = wish
        assert narrows(here, root) is None  # transitive
        assert here.max_depth <= root.max_depth
        for call in tried:
            _sound(here, root, call)


@given(authorities)
def test_narrowing_is_reflexive(authority: Authority) -> None:
    assert narrows(authority, authority) is None


# -- wire form ---------------------------------------------------------------------------------


@given(authorities)
def test_an_authority_survives_the_wire_and_the_draft(authority: Authority) -> None:
    details = to_authorization_details(authority, resources=RESOURCES)
    through_json = json.loads(canonical(details))
    assert from_authorization_details(through_json, resources=RESOURCES) == authority
    assert authority_from_draft(json.loads(canonical(draft_of(authority)))) == authority
    again = to_authorization_details(
        from_authorization_details(through_json, resources=RESOURCES), resources=RESOURCES
    )
    assert canonical(again) == canonical(details)


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
        [detail(constraints={"effects": ["read"], "budget": {"recipients": 1}})],
        [detail(delegation={"allowed_delegates": []})],
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
