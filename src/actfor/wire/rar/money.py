"""Amounts of money: a decimal text and an ISO 4217 code, exact to the minor unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue

_TEXT: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,4})?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_MAX_MINOR: Final = 10**15
# ISO 4217: minor-unit digits where they are not two.
_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_DIGITS: Final = {
    **dict.fromkeys(_NONE.split(), 0),
    **dict.fromkeys(_THREE.split(), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}

# What is or was lately in use; whoever writes another code means another.
_IN_USE = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN
BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD
FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS
KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN
MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR
SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD
USN UYI UYU UYW UZS VED VES VND VUV WST XAF XAG XAU XCD XCG XDR XOF XPD XPF XPT XSU XUA YER ZAR ZMW
ZWG ZWL
"""
_KNOWN: Final = frozenset(_IN_USE.split())


def require_currency(code: str) -> None:
    """Refuse a code that no currency has. ``Money`` does not: what others call theirs is not ours.

    Raises:
        Refused: MALFORMED.
    """
    if code not in _KNOWN:
        shown = code[:16].encode("unicode_escape").decode("ascii")
        raise Refused(Kind.MALFORMED, f"`{shown}` is no currency of ISO 4217 such as `EUR`")


@dataclass(frozen=True, slots=True)
class Money:
    """A non-negative amount. ``500.0`` and ``500.00`` of one currency are equal.

    Raises:
        Refused: MALFORMED if it is negative, not finite, finer than the currency's minor unit,
            or beyond 10^15 minor units.
    """

    value: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not _CURRENCY.fullmatch(self.currency):
            raise Refused(Kind.MALFORMED, "currency must be an ISO 4217 code such as `EUR`")
        if not self.value.is_finite() or not 0 <= self.value <= _MAX_MINOR:
            raise Refused(Kind.MALFORMED, "amount must be a non-negative decimal number")
        minor = self.value.scaleb(_digits(self.currency))
        if minor > _MAX_MINOR:
            raise Refused(Kind.MALFORMED, "amount is above 10^15 of the currency's smallest unit")
        if minor != minor.to_integral_value():
            digits = _digits(self.currency)
            raise Refused(
                Kind.MALFORMED, f"an amount in {self.currency} has at most {digits} decimal places"
            )

    @classmethod
    def parse(cls, amount: JsonValue, currency: JsonValue) -> Self:
        """From a decimal string such as ``500.00`` (never a JSON number) and a currency code.

        Raises:
            Refused: MALFORMED.
        """
        if not isinstance(amount, str) or not _TEXT.fullmatch(amount):
            raise Refused(Kind.MALFORMED, "amount must be a decimal string such as `500.00`")
        if not isinstance(currency, str):
            raise Refused(Kind.MALFORMED, "currency must be an ISO 4217 code such as `EUR`")
        return cls(Decimal(amount), currency)

    @classmethod
    def from_json(cls, value: JsonValue, *, amount_member: str = "amount") -> Self:
        """From ``{"amount": "500.00", "currency": "EUR"}`` with no other member.

        Raises:
            Refused: MALFORMED.
        """
        if not isinstance(value, Mapping) or value.keys() != {amount_member, "currency"}:
            raise Refused(
                Kind.MALFORMED, f"an amount is an object of `{amount_member}` and `currency`"
            )
        return cls.parse(value[amount_member], value["currency"])

    @classmethod
    def of_minor(cls, minor: int, currency: str) -> Self:
        """From a count of minor units (cents)."""
        return cls(Decimal(minor).scaleb(-_digits(currency)), currency)

    @property
    def minor(self) -> int:
        """The amount in minor units of its currency: 500.00 EUR is 50000, 500 JPY is 500."""
        return int(self.value.scaleb(_digits(self.currency)))

    @property
    def text(self) -> str:
        """The decimal text with all minor digits: ``500.00``."""
        return f"{self.value:.{_digits(self.currency)}f}"

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form of mission constraints (standards map §5): a decimal string, a code."""
        return {"amount": self.text, "currency": self.currency}

    def within(self, limit: Money) -> bool:
        """Whether this is at most ``limit``; amounts of different currencies never are."""
        return self.currency == limit.currency and self.value <= limit.value

    def __str__(self) -> str:
        return f"{self.text} {self.currency}"


def _digits(currency: str) -> int:
    return _DIGITS.get(currency, 2)
