"""Reading quickly what has one reading: never something else than the strict readers would say."""

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_canonical import plain, texts, values

from actfor.errors import Refused
from actfor.wire.canonical import MAX_INTEGER, JsonValue, canonical
from actfor.wire.quick_json import compact_object, sorted_object, standard_codec
from actfor.wire.strict_json import load_object

objects = st.dictionaries(texts, values, max_size=5)


@given(objects)
def test_canonical_bytes_are_read_as_what_they_say_or_not_at_all(value: dict[str, object]) -> None:
    leaf = rfc8785.dumps(value)  # type: ignore[arg-type] # JSON by its strategy
    assert sorted_object(leaf) in (None, value)


@given(st.dictionaries(st.text("abc", max_size=3), plain, max_size=5))
def test_what_we_write_ourselves_is_read_quickly(value: dict[str, JsonValue]) -> None:
    encoded = canonical(value)
    assert not encoded.isascii() or sorted_object(encoded) == value


@given(objects, st.sampled_from([(", ", ": "), (",", ":")]), st.booleans(), st.booleans())
def test_no_other_spelling_passes_for_the_canonical_one(
    value: dict[str, object], separators: tuple[str, str], sort: bool, ascii_only: bool
) -> None:
    spelled = json.dumps(
        value, separators=separators, sort_keys=sort, ensure_ascii=ascii_only
    ).encode()
    if sorted_object(spelled) is not None:
        assert spelled == canonical(value)  # type: ignore[arg-type] # JSON by its strategy


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":1,"a":2}',
        '{"a":1.0}',
        '{"a":1e3}',
        '{"a":1.5}',
        '{"a":-0}',
        f'{{"a":{MAX_INTEGER + 1}}}',
        f'{{"a":{2**64}}}',
        '{"a":NaN}',
        '{"a":"\\ud800"}',
        '{"a":"\\u0041"}',
        '{"a":"\\/"}',
        '{"b":1,"a":2}',
        '{"a":1} ',
        '{"a":' + "[" * 70 + "]" * 70 + "}",
        '{"a":' + "[" * 5000 + "]" * 5000 + "}",
        '{"\U0001f600":1}',
        "[1]",
        "7",
        "",
    ],
)
def test_what_could_be_read_in_two_ways_is_left_to_the_strict_reader(text: str) -> None:
    assert sorted_object(text.encode()) is None


@given(objects)
def test_members_in_any_order_are_read_as_the_strict_reader_does(value: dict[str, object]) -> None:
    spelled = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    quick = compact_object(spelled)
    assert quick is None or quick == load_object(spelled)


@given(objects)
def test_the_thin_installation_agrees_with_the_other(value: dict[str, object]) -> None:
    decode, ordered, as_is = standard_codec()
    encoded = rfc8785.dumps(value)  # type: ignore[arg-type] # JSON by its strategy
    if sorted_object(encoded) is not None:
        assert ordered(decode(encoded)) == encoded
        assert decode(as_is(value)) == value


def test_bytes_that_are_no_text_are_not_read() -> None:
    assert sorted_object(b'{"a":"\xff"}') is None
    with pytest.raises(Refused):
        load_object(b'{"a":"\xff"}')
