"""The MCP servers behind the gateway: one long-lived connection each, restarted when it dies.

`connect` makes the right kind for a transport. What all kinds promise stands in ``protocol``.
The MCP SDK takes a third of a server's start: `loaded` is for who governs something.
"""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

from actfor.gateway.model import Stdio, Transport
from actfor.gateway.upstream.pool import Pool
from actfor.gateway.upstream.protocol import (
    Limits,
    OnListed,
    Upstream,
    UpstreamError,
    UpstreamLost,
)

__all__ = [
    "Limits",
    "OnListed",
    "Pool",
    "Upstream",
    "UpstreamError",
    "UpstreamLost",
    "connect",
    "loaded",
]


async def loaded() -> None:
    """Await this before `connect`, so that loading the SDK holds up nobody on this loop."""
    for kind in ("http", "stdio"):
        await asyncio.to_thread(importlib.import_module, f"{__name__}.{kind}")


def connect(
    name: str,
    transport: Transport,
    *,
    on_listed: OnListed,
    pool: Pool,
    limits: Limits | None = None,
    logs: Path | None = None,
) -> Upstream:
    """The upstream called ``name``. Nothing is started before it is first used.

    ``pool`` is the process's one HTTP client. ``logs`` is a folder for what stdio servers print on
    stderr; without it that is dropped.
    """
    from actfor.gateway.upstream.http import HttpUpstream
    from actfor.gateway.upstream.stdio import StdioUpstream

    bounds = limits or Limits()
    if isinstance(transport, Stdio):
        stderr = None if logs is None else logs / f"{name}.stderr.log"
        return StdioUpstream(name, transport, on_listed=on_listed, limits=bounds, stderr=stderr)
    return HttpUpstream(name, transport, on_listed=on_listed, limits=bounds, pool=pool)
