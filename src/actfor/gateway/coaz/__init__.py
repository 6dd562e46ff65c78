"""COAZ-MCP: an MCP message becomes a question that any AuthZEN decision point can answer.

OpenID AuthZEN, COAZ-MCP Draft 1 (2026-02). ``Pep.authorize`` is the whole of it; ``docs/standards/
authzen.md`` says where the draft and MCP 2026-07-28 disagree, and what is done about it.
"""

from actfor.gateway.coaz.mapping import DEFAULTS, Mapped, map_message
from actfor.gateway.coaz.pep import Ask, Pep

__all__ = ["DEFAULTS", "Ask", "Mapped", "Pep", "map_message"]
