"""Authority only narrows: the relation that every exchange must satisfy.

INVARIANT (property-tested): if ``narrows(child, parent)`` is None, every call that ``child`` covers
is covered by ``parent``, without an approval that ``parent`` would have required being lost.
The relation is reflexive and transitive; it may refuse what is in truth narrower (it compares
grant by grant, patterns by equality), never accept what is not.
"""

from __future__ import annotations

from actfor.wire.rar.authority import ANY_TOOL, Authority, Budget, Grant
from actfor.wire.rar.constraint import constraint_narrows
from actfor.wire.rar.money import Money


def narrows(child: Authority, parent: Authority) -> str | None:
    """None if ``child`` is equal to or narrower than ``parent``; else the first reason why not."""
    for grant in child.grants:
        if origin(grant, parent) is None:
            return _closest(grant, parent)
    widened = _budget_widened(child.budget, parent.budget)
    if widened is not None:
        return widened
    if child.max_depth > parent.max_depth:
        return f"delegation depth {child.max_depth} is above {parent.max_depth}"
    return None


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
    if parent.max_calls is not None and (
        child.max_calls is None or child.max_calls > parent.max_calls
    ):
        return f"at most {parent.max_calls} calls are granted"
    if not _money_narrows(child.amount, parent.amount):
        return f"at most {parent.amount} a call is granted"
    if parent.approval == "always" and child.approval != "always":
        return "the grant requires a person's approval each time"
    return None


def _closest(grant: Grant, parent: Authority) -> str:
    """Why not even the likeliest grant of ``parent`` contains ``grant``."""
    same = [known for known in parent.grants if known.server == grant.server]
    named = [
        known for known in same if known.tools == (ANY_TOOL,) or set(known.tools) & set(grant.tools)
    ]
    likeliest = (named or same or list(parent.grants))[0]
    return grant_widened(grant, likeliest) or "not granted"


def _budget_widened(child: Budget, parent: Budget) -> str | None:
    if parent.calls is not None and (child.calls is None or child.calls > parent.calls):
        return f"the budget is at most {parent.calls} calls"
    if not _money_narrows(child.amount, parent.amount):
        return f"the budget is at most {parent.amount}"
    return None


def _money_narrows(child: Money | None, parent: Money | None) -> bool:
    return parent is None or (child is not None and child.within(parent))


def _list(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
