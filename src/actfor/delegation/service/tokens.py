"""The claims of our three kinds of access token (RFC 9068; standards map §13), and back.

    audience                  who holds it          what it is for
    <issuer>                  `actfor run`          subject_token of an exchange; names one agent
    <issuer>/mcp/<server>     the agent's sidecar   calls of one server; bound to the agent's key
    <issuer>/v1               the command line      the management API; bound to its key

Audiences differ, so none passes for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from actfor.delegation.model import Delegation, Mandate, integer, member
from actfor.errors import Kind, Refused
from actfor.identity import AttestedAgent, Person
from actfor.wire import jose
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import Authority, from_authorization_details, origin
from actfor.wire.spiffe import PRIVATE_CLAIM, SpiffeId, confirmation

ACCESS_TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 - a type's name
DELEGATE: Final = "delegate"
MANAGE: Final = "manage"
CLI: Final = "actfor-cli"
MAX_CHAIN: Final = 8


@dataclass(frozen=True, slots=True)
class Subject:
    """A verified subject token: the person, their mandate, and the only agent that may use it."""

    person_id: str
    mandate_id: str
    may_act: str
    person_epoch: int
    mandate_epoch: int
    expires_at: datetime
    kid: str


def subject_claims(
    issuer: str, person: Person, mandate: Mandate, *, jti: str, now: datetime, until: datetime
) -> dict[str, JsonValue]:
    """The person's own token for one mandate: usable by the agent that ``may_act`` names."""
    return {
        **_common(issuer, issuer, person.id, jti, now, until),
        "client_id": CLI,
        "scope": DELEGATE,
        # RFC 8693 §4.4: only this party may become the actor.
        "may_act": {"sub": str(mandate.agent), "iss": mandate.agent.authority},
        "mission": mandate.mission(issuer),
        PRIVATE_CLAIM: {"person_epoch": person.epoch, "mandate_epoch": mandate.epoch},
    }


def subject_of(claims: JsonObject, kid: str) -> Subject:
    """The subject behind verified claims, signed by the key ``kid``.

    Raises:
        Refused: UNAUTHENTICATED if it is not a subject token; DENIED with `actor_unauthorized` if
            it names nobody who may act.
    """
    if claims.get("scope") != DELEGATE or "act" in claims:
        raise Refused(Kind.UNAUTHENTICATED, "token is not a subject token")
    private, may_act = member(claims, PRIVATE_CLAIM), claims.get("may_act")
    if not isinstance(may_act, Mapping) or not isinstance(may_act.get("sub"), str):
        raise Refused(Kind.DENIED, "the subject token lets nobody act", code="actor_unauthorized")
    return Subject(
        person_id=jose.text(claims, "sub"),
        mandate_id=jose.text(member(claims, "mission"), "id"),
        may_act=jose.text(may_act, "sub"),
        person_epoch=integer(private, "person_epoch"),
        mandate_epoch=integer(private, "mandate_epoch"),
        expires_at=_instant(claims, "exp"),
        kid=kid,
    )


def access_claims(
    issuer: str,
    delegation: Delegation,
    actor: AttestedAgent,
    *,
    details: JsonValue,
    now: datetime,
    policy_version: str,
) -> dict[str, JsonValue]:
    """The delegated access token: `sub` the person, `act` the agent's attested instance."""
    mandate = delegation.mandate
    common = _common(
        issuer,
        delegation.audience,
        delegation.person_id,
        delegation.jti,
        now,
        delegation.expires_at,
    )
    return {
        **common,
        # AIMS §7: the registered agent is the client; Actor Profile: the actor is the instance.
        "client_id": str(delegation.agent),
        "act": _act(delegation, actor),
        "cnf": {"jkt": delegation.jkt},
        "scope": " ".join(delegation.authority.scope),
        "authorization_details": details,
        "mission": mandate.mission(issuer),
        PRIVATE_CLAIM: {
            "intent_hash": mandate.intent_hash,
            "manifest": delegation.manifest,
            "assurance": delegation.assurance,
            "policy_version": policy_version,
            "root_grant": delegation.grant_id,
            "person_epoch": delegation.person_epoch,
            "agent_epoch": delegation.agent_epoch,
            "mandate_epoch": delegation.mandate_epoch,
        },
    }


def mandate_id_of(claims: JsonObject) -> str:
    """The mandate that a verified token was made from.

    Raises:
        Refused: UNAUTHENTICATED.
    """
    return jose.text(member(claims, "mission"), "id")


def delegation_of(claims: JsonObject, mandate: Mandate, *, resources: str, kid: str) -> Delegation:
    """The delegation behind verified claims and their mandate, signed by the key ``kid``.

    Raises:
        Refused: UNAUTHENTICATED if the claims are not those of a delegated token.
    """
    act, private = member(claims, "act"), member(claims, PRIVATE_CLAIM)
    agent, chain = SpiffeId.parse(jose.text(claims, "client_id")), _chain(act)
    details = claims.get("authorization_details")
    authority = from_authorization_details(details, resources=resources)
    same = mandate.person_id == claims.get("sub") and mandate.agent == agent
    if chain[0].agent != agent or not same:
        raise Refused(Kind.UNAUTHENTICATED, "token does not belong to its mandate")
    return Delegation(
        grant_id=jose.text(private, "root_grant"),
        jti=jose.text(claims, "jti"),
        person_id=jose.text(claims, "sub"),
        agent=agent,
        instance=chain[0],
        mandate=mandate,
        authority=authority,
        origins=origins(authority, mandate.authority),
        audience=jose.text(claims, "aud"),
        jkt=confirmation(claims),
        manifest=jose.text(private, "manifest"),
        assurance=jose.text(private, "assurance"),
        expires_at=_instant(claims, "exp"),
        chain=chain,
        person_epoch=integer(private, "person_epoch"),
        agent_epoch=integer(private, "agent_epoch"),
        mandate_epoch=integer(private, "mandate_epoch"),
        kid=kid,
    )


def origins(authority: Authority, parent: Authority) -> tuple[int, ...]:
    """For each grant, the grant of ``parent`` that contains it.

    Raises:
        Refused: UNAUTHENTICATED if one is in none: the token says more than its mandate.
    """
    found = [origin(grant, parent) for grant in authority.grants]
    if None in found:
        raise Refused(Kind.UNAUTHENTICATED, "token grants what its mandate does not")
    return tuple(index for index in found if index is not None)


def login_claims(
    issuer: str, person: Person, *, jkt: str, jti: str, now: datetime, until: datetime
) -> dict[str, JsonValue]:
    """The command line's token for the management API."""
    return {
        **_common(issuer, f"{issuer}/v1", person.id, jti, now, until),
        "client_id": CLI,
        "scope": MANAGE,
        "cnf": {"jkt": jkt},
        PRIVATE_CLAIM: {"person_epoch": person.epoch},
    }


def _common(
    issuer: str, audience: str, person: str, jti: str, now: datetime, until: datetime
) -> dict[str, JsonValue]:
    issued = int(now.timestamp())
    return {
        "iss": issuer,
        "aud": audience,
        "sub": person,
        "sub_profile": "user",
        "iat": issued,
        "nbf": issued,
        "exp": int(until.timestamp()),
        "jti": jti,
    }


def _act(delegation: Delegation, actor: AttestedAgent) -> dict[str, JsonValue]:
    act: dict[str, JsonValue] = {
        "sub": str(delegation.instance),
        "iss": delegation.instance.authority,
        "sub_profile": "ai_agent client_instance",
    }
    model = actor.agent.reference.model
    if model is not None:
        act["agent_model"] = {"id": model.id, "version": model.version}
    return act


def _chain(act: JsonObject) -> tuple[SpiffeId, ...]:
    """The actors, the current one first (RFC 8693 §4.1)."""
    chain: list[SpiffeId] = []
    here: JsonValue = act
    while isinstance(here, Mapping):
        if len(chain) == MAX_CHAIN:
            raise Refused(Kind.UNAUTHENTICATED, f"more than {MAX_CHAIN} actors")
        chain.append(SpiffeId.parse(jose.text(here, "sub")))
        here = here.get("act")
    return tuple(chain)


def _instant(claims: JsonObject, name: str) -> datetime:
    return datetime.fromtimestamp(jose.numeric_date(claims, name), UTC)
