"""SPIFFE IDs that are not, and SVIDs that were never issued."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfor.errors import Kind, Refused
from actfor.wire import jose, spiffe
from actfor.wire.jose import SigningKey
from actfor.wire.spiffe import SpiffeId

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ISSUER = "https://iam.example.com"
KEY, AGENT_KEY = SigningKey.generate(), SigningKey.generate()
AGENT = SpiffeId.for_agent("example.org", "bookkeeper")


@pytest.mark.parametrize(
    "text",
    [
        "spiffe://example.org",
        "spiffe://example.org/agent/bookkeeper",
        "spiffe://example.org/agent/bookkeeper/i/abc123",
        "spiffe://ex_am-ple.1.org/A/b.c_d-e/...x",
        "spiffe://td/" + "a" * 2035,
    ],
)
def test_a_spiffe_id_is_its_text(text: str) -> None:
    assert str(SpiffeId.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "http://example.org/a",
        "SPIFFE://example.org/a",
        "spiffe:/example.org",
        "spiffe://",
        "spiffe:///a",
        "spiffe://Example.org/a",
        "spiffe://example.org:443/a",
        "spiffe://user@example.org/a",
        "spiffe://example.org/a%2Fb",
        "spiffe://exa%6dple.org/a",
        "spiffe://example.org//a",
        "spiffe://example.org/a/",
        "spiffe://example.org/",
        "spiffe://example.org/./a",
        "spiffe://example.org/a/../b",
        "spiffe://example.org/a?b",
        "spiffe://example.org/a#b",
        "spiffe://example.org/a b",
        "spiffe://example.org/a\n",
        "spiffe://example.org/p\u0430yroll",
        "spiffe://ex\u0430mple.org/a",
        "spiffe://example.org/a\ud800",
        "spiffe://" + "a" * 256 + "/a",
        "spiffe://td/" + "a" * 2037,
    ],
)
def test_what_is_no_spiffe_id_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        SpiffeId.parse(text)
    assert caught.value.kind is Kind.MALFORMED


@given(st.text(max_size=60))
def test_parsing_never_changes_a_text(tail: str) -> None:
    text = f"spiffe://example.org/{tail}"
    try:
        assert str(SpiffeId.parse(text)) == text
    except Refused as refused:
        assert refused.kind is Kind.MALFORMED


def test_an_instance_belongs_to_its_agent() -> None:
    instance = AGENT.instance("abc")
    assert str(instance) == "spiffe://example.org/agent/bookkeeper/i/abc"
    assert instance.agent == AGENT
    assert instance.agent_name == AGENT.agent_name == "bookkeeper"
    assert instance.authority == "spiffe://example.org"


@pytest.mark.parametrize(
    "path", ["", "/agent", "/agent/a/b", "/agent/a/i", "/agent/a/j/b", "/agent/a/i/b/c", "/x/a"]
)
def test_other_workloads_are_no_agents(path: str) -> None:
    assert SpiffeId.parse(f"spiffe://example.org{path}").agent is None


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a/b", "p\u0430y", "a" * 65, "a b", ".."])
def test_a_name_that_could_be_mistaken_is_no_agent(name: str) -> None:
    with pytest.raises(Refused):
        SpiffeId.for_agent("example.org", name)


# -- JWT-SVIDs ---------------------------------------------------------------------------------


def svid(**changes: Any) -> str:
    asked: dict[str, Any] = {
        "audience": ISSUER,
        "jkt": AGENT_KEY.kid,
        "jti": "svid_1",
        "now": NOW,
        "ttl": timedelta(minutes=10),
        "key": KEY,
        "private": {"manifest": "sha-256:" + "M" * 43},
        **changes,
    }
    return spiffe.sign_jwt_svid(changes.pop("identity", AGENT), **asked)


def verify(token: str, **changes: Any) -> spiffe.JwtSvid:
    asked: dict[str, Any] = {
        "trust_domain": "example.org",
        "audience": ISSUER,
        "keys": jose.key_map([KEY.public]),
        "now": NOW,
        **changes,
    }
    return spiffe.verify_jwt_svid(token, **asked)


def test_an_svid_says_who_and_by_which_key() -> None:
    found = verify(svid())
    assert found.id == AGENT
    assert found.jkt == AGENT_KEY.kid
    assert found.manifest == "sha-256:" + "M" * 43
    assert found.expires_at - found.issued_at == timedelta(minutes=10)
    header = jose.unverified(svid()).header
    assert header == {"typ": "JWT", "alg": "ES256", "kid": KEY.kid}
    assert jose.unverified(svid()).claims["aud"] == ISSUER


def test_an_svid_for_somebody_else_or_of_somebody_else_is_refused() -> None:
    with pytest.raises(Refused):
        verify(svid(audience="https://other"))
    with pytest.raises(Refused):
        verify(svid(audience=f"{ISSUER}/token"))
    with pytest.raises(Refused, match="trust domain"):
        verify(svid(), trust_domain="example.com")
    with pytest.raises(Refused):
        verify(svid(key=SigningKey.generate()))
    with pytest.raises(Refused) as caught:
        verify(svid(), now=NOW + timedelta(minutes=10))
    assert caught.value.kind is Kind.EXPIRED


@pytest.mark.parametrize(
    "change",
    [
        {"cnf": None},
        {"cnf": {}},
        {"cnf": {"jkt": "short"}},
        {"cnf": {"jwk": AGENT_KEY.public.jwk}},
        {"cnf": {"jkt": AGENT_KEY.kid, "x5t#S256": "x"}},
        {"sub": "bookkeeper"},
        {"sub": None},
        {"exp": None},
        {"jti": ""},
        {"aud": [ISSUER, "https://other"]},
    ],
)
def test_an_svid_without_what_it_needs_is_refused(change: dict[str, Any]) -> None:
    claims = {**jose.unverified(svid()).claims, **change}
    with pytest.raises(Refused):
        verify(jose.sign(claims, typ="JWT", key=KEY))


def test_another_token_type_is_no_svid() -> None:
    claims = jose.unverified(svid()).claims
    for typ in ("at+jwt", "wit+jwt", "dpop+jwt", "jwt"):
        with pytest.raises(Refused):
            verify(jose.sign(claims, typ=typ, key=KEY))
