"""Real people in a real database, each with a software passkey."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from tests.fakes.console_authenticator import Passkey

from actfor.approval import ApprovalService, ExactCall
from actfor.audit import AuditLog
from actfor.identity import PeopleService, Person
from actfor.keys import Vault
from actfor.store import Database
from actfor.wire.canonical import JsonObject, digest
from actfor.wire.note import NoteSigner

ORIGIN = "http://localhost"


@dataclass
class House:
    """The services that approvals need."""

    database: Database
    audit: AuditLog
    people: PeopleService
    approvals: ApprovalService
    clock: Callable[[], datetime]
    last: str | None = None
    vault: Vault = field(default_factory=Vault)

    @classmethod
    def build(
        cls, database: Database, clock: Callable[[], datetime], origin: str = ORIGIN
    ) -> "House":
        vault = Vault()
        audit = AuditLog(database, NoteSigner.generate("test/log"), "test/log", clock, vault)
        people = PeopleService(database, audit, "localhost", [origin], clock)
        approvals = ApprovalService(database, audit, people, origin, clock)
        return cls(database, audit, people, approvals, clock, vault=vault)

    async def operator(self, name: str = "Olivia Operator") -> tuple[Person, Passkey]:
        """The first operator: admin and approver."""
        return await self._join(await self.people.create_setup_link(), name)

    async def invite(self, admin: Person, name: str, *roles: str) -> tuple[Person, Passkey]:
        return await self._join(await self.people.invite(admin, name, roles), name)

    async def _join(self, token: str, name: str) -> tuple[Person, Passkey]:
        passkey = Passkey(self.people.origins[0])
        begun = await self.people.register_options(token, name)
        done = await self.people.register(begun.id, passkey.create(begun.options))
        self.last = done.cookie
        return done.person, passkey


def exact_call(person_id: str, arguments: JsonObject | None = None, **changes: object) -> ExactCall:
    """One deletion by one agent for this person."""
    sent = {"query": "DELETE FROM customers WHERE id = 3"} if arguments is None else arguments
    call = {
        "agent": "spiffe://localhost/agent/bookkeeper",
        "chain": ("spiffe://localhost/agent/bookkeeper",),
        "person_id": person_id,
        "mandate_id": "mdt_" + "a" * 26,
        "server": "crm",
        "tool": "write_query",
        "tool_digest": digest("tool"),
        "arguments": sent,
        "arguments_digest": digest(sent),
        "policy_version": digest("policy"),
        "effect": "delete",
        "manifest": digest("manifest"),
        **changes,
    }
    return ExactCall(**call)  # type: ignore[arg-type] # keyword arguments of a test
