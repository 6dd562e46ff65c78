"""What an agent wishes it might do: shown to people as the agent's wish, and nothing more.

An attested agent says it in the wire form of authority (RFC 9396). It is read strictly, kept a day,
and grants nothing: a person may take it as a draft, narrow it, and commit it in their own words.

The agent asks what became of it. If a person granted it, the answer has that person's token for the
mandate, as `actfor run` would fetch it: committing for a wish says that the agent may go on with it
by itself. Only the agent that the mandate names can exchange that token, with its SVID and key.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from actfor.audit import Event, EventType
from actfor.delegation.model import MandateState, Wish, WishAnswer, WishState
from actfor.delegation.repository import grants, wishes
from actfor.delegation.service.exchange import Exchange
from actfor.delegation.service.mandates import Lent, Mandates
from actfor.errors import Kind, Refused
from actfor.identity import AttestedAgent, Person
from actfor.store import Tx, new_id
from actfor.wire.canonical import JsonValue, canonical, digest
from actfor.wire.dpop import INVALID_PROOF, DpopProof
from actfor.wire.rar import from_authorization_details, to_authorization_details
from actfor.wire.token_exchange import ACTOR_UNAUTHORIZED

MAX_OPEN: Final = 5
MAX_DETAILS: Final = 8_000
MAX_SAYS: Final = 1_000
KEPT: Final = timedelta(days=1)
MAX_LISTED: Final = 100


class Wishes(Mandates, Exchange):
    """Use cases about wishes."""

    async def wish(
        self,
        actor_token: str,
        proof: DpopProof,
        details: JsonValue,
        says: str | None,
        *,
        subject_token: str | None = None,
    ) -> Wish:
        """Keep what an agent wishes for. ``proof`` was verified for this request; it is spent here.

        ``subject_token`` shows for whom the agent acts: then only they are shown the wish, and what
        comes of it is theirs. Without it anybody may answer, who is then whom the agent acts for.

        Raises:
            Refused: as ``AgentService.verify_svid``; UNAUTHENTICATED for another key's proof;
                MALFORMED for details that are none; DENIED when the agent has too many wishes open,
                or acts for nobody by that token; EXPIRED.
        """
        actor = await self._proved(actor_token, proof)
        authority = from_authorization_details(details, resources=self.resources)
        if len(canonical(details)) > MAX_DETAILS:
            raise Refused(Kind.MALFORMED, "the wish is too long")
        known = set(self._audiences().values())
        if not set(authority.servers) <= known:
            raise Refused(Kind.NOT_FOUND, "the wish names a server that is not governed here")
        now = self._now()
        subject = None if subject_token is None else self._subject(subject_token, now)
        if subject is not None and subject.may_act != str(actor.agent.id):
            raise Refused(
                Kind.DENIED, "subject_token is for another agent", code=ACTOR_UNAUTHORIZED
            )
        mandate = None if subject is None else await self._mandate_of(subject)
        whose = None if subject is None else subject.person_id
        # No database keeps a NUL in a text; the sign for it says as much to a person.
        said = "" if says is None else says.strip()[:MAX_SAYS].replace("\0", "\N{SYMBOL FOR NULL}")
        text = said or None
        new = Wish(new_id("wsh"), str(actor.agent.id), authority, text, now, now + KEPT, whose)

        def unit(tx: Tx) -> Wish:
            self._take(tx, actor, proof)
            if subject is not None and mandate is not None:
                self._check_key(tx, subject.kid)
                self._people.check_live(tx, subject.person_id, subject.person_epoch)
                self._standing(tx, mandate).require_active(tx.now, subject.mandate_epoch)
            if wishes.count(tx, new.agent, tx.now) >= MAX_OPEN:
                raise Refused(Kind.DENIED, f"an agent has at most {MAX_OPEN} wishes open")
            wishes.add(tx, self._texts, new, self.resources)
            facts: dict[str, JsonValue] = {
                "action": "wished",
                "wish": new.id,
                "agent": new.agent,
                "details": digest(to_authorization_details(authority, resources=self.resources)),
            }
            private: dict[str, JsonValue] = {"says": text}
            if whose is not None:
                private["person"] = whose
            self._audit.append(tx, Event(EventType.MANDATE, new.id, facts, private))
            return new

        return await self._database.write(unit)

    async def answered(self, actor_token: str, proof: DpopProof, wish_id: str) -> WishAnswer:
        """What became of an agent's own wish. A granted one has a new token each time.

        Raises:
            Refused: as ``wish`` for token and proof; NOT_FOUND (or another agent's wish).
        """
        actor = await self._proved(actor_token, proof)

        def unit(tx: Tx) -> tuple[WishAnswer, Lent | None]:
            self._take(tx, actor, proof)
            known = wishes.standing(tx, wish_id)
            if known is None or known.agent != str(actor.agent.id):
                raise Refused(Kind.NOT_FOUND, "there is no such wish", code="invalid_request")
            over = tx.now >= known.expires_at
            state = WishState(known.answer or WishState.OPEN)
            told = WishAnswer(wish_id, state, known.expires_at, known.mandate_id)
            if known.mandate_id is None:
                return (replace(told, state=WishState.EXPIRED) if over else told), None
            mandate = self._load(tx, known.mandate_id).at(tx.now)
            if over or mandate.state is not MandateState.ACTIVE:
                return replace(told, state=WishState.ENDED), None
            person = self._people.check_live(tx, mandate.person_id)
            return told, self._lend(tx, person, mandate, wish_id)

        told, lent = await self._database.write(unit)
        if lent is None:
            return told
        return replace(told, subject_token=self._subject_token(lent), until=lent.until)

    async def _proved(self, actor_token: str, proof: DpopProof) -> AttestedAgent:
        """The agent that an SVID and a proof of its key are from."""
        actor = await self._agents.verify_svid(actor_token, self._issuer)
        if not hmac.compare_digest(actor.jkt, proof.jkt):
            raise Refused(Kind.UNAUTHENTICATED, "DPoP proof is by another key", code=INVALID_PROOF)
        return actor

    def _take(self, tx: Tx, actor: AttestedAgent, proof: DpopProof) -> None:
        """Spend the proof; the agent may act now."""
        if not grants.spend(tx, proof.once, proof.expires_at):
            raise Refused(Kind.REPLAYED, "DPoP proof was already used", code=INVALID_PROOF)
        self._agents.check_live(tx, actor.agent.name, actor.agent.epoch)

    async def wishes(self, person: Person) -> Sequence[Wish]:
        """What agents wish for now that this person may answer, newest first."""
        now = self._now()
        return await self._database.read(
            lambda tx: wishes.pending(
                tx, self._texts, now, self.resources, person_id=person.id, most=MAX_LISTED
            )
        )

    async def dismiss_wish(self, person: Person, wish_id: str) -> None:
        """Say no to a wish: it is put away, and its agent is told.

        Raises:
            Refused: NOT_FOUND if it is not open, or is for somebody else.
        """

        def unit(tx: Tx) -> None:
            actor = self._people.check_live(tx, person.id)
            known = wishes.standing(tx, wish_id)
            if known is None or not wishes.dismiss(tx, wish_id, actor.id, tx.now):
                raise Refused(Kind.NOT_FOUND, "there is no such wish")
            facts: dict[str, JsonValue] = {
                "action": "wish-dismissed",
                "wish": wish_id,
                "agent": known.agent,
            }
            event = Event(EventType.MANDATE, wish_id, facts, {"person": actor.id})
            self._audit.append(tx, event)

        await self._database.write(unit)
