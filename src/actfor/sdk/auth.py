"""Delegated access for HTTP clients: exchange, bind, renew; the caller just makes requests.

``DelegatedAuth`` is an ``httpx2.Auth``, for ``Client`` and ``AsyncClient`` alike. Before the first
request to a governed server it exchanges the human's token and the agent's SVID for an access
token for that one audience (RFC 8693 with DPoP, RFC 9449). It keeps the token until 80 % of its
life is over, makes a fresh proof for each request, answers a nonce challenge, and exchanges anew
once after a 401.

The token goes to the URL that it is for and below it, never elsewhere.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TypeAlias

import httpx2

from actfor.errors import Kind, Refused
from actfor.sdk.sidecar import Credentials
from actfor.wire.canonical import JsonObject, JsonValue, canonical
from actfor.wire.dpop import USE_NONCE, build_proof, target
from actfor.wire.strict_json import load_object

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name (RFC 8693 §2.1)
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name (RFC 8693 §3)
JWT = "urn:ietf:params:oauth:token-type:jwt"

Form: TypeAlias = dict[str, str]
TOKEN_PATH = "/token"  # noqa: S105 - a path

_KEPT = 0.8
_TIMEOUT = 30.0
_MAX_ANSWER = 64 * 1024
_KINDS = {
    "invalid_request": Kind.MALFORMED,
    "unsupported_grant_type": Kind.MALFORMED,
    "invalid_client": Kind.UNAUTHENTICATED,
    "invalid_grant": Kind.UNAUTHENTICATED,
    "invalid_token": Kind.UNAUTHENTICATED,
    "invalid_dpop_proof": Kind.UNAUTHENTICATED,
    USE_NONCE: Kind.UNAUTHENTICATED,
    "expired_token": Kind.EXPIRED,
    "interaction_required": Kind.STEP_UP_REQUIRED,
    "authorization_pending": Kind.STEP_UP_REQUIRED,
    "server_error": Kind.BUSY,
    "temporarily_unavailable": Kind.BUSY,
}


@dataclass(frozen=True, slots=True)
class _Token:
    """An access token, the credentials it is bound to, and until when it is used (monotonic s)."""

    text: str = field(repr=False)
    credentials: Credentials
    until: float


class DelegatedAuth(httpx2.Auth):
    """``auth=`` for the governed server at ``audience`` (its URL). Safe to share between tasks.

    Raises, from the client's call: ``Refused`` when the exchange is refused, with the OAuth error
    in ``code``; ``httpx2.TransportError`` when the server cannot be reached. Request bodies are
    read into memory first, so that a request can be sent again after a 401.
    """

    def __init__(
        self,
        audience: str,
        *,
        credentials: Callable[[], Credentials],
        credentials_async: Callable[[], Awaitable[Credentials]],
    ) -> None:
        self._audience = audience
        self._credentials = credentials
        self._credentials_async = credentials_async
        self._token: _Token | None = None
        self._nonce: str | None = None
        self._lock = threading.Lock()
        self._async_lock = asyncio.Lock()

    def sync_auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """See ``httpx2.Auth``."""
        request.read()
        token = self._obtain(stale=None)
        response = yield self._signed(request, token)
        if self._nonce_wanted(response):
            response = yield self._signed(request, token)
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            yield self._signed(request, self._obtain(stale=token))

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """See ``httpx2.Auth``."""
        await request.aread()
        token = await self._obtain_async(stale=None)
        response = yield self._signed(request, token)
        if self._nonce_wanted(response):
            response = yield self._signed(request, token)
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            yield self._signed(request, await self._obtain_async(stale=token))

    def pass_on(
        self, to: str, *, authorization_details: JsonValue = None, scope: str | None = None
    ) -> str:
        """What the agent ``to`` (a SPIFFE ID) needs to act through us: its ``subject_token``.

        It is made from our own access token, for no more than is asked for here, and ends with it,
        within minutes. Only ``to`` can use it, with its own key.

        Raises:
            Refused: with the OAuth error as ``code``: `actor_unauthorized` if the mandate does not
                allow that agent, `invalid_request` if it may not be passed on any further.
            httpx2.TransportError: the issuer cannot be reached.
        """
        token = self._obtain(stale=None)
        form = _passing(token, self._audience, to, authorization_details, scope)
        return _passed_on(ask(token.credentials, form))

    async def pass_on_async(
        self, to: str, *, authorization_details: JsonValue = None, scope: str | None = None
    ) -> str:
        """``pass_on`` on an event loop."""
        token = await self._obtain_async(stale=None)
        form = _passing(token, self._audience, to, authorization_details, scope)
        return _passed_on(await ask_async(token.credentials, form))

    def show(self) -> str:
        """Our access token, for a foreign enforcement point to show to the decision point.

        It says through whom we act (AuthZEN ``context.access_token``). It is bound to our key:
        whoever holds it can call nothing with it. It ends within minutes; show it anew each time.

        Raises: as a request does.
        """
        return self._obtain(stale=None).text

    async def show_async(self) -> str:
        """``show`` on an event loop."""
        return (await self._obtain_async(stale=None)).text

    def _usable(self, stale: _Token | None) -> _Token | None:
        token = self._token
        if token is None or token is stale or time.monotonic() >= token.until:
            return None
        return token

    def _obtain(self, *, stale: _Token | None) -> _Token:
        with self._lock:
            if (token := self._usable(stale)) is None:
                token = self._token = exchange(self._credentials(), self._audience)
            return token

    async def _obtain_async(self, *, stale: _Token | None) -> _Token:
        if (token := self._usable(stale)) is not None:
            return token
        async with self._async_lock:
            if (token := self._usable(stale)) is None:
                credentials = await self._credentials_async()
                token = self._token = await exchange_async(credentials, self._audience)
            return token

    def _signed(self, request: httpx2.Request, token: _Token) -> httpx2.Request:
        url = target(str(request.url))
        if url != target(self._audience) and not url.startswith(target(self._audience) + "/"):
            raise Refused(Kind.DENIED, f"the token is for `{self._audience}`, not for `{url}`")
        request.headers["Authorization"] = f"DPoP {token.text}"
        request.headers["DPoP"] = build_proof(
            key=token.credentials.key,
            method=request.method,
            url=url,
            now=datetime.now(UTC),
            jti=secrets.token_urlsafe(24),
            access_token=token.text,
            nonce=self._nonce,
        )
        return request

    def _nonce_wanted(self, response: httpx2.Response) -> bool:
        """Remember the server's nonce (RFC 9449 §9); True if the request failed for lack of it."""
        nonce = response.headers.get("DPoP-Nonce")
        if nonce is None or nonce == self._nonce:
            return False
        self._nonce = nonce
        challenge = response.headers.get("WWW-Authenticate", "")
        return response.status_code == httpx2.codes.UNAUTHORIZED and USE_NONCE in challenge


def exchange(credentials: Credentials, audience: str) -> _Token:
    """One RFC 8693 exchange.

    Raises:
        Refused: with the OAuth error as ``code``.
        httpx2.TransportError: the issuer cannot be reached.
    """
    began = time.monotonic()
    return _token(credentials, ask(credentials, _exchange_form(credentials, audience)), began)


async def exchange_async(credentials: Credentials, audience: str) -> _Token:
    """``exchange`` on an event loop."""
    began = time.monotonic()
    form = _exchange_form(credentials, audience)
    return _token(credentials, await ask_async(credentials, form), began)


def ask(credentials: Credentials, form: Form, path: str = TOKEN_PATH) -> httpx2.Response:
    """Send a form to the issuer with a proof of the agent's key; a nonce challenge is answered.

    Raises:
        httpx2.TransportError: the issuer cannot be reached.
    """
    with httpx2.Client(timeout=_TIMEOUT, verify=_trust()) as client:
        response = client.send(_signed_request(credentials, form, path, nonce=None))
        if nonce := _nonce_asked(response):
            response = client.send(_signed_request(credentials, form, path, nonce=nonce))
    return response


async def ask_async(
    credentials: Credentials, form: Form, path: str = TOKEN_PATH
) -> httpx2.Response:
    """``ask`` on an event loop."""
    async with httpx2.AsyncClient(timeout=_TIMEOUT, verify=_trust()) as client:
        response = await client.send(_signed_request(credentials, form, path, nonce=None))
        if nonce := _nonce_asked(response):
            response = await client.send(_signed_request(credentials, form, path, nonce=nonce))
    return response


@cache
def _trust() -> ssl.SSLContext:
    # Loading the authorities takes tens of milliseconds; once for all exchanges.
    return httpx2.create_ssl_context()


def _exchange_form(credentials: Credentials, audience: str) -> Form:
    if credentials.subject_token is None:
        raise Refused(Kind.DENIED, "there is no mandate; start with `actfor run --mandate …`")
    return _form(credentials, credentials.subject_token, audience)


def _form(credentials: Credentials, subject_token: str, audience: str) -> Form:
    return {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": subject_token,
        "subject_token_type": ACCESS_TOKEN,
        "actor_token": credentials.svid,
        "actor_token_type": JWT,
        "requested_token_type": ACCESS_TOKEN,
        "resource": audience,
    }


def _signed_request(
    credentials: Credentials, form: Form, path: str, *, nonce: str | None
) -> httpx2.Request:
    url = f"{credentials.issuer}{path}"
    proof = build_proof(
        key=credentials.key,
        method="POST",
        url=url,
        now=datetime.now(UTC),
        jti=secrets.token_urlsafe(24),
        nonce=nonce,
    )
    headers = {"DPoP": proof, "Accept": "application/json"}
    return httpx2.Request("POST", url, data=form, headers=headers)


def _nonce_asked(response: httpx2.Response) -> str | None:
    wanted = response.status_code == httpx2.codes.BAD_REQUEST and USE_NONCE in response.text
    return response.headers.get("DPoP-Nonce") if wanted else None


def _token(credentials: Credentials, response: httpx2.Response, began: float) -> _Token:
    answer = answer_of(response)
    text, kind, life = (answer.get(n) for n in ("access_token", "token_type", "expires_in"))
    if not isinstance(text, str) or not text.isascii() or type(life) is not int or life <= 0:
        raise Refused(Kind.MALFORMED, "the issuer's answer is not an access token")
    if not isinstance(kind, str) or kind.lower() != "dpop":
        raise Refused(Kind.DENIED, "the issuer did not bind the token to our key")
    return _Token(text, credentials, began + life * _KEPT)


def _passing(token: _Token, audience: str, to: str, details: JsonValue, scope: str | None) -> Form:
    form = {**_form(token.credentials, token.text, audience), "requested_actor": to}
    if details is not None:
        form["authorization_details"] = canonical(details).decode()
    return form if scope is None else {**form, "scope": scope}


def _passed_on(response: httpx2.Response) -> str:
    answer = answer_of(response)
    text = answer.get("access_token")
    # RFC 8693 §2.2.1: what opens nothing by itself says so.
    if not isinstance(text, str) or not text.isascii() or answer.get("token_type") != "N_A":
        raise Refused(Kind.MALFORMED, "the issuer's answer is not a token to pass on")
    return text


def answer_of(response: httpx2.Response) -> JsonObject:
    """The issuer's answer.

    Raises:
        Refused: with the OAuth error as ``code``; MALFORMED if it is no JSON object; BUSY.
    """
    answer = _json(response)
    if response.status_code != httpx2.codes.OK:
        raise oauth_refusal(response.status_code, answer)
    return answer


def _json(response: httpx2.Response) -> JsonObject:
    if len(response.content) > _MAX_ANSWER:
        raise Refused(Kind.MALFORMED, "the issuer's answer is too large")
    try:
        return load_object(response.content, max_depth=16)
    except Refused as refused:
        if response.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR:
            raise Refused(Kind.BUSY, f"the issuer answers {response.status_code}") from refused
        raise


def oauth_refusal(status: int, answer: JsonObject) -> Refused:
    """An OAuth error response (RFC 6749 §5.2) as a refusal; unknown errors are denials."""
    code, said = answer.get("error"), answer.get("error_description")
    name = code if isinstance(code, str) else "server_error"
    detail = said if isinstance(said, str) else f"the issuer answers {status} `{name}`"
    return Refused(_KINDS.get(name, Kind.DENIED), detail, code=name)
