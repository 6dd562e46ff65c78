"""Every ``permit`` repeats the caps of the mandate, or says why it need not.

A step-up is found by asking the same policies again with ``approved``. A ``permit`` that does not
look at the caps would therefore be reachable by an approval over budget: only the ``forbid``s of
the default pack stand before it, and a set that is published need not hold them.

INVARIANT: under a set without problems here, a call outside the mandate or over a cap is neither
permitted nor held for approval, unless a policy with ``@uncapped("…")`` permits it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from actfor.authorization.model.guards import conjuncts_of, fact_in
from actfor.authorization.model.source import Policy, Problem

CAPS = ("in_mandate", "within_caps")
"""What a ``permit`` must demand, each by its name alone in a ``when``."""

UNCAPPED = "uncapped"
"""The annotation that lifts the demand; its text says why, and is shown beside the policy."""


def uncapped(policy: Policy) -> str | None:
    """Why a policy need not repeat the caps; None where it must."""
    reason = policy.body.get("annotations", {}).get(UNCAPPED)
    return reason.strip() if isinstance(reason, str) and reason.strip() else None


def missing(policy: Policy) -> tuple[str, ...]:
    """The caps that a ``permit`` does not demand. Empty for a ``forbid``.

    Only what is a conjunct of the conditions counts: ``a || context.within_caps`` demands
    nothing. What is not recognised counts as missing.
    """
    if policy.effect != "permit":
        return ()
    demanded = {
        fact_in(atom, ".") for atom, wanted in conjuncts_of(policy.body["conditions"]) if wanted
    }
    return tuple(name for name in CAPS if name not in demanded)


def problems(policies: Iterable[Policy]) -> Iterator[Problem]:
    """The policies that may not be published for want of a cap."""
    for policy in policies:
        absent = missing(policy)
        if absent and uncapped(policy) is None:
            wanted = " && ".join(f"context.{name}" for name in absent)
            yield Problem(
                policy.line,
                policy.id,
                f"a permit must repeat the caps: add `when {{ {wanted} }}`, or say why not with"
                f' @{UNCAPPED}("…")',
            )
