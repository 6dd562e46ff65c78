"""People: who they are, how they sign in, what they may do here.

A person holds passkeys (WebAuthn discoverable credentials, always with user verification) and no
password. Whatever is shown once (setup link, session) is 256 random bits; the database holds the
SHA-256 of it only, so a stolen copy of the database opens nothing.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject

SESSION_ABSOLUTE = timedelta(hours=8)
"""A session ends then, whatever happens: one working day."""

SESSION_IDLE = timedelta(minutes=30)
"""A session ends when it was not used for so long."""

LINK_LIFETIME = timedelta(minutes=15)
CEREMONY_LIFETIME = timedelta(minutes=5)


class Role(StrEnum):
    """What a person may do beyond their own affairs. Everyone who can sign in is a member."""

    ADMIN = "admin"
    APPROVER = "approver"
    MEMBER = "member"


FIRST_OPERATOR = frozenset({Role.ADMIN, Role.APPROVER, Role.MEMBER})


class PersonState(StrEnum):
    """Only an active person can sign in, and only their mandates carry authority."""

    ACTIVE = "active"
    DISABLED = "disabled"
    ERASED = "erased"  # for good: name and passkeys are gone, only the id is left


@dataclass(frozen=True, slots=True)
class Person:
    """``epoch`` rises when authority is taken away; see ``identity.model.agents``."""

    id: str
    name: str
    roles: frozenset[Role]
    state: PersonState
    epoch: int
    created_at: datetime

    def may(self, role: Role) -> bool:
        """Whether the person is active and holds the role."""
        return self.state is PersonState.ACTIVE and role in self.roles

    def require(self, role: Role) -> None:
        """Refuse whoever does not hold the role."""
        self.require_active()
        if role not in self.roles:
            raise Refused(Kind.DENIED, f"this needs the role `{role}`")

    def require_active(self, epoch: int | None = None) -> None:
        """Refuse a person whose account is disabled (or, with ``epoch``, was changed since)."""
        require_active(self.state, self.epoch, epoch)


def require_active(state: PersonState, now: int, epoch: int | None) -> None:
    """``Person.require_active`` where no more is known than the state and the epoch ``now``."""
    if state is not PersonState.ACTIVE:
        raise Refused(Kind.DENIED, "the person's account is disabled")
    if epoch is not None and epoch != now:
        raise Refused(Kind.DENIED, "the person's authority changed since the token was issued")


@dataclass(frozen=True, slots=True)
class Passkey:
    """One WebAuthn credential. ``sign_count`` stays 0 with authenticators that do not count."""

    credential_id: bytes
    person_id: str
    public_key: bytes
    sign_count: int
    backup_eligible: bool
    backed_up: bool
    aaguid: str
    transports: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser. ``expires_at`` is absolute, ``idle_at`` moves on with use."""

    id: str
    person_id: str
    created_at: datetime
    expires_at: datetime
    idle_at: datetime
    passkey: bytes

    def require_live(self, now: datetime) -> None:
        """Refuse a session that is over."""
        if now >= self.expires_at or now >= self.idle_at:
            raise Refused(Kind.UNAUTHENTICATED, "the session has expired; sign in again")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A fresh session with the secret for its cookie, which is not kept anywhere."""

    person: Person
    session: Session
    cookie: str


class LinkKind(StrEnum):
    """What a one-time link lets its holder do."""

    OPERATOR = "operator"
    INVITE = "invite"
    PASSKEY = "passkey"


@dataclass(frozen=True, slots=True)
class SetupLink:
    """A one-time link, by its token's hash. ``person_id`` is who gets the passkey; None where that
    is whoever comes first, as the first operator.
    """

    hash: str
    kind: LinkKind
    name: str | None
    roles: frozenset[Role]
    person_id: str | None
    expires_at: datetime
    used: bool

    def require_usable(self, now: datetime) -> None:
        """Refuse a link that was used or is too old; both look the same to a stranger."""
        if self.used or now >= self.expires_at:
            raise Refused(Kind.UNAUTHENTICATED, "the link is not valid; ask for a new one")


@dataclass(frozen=True, slots=True)
class Ceremony:
    """WebAuthn options handed out, and the id under which the answer must come back, once."""

    id: str
    options: JsonObject


@dataclass(frozen=True, slots=True)
class Assertion:
    """A verified passkey signature over a challenge. ``evidence`` lets anyone verify it again:
    the credential's public key (COSE), authenticator data, client data and signature, base64url.
    """

    person_id: str
    credential_id: bytes
    sign_count: int
    backed_up: bool
    evidence: JsonObject


def parse_person_name(name: str) -> str:
    """A person's name as shown to approvers: NFC, printable, 1 to 100 characters."""
    text = unicodedata.normalize("NFC", name).strip()
    if not text or len(text) > 100 or not text.isprintable():
        raise Refused(Kind.MALFORMED, "a name must be 1 to 100 printable characters")
    return text


def parse_roles(roles: Iterable[str]) -> frozenset[Role]:
    """The named roles, with ``member`` always among them."""
    try:
        return frozenset({Role.MEMBER, *(Role(role) for role in roles)})
    except ValueError as cause:
        raise Refused(Kind.MALFORMED, "a role is one of `admin`, `approver`, `member`") from cause


def secret_hash(secret: str) -> str:
    """How a 256-bit secret is kept. Random secrets need no salt and no slow hash."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def require_counting_up(passkey: Passkey, sign_count: int) -> None:
    """WebAuthn §7.2 step 22: a counter that does not rise means the authenticator was cloned."""
    if (sign_count or passkey.sign_count) and sign_count <= passkey.sign_count:
        raise Refused(Kind.REPLAYED, "the passkey's counter did not rise; it may have been cloned")


def require_backup_unchanged(passkey: Passkey, *, eligible: bool, backed_up: bool) -> None:
    """WebAuthn §7.2 step 20: eligibility is fixed at creation; only eligible keys are backed up."""
    if eligible != passkey.backup_eligible or (backed_up and not eligible):
        raise Refused(
            Kind.UNAUTHENTICATED, "the passkey's backup flags contradict its registration"
        )
