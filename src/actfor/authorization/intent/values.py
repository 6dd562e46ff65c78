"""Values of a type: what an argument may be, and what a text has in it.

``Kind``s are what sinks are typed with. ``typed`` finds the values that a text holds, each in the
normal form under which equal values are equal: an IBAN without spaces, an amount without commas,
an address in lower case. Tokens are cut at white space and judged one by one, so time is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Final
from unicodedata import combining, normalize

from actfor.authorization.intent.text import normal, words


class SinkType(StrEnum):
    """What an argument is for. The first group sends, pays or lets in: they must be grounded."""

    RECIPIENT = "recipient"
    ACCOUNT = "account"
    URL = "url"
    COMMAND = "command"
    KEY = "key"
    PERMISSION = "permission"
    PATH = "path"
    NAME = "name"
    AMOUNT = "amount"
    DATE = "date"
    CODE = "code"
    TEXT = "text"
    OTHER = "other"


HARD: Final = frozenset(
    {
        SinkType.RECIPIENT,
        SinkType.ACCOUNT,
        SinkType.URL,
        SinkType.COMMAND,
        SinkType.KEY,
        SinkType.PERMISSION,
    }
)
"""Types whose value decides who gets something: not known where from is as good as untrusted."""

TARGET: Final = HARD | {SinkType.PATH, SinkType.NAME}
"""Types that say on what or on whom a call acts."""

_EMAIL: Final = re.compile(r"[a-z0-9._%+'\-]{1,64}@[a-z0-9\-]{1,63}(?:\.[a-z0-9\-]{1,63}){1,8}")
_HOST: Final = re.compile(r"[a-z0-9_\-]{1,63}(?:\.[a-z0-9_\-]{1,63}){0,8}\.[a-z]{2,12}")
_IBAN: Final = re.compile(r"[a-z]{2}[0-9]{2}[a-z0-9]{8,30}")
_IBAN_HEAD: Final = re.compile(r"(?<=[a-z]{2})[0-9]{2}")  # by its digits: there are few in a text
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,9})?")
_GROUPED: Final = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3}){1,5}(?:\.[0-9]{1,9})?")
_IDENTIFIER: Final = re.compile(r"[a-z]{1,8}[-_#][0-9]{1,12}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?")
_SUFFIX: Final = re.compile(r"[^\s/\\]{1,120}\.[a-z0-9]{1,6}")
_EDGE: Final = "\"'`\u201c\u201d\u2018\u2019<>()[]{},;:!?*\\|"
_CURRENCY: Final = "$€£¥₹"
_MONEY: Final = frozenset(
    "usd eur gbp chf jpy dollar dollars euro euros pound pounds franc francs yen buck bucks".split()
)
_MOST_DATES: Final = 64  # of those with a month's name
_MOST: Final = 512  # typed values of one text; who meets the bound must tighten
_FILES: Final = frozenset(
    "txt md pdf doc docx xls xlsx csv tsv json yaml yml xml html htm png jpg jpeg gif svg zip gz"
    " tar py js ts sh exe sql log ini cfg conf toml pub pem key ppt pptx odt ics eml mp3 mp4"
    " bin".split()
)


@dataclass(frozen=True, slots=True)
class Value:
    """One value: its type, and the form under which equal ones are equal."""

    type: SinkType
    key: str


def is_passcode(text: str) -> bool:
    """Whether this looks like a code that somebody was sent: short, with a digit, no spaces."""
    return len(text) <= 16 and any(map(str.isdigit, text)) and not any(map(str.isspace, text))


def typed(text: str) -> Iterator[Value]:
    """The values of recognised types in a text, at most ``MOST``, in order, each once."""
    seen: set[Value] = set()
    folded = normal(text)
    tokens = folded.split(" ")
    for token in tokens:
        if token.isalpha():
            continue  # every type needs a digit or a sign; most of a text has neither
        for value in _of_token(token):
            if value not in seen:
                seen.add(value)
                yield value
        if len(seen) >= _MOST:
            return
    ibans = _spaced_iban(tokens) if _IBAN_HEAD.search(folded) else ()
    dates = _spoken_dates(tokens) if any(map(folded.__contains__, _MONTHS)) else ()
    for value in (*ibans, *dates):
        if value not in seen:
            seen.add(value)
            yield value


@lru_cache(maxsize=16_384)
def _of_token(token: str) -> tuple[Value, ...]:
    bare = token.lstrip(_EDGE).rstrip(_EDGE + ".")
    if not bare or bare.isalpha() or len(bare) > 2048:
        return ()
    if "@" in bare:
        email = bare.removeprefix("mailto:")
        if _EMAIL.fullmatch(email):
            return (Value(SinkType.RECIPIENT, email),)
    if is_url(bare):
        return (Value(SinkType.URL, url_key(bare)),)
    if number := number_key(bare):
        return (Value(SinkType.AMOUNT, number),)
    if _DATE.match(bare):
        return (Value(SinkType.DATE, bare[:10]),)
    if _IBAN.fullmatch(bare) and sum(c.isdigit() for c in bare) >= 6:
        return (Value(SinkType.ACCOUNT, bare),)
    if _IDENTIFIER.fullmatch(bare):
        return (Value(SinkType.NAME, bare),)
    if is_path(bare):
        return (Value(SinkType.PATH, bare.rstrip("/")),)
    return ()


def _spaced_iban(tokens: list[str]) -> Iterator[Value]:
    """IBANs in groups of four, as banks print them."""
    at = 0
    while at < len(tokens):
        head = tokens[at].strip(_EDGE)
        end = at + 1
        if len(head) == 4 and head[:2].isalpha() and head[2:].isdigit():
            while end < len(tokens) and end - at < 9 and len(tokens[end].strip(_EDGE)) == 4:
                end += 1
            joined = "".join(t.strip(_EDGE) for t in tokens[at : end + 1])
            whole = "".join(t.strip(_EDGE) for t in tokens[at:end])
            for key in (joined, whole):
                if end - at >= 3 and _IBAN.fullmatch(key):
                    yield Value(SinkType.ACCOUNT, key)
        at = end


_MONTHS: Final = {
    month[:3]: number
    for number, month in enumerate(
        "january february march april may june july august september october november"
        " december".split(),
        1,
    )
}


def _spoken_dates(told: list[str]) -> Iterator[Value]:
    """Dates with a month's name: `May 1st, 2024`, `from the 1st to the 5th of May 2024`."""
    months = islice(_months(told), _MOST_DATES)
    for at, month in months:
        near = [_bare(token) for token in told[max(0, at - 6) : at + 4]]
        here = len(near) - len(told[at : at + 4])
        year = next((t for t in near[here + 1 :] if len(t) == 4 and t.isdigit()), "")
        for day in (_day(other) for other in near[: here + 3]):
            if day:
                yield Value(SinkType.DATE, f"{year}-{month:02d}-{day:02d}")


def _months(told: list[str]) -> Iterator[tuple[int, int]]:
    """Where a month is named, and which."""
    for at, token in enumerate(told):
        if token.lstrip(_EDGE)[:3] in _MONTHS:
            bare = _bare(token)
            if bare.isalpha() and len(bare) <= 9:
                yield at, _MONTHS[bare[:3]]


def _bare(token: str) -> str:
    return token.strip(_EDGE).rstrip(".")


def _day(token: str) -> int:
    for ending in ("st", "nd", "rd", "th"):
        token = token.removesuffix(ending)
    return int(token) if len(token) <= 2 and token.isdigit() and 1 <= int(token) <= 31 else 0


def is_address(text: str) -> bool:
    """Whether a text is an e-mail address and no more."""
    return "@" in text and _EMAIL.fullmatch(normal(text)) is not None


def is_url(text: str) -> bool:
    """Whether a folded token is a web address, with or without a scheme."""
    scheme, mark, rest = text.partition("://")
    if mark:
        return scheme.isalpha() and bool(rest)
    host = text.split("/", 1)[0].split("?", 1)[0]
    if text.startswith("www."):
        return True
    if "@" in host or not _HOST.fullmatch(host):
        return False
    return host.rpartition(".")[2] not in _FILES


def is_path(text: str) -> bool:
    """Whether a folded token is a path or a file's name."""
    if text.startswith(("/", "./", "~/", "../")) and len(text) > 1:
        return True
    if "/" in text:
        return all(part.strip() for part in text.strip("/").split("/"))
    return bool(_SUFFIX.fullmatch(text)) and text.rpartition(".")[2] in _FILES


def url_key(url: str) -> str:
    """An address without scheme, leading `www.` and trailing slash; the host folded."""
    rest = normal(url).partition("://")[2] or normal(url)
    return rest.removeprefix("www.").rstrip("/")


def host_of(url: str) -> str:
    """The host that a client would connect to, folded; what stands before an `@` is not it."""
    authority = url_key(url).replace("\\", "/").split("/", 1)[0].split("?", 1)[0].split("#", 1)[0]
    return authority.rpartition("@")[2].split(":", 1)[0].removeprefix("www.")


@lru_cache(maxsize=16_384)
def number_key(text: str) -> str:
    """A number in plain form (`1,200.50` is `1200.5`), or nothing. Currency signs are dropped."""
    bare = text.strip(_CURRENCY).removesuffix("%")
    for code in ("usd", "eur", "gbp", "chf"):
        bare = bare.removeprefix(code).removesuffix(code)
    if _GROUPED.fullmatch(bare):
        bare = bare.replace(",", "")
    elif bare.count(",") == 1 and _NUMBER.fullmatch(bare.replace(",", ".")):
        bare = bare.replace(",", ".")  # a decimal comma: `20,50`
    if not _NUMBER.fullmatch(bare):
        return ""
    whole, _, part = bare.removeprefix("+").partition(".")
    part = part.rstrip("0")
    sign = "-" if whole.startswith("-") else ""
    whole = whole.lstrip("-").lstrip("0") or "0"
    return f"{sign}{whole}.{part}" if part else f"{sign}{whole}"


def sums_in(text: str) -> tuple[Decimal, ...]:
    """The numbers of a text that are said to be money: `€50`, `50 EUR`, `50 dollars`."""
    tokens = normal(text).split(" ")
    found = []
    for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
        if token.isalpha():
            continue  # no number; most of a text has none
        bare = token.strip(_EDGE + ".")
        number = number_key(bare)
        marked = bare.strip("+-0123456789.,") or after.strip(_EDGE + ".") in _MONEY
        if number and marked and not bare.endswith("%"):
            found.append(Decimal(number))
    return tuple(found)


def key_of(value: str, kind: SinkType) -> str:
    """The form under which an argument of this type is looked up."""
    text = normal(value)
    if kind is SinkType.URL:
        return url_key(text)
    if kind is SinkType.ACCOUNT:
        return text.replace(" ", "").replace("-", "") if _looks_iban(text) else text
    if kind is SinkType.AMOUNT:
        return number_key(text.replace(" ", "")) or text
    if kind is SinkType.PATH:
        return text.rstrip("/") or text
    if kind is SinkType.DATE and _DATE.match(text):
        return text[:10]
    return text.strip(_EDGE + " ") or text


def _looks_iban(text: str) -> bool:
    return bool(_IBAN.fullmatch(text.replace(" ", "").replace("-", "")))


def series_of(key: str) -> str:
    """What identifiers of one kind begin with: `t-` of `t-4420`; nothing for other texts."""
    return key.rstrip("0123456789") if _IDENTIFIER.fullmatch(key) else ""


_MOMENT_WORDS: Final = frozenset(
    "jan feb mar apr may jun jul aug sep sept oct nov dec january february march april june july"
    " august september october november december mon tue tues wed thu thur thurs fri sat sun monday"
    " tuesday wednesday thursday friday saturday sunday am pm t z utc gmt cet cest bst est edt cst"
    " cdt mst mdt pst pdt today tomorrow tonight yesterday now noon midnight morning afternoon"
    " evening night next last this coming week weeks month months year years day days hour hours"
    " hrs minute minutes min mins second seconds of in at on from to until till by and the for end"
    " start beginning st nd rd th first every each daily weekly monthly yearly hourly never none"
    " asap immediately indefinite o clock oclock h p pt w m y d s a an one two three four five six"
    " seven eight nine ten twelve ago later after before past half quarter".split()
)
_MOMENT_TOKEN: Final = re.compile(
    r"[0-9]+(?:st|nd|rd|th|am|pm|h|d|w|m|min|s|y)?|[0-9]*t[0-9]+z?|p?t?(?:[0-9]+[ymwdhs])+"
)


def is_moment(text: str) -> bool:
    """Whether a text in normal form says a time and nothing else: a date, an hour, a stretch."""
    return all(
        word in _MOMENT_WORDS or _MOMENT_TOKEN.fullmatch(word) is not None for word in words(text)
    )


@lru_cache(maxsize=1024)
def _plain(name: frozenset[str]) -> frozenset[str]:
    """A name with and without its accents."""
    bare = {
        "".join(char for char in normalize("NFKD", word) if not combining(char)) for word in name
    }
    return name | bare


def _is_joined(local: str, name: frozenset[str]) -> bool:
    """Whether two words of a name stand there as one."""
    return any(
        local.startswith(first) and local[len(first) :] in name - {first}
        for first in name
        if 1 < len(first) < len(local) - 1
    )


def person_matches(words_of_name: frozenset[str], value: str) -> bool:
    """Whether an address or account name may be that of a person whose name has these words.

    Each part of the local part must be a word of the name or the initial of one, and one of them
    a whole word: `alice.miller@…`, `a.miller@…` and `alicemiller@…` are Alice Miller's, `alice@…`
    is Alice's, and `eve.miller@…` is Mrs Miller's, who has no other name here. Accents are left out
    of addresses: `jose@…` is José's.
    """
    name, parts = _plain(words_of_name), _parts_of(value)
    whole = [part for part in parts if part in name and len(part) > _TWO]
    if bears_name(words_of_name, value):
        return True
    return bool(whole) and (parts[0] in whole or (len(words_of_name) == 1 and parts[-1] in whole))


def bears_name(words_of_name: frozenset[str], value: str) -> bool:
    """Whether an address says nothing but a name: of Alexander Chen, `alexander@…`, `a.chen@…`,
    `alex.chen@…` and `alexanderchen@…`; not `alexander.cheng@…`.
    """
    name, parts = _plain(words_of_name), _parts_of(value)
    if len(parts) == 1 and _is_joined(parts[0], name):
        return True
    whole = [part for part in parts if part in name and len(part) > _TWO]
    return bool(whole) and all(part in name or _is_short(part, name) for part in parts)


def may_bear(words_of_name: frozenset[str], value: str) -> bool:
    """Whether an address may say that name and no other: with what an address is for beside it
    (`chen.office@…`), or as one word with the initial (`achen@…`).
    """
    local, mark, domain = value.partition("@")
    name, parts = _plain(words_of_name), _parts_of(value)
    telling = [part for part in parts if part not in _PURPOSES]
    initial = len(parts) == 1 and any(
        parts[0] in {f"{other[0]}{word}", f"{word}{other[0]}"}
        for word in name
        if len(word) > _TWO and word in parts[0]
        for other in name - {word}
    )
    return initial or bears_name(words_of_name, ".".join(telling or [local]) + mark + domain)


_PURPOSES: Final = frozenset(
    "office work home mail email private privat business contact team info me personal".split()
)


@lru_cache(maxsize=4_096)
def _parts_of(value: str) -> tuple[str, ...]:
    local = value.split("@", 1)[0].replace("_", " ").replace(".", " ")
    return tuple(part for part in words(local) if not part.isdigit())


def _is_short(part: str, name: frozenset[str]) -> bool:
    """Whether this is an initial of the name, or the first letters of one of its words."""
    return len(part) != _TWO and any(word.startswith(part) for word in name)


_TWO: Final = 2  # letters: too few to be short for a name, too many for an initial
