"""People: the first operator, invitations, passkeys, sessions.

There is no password, no default account and no secret in a setting. The first operator comes in
by a one-time link that the server shows on its own console; everyone else is invited by an admin.
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta

from actfor.audit import EventType
from actfor.errors import Kind, Refused
from actfor.identity.model import (
    CEREMONY_LIFETIME,
    SESSION_ABSOLUTE,
    SESSION_IDLE,
    Assertion,
    Ceremony,
    LinkKind,
    Passkey,
    Person,
    PersonState,
    Session,
    SetupLink,
    SignedIn,
)
from actfor.identity.model.people import parse_person_name, secret_hash
from actfor.identity.repository import people as rows
from actfor.identity.service.invitations import Invitations
from actfor.identity.service.passkeys import credential_id
from actfor.store import Tx, new_id
from actfor.wire.canonical import JsonObject, JsonValue

_CONTEXT = "ceremony.context"
_TOUCH_EVERY = timedelta(minutes=1)


class PeopleService(Invitations):
    """Use cases about people: ``Accounts``, ``Invitations``, and here passkeys and sessions.

    ``origins`` are the exact web origins of the console.
    """

    async def register_options(self, token: str, name: str | None = None) -> Ceremony:
        """Options for ``navigator.credentials.create()``; ``name`` is for the first operator only.

        The link is spent when the passkey comes back, so that a cancelled dialog costs nothing.
        """
        challenge, id_ = secrets.token_bytes(32), new_id("cer")
        hash_ = secret_hash(token)

        def unit(tx: Tx) -> tuple[str, str, list[Passkey]]:
            link = self._usable_link(tx, hash_)
            called = parse_person_name(link.name or name or "")
            person_id = link.person_id or new_id("usr")
            sealed = self._texts.seal(tx, person_id, _CONTEXT, id_, called)
            self._begin(tx, id_, "register", challenge, hash_, [person_id, sealed])
            return person_id, called, rows.passkeys_of(tx, person_id)

        person_id, called, known = await self._database.write(unit)
        return Ceremony(id_, self._party.creation_options(person_id, called, challenge, known))

    async def register(self, ceremony_id: str, response: JsonObject) -> SignedIn:
        """Finish a registration: the link is spent, the person exists and is signed in.

        Raises:
            Refused: UNAUTHENTICATED (wrong or second answer, spent link), CONFLICT (passkey known).
        """
        challenge, hash_, context = await self._take(ceremony_id, "register")
        person_id, sealed = context
        now = self._now()
        passkey = self._party.verify_creation(person_id, challenge, response, now)

        def unit(tx: Tx) -> SignedIn:
            link = self._usable_link(tx, hash_)
            called = self._texts.open(tx, _CONTEXT, ceremony_id, sealed)
            if called is None or not rows.use_link(tx, hash_):
                raise Refused(Kind.UNAUTHENTICATED, "the link is not valid; ask for a new one")
            person = self._registered(tx, link, person_id, called, now)
            if not rows.add_passkey(tx, passkey):
                raise Refused(Kind.CONFLICT, "this passkey is registered already")
            facts: dict[str, JsonValue] = {
                "action": f"registered-{link.kind}",
                "roles": sorted(person.roles),
            }
            self._log(tx, EventType.ADMIN, person.id, facts, {"name": person.name})
            return self._open_session(tx, person, passkey.credential_id, now)

        return await self._database.write(unit)

    async def signin_options(self) -> Ceremony:
        """Options for ``navigator.credentials.get()`` with whatever passkey the person picks."""
        challenge, id_ = secrets.token_bytes(32), new_id("cer")
        await self._database.write(lambda tx: self._begin(tx, id_, "signin", challenge, "", []))
        return Ceremony(id_, self._party.request_options(challenge))

    async def signin(self, ceremony_id: str, response: JsonObject) -> SignedIn:
        """Finish a sign-in.

        Raises:
            Refused: UNAUTHENTICATED or REPLAYED; DENIED when the account is disabled.
        """
        challenge, _, _ = await self._take(ceremony_id, "signin")
        person, passkey = await self._database.read(lambda tx: self._owner(tx, response))
        assertion = self._party.verify_assertion(person, passkey, challenge, response)
        now = self._now()

        def unit(tx: Tx) -> SignedIn:
            current = self._load_active(tx, person.id)
            self._advance(tx, passkey, assertion)
            return self._open_session(tx, current, passkey.credential_id, now)

        return await self._database.write(unit)

    async def assertion_options(self, person: Person, challenge: bytes) -> JsonObject:
        """Options with which this person signs a challenge that the caller made."""
        known = await self._database.read(lambda tx: rows.passkeys_of(tx, person.id))
        if not known:
            raise Refused(Kind.CONFLICT, "the person has no passkey")
        return self._party.request_options(challenge, known)

    async def verify_assertion(
        self, person: Person, challenge: bytes, response: JsonObject
    ) -> Assertion:
        """A passkey signature of this very person over this very challenge.

        NOT checked: that the challenge was never answered before; the caller's own record decides.

        Raises:
            Refused: UNAUTHENTICATED, REPLAYED (counter), DENIED (someone else's passkey, disabled).
        """
        owner, passkey = await self._database.read(lambda tx: self._owner(tx, response))
        if owner.id != person.id:
            raise Refused(Kind.DENIED, "the passkey belongs to someone else")
        assertion = self._party.verify_assertion(owner, passkey, challenge, response)

        def unit(tx: Tx) -> None:
            self._load_active(tx, owner.id)
            self._advance(tx, passkey, assertion)

        await self._database.write(unit)
        return assertion

    # -- sessions ------------------------------------------------------------------------------

    async def session(self, cookie: str) -> tuple[Person, Session]:
        """Who holds this cookie.

        Raises:
            Refused: UNAUTHENTICATED when it is unknown or over; DENIED for a disabled account.
        """
        if not 20 <= len(cookie) <= 100:
            raise Refused(Kind.UNAUTHENTICATED, "sign in first")
        now = self._now()
        found = await self._database.read(
            lambda tx: rows.session_by_hash(tx, self._texts, secret_hash(cookie))
        )
        if found is None:
            raise Refused(Kind.UNAUTHENTICATED, "sign in first")
        person, session = found
        session.require_live(now)
        person.require_active()
        idle_at = now + SESSION_IDLE
        if idle_at - session.idle_at >= _TOUCH_EVERY:
            self._database.post(lambda tx: rows.touch_session(tx, session.id, idle_at))
        return person, session

    async def end(self, session: Session) -> None:
        """Sign out."""

        def unit(tx: Tx) -> None:
            if rows.end_session(tx, session.id):
                facts = {"action": "signed-out"}
                whose = session.person_id
                self._log(tx, EventType.SESSION, whose, facts, trace=session.id)

        await self._database.write(unit)

    def _registered(
        self, tx: Tx, link: SetupLink, person_id: str, called: str, now: datetime
    ) -> Person:
        if link.kind is LinkKind.PASSKEY:
            return self._load_active(tx, person_id)
        if link.kind is LinkKind.OPERATOR and rows.person_count(tx):
            raise Refused(Kind.CONFLICT, "there is an operator already; ask for an invitation")
        person = Person(person_id, called, link.roles, PersonState.ACTIVE, 1, now)
        rows.add_person(tx, self._texts, person)
        return person

    def _open_session(self, tx: Tx, person: Person, passkey: bytes, now: datetime) -> SignedIn:
        cookie = secrets.token_urlsafe(32)
        session = Session(
            id=new_id("ses"),
            person_id=person.id,
            created_at=now,
            expires_at=now + SESSION_ABSOLUTE,
            idle_at=now + SESSION_IDLE,
            passkey=passkey,
        )
        rows.add_session(tx, session, secret_hash(cookie))
        self._log(tx, EventType.SESSION, person.id, {"action": "signed-in"}, trace=session.id)
        return SignedIn(person, session, cookie)

    def _begin(
        self, tx: Tx, id_: str, kind: str, challenge: bytes, subject: str, context: list[str]
    ) -> None:
        rows.add_ceremony(
            tx,
            id_,
            kind,
            challenge,
            subject=subject,
            context=json.dumps(context),
            expires_at=self._now() + CEREMONY_LIFETIME,
        )

    async def _take(self, ceremony_id: str, kind: str) -> tuple[bytes, str, list[str]]:
        # In a transaction of its own: a ceremony is spent by the first answer, right or wrong.
        taken = await self._database.write(lambda tx: rows.take_ceremony(tx, ceremony_id, kind))
        if taken is None:
            raise Refused(Kind.UNAUTHENTICATED, "this passkey dialog is not open; begin again")
        challenge, subject, context, expires_at = taken
        if self._now() >= expires_at:
            raise Refused(Kind.EXPIRED, "the passkey dialog took too long; begin again")
        return challenge, subject, json.loads(context)

    def _owner(self, tx: Tx, response: JsonObject) -> tuple[Person, Passkey]:
        passkey = rows.passkey_by_id(tx, credential_id(response))
        if passkey is None:
            raise Refused(Kind.UNAUTHENTICATED, "the passkey is not registered here")
        return self._load(tx, passkey.person_id), passkey

    def _advance(self, tx: Tx, passkey: Passkey, assertion: Assertion) -> None:
        if not rows.passkey_used(
            tx, passkey, sign_count=assertion.sign_count, backed_up=assertion.backed_up
        ):
            raise Refused(Kind.REPLAYED, "the passkey was used at the same time elsewhere")
