"""Make the golden vectors of our OAuth messages: `python tests/vectors/make_oauth_vectors.py`.

Keys, times and ids are fixed. ES256 signatures are random, so a vector holds what is signed (header
and claims) and one token that was signed once; a test verifies that token and rebuilds the claims.
Run it after a deliberate change of a wire message, and read the diff.
"""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from joserfc.jwk import ECKey

from actfor.delegation.model import Delegation, Mandate
from actfor.delegation.service import tokens
from actfor.delegation.service.chains import Passed, above_of
from actfor.wire import dpop, jose, spiffe, token_exchange
from actfor.wire.canonical import JsonValue
from actfor.wire.jose import SigningKey
from actfor.wire.rar import (
    Authority,
    authority_from_draft,
    authority_hash,
    intent_hash,
    to_authorization_details,
)
from actfor.wire.spiffe import SpiffeId
from actfor.wire.timestamps import rfc3339
from actfor.wire.token_exchange import TokenResponse

FILE = Path(__file__).with_name("oauth.json")
ISSUER = "https://iam.example.com"
RESOURCES = f"{ISSUER}/mcp"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
AGENT = SpiffeId.for_agent("example.com", "invoice-bot")
INSTANCE = AGENT.instance("mzuxe3dffzwg6y3b")
HELPER = SpiffeId.for_agent("example.com", "helper")
MANIFEST = "sha-256:" + "M" * 43
POLICY = "sha-256:" + "P" * 43
GOAL = "Pay October's invoices"
DRAFT: dict[str, Any] = {
    "grants": [
        {
            "server": "bank",
            "tools": ["pay"],
            "effects": ["pay"],
            "args": {
                "/note": {"max_length": 80},
                "/to": {"enum": ["DE02", "DE03"]},
                "/when": {"range": {"min": "1", "max": "28"}},
            },
            "max_calls": 3,
            "amount": {"value": "500.00", "currency": "EUR"},
            "approval": "always",
        },
        {
            "server": "erp",
            "tools": ["*"],
            "effects": ["read"],
            "args": {"/mail": {"pattern": "*@example.com"}, "/path": {"prefix": "/srv/data"}},
        },
    ],
    "budget": {"calls": 40, "amount": {"value": "900.00", "currency": "EUR"}},
    "max_depth": 1,
}


def key(name: str) -> SigningKey:
    """A P-256 key that anyone can derive: for vectors only."""
    return SigningKey(ECKey.derive_key(f"actfor vectors: {name}", "P-256"))


def mandate() -> Mandate:
    authority = authority_from_draft(DRAFT)
    expires_at = NOW + timedelta(hours=8)
    intent: dict[str, JsonValue] = {
        "goal": GOAL,
        "resources": [f"{RESOURCES}/{server}" for server in authority.servers],
        "expires_at": rfc3339(expires_at),
    }
    details = to_authorization_details(authority, resources=RESOURCES)
    return Mandate(
        id="mdt_" + "a" * 26,
        person_id="usr_" + "b" * 26,
        agent=AGENT,
        goal=GOAL,
        authority=authority,
        authority_hash=authority_hash(ISSUER, details),
        intent_hash=intent_hash(ISSUER, intent),
        created_at=NOW,
        expires_at=expires_at,
        epoch=1,
    )


def delegation() -> Delegation:
    whole = mandate()
    authority = Authority(whole.authority.grants[:1], whole.authority.budget, 1)
    return Delegation(
        grant_id="gr_" + "c" * 26,
        jti="at_" + "d" * 26,
        person_id=whole.person_id,
        agent=AGENT,
        instance=INSTANCE,
        mandate=whole,
        authority=authority,
        origins=(0,),
        audience=f"{RESOURCES}/bank",
        jkt=key("agent").kid,
        manifest=MANIFEST,
        assurance="attested-local",
        expires_at=NOW + timedelta(seconds=300),
        chain=(INSTANCE,),
        person_epoch=1,
        agent_epoch=2,
        mandate_epoch=1,
    )


def below(held: Delegation) -> Delegation:
    """What the helper holds after the agent passed everything on to it."""
    instance = SpiffeId.parse(f"{HELPER}/i/{'b' * 26}")
    return replace(
        held,
        grant_id="gr_" + "i" * 26,
        jti="at_" + "j" * 26,
        agent=HELPER,
        instance=instance,
        chain=(instance, *held.chain),
        agent_epoch=1,
        jkt=key("helper").kid,
        through=(replace(above_of(held)[0], origins=(0,)),),
    )


def messages() -> dict[str, tuple[str, SigningKey, dict[str, Any]]]:
    """Each signed message by name: ``typ``, key, claims."""
    person: Any = SimpleNamespace(id="usr_" + "b" * 26, epoch=1)
    model = SimpleNamespace(id="urn:model:vendor:name", version="2026-10-01")
    actor: Any = SimpleNamespace(agent=SimpleNamespace(reference=SimpleNamespace(model=model)))
    made = delegation()
    details = to_authorization_details(made.authority, resources=RESOURCES)
    act = {"sub": str(INSTANCE), "iss": INSTANCE.authority, "sub_profile": "ai_agent"}
    later = NOW + timedelta(hours=1)
    proof = dpop.build_proof(
        key=key("agent"),
        method="POST",
        url=f"{RESOURCES}/bank",
        now=NOW,
        jti="0123456789abcdefghijkl",
        access_token="an.access.token",
    )
    svid = spiffe.sign_jwt_svid(
        AGENT,
        audience=ISSUER,
        jkt=key("agent").kid,
        jti="svid_" + "e" * 26,
        now=NOW,
        ttl=timedelta(minutes=10),
        key=key("svids"),
        private={"manifest": MANIFEST, "instance": str(INSTANCE), "assurance": "attested-local"},
    )
    return {
        "jwt-svid": ("JWT", key("svids"), dict(jose.unverified(svid).claims)),
        "subject-token": (
            "at+jwt",
            key("tokens"),
            tokens.subject_claims(
                ISSUER, person, made.mandate, jti="at_" + "f" * 26, now=NOW, until=later
            ),
        ),
        "access-token": (
            "at+jwt",
            key("tokens"),
            tokens.access_claims(
                ISSUER, made, actor, details=details, now=NOW, policy_version=POLICY
            ),
        ),
        "passed-on-token": (
            "at+jwt",
            key("tokens"),
            tokens.passed_on_claims(
                ISSUER,
                made,
                act,
                to=HELPER,
                details=details,
                jti="at_" + "h" * 26,
                now=NOW,
                until=made.expires_at,
            ),
        ),
        "sub-agents-token": (
            "at+jwt",
            key("tokens"),
            tokens.access_claims(
                ISSUER,
                below(made),
                actor,
                details=details,
                now=NOW,
                policy_version=POLICY,
                passed=Passed(made.authority, act, []),
            ),
        ),
        "login-token": (
            "at+jwt",
            key("tokens"),
            tokens.login_claims(
                ISSUER,
                person,
                jkt=key("cli").kid,
                jti="at_" + "g" * 26,
                now=NOW,
                until=NOW + timedelta(hours=8),
            ),
        ),
        "dpop-proof": ("dpop+jwt", key("agent"), dict(jose.unverified(proof).claims)),
    }


def unsigned() -> dict[str, Any]:
    """The messages without a signature."""
    made = delegation()
    details = to_authorization_details(made.authority, resources=RESOURCES)
    answer = TokenResponse("…", 300, " ".join(made.authority.scope), details)
    request = {
        "grant_type": token_exchange.GRANT_TYPE,
        "subject_token": "…",
        "subject_token_type": token_exchange.ACCESS_TOKEN,
        "actor_token": "…",
        "actor_token_type": token_exchange.JWT,
        "resource": made.audience,
    }
    whole = made.mandate
    return {
        "mandate": {
            "draft": DRAFT,
            "authorization_details": to_authorization_details(whole.authority, resources=RESOURCES),
            "authority_hash": whole.authority_hash,
            "intent_hash": whole.intent_hash,
        },
        "exchange-request": request,
        "exchange-response": answer.to_json(),
        "jwks": jose.jwks([key("tokens").public]),
    }


def sign(typ: str, signer: SigningKey, claims: dict[str, Any]) -> str:
    jwk = signer.public.jwk if typ == dpop.PROOF_TYPE else None
    return jose.sign(claims, typ=typ, key=signer, jwk=jwk)


def main() -> int:
    vectors: dict[str, Any] = {"now": rfc3339(NOW), **unsigned(), "signed": {}}
    for name, (typ, signer, claims) in messages().items():
        token = sign(typ, signer, claims)
        header = dict(jose.unverified(token).header)
        vectors["signed"][name] = {"header": header, "claims": claims, "token": token}
    FILE.write_text(json.dumps(vectors, indent=2, ensure_ascii=False) + "\n")
    print(f"wrote {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
