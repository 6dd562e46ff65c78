"""Canonical JSON: the same value, the same bytes, for ever and for every implementation."""

import math

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from actfor.errors import Kind, Refused
from actfor.wire.canonical import (
    MAX_DEPTH,
    MAX_INTEGER,
    JsonValue,
    canonical,
    digest,
    digest_bytes,
    standard_encode,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_the_bytes_are_those_of_the_reference_implementation(value: JsonValue) -> None:
    assert canonical(value) == rfc8785.dumps(value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(plain)
def test_an_installation_without_the_quick_encoder_makes_the_same_bytes(value: JsonValue) -> None:
    assert standard_encode(value) == canonical(value) == rfc8785.dumps(value)


@given(texts, st.integers(1, 100))
def test_a_long_text_has_the_bytes_of_the_reference_implementation(text: str, times: int) -> None:
    assert canonical(text * times) == rfc8785.dumps(text * times)


def test_a_lone_surrogate_is_refused_however_long_the_text_is() -> None:
    for length in (1, 255, 256, 100_000):
        with pytest.raises(Refused, match="no canonical JSON form"):
            canonical("a" * (length - 1) + "\ud800")


@given(st.dictionaries(texts, st.integers(0, 9), min_size=2, max_size=6))
def test_the_order_of_members_does_not_matter(members: dict[str, int]) -> None:
    backwards = dict(reversed(members.items()))
    assert canonical(members) == canonical(backwards)
    assert digest(members) == digest(backwards)


def test_the_example_of_the_specification() -> None:
    # RFC 8785 §3.2.2 to §3.2.4
    value: JsonValue = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f",
        "literals": [None, True, False],
    }
    assert (
        canonical(value)
        == (
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


def test_members_are_sorted_by_utf16_code_units() -> None:
    # RFC 8785 §3.2.3: U+1F600 is written with surrogates and sorts before U+FB33.
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    made = canonical(dict.fromkeys(names, 0)).decode()
    order = ["\\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert made == "{" + ",".join(f'"{name}":0' for name in order) + "}"


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        [2**63],
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        {"a": b"bytes"},
        {"a": {1, 2}},
        object(),
    ],
)
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(Refused) as refused:
        canonical(value)  # type: ignore[arg-type] # the mistake under test
    assert refused.value.kind is Kind.MALFORMED


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: (v,)])
@pytest.mark.parametrize("inside", [0, 0.5])
def test_depth_is_limited_before_the_stack_is(wrap, inside: float) -> None:
    value: JsonValue = inside
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    canonical(value)
    for _ in range(100_000):
        value = wrap(value)
    with pytest.raises(Refused, match="too deeply"):
        canonical(value)
    while isinstance(value, list | dict | tuple):  # take it apart, or freeing it overflows
        value = value["a"] if isinstance(value, dict) else value[0]


def test_subclasses_are_written_as_what_they_are() -> None:
    assert canonical({"kind": Kind.DENIED, "yes": True}) == b'{"kind":"denied","yes":true}'


def test_a_digest_names_its_algorithm() -> None:
    assert digest_bytes(b"") == "sha-256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    assert digest({}) == digest_bytes(b"{}")
