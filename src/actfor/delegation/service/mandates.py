"""Mandates: committed by a person, looked at, revoked; and the person's token for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from actfor.audit import Event, EventType, Revocable
from actfor.delegation.model import (
    SUBJECT_TOKEN_LIFE,
    IssuedGrant,
    Mandate,
    MandateDraft,
    MandateState,
    parse_reason,
)
from actfor.delegation.repository import erasing, wishes
from actfor.delegation.repository import grants as issued
from actfor.delegation.repository import mandates as rows
from actfor.delegation.service import tokens
from actfor.delegation.service.context import Context
from actfor.errors import Kind, Refused
from actfor.identity import Agent, Person, Role
from actfor.store import Tx, new_id
from actfor.wire import jose
from actfor.wire.canonical import JsonObject, JsonValue, canonical
from actfor.wire.log_entry import pseudonym
from actfor.wire.rar import (
    Authority,
    authority_hash,
    intent_hash,
    sources,
    to_authorization_details,
)
from actfor.wire.timestamps import rfc3339

MAX_LISTED: Final = 200
MAX_DETAILS: Final = 4000
"""Bytes of one server's authorization details: they travel in a token of at most 8 KB."""


@dataclass(frozen=True, slots=True)
class Lent:
    """A person's token for a mandate, before it is signed."""

    actor: Person
    mandate: Mandate
    jti: str
    now: datetime

    @property
    def until(self) -> datetime:
        """When it ends."""
        return min(self.now + SUBJECT_TOKEN_LIFE, self.mandate.expires_at)


class Mandates(Context):
    """Use cases about mandates."""

    async def commit_mandate(self, person: Person, draft: MandateDraft) -> Mandate:
        """Commit what the person confirmed. From now on tokens can be made from it.

        With ``draft.wish`` the agent that wished for it is told, and gets the person's token
        (``Wishes.answered``): a wish is answered once.

        Raises:
            Refused: NOT_FOUND (agent or server), DENIED (the agent or person may not act),
                MALFORMED (too long a life, too many limits for a token), CONFLICT (no such wish of
                this agent is open).
        """
        # 1. Load and check.
        now = self._now()
        draft.check(now)
        agent = await self._agents.show(draft.agent)
        agent.require_attestable()
        details = self._checked_details(draft.authority)
        # 2. Bind goal and authority by their digests.
        intent: dict[str, JsonValue] = {
            "goal": draft.goal,
            "resources": [f"{self.resources}/{server}" for server in draft.authority.servers],
            "expires_at": rfc3339(draft.expires_at),
        }
        mandate = Mandate(
            id=new_id("mdt"),
            person_id=person.id,
            agent=agent.id,
            goal=draft.goal,
            authority=draft.authority,
            authority_hash=authority_hash(self._issuer, details),
            intent_hash=intent_hash(self._issuer, intent),
            created_at=now,
            expires_at=draft.expires_at,
            four_eyes=draft.four_eyes,
        )

        # 3. Record.
        def unit(tx: Tx) -> None:
            self._people.check_live(tx, person.id, person.epoch)
            rows.add(tx, self._texts, mandate, self.resources)
            if (wish := draft.wish) is not None:
                granted = wishes.grant(tx, wish, str(agent.id), mandate, tx.now)
                if not granted:
                    raise Refused(Kind.CONFLICT, "no such wish of this agent is open any more")
            self._audit.append(tx, _commitment(mandate, details, draft.wish))

        await self._database.write(unit)
        return mandate

    async def revoke_mandate(self, person: Person, mandate_id: str, reason: str) -> Mandate:
        """Take a mandate back. One write ends everything made from it, from the next call on.

        Raises:
            Refused: NOT_FOUND (or somebody else's), CONFLICT if it was revoked before.
        """
        why = parse_reason(reason)

        def unit(tx: Tx) -> Mandate:
            actor = self._people.check_live(tx, person.id)
            mandate = self._visible(tx, actor, mandate_id, also=Role.ADMIN)
            return self._take_back(tx, actor.id, mandate, why)

        return await self._database.write(unit)

    def take_back_all(self, tx: Tx, reason: str) -> int:
        """Revoke every mandate, for a database that is an older copy of itself. How many.

        Which of them were revoked after the copy was made is unknown; people commit anew.
        """
        active = rows.active(tx)
        for one in active:
            rows.revoke(tx, self._texts, one, reason)
            self._audit.append(tx, _ended(one, "recovered", {"reason": reason}))
            for hook in self.on_revoked:
                hook(tx, one.id)
        return len(active)

    def erase_person(self, tx: Tx, by: str, person_id: str) -> None:
        """Revoke and then delete all of a person's mandates: goals and limits are their words."""
        # Not loaded: where the person was erased after this copy was made, it does not open.
        for one in rows.active_of(tx, person_id):
            rows.revoke(tx, self._texts, one, None)
            private: JsonObject = {"person": by, "reason": "the person was erased"}
            self._audit.append(tx, _ended(one, "mandate-revoked", private))
            for hook in self.on_revoked:
                hook(tx, one.id)
        erasing.erase(tx, person_id)
        tx.on_commit(self._forget_mandates)

    def _take_back(self, tx: Tx, by: str, mandate: Mandate, reason: str) -> Mandate:
        ended = rows.Active(mandate.id, mandate.person_id, str(mandate.agent), mandate.epoch)
        if not rows.revoke(tx, self._texts, ended, reason):
            raise Refused(Kind.CONFLICT, "the mandate is revoked already")
        self._audit.append(tx, _ended(ended, "mandate-revoked", {"person": by, "reason": reason}))
        for hook in self.on_revoked:
            hook(tx, mandate.id)
        return replace(mandate, state=MandateState.REVOKED, epoch=mandate.epoch + 1, reason=reason)

    async def grants(self, person: Person, mandate_id: str) -> Sequence[IssuedGrant]:
        """The access tokens made from a mandate that can be used now, oldest first.

        Raises:
            Refused: NOT_FOUND (or somebody else's).
        """

        def unit(tx: Tx) -> Sequence[IssuedGrant]:
            self._visible(tx, person, mandate_id, also=Role.ADMIN)
            return issued.live_of(tx, mandate_id, self._now(), MAX_LISTED)

        return await self._database.read(unit)

    async def revoke_grant(
        self, person: Person, mandate_id: str, grant_id: str, reason: str
    ) -> None:
        """Take one access token back, and every token made from it; the mandate stays.

        One write, whatever hangs below: whoever uses a token below finds it on the way up.

        Raises:
            Refused: NOT_FOUND (or somebody else's), CONFLICT if it was revoked before.
        """
        why = parse_reason(reason)

        def unit(tx: Tx) -> None:
            actor = self._people.check_live(tx, person.id)
            mandate = self._visible(tx, actor, mandate_id, also=Role.ADMIN)
            if issued.mandate_of(tx, grant_id) != mandate.id:
                raise Refused(Kind.NOT_FOUND, "there is no such grant")
            if not issued.revoke(tx, grant_id, tx.now):
                raise Refused(Kind.CONFLICT, "the grant is revoked already")
            self._audit.append(tx, _grant_revoked(mandate, grant_id, actor, why))

        await self._database.write(unit)

    async def mandates(self, person: Person | None) -> Sequence[Mandate]:
        """The newest 200 mandates of a person (None: of everyone), as they stand now."""
        of = None if person is None else person.id
        found = await self._database.read(
            lambda tx: rows.latest(tx, self._texts, of, self.resources, MAX_LISTED)
        )
        now = self._now()
        return [mandate.at(now) for mandate in found]

    async def mandate(self, mandate_id: str) -> Mandate:
        """One mandate as it stands now. Who may see it is the caller's affair.

        Raises:
            Refused: NOT_FOUND.
        """
        found = await self._database.read(lambda tx: self._load(tx, mandate_id))
        return found.at(self._now())

    def check_mandate(self, tx: Tx, mandate: Mandate, agent: Agent) -> JsonObject:
        """Refuse unless person, agent and mandate may act now, unchanged since they were read.

        For the transaction that records a decision about a call that comes without a token. Gives
        the epochs it rests on, as the log states them.

        Raises:
            Refused: DENIED with the cause, EXPIRED, NOT_FOUND.
        """
        person = self._people.check_live(tx, mandate.person_id)
        self._agents.check_live(tx, agent.name, agent.epoch)
        self._standing(tx, mandate).require_active(tx.now, mandate.epoch)
        return {
            Revocable.PERSON.value: {pseudonym(person.id): person.epoch},
            Revocable.AGENT.value: {str(agent.id): agent.epoch},
            Revocable.MANDATE.value: {mandate.id: mandate.epoch},
        }

    async def subject_token(self, person: Person, mandate_id: str) -> str:
        """The person's token for this mandate (`at+jwt`, at most an hour), to be exchanged.

        Raises:
            Refused: NOT_FOUND (or somebody else's), EXPIRED, DENIED if it was revoked.
        """

        def unit(tx: Tx) -> Lent:
            actor = self._people.check_live(tx, person.id, person.epoch)
            return self._lend(tx, actor, self._visible(tx, actor, mandate_id))

        return self._subject_token(await self._database.write(unit))

    def _lend(self, tx: Tx, actor: Person, mandate: Mandate, wish: str | None = None) -> Lent:
        """Record that the person's token for a mandate is made; it is signed after the commit."""
        mandate.require_active(tx.now)
        lent = Lent(actor, mandate, new_id("at"), tx.now)
        facts: dict[str, JsonValue] = {
            "action": "subject-token",
            "mandate": mandate.id,
            "agent": str(mandate.agent),
            "jti": lent.jti,
            **({} if wish is None else {"wish": wish}),
            "epochs": {
                Revocable.PERSON.value: {pseudonym(actor.id): actor.epoch},
                Revocable.MANDATE.value: {mandate.id: mandate.epoch},
            },
        }
        event = Event(EventType.DELEGATE, mandate.id, facts, {"person": actor.id})
        self._audit.append(tx, event)
        return lent

    def _subject_token(self, lent: Lent) -> str:
        claims = tokens.subject_claims(
            self._issuer, lent.actor, lent.mandate, jti=lent.jti, now=lent.now, until=lent.until
        )
        return jose.sign(claims, typ=tokens.ACCESS_TOKEN_TYPE, key=self._signing_key)

    def _load(self, tx: Tx, mandate_id: str) -> Mandate:
        mandate = rows.by_id(tx, self._texts, mandate_id, self.resources)
        if mandate is None:
            raise Refused(Kind.NOT_FOUND, "there is no such mandate")
        return mandate

    def _visible(
        self, tx: Tx, person: Person, mandate_id: str, *, also: Role | None = None
    ) -> Mandate:
        """The mandate, if it is the person's or they hold the role; else as if it were not."""
        mandate = self._load(tx, mandate_id)
        if mandate.person_id != person.id and not (also is not None and person.may(also)):
            raise Refused(Kind.NOT_FOUND, "there is no such mandate")
        return mandate

    def _checked_details(self, authority: Authority) -> list[JsonValue]:
        known = set(self._audiences().values())
        limits = [limit for grant in authority.grants for limit in grant.args.values()]
        named = {one.server for limit in limits for one in sources(limit)} - {None}
        for server in (*authority.servers, *sorted(map(str, named))):
            if server not in known:
                raise Refused(Kind.NOT_FOUND, f"server `{server}` is not governed here")
        for server in authority.servers:
            part = replace(
                authority, grants=tuple(g for g in authority.grants if g.server == server)
            )
            size = len(canonical(to_authorization_details(part, resources=self.resources)))
            if size > MAX_DETAILS:
                raise Refused(
                    Kind.MALFORMED, f"the limits for `{server}` do not fit into a token; say less"
                )
        return to_authorization_details(authority, resources=self.resources)


def _commitment(mandate: Mandate, details: JsonValue, wish: str | None) -> Event:
    facts: dict[str, JsonValue] = {
        "action": "committed",
        "mandate": mandate.id,
        **({} if wish is None else {"wish": wish}),
        "agent": str(mandate.agent),
        "expires_at": rfc3339(mandate.expires_at),
        "epoch": mandate.epoch,
        "four_eyes": mandate.four_eyes,
    }
    private = {
        "person": mandate.person_id,
        "goal": mandate.goal,
        "authority": details,
        "authority_hash": mandate.authority_hash,
        "intent_hash": mandate.intent_hash,
    }
    return Event(EventType.MANDATE, mandate.id, facts, private)


def _grant_revoked(mandate: Mandate, grant_id: str, actor: Person, reason: str) -> Event:
    facts: dict[str, JsonValue] = {
        "action": "grant-revoked",
        "mandate": mandate.id,
        "grant": grant_id,
        "agent": str(mandate.agent),
    }
    private: dict[str, JsonValue] = {"person": actor.id, "reason": reason}
    return Event.revoked(Revocable.GRANT, grant_id, 1, trace=grant_id, facts=facts, private=private)


def _ended(mandate: rows.Active, action: str, private: JsonObject) -> Event:
    facts: dict[str, JsonValue] = {
        "action": action,
        "mandate": mandate.id,
        "agent": mandate.agent,
    }
    return Event.revoked(
        Revocable.MANDATE,
        mandate.id,
        mandate.epoch + 1,
        trace=mandate.id,
        facts=facts,
        private=private,
    )
