"""The golden vectors of our OAuth messages: what we say on the wire does not change by accident."""

import json
from typing import Any

import pytest
from tests.vectors import make_oauth_vectors as made

from actfor.wire import dpop, jose, spiffe, token_exchange
from actfor.wire.rar import authority_from_draft, authority_hash, from_authorization_details

GOLDEN: dict[str, Any] = json.loads(made.FILE.read_text())
SIGNED = (
    "jwt-svid", "subject-token", "access-token", "passed-on-token", "sub-agents-token",
    "login-token", "dpop-proof",
)  # fmt: skip


def test_every_message_has_a_vector() -> None:
    assert set(GOLDEN["signed"]) == set(made.messages()) == set(SIGNED)


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_message_has_exactly_these_claims(name: str) -> None:
    typ, key, claims = made.messages()[name]
    assert json.loads(json.dumps(claims)) == GOLDEN["signed"][name]["claims"]
    header = dict(jose.unverified(made.sign(typ, key, claims)).header)
    assert header == GOLDEN["signed"][name]["header"]


@pytest.mark.parametrize("name", SIGNED)
def test_a_token_signed_long_ago_still_verifies(name: str) -> None:
    token, claims = GOLDEN["signed"][name]["token"], GOLDEN["signed"][name]["claims"]
    _, key, _ = made.messages()[name]
    if name == "dpop-proof":
        proof = dpop.verify_proof(
            token, method="POST", url=claims["htu"], now=made.NOW, access_token="an.access.token"
        )
        assert proof.jkt == key.kid
        return
    seen = jose.verify(
        token,
        typ=GOLDEN["signed"][name]["header"]["typ"],
        keys=jose.key_map([key.public]),
        issuer=claims.get("iss"),
        audience=claims["aud"],
        now=made.NOW,
    )
    assert seen == claims
    if name == "jwt-svid":
        svid = spiffe.verify_jwt_svid(
            token,
            trust_domain="example.com",
            audience=made.ISSUER,
            keys=jose.key_map([key.public]),
            now=made.NOW,
        )
        assert (svid.id, svid.manifest) == (made.AGENT, made.MANIFEST)


def test_messages_without_a_signature_are_these() -> None:
    current = json.loads(json.dumps(made.unsigned()))
    assert {name: GOLDEN[name] for name in current} == current


def test_a_mandate_reads_back_from_its_vector() -> None:
    golden = GOLDEN["mandate"]
    details = golden["authorization_details"]
    parsed = from_authorization_details(details, resources=made.RESOURCES)
    assert parsed == authority_from_draft(golden["draft"])
    assert authority_hash(made.ISSUER, details) == golden["authority_hash"]
    request = token_exchange.parse(
        [
            (name, f"{name}" if value == "…" else value)
            for name, value in GOLDEN["exchange-request"].items()
        ]
    )
    assert request.audience == f"{made.RESOURCES}/bank"
