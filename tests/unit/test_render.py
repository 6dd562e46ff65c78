"""What an approver sees of strings that others chose."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.console_strings import NASTY

from actfor.console import render
from actfor.console.html import pieces, seen
from actfor.console.render import Seen
from actfor.wire.canonical import JsonObject

_LETTER = {"L", "N", "P", "S"}


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(NASTY) >= 250
    assert len(set(NASTY)) == len(NASTY)


@pytest.mark.parametrize("text", NASTY)
def test_nothing_nasty_is_left_out_or_left_invisible(text: str) -> None:
    cut = render.visible(text)
    assert "".join(piece.source for piece in cut) == text
    for piece in cut:
        assert_honest(piece)


@given(st.text(st.characters(codec=None)))
def test_any_text_at_all_is_shown_whole_and_honestly(text: str) -> None:
    cut = render.visible(text)
    assert "".join(piece.source for piece in cut) == text
    for piece in cut:
        assert_honest(piece)


def assert_honest(piece: render.Piece) -> None:
    if piece.kind is Seen.PLAIN:
        assert piece.shown == piece.source
        assert all(" " <= c <= "~" for c in piece.shown)
    elif piece.kind is Seen.HIDDEN and piece.source not in "\n\t":
        assert piece.shown == f"⟦U+{ord(piece.source):04X}⟧"
    elif piece.kind is Seen.LOOKALIKE:
        assert piece.shown == piece.source + f"⟦U+{ord(piece.source):04X}⟧"
    elif piece.kind is Seen.FOREIGN:
        assert unicodedata.category(piece.source)[0] in _LETTER | {"M"}
        assert unicodedata.category(piece.source) not in {"Mn", "Me"}


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_two_different_texts_never_look_the_same(one: str, other: str) -> None:
    def drawn(text: str) -> list[tuple[str, str]]:
        return [(piece.kind, piece.shown) for piece in render.visible(text)]

    assert (drawn(one) == drawn(other)) == (one == other)


@pytest.mark.parametrize("text", ["⟦U+202E⟧", "⟦", "x⟧"])
def test_our_own_marks_cannot_be_forged(text: str) -> None:
    assert any(p.kind is Seen.HIDDEN for p in render.visible(text))
    assert "⟦U+27E" in render.shown(text)


@pytest.mark.parametrize(
    "word",
    ["pаypаl", "ɡoogle", "ｅｖｉｌ", "𝐝𝐞𝐥", "bаnk", "ехаmрle", "Αdmin", "𝟣00", "―", "∕etc"],
)
def test_homoglyphs_carry_their_code(word: str) -> None:
    assert any(p.kind is Seen.LOOKALIKE for p in render.visible(word))


@pytest.mark.parametrize(
    "word",
    ["Müller", "Señor", "日本", "שלום", "“quoted” – text…", "100 €"],
)
def test_honest_words_of_other_languages_stay_readable(word: str) -> None:
    assert render.shown(word) == word
    assert all(p.kind in {Seen.PLAIN, Seen.FOREIGN} for p in render.visible(word))


@pytest.mark.parametrize("text", NASTY)
def test_no_markup_of_others_survives(text: str) -> None:
    html = str(seen(text))
    outside = re.sub(r'<mark class="(hidden|lookalike|foreign)" title="[^"<>]*">|</mark>', "", html)
    inner = outside.removeprefix('<span class="seen">').removesuffix("</span>")
    assert "<" not in inner
    assert ">" not in inner
    assert '"' not in inner
    assert "'" not in inner


def test_every_argument_is_a_row_in_canonical_order() -> None:
    arguments: JsonObject = {
        "z": None,
        "to": {"iban": "DE02", "name": ""},
        "list": [1, 2.50, True, {"deep": []}],
        "a/b~c": {},
        "€": "x",
    }
    rows = render.rows(arguments)
    shown = [("".join(p.source for p in row.path.pieces), row.type) for row in rows]
    assert shown == [
        ("/a~1b~0c", "empty object"),
        ("/list/0", "number"),
        ("/list/1", "number"),
        ("/list/2", "true/false"),
        ("/list/3/deep", "empty list"),
        ("/to/iban", "text"),
        ("/to/name", "text"),
        ("/z", "null"),
        ("/€", "text"),
    ]
    assert rows[2].value.pieces[0].shown == "2.5"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=6), _JSON, max_size=4))
def test_no_leaf_of_the_arguments_is_ever_missing(arguments: dict[str, object]) -> None:
    def leaves(value: object) -> int:
        if isinstance(value, dict) and value:
            return sum(leaves(member) for member in value.values())
        if isinstance(value, list) and value:
            return sum(leaves(member) for member in value)
        return 1

    expected = leaves(arguments) if arguments else 0
    assert len(render.rows(arguments)) == expected  # type: ignore[arg-type] # generated JSON


def test_a_long_value_says_how_much_is_not_shown_and_is_whole_when_asked() -> None:
    value = "A" * 10_000 + "DROP TABLE customers"
    (folded,) = render.rows({"query": value})
    assert folded.value.more == len(value) - render.FOLD
    (whole,) = render.rows({"query": value}, limit=None)
    assert whole.value.more == 0
    assert "".join(p.source for p in whole.value.pieces) == value


@pytest.mark.parametrize(
    ("arguments", "money"),
    [
        ({"amount": 12}, True),
        ({"amount": "12.50"}, True),
        ({"amount": "-3"}, True),
        ({"amount": "twelve"}, False),
        ({"invoice": {"total": 9}}, True),
        ({"count": 12}, False),
        ({"amount": True}, False),
    ],
)
def test_money_is_found(arguments: dict[str, object], *, money: bool) -> None:
    assert render.rows(arguments)[0].money is money  # type: ignore[arg-type] # literal JSON


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        ("DELETE FROM x", True),
        ("  with a as (select 1) select 2", True),
        ("who is it", False),
        ("", False),
    ],
)
def test_sql_is_named_as_such(value: str, *, sql: bool) -> None:
    assert render.rows({"query": value})[0].sql is sql


def test_the_short_code_is_eight_letters_of_the_digest() -> None:
    digest = "sha-256:" + "A" * 43
    assert render.short_code(digest) == "AAAA-AAAA"
    assert render.short_code("sha-256:_" + "A" * 42) != render.short_code(digest)


def test_pieces_escape_what_they_show() -> None:
    assert str(pieces(render.visible("<b>&"))) == "&lt;b&gt;&amp;"
