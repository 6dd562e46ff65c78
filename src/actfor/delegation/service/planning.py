"""What an exchange would grant, decided without a database: who may act, how far, until when.

INVARIANT: whatever ``plan`` returns is narrower than or equal to what it was made from: the
mandate, or what an agent passed on of it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from actfor.delegation.model import ACCESS_TOKEN_LIFE, Delegation, Mandate
from actfor.delegation.service.chains import Passed, descended, require_fits
from actfor.delegation.service.tokens import Subject
from actfor.errors import Kind, Refused
from actfor.identity import AttestedAgent
from actfor.store import new_id
from actfor.wire.canonical import JsonValue
from actfor.wire.dpop import INVALID_PROOF, DpopProof
from actfor.wire.rar import (
    INVALID_DETAILS,
    Authority,
    from_authorization_details,
    narrows,
    to_authorization_details,
)
from actfor.wire.token_exchange import (
    ACTOR_UNAUTHORIZED,
    INVALID_REQUEST,
    INVALID_SCOPE,
    INVALID_TARGET,
    ExchangeRequest,
    shown,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A delegation that may be granted, and its authority as the token and the answer have it.

    ``passed`` is what it is made from, if an agent passed that on.
    """

    delegation: Delegation
    details: list[JsonValue]
    passed: Passed | None = None


def plan(
    request: ExchangeRequest,
    *,
    subject: Subject,
    actor: AttestedAgent,
    mandate: Mandate,
    server: str | None,
    resources: str,
    grant_id: str,
    now: datetime,
) -> Plan:
    """The grant for a request whose tokens were verified. ``server`` is the audience's, if known.

    Raises:
        Refused: with `invalid_target`, `invalid_scope`, `invalid_authorization_details` or
            `invalid_request`; EXPIRED if nothing of its life is left.
    """
    passed = subject.passed
    parent = mandate.authority if passed is None else passed.authority
    authority = narrowed(request, parent, server, resources)
    above = () if passed is None else passed.above(mandate.authority, resources=resources)
    through, origins = descended(authority, above, mandate.authority)
    if passed is not None:
        require_fits(authority, passed.act, passed.told, resources=resources)
    delegation = Delegation(
        grant_id=grant_id,
        jti=new_id("at"),
        person_id=subject.person_id,
        agent=actor.agent.id,
        instance=actor.instance,
        mandate=mandate,
        authority=authority,
        origins=origins,
        audience=request.audience,
        jkt=actor.jkt,
        manifest=actor.manifest,
        assurance=actor.assurance,
        expires_at=until(request, now, subject.expires_at, actor.expires_at, mandate.expires_at),
        chain=(actor.instance, *(link.instance for link in through)),
        person_epoch=subject.person_epoch,
        agent_epoch=actor.agent.epoch,
        mandate_epoch=subject.mandate_epoch,
        through=through,
    )
    return Plan(delegation, to_authorization_details(authority, resources=resources), passed)


def narrowed(
    request: ExchangeRequest, parent: Authority, server: str | None, resources: str
) -> Authority:
    """``parent``, cut to one audience and to what was asked.

    Raises:
        Refused: DENIED with `invalid_target`, `invalid_authorization_details`, `invalid_scope`.
    """
    granted = [grant for grant in parent.grants if grant.server == server]
    if not granted:
        raise Refused(
            Kind.DENIED,
            f"audience `{shown(request.audience)}` is not in the mandate",
            code=INVALID_TARGET,
        )
    whole = len(granted) == len(parent.grants)
    authority = parent if whole else replace(parent, grants=tuple(granted))
    if request.authorization_details is not None:
        asked = from_authorization_details(request.authorization_details, resources=resources)
        widened = narrows(asked, authority)
        if widened is not None:
            raise Refused(Kind.DENIED, widened, code=INVALID_DETAILS)
        authority = asked
    if request.scope is not None:
        authority = _scoped(authority, request.scope)
    if authority is not parent and narrows(authority, parent) is not None:
        raise AssertionError("an exchange was about to widen what it is made from")
    return authority


def require_may_act(
    request: ExchangeRequest, subject: Subject, actor: AttestedAgent, proof: DpopProof
) -> None:
    """Refuse unless the verified actor is who the subject token names, by its own key.

    Raises:
        Refused: with `invalid_dpop_proof`, `invalid_request` or `actor_unauthorized`.
    """
    agent = str(actor.agent.id)
    require_actor(request, actor, proof)
    if subject.person_id in {agent, str(actor.instance)}:
        raise Refused(Kind.MALFORMED, "subject and actor must differ", code=INVALID_REQUEST)
    if subject.may_act != agent:
        raise Refused(Kind.DENIED, "the subject token names another agent", code=ACTOR_UNAUTHORIZED)


def require_actor(request: ExchangeRequest, actor: AttestedAgent, proof: DpopProof) -> None:
    """Refuse unless the request was made by the verified actor, with its own key.

    Raises:
        Refused: with `invalid_dpop_proof` or `invalid_request`.
    """
    # The actor is authenticated by its own key, or is not: a stolen SVID proves nothing.
    if not hmac.compare_digest(actor.jkt, proof.jkt):
        raise Refused(
            Kind.UNAUTHENTICATED,
            "DPoP proof is by another key than the actor_token is bound to",
            code=INVALID_PROOF,
        )
    if request.client_id is not None and request.client_id != str(actor.agent.id):
        raise Refused(
            Kind.MALFORMED, "client_id is not the agent of the actor_token", code=INVALID_REQUEST
        )


def _scoped(authority: Authority, scope: frozenset[str]) -> Authority:
    """Only the effects that were asked for; a scope beyond the authority is refused."""
    beyond = sorted(scope - set(authority.scope))
    if beyond:
        raise Refused(
            Kind.DENIED, f"scope `{shown(beyond[0])}` is not in the mandate", code=INVALID_SCOPE
        )
    kept = []
    for grant in authority.grants:
        effects = tuple(e for e in grant.effects if f"{grant.server}:{e}" in scope)
        if effects:
            kept.append(replace(grant, effects=effects))
    return replace(authority, grants=tuple(kept))


def until(request: ExchangeRequest, now: datetime, *made_from: datetime) -> datetime:
    """When the token ends: whole seconds, never after anything it is made from.

    Raises:
        Refused: DENIED with `invalid_request` if longer was asked for; EXPIRED if nothing is left.
    """
    limit = min(now + ACCESS_TOKEN_LIFE, *made_from)
    ends = limit
    if request.expires_in is not None:
        ends = now + timedelta(seconds=request.expires_in)
        if ends > limit:
            seconds = int((limit - now).total_seconds())
            raise Refused(
                Kind.DENIED, f"expires_in is at most {seconds} seconds", code=INVALID_REQUEST
            )
    whole = datetime.fromtimestamp(int(ends.timestamp()), UTC)
    if whole <= now:
        raise Refused(Kind.EXPIRED, "what the token is made from has expired")
    return whole
