"""The enforcement point: governed MCP servers, and the one line every call goes down.

``enforce`` decides and acts, ``mcp`` speaks to clients, ``upstream`` to servers, ``catalog`` knows
what operators approved.
"""

from actfor.gateway.calls import Settings
from actfor.gateway.catalog import Catalog
from actfor.gateway.effects import Overlay
from actfor.gateway.enforce import Enforcer
from actfor.gateway.http import proposals_router, servers_router
from actfor.gateway.mcp import McpFront
from actfor.gateway.model_proposer import ModelProposer
from actfor.gateway.proposals import Proposals, Proposer
from actfor.gateway.upstream import Limits

__all__ = [
    "Catalog",
    "Enforcer",
    "Limits",
    "McpFront",
    "ModelProposer",
    "Overlay",
    "Proposals",
    "Proposer",
    "Settings",
    "proposals_router",
    "servers_router",
]
