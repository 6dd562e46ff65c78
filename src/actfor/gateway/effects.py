"""What one call would do, by what the operator has said about its tool.

The operator's overlay decides. A tool nobody has described is UNKNOWN, which asks a person. What a
server says about its own tool (annotations) is a hint from a stranger: it may make an effect more
severe, never less (MCP 2026-07-28, tools: annotations are untrusted).

The overlay, as JSON; any other member is refused:

    {"effect": "read"}
    {"effect": {"sql": "/query", "dialect": "sqlite"}}         judge the text of this argument
    {"effect": "pay", "amount": {"pointer": "/amount", "currency": "EUR"}}
    {"effect": "pay", "amount": {"pointer": "/amount", "currency": {"pointer": "/currency"}}}
    {"effect": "share", "sinks": {"/to": "recipient", "/body": "text"}}   what its arguments are for
    {"effect": "read", "results": "trusted"}                              whose words come back
    {"effect": "read", "results": {"label": "untrusted", "trusted": ["id", "/*/date"],
                                   "author": ["sender"], "secret": ["/password"]}}

    {"effect": "read", "coaz": {"evaluation": {"action": {"name": "read"}, "resource":
        {"type": "customer", "id": "$params.arguments.id"}}}}   also ask this (``gateway.mapped``)
    {"effect": "read", "coaz": false}                           and not what the server declares

A field is named by a pointer in which `*` stands for one step, or by its name at any depth. What no
rule names has the label of the whole; without `results` nothing that comes back is believed more
than its system can vouch for (``provenance.results``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, Self

from actfor.authorization.intent import SinkType
from actfor.authorization.model import ToolEffect
from actfor.errors import Kind, Refused
from actfor.gateway.coaz import check_mapping
from actfor.gateway.sql import DIALECTS, classify_sql, most_severe
from actfor.wire.canonical import JsonObject, JsonValue, canonical
from actfor.wire.rar import Money, require_currency, resolve

_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_SQL_EFFECTS: Final = (
    ToolEffect.READ,
    ToolEffect.WRITE,
    ToolEffect.DELETE,
    ToolEffect.INFRASTRUCTURE,
)
_MOST_FIELDS: Final = 64
# People write what they mean: an IBAN is an account, a mail address a recipient.
_SINK_WORDS: Final = {
    **{kind.value: kind.value for kind in SinkType},
    **dict.fromkeys(("email", "e-mail", "person", "user", "phone", "recipients"), "recipient"),
    **dict.fromkeys(("iban", "card", "wallet"), "account"),
    **dict.fromkeys(("domain", "link", "host"), "url"),
    **dict.fromkeys(("file", "folder", "filename"), "path"),
    **dict.fromkeys(("secret", "password", "credential", "token"), "key"),
    **dict.fromkeys(("role", "access"), "permission"),
    **dict.fromkeys(("content", "body", "subject", "free_text", "message"), "text"),
    **dict.fromkeys(("id", "identifier", "target", "channel", "repository"), "name"),
    **dict.fromkeys(("sql", "script", "shell"), "command"),
    **dict.fromkeys(("otp",), "code"),
    **dict.fromkeys(("time", "datetime"), "date"),
    **dict.fromkeys(("number", "quantity"), "amount"),
    **dict.fromkeys(("none", "ignore"), "other"),
}
_AMOUNT: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,4})?")


@dataclass(frozen=True, slots=True)
class SqlEffect:
    """The effect is that of the SQL text at this pointer (RFC 6901) into the arguments."""

    pointer: str
    dialect: str = "sqlite"


@dataclass(frozen=True, slots=True)
class AmountRule:
    """Where a call says how much it spends. Exactly one of the two currencies is set."""

    pointer: str
    currency: str | None = None
    currency_pointer: str | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """Whose words a tool returns: a label for all of it, and fields that differ.

    ``author`` fields say who wrote an item; ``secret`` ones must not leave unasked.
    """

    trusted_whole: bool = False
    trusted: tuple[str, ...] = ()
    untrusted: tuple[str, ...] = ()
    author: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()

    def trusts(self, pointer: str, names: list[str]) -> bool:
        """Whether the field at this pointer (`*` for indexes) is a system of record's own."""
        if _named(self.untrusted, pointer, names):
            return False
        return self.trusted_whole or _named(self.trusted, pointer, names)

    def is_author(self, pointer: str, names: list[str]) -> bool:
        """Whether the field names who wrote the item."""
        return _named(self.author, pointer, names)

    def is_secret(self, pointer: str, names: list[str]) -> bool:
        """Whether the field holds a secret."""
        return _named(self.secret, pointer, names)

    def to_json(self) -> JsonValue:
        """The form in the module's documentation."""
        label = "trusted" if self.trusted_whole else "untrusted"
        fields = {name: list(getattr(self, name)) for name in _FIELD_LISTS if getattr(self, name)}
        return {"label": label, **fields} if fields else label


_FIELD_LISTS: Final = ("trusted", "untrusted", "author", "secret")


def _named(rules: tuple[str, ...], pointer: str, names: list[str]) -> bool:
    for rule in rules:
        if not rule.startswith("/"):
            if rule in names:
                return True
        elif _alike(rule.split("/"), pointer.split("/")):
            return True
    return False


def _alike(rule: list[str], steps: list[str]) -> bool:
    # A rule covers what is below it: `/sender` is also `/sender/name`.
    return len(rule) <= len(steps) and all(
        mine in {"*", step} for mine, step in zip(rule, steps, strict=False)
    )


@dataclass(frozen=True, slots=True)
class Overlay:
    """What an operator says about a tool. The default says nothing, so the effect is UNKNOWN.

    ``sinks`` maps pointers into the arguments to what they are for; what it does not name is read
    from the tool's definition, which may only add sinks. ``coaz`` is the operator's COAZ mapping of
    the tool, False to leave unasked what the server declares, None to ask that.
    """

    effect: ToolEffect | SqlEffect = ToolEffect.UNKNOWN
    amount: AmountRule | None = None
    sinks: Mapping[str, SinkType] = field(default_factory=dict)
    results: Results | None = None
    coaz: JsonObject | Literal[False] | None = None
    text: str = field(init=False, compare=False, repr=False)
    """The canonical JSON: what is stored, and compared when a call is recorded."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", canonical(self.to_json()).decode())

    @property
    def possible(self) -> tuple[ToolEffect, ...]:
        """The effects that calls usually have, for telling clients which scopes there are."""
        return _SQL_EFFECTS if isinstance(self.effect, SqlEffect) else (self.effect,)

    def to_json(self) -> JsonObject:
        """The form in the module's documentation."""
        body: dict[str, JsonValue] = {}
        if isinstance(self.effect, SqlEffect):
            body["effect"] = {"sql": self.effect.pointer, "dialect": self.effect.dialect}
        else:
            body["effect"] = self.effect.value
        if (amount := self.amount) is not None:
            pointer: JsonValue = {"pointer": amount.currency_pointer}
            currency = pointer if amount.currency is None else amount.currency
            body["amount"] = {"pointer": amount.pointer, "currency": currency}
        if self.sinks:
            body["sinks"] = {pointer: kind.value for pointer, kind in self.sinks.items()}
        if self.results is not None:
            body["results"] = self.results.to_json()
        if self.coaz is not None:
            body["coaz"] = self.coaz
        return body

    @classmethod
    def said(cls, value: JsonValue) -> Self:
        """Parse what an operator says now. ``from_json`` also reads what older releases took.

        Raises:
            Refused: as ``from_json``, and for a currency that there is not.
        """
        overlay = cls.from_json(value)
        if overlay.amount is not None and overlay.amount.currency is not None:
            require_currency(overlay.amount.currency)
        return overlay

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Parse an overlay.

        Raises:
            Refused: MALFORMED, naming the member that is wrong.
        """
        members = _members(value, {"effect", "amount", "sinks", "results", "coaz"}, "an overlay")
        amount, results = members.get("amount"), members.get("results")
        mapping = members.get("coaz")
        return cls(
            _effect(members.get("effect", ToolEffect.UNKNOWN.value)),
            None if amount is None else _amount_rule(amount),
            _sinks(members.get("sinks", {})),
            None if results is None else _results(results),
            mapping if mapping is None or mapping is False else check_mapping(mapping),
        )


def _sinks(value: JsonValue) -> dict[str, SinkType]:
    if not isinstance(value, dict) or len(value) > _MOST_FIELDS:
        raise _malformed(
            f"`sinks` is an object of at most {_MOST_FIELDS} members, from a pointer to what the"
            ' argument is for: {"/to": "recipient"}'
        )
    found: dict[str, SinkType] = {}
    for pointer, kind in value.items():
        if not isinstance(kind, str) or kind not in _SINK_WORDS:
            told = f"`{kind[:64]}`" if isinstance(kind, str) else "what is no text"
            raise _malformed(
                f"`sinks`: {told} is not what an argument is for: {', '.join(SinkType)}"
            )
        found[_pointer(pointer, "sinks")] = SinkType(_SINK_WORDS[kind])
    return found


def _results(value: JsonValue) -> Results:
    if isinstance(value, str):
        value = {"label": value}
    if not isinstance(value, dict):
        known = ", ".join(("label", *_FIELD_LISTS))
        raise _malformed(f"`results` is `trusted`, `untrusted`, or an object with {known}")
    members = _members(value, {"label", *_FIELD_LISTS}, "`results`")
    label = members.get("label", "untrusted")
    if label not in {"trusted", "untrusted"}:
        raise _malformed("`results` are `trusted` or `untrusted`")
    lists = {name: _names(members.get(name, []), name) for name in _FIELD_LISTS}
    return Results(label == "trusted", **lists)


def _names(value: JsonValue, name: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or len(value) > _MOST_FIELDS:
        raise _malformed(f"`{name}` is a list of at most {_MOST_FIELDS} fields")
    for rule in value:
        if not isinstance(rule, str) or not 1 <= len(rule) <= 256:
            raise _malformed(f"`{name}` names fields such as `sender` or `/*/sender`")
    return tuple(str(rule) for rule in value)


def _effect(value: JsonValue) -> ToolEffect | SqlEffect:
    if isinstance(value, str):
        effect = ToolEffect(value)
        if effect is ToolEffect.UNKNOWN and value != "unknown":
            raise _malformed(f"`{value[:64]}` is not an effect: {', '.join(ToolEffect)}")
        return effect
    if not isinstance(value, dict):
        raise _malformed(f'`effect` is one of {", ".join(ToolEffect)}, or {{"sql": "/argument"}}')
    members = _members(value, {"sql", "dialect"}, "`effect`")
    dialect = members.get("dialect", "sqlite")
    if not isinstance(dialect, str) or dialect not in DIALECTS:
        raise _malformed(f"`dialect` is one of {', '.join(sorted(DIALECTS))}")
    return SqlEffect(_pointer(members.get("sql"), "sql"), dialect)


def _amount_rule(value: JsonValue) -> AmountRule:
    members = _members(value, {"pointer", "currency"}, "`amount`")
    pointer, currency = _pointer(members.get("pointer"), "pointer"), members.get("currency")
    if isinstance(currency, str):
        if not _CURRENCY.fullmatch(currency):
            raise _malformed("`currency` is an ISO 4217 code such as `EUR`")
        return AmountRule(pointer, currency=currency)
    where = _members(currency, {"pointer"}, "`currency`")
    return AmountRule(pointer, currency_pointer=_pointer(where.get("pointer"), "currency"))


def _members(value: JsonValue, known: set[str], what: str) -> JsonObject:
    if not isinstance(value, dict):
        raise _malformed(f"{what} is an object with {' and '.join(sorted(known))}")
    for name in value:
        if name not in known:
            there = ", ".join(sorted(known))
            raise _malformed(f"unknown member `{str(name)[:64]}` in {what}; there are {there}")
    return value


def _pointer(value: JsonValue, name: str) -> str:
    if not isinstance(value, str) or len(value) > 256 or not _POINTER.fullmatch(value):
        told = f"`{value[:64]}` is none" if isinstance(value, str) else "it is no text"
        raise _malformed(
            f"`{name}` takes a JSON pointer (RFC 6901) into the arguments, such as `/query`: {told}"
        )
    return value


def _malformed(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, detail)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a call would do, and what it would spend where that is known."""

    effect: ToolEffect
    amount: Money | None


def judge(overlay: Overlay, annotations: JsonValue, arguments: JsonObject) -> Judged:
    """The effect and amount of one call.

    An argument that the overlay needs and cannot read makes the effect UNKNOWN: what nobody can
    judge is not judged harmless.
    """
    if isinstance(overlay.effect, SqlEffect):
        text = resolve(arguments, overlay.effect.pointer)
        effect = (
            classify_sql(text, overlay.effect.dialect)
            if isinstance(text, str)
            else ToolEffect.UNKNOWN
        )
    else:
        effect = overlay.effect
    amount = None
    if overlay.amount is not None and (amount := _amount(overlay.amount, arguments)) is None:
        effect = ToolEffect.UNKNOWN
    return Judged(most_severe(effect, _hinted(annotations)), amount)


def _hinted(annotations: JsonValue) -> ToolEffect:
    """The least effect that the server itself admits to; READ where it says nothing.

    Only what it says is heard, not MCP's defaults: those would make every silent tool destructive.
    ``openWorldHint`` is not used; reading the web is not yet sending data there.
    """
    if not isinstance(annotations, dict):
        return ToolEffect.READ
    if annotations.get("readOnlyHint") is True:
        return ToolEffect.READ
    if annotations.get("destructiveHint") is True:
        return ToolEffect.DELETE
    return ToolEffect.WRITE if annotations.get("readOnlyHint") is False else ToolEffect.READ


def _amount(rule: AmountRule, arguments: JsonObject) -> Money | None:
    currency = rule.currency
    if rule.currency_pointer is not None:
        stated = resolve(arguments, rule.currency_pointer)
        currency = stated if isinstance(stated, str) and _CURRENCY.fullmatch(stated) else None
    value = resolve(arguments, rule.pointer)
    if currency is None or isinstance(value, bool):
        return None
    # repr of a float is the shortest text that reads back as it: what the caller wrote.
    text = repr(value) if isinstance(value, int | float) else value
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        return None
    try:
        return Money(Decimal(text), currency)
    except (InvalidOperation, Refused):
        return None
