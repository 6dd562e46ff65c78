"""Accounts: people as others know them; roles and states change here, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from actfor.audit import AuditLog, Event, EventType, Revocable
from actfor.errors import Kind, Refused
from actfor.identity.model import LinkKind, Person, PersonState, Role
from actfor.identity.model.people import parse_roles, require_active
from actfor.identity.repository import people as rows
from actfor.identity.service.passkeys import RelyingParty
from actfor.store import Ask, Database, Tx
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.log_entry import pseudonym


class Accounts:
    """The accounts, and what the use cases about people share."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        rp_id: str,
        origins: Sequence[str],
        clock: Callable[[], datetime],
    ) -> None:
        if not rp_id or not origins:
            raise ValueError("a relying party needs a domain and at least one origin")
        self._database = database
        self._audit = audit
        self._texts = audit.texts
        self._party = RelyingParty(rp_id, tuple(origins))
        self._now = clock

    @property
    def origins(self) -> tuple[str, ...]:
        """The web origins that may use a session cookie."""
        return self._party.origins

    async def has_operator(self) -> bool:
        """Whether anybody was ever registered; then no operator link is made again."""
        return await self._database.read(rows.person_count) > 0

    async def person(self, person_id: str) -> Person:
        """The person with this id.

        Raises:
            Refused: NOT_FOUND.
        """
        return await self._database.read(lambda tx: self._load(tx, person_id))

    async def people(self) -> list[Person]:
        """Everyone, in order of registration."""
        return await self._database.read(self.everyone)

    async def change(
        self,
        admin: Person,
        person_id: str,
        *,
        roles: Iterable[str] | None = None,
        state: PersonState | None = None,
    ) -> Person:
        """Change roles or state. Sessions end, and tokens issued before no longer count.

        Raises:
            Refused: DENIED for who is not an admin; CONFLICT for taking the last admin away.
        """
        admin.require(Role.ADMIN)
        if state is PersonState.ERASED:
            raise Refused(Kind.MALFORMED, "a person is erased by `actfor audit erase`")
        held = None if roles is None else parse_roles(roles)

        def unit(tx: Tx) -> Person:
            self._load_active(tx, admin.id).require(Role.ADMIN)
            old = self._load(tx, person_id)
            if old.state is PersonState.ERASED:
                raise Refused(Kind.CONFLICT, "the person was erased")
            new = replace(
                old,
                roles=old.roles if held is None else held,
                state=state or old.state,
                epoch=old.epoch + 1,
            )
            others = [
                p for p in rows.people(tx, self._texts) if p.id != old.id and p.may(Role.ADMIN)
            ]
            if not others and not new.may(Role.ADMIN):
                raise Refused(Kind.CONFLICT, "this is the last admin")
            if not rows.swap_person(tx, old, new):
                raise Refused(Kind.CONFLICT, "the person was changed meanwhile")
            rows.end_sessions_of(tx, old.id)
            facts: dict[str, JsonValue] = {
                "action": "person-changed",
                "roles": sorted(new.roles),
                "state": new.state.value,
                "person_epoch": new.epoch,
            }
            self._log(tx, EventType.ADMIN, new.id, facts, by=admin.id)
            self._audit.append(
                tx,
                Event.revoked(
                    Revocable.PERSON,
                    pseudonym(new.id),
                    new.epoch,
                    trace=pseudonym(new.id),
                    facts={"action": "person-changed", "state": new.state.value},
                ),
            )
            return new

        return await self._database.write(unit)

    def take_back_all(self, tx: Tx, by: int) -> int:
        """End every session, link and token of everybody; epochs rise ``by`` so much. How many.

        For a database that is an older copy of itself (``server.recovery``): what happened since is
        unknown, so ``by`` must be more than can have happened. Roles, states and passkeys are as
        the copy has them; somebody must look at those.
        """
        everyone = rows.people(tx, self._texts)
        for old in everyone:
            new = replace(old, epoch=old.epoch + by)
            if not rows.swap_person(tx, old, new):
                raise Refused(Kind.CONFLICT, "the person was changed meanwhile")
            rows.end_sessions_of(tx, old.id)
            self._audit.append(
                tx,
                Event.revoked(
                    Revocable.PERSON,
                    pseudonym(new.id),
                    new.epoch,
                    trace=pseudonym(new.id),
                    facts={"action": "recovered", "state": new.state.value},
                ),
            )
        for kind in LinkKind:
            rows.void_links(tx, kind)
        return len(everyone)

    def erase(self, tx: Tx, admin: Person | None, person_id: str) -> None:
        """Forget all of a person but the id, which records of others name. For good.

        Without an ``admin`` it is the server that repeats what one had ordered.

        Raises:
            Refused: DENIED for who is not an admin, NOT_FOUND; CONFLICT for the last admin, or one
                who was erased before.
        """
        if admin is not None:
            self._load_active(tx, admin.id).require(Role.ADMIN)
        old = self._load(tx, person_id)
        others = [p for p in rows.people(tx, self._texts) if p.id != old.id and p.may(Role.ADMIN)]
        if admin is not None and not others:
            raise Refused(Kind.CONFLICT, "this is the last admin")
        if not rows.erase_person(tx, person_id):
            raise Refused(Kind.CONFLICT, "the person was erased before")
        about = pseudonym(person_id)
        facts: dict[str, JsonValue] = {"action": "person-erased", "state": "erased"}
        taken = Event.revoked(Revocable.PERSON, about, old.epoch + 1, trace=about, facts=facts)
        self._audit.append(tx, taken)

    @staticmethod
    def everyone_of(tx: Tx) -> list[Person]:
        """Everyone in a database that is not served, without their names."""
        return rows.people(tx, None)

    def everyone(self, tx: Tx) -> list[Person]:
        """Everyone, in a transaction."""
        return rows.people(tx, self._texts)

    def known(self, tx: Tx, person_id: str) -> bool:
        """Whether there ever was such a person."""
        return rows.person_by_id(tx, self._texts, person_id) is not None

    def bring_back(self, tx: Tx, old: Person, now: Person | None, *, trusted: bool) -> bool:
        """A person of a restored backup, with no more than somebody vouches for. True if disabled.

        ``now`` is the person in the database that is replaced: they come back with what they may in
        both. ``trusted`` are named by who restores, and come back as they were.
        """
        if old.state is not PersonState.ACTIVE or trusted:
            return False
        alive = now is not None and now.state is PersonState.ACTIVE
        roles = old.roles & now.roles if now is not None else old.roles
        if alive and roles == old.roles:
            return False
        state = PersonState.ACTIVE if alive else PersonState.DISABLED
        new = replace(old, roles=roles, state=state, epoch=old.epoch + 1)
        if not rows.swap_person(tx, old, new):
            raise Refused(Kind.CONFLICT, "the person was changed meanwhile")
        about = pseudonym(old.id)
        facts: dict[str, JsonValue] = {"action": "restored", "state": state.value}
        self._audit.append(
            tx, Event.revoked(Revocable.PERSON, about, new.epoch, trace=about, facts=facts)
        )
        return not alive

    def check_live(self, tx: Tx, person_id: str, epoch: int | None = None) -> Person:
        """The person, refused unless they may act now and nothing was taken away since ``epoch``.

        For the transaction that records a decision.
        """
        person = self._load(tx, person_id)
        person.require_active(epoch)
        return person

    @staticmethod
    def require_live(tx: Tx, person_id: str, epoch: int) -> None:
        """``check_live`` for whoever needs nothing of the person: for every call.

        Raises:
            Refused: DENIED, NOT_FOUND.
        """
        found = rows.person_standing(tx, person_id)
        if found is None:
            raise _unknown()
        require_active(*found, epoch)

    @staticmethod
    def asked(person_id: str) -> Ask:
        """What ``require_live`` will ask, for ``Database.write``."""
        return rows.person_standing_asked(person_id)

    def _load(self, tx: Tx, person_id: str) -> Person:
        person = rows.person_by_id(tx, self._texts, person_id)
        if person is None:
            raise _unknown()
        return person

    def _load_active(self, tx: Tx, person_id: str) -> Person:
        person = self._load(tx, person_id)
        person.require_active()
        return person

    def _log(
        self,
        tx: Tx,
        type_: EventType,
        person_id: str,
        facts: JsonObject,
        private: JsonObject | None = None,
        *,
        trace: str | None = None,
        by: str | None = None,
    ) -> None:
        """An event about a person; ``by`` is who did it, where that is someone else.

        Who it is about stands in no leaf in clear: the trace is their pseudonym there, or given.
        """
        about: dict[str, JsonValue] = {"person": person_id, **(private or {})}
        others: dict[str, JsonObject] = {}
        if by == person_id:
            about["by"] = by
        elif by is not None:
            others[by] = {"by": by}
        self._audit.append(tx, Event(type_, trace or pseudonym(person_id), facts, about, others))


def _unknown() -> Refused:
    return Refused(Kind.NOT_FOUND, "there is no such person")
