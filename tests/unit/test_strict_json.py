"""JSON that has exactly one reading; everything else is refused before anyone reads it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_canonical import values

from actfor.errors import Kind, Refused
from actfor.wire.strict_json import load_object, loads


@given(values)
def test_ordinary_documents_read_as_the_standard_library_reads_them(value: object) -> None:
    for ascii_only in (True, False):
        data = json.dumps(value, ensure_ascii=ascii_only).encode()
        assert loads(data) == json.loads(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"sub":"a","sub":"admin"}', "duplicate member `sub`"),
        (b'[{"x":{"a":1,"b":2,"a":1}}]', "duplicate member `a`"),
        (b'{"a":1,"\\u0061":2}', "duplicate member `a`"),
        (b'{"\\n\\u202e":1,"\\n\\u202e":2}', r"duplicate member `\\n\\u202e`"),
        (b"NaN", "`NaN` is not JSON"),
        (b'{"a":Infinity}', "`Infinity`"),
        (b"[-Infinity]", "`-Infinity`"),
        (b"9007199254740992", "beyond"),
        (b"-9007199254740992", "beyond"),
        (b'{"exp":1' + b"0" * 5000 + b"}", "beyond"),
        (b"1e400", "too large for a double"),
        (b"-1e400", "too large for a double"),
        (b'"\\ud800"', "lone surrogate"),
        (b'{"\\udfff":1}', "lone surrogate"),
        (b'["\\ude00\\ud83d"]', "lone surrogate"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\xff"', "not UTF-8"),
        (b'"\xc0\xaf"', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b"", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b"01", "not JSON"),
        (b'"\x00"', "not JSON"),
        (b"[" * 33 + b"]" * 33, "too deeply"),
        (b'{"a":' * 33 + b"0" + b"}" * 33, "too deeply"),
        (b"[" * 1_000_000, "too deeply|not JSON"),
        (b"[" * 1_000_000 + b"]" * 1_000_000, "too deeply"),
    ],
)
def test_a_document_with_two_readings_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        loads(data)
    assert refused.value.kind is Kind.MALFORMED
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"9007199254740991", 2**53 - 1),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"[" * 32 + b"]" * 32, None),
        (b' {"a" : [1.5, -0.0, true]}\n', {"a": [1.5, -0.0, True]}),
        (b"[" + b"[]," * 100 + b"[]]", [[]] * 101),
    ],
)
def test_what_is_just_inside_the_limits_is_read(data: bytes, value: object) -> None:
    assert loads(data) == (json.loads(data) if value is None else value)


def test_a_depth_can_be_asked_for() -> None:
    assert loads(b"[[]]", max_depth=2) == [[]]
    with pytest.raises(Refused, match="too deeply"):
        loads(b"[[]]", max_depth=1)


@pytest.mark.parametrize("data", [b"[]", b"1", b'"{}"', b"null"])
def test_an_object_is_asked_for_by_name(data: bytes) -> None:
    with pytest.raises(Refused, match="not a JSON object"):
        load_object(data)
    assert load_object(b'{"a":{}}') == {"a": {}}


@given(st.binary(max_size=60))
def test_no_bytes_do_worse_than_being_refused(data: bytes) -> None:
    try:
        loads(data)
    except Refused as refused:
        assert refused.kind is Kind.MALFORMED
