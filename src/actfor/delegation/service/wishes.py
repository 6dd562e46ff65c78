"""What an agent wishes it might do: shown to people as the agent's wish, and nothing more.

An attested agent says it in the wire form of authority (RFC 9396). It is read strictly, kept a day,
and grants nothing: a person may take it as a draft, narrow it, and commit it in their own words.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from actfor.audit import Event, EventType
from actfor.delegation.model import Wish
from actfor.delegation.repository import grants, wishes
from actfor.delegation.service.context import Context
from actfor.errors import Kind, Refused
from actfor.identity import Person
from actfor.store import Tx, new_id
from actfor.wire.canonical import JsonValue, canonical, digest
from actfor.wire.dpop import INVALID_PROOF, DpopProof
from actfor.wire.rar import from_authorization_details, to_authorization_details

MAX_OPEN: Final = 5
MAX_DETAILS: Final = 8_000
MAX_SAYS: Final = 1_000
KEPT: Final = timedelta(days=1)
MAX_LISTED: Final = 100


class Wishes(Context):
    """Use cases about wishes."""

    async def wish(
        self, actor_token: str, proof: DpopProof, details: JsonValue, says: str | None
    ) -> Wish:
        """Keep what an agent wishes for. ``proof`` was verified for this request; it is spent here.

        Raises:
            Refused: as ``AgentService.verify_svid``; UNAUTHENTICATED for another key's proof;
                MALFORMED for details that are none; DENIED when the agent has too many wishes open.
        """
        actor = await self._agents.verify_svid(actor_token, self._issuer)
        if not hmac.compare_digest(actor.jkt, proof.jkt):
            raise Refused(Kind.UNAUTHENTICATED, "DPoP proof is by another key", code=INVALID_PROOF)
        authority = from_authorization_details(details, resources=self.resources)
        if len(canonical(details)) > MAX_DETAILS:
            raise Refused(Kind.MALFORMED, "the wish is too long")
        known = set(self._audiences().values())
        if not set(authority.servers) <= known:
            raise Refused(Kind.NOT_FOUND, "the wish names a server that is not governed here")
        now = self._now()
        # No database keeps a NUL in a text; the sign for it says as much to a person.
        said = "" if says is None else says.strip()[:MAX_SAYS].replace("\0", "\N{SYMBOL FOR NULL}")
        text = said or None
        new = Wish(new_id("wsh"), str(actor.agent.id), authority, text, now, now + KEPT)

        def unit(tx: Tx) -> Wish:
            if not grants.spend(tx, proof.once, proof.expires_at):
                raise Refused(Kind.REPLAYED, "DPoP proof was already used", code=INVALID_PROOF)
            self._agents.check_live(tx, actor.agent.name, actor.agent.epoch)
            if wishes.count(tx, new.agent, tx.now) >= MAX_OPEN:
                raise Refused(Kind.DENIED, f"an agent has at most {MAX_OPEN} wishes open")
            wishes.add(tx, self._texts, new, self.resources)
            facts: dict[str, JsonValue] = {
                "action": "wished",
                "wish": new.id,
                "agent": new.agent,
                "details": digest(to_authorization_details(authority, resources=self.resources)),
            }
            self._audit.append(tx, Event(EventType.MANDATE, new.id, facts, {"says": text}))
            return new

        return await self._database.write(unit)

    async def wishes(self) -> Sequence[Wish]:
        """What agents wish for now, newest first."""
        now = self._now()
        return await self._database.read(
            lambda tx: wishes.pending(tx, self._texts, now, self.resources, MAX_LISTED)
        )

    async def dismiss_wish(self, person: Person, wish_id: str) -> None:
        """Put a wish away, taken up or not.

        Raises:
            Refused: NOT_FOUND.
        """

        def unit(tx: Tx) -> None:
            self._people.check_live(tx, person.id)
            if not wishes.dismiss(tx, wish_id):
                raise Refused(Kind.NOT_FOUND, "there is no such wish")

        await self._database.write(unit)
