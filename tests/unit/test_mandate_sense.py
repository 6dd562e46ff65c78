"""What a person cannot have meant by a mandate is refused, with the place and the reason."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfor.delegation.model import MandateDraft
from actfor.errors import Kind, Refused
from actfor.wire.rar import (
    Money,
    authority_from_draft,
    constraint_from_json,
    require_currency,
    require_sense,
)
from actfor.wire.rar.sense import _is_empty

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)  # a Saturday
EUR, USD = ({"value": "5.00", "currency": code} for code in ("EUR", "USD"))


def grant(**more: Any) -> dict[str, Any]:
    return {"server": "bank", "tools": ["pay"], "effects": ["pay"], **more}


def commit(*grants: dict[str, Any], hours: float = 8, **more: Any) -> None:
    body = {
        "agent": "clerk",
        "goal": "x",
        "expires_at": (NOW + timedelta(hours=hours)).isoformat(),
        "grants": [{"server": "files", "tools": ["read"], "effects": ["read"]}, *grants],
        **more,
    }
    MandateDraft.from_json(body).check(NOW)


def limited(**limit: Any) -> dict[str, Any]:
    return grant(args={"/to": limit})


@pytest.mark.parametrize(
    ("grants", "more", "says"),
    [
        ([grant(rates=[{"calls": None, "per": "day"}])], {}, "grant 2: a rate says how many `calls`"),
        ([grant(amount={"value": "5", "currency": "XQX"})], {}, "grant 2 (`bank`): `XQX` is no currency"),
        ([limited(amount={"max": "5", "currency": "EUX"})], {}, "`EUX` is no currency"),
        ([], {"budget": {"amount": {"value": "5", "currency": "EUX"}}}, "`budget`: `EUX` is no"),
        ([grant(amount=EUR)], {"budget": {"amount": USD}}, "it spends EUR, and the budget is in USD"),
        ([grant(amount=EUR, approval={"above": USD})], {}, "`above` an amount in USD, and it spends"),
        (
            [],
            {"budget": {"amount": EUR, "windows": [{"per": "day", "amount": USD}]}},
            "`budget`: it is in EUR and in USD",
        ),
        ([grant(window={"not_after": "2026-11-01T00:00:00Z"})], {}, "at no time at which"),
        ([grant(window={"not_before": "2026-12-01T00:00:00Z"})], {}, "at no time at which"),
        ([grant(window={"days": ["mon", "tue"]})], {}, "at no time at which"),
        ([grant(window={"from": "08:00", "until": "11:59"})], {}, "at no time at which"),
        ([limited(all=[{"const": "a"}, {"const": "b"}])], {}, "nothing can be within the limit of `/to`"),
        ([limited(all=[{"range": {"max": 1}}, {"range": {"min": 2}}])], {}, "nothing can be within"),
        ([limited(each={"all": [{"enum": [1, 2]}, {"range": {"min": 3}}]})], {}, "nothing can be within"),
        ([], {"delegates": ["helper"]}, "`max_depth` lets nobody be asked"),
        ([grant(surprise=1)], {}, "grant 2: grant member `surprise` is not known"),
        ([limited(range={"min": 2, "max": 1})], {}, "grant 2: argument `/to`: `min` is above `max`"),
        ([limited(enum="a")], {}, "argument `/to`: `enum` is a list of values"),
        ([limited(regex="a")], {}, "a limit `regex` is not known; there are all, amount,"),
        ([{"tools": ["pay"], "effects": ["pay"]}], {}, "grant 2: `server` is the name of a server"),
        ([], {"budget": {"call": 1}}, "`budget`: budget member `call` is not known"),
        ([grant(max_calls=10**12)], {}, "`max_calls` is a count from 0 to 1000000000"),
        ([grant(amount={"value": "9" * 15, "currency": "EUR"})], {}, "above 10^15"),
        ([grant(amount={"value": "1.5", "currency": "JPY"})], {}, "in JPY has at most 0 decimal places"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_says_where_and_why(
    grants: list[dict[str, Any]], more: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused, match=re.escape(says)) as refused:
        commit(*grants, **more)
    assert refused.value.kind is Kind.MALFORMED


def test_an_end_that_is_past_is_called_so() -> None:
    with pytest.raises(Refused, match="`expires_at` is past"):
        commit(hours=-1)


def test_what_may_be_meant_is_committed() -> None:
    commit(grant(max_calls=0), budget={"calls": 0})  # said outright
    commit(grant(window={"days": ["mon"]}), hours=48)
    commit(grant(window={"from": "08:00", "until": "11:59"}), hours=24)
    commit(grant(window={"from": "22:00", "until": "06:00"}), hours=12)
    commit(grant(amount=EUR, approval={"above": EUR}), budget={"amount": EUR})
    commit(grant(effects=["read", "pay"], amount=EUR), budget={"amount": USD})  # reads still fit
    commit(limited(all=[{"type": "iban"}, {"enum": ["DE02120300000000202051", "no"]}]))
    commit(limited(any=[{"all": [{"const": 1}, {"const": 2}]}, {"const": 3}]))
    commit(grant(), delegates=["helper"], max_depth=1)


def test_currencies_have_the_decimal_places_that_they_have() -> None:
    assert Money.parse("1.005", "OMR").minor == 1005
    require_currency("CHF")
    # What others call theirs is not ours: only what a person writes is held to the list.
    assert Money.parse("1.00", "XTS").minor == 100


values = st.integers(0, 3) | st.sampled_from(["0", "a", "2026-11-28"])
simple = st.one_of(
    st.builds(lambda v: {"const": v}, values),
    st.builds(lambda vs: {"enum": vs}, st.lists(values, min_size=1, max_size=3)),
    st.builds(
        lambda a, b: {"range": {"min": min(a, b), "max": max(a, b)}}, *[st.integers(0, 3)] * 2
    ),
    st.sampled_from([{"pattern": "a*"}, {"type": "number"}, {"date": {"min": "2026-11-28"}}]),
)
limits = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(lambda kind, parts: {kind: parts},
                  st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda one: {"each": one}, inner),
    ),
    max_leaves=4,
)  # fmt: skip


@given(limits, values)
def test_a_limit_that_something_is_within_is_never_called_empty(form: Any, value: Any) -> None:
    try:
        limit = constraint_from_json(form)
    except Refused:
        return  # nested too deep
    if limit.matches(value) or limit.matches([value]):
        assert not _is_empty(limit)


@given(
    st.lists(st.sampled_from(["mon", "wed", "sat", "sun"]), min_size=1, unique=True),
    st.integers(0, 23),
    st.integers(1, 24),
    st.integers(1, 30 * 24),
)
def test_a_window_that_holds_at_some_hour_is_never_called_impossible(
    days: list[str], start: int, end: int, hours: int
) -> None:
    if start == end % 24:
        return
    window = {"days": days, "from": f"{start:02}:00", "until": f"{end:02}:00"}
    authority = authority_from_draft({"grants": [grant(window=window)]})
    held = authority.grants[0].window
    assert held is not None
    until = NOW + timedelta(hours=hours)
    some = any(held.includes(NOW + timedelta(minutes=30 * half)) for half in range(2 * hours))
    try:
        require_sense(authority, NOW, until)
    except Refused:
        assert not some
    else:
        assert some
