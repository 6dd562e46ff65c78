"""Values that a person said are right for one argument: given with a yes, taken back any time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from actfor.audit import Event, EventType, Revocable
from actfor.delegation.model import Endorsement
from actfor.delegation.repository import endorsements as rows
from actfor.delegation.repository import mandates
from actfor.delegation.service.mandates import Mandates
from actfor.errors import Kind, Refused
from actfor.identity import Person, Role
from actfor.store import Tx, new_id
from actfor.wire.canonical import JsonValue


class Endorsements(Mandates):
    """Use cases about endorsements."""

    def endorse(
        self,
        tx: Tx,
        *,
        mandate_id: str,
        tool: str,
        slots: Iterable[tuple[str, str]],
        by: str,
        approval_id: str,
    ) -> None:
        """Keep (argument, value) pairs that a person endorsed, in the unit that records the yes.

        ``tool`` is `server/tool`. Who said so, and that they may, is the caller's to check.
        """
        owner = mandates.person_of(tx, mandate_id)
        if owner is None:
            raise Refused(Kind.NOT_FOUND, "there is no such mandate")
        for slot, value in slots:
            new = Endorsement(new_id("end"), mandate_id, tool, slot, value, by, approval_id, tx.now)
            rows.add(tx, self._texts, new, owner)
            self._audit.append(tx, _given(new))

    async def endorsements(self, mandate_id: str) -> Sequence[Endorsement]:
        """Those of a mandate that hold, oldest first. Who may see them is the caller's affair."""
        found = await self._database.read(lambda tx: rows.of_mandate(tx, self._texts, mandate_id))
        return [one for one in found if one.withdrawn_at is None]

    def check_endorsed(self, tx: Tx, endorsement_ids: Iterable[str]) -> None:
        """Refuse unless all of them still hold: for the transaction that records a decision.

        Raises:
            Refused: CONFLICT if one was taken back: the call is to be decided again.
        """
        for one in endorsement_ids:
            if not rows.holds(tx, one):
                raise Refused(Kind.CONFLICT, "an endorsed value was taken back: decide again")

    async def withdraw_endorsement(
        self, person: Person, mandate_id: str, endorsement_id: str
    ) -> None:
        """Take one back: from the next call on the value is asked about again.

        Raises:
            Refused: NOT_FOUND (or somebody else's), CONFLICT if it was taken back before.
        """

        def unit(tx: Tx) -> None:
            actor = self._people.check_live(tx, person.id)
            mandate = self._visible(tx, actor, mandate_id, also=Role.ADMIN)
            known = rows.by_id(tx, self._texts, endorsement_id)
            if known is None or known.mandate_id != mandate.id:
                raise Refused(Kind.NOT_FOUND, "there is no such endorsement")
            if not rows.withdraw(tx, endorsement_id, tx.now):
                raise Refused(Kind.CONFLICT, "the endorsement was taken back already")
            self._audit.append(tx, _withdrawn(known, actor))

        await self._database.write(unit)


def _given(new: Endorsement) -> Event:
    facts: dict[str, JsonValue] = {
        "action": "endorsed",
        "mandate": new.mandate_id,
        "endorsement": new.id,
        "approval": new.approval_id,
        "tool": new.tool[:200],
    }
    private: dict[str, JsonValue] = {
        "person": new.given_by,
        "argument": new.slot,
        "value": new.value,
    }
    return Event(EventType.MANDATE, new.mandate_id, facts, private)


def _withdrawn(known: Endorsement, actor: Person) -> Event:
    facts: dict[str, JsonValue] = {
        "action": "endorsement-withdrawn",
        "mandate": known.mandate_id,
        "endorsement": known.id,
    }
    return Event.revoked(
        Revocable.ENDORSEMENT,
        known.id,
        1,
        trace=known.mandate_id,
        facts=facts,
        private={"person": actor.id},
    )
