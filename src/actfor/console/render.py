"""What a person sees of bytes that somebody else chose. Pure; knows no HTML.

Agents, tools and documents write strings that end up on the page where a person decides. Those
strings lie: they reverse the text (bidi controls), hide it (zero width), forge other rows (line
breaks) or imitate (homoglyphs). So nothing is shown as it came:

- printable ASCII is shown as itself;
- what has no honest picture (controls, format characters, fillers, spaces that are not the
  space, combining marks, unassigned) is shown as its code, ``⟦U+202E⟧``, and nothing else;
- what looks like ASCII and is not (homoglyphs) is shown with its code behind it;
- other letters are shown, and marked as not ASCII.

INVARIANT: joining the pieces' ``source`` gives the original back, so nothing can be left out.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from actfor.wire.canonical import JsonObject, JsonValue, canonical
from actfor.wire.rar import member_pointer

FOLD = 600
"""Characters of one value shown before the page says how many more there are."""

# Letters, digits and address punctuation of other blocks drawn like ASCII (the part of Unicode
# TS 39's confusables that occurs in fonts people have). Compatibility forms (full width,
# mathematical, ligatures, superscripts) are found by NFKC instead.
_LOOKALIKES = frozenset(
    "АВЕЅІЈКМНОРСТХУаеорсухіјѕһԁԛԝѵьҺҮүЬЗгпшϹϲϳԌԚԜᴀᴄᴏᴠᴡᴢ"
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαινορτυχγκϜ"
    "ՍՏՕԼհոսցօզԱ"
    "ıȷɑɡɩʏʀɪʟɴʙʜɢƖǀꓐꓑꓔꓖꓚꓛꓜꓟꓠꓡꓢꓣꓤꓥꓦꓧꓨꓩꓪꓫꓬꓭꓮꓯꓰꓱꓲꓳꓴꓵꓶꓷꓸꓹꓺ"
    "ᎪᎬᎻᎫᏦᏞᎷᏢᏚᎢᏙᏔᏃᏴᏟᎠᎡᎥᎾᏂᏏꭰ"
    "\u2010\u2011\u2012\u2015\u2212\ufe58\u2032\u2044\u2215\u29f8\u2216\u29f9\u2024\u2236"
    "\ua789\u02d0\u0589\u05c3\u2e31\u00b7\u0660\u06f0\u0966\u0ae6\u0b66\u0ce6\u0d66\u0e50"
    "\u0ed0\u1040\u07cb\u0b20\u09e6\u2223\u23d0\u00a6\u01c3\u2d51\u212e\u2228\u222a\u2229"
)
_PROSE = frozenset("\u2026\u2122")
"""Compatibility forms that nobody takes for something else: the ellipsis, the trade mark."""
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5\u2061\u2062\u2063\u2064")
_BRACKETS = frozenset("⟦⟧")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Mn", "Me"})


class Seen(StrEnum):
    """How a piece of text is to be drawn."""

    PLAIN = "plain"
    FOREIGN = "foreign"
    LOOKALIKE = "lookalike"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of one kind. ``shown`` goes on the page, ``source`` is what it stands for."""

    kind: Seen
    shown: str
    source: str
    name: str = ""


def visible(text: str) -> tuple[Piece, ...]:
    """Cut ``text`` into pieces that show exactly what it holds."""
    pieces: list[Piece] = []
    for character in text:
        piece = _piece(character)
        last = pieces[-1] if pieces else None
        if last is not None and last.kind is piece.kind and piece.kind is Seen.PLAIN:
            joined = last.source + character
            pieces[-1] = Piece(Seen.PLAIN, joined, joined)
        else:
            pieces.append(piece)
    return tuple(pieces)


def shown(text: str) -> str:
    """`visible` as one line of text, for titles, e-mails and terminals."""
    return "".join(piece.shown for piece in visible(text)).replace("\n", " ")


@lru_cache(maxsize=4096)
def _piece(character: str) -> Piece:
    if " " <= character <= "~":
        return Piece(Seen.PLAIN, character, character)
    code = f"⟦U+{ord(character):04X}⟧"
    name = unicodedata.name(character, "no name")
    if character == "\n":
        return Piece(Seen.HIDDEN, "⏎\n", character, "line break")
    if character == "\t":
        return Piece(Seen.HIDDEN, "⇥\t", character, "tab")
    if _is_hidden(character):
        return Piece(Seen.HIDDEN, code, character, name)
    if _looks_ascii(character):
        return Piece(Seen.LOOKALIKE, character + code, character, name)
    return Piece(Seen.FOREIGN, character, character, f"U+{ord(character):04X} {name}")


def _is_hidden(character: str) -> bool:
    if character in _FILLERS or character in _BRACKETS:
        return True
    # Variation selectors are Mn, tag characters and bidi controls Cf, the no-break space Zs.
    return unicodedata.category(character) in _HIDDEN_CATEGORIES


def _looks_ascii(character: str) -> bool:
    if character in _LOOKALIKES or character in _PROSE:
        return character not in _PROSE
    plain = unicodedata.normalize("NFKC", character)
    return plain != character and plain.isascii()


@dataclass(frozen=True, slots=True)
class Text:
    """A value ready to draw: its pieces, and how much of it is not on the page."""

    pieces: tuple[Piece, ...]
    length: int
    more: int
    odd: int
    """Characters that are not plain ASCII."""

    @property
    def block(self) -> bool:
        """Long or of several lines: deserves a box of its own."""
        return self.length > 80 or any(piece.source == "\n" for piece in self.pieces)


def text(value: str, *, limit: int | None = FOLD) -> Text:
    """``value`` made visible, cut after ``limit`` characters (None: never cut)."""
    head = value if limit is None else value[:limit]
    pieces = visible(head)
    odd = sum(len(p.source) for p in pieces if p.kind is not Seen.PLAIN and p.source != "\n")
    return Text(pieces, len(value), len(value) - len(head), odd)


@dataclass(frozen=True, slots=True)
class Row:
    """One argument: where it stands (RFC 6901 pointer), what JSON type it is, its value."""

    path: Text
    name: str
    type: str
    value: Text
    money: bool = False
    sql: bool = False


_MONEY = frozenset(
    {"amount", "total", "price", "fee", "payment", "sum", "cost", "amount_minor", "amountminor"}
)
_SQL_NAMES = frozenset({"sql", "query", "statement"})
_SQL_VERBS = frozenset(
    [
        "select",
        "insert",
        "update",
        "delete",
        "drop",
        "create",
        "alter",
        "truncate",
        "with",
        "replace",
        "grant",
        "revoke",
        "pragma",
        "attach",
        "merge",
        "vacuum",
        "explain",
    ]
)


def rows(arguments: JsonObject, *, limit: int | None = FOLD) -> list[Row]:
    """Every leaf of ``arguments``, in the order of the canonical bytes. None is left out."""
    found: list[Row] = []
    _walk(arguments, "", found, limit)
    return found


def _walk(value: JsonValue, path: str, found: list[Row], limit: int | None) -> None:
    if isinstance(value, Mapping) and value:
        # RFC 8785 §3.2.3: members in the order of their UTF-16 code units.
        for name in sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass")):
            _walk(value[name], member_pointer(path, name), found, limit)
    elif isinstance(value, list | tuple) and value:
        for index, member in enumerate(value):
            _walk(member, f"{path}/{index}", found, limit)
    elif path:
        found.append(_row(value, path, limit))


def _row(value: JsonValue, path: str, limit: int | None) -> Row:
    kind, literal = _typed(value)
    name = path.rsplit("/", 1)[-1].lower()
    words = literal.split(None, 1)
    sql = kind == "text" and name in _SQL_NAMES and words[:1] != []
    return Row(
        path=text(path, limit=None),
        name=name,
        type=kind,
        value=text(literal, limit=limit),
        money=name in _MONEY and (kind == "number" or _numeric(literal)),
        sql=sql and words[0].lower() in _SQL_VERBS,
    )


def _typed(value: JsonValue) -> tuple[str, str]:
    match value:
        case None:
            return "null", "null"
        case bool():
            return "true/false", "true" if value else "false"
        case int() | float():
            return "number", canonical(value).decode("ascii")
        case str():
            return "text", value
        case Mapping():
            return "empty object", "{}"
        case _:
            return "empty list", "[]"


def _numeric(literal: str) -> bool:
    return literal.isascii() and literal.replace(".", "", 1).replace("-", "", 1).isdigit()


def short_code(digest: str) -> str:
    """Eight letters of a digest to compare by eye on two devices, ``K7QF-2M9X``.

    40 bits: a help against mistakes. What binds is the passkey's signature over all 256.
    """
    raw = base64.urlsafe_b64decode(digest.partition(":")[2] + "===")
    letters = base64.b32encode(raw[:5]).decode("ascii")
    return f"{letters[:4]}-{letters[4:]}"
