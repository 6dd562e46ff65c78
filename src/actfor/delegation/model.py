"""Mandates and the delegations made from them. Pure: whoever asks brings the time.

A mandate is what a person committed to: a goal in their words, limits a machine can check, an
agent, an end.

    active -> revoked                 by the person, or an admin; raises ``epoch``
    active -> expired                 by itself, at ``expires_at``

A delegation is one access token made from a mandate (RFC 8693): narrower or equal, minutes long.
An agent may pass on what it holds, if the mandate says so: then the delegation has agents above it
(``Link``), and lives and dies with each of them.

INVARIANT: nothing is permitted under a mandate whose epoch is not the one its token was issued
under; revoking is one write, whatever the number of tokens.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Self, TypeVar

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.log_entry import Revocable, pseudonym
from actfor.wire.rar import DRAFT_MEMBERS, Authority, Grant, authority_from_draft, require_sense
from actfor.wire.spiffe import SpiffeId
from actfor.wire.timestamps import rfc3339

MAX_GOAL: Final = 4096
MIN_LIFE: Final = timedelta(seconds=30)
MAX_LIFE: Final = timedelta(days=31)
SUBJECT_TOKEN_LIFE: Final = timedelta(hours=1)
ACCESS_TOKEN_LIFE: Final = timedelta(seconds=300)
LOGIN_LIFE: Final = timedelta(hours=8)
DEVICE_CODE_LIFE: Final = timedelta(minutes=10)
DEVICE_POLL: Final = timedelta(seconds=2)

_DRAFT: Final = DRAFT_MEMBERS | {"agent", "goal", "four_eyes", "expires_at", "wish"}


class MandateState(StrEnum):
    """Where a mandate stands. Only ``active`` carries authority."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class MandateDraft:
    """What a person is about to commit to. ``agent`` is a registered agent's name; ``wish`` the id
    of its wish that is granted by it, if there is one.
    """

    agent: str
    goal: str
    authority: Authority
    expires_at: datetime
    four_eyes: bool = False
    wish: str | None = None

    @classmethod
    def from_json(cls, body: JsonObject) -> Self:
        """Parse a draft; members we do not know are refused, because they might have limited it.

        Raises:
            Refused: MALFORMED, naming what is wrong.
        """
        unknown = sorted(body.keys() - _DRAFT)
        if unknown:
            raise Refused(Kind.MALFORMED, f"mandate member `{_shown(unknown[0])}` is not known")
        agent, goal = body.get("agent"), body.get("goal")
        four_eyes = body.get("four_eyes", False)
        if not isinstance(agent, str) or not agent:
            raise Refused(Kind.MALFORMED, "a mandate names its `agent`")
        if not isinstance(four_eyes, bool):
            raise Refused(Kind.MALFORMED, "`four_eyes` is true or false")
        wish = body.get("wish")
        if wish is not None and not isinstance(wish, str):
            raise Refused(Kind.MALFORMED, "`wish` is the id of the wish that is granted")
        return cls(
            agent,
            parse_goal(goal if isinstance(goal, str) else ""),
            authority_from_draft(body),
            parse_time(body.get("expires_at")),
            four_eyes,
            wish,
        )

    def check(self, now: datetime) -> None:
        """Refuse an end that is past, or further away than ``MAX_LIFE``; and what until then can
        never come true (``require_sense``).

        Raises:
            Refused: MALFORMED.
        """
        if self.expires_at <= now:
            raise Refused(Kind.MALFORMED, "`expires_at` is past")
        if not MIN_LIFE <= self.expires_at - now <= MAX_LIFE:
            raise Refused(
                Kind.MALFORMED, f"a mandate lives from 30 seconds to {MAX_LIFE.days} days"
            )
        require_sense(self.authority, now, self.expires_at)


@dataclass(frozen=True, slots=True)
class Mandate:
    """What was committed, and what was used of it.

    ``amount_used`` is in minor units of the budget's currency, 0 where no amount is budgeted;
    ``calls_this_hour`` are those in the clock hour in which it was looked at.
    """

    id: str
    person_id: str
    agent: SpiffeId
    goal: str
    authority: Authority
    authority_hash: str
    intent_hash: str
    created_at: datetime
    expires_at: datetime
    state: MandateState = MandateState.ACTIVE
    epoch: int = 1
    four_eyes: bool = False
    calls_used: int = 0
    amount_used: int = 0
    reason: str | None = None
    calls_this_hour: int = 0

    def at(self, now: datetime) -> Self:
        """The same mandate as seen at ``now``: expired if its time has passed."""
        if self.state is MandateState.ACTIVE and now >= self.expires_at:
            return replace(self, state=MandateState.EXPIRED)
        return self

    def used(
        self,
        state: MandateState,
        epoch: int,
        calls: int,
        amount: int,
        reason: str | None,
        hour: int,
    ) -> Self:
        """The same mandate with all of it that ever changes as given, in the order of the fields;
        ``hour`` is the calls of this hour.
        """
        return _with(
            self,
            state=state,
            epoch=epoch,
            calls_used=calls,
            amount_used=amount,
            reason=reason,
            calls_this_hour=hour,
        )

    def require_active(self, now: datetime, epoch: int | None = None) -> None:
        """Refuse unless it carries authority now, and (with ``epoch``) did so ever since.

        Raises:
            Refused: EXPIRED, or DENIED with the reason it was revoked for.
        """
        seen = self.at(now)
        if seen.state is MandateState.EXPIRED:
            raise Refused(Kind.EXPIRED, "the mandate has expired")
        if seen.state is not MandateState.ACTIVE:
            why = f": {self.reason}" if self.reason else ""
            raise Refused(Kind.DENIED, f"the mandate was revoked{why}")
        if epoch is not None and epoch != self.epoch:
            raise Refused(Kind.DENIED, "the mandate changed since the token was issued")

    def mission(self, issuer: str) -> dict[str, JsonValue]:
        """The ``mission`` claim (standards map §13)."""
        return {
            "id": self.id,
            "issuer": issuer,
            "authority_hash": self.authority_hash,
            "expires_at": rfc3339(self.expires_at),
        }


@dataclass(frozen=True, slots=True)
class Link:
    """One agent above the acting one: what it held when it passed the mandate on.

    ``origins`` gives, for each grant of the acting token, the grant of ``authority`` that contains
    it: what is counted for this link's token is counted there.
    """

    grant_id: str
    agent: SpiffeId
    instance: SpiffeId
    agent_epoch: int
    authority: Authority
    origins: tuple[int, ...] = ()

    @property
    def agent_name(self) -> str:
        """The registered agent's name."""
        return self.agent.agent_name or ""


@dataclass(frozen=True, slots=True)
class Level:
    """Something that a call is counted against: a token, one above it, or the mandate.

    ``origins`` gives, for each grant of the acting token, the grant of ``authority`` above it.
    """

    owner: str
    authority: Authority
    origins: tuple[int, ...]

    def grant(self, index: int) -> Grant:
        """The grant here that contains the acting token's grant ``index``."""
        return self.authority.grants[self.origins[index]]


@dataclass(frozen=True, slots=True)
class Delegation:
    """A verified access token: who acts, for whom, within what. Epochs are those at issuance.

    ``origins`` gives, for each grant of ``authority``, the grant of the mandate that contains it.
    ``chain`` is the actors, the acting instance first. ``through`` are the agents that passed the
    mandate on, the one that asked the acting agent first; empty if the person sent it itself.
    """

    grant_id: str
    jti: str
    person_id: str
    agent: SpiffeId
    instance: SpiffeId
    mandate: Mandate
    authority: Authority
    origins: tuple[int, ...]
    audience: str
    jkt: str
    manifest: str
    assurance: str
    expires_at: datetime
    chain: tuple[SpiffeId, ...]
    person_epoch: int
    agent_epoch: int
    mandate_epoch: int
    kid: str = ""  # of the key that signed the token; empty before there is one
    through: tuple[Link, ...] = ()
    # What follows from the others, once, because every step of a call asks for it.
    levels: tuple[Level, ...] = field(init=False, repr=False, compare=False)
    """All that a call is counted against: the token, those above it, last the mandate."""
    epochs: Mapping[str, JsonValue] = field(init=False, repr=False, compare=False)
    """What this delegation depends on, as the log states it (``audit.Epochs``)."""

    def __post_init__(self) -> None:
        """Work out what follows."""
        object.__setattr__(self, "levels", self._levels())
        object.__setattr__(self, "epochs", self._epochs())

    def under(self, mandate: Mandate) -> Self:
        """The same with its own mandate as it stands now."""
        return _with(self, mandate=mandate)

    @property
    def agent_name(self) -> str:
        """The registered agent's name."""
        return self.agent.agent_name or ""

    def _levels(self) -> tuple[Level, ...]:
        own = tuple(range(len(self.authority.grants)))
        return (
            Level(self.grant_id, self.authority, own),
            *(Level(link.grant_id, link.authority, link.origins) for link in self.through),
            Level(self.mandate.id, self.mandate.authority, self.origins),
        )

    def _epochs(self) -> dict[str, JsonValue]:
        signed: dict[str, JsonValue] = {Revocable.KEY.value: {self.kid: 0}} if self.kid else {}
        return signed | {
            Revocable.PERSON.value: {pseudonym(self.person_id): self.person_epoch},
            Revocable.AGENT.value: {
                str(self.agent): self.agent_epoch,
                **{str(link.agent): link.agent_epoch for link in self.through},
            },
            Revocable.MANDATE.value: {self.mandate.id: self.mandate_epoch},
            Revocable.GRANT.value: {
                self.grant_id: 0,
                **{link.grant_id: 0 for link in self.through},
            },
        }


@dataclass(frozen=True, slots=True)
class IssuedGrant:
    """Our record of one access token, for whoever may take it back.

    ``through`` are the instances that passed it on, the nearest first.
    """

    id: str
    instance: str
    audience: str
    created_at: datetime
    expires_at: datetime
    calls_used: int
    through: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endorsement:
    """One value that a person said is right for one argument of one tool, under one mandate.

    ``tool`` is `server/tool`; ``slot`` the argument, whatever the place in a list. Never a
    document, never a source: whatever else stands beside the value is believed no more than before.
    """

    id: str
    mandate_id: str
    tool: str
    slot: str
    value: str
    given_by: str
    approval_id: str
    created_at: datetime
    withdrawn_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What an agent wishes it might do. It grants nothing; ``says`` is the agent speaking.

    ``person_id`` is for whom it acts now, who alone may answer; None: it acts for nobody yet.
    """

    id: str
    agent: str
    authority: Authority
    says: str | None
    created_at: datetime
    expires_at: datetime
    person_id: str | None = None


class WishState(StrEnum):
    """What became of a wish, as the agent is told.

    open -> granted -> ended (the mandate is over), or dismissed, or expired (a day has passed).
    """

    OPEN = "open"
    GRANTED = "granted"
    DISMISSED = "dismissed"
    EXPIRED = "expired"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class WishAnswer:
    """What an agent is told of its wish; where it was granted, with the person's token for the
    mandate, which this agent alone can exchange.
    """

    id: str
    state: WishState
    expires_at: datetime
    mandate_id: str | None = None
    subject_token: str | None = field(default=None, repr=False)
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Proved:
    """A delegation together with the proof it came with, which is to be spent once.

    ``proof`` is for ``DelegationService.consume`` or ``spend_proof``.
    """

    delegation: Delegation
    proof: str


class DeviceState(StrEnum):
    """Where a device login stands (RFC 8628): pending -> approved -> redeemed, or denied."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    REDEEMED = "redeemed"


@dataclass(frozen=True, slots=True)
class DeviceLogin:
    """A command line that waits for a person. ``person_epoch`` is that at approval."""

    code_hash: str
    user_code: str
    state: DeviceState
    expires_at: datetime
    polled_at: datetime | None = None
    person_id: str | None = None
    person_epoch: int | None = None
    jkt: str | None = None

    def poll(self, now: datetime, jkt: str) -> None:
        """Refuse unless this poll may be answered with a token (RFC 8628 §3.5).

        Raises:
            Refused: with `expired_token`, `access_denied`, `slow_down`, `authorization_pending`,
                or `invalid_grant` if it was redeemed or was begun with another key.
        """
        if self.jkt is not None and self.jkt != jkt:
            raise Refused(
                Kind.UNAUTHENTICATED, "the login was begun with another key", code="invalid_grant"
            )
        if self.state is DeviceState.REDEEMED:
            raise Refused(Kind.REPLAYED, "the device code was already used", code="invalid_grant")
        if now >= self.expires_at:
            raise Refused(Kind.EXPIRED, "the device code has expired", code="expired_token")
        if self.state is DeviceState.DENIED:
            raise Refused(Kind.DENIED, "the person said no", code="access_denied")
        if self.state is DeviceState.APPROVED:
            return
        if self.polled_at is not None and now - self.polled_at < DEVICE_POLL * 0.8:
            raise Refused(Kind.STEP_UP_REQUIRED, "polling too fast", code="slow_down")
        raise Refused(
            Kind.STEP_UP_REQUIRED, "the person has not answered yet", code="authorization_pending"
        )


@dataclass(frozen=True, slots=True)
class DeviceStart:
    """The answer to a device authorization request (RFC 8628 §3.2)."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: int
    interval: int

    def to_json(self) -> dict[str, JsonValue]:
        """The response body."""
        return {
            "device_code": self.device_code,
            "user_code": self.user_code,
            "verification_uri": self.verification_uri,
            "verification_uri_complete": f"{self.verification_uri}?user_code={self.user_code}",
            "expires_in": self.expires_in,
            "interval": self.interval,
        }


def parse_goal(text: str) -> str:
    """A goal: NFC, 1 to 4096 characters, one reading (no control or bidirectional characters).

    Raises:
        Refused: MALFORMED.
    """
    goal = unicodedata.normalize("NFC", text).strip()
    if not goal or len(goal) > MAX_GOAL:
        raise Refused(Kind.MALFORMED, f"a goal is 1 to {MAX_GOAL} characters")
    if any(unicodedata.category(char) in {"Cc", "Cf", "Cs"} and char != "\n" for char in goal):
        raise Refused(Kind.MALFORMED, "a goal has no control or invisible characters")
    return goal


def parse_reason(text: str) -> str:
    """A one-line reason, at most 300 characters.

    Raises:
        Refused: MALFORMED.
    """
    reason = text.strip()
    if len(reason) > 300 or not reason.isprintable():
        raise Refused(Kind.MALFORMED, "a reason is one line of at most 300 characters")
    return reason


def parse_time(value: object) -> datetime:
    """An RFC 3339 instant with its offset.

    Raises:
        Refused: MALFORMED.
    """
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
        if instant is None or instant.utcoffset() is None or "T" not in str(value):
            raise Refused(Kind.MALFORMED, "`expires_at` is an RFC 3339 time with an offset")
        return instant.astimezone(UTC)
    except (ValueError, OverflowError) as cause:
        raise Refused(Kind.MALFORMED, "`expires_at` is an RFC 3339 time with an offset") from cause


def integer(claims: JsonObject, name: str) -> int:
    """A whole-number member of a claim of ours.

    Raises:
        Refused: UNAUTHENTICATED if it is absent or something else.
    """
    value = claims.get(name)
    if type(value) is not int:
        raise Refused(Kind.UNAUTHENTICATED, f"token has no `{name}`")
    return value


def member(claims: JsonObject, name: str) -> JsonObject:
    """A claim that must be an object.

    Raises:
        Refused: UNAUTHENTICATED if it is absent or something else.
    """
    value = claims.get(name)
    if not isinstance(value, Mapping):
        raise Refused(Kind.UNAUTHENTICATED, f"token has no `{name}`")
    return value


def _shown(text: str) -> str:
    return text[:64].encode("unicode_escape").decode("ascii")


T = TypeVar("T")


def _with(old: T, **changes: object) -> T:
    """``dataclasses.replace`` at a third of its cost, for changes from which nothing else follows:
    for what every call makes anew.
    """
    made = object.__new__(type(old))
    for name in type(old).__slots__:  # type: ignore[attr-defined] # only of classes with slots
        object.__setattr__(made, name, changes[name] if name in changes else getattr(old, name))
    return made
