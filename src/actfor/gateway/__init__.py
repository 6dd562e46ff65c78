"""The enforcement point: governed MCP servers, and the one line every call goes down.

``enforce`` decides and acts, ``mcp`` speaks to clients, ``upstream`` to servers, ``catalog`` knows
what operators approved.
"""

from actfor.gateway.calls import Settings
from actfor.gateway.catalog import Catalog
from actfor.gateway.effects import Overlay
from actfor.gateway.enforce import Enforcer
from actfor.gateway.http import servers_router
from actfor.gateway.mcp import McpFront
from actfor.gateway.upstream import Limits

__all__ = [
    "Catalog",
    "Enforcer",
    "Limits",
    "McpFront",
    "Overlay",
    "Settings",
    "servers_router",
]
