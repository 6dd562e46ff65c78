"""Token exchange (RFC 8693): the person's token and the agent's credential become a delegation.

Rights only narrow, the actor is always named, the token is bound to the actor's own key. Whatever
is decided about parties we know is in the log before it is answered.

Errors, where RFC 8693 §2.2.2 leaves a choice: a token that does not verify is `invalid_request`;
one that did, but whose authority has ended (expired, revoked, agent invalidated), is
`invalid_grant`, so that a client knows to obtain a new one.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from actfor.audit import Event, EventType
from actfor.delegation.model import ACCESS_TOKEN_LIFE, Delegation, Mandate
from actfor.delegation.repository import grants
from actfor.delegation.repository import mandates as rows
from actfor.delegation.service import tokens
from actfor.delegation.service.context import Context
from actfor.delegation.service.tokens import Subject
from actfor.errors import Kind, Refused
from actfor.identity import AttestedAgent
from actfor.store import Tx, new_id
from actfor.wire import jose
from actfor.wire.canonical import JsonValue, digest
from actfor.wire.dpop import INVALID_PROOF, DpopProof
from actfor.wire.rar import (
    INVALID_DETAILS,
    Authority,
    from_authorization_details,
    narrows,
    to_authorization_details,
)
from actfor.wire.timestamps import rfc3339
from actfor.wire.token_exchange import (
    ACTOR_UNAUTHORIZED,
    INVALID_GRANT,
    INVALID_REQUEST,
    INVALID_SCOPE,
    INVALID_TARGET,
    ExchangeRequest,
    TokenResponse,
    shown,
)


@dataclass(frozen=True, slots=True)
class _Parties:
    """Who was identified so far, for the log."""

    agent: str
    instance: str | None = None
    subject: Subject | None = None


class Exchange(Context):
    """The token exchange grant."""

    async def exchange(self, request: ExchangeRequest, proof: DpopProof) -> TokenResponse:
        """Exchange, or refuse with the OAuth error in ``Refused.code``.

        ``proof`` was verified for this request; it is spent here, in the transaction that records
        the grant. The answer is returned only after that is durable.
        """
        grant_id, now = new_id("gr"), self._now()
        # 1. Who acts, by a credential that only they can use.
        actor = await self._actor(request, proof, grant_id)
        parties = _Parties(str(actor.agent.id), str(actor.instance))
        planned: Delegation | Refused
        try:
            # 2. For whom, by which mandate.
            subject = self._subject(request.subject_token, now)
            parties = replace(parties, subject=subject)
            _require_may_act(request, subject, actor, proof)
            mandate = await self._mandate_of(subject)
            # 3. Narrow.
            authority = self._narrowed(request, mandate)
            until = _until(request, subject, actor, mandate, now)
            planned = _delegation(request, subject, actor, mandate, authority, until, grant_id)
        except Refused as refused:
            planned = _as_oauth(refused)
        # 4. Record, the refusal too.
        outcome = await self._database.write(
            lambda tx: self._recorded(tx, planned, proof, parties, grant_id, now)
        )
        if isinstance(outcome, Refused):
            raise outcome
        # 5. Sign what was recorded.
        return self._response(outcome, actor, now)

    async def _actor(
        self, request: ExchangeRequest, proof: DpopProof, grant_id: str
    ) -> AttestedAgent:
        try:
            return await self._agents.verify_svid(request.actor_token, self._issuer)
        except Refused as refused:
            answer = _as_oauth(refused)
            if refused.kind is not Kind.DENIED:
                raise _naming("actor_token", answer) from refused
            # Denied after its signature was verified, so its subject is who asked.
            claims = jose.unverified(request.actor_token).claims
            parties = _Parties(jose.text(claims, "sub"))
            await self._database.write(
                lambda tx: self._recorded(tx, answer, proof, parties, grant_id, self._now())
            )
            raise answer from refused

    def _subject(self, token: str, now: datetime) -> Subject:
        try:
            claims = jose.verify(
                token,
                typ=tokens.ACCESS_TOKEN_TYPE,
                keys=self._verify_keys,
                issuer=self._issuer,
                audience=self._issuer,
                now=now,
            )
        except Refused as refused:
            raise _naming("subject_token", refused) from refused
        return tokens.subject_of(claims)

    async def _mandate_of(self, subject: Subject) -> Mandate:
        mandate = await self._database.read(
            lambda tx: rows.by_id(tx, subject.mandate_id, self.resources)
        )
        if mandate is None or mandate.person_id != subject.person_id:
            raise Refused(Kind.NOT_FOUND, "there is no such mandate")
        return mandate

    def _narrowed(self, request: ExchangeRequest, mandate: Mandate) -> Authority:
        """What the token will carry: the mandate, cut to one audience and to what was asked."""
        server = self._audiences().get(request.audience)
        granted = [grant for grant in mandate.authority.grants if grant.server == server]
        if server is None or not granted:
            raise Refused(
                Kind.DENIED,
                f"audience `{shown(request.audience)}` is not in the mandate",
                code=INVALID_TARGET,
            )
        authority = replace(mandate.authority, grants=tuple(granted))
        if request.authorization_details is not None:
            asked = from_authorization_details(
                request.authorization_details, resources=self.resources
            )
            widened = narrows(asked, authority)
            if widened is not None:
                raise Refused(Kind.DENIED, widened, code=INVALID_DETAILS)
            authority = asked
        if request.scope is not None:
            authority = _scoped(authority, request.scope)
        if narrows(authority, mandate.authority) is not None:
            raise AssertionError("an exchange was about to widen a mandate")
        return authority

    def _recorded(
        self,
        tx: Tx,
        planned: Delegation | Refused,
        proof: DpopProof,
        parties: _Parties,
        grant_id: str,
        now: datetime,
    ) -> Delegation | Refused:
        """Spend the proof, look once more at who may act, and write down what comes of it.

        A refusal is returned, not raised, so that its record commits.
        """
        refused = self._refusal_now(tx, planned, proof, now)
        if refused is not None:
            self._audit.append(tx, _refusal(refused, parties, grant_id))
            return refused
        assert isinstance(planned, Delegation)  # noqa: S101 - a refusal was returned just above
        grants.add(tx, planned, now)
        self._audit.append(tx, self._granted(planned))
        return planned

    def _refusal_now(
        self, tx: Tx, planned: Delegation | Refused, proof: DpopProof, now: datetime
    ) -> Refused | None:
        if not grants.spend(tx, proof.once, proof.expires_at):
            return Refused(Kind.REPLAYED, "DPoP proof was already used", code=INVALID_PROOF)
        if isinstance(planned, Refused):
            return planned
        try:
            self._require_live(tx, planned, now)
        except Refused as refused:
            return _as_oauth(refused)
        return None

    def _require_live(self, tx: Tx, delegation: Delegation, now: datetime) -> None:
        self._people.check_live(tx, delegation.person_id, delegation.person_epoch)
        self._agents.check_live(tx, delegation.agent_name, delegation.agent_epoch)
        mandate = rows.by_id(tx, delegation.mandate.id, self.resources)
        if mandate is None:
            raise Refused(Kind.NOT_FOUND, "there is no such mandate")
        mandate.require_active(now, delegation.mandate_epoch)

    def _response(
        self, delegation: Delegation, actor: AttestedAgent, now: datetime
    ) -> TokenResponse:
        details = to_authorization_details(delegation.authority, resources=self.resources)
        claims = tokens.access_claims(
            self._issuer,
            delegation,
            actor,
            details=details,
            now=now,
            policy_version=self._policy_version(),
        )
        return TokenResponse(
            access_token=jose.sign(claims, typ=tokens.ACCESS_TOKEN_TYPE, key=self._signing_key),
            expires_in=int((delegation.expires_at - now).total_seconds()),
            scope=" ".join(delegation.authority.scope),
            authorization_details=details,
        )

    def _granted(self, delegation: Delegation) -> Event:
        details = to_authorization_details(delegation.authority, resources=self.resources)
        facts: dict[str, JsonValue] = {
            "action": "exchange",
            "decision": "permit",
            "agent": str(delegation.agent),
            "instance": str(delegation.instance),
            "mandate": delegation.mandate.id,
            "grant": delegation.grant_id,
            "jti": delegation.jti,
            "audience": delegation.audience,
            "jkt": delegation.jkt,
            "manifest": delegation.manifest,
            "authority_hash": delegation.mandate.authority_hash,
            "granted": digest(details),
            "expires_at": rfc3339(delegation.expires_at),
            "epochs": {
                "person": delegation.person_epoch,
                "agent": delegation.agent_epoch,
                "mandate": delegation.mandate_epoch,
            },
        }
        private = {"person": delegation.person_id}
        return Event(EventType.DELEGATE, delegation.grant_id, facts, private)


def _require_may_act(
    request: ExchangeRequest, subject: Subject, actor: AttestedAgent, proof: DpopProof
) -> None:
    agent = str(actor.agent.id)
    # The actor is authenticated by its own key, or is not: a stolen SVID proves nothing.
    if not hmac.compare_digest(actor.jkt, proof.jkt):
        raise Refused(
            Kind.UNAUTHENTICATED,
            "DPoP proof is by another key than the actor_token is bound to",
            code=INVALID_PROOF,
        )
    if request.client_id is not None and request.client_id != agent:
        raise Refused(
            Kind.MALFORMED, "client_id is not the agent of the actor_token", code=INVALID_REQUEST
        )
    if subject.person_id in {agent, str(actor.instance)}:
        raise Refused(Kind.MALFORMED, "subject and actor must differ", code=INVALID_REQUEST)
    if subject.may_act != agent:
        raise Refused(Kind.DENIED, "the subject token names another agent", code=ACTOR_UNAUTHORIZED)


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


def _until(
    request: ExchangeRequest,
    subject: Subject,
    actor: AttestedAgent,
    mandate: Mandate,
    now: datetime,
) -> datetime:
    """When the token ends: whole seconds, never after anything it is made from."""
    limit = min(now + ACCESS_TOKEN_LIFE, subject.expires_at, actor.expires_at, mandate.expires_at)
    until = limit
    if request.expires_in is not None:
        until = now + timedelta(seconds=request.expires_in)
        if until > limit:
            seconds = int((limit - now).total_seconds())
            raise Refused(
                Kind.DENIED, f"expires_in is at most {seconds} seconds", code=INVALID_REQUEST
            )
    whole = datetime.fromtimestamp(int(until.timestamp()), UTC)
    if whole <= now:
        raise Refused(Kind.EXPIRED, "what the token is made from has expired")
    return whole


def _delegation(
    request: ExchangeRequest,
    subject: Subject,
    actor: AttestedAgent,
    mandate: Mandate,
    authority: Authority,
    until: datetime,
    grant_id: str,
) -> Delegation:
    return Delegation(
        grant_id=grant_id,
        jti=new_id("at"),
        person_id=subject.person_id,
        agent=actor.agent.id,
        instance=actor.instance,
        mandate=mandate,
        authority=authority,
        origins=tokens.origins(authority, mandate.authority),
        audience=request.audience,
        jkt=actor.jkt,
        manifest=actor.manifest,
        assurance=actor.assurance,
        expires_at=until,
        chain=(actor.instance,),
        person_epoch=subject.person_epoch,
        agent_epoch=actor.agent.epoch,
        mandate_epoch=subject.mandate_epoch,
    )


def _as_oauth(refused: Refused) -> Refused:
    """The same refusal with an OAuth error code."""
    if refused.code is not None or refused.kind is Kind.BUSY:
        return refused
    unverified = refused.kind in {Kind.MALFORMED, Kind.UNAUTHENTICATED}
    code = INVALID_REQUEST if unverified else INVALID_GRANT
    return Refused(refused.kind, refused.detail, code=code)


def _naming(parameter: str, refused: Refused) -> Refused:
    """The same refusal, saying which of the two tokens it is about."""
    return Refused(refused.kind, f"{parameter}: {refused.detail}", code=refused.code)


def _refusal(refused: Refused, parties: _Parties, grant_id: str) -> Event:
    facts: dict[str, JsonValue] = {
        "action": "exchange",
        "decision": "deny",
        "agent": parties.agent,
        "reason": refused.code or refused.kind.value,
        "kind": refused.kind.value,
    }
    private: dict[str, JsonValue] = {"detail": refused.detail}
    if parties.instance is not None:
        facts["instance"] = parties.instance
    if parties.subject is not None:
        facts["mandate"] = parties.subject.mandate_id
        private["person"] = parties.subject.person_id
    return Event(EventType.DELEGATE, grant_id, facts, private)
