"""An agent passes on what it holds: the first half of a chain (RFC 8693 §4.1, §4.4).

Two exchanges, each made by whom it concerns and with its own key:

    1. A asks, with its own access token, SVID and proof, naming B (``requested_actor``). It gets
       back a token that only B can exchange (`may_act`), for at most what A says.
    2. B exchanges that, with its own SVID and proof, as an agent exchanges a person's token.

So A's access token never leaves A, B's credentials never leave B, and a stolen hand-over opens
nothing. ADR 19 says why not in one step.

INVARIANT: what is passed on is within what A holds, ends no later, and is one agent less deep.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from actfor.audit import Event, EventType
from actfor.delegation.model import Delegation, member
from actfor.delegation.repository import grants
from actfor.delegation.service import tokens
from actfor.delegation.service.access import Access
from actfor.delegation.service.chains import (
    above_of,
    ceiling,
    require_fits,
    require_passable,
    through_claim,
)
from actfor.delegation.service.exchange import (
    Exchange,
    Parties,
    as_oauth,
    naming,
    refusal_event,
)
from actfor.delegation.service.planning import narrowed, require_actor, until
from actfor.errors import Kind, Refused
from actfor.identity import AttestedAgent
from actfor.store import Tx, new_id
from actfor.wire import jose
from actfor.wire.canonical import JsonObject, JsonValue, digest
from actfor.wire.dpop import INVALID_PROOF, DpopProof
from actfor.wire.log_entry import Revocable
from actfor.wire.rar import Authority, to_authorization_details
from actfor.wire.spiffe import SpiffeId
from actfor.wire.timestamps import rfc3339
from actfor.wire.token_exchange import (
    INVALID_GRANT,
    INVALID_REQUEST,
    NOT_APPLICABLE,
    ExchangeRequest,
    TokenResponse,
)

_ACTION: Final = "pass-on"


@dataclass(frozen=True, slots=True)
class _Handover:
    """What may be passed on, decided without a database."""

    held: Delegation
    to: SpiffeId
    authority: Authority
    jti: str
    expires_at: datetime


class Passing(Exchange, Access):
    """Passing a token on to another agent."""

    async def pass_on(self, request: ExchangeRequest, proof: DpopProof) -> TokenResponse:
        """A token that only ``request.requested_actor`` can exchange, made from the caller's own.

        ``proof`` was verified for this request; it is spent here, in the transaction that records
        what was passed on. The answer is returned only after that is durable.

        Raises:
            Refused: with the OAuth error in ``Refused.code``: `actor_unauthorized` for an agent
                that the mandate does not allow or that is in the chain already, `invalid_request`
                beyond the depth that is left, and as ``exchange``.
        """
        if request.requested_actor is None:
            raise ValueError("nobody is named to pass it on to: see `Exchange`")
        to, trace, now = request.requested_actor, new_id("gr"), self._now()
        # 1. Who passes on, by a credential that only they can use.
        actor = await self._actor(request, proof, trace)
        parties = Parties(str(actor.agent.id), str(actor.instance), svid_kid=actor.kid)
        planned: _Handover | Refused
        try:
            # 2. What they hold, and that it is theirs.
            held = await self._held(request, actor, proof, now)
            # 3. To whom, and how far.
            planned = self._planned(request, held, actor, to, now)
        except Refused as refused:
            planned = as_oauth(refused)
        # 4. Record, the refusal too.
        outcome = await self._database.write(
            lambda tx: self._noted(tx, planned, proof, parties, trace)
        )
        if isinstance(outcome, Refused):
            raise outcome
        # 5. Sign what was recorded.
        return self._handed(request, outcome, now)

    async def _held(
        self, request: ExchangeRequest, actor: AttestedAgent, proof: DpopProof, now: datetime
    ) -> Delegation:
        """The caller's own delegation: bound to the key that made this request's proof."""
        require_actor(request, actor, proof)
        try:
            token = request.subject_token
            held = self._delegations.get(token)
            if held is None:
                held = await self._verified(token, request.audience, now)
        except Refused as refused:
            if refused.kind is Kind.BUSY:
                raise
            code = INVALID_GRANT if refused.kind is Kind.EXPIRED else INVALID_REQUEST
            again = Refused(refused.kind, refused.detail, code=code)
            raise naming("subject_token", again) from refused
        if held.audience != request.audience:
            raise Refused(
                Kind.UNAUTHENTICATED,
                "subject_token: token is for another audience",
                code=INVALID_REQUEST,
            )
        if now >= held.expires_at:
            raise Refused(Kind.EXPIRED, "subject_token: token has expired", code=INVALID_GRANT)
        # RFC 9449 §5: bound to a key, it is nobody else's to pass on.
        if not hmac.compare_digest(held.jkt, proof.jkt) or held.agent != actor.agent.id:
            raise Refused(
                Kind.UNAUTHENTICATED,
                "DPoP proof is by another key than the subject_token is bound to",
                code=INVALID_PROOF,
            )
        return held

    def _planned(
        self,
        request: ExchangeRequest,
        held: Delegation,
        actor: AttestedAgent,
        to: SpiffeId,
        now: datetime,
    ) -> _Handover:
        require_passable(held, to)
        server = self._audiences().get(request.audience)
        authority = narrowed(request, ceiling(held.authority), server, self.resources)
        told = through_claim(above_of(held), held.mandate.authority, resources=self.resources)
        require_fits(authority, _act(request), told, resources=self.resources)
        ends = until(request, now, held.expires_at, actor.expires_at, held.mandate.expires_at)
        return _Handover(held, to, authority, new_id("at"), ends)

    def _noted(
        self,
        tx: Tx,
        planned: _Handover | Refused,
        proof: DpopProof,
        parties: Parties,
        trace: str,
    ) -> _Handover | Refused:
        """Spend the proof, look once more at who may act, and write down what comes of it."""
        refused: Refused | None = None
        if not grants.spend(tx, proof.once, proof.expires_at):
            refused = Refused(Kind.REPLAYED, "DPoP proof was already used", code=INVALID_PROOF)
        elif isinstance(planned, Refused):
            refused = planned
        else:
            refused = self._keys_now(tx, parties) or self._dead(tx, planned.held)
        if refused is not None:
            self._audit.append(tx, refusal_event(refused, parties, trace, action=_ACTION))
            return refused
        assert isinstance(planned, _Handover)  # noqa: S101 - a refusal was returned just above
        self._audit.append(tx, self._event(planned, parties))
        return planned

    def _dead(self, tx: Tx, held: Delegation) -> Refused | None:
        """Why what the caller holds is worth nothing any more, in this very transaction."""
        try:
            self.check_live(tx, held)
        except Refused as refused:
            if refused.kind is Kind.BUSY:
                raise
            return Refused(refused.kind, refused.detail, code=INVALID_GRANT)
        return None

    def _handed(self, request: ExchangeRequest, made: _Handover, now: datetime) -> TokenResponse:
        details = to_authorization_details(made.authority, resources=self.resources)
        claims = tokens.passed_on_claims(
            self._issuer,
            made.held,
            _act(request),
            to=made.to,
            details=details,
            jti=made.jti,
            now=now,
            until=made.expires_at,
        )
        return TokenResponse(
            access_token=jose.sign(claims, typ=tokens.ACCESS_TOKEN_TYPE, key=self._signing_key),
            expires_in=int((made.expires_at - now).total_seconds()),
            scope=" ".join(made.authority.scope),
            authorization_details=details,
            token_type=NOT_APPLICABLE,
        )

    def _event(self, made: _Handover, parties: Parties) -> Event:
        held = made.held
        relied = {
            **held.epochs,
            Revocable.KEY.value: {held.kid: 0, **dict.fromkeys(parties.kids, 0)},
        }
        facts: dict[str, JsonValue] = {
            "action": _ACTION,
            "decision": "permit",
            "agent": str(held.agent),
            "instance": str(held.instance),
            "chain": [str(actor) for actor in held.chain],
            "to": str(made.to),
            "mandate": held.mandate.id,
            "grant": held.grant_id,
            "jti": made.jti,
            "audience": held.audience,
            "expires_at": rfc3339(made.expires_at),
            "epochs": relied,
        }
        details = to_authorization_details(made.authority, resources=self.resources)
        private: dict[str, JsonValue] = {
            "person": held.person_id,
            "authority_hash": held.mandate.authority_hash,
            "passed_on": digest(details),
        }
        return Event(EventType.DELEGATE, held.grant_id, facts, private)


def _act(request: ExchangeRequest) -> JsonObject:
    """The chain of a token that was verified; it is passed on to the byte."""
    return member(jose.unverified(request.subject_token).claims, "act")
