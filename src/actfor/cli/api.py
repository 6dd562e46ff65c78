"""The management API as the command line sees it: DPoP on each request, refusals as refusals."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2

from actfor.cli.profile import Profile, load_profile
from actfor.errors import Kind, Refused
from actfor.wire.dpop import build_proof
from actfor.wire.problem import HTTP

TIMEOUT = 60.0


class _ProfileAuth(httpx2.Auth):
    """The login's token with a fresh proof (RFC 9449 §7.1)."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        request.headers["authorization"] = f"DPoP {self._profile.access_token}"
        request.headers["dpop"] = build_proof(
            key=self._profile.key,
            method=request.method,
            url=str(request.url),
            now=datetime.now(UTC),
            jti=secrets.token_urlsafe(16),
            access_token=self._profile.access_token,
        )
        yield request


class Api:
    """``GET`` and ``POST`` of JSON. Every answer but success is raised as ``Refused``."""

    def __init__(self, profile: Profile) -> None:
        profile.require_live()
        self.base_url = profile.server.rstrip("/")
        self._client = httpx2.Client(
            base_url=profile.server, auth=_ProfileAuth(profile), timeout=TIMEOUT
        )

    def get(self, path: str, *, patience: float = TIMEOUT, **query: Any) -> Any:
        """The JSON at ``path`` within so many seconds; ``None`` parameters are left out."""
        wanted = {name: value for name, value in query.items() if value is not None}
        return self._json("GET", path, params=wanted, timeout=patience)

    def post(self, path: str, body: Any, *, patience: float = TIMEOUT) -> Any:
        """Send JSON, get JSON (None where the answer has no body), within so many seconds."""
        return self._json("POST", path, json=body, timeout=patience)

    def put(self, path: str, body: Any) -> Any:
        """Send JSON to be kept under ``path``."""
        return self._json("PUT", path, json=body)

    def text(self, path: str) -> bytes:
        """The bytes at ``path``."""
        return self._send("GET", path).content

    def _json(self, method: str, path: str, **given: Any) -> Any:
        _check_path(path)
        answer = self._send(method, path, **given)
        return answer.json() if answer.content else None

    def _send(self, method: str, path: str, **given: Any) -> httpx2.Response:
        return send(self._client, method, path, **given)


def _check_path(path: str) -> None:
    """Refuse a path that a name in it has made another one.

    Raises:
        Refused: MALFORMED.
    """
    parts = path.removeprefix("/").split("/")
    if any(part in {"", ".", ".."} or set(part) & set("?#%\\") for part in parts):
        raise Refused(
            Kind.MALFORMED,
            f"an id or a name is empty or has `..`, `?`, `#`, `%` or a backslash in it: `{path}`",
        )


def send(client: httpx2.Client, method: str, path: str, **given: Any) -> httpx2.Response:
    """One request; refusals and an unreachable server become ``Refused``."""
    try:
        answer = client.request(method, path, **given)
    except httpx2.TransportError as error:
        raise Refused(
            Kind.BUSY, f"the server at `{client.base_url}` cannot be reached: {error}"
        ) from None
    if answer.is_success:
        return answer
    try:
        body = answer.json()
    except ValueError:
        body = None
    raise refused_from(answer.status_code, body)


def api() -> Api:
    """The API as the person who is signed in."""
    return Api(load_profile())


def refused_from(status: int, body: object) -> Refused:
    """What a problem document or an OAuth error says, as a refusal; its text is the server's."""
    said = body if isinstance(body, Mapping) else {}
    detail = said.get("detail") or said.get("error_description") or said.get("title")
    code = said.get("error")
    return Refused(
        _kind(status, said.get("kind")),
        detail if isinstance(detail, str) else f"the server answered {status}",
        code=code if isinstance(code, str) else None,
    )


def _kind(status: int, named: object) -> Kind:
    if named in set(Kind):
        return Kind(str(named))
    if status >= 500:
        return Kind.BUSY
    return next((kind for kind, (mapped, _) in HTTP.items() if mapped == status), Kind.MALFORMED)
