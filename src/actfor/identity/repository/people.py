"""People in the database: passkeys, sessions, one-time links, open ceremonies."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, select, update

from actfor.errors import Kind, Refused
from actfor.identity.model import LinkKind, Passkey, Person, PersonState, Role, Session, SetupLink
from actfor.identity.repository.tables import (
    ceremony,
    insert_into,
    passkey,
    person,
    setup_link,
    web_session,
)
from actfor.keys import Texts
from actfor.store import Ask, Row, Tx, insert_ignore, one_of
from actfor.wire.timestamps import from_ms, to_ms

_NAME, _LINK_NAME = "person.name", "setup_link.name"
_LINKS_KEPT = timedelta(days=1)
_PERSON_INSERT = insert_into(person)
_PERSON_COUNT = select(func.count()).select_from(person)
_PERSON_BY_ID = select(person).where(person.c.id == bindparam("key"))
_PERSON_STANDING = select(person.c.state, person.c.epoch).where(person.c.id == bindparam("key"))
_PERSONS_STANDING = select(person.c.id, person.c.state, person.c.epoch).where(one_of(person.c.id))
_PERSON_STATE = select(person.c.state).where(person.c.id == bindparam("key"))
_PERSON_ALL = select(person).order_by(person.c.created_at, person.c.id)
_PERSON_SWAP = (
    update(person)
    .where(person.c.id == bindparam("key"), person.c.epoch == bindparam("old_epoch"))
    .values(roles=bindparam("roles"), state=bindparam("state"), epoch=bindparam("epoch"))
)


def person_count(tx: Tx) -> int:
    """How many people there ever were."""
    row = tx.one(_PERSON_COUNT)
    return int(row[0]) if row else 0


def person_by_id(tx: Tx, texts: Texts, person_id: str) -> Person | None:
    """The person with this id, whatever their state."""
    row = tx.one(_PERSON_BY_ID, key=person_id)
    return _person(tx, texts, row) if row else None


def person_state(tx: Tx, person_id: str) -> PersonState | None:
    """The state of the person with this id."""
    row = tx.one(_PERSON_STATE, key=person_id)
    return PersonState(row[0]) if row else None


def person_standing(tx: Tx, person_id: str) -> tuple[PersonState, int] | None:
    """State and epoch of the person with this id: no more of them is read."""
    row = tx.one(_PERSON_STANDING, key=person_id)
    return (PersonState(row[0]), row[1]) if row else None


def person_standing_asked(person_id: str) -> Ask:
    """What ``person_standing`` asks."""
    return Ask(_PERSON_STANDING, {"key": person_id}, _PERSONS_STANDING)


def people(tx: Tx, texts: Texts | None) -> list[Person]:
    """Everyone, oldest first; without ``texts`` their names are left out."""
    return [_person(tx, texts, row) for row in tx.run(_PERSON_ALL)]


def add_person(tx: Tx, texts: Texts, new: Person) -> None:
    """Insert a new person."""
    tx.changed(
        _PERSON_INSERT,
        id=new.id,
        name=texts.seal(tx, new.id, _NAME, new.id, new.name),
        roles=" ".join(sorted(new.roles)),
        state=new.state.value,
        epoch=new.epoch,
        created_at=to_ms(new.created_at),
    )


def swap_person(tx: Tx, old: Person, new: Person) -> bool:
    """Replace roles and state; False when somebody else replaced them first."""
    changed = tx.changed(
        _PERSON_SWAP,
        key=old.id,
        old_epoch=old.epoch,
        roles=" ".join(sorted(new.roles)),
        state=new.state.value,
        epoch=new.epoch,
    )
    return changed == 1


_PERSON_ERASE = (
    update(person)
    .where(person.c.id == bindparam("key"), person.c.state != PersonState.ERASED.value)
    .values(name="", roles="", state=PersonState.ERASED.value, epoch=person.c.epoch + 1)
)
_PASSKEYS_DROP = delete(passkey).where(passkey.c.person_id == bindparam("owner"))
# A link that was used or is over keeps the name it was made out to; nobody needs it again.
_LINKS_DROP = delete(setup_link).where(
    (setup_link.c.person_id == bindparam("owner"))
    | setup_link.c.used_at.is_not(None)
    | (setup_link.c.expires_at <= bindparam("now"))
)
_CEREMONIES_DROP = delete(ceremony).where(ceremony.c.context.contains(bindparam("owner")))
ERASED_FROM = ("person", "passkey", "web_session", "setup_link", "ceremony")


def erase_person(tx: Tx, person_id: str) -> bool:
    """Forget all but the id; False when that was done before."""
    end_sessions_of(tx, person_id)
    tx.changed(_LINKS_DROP, owner=person_id, now=to_ms(tx.now))
    for statement in (_PASSKEYS_DROP, _CEREMONIES_DROP):
        tx.changed(statement, owner=person_id)
    return tx.changed(_PERSON_ERASE, key=person_id) == 1


def _person(tx: Tx, texts: Texts | None, row: Row) -> Person:
    id_, sealed, roles, state, epoch, created = row
    name = "" if texts is None else texts.open(tx, _NAME, id_, sealed) or ""
    held = frozenset(Role(role) for role in roles.split())
    return Person(id_, name, held, PersonState(state), epoch, from_ms(created))


_PASSKEY_INSERT = insert_ignore(passkey).values(
    {column.name: bindparam(column.name) for column in passkey.columns}
)
_PASSKEY_BY_ID = select(passkey).where(passkey.c.credential_id == bindparam("key"))
_PASSKEYS_OF = (
    select(passkey).where(passkey.c.person_id == bindparam("owner")).order_by(passkey.c.created_at)
)
_PASSKEY_USED = (
    update(passkey)
    .where(
        passkey.c.credential_id == bindparam("key"), passkey.c.sign_count == bindparam("old_count")
    )
    .values(sign_count=bindparam("sign_count"), backed_up=bindparam("backed_up"))
)


def add_passkey(tx: Tx, new: Passkey) -> bool:
    """False when the credential is registered already, to anyone."""
    changed = tx.changed(
        _PASSKEY_INSERT,
        credential_id=new.credential_id,
        person_id=new.person_id,
        public_key=new.public_key,
        sign_count=new.sign_count,
        backup_eligible=int(new.backup_eligible),
        backed_up=int(new.backed_up),
        aaguid=new.aaguid,
        transports=" ".join(new.transports),
        created_at=to_ms(new.created_at),
    )
    return changed == 1


def passkey_by_id(tx: Tx, credential_id: bytes) -> Passkey | None:
    """The passkey with this credential id."""
    row = tx.one(_PASSKEY_BY_ID, key=credential_id)
    return _passkey(row) if row else None


def passkeys_of(tx: Tx, person_id: str) -> list[Passkey]:
    """A person's passkeys, oldest first."""
    return [_passkey(row) for row in tx.run(_PASSKEYS_OF, owner=person_id)]


def passkey_used(tx: Tx, key: Passkey, *, sign_count: int, backed_up: bool) -> bool:
    """Advance the counter; False when another assertion advanced it first."""
    changed = tx.changed(
        _PASSKEY_USED,
        key=key.credential_id,
        old_count=key.sign_count,
        sign_count=sign_count,
        backed_up=int(backed_up),
    )
    return changed == 1


def _passkey(row: Row) -> Passkey:
    id_, owner, public, count, eligible, backed, aaguid, transports, created = row
    return Passkey(
        bytes(id_),
        owner,
        bytes(public),
        count,
        bool(eligible),
        bool(backed),
        aaguid,
        tuple(transports.split()),
        from_ms(created),
    )


_SESSION_INSERT = insert_into(web_session)
_SESSION_BY_HASH = (
    select(web_session, person)
    .join(person, person.c.id == web_session.c.person_id)
    .where(web_session.c.hash == bindparam("key"))
)
_SESSION_TOUCH = (
    update(web_session)
    .where(web_session.c.id == bindparam("key"))
    .values(idle_at=bindparam("idle_at"))
)
_SESSION_END = delete(web_session).where(web_session.c.id == bindparam("key"))
_SESSIONS_END = delete(web_session).where(web_session.c.person_id == bindparam("owner"))
_SESSIONS_SWEEP = delete(web_session).where(web_session.c.expires_at <= bindparam("before"))


def add_session(tx: Tx, new: Session, hash_: str) -> None:
    """Insert a new session, and sweep out those that are over."""
    tx.changed(_SESSIONS_SWEEP, before=to_ms(new.created_at))
    tx.changed(
        _SESSION_INSERT,
        hash=hash_,
        id=new.id,
        person_id=new.person_id,
        created_at=to_ms(new.created_at),
        expires_at=to_ms(new.expires_at),
        idle_at=to_ms(new.idle_at),
        passkey=new.passkey,
    )


def session_by_hash(tx: Tx, texts: Texts, hash_: str) -> tuple[Person, Session] | None:
    """The session behind a cookie, with its person; not yet checked for expiry."""
    row = tx.one(_SESSION_BY_HASH, key=hash_)
    if row is None:
        return None
    _, id_, owner, created, expires, idle, key = row[:7]
    session = Session(id_, owner, from_ms(created), from_ms(expires), from_ms(idle), bytes(key))
    return _person(tx, texts, row[7:]), session


def touch_session(tx: Tx, session_id: str, idle_at: datetime) -> None:
    """Move the idle limit on."""
    tx.changed(_SESSION_TOUCH, key=session_id, idle_at=to_ms(idle_at))


def end_session(tx: Tx, session_id: str) -> bool:
    """Delete a session; False when there was none."""
    return tx.changed(_SESSION_END, key=session_id) == 1


def end_sessions_of(tx: Tx, person_id: str) -> None:
    """Delete all of a person's sessions."""
    tx.changed(_SESSIONS_END, owner=person_id)


_LINK_INSERT = insert_into(setup_link)
_LINKS_SWEEP = delete(setup_link).where(setup_link.c.expires_at <= bindparam("before"))
_LINK_BY_HASH = select(setup_link).where(setup_link.c.hash == bindparam("key"))
_LINK_USE = (
    update(setup_link)
    .where(setup_link.c.hash == bindparam("key"), setup_link.c.used_at.is_(None))
    .values(used_at=bindparam("used_at"))
)
_LINK_VOID = (
    update(setup_link)
    .where(setup_link.c.kind == bindparam("only"), setup_link.c.used_at.is_(None))
    .values(used_at=bindparam("used_at"))
)


def add_link(tx: Tx, texts: Texts, new: SetupLink) -> None:
    """Insert a new one-time link, and sweep out those that ended a day ago.

    The person of an invitation is nobody yet: their id is the one whose key seals the name.
    """
    tx.changed(_LINKS_SWEEP, before=to_ms(tx.now - _LINKS_KEPT))
    name = None
    if new.name is not None and new.person_id is not None:
        name = texts.seal(tx, new.person_id, _LINK_NAME, new.hash, new.name)
    tx.changed(
        _LINK_INSERT,
        hash=new.hash,
        kind=new.kind.value,
        name=name,
        roles=" ".join(sorted(new.roles)),
        person_id=new.person_id if new.kind is LinkKind.PASSKEY else None,
        expires_at=to_ms(new.expires_at),
        used_at=None,
    )


def link_by_hash(tx: Tx, texts: Texts, hash_: str) -> SetupLink | None:
    """The link with this hash, used or not."""
    row = tx.one(_LINK_BY_HASH, key=hash_)
    if row is None:
        return None
    key, kind, sealed, roles, owner, expires, used = row
    name = texts.open_some(tx, _LINK_NAME, key, sealed)
    if owner is None and sealed is not None:
        owner = texts.owner(tx, sealed)
    held = frozenset(Role(role) for role in roles.split())
    return SetupLink(key, LinkKind(kind), name, held, owner, from_ms(expires), used is not None)


def use_link(tx: Tx, hash_: str) -> bool:
    """Spend the link; False when it was spent before."""
    return tx.changed(_LINK_USE, key=hash_, used_at=to_ms(tx.now)) == 1


def void_links(tx: Tx, kind: LinkKind) -> None:
    """Spend every open link of this kind."""
    tx.changed(_LINK_VOID, only=kind.value, used_at=to_ms(tx.now))


MAX_CEREMONIES = 5_000
"""Open ceremonies at once; anyone may begin one, so their number is bounded."""

_CEREMONY_INSERT = insert_into(ceremony)
_CEREMONY_SWEEP = delete(ceremony).where(ceremony.c.expires_at <= bindparam("before"))
_CEREMONY_COUNT = select(func.count()).select_from(ceremony)
_CEREMONY_TAKE = (
    delete(ceremony)
    .where(ceremony.c.id == bindparam("key"), ceremony.c.kind == bindparam("only"))
    .returning(ceremony.c.challenge, ceremony.c.subject, ceremony.c.context, ceremony.c.expires_at)
)


def add_ceremony(
    tx: Tx,
    id_: str,
    kind: str,
    challenge: bytes,
    *,
    subject: str,
    context: str,
    expires_at: datetime,
) -> None:
    """Keep a challenge until it is answered or too old.

    Raises:
        Refused: BUSY when too many are open.
    """
    tx.changed(_CEREMONY_SWEEP, before=to_ms(tx.now))
    count = tx.one(_CEREMONY_COUNT)
    if count is not None and count[0] >= MAX_CEREMONIES:
        raise Refused(Kind.BUSY, "too many sign-ins are under way; try again in a minute")
    tx.changed(
        _CEREMONY_INSERT,
        id=id_,
        kind=kind,
        challenge=challenge,
        subject=subject,
        context=context,
        expires_at=to_ms(expires_at),
    )


def take_ceremony(tx: Tx, id_: str, kind: str) -> tuple[bytes, str, str, datetime] | None:
    """Challenge, subject, context, expiry; whoever takes it is the only one."""
    rows = tx.run(_CEREMONY_TAKE, key=id_, only=kind)
    if not rows:
        return None
    challenge, subject, context, expires = rows[0]
    return bytes(challenge), subject, context, from_ms(expires)
