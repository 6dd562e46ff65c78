"""Fetching a published log over HTTP, without credentials: it is public."""

from __future__ import annotations

import httpx2

from actfor.errors import Kind, Refused
from actfor.sdk.mirror import Fetch

_MOST = 256 * 65_537  # the largest bundle there can be


def fetch_from(prefix: str) -> Fetch:
    """Fetch what is below this prefix, over one connection."""
    client = httpx2.Client(timeout=60.0, follow_redirects=False)

    def fetch(path: str) -> bytes:
        url = f"{prefix.rstrip('/')}/{path}"
        try:
            answer = client.get(url)
        except httpx2.TransportError as error:
            raise Refused(Kind.BUSY, f"`{url}` cannot be reached: {error}") from None
        if answer.status_code == 404:
            raise Refused(Kind.NOT_FOUND, f"the log has no `{path}`")
        if not answer.is_success or len(answer.content) > _MOST:
            raise Refused(Kind.BUSY, f"`{url}` answered {answer.status_code}")
        return answer.content

    return fetch
