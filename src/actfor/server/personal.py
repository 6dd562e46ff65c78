"""Every column that holds text or bytes: whose it is, or why it is nobody's in particular.

What is of one person stands sealed with their data key (``keys.Texts``), so that erasing them
reaches every copy of the row (docs/decisions/0018). A test compares this with the schema: a new
column has to be placed here. Another looks for text in clear in a database that people lived in.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from actfor.delegation import DelegationService
from actfor.errors import Kind, Refused
from actfor.keys import INSTALLATION, MARK, Texts
from actfor.store import Columns, Database, Tx, new_id

logger = logging.getLogger(__name__)

SEALED: Final[Mapping[str, Mapping[str, str]]] = {
    "person": {"name": "id"},
    "setup_link": {"name": "person_id"},
    "mandate": {
        "goal": "person_id",
        "details": "person_id",
        "reason": "person_id",
        "authority_hash": "person_id",
        "intent_hash": "person_id",
    },
    "mandate_endorsement": {
        "slot": "mandate_id>mandate.person_id",
        "value": "mandate_id>mandate.person_id",
    },
    "approval": {
        "call": "person_id",
        "reasons": "person_id",
        "agent_text": "person_id",
        "origins": "person_id",
        "endorsed": "person_id",
        "reason": "approver",
        "assertion": "approver",
    },
    "mandate_wish": {"details": "", "says": ""},
    "policy_publication": {"note": "author"},
    "policy_proposal": {"note": "author"},
    "policy_trial": {"note": "author"},
}
"""By table and column: where the id of the person is whose key seals it (``store.Columns``).

A wish is mostly for nobody in particular: it is sealed with the installation's key, is in no
backup, and goes within a day or when anybody is erased. An invitation has no person yet: see
``identity``.
"""

BLINDED: Final[Mapping[str, Mapping[str, str]]] = {"usage_set": {"value": "owner"}}
"""What is only compared: keyed digests. A call that was made before is kept by the digest of its
arguments, under names that begin with `called:` (``delegation.usage``)."""

_ID = "a random id"
_NAME = "a name that the installation gave: of an agent, a server, a tool"
_WORD = "one of a few words"
_HASH = "a hash of random bits"
_DIGEST = "a digest: of code, definitions, or a whole call with its random mandate id"
_SEALED = "sealed already"
_PUBLIC = "public: anybody may read the log"
_OURS = "of the installation: what its operators set up or wrote for all"

CLEAR: Final[Mapping[str, Mapping[str, str]]] = {
    "access_request": {
        "denial": _ID, "pep": _ID, "task": _ID, "key": "a digest of a random id and a key",
        "body": _DIGEST,
    },
    "agent": {
        "name": _NAME, "skeleton": _NAME, "id": _NAME, "owner": _ID, "purpose": _OURS,
        "tier": _WORD, "state": _WORD, "reference": _OURS, "manifest_digest": _DIGEST,
        "cause": _OURS,
    },
    "agent_instance": {
        "id": _ID, "agent": _NAME, "program": _DIGEST, "jkt": _DIGEST, "manifest": _DIGEST,
        "ended": _OURS, "host": _OURS,
    },
    "agent_tree": {"agent": _NAME, "digest": _DIGEST, "listing": _OURS},
    "approval": {
        "id": _ID, "digest": _DIGEST, "agent": _NAME, "person_id": _ID, "mandate_id": _ID,
        "trace": _ID, "state": _WORD, "approver": _ID,
    },
    "ceremony": {
        "id": _ID, "kind": _WORD, "challenge": "random bits", "subject": _HASH,
        "context": "a random id, and a name that is sealed in itself; five minutes",
    },
    "data_key": {"id": _ID, "subject": _ID, "wrapped": _SEALED, "outside": _ID},
    "device_login": {
        "code_hash": _HASH, "user_code": "random letters, for minutes", "state": _WORD,
        "jkt": _DIGEST, "person_id": _ID,
    },
    "export_cursor": {"name": _NAME, "holder": _OURS, "error": "what a log collector answered"},
    "gateway_server": {"name": _NAME, "transport": _OURS, "added_by": _ID},
    "gateway_tool": {
        "server": _NAME, "name": _NAME, "state": _WORD, "listed": _OURS, "listed_digest": _DIGEST,
        "overlay": _OURS, "pinned": _OURS, "pinned_digest": _DIGEST, "approved_by": _ID,
    },
    "grant_slot": {"owner": _ID},
    "issued_grant": {
        "id": _ID, "mandate_id": _ID, "jti": _ID, "instance": _ID, "audience": _NAME,
        "jkt": _DIGEST, "parent": _ID,
    },
    "log_checkpoint": {"root": _PUBLIC, "note": _PUBLIC},
    "log_cosigned": {"root": _PUBLIC, "note": _PUBLIC},
    "log_head": {"frontier": _PUBLIC},
    "log_leaf": {
        "leaf": _PUBLIC, "hash": _PUBLIC, "type": _WORD, "trace": _PUBLIC, "agent": _NAME,
    },
    "log_minimum": {},
    "log_payload": {
        "salt": "of releases before `log_sealed`; the log seals it at its start",
        "body": "of releases before `log_sealed`; the log seals it at its start",
    },
    "log_ref": {"ref": _PUBLIC},
    "log_sealed": {"body": _SEALED},
    "log_tile": {"body": _PUBLIC, "root": _PUBLIC},
    "mandate": {"id": _ID, "person_id": _ID, "agent": _NAME, "state": _WORD},
    "mandate_endorsement": {
        "id": _ID, "mandate_id": _ID, "tool": _NAME, "given_by": _ID, "approval_id": _ID,
    },
    "mandate_template": {"name": _NAME, "body": _OURS, "created_by": _ID},
    "mandate_wish": {
        "id": _ID, "agent": _NAME, "person_id": _ID, "answer": _WORD, "mandate_id": _ID,
    },
    "passkey": {
        "credential_id": "random bits", "person_id": _ID, "public_key": "a public key",
        "aaguid": "a model of authenticators", "transports": _WORD,
    },
    "person": {"id": _ID, "roles": _WORD, "state": _WORD},
    "policy_proposal": {
        "id": _ID, "version": _DIGEST, "source": _OURS, "replaces": _DIGEST, "author": _ID,
        "cause": "written by the server", "state": _WORD, "settled_by": _ID,
    },
    "policy_publication": {
        "version": _DIGEST, "source": _OURS, "schema": _OURS, "author": _ID,
        "cause": "written by the server", "approver": _ID,
    },
    "policy_trial": {
        "id": _ID, "kind": _WORD, "agent": _NAME, "mandate": _ID, "effects": _WORD,
        "version": _DIGEST, "source": _OURS, "author": _ID,
    },
    "root_key": {"kek": _NAME, "wrapped": _SEALED},
    "setup_link": {"hash": _HASH, "kind": _WORD, "roles": _WORD, "person_id": _ID},
    "signing_key": {
        "kid": _DIGEST, "purpose": _WORD, "state": _WORD, "cause": _OURS, "sealed": _SEALED,
    },
    "spent_proof": {"once": _HASH},
    "store_change": {"topic": _WORD, "key": "random ids and names of the installation"},
    "store_node": {"id": _ID, "name": _OURS},
    "usage_meter": {"owner": _ID, "name": "a counter's name"},
    "usage_set": {"owner": _ID, "name": "a set's name"},
    "web_session": {"hash": _HASH, "id": _ID, "person_id": _ID, "passkey": "random bits"},
}  # fmt: skip
"""By table and column: why it is not sealed."""

NOT_COPIED: Final = frozenset({"mandate_wish"})
"""Left out of backups: of nobody in particular, and forgotten within a day anyway."""

_BATCH: Final = 50


async def seal_old(database: Database, texts: Texts, delegation: DelegationService) -> int:
    """Seal what an older release wrote in clear, in batches that keep nobody waiting; how many."""
    total = 0
    for table, owners in SEALED.items():
        columns = Columns(table, owners, MARK)
        done = _BATCH
        while done == _BATCH:
            done = await database.write(partial(_seal, texts=texts, columns=columns, table=table))
            total += done
    done = 1
    while done:
        done = await database.write(lambda tx: delegation.blind_old(tx, _BATCH))
        total += done
    if total:
        logger.info("%d rows with personal text in clear were sealed", total)
    return total


def require_sealed(table: str, columns: Sequence[str], row: Sequence[object]) -> None:
    """Refuse a row in which personal text stands in clear.

    Raises:
        Refused: CONFLICT.
    """
    for column in in_clear(table, columns, row):
        raise Refused(
            Kind.CONFLICT,
            f"`{table}.{column}` holds text in clear that an older release wrote: start a server of"
            " this release once, and stop those of the older one",
        )


def in_clear(table: str, columns: Sequence[str], row: Sequence[object]) -> Iterator[str]:
    """The columns of a row in which personal text stands in clear."""
    if not (wanted := {*SEALED.get(table, ()), *BLINDED.get(table, ())}):
        return
    values = dict(zip(columns, row, strict=True))
    if table in BLINDED and DelegationService.is_no_value(str(values["name"])):
        return
    for column in sorted(wanted):
        value = values.get(column)
        if isinstance(value, str) and value and not value.startswith(MARK):
            yield column


def _seal(tx: Tx, *, texts: Texts, columns: Columns, table: str) -> int:
    def change(column: str, row: str, owner: str | None, text: str) -> str | None:
        of = owner or (new_id("usr") if table == "setup_link" else INSTALLATION)
        try:
            return texts.seal(tx, of, f"{table}.{column}", row, text)
        except Refused as refused:
            if refused.kind is not Kind.CONFLICT or not texts.is_erased(tx, of):
                raise
            return None

    return columns.change(tx, change, _BATCH)
