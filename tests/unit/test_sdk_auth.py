"""The SDK's auth: exchange once, prove each request, renew in time, never leak the token."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.fakes.identity_issuer import Issuer, credentials, serving

from actfor.errors import Kind, Refused
from actfor.sdk import DelegatedAuth
from actfor.sdk.sidecar import Credentials
from actfor.wire.jose import SigningKey


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def issuer(key: SigningKey) -> Iterator[Issuer]:
    with serving(Issuer(jkt=key.kid)) as running:
        yield running


def delegated(issuer: Issuer, given: Credentials, server: str = "crm") -> DelegatedAuth:
    async def later() -> Credentials:
        return given

    return DelegatedAuth(
        f"{issuer.url}/mcp/{server}", credentials=lambda: given, credentials_async=later
    )


async def test_one_exchange_serves_many_requests_each_with_its_own_proof(
    issuer: Issuer, key: SigningKey
) -> None:
    auth = delegated(issuer, credentials(issuer, key))
    async with httpx2.AsyncClient(auth=auth) as http:
        responses = await asyncio.gather(
            *(http.post(f"{issuer.url}/mcp/crm?page={n}", json={"n": n}) for n in range(8))
        )
    assert [response.status_code for response in responses] == [200] * 8
    assert len(issuer.exchanges) == 1
    assert len(set(issuer.proofs)) == len(issuer.proofs) == 9
    assert {token for token, _, _ in issuer.calls} == {"token-1"}


async def test_the_exchange_says_exactly_what_rfc_8693_wants(
    issuer: Issuer, key: SigningKey
) -> None:
    async with httpx2.AsyncClient(auth=delegated(issuer, credentials(issuer, key))) as http:
        await http.get(f"{issuer.url}/mcp/crm")
    assert issuer.exchanges == [
        {
            "grant_type": ["urn:ietf:params:oauth:grant-type:token-exchange"],
            "subject_token": ["subject"],
            "subject_token_type": ["urn:ietf:params:oauth:token-type:access_token"],
            "actor_token": ["svid.svid.svid"],
            "actor_token_type": ["urn:ietf:params:oauth:token-type:jwt"],
            "requested_token_type": ["urn:ietf:params:oauth:token-type:access_token"],
            "resource": [f"{issuer.url}/mcp/crm"],
        }
    ]


def test_it_works_without_an_event_loop(issuer: Issuer, key: SigningKey) -> None:
    with httpx2.Client(auth=delegated(issuer, credentials(issuer, key))) as http:
        assert http.get(f"{issuer.url}/mcp/crm").status_code == 200
        assert http.post(f"{issuer.url}/mcp/crm/deep", json={}).status_code == 200
    assert len(issuer.exchanges) == 1


async def test_a_401_leads_to_one_new_exchange_and_one_retry_with_the_body(
    issuer: Issuer, key: SigningKey
) -> None:
    issuer.reject = {"token-1"}
    auth = delegated(issuer, credentials(issuer, key))
    async with httpx2.AsyncClient(auth=auth) as http:
        response = await http.post(f"{issuer.url}/mcp/crm", content=b"body")
        assert response.status_code == 200
        assert issuer.calls == [("token-2", "POST", b"body")]
        issuer.reject = {"token-2", "token-3", "token-4"}
        assert (await http.get(f"{issuer.url}/mcp/crm")).status_code == 401
    assert len(issuer.exchanges) == 3


def test_a_401_is_retried_without_an_event_loop_too(issuer: Issuer, key: SigningKey) -> None:
    issuer.reject = {"token-1"}
    with httpx2.Client(auth=delegated(issuer, credentials(issuer, key))) as http:
        assert http.post(f"{issuer.url}/mcp/crm", content=b"x").status_code == 200
    assert issuer.calls == [("token-2", "POST", b"x")]


async def test_a_token_is_renewed_at_80_percent_of_its_life(
    issuer: Issuer, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = delegated(issuer, credentials(issuer, key))
    now = time.monotonic()
    async with httpx2.AsyncClient(auth=auth) as http:
        await http.get(f"{issuer.url}/mcp/crm")
        monkeypatch.setattr("actfor.sdk.auth.time.monotonic", lambda: now + 239)
        await http.get(f"{issuer.url}/mcp/crm")
        assert len(issuer.exchanges) == 1
        monkeypatch.setattr("actfor.sdk.auth.time.monotonic", lambda: now + 241)
        await http.get(f"{issuer.url}/mcp/crm")
        assert len(issuer.exchanges) == 2


async def test_nonce_challenges_are_answered(issuer: Issuer, key: SigningKey) -> None:
    issuer.token_nonce, issuer.resource_nonce = "n-token", "n-resource"
    async with httpx2.AsyncClient(auth=delegated(issuer, credentials(issuer, key))) as http:
        assert (await http.get(f"{issuer.url}/mcp/crm")).status_code == 200
        assert (await http.get(f"{issuer.url}/mcp/crm")).status_code == 200
    assert len(issuer.exchanges) == 1
    assert len(issuer.calls) == 2


@pytest.mark.parametrize("path", ["/mcp/crm2", "/mcp/bank", "/v1/agents", "/mcp/crm/../bank"])
async def test_the_token_goes_nowhere_else(issuer: Issuer, key: SigningKey, path: str) -> None:
    async with httpx2.AsyncClient(auth=delegated(issuer, credentials(issuer, key))) as http:
        with pytest.raises(Refused) as refused:
            await http.get(issuer.url + path)
    assert refused.value.kind is Kind.DENIED
    assert issuer.calls == []


async def test_the_token_does_not_follow_a_redirect_to_another_host(
    issuer: Issuer, key: SigningKey
) -> None:
    other = issuer.url.replace("127.0.0.1", "localhost")
    async with httpx2.AsyncClient(auth=delegated(issuer, credentials(issuer, key))) as http:
        with pytest.raises(Refused):
            await http.get(f"{other}/mcp/crm")
    assert issuer.calls == []


@pytest.mark.parametrize(
    ("status", "answer", "kind", "code"),
    [
        (400, {"error": "invalid_grant"}, Kind.UNAUTHENTICATED, "invalid_grant"),
        (400, {"error": "invalid_scope"}, Kind.DENIED, "invalid_scope"),
        (400, {"error": "invalid_target"}, Kind.DENIED, "invalid_target"),
        (400, {"error": "actor_unauthorized"}, Kind.DENIED, "actor_unauthorized"),
        (400, {"error": "invalid_request"}, Kind.MALFORMED, "invalid_request"),
        (503, {"error": "temporarily_unavailable"}, Kind.BUSY, "temporarily_unavailable"),
        (400, {"error": 7}, Kind.BUSY, "server_error"),
        (200, {"access_token": "t", "token_type": "Bearer", "expires_in": 60}, Kind.DENIED, None),
        (200, {"access_token": "t", "token_type": "DPoP", "expires_in": 0}, Kind.MALFORMED, None),
        (200, {"token_type": "DPoP", "expires_in": 60}, Kind.MALFORMED, None),
        (200, {"access_token": "é", "token_type": "DPoP", "expires_in": 60}, Kind.MALFORMED, None),
    ],
)
async def test_a_refused_exchange_is_a_refusal_with_the_oauth_code(
    issuer: Issuer, key: SigningKey, status: int, answer: dict[str, object], kind: Kind, code: str
) -> None:
    issuer.exchange_answer = (status, answer)
    async with httpx2.AsyncClient(auth=delegated(issuer, credentials(issuer, key))) as http:
        with pytest.raises(Refused) as refused:
            await http.get(f"{issuer.url}/mcp/crm")
    assert (refused.value.kind, refused.value.code) == (kind, code)
    assert issuer.calls == []


async def test_without_a_mandate_nothing_is_asked(issuer: Issuer, key: SigningKey) -> None:
    given = credentials(issuer, key, subject_token=None, mandate=None)
    async with httpx2.AsyncClient(auth=delegated(issuer, given)) as http:
        with pytest.raises(Refused, match="mandate"):
            await http.get(f"{issuer.url}/mcp/crm")
    assert issuer.exchanges == []


def test_secrets_do_not_show_in_a_repr(issuer: Issuer, key: SigningKey) -> None:
    given = credentials(issuer, key)
    assert "subject" not in repr(given).replace("subject_token", "")
    assert "svid.svid" not in repr(given)
    secret: Any = given.to_json()["key"]
    assert secret["d"] not in repr(given)


async def test_what_it_holds_is_passed_on_with_its_own_token_and_proof(
    issuer: Issuer, key: SigningKey
) -> None:
    auth = delegated(issuer, credentials(issuer, key))
    issuer.passing = {"token_type": "N_A"}
    to, narrower = "spiffe://example.org/agent/helper", [{"type": "mission_resource_access"}]
    assert await auth.pass_on_async(to, authorization_details=narrower) == "token-2"
    assert auth.pass_on(to, scope="crm:read") == "token-3"
    first, second = issuer.exchanges[1:]
    assert first["subject_token"] == second["subject_token"] == ["token-1"]
    assert first["requested_actor"] == second["requested_actor"] == [to]
    assert first["authorization_details"] == ['[{"type":"mission_resource_access"}]']
    assert second["scope"] == ["crm:read"]


@pytest.mark.parametrize("answer", [{"token_type": "DPoP"}, {"access_token": 7}, {}])
async def test_a_token_that_opens_something_is_not_handed_to_another_agent(
    issuer: Issuer, key: SigningKey, answer: dict[str, Any]
) -> None:
    auth = delegated(issuer, credentials(issuer, key))
    issuer.passing = answer
    with pytest.raises(Refused, match="not a token to pass on"):
        await auth.pass_on_async("spiffe://example.org/agent/helper")
