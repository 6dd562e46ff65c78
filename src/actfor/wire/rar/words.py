"""Authority in plain words, made from the very data that is checked.

``explain`` is what a person confirms, on every surface: console, command line, approval. Nothing an
agent says is in it. Values are shown as JSON, with characters that hide or reorder text escaped.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from actfor.wire.canonical import JsonValue, canonical
from actfor.wire.rar.authority import ANY_TOOL, Authority, Grant
from actfor.wire.rar.budget import Budget, Windowed
from actfor.wire.rar.composite import AllOf, AnyOf, Constraint, Each, From, Source
from actfor.wire.rar.constraint import (
    Amount,
    Dates,
    Domain,
    MaxLength,
    OneOf,
    Pattern,
    Prefix,
    Range,
    Typed,
)
from actfor.wire.rar.flow import ANYWHERE, Flow
from actfor.wire.rar.window import DAYS, TimeWindow, clock_text, offset_text
from actfor.wire.timestamps import rfc3339

EFFECT_WORDS: Final[Mapping[str, str]] = {
    "read": "read",
    "write": "write",
    "delete": "delete",
    "pay": "pay",
    "share": "share with others",
    "grant_access": "give access",
    "execute": "run programs",
    "egress": "send data out",
    "infrastructure": "change infrastructure",
    "unknown": "anything that cannot be told",
}
"""The effects in the order of their harm, and in words."""

_SINK_WORDS: Final[Mapping[str, str]] = {
    "recipient": "as a recipient",
    "account": "as an account",
    "url": "as an address on the web",
    "path": "as a path",
    "command": "as a command",
    "key": "as a key",
    "permission": "as a permission",
    "name": "as a name",
    "amount": "as an amount",
    "date": "as a date",
    "code": "as a code",
    "text": "as text",
}
_LABEL_WORDS: Final[Mapping[str, str]] = {
    "user": "what you said",
    "trusted": "data of systems that the operator trusts",
    "untrusted": "other people's text",
    "secret": "secrets",
}
_DECISION_WORDS: Final[Mapping[str, str]] = {
    "deny": "is never used",
    "step-up": "is used only after a person's yes",
    "permit": "may be used",
}
_DAY_WORDS: Final = dict(
    zip(
        DAYS,
        ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"),
        strict=True,
    )
)
_TYPE_WORDS: Final[Mapping[str, str]] = {
    "amount": "an amount",
    "date": "a date",
    "domain": "a domain name",
    "email": "an e-mail address",
    "iban": "an IBAN",
    "id": "an identifier",
    "name": "a name",
    "number": "a number",
    "path": "a path",
    "phone": "a telephone number",
    "text": "text",
    "url": "a URL",
}


def explain(authority: Authority, *, four_eyes: bool = False) -> list[str]:
    """All that is checked of a call under this authority, one sentence each."""
    grants = authority.grants
    words = [
        grant_words(grant, beyond=any(_goes_beyond(grant, other) for other in grants[:index]))
        for index, grant in enumerate(grants)
    ]
    words += budget_words(authority.budget)
    words += [flow_words(flow) for flow in authority.flows]
    if four_eyes:
        words.append("Whoever approves a call is not the person it is made for.")
    words.append(_delegation_words(authority))
    words.append("Everything else is denied.")
    return words


def grant_words(grant: Grant, *, beyond: bool = False) -> str:
    """One grant as a sentence. ``beyond`` says that others before it let some of this pass with
    fewer questions.
    """
    tools = "any tool" if grant.tools == (ANY_TOOL,) else ", ".join(grant.tools)
    effects = " or ".join(word for name, word in EFFECT_WORDS.items() if name in grant.effects)
    parts = [f"On {grant.server}: {tools}, to {effects}"]
    parts += [f"{visible(pointer)} {limit_words(limit)}" for pointer, limit in grant.args.items()]
    if grant.max_calls is not None:
        parts.append(f"at most {_calls(grant.max_calls)}")
    parts += [f"at most {_calls(rate.calls)} in any {rate.per}" for rate in grant.rates]
    if grant.amount is not None:
        parts.append(f"at most {grant.amount} a call")
    if grant.window is not None:
        parts.append(window_words(grant.window))
    if grant.purpose_bound:
        parts.append("as far as your words ask for it")
    asking = _asking_words(grant)
    parts.append(f"beyond what is said above, {asking}" if beyond else asking)
    return "; ".join(parts) + "."


def _goes_beyond(grant: Grant, other: Grant) -> bool:
    """Whether ``grant`` asks about every call, of which ``other`` lets some pass."""
    same = grant.server == other.server and set(grant.tools) & set(other.tools)
    return bool(same) and grant.approval == "always" and other.approval != "always"


def limit_words(limit: Constraint) -> str:
    """What an argument must be: `must be exactly "a"`."""
    match limit:
        case OneOf(values=values):
            return f"must be exactly {' or '.join(shown(value) for value in values)}"
        case Pattern(glob=glob):
            return f"must look like {visible(glob)}"
        case Prefix(path=path):
            return f"must be {visible(path)} or below it"
        case Domain(names=names):
            return f"must lead to {' or '.join(names)}"
        case Typed(type=kind):
            return f"must be {_TYPE_WORDS[kind]}"
        case MaxLength(limit=most):
            return f"must not be longer than {most}"
        case Range(low=low, high=high):
            return _between(low, high, "")
        case Amount(low=low, high=high, currency=currency):
            return _between(low, high, f" {currency}")
        case Dates(first=first, last=last):
            return _between(first, last, "")
        case From(source=source, type=kind, cardinality=most):
            several = "" if most == 1 else f", at most {most} different ones"
            return f"must be {_TYPE_WORDS[kind]} seen in {source_words(source)}{several}"
        case Each(limit=inner):
            return f"{limit_words(inner)} (each element of a list)"
        case AllOf(parts=parts):
            return f"({' and '.join(limit_words(part) for part in parts)})"
        case AnyOf(parts=parts):
            return f"({' or '.join(limit_words(part) for part in parts)})"


def source_words(source: Source) -> str:
    """Where a value may come from."""
    whose = "" if source.label is None else _LABEL_WORDS[source.label]
    if source.server is None:
        return whose
    tools = visible(", ".join(source.tools)) if source.tools else "any tool"
    called = f"what {tools} of {visible(source.server)} returned"
    if source.arguments:
        limits = [f"{visible(name)} {limit_words(lim)}" for name, lim in source.arguments.items()]
        called += f" for a call where {' and '.join(limits)}"
    return f"{called}, if it is {whose}" if whose else called


def budget_words(budget: Budget) -> list[str]:
    """A budget, a sentence for each limit."""
    words = [f"In all: at most {limit}." for limit in _limits(budget)]
    for window in budget.windows:
        words += [f"In any {window.per}: at most {limit}." for limit in _limits(window)]
    return words


def flow_words(flow: Flow) -> str:
    """A flow rule as a sentence."""
    whose = _LABEL_WORDS[flow.label]
    if flow.to == ANYWHERE:
        where = "in any call"
    else:
        where = _SINK_WORDS.get(flow.to) or f"in a call to {EFFECT_WORDS[flow.to]}"
    return f"{whose[0].upper()}{whose[1:]} {_DECISION_WORDS[flow.decision]} {where}."


def window_words(window: TimeWindow) -> str:
    """When calls may happen."""
    parts: list[str] = []
    if window.recurs:
        days = "every day" if window.days == DAYS else _listed([_DAY_WORDS[d] for d in window.days])
        zone = f" (UTC{offset_text(window.offset)})" if window.offset else " (UTC)"
        hours = f"from {clock_text(window.start)} until {clock_text(window.end)}{zone}"
        parts.append(f"only {days} {hours}")
    if window.not_before is not None:
        parts.append(f"not before {rfc3339(window.not_before)}")
    if window.not_after is not None:
        parts.append(f"not after {rfc3339(window.not_after)}")
    return ", ".join(parts) or "at any time"


def shown(value: JsonValue) -> str:
    """A value as JSON, with what hides or reorders text escaped."""
    return visible(canonical(value).decode())


def visible(text: str) -> str:
    """The text on one line, with control, format and unusual blank characters escaped."""
    return "".join(
        char
        if char == " " or unicodedata.category(char)[0] not in {"C", "Z"}
        else f"\\u{ord(char):04x}"
        for char in text
    )


def _asking_words(grant: Grant) -> str:
    if grant.approval == "always":
        return "a person is asked before every call"
    when: list[str] = []
    if grant.ask_above is not None:
        when.append(f"above {grant.ask_above} (of a day, what was not asked about adds up)")
    if grant.ask_new_recipient:
        when.append("before anyone new is reached")
    if not when:
        return "a person is asked when policy says so"
    return f"a person is asked {' and '.join(when)}, and when policy says so"


def _delegation_words(authority: Authority) -> str:
    if not authority.max_depth:
        return "It may not pass this on to other agents."
    to = ""
    if authority.delegates is not None:
        to = f" to {_listed(list(authority.delegates))}" if authority.delegates else " to nobody"
    return f"It may pass this on{to}, at most {authority.max_depth} agents deep."


def _limits(limits: Budget | Windowed) -> list[str]:
    words: list[str] = []
    if limits.calls is not None:
        words.append(_calls(limits.calls))
    if limits.amount is not None:
        words.append(str(limits.amount))
    if limits.recipients is not None:
        words.append(f"{limits.recipients} different recipient{_s(limits.recipients)}")
    return words


def _calls(count: int) -> str:
    return f"{count} call{_s(count)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _between(low: object, high: object, unit: str) -> str:
    if low is not None and low == high:
        return f"must be exactly {low}{unit}"
    if low is None:
        return f"must be at most {high}{unit}"
    if high is None:
        return f"must be at least {low}{unit}"
    return f"must be from {low} to {high}{unit}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
