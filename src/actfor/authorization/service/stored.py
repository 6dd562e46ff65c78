"""What is stored as the last publication, held against its own digest and against the log."""

from __future__ import annotations

from actfor.audit import AuditLog, EventType
from actfor.authorization.model.policyset import version_of
from actfor.authorization.model.publication import Publication
from actfor.authorization.repository import publications as repository
from actfor.errors import Kind, Refused
from actfor.store import Database


async def check_stored(
    database: Database, audit: AuditLog, publication: Publication, source: str
) -> None:
    """Refuse a row that somebody changed beside us.

    Raises:
        Refused: CONFLICT if the text is not what its version is the digest of, or the log names
            another version as published last.
    """
    texts = await database.read(lambda tx: repository.texts_of(tx, publication.version))
    schema = texts[1] if texts else ""
    if version_of(source, schema) != publication.version:
        raise Refused(Kind.CONFLICT, "the stored policies are not the text that was published")
    logged = await _logged_version(audit)
    if logged != publication.version and await _is_last(database, audit, publication):
        raise Refused(Kind.CONFLICT, "the log names another policy version as published last")


async def _is_last(database: Database, audit: AuditLog, publication: Publication) -> bool:
    """Whether nothing was published since it was read; else `check_current` will tell."""
    last = await database.read(lambda tx: repository.last(tx, audit.texts))
    return last is not None and last[0] == publication


async def _logged_version(audit: AuditLog) -> str | None:
    """The version of the last publication in the log; proposals are not publications."""
    before: int | None = None
    while True:
        page = await audit.search(type=EventType.POLICY, before=before, limit=100)
        for event in page:
            if "policies" in event.facts:
                return str(event.facts["policy_version"])
        if not page:
            return None
        before = page[-1].index
