"""Mandate templates: kept by administrators, filled in by anyone who gives a mandate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actfor.audit import Event, EventType
from actfor.delegation.repository import templates as rows
from actfor.delegation.service.context import Context
from actfor.delegation.templates import Template
from actfor.errors import Kind, Refused
from actfor.identity import Person, Role
from actfor.store import Tx
from actfor.wire.canonical import JsonObject, JsonValue, digest


class Templates(Context):
    """Use cases about templates."""

    async def keep_template(self, person: Person, name: str, body: JsonObject) -> Template:
        """Keep a new version; earlier ones stay, and so do the mandates made from them.

        Raises:
            Refused: DENIED unless an administrator asks, MALFORMED naming what is wrong.
        """

        def unit(tx: Tx) -> Template:
            actor = self._people.check_live(tx, person.id)
            if not actor.may(Role.ADMIN):
                raise Refused(Kind.DENIED, "keeping a template needs the role `admin`")
            number = rows.version(tx, name) + 1
            new = Template.parse(name, body, version=number, by=actor.id, now=tx.now)
            rows.add(tx, new)
            facts: dict[str, JsonValue] = {
                "action": "template-kept",
                "template": new.name,
                "version": new.version,
                "digest": digest(new.body),
            }
            trace = f"template/{new.name}"
            self._audit.append(tx, Event(EventType.ADMIN, trace, facts, {"person": actor.id}))
            return new

        return await self._database.write(unit)

    async def templates(self) -> Sequence[Template]:
        """Every template as it stands, by name."""
        return await self._database.read(rows.all_newest)

    async def template(self, name: str) -> Template:
        """One template as it stands.

        Raises:
            Refused: NOT_FOUND.
        """
        found = await self._database.read(lambda tx: rows.newest(tx, name))
        if found is None:
            raise Refused(Kind.NOT_FOUND, "there is no such template")
        return found

    async def fill_template(self, name: str, values: Mapping[str, str]) -> dict[str, JsonValue]:
        """The draft of a template with these values: to look at, narrow, and commit.

        Raises:
            Refused: NOT_FOUND, MALFORMED.
        """
        return (await self.template(name)).fill(values)
