"""Authority in plain words, made from the very data that is checked.

``explain`` is what a person confirms, on every surface: console, command line, approval. Nothing an
agent says is in it. Values are shown as JSON, with characters that hide or reorder text escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from actfor.wire.rar.authority import ANY_TOOL, Authority, Grant
from actfor.wire.rar.budget import Budget, Windowed
from actfor.wire.rar.flow import ANYWHERE, Flow
from actfor.wire.rar.limit_words import LABEL_WORDS, limit_words, visible
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


def budget_words(budget: Budget) -> list[str]:
    """A budget, a sentence for each limit."""
    words = [f"In all: at most {limit}." for limit in _limits(budget)]
    for window in budget.windows:
        words += [f"In any {window.per}: at most {limit}." for limit in _limits(window)]
    return words


def flow_words(flow: Flow) -> str:
    """A flow rule as a sentence."""
    whose = LABEL_WORDS[flow.label]
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


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
