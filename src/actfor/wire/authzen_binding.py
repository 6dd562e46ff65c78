"""The ``binding_token`` of the Access Request and Approval Profile (Draft 1, "Denial Binding
Claims"): a JWS that ties an access request to the one denial it may be made from.

    iss                      the decision point
    aud                      the access request endpoint
    jti, evaluation_id       the denial, by its id in the log
    client_id                the enforcement point that was denied (ours)
    denial_expires_at        as the denial says it; ``exp`` is the same second
    binding_context_members  the members of ``context`` that the question is made of
    binding_hash             base64url(SHA-256(JCS({subject, resource, action, context})))

The draft fully specifies the hashed form and not the names of the inline one, so the hash it is; it
also keeps arguments out of a token that enforcement points will log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire import jose
from actfor.wire.authzen import Action, Entity, Evaluation
from actfor.wire.base64_text import base64url
from actfor.wire.canonical import JsonObject, JsonValue, canonical
from actfor.wire.jose import SigningKey, VerifyKey
from actfor.wire.timestamps import rfc3339

TYPE: Final = "authzen-denial+jwt"
"""No other token of ours has it; the draft names none (RFC 8725 §3.11)."""
MEMBERS: Final = ("arguments", "mandate")
"""What is authorization-relevant in a question about a tool. Tokens, approvals and times are not:
they change between a denial and the request that follows."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a verified token says."""

    denial: str
    pep: str
    expires_at: str
    hash: str


def binding_hash(evaluation: Evaluation) -> str:
    """The draft's ``binding_hash`` of a question, for ``MEMBERS``."""
    context = {name: evaluation.context[name] for name in MEMBERS if name in evaluation.context}
    subject = _entity(evaluation.subject, but="act")
    bound: dict[str, JsonValue] = {
        "subject": subject,
        "resource": _entity(evaluation.resource),
        "action": _with_properties({"name": evaluation.action.name}, evaluation.action),
        "context": context,
    }
    return base64url(hashlib.sha256(canonical(bound)).digest())


def bind(
    evaluation: Evaluation,
    *,
    denial: str,
    pep: str,
    issuer: str,
    audience: str,
    now: datetime,
    until: datetime,
    key: SigningKey,
) -> str:
    """The token for one denial. ``until`` is when the denial can no longer be asked about."""
    issued = int(now.timestamp())
    claims: dict[str, JsonValue] = {
        "iss": issuer,
        "aud": audience,
        "iat": issued,
        "exp": int(until.timestamp()),
        "jti": denial,
        "evaluation_id": denial,
        "client_id": pep,
        "denial_expires_at": rfc3339(until),
        "binding_context_members": list(MEMBERS),
        "binding_hash": binding_hash(evaluation),
    }
    return jose.sign(claims, typ=TYPE, key=key)


def bound(
    token: str, *, keys: Mapping[str, VerifyKey], issuer: str, audience: str, now: datetime
) -> Binding:
    """Verify a token. That it is for this question, and of whom, is the caller's to compare.

    Raises:
        Refused: EXPIRED; MALFORMED or UNAUTHENTICATED if it is no token of ours, for us.
    """
    claims = jose.verify(token, typ=TYPE, keys=keys, issuer=issuer, audience=audience, now=now)
    if claims.get("binding_context_members") != list(MEMBERS):
        raise Refused(Kind.UNAUTHENTICATED, "token binds other members of the context")
    names = ("evaluation_id", "client_id", "denial_expires_at", "binding_hash")
    return Binding(*(jose.text(claims, name) for name in names))


def _entity(entity: Entity, but: str = "") -> JsonObject:
    # `subject.properties.act` may move to `client.actor` on the way, so it is left out.
    kept = {name: value for name, value in entity.properties.items() if name != but}
    members: dict[str, JsonValue] = {"type": entity.type, "id": entity.id}
    return {**members, "properties": kept} if kept else members


def _with_properties(members: dict[str, JsonValue], action: Action) -> JsonObject:
    return {**members, "properties": dict(action.properties)} if action.properties else members
