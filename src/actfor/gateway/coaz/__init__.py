"""COAZ-MCP: an MCP message becomes a question that any AuthZEN decision point can answer.

OpenID AuthZEN, COAZ-MCP Draft 1 (2026-02). By ``Pep.judge`` our gateway asks, beside its own
decision (``gateway.mapped``); ``Pep.authorize`` answers a whole message, for an MCP server that is
its own enforcement point. ``docs/standards/authzen.md`` says where the draft and MCP 2026-07-28
disagree, and what is done about it.
"""

from actfor.gateway.coaz.mapping import (
    DEFAULTS,
    Envelope,
    Mapped,
    check_mapping,
    declared,
    map_message,
)
from actfor.gateway.coaz.pep import Ask, Pep, Verdict

__all__ = [
    "DEFAULTS",
    "Ask",
    "Envelope",
    "Mapped",
    "Pep",
    "Verdict",
    "check_mapping",
    "declared",
    "map_message",
]
