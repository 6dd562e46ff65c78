"""What kind of thing a value is, read strictly: one reading or none.

The kinds are what ``from(source, type, cardinality)`` and ``{"type": …}`` name. They look at the
spelling only: that an IBAN's check digits are right, that a host exists or that a path is there is
NOT checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from actfor.errors import Refused
from actfor.wire.canonical import JsonValue
from actfor.wire.rar.money import Money

MAX_TEXT: Final = 1024

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,9})?")
_ESCAPED: Final = re.compile(r"%(2e|2f|5c|00)", re.IGNORECASE)
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# RFC 5322 §3.2.3 dot-atom; quoted local parts have more than one reading in the wild.
_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}")
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}")
_PHONE: Final = re.compile(r"\+?[0-9](?:[ ()/.-]?[0-9]){5,17}")
_ID: Final = re.compile(r"[A-Za-z0-9#][A-Za-z0-9._:#@-]{0,127}")
_WHEN: Final = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?)?"
)


def number_of(value: JsonValue) -> Decimal | None:
    """A JSON number, or text that is a plain decimal (`-1.50`, not `1e3`, `01` or `+1`)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, str) and len(value) <= 30 and _DECIMAL.fullmatch(value):
        return Decimal(value)
    return None


def segments_of(path: JsonValue) -> tuple[str, ...] | None:
    """The segments of a path that has one reading only; None otherwise."""
    if not isinstance(path, str) or not path or "\\" in path:
        return None
    if CONTROL.search(path) or _ESCAPED.search(path):
        return None
    parts = path.removesuffix("/").split("/") if path != "/" else [""]
    if any(part in {"", ".", ".."} for part in parts[1:]) or parts[0] in {".", "..", "~"}:
        return None
    return tuple(parts)


def host_of(value: JsonValue) -> str | None:
    """The host that an e-mail address, an absolute URL or a bare host name leads to.

    Lower case, without a trailing dot. Only ASCII: an internationalised name is spelled as its
    A-label (`xn--…`), so that no letter that looks like another ever matches. None for whatever two
    parsers could read differently: user names in URLs, backslashes, blanks, display names, lists.
    """
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isascii():
        return None
    if CONTROL.search(value) or " " in value or "\\" in value:
        return None
    if "://" in value:
        host = _url_host(value)
    elif "@" in value:
        local, _, host = value.partition("@")
        if len(local) > 64 or not _LOCAL.fullmatch(local):
            return None
    else:
        host = value
    return None if host is None else plain_host(host)


def plain_host(text: str) -> str | None:
    """A host name in lower case without a trailing dot, or None."""
    host = text.lower().removesuffix(".")
    return host if len(host) <= 253 and _HOST.fullmatch(host) else None


def day_of(value: JsonValue) -> date | None:
    """The calendar date as it is written: of `2026-11-30`, or of a date and time that begins so.

    The date as written, whatever zone follows: `2026-11-30T23:00:00-08:00` is the 30th.
    """
    if not isinstance(value, str) or len(value) > 40:
        return None
    found = _WHEN.fullmatch(value)
    if found is None:
        return None
    try:
        return date.fromisoformat(found["day"])
    except ValueError:
        return None


def money_of(value: JsonValue) -> Money | None:
    """`500.00 EUR`, `EUR 500.00`, or an object of `amount` (or `value`) and `currency`."""
    if isinstance(value, Mapping):
        named = value.keys() - {"currency"}
        if value.keys() == {"currency", *named} and named in ({"amount"}, {"value"}):
            return _money(value[next(iter(named))], value["currency"])
        return None
    if not isinstance(value, str) or len(value) > 40 or value.count(" ") != 1:
        return None
    first, _, second = value.partition(" ")
    return _money(first, second) or _money(second, first)


def _money(amount: JsonValue, currency: JsonValue) -> Money | None:
    number = number_of(amount)
    if number is None or not isinstance(currency, str):
        return None
    try:
        return Money(number, currency)
    except Refused:
        return None


def _url_host(text: str) -> str | None:
    scheme, _, rest = text.partition("://")
    if not _SCHEME.fullmatch(scheme) or not rest:
        return None
    try:
        split = urlsplit(text)
        if "@" in split.netloc or (split.port is not None and split.port == 0):
            return None
        return split.hostname
    except ValueError:
        return None


def _is_text(value: JsonValue) -> bool:
    return isinstance(value, str) and len(value) <= 100_000


def _is_name(value: JsonValue) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 200 and not CONTROL.search(value)


def _is_email(value: JsonValue) -> bool:
    return isinstance(value, str) and "://" not in value and "@" in value and bool(host_of(value))


def _is_url(value: JsonValue) -> bool:
    return isinstance(value, str) and "://" in value and host_of(value) is not None


def _is_domain(value: JsonValue) -> bool:
    return (
        isinstance(value, str) and "@" not in value and "." in value and host_of(value) is not None
    ) and "://" not in value


def _is_iban(value: JsonValue) -> bool:
    if not isinstance(value, str) or len(value) > 50 or not value.isascii():
        return False
    return bool(_IBAN.fullmatch(value.replace(" ", "").upper()))


def _is_id(value: JsonValue) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return True
    return isinstance(value, str) and bool(_ID.fullmatch(value))


def _is_phone(value: JsonValue) -> bool:
    return isinstance(value, str) and bool(_PHONE.fullmatch(value))


_TYPES: Final[Mapping[str, Callable[[JsonValue], bool]]] = {
    "amount": lambda value: number_of(value) is not None or money_of(value) is not None,
    "date": lambda value: day_of(value) is not None,
    "domain": _is_domain,
    "email": _is_email,
    "iban": _is_iban,
    "id": _is_id,
    "name": _is_name,
    "number": lambda value: number_of(value) is not None,
    "path": lambda value: segments_of(value) is not None,
    "phone": _is_phone,
    "text": _is_text,
    "url": _is_url,
}
VALUE_TYPES: Final = frozenset(_TYPES)
"""The kinds of value that a mandate can name."""

# What is one of these is certainly text, a name, and so on: for comparing two limits.
_WITHIN: Final = {
    "text": frozenset({"date", "domain", "email", "iban", "name", "path", "phone", "text", "url"}),
    "amount": frozenset({"amount", "number"}),
}


def is_type(value: JsonValue, name: str) -> bool:
    """Whether ``value`` is one thing of the kind ``name``, which is one of ``VALUE_TYPES``."""
    return _TYPES[name](value)


def type_narrows(child: str, parent: str) -> bool:
    """Whether everything of kind ``child`` is of kind ``parent``."""
    return child == parent or child in _WITHIN.get(parent, frozenset())
