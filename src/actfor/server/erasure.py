"""Erasing a person: what is theirs goes, every proof stays.

One transaction forgets the person in every room and their data key, which opens what the log keeps
of them, and appends the leaf that says so. Then the database's files are written anew, so that no
plaintext lingers in them, and the ledger is told: a file beside the database from which a restored
backup is erased again (docs/security/privacy.md).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actfor.approval import ApprovalService
from actfor.audit import AuditLog, Event, EventType
from actfor.delegation import DelegationService
from actfor.errors import Kind, Refused
from actfor.identity import PeopleService, Person, Role
from actfor.keys import Vault
from actfor.store import Database, Tx
from actfor.wire.log_entry import pseudonym

LEDGER: Final = "erasures.jsonl"
"""File in the data folder: who was erased (by random id, no name) and by which leaf."""

TABLES: Final = (
    "person", "passkey", "web_session", "setup_link", "ceremony",
    "mandate", "issued_grant", "grant_slot", "usage_meter", "usage_set", "mandate_endorsement",
    "device_login", "mandate_wish", "approval", "data_key", "log_payload",
    "policy_publication", "policy_proposal", "policy_trial",
)  # fmt: skip
"""Where a person's plaintext or key was; written anew after an erasure."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done. ``compacted`` is False where files still have to be written anew."""

    leaf: int
    subject: str
    compacted: bool


class Erasure:
    """The use case, over the rooms that know people."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditLog,
        vault: Vault,
        people: PeopleService,
        delegation: DelegationService,
        approvals: ApprovalService,
        ledger: Path,
    ) -> None:
        self._database = database
        self._audit = audit
        self._vault = vault
        self._people = people
        self._delegation = delegation
        self._approvals = approvals
        self._ledger = ledger

    async def erase(self, admin: Person, person_id: str) -> Erased:
        """Erase a person, for good; repeating it compacts again what could not be before.

        Raises:
            Refused: DENIED for who is not an admin, NOT_FOUND; CONFLICT for the last admin.
        """
        leaf = await self._database.write(lambda tx: self._erased(tx, admin, person_id))
        await self.keep_ledger()
        return Erased(leaf, pseudonym(person_id), await self.compact())

    async def compact(self) -> bool:
        """Write the files anew; False where that could not be done now."""
        try:
            await self._database.compact(TABLES)
        except Refused as refused:
            if refused.kind is not Kind.BUSY:
                raise
            return False
        return True

    def again(self, tx: Tx, person_id: str) -> bool:
        """Erase a person whom a restored backup brought back; False if it did not."""
        if person_id in dict(self._vault.erased(tx)) or not self._people.known(tx, person_id):
            return False
        self._forget(tx, None, person_id)
        return True

    async def keep_ledger(self) -> None:
        """Destroy the keys of all who were erased, and write down every erasure that the ledger
        lacks; a crash may have come between. On each node: each may have a copy of the key file.
        """
        await self._database.read(self._vault.destroy)
        told = await self._database.read(self._vault.erased)
        known = {line.person for line in read_ledger(self._ledger)}
        new = [(person, leaf) for person, leaf in told if person not in known]
        if new:
            _append(self._ledger, new)

    def cut_out(self, tx: Tx) -> set[str]:
        """Who was erased after this copy of the database was made, by their destroyed keys."""
        return set(self._vault.cut_out(tx))

    def cut_again(self, tx: Tx) -> int:
        """Erase again everybody whose key is destroyed; how many. Older copies bring them back."""
        return sum(self.again(tx, person) for person in sorted(self.cut_out(tx)))

    def _erased(self, tx: Tx, admin: Person, person_id: str) -> int:
        before = dict(self._vault.erased(tx)).get(person_id)
        if before is not None:
            self._people.check_live(tx, admin.id).require(Role.ADMIN)
            return before
        return self._forget(tx, admin, person_id)

    def _forget(self, tx: Tx, admin: Person | None, person_id: str) -> int:
        about = pseudonym(person_id)
        self._people.erase(tx, admin, person_id)
        by = person_id if admin is None else admin.id
        self._delegation.erase_person(tx, by, person_id)
        self._approvals.erase_person(tx, person_id)
        facts = {"action": "erased", "subject": about}
        others = {} if admin is None else {admin.id: {"by": admin.id}}
        leaf = self._audit.append(tx, Event(EventType.ERASE, about, facts, {}, others))
        self._vault.erase(tx, person_id, leaf)
        return leaf


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One erasure: whose, by the random id, and by which leaf."""

    person: str
    leaf: int


def read_ledger(path: Path) -> list[LedgerLine]:
    """The ledger's lines; none without a file. A last line that was cut short is passed over.

    Raises:
        Refused: MALFORMED if another line is not one.
    """
    if not path.exists():
        return []
    text = path.read_text()
    lines = text.splitlines()
    if text and not text.endswith("\n"):
        lines.pop()
    try:
        return [
            LedgerLine(str(line["person"]), int(line["leaf"])) for line in map(json.loads, lines)
        ]
    except (ValueError, KeyError, TypeError) as cause:
        raise Refused(Kind.MALFORMED, f"`{path}` is not a ledger of erasures") from cause


def _append(path: Path, new: list[tuple[str, int]]) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "a+") as file:
        file.seek(0)
        file.truncate(file.read().rfind("\n") + 1)  # what a crash cut short
        file.writelines(json.dumps({"person": who, "leaf": leaf}) + "\n" for who, leaf in new)
        file.flush()
        os.fsync(file.fileno())
