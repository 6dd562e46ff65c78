"""Token exchange (RFC 8693): the person's token and the agent's credential become a delegation.

Rights only narrow, the actor is always named, the token is bound to the actor's own key. Whatever
is decided about parties we know is in the log before it is answered.

Errors, where RFC 8693 §2.2.2 leaves a choice: a token that does not verify is `invalid_request`;
one that did, but whose authority has ended (expired, revoked, agent invalidated), is
`invalid_grant`, so that a client knows to obtain a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from actfor.audit import Event, EventType
from actfor.delegation.model import Delegation, Mandate
from actfor.delegation.repository import grants
from actfor.delegation.service import tokens
from actfor.delegation.service.context import Context
from actfor.delegation.service.planning import Plan, plan, require_may_act
from actfor.delegation.service.tokens import Subject
from actfor.errors import Kind, Refused
from actfor.identity import AttestedAgent
from actfor.store import Ask, Tx, new_id
from actfor.wire import jose
from actfor.wire.canonical import JsonValue, digest
from actfor.wire.dpop import INVALID_PROOF, DpopProof
from actfor.wire.log_entry import Revocable
from actfor.wire.timestamps import rfc3339
from actfor.wire.token_exchange import (
    INVALID_GRANT,
    INVALID_REQUEST,
    ExchangeRequest,
    TokenResponse,
)

MAX_CHILDREN: Final = 64
"""Tokens that may be made from what was passed on of one token, in its few minutes."""


@dataclass(frozen=True, slots=True)
class Parties:
    """Who was identified so far, for the log."""

    agent: str
    instance: str | None = None
    subject: Subject | None = None
    svid_kid: str | None = None

    @property
    def kids(self) -> tuple[str, ...]:
        """The keys that signed the tokens that were shown."""
        kids = (self.svid_kid, None if self.subject is None else self.subject.kid)
        return tuple(kid for kid in kids if kid is not None)

    @property
    def epochs(self) -> dict[str, JsonValue]:
        """The keys that signed the two tokens, as what the grant depends on."""
        return {Revocable.KEY.value: dict.fromkeys(self.kids, 0)}


class Exchange(Context):
    """The token exchange grant."""

    async def exchange(self, request: ExchangeRequest, proof: DpopProof) -> TokenResponse:
        """Exchange, or refuse with the OAuth error in ``Refused.code``.

        ``proof`` was verified for this request; it is spent here, in the transaction that records
        the grant. The answer is returned only after that is durable.
        """
        if request.requested_actor is not None:
            raise ValueError("that passes a token on: see `Passing`")
        grant_id, now = new_id("gr"), self._now()
        # 1. Who acts, by a credential that only they can use.
        actor = await self._actor(request, proof, grant_id)
        parties = Parties(str(actor.agent.id), str(actor.instance), svid_kid=actor.kid)
        planned: Plan | Refused
        try:
            # 2. For whom, by which mandate.
            subject = self._subject(request.subject_token, now)
            parties = replace(parties, subject=subject)
            require_may_act(request, subject, actor, proof)
            mandate = await self._mandate_of(subject)
            # 3. Narrow.
            planned = plan(
                request,
                subject=subject,
                actor=actor,
                mandate=mandate,
                server=self._audiences().get(request.audience),
                resources=self.resources,
                grant_id=grant_id,
                now=now,
            )
        except Refused as refused:
            planned = as_oauth(refused)
        # 4. Record, the refusal too.
        outcome = await self._database.write(
            lambda tx: self._recorded(tx, planned, proof, parties, grant_id, now),
            self._ahead(planned, proof),
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
            answer = as_oauth(refused)
            if refused.kind is not Kind.DENIED:
                raise naming("actor_token", answer) from refused
            # Denied after its signature was verified, so its subject is who asked.
            claims = jose.unverified(request.actor_token).claims
            parties = Parties(jose.text(claims, "sub"))
            await self._database.write(
                lambda tx: self._recorded(tx, answer, proof, parties, grant_id, self._now())
            )
            raise answer from refused

    def _subject(self, token: str, now: datetime) -> Subject:
        known = self._subjects.get(token)
        if known is None:
            known = self._verified_subject(token, now)
            self._subjects.put(token, known)
        if now >= known.expires_at:
            self._subjects.drop(token)
            raise Refused(Kind.EXPIRED, "subject_token: token has expired", code=INVALID_GRANT)
        return known

    def _verified_subject(self, token: str, now: datetime) -> Subject:
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
            raise naming("subject_token", refused) from refused
        return tokens.subject_of(claims, jose.kid_of(token), resources=self.resources)

    async def _mandate_of(self, subject: Subject) -> Mandate:
        mandate = await self._committed(subject.mandate_id)
        if mandate.person_id != subject.person_id:
            raise Refused(Kind.NOT_FOUND, "there is no such mandate")
        return mandate

    def _recorded(
        self,
        tx: Tx,
        planned: Plan | Refused,
        proof: DpopProof,
        parties: Parties,
        grant_id: str,
        now: datetime,
    ) -> Plan | Refused:
        """Spend the proof, look once more at who may act, and write down what comes of it.

        A refusal is returned, not raised, so that its record commits.
        """
        refused = self._refusal_now(tx, planned, proof, now)
        if refused is None:
            refused = self._keys_now(tx, parties)
        if refused is not None:
            self._audit.append(tx, refusal_event(refused, parties, grant_id))
            return refused
        assert isinstance(planned, Plan)  # noqa: S101 - a refusal was returned just above
        grants.add(tx, planned.delegation, now)
        self._audit.append(tx, _granted(planned, parties))
        return planned

    def _ahead(self, planned: Plan | Refused, proof: DpopProof) -> list[Ask]:
        """What ``_recorded`` will ask, for ``Database.write``."""
        asks = [grants.spent(proof.once)]
        if isinstance(planned, Plan):
            asks.append(self._people.asked(planned.delegation.person_id))
            asks.append(self._agents.asked(planned.delegation.agent_name))
        return asks

    def _refusal_now(
        self, tx: Tx, planned: Plan | Refused, proof: DpopProof, now: datetime
    ) -> Refused | None:
        if not grants.spend(tx, proof.once, proof.expires_at):
            return Refused(Kind.REPLAYED, "DPoP proof was already used", code=INVALID_PROOF)
        if isinstance(planned, Refused):
            return planned
        try:
            self._require_live(tx, planned.delegation, now)
        except Refused as refused:
            return as_oauth(refused)
        return None

    def _keys_now(self, tx: Tx, parties: Parties) -> Refused | None:
        """The keys that signed both tokens still count, in this very transaction."""
        try:
            if parties.subject is not None:
                self._check_key(tx, parties.subject.kid)
            if parties.svid_kid is not None:
                self._agents.check_key(tx, parties.svid_kid)
        except Refused as refused:
            return Refused(Kind.DENIED, refused.detail, code=INVALID_GRANT)
        return None

    def _require_live(self, tx: Tx, delegation: Delegation, now: datetime) -> None:
        self._people.require_live(tx, delegation.person_id, delegation.person_epoch)
        self._check_agents(tx, delegation)
        self._standing(tx, delegation.mandate).require_active(now, delegation.mandate_epoch)
        if delegation.through:
            nearest = delegation.through[0].grant_id
            if grants.children(tx, delegation.mandate.id, nearest) >= MAX_CHILDREN:
                raise Refused(Kind.DENIED, "it was passed on too often", code=INVALID_REQUEST)
        for link in delegation.through:
            if grants.is_revoked(tx, link.grant_id):
                raise Refused(Kind.DENIED, "the token that it was passed on from was revoked")

    def _response(self, granted: Plan, actor: AttestedAgent, now: datetime) -> TokenResponse:
        delegation = granted.delegation
        claims = tokens.access_claims(
            self._issuer,
            delegation,
            actor,
            details=granted.details,
            now=now,
            policy_version=self._policy_version(),
            passed=granted.passed,
        )
        return TokenResponse(
            access_token=jose.sign(claims, typ=tokens.ACCESS_TOKEN_TYPE, key=self._signing_key),
            expires_in=int((delegation.expires_at - now).total_seconds()),
            scope=" ".join(delegation.authority.scope),
            authorization_details=granted.details,
        )


def _granted(granted: Plan, parties: Parties) -> Event:
    delegation = granted.delegation
    facts: dict[str, JsonValue] = {
        "action": "exchange",
        "decision": "permit",
        "agent": str(delegation.agent),
        "instance": str(delegation.instance),
        "chain": [str(actor) for actor in delegation.chain],
        "mandate": delegation.mandate.id,
        "grant": delegation.grant_id,
        "jti": delegation.jti,
        "audience": delegation.audience,
        "jkt": delegation.jkt,
        "manifest": delegation.manifest,
        "expires_at": rfc3339(delegation.expires_at),
        "epochs": {**delegation.epochs, **parties.epochs},
    }
    if delegation.through:
        facts["parent"] = delegation.through[0].grant_id
    private = {
        "person": delegation.person_id,
        "authority_hash": delegation.mandate.authority_hash,
        "granted": digest(granted.details),
    }
    return Event(EventType.DELEGATE, delegation.grant_id, facts, private)


def as_oauth(refused: Refused) -> Refused:
    """The same refusal with an OAuth error code."""
    if refused.code is not None or refused.kind is Kind.BUSY:
        return refused
    unverified = refused.kind in {Kind.MALFORMED, Kind.UNAUTHENTICATED}
    code = INVALID_REQUEST if unverified else INVALID_GRANT
    return Refused(refused.kind, refused.detail, code=code)


def naming(parameter: str, refused: Refused) -> Refused:
    """The same refusal, saying which of the two tokens it is about."""
    return Refused(refused.kind, f"{parameter}: {refused.detail}", code=refused.code)


def refusal_event(
    refused: Refused, parties: Parties, grant_id: str, *, action: str = "exchange"
) -> Event:
    """What the log says of a request that was refused."""
    facts: dict[str, JsonValue] = {
        "action": action,
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
