"""What comes in to the enforcement point, and the only things that can come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from actfor.errors import Kind
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.mcp import Question


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought to prove who sends it. ``url`` is what *we* are called, no header."""

    scheme: str
    token: str
    proof: str | None
    method: str
    url: str


@dataclass(frozen=True, slots=True)
class Client:
    """What the client program can do when a person is needed."""

    modern: bool
    can_open_url: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One tool call as it arrived: all of it is the agent's word."""

    server: str
    tool: str
    arguments: JsonObject
    client: Client
    request_state: str | None = None
    agent_text: str | None = None


class Stage(StrEnum):
    """At which step of the line a call was refused. Values appear in the audit log."""

    CREDENTIAL = "credential"
    MANDATE = "mandate"
    TOOL = "tool"
    POLICY = "policy"
    MAPPING = "mapping"
    APPROVAL = "approval"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class Answered:
    """The upstream's result, untouched."""

    trace: str
    result: JsonObject


@dataclass(frozen=True, slots=True)
class Failed:
    """The upstream's own JSON-RPC error, or ours about an upstream that gave no answer."""

    trace: str
    code: int
    message: str
    data: JsonValue | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A person must decide first. Nothing was executed."""

    trace: str
    question: Question
    request_state: str


@dataclass(frozen=True, slots=True)
class Denied:
    """Refused, and recorded as refused where it could be. Nothing was executed.

    ``reason`` and ``policies`` are safe to show to the caller. ``scope`` is set where the mandate
    grants nothing of this tool: what a wider one would have to grant (RFC 6750 §3.1).
    """

    trace: str
    stage: Stage
    kind: Kind
    reason: str
    policies: tuple[str, ...] = ()
    code: str | None = None
    scope: str | None = None


Outcome = Answered | Failed | Pending | Denied


@dataclass(frozen=True, slots=True)
class Settings:
    """``audience`` is the gateway's URL up to the server's name; ``key`` seals request states.

    ``rotating`` gives the keys where they rotate: the first seals, all open.

    ``hold_seconds`` is how long a call waits for a person before it is answered, at most 45.
    """

    audience: str
    key: bytes = field(repr=False)
    hold_seconds: float = 20.0
    rotating: Callable[[], tuple[bytes, ...]] | None = field(default=None, repr=False)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys now: the first seals, all open."""
        return (self.key,) if self.rotating is None else self.rotating()

    def __post_init__(self) -> None:
        if len(self.key) < 32:
            raise ValueError("the sealing key is shorter than 32 bytes")
        if not 0 <= self.hold_seconds <= 45:
            raise ValueError("hold_seconds is between 0 and 45")

    def url(self, server: str) -> str:
        """The audience of one server: ``<issuer>/mcp/<server>``."""
        return f"{self.audience}/{server}"
