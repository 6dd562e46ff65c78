"""An attacker who knows everything but the keys: forges a delegation and tries to use it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2

from actfor.cli.demo.stage import Broken
from actfor.wire.dpop import build_proof
from actfor.wire.jose import SigningKey, sign

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type, not a token
CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "write_query", "arguments": {"query": "DELETE FROM customers"}},
}


def forge_and_try(server: str, mandate: str) -> Iterator[tuple[str, str]]:
    """Each attempt and the refusal it met.

    Raises:
        Broken: an attempt was not refused.
    """
    key = SigningKey.generate()
    yield "forged token", _call_with(server, mandate, key)
    yield "forged exchange", _exchange(server, mandate, key, actor=True)
    yield "no actor", _exchange(server, mandate, key, actor=False)


def _claims(server: str, mandate: str, audience: str) -> dict[str, Any]:
    now = int(time.time())
    agent = "spiffe://localhost/agent/bookkeeper"
    return {
        "iss": server,
        "aud": audience,
        "sub": "usr_operator",
        "client_id": agent,
        "act": {"sub": agent, "iss": "spiffe://localhost", "sub_profile": "ai_agent"},
        "may_act": {"sub": agent},
        "mission": {"id": mandate, "issuer": server},
        "iat": now,
        "exp": now + 300,
        "jti": "at_forged",
    }


def _call_with(server: str, mandate: str, key: SigningKey) -> str:
    url = f"{server}/mcp/crm"
    claims = {**_claims(server, mandate, url), "cnf": {"jkt": key.kid}}
    token = sign(claims, typ="at+jwt", key=key)
    proof = build_proof(
        key=key,
        method="POST",
        url=url,
        jti=secrets.token_urlsafe(16),
        now=datetime.now(UTC),
        access_token=token,
    )
    headers = {
        "authorization": f"DPoP {token}",
        "dpop": proof,
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2025-11-25",
    }
    answer = httpx2.post(url, json=CALL, headers=headers)
    _must_be(answer, 401)
    return f"401: {answer.headers['www-authenticate'].split('error=')[-1].split(',')[0]}"


def _exchange(server: str, mandate: str, key: SigningKey, *, actor: bool) -> str:
    form = {
        "grant_type": EXCHANGE,
        "subject_token": sign(_claims(server, mandate, server), typ="at+jwt", key=key),
        "subject_token_type": ACCESS_TOKEN,
        "resource": f"{server}/mcp/crm",
    }
    if actor:
        svid = {**_claims(server, mandate, server), "sub": "spiffe://localhost/agent/bookkeeper"}
        form |= {"actor_token": sign(svid, typ="JWT", key=key), "actor_token_type": JWT}
    url = f"{server}/token"
    proof = build_proof(
        key=key, method="POST", url=url, jti=secrets.token_urlsafe(16), now=datetime.now(UTC)
    )
    answer = httpx2.post(url, data=form, headers={"dpop": proof})
    _must_be(answer, 400, 401)
    return f"{answer.status_code} {answer.json()['error']}: {answer.json()['error_description']}"


def _must_be(answer: httpx2.Response, *statuses: int) -> None:
    if answer.status_code not in statuses:
        raise Broken(f"a forged delegation was answered {answer.status_code}: {answer.text[:300]}")
