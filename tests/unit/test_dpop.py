"""DPoP proofs, from the side of who has none."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_jose import b64, raw_token

from actfor.errors import Kind, Refused
from actfor.wire import dpop, jose
from actfor.wire.jose import SigningKey

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
URL = "https://gw.example.com/mcp/crm"
KEY = SigningKey.generate()
TOKEN = "an.access.token"
JTI = "0123456789abcdef0123"


def proof(**changes: Any) -> str:
    asked: dict[str, Any] = {
        "key": KEY, "method": "POST", "url": URL, "now": NOW, "jti": JTI, "access_token": TOKEN,
    }  # fmt: skip
    return dpop.build_proof(**{**asked, **changes})


def verify(text: str, **changes: Any) -> dpop.DpopProof:
    asked: dict[str, Any] = {
        "method": "POST", "url": URL, "now": NOW, "access_token": TOKEN, "jkt": KEY.kid,
    }  # fmt: skip
    return dpop.verify_proof(text, **{**asked, **changes})


def crafted(header: dict[str, Any] | None = None, **claims: Any) -> str:
    base_header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": KEY.public.jwk}
    base = {
        "jti": JTI,
        "htm": "POST",
        "htu": URL,
        "iat": int(NOW.timestamp()),
        "ath": dpop.access_token_hash(TOKEN),
    }
    whole = {name: value for name, value in {**base, **claims}.items() if value is not ...}
    return raw_token(json.dumps({**base_header, **(header or {})}), json.dumps(whole), KEY)


def refused(text: str, **changes: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        verify(text, **changes)
    assert caught.value.kind is Kind.UNAUTHENTICATED
    return caught.value


def test_a_proof_says_which_key_and_which_proof() -> None:
    found = verify(proof())
    assert (found.jkt, found.jti, found.iat) == (KEY.kid, JTI, NOW)
    assert verify(crafted()) == found


def test_rfc_9449_example_hash() -> None:
    # RFC 9449 §7.1: the access token of the example and its `ath`.
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    assert dpop.access_token_hash(token) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


WRONG: dict[str, dict[str, Any]] = {
    "method": {"htm": "GET"},
    "method case": {"htm": "post"},
    "no method": {"htm": ...},
    "url": {"htu": "https://gw.example.com/mcp/bank"},
    "url below": {"htu": URL + "/x"},
    "url slash": {"htu": URL + "/"},
    "url host": {"htu": "https://evil.example/mcp/crm"},
    "url scheme": {"htu": URL.replace("https", "http")},
    "url path case": {"htu": "https://gw.example.com/MCP/crm"},
    "url user": {"htu": "https://gw.example.com@evil.example/mcp/crm"},
    "url dots": {"htu": "https://gw.example.com/mcp/bank/../crm"},
    "url relative": {"htu": "/mcp/crm"},
    "url list": {"htu": [URL]},
    "no url": {"htu": ...},
    "ath": {"ath": dpop.access_token_hash("other")},
    "ath case": {"ath": dpop.access_token_hash(TOKEN).swapcase()},
    "ath not text": {"ath": 7},
    "no ath": {"ath": ...},
    "no iat": {"iat": ...},
    "iat text": {"iat": "now"},
    "iat true": {"iat": True},
    "iat huge": {"iat": 2**53 - 1},
    "iat negative": {"iat": -1},
    "no jti": {"jti": ...},
    "jti short": {"jti": "abc"},
    "jti long": {"jti": "a" * 129},
    "jti number": {"jti": 1234567890123456},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_proof_for_something_else_is_refused(what: str) -> None:
    assert refused(crafted(**WRONG[what])).code == "invalid_dpop_proof"


HEADERS: dict[str, dict[str, Any]] = {
    "typ": {"typ": "JWT"},
    "no alg": {"alg": "none"},
    "symmetric": {"alg": "HS256"},
    "other curve": {"jwk": {**KEY.public.jwk, "crv": "P-384"}},
    "private key": {"jwk": {**KEY.public.jwk, "d": "AAAA"}},
    "another key": {"jwk": SigningKey.generate().public.jwk},
    "no key": {"jwk": None},
    "kid": {"kid": KEY.kid},
    "jku": {"jku": "http://127.0.0.1:9"},
    "crit": {"crit": ["x"], "x": 1},
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_proof_with_another_header_is_refused(what: str) -> None:
    assert refused(crafted(HEADERS[what])).code == "invalid_dpop_proof"


def test_another_key_proves_nothing_for_a_bound_token() -> None:
    assert "another key" in refused(proof(key=SigningKey.generate())).detail


def test_a_proof_made_for_the_token_endpoint_does_not_open_a_resource() -> None:
    refused(proof(access_token=None))
    with pytest.raises(Refused):
        verify(proof(), access_token=None)


@given(st.integers(-120, 120))
def test_a_proof_is_fresh_for_thirty_seconds_either_way(seconds: int) -> None:
    made = proof(now=NOW + timedelta(seconds=seconds))
    if abs(seconds) <= 30:
        assert verify(made).expires_at > NOW
    else:
        refused(made)


def test_a_spent_proof_may_be_forgotten_only_when_it_is_stale() -> None:
    made = proof(now=NOW + timedelta(seconds=30))
    found = verify(made)
    refused(made, now=found.expires_at)
    refused(made, now=found.iat + dpop.WINDOW + timedelta(microseconds=1))


def test_a_nonce_is_required_once_the_server_asks() -> None:
    assert refused(proof(), nonce="n-1").code == "use_dpop_nonce"
    assert refused(proof(nonce="n-0"), nonce="n-1").code == "use_dpop_nonce"
    assert verify(proof(nonce="n-1"), nonce="n-1").jti == JTI


@pytest.mark.parametrize(
    ("htu", "ours"),
    [
        ("HTTPS://GW.example.com/mcp/crm", URL),
        ("https://gw.example.com:443/mcp/crm", URL),
        (URL + "?x=1#y", URL),
        ("http://localhost:80", "http://localhost/"),
        ("http://[::1]:8700/token", "http://[::1]:8700/token"),
    ],
)
def test_equal_urls_may_be_spelled_differently(htu: str, ours: str) -> None:
    assert verify(crafted(htu=htu), url=ours).jkt == KEY.kid


def test_proofs_of_two_keys_with_one_jti_are_two_proofs() -> None:
    other = SigningKey.generate()
    mine, theirs = verify(proof()), verify(proof(key=other), jkt=None)
    assert mine.jti == theirs.jti
    assert mine.once != theirs.once
    assert mine.once == verify(proof()).once


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b.c", "x" * 5000, "é.b.c", b64("{}") + "." + b64("{}") + "."]
)
def test_what_is_no_proof_is_refused(text: str) -> None:
    assert refused(text).code == "invalid_dpop_proof"


def test_a_refused_header_is_not_remembered_as_good() -> None:
    bad = crafted({"typ": "JWT"})
    for _ in range(3):
        refused(bad)
    assert verify(proof()).jkt == dpop.thumbprint(KEY.public.jwk)


def test_building_a_proof_drops_query_and_fragment() -> None:
    claims = jose.unverified(proof(url=URL + "?secret=1#f")).claims
    assert claims["htu"] == URL
