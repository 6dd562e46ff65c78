"""One-time links: how the first operator, everyone after, and further passkeys come in."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from actfor.audit import Event, EventType
from actfor.errors import Kind, Refused
from actfor.identity.model import FIRST_OPERATOR, LINK_LIFETIME, LinkKind, Person, Role, SetupLink
from actfor.identity.model.people import parse_person_name, parse_roles, secret_hash
from actfor.identity.repository import people as rows
from actfor.identity.service.accounts import Accounts
from actfor.store import Tx, new_id
from actfor.wire.canonical import JsonValue


class Invitations(Accounts):
    """Links good once for 15 minutes. Their tokens are returned here and kept nowhere."""

    async def create_setup_link(self) -> str:
        """The token of a link that registers the first operator: shown once, good for 15 minutes.

        A new one voids the one before.

        Raises:
            Refused: CONFLICT once there is an operator.
        """
        token = secrets.token_urlsafe(32)

        def unit(tx: Tx) -> None:
            if rows.person_count(tx):
                raise Refused(Kind.CONFLICT, "there is an operator already; ask for an invitation")
            rows.void_links(tx, LinkKind.OPERATOR)
            self._add_link(tx, token, LinkKind.OPERATOR, name=None, roles=FIRST_OPERATOR)
            facts = {"action": "setup-link-created"}
            self._audit.append(tx, Event(EventType.ADMIN, "setup", facts))

        await self._database.write(unit)
        return token

    async def invite(self, admin: Person, name: str, roles: Iterable[str]) -> str:
        """The token of a link with which a new person registers under this name and these roles."""
        admin.require(Role.ADMIN)
        token, named, held = secrets.token_urlsafe(32), parse_person_name(name), parse_roles(roles)

        def unit(tx: Tx) -> None:
            self._load_active(tx, admin.id).require(Role.ADMIN)
            # Who will register has an id from now on: the name is sealed with their own key.
            new = new_id("usr")
            self._add_link(tx, token, LinkKind.INVITE, name=named, roles=held, person_id=new)
            facts: dict[str, JsonValue] = {
                "action": "person-invited",
                "roles": sorted(held),
            }
            # The name is the invited person's: it is told of when they register, as theirs.
            self._log(tx, EventType.ADMIN, admin.id, facts, by=admin.id)

        await self._database.write(unit)
        return token

    async def invite_passkey(self, by: Person, person_id: str) -> str:
        """The token of a link that adds a passkey to an account: one's own, or any for an admin."""
        if by.id != person_id:
            by.require(Role.ADMIN)
        token = secrets.token_urlsafe(32)

        def unit(tx: Tx) -> None:
            person = self._load_active(tx, person_id)
            self._add_link(
                tx,
                token,
                LinkKind.PASSKEY,
                name=person.name,
                roles=person.roles,
                person_id=person.id,
            )
            self._log(tx, EventType.ADMIN, person.id, {"action": "passkey-invited"}, by=by.id)

        await self._database.write(unit)
        return token

    async def link(self, token: str) -> SetupLink:
        """What a link is for.

        Raises:
            Refused: UNAUTHENTICATED when it is unknown, used or too old.
        """
        return await self._database.read(lambda tx: self._usable_link(tx, secret_hash(token)))

    def _add_link(
        self,
        tx: Tx,
        token: str,
        kind: LinkKind,
        *,
        name: str | None,
        roles: frozenset[Role],
        person_id: str | None = None,
    ) -> None:
        expires_at = tx.now + LINK_LIFETIME
        new = SetupLink(secret_hash(token), kind, name, roles, person_id, expires_at, used=False)
        rows.add_link(tx, self._texts, new)

    def _usable_link(self, tx: Tx, hash_: str) -> SetupLink:
        link = rows.link_by_hash(tx, self._texts, hash_)
        if link is None:
            raise Refused(Kind.UNAUTHENTICATED, "the link is not valid; ask for a new one")
        link.require_usable(self._now())
        return link
