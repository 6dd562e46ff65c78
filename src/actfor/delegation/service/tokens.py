"""The claims of our kinds of access token (RFC 9068; standards map §13), and back.

    audience                  who holds it          what it is for
    <issuer>                  `actfor run`          subject_token of an exchange; names one agent
    <issuer>                  a sub-agent           the same, passed on by an agent (``chains``)
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
from actfor.delegation.service.chains import (
    Passed,
    above_of,
    actors,
    descended,
    passed_links,
    passed_of,
    through_claim,
)
from actfor.errors import Kind, Refused
from actfor.identity import AttestedAgent, Person
from actfor.wire import jose
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import from_authorization_details
from actfor.wire.spiffe import PRIVATE_CLAIM, SpiffeId, confirmation

ACCESS_TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 - a type's name
DELEGATE: Final = "delegate"
MANAGE: Final = "manage"
CLI: Final = "actfor-cli"


@dataclass(frozen=True, slots=True)
class Subject:
    """A verified subject token: the person, their mandate, and the only agent that may use it.

    ``passed`` is what an agent passed on; None if the person sends ``may_act`` themselves.
    """

    person_id: str
    mandate_id: str
    may_act: str
    person_epoch: int
    mandate_epoch: int
    expires_at: datetime
    kid: str
    passed: Passed | None = None


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


def passed_on_claims(
    issuer: str,
    held: Delegation,
    act: JsonObject,
    *,
    to: SpiffeId,
    details: JsonValue,
    jti: str,
    now: datetime,
    until: datetime,
) -> dict[str, JsonValue]:
    """What an agent hands to the one agent ``to``: usable in an exchange by that agent only.

    ``act`` is that of the token it is made from, unchanged: the chain grows when ``to`` exchanges
    it. ``details`` is the most that can come out of that.
    """
    return {
        **_common(issuer, issuer, held.person_id, jti, now, until),
        "client_id": str(held.agent),
        "scope": DELEGATE,
        "act": act,
        # RFC 8693 §4.4: the holder says who may act next, and nobody else may.
        "may_act": {"sub": str(to), "iss": to.authority},
        "authorization_details": details,
        "mission": held.mandate.mission(issuer),
        PRIVATE_CLAIM: {
            "person_epoch": held.person_epoch,
            "mandate_epoch": held.mandate_epoch,
            "through": through_claim(
                above_of(held), held.mandate.authority, resources=f"{issuer}/mcp"
            ),
        },
    }


def subject_of(claims: JsonObject, kid: str, *, resources: str) -> Subject:
    """The subject behind verified claims, signed by the key ``kid``.

    Raises:
        Refused: UNAUTHENTICATED if it is not a subject token; DENIED with `actor_unauthorized` if
            it names nobody who may act.
    """
    if claims.get("scope") != DELEGATE:
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
        passed=passed_of(claims, private, resources=resources) if "act" in claims else None,
    )


def access_claims(
    issuer: str,
    delegation: Delegation,
    actor: AttestedAgent,
    *,
    details: JsonValue,
    now: datetime,
    policy_version: str,
    passed: Passed | None = None,
) -> dict[str, JsonValue]:
    """The delegated access token: `sub` the person, `act` the agent's attested instance.

    ``passed`` is what the token is made from, if an agent passed it on: its chain stands below.
    """
    mandate = delegation.mandate
    through = through_claim(delegation.through, mandate.authority, resources=f"{issuer}/mcp")
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
        "act": _act(delegation, actor, passed),
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
            **({"through": through} if through else {}),
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
    agent, chain = SpiffeId.parse(jose.text(claims, "client_id")), actors(act)
    details = claims.get("authorization_details")
    authority = from_authorization_details(details, resources=resources)
    # The person sent the oldest actor; who acts now was asked by those in between.
    same = mandate.person_id == claims.get("sub") and mandate.agent == chain[-1].agent
    if chain[0].agent != agent or not same:
        raise Refused(Kind.UNAUTHENTICATED, "token does not belong to its mandate")
    server = authority.grants[0].server
    told = private.get("through", [])
    links = passed_links(chain[1:], told, mandate.authority, server, resources=resources)
    through, found = descended(authority, links, mandate.authority)
    return Delegation(
        grant_id=jose.text(private, "root_grant"),
        jti=jose.text(claims, "jti"),
        person_id=jose.text(claims, "sub"),
        agent=agent,
        instance=chain[0],
        mandate=mandate,
        authority=authority,
        origins=found,
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
        through=through,
    )


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


def _act(
    delegation: Delegation, actor: AttestedAgent, passed: Passed | None
) -> dict[str, JsonValue]:
    act: dict[str, JsonValue] = {
        "sub": str(delegation.instance),
        "iss": delegation.instance.authority,
        "sub_profile": "ai_agent client_instance",
    }
    model = actor.agent.reference.model
    if model is not None:
        act["agent_model"] = {"id": model.id, "version": model.version}
    if passed is not None:
        # RFC 8693 §4.1: the outermost is who acts; those below are history, kept to the byte.
        act["act"] = passed.act
    return act


def _instant(claims: JsonObject, name: str) -> datetime:
    return datetime.fromtimestamp(jose.numeric_date(claims, name), UTC)
