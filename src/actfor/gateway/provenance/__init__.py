"""Whose data a call carries, whether the person asked for it, and what is decided then.

``DecisionPoint`` is the whole of it without a server; the gateway uses ``Ledger`` (one per mandate)
and ``KnownTool``. See ``docs/guides/replay.md`` and ADR 15.

A result is cut into labelled fields (``results``), taken in (``intake``) and kept (``kept``,
``items``). A call's values (``slots``) are traced (``trace``, ``named``, ``prose``, ``carried``) in
what was kept, and in what the words say of it (``index``). From that, from what strangers' texts
ask for (``bidding``) and from the calls made before (``made``, ``basket``), ``ledger`` draws its
findings and ``intent`` the facts: whether it was asked for (``asked``), and what is doubtful
(``doubts``).
"""

from actfor.gateway.provenance.given import parts_of
from actfor.gateway.provenance.labels import Label, Origin, SlotTrace
from actfor.gateway.provenance.ledger import Ledger, Traced
from actfor.gateway.provenance.point import DecisionPoint, Verdict
from actfor.gateway.provenance.tools import KnownTool, ToolDescription, suggest, suggest_overlay

__all__ = [
    "DecisionPoint",
    "KnownTool",
    "Label",
    "Ledger",
    "Origin",
    "SlotTrace",
    "ToolDescription",
    "Traced",
    "Verdict",
    "parts_of",
    "suggest",
    "suggest_overlay",
]
