"""Authority only narrows: the relation that every exchange must satisfy.

INVARIANT (property-tested): if ``narrows(child, parent)`` is None, every call that ``child`` covers
is covered by ``parent``, without an approval that ``parent`` would have required being lost; and
every sequence of calls that fits the counts of ``child`` fits those of ``parent``. The relation is
reflexive and transitive; it may refuse what is in truth narrower (it compares grant by grant, and
limits by their form), never accept what is not.
"""

from __future__ import annotations

from actfor.wire.rar.authority import ANY_TOOL, Authority, Grant
from actfor.wire.rar.budget import budget_widened, money_narrows, rates_widened
from actfor.wire.rar.composite import constraint_narrows
from actfor.wire.rar.flow import flows_widened


def narrows(child: Authority, parent: Authority) -> str | None:
    """None if ``child`` is equal to or narrower than ``parent``; else the first reason why not."""
    for grant in child.grants:
        if origin(grant, parent) is None:
            return _closest(grant, parent)
    widened = budget_widened(child.budget, parent.budget)
    if widened is not None:
        return widened
    if child.max_depth > parent.max_depth:
        return f"delegation depth {child.max_depth} is above {parent.max_depth}"
    if _delegates_widened(child, parent):
        return "it may be passed on to fewer agents than that"
    return flows_widened(child.flows, parent.flows)


def origin(grant: Grant, parent: Authority) -> int | None:
    """The index of the first grant of ``parent`` that ``grant`` narrows, or None."""
    for index, candidate in enumerate(parent.grants):
        if grant_widened(grant, candidate) is None:
            return index
    return None


def grant_widened(child: Grant, parent: Grant) -> str | None:
    """None if whatever ``child`` covers ``parent`` covers; else what it has beyond."""
    if child.server != parent.server:
        return f"server `{child.server}` is not granted"
    if parent.tools != (ANY_TOOL,) and not set(child.tools) <= set(parent.tools):
        return f"tools {_list(set(child.tools) - set(parent.tools))} are not granted"
    if not set(child.effects) <= set(parent.effects):
        return f"effects {_list(set(child.effects) - set(parent.effects))} are not granted"
    for pointer, limit in parent.args.items():
        held = child.args.get(pointer)
        if held is None or not constraint_narrows(held, limit):
            return f"argument `{pointer}` is limited more narrowly than that"
    if parent.window is not None and (
        child.window is None or not child.window.within(parent.window)
    ):
        return "the grant holds at fewer times than that"
    return _counts_widened(child, parent) or _asking_widened(child, parent)


def _counts_widened(child: Grant, parent: Grant) -> str | None:
    if parent.max_calls is not None and (
        child.max_calls is None or child.max_calls > parent.max_calls
    ):
        return f"at most {parent.max_calls} calls are granted"
    if not money_narrows(child.amount, parent.amount):
        return f"at most {parent.amount} a call is granted"
    return rates_widened(child.rates, parent.rates, child.max_calls)


def _asking_widened(child: Grant, parent: Grant) -> str | None:
    if parent.purpose_bound and not child.purpose_bound:
        return "the grant is bound to what the mandate's words ask for"
    if child.approval == "always":
        return None
    if parent.approval == "always":
        return "the grant requires a person's approval each time"
    if not money_narrows(child.ask_above, parent.ask_above):
        return f"the grant requires a person's approval above {parent.ask_above}"
    if parent.ask_new_recipient and not child.ask_new_recipient:
        return "the grant requires a person's approval of new recipients"
    return None


def _delegates_widened(child: Authority, parent: Authority) -> bool:
    if parent.delegates is None or child.max_depth == 0:
        return False  # who passes on nothing passes on to nobody
    return child.delegates is None or not set(child.delegates) <= set(parent.delegates)


def _closest(grant: Grant, parent: Authority) -> str:
    """Why not even the likeliest grant of ``parent`` contains ``grant``."""
    same = [known for known in parent.grants if known.server == grant.server]
    named = [
        known for known in same if known.tools == (ANY_TOOL,) or set(known.tools) & set(grant.tools)
    ]
    likeliest = (named or same or list(parent.grants))[0]
    return grant_widened(grant, likeliest) or "not granted"


def _list(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
