"""The style sheet, the script and the mark, read once and served from memory.

A file's address carries its digest, so a browser may keep it for ever.
"""

from __future__ import annotations

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.wire.canonical import digest_bytes

_TYPES = {
    "console.css": "text/css; charset=utf-8",
    "passkey.js": "text/javascript; charset=utf-8",
    "mark.svg": "image/svg+xml",
}
_FILES = {name: (files(__package__) / name).read_bytes() for name in _TYPES}
_VERSIONS = {
    name: digest_bytes(body).removeprefix("sha-256:")[:16] for name, body in _FILES.items()
}


def asset(name: str) -> str:
    """The address of a file, with its version."""
    return f"/static/{name}?v={_VERSIONS[name]}"


async def _serve(request: Request) -> Response:
    name = request.path_params["name"]
    body = _FILES.get(name)
    if body is None:
        return Response("not found\n", status_code=404, media_type="text/plain")
    exact = request.query_params.get("v") == _VERSIONS[name]
    return Response(
        body,
        headers={
            "content-type": _TYPES[name],
            "cache-control": "public, max-age=31536000, immutable" if exact else "no-cache",
            "x-content-type-options": "nosniff",
            "cross-origin-resource-policy": "same-origin",
            "content-security-policy": "default-src 'none'",
        },
    )


ROUTE = Route("/static/{name}", _serve, methods=["GET"])
