"""What attestation takes and gives: a challenge, evidence, an instance, an SVID."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from actfor.identity.model.agents import Agent
from actfor.identity.model.manifest import Measurement
from actfor.wire.spiffe import SpiffeId

ATTESTED_LOCAL = "attested-local"
"""Assurance of a local process measured by this server: it holds against everyone but root and
processes of the agent's own user on the same machine."""

LOCAL_PROCESS = "local-process"
"""The attestor for a process on this machine."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A nonce to be answered within a minute, once, by the process that asked."""

    nonce: str
    audience: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """What to look at: ``peer_*`` come from the kernel, ``pid`` is the peer's claim."""

    peer_pid: int
    peer_uid: int
    pid: int
    kind: str = LOCAL_PROCESS


@dataclass(frozen=True, slots=True)
class Appraised:
    """What an attestor found out about a process. ``started_at`` (ms) and ``program`` (device and
    inode of the executable) tell a process from a later one with the same pid or after an exec.
    """

    measurement: Measurement
    pid: int
    started_at: int
    program: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One attested process of an agent, and until when its last SVID is good."""

    id: SpiffeId
    agent: str
    pid: int
    started_at: int
    program: str
    jkt: str
    manifest: str
    svid_expires_at: datetime
    host: str | None = None  # the machine whose pids these are


@dataclass(frozen=True, slots=True)
class Svid:
    """A JWT-SVID as issued: the token and what it says."""

    token: str
    agent: SpiffeId
    instance: SpiffeId
    jkt: str
    manifest: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class AttestedAgent:
    """A presented SVID that was genuine, in date, of a live instance of an agent that may act."""

    agent: Agent
    instance: SpiffeId
    jkt: str
    manifest: str
    assurance: str
    expires_at: datetime
    kid: str = ""  # of the key that signed the SVID
