"""The peer of the gateway: FastMCP's own proxy, as its documentation sets one up, without policy.

    .venv-bench/bin/python bench/peers/fastmcp_proxy.py PORT UPSTREAM_URL

Runs in an environment of its own (`requirements/bench.txt`). Stateless HTTP with JSON answers:
the cheapest settings it has.
"""

from __future__ import annotations

import sys

from fastmcp.server import create_proxy  # type: ignore[import-not-found] # in .venv-bench only

if __name__ == "__main__":
    create_proxy(sys.argv[2], name="bench-proxy").run(
        transport="http",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        path="/mcp",
        stateless_http=True,
        json_response=True,
        show_banner=False,
        log_level="ERROR",
        uvicorn_config={"access_log": False},
    )
