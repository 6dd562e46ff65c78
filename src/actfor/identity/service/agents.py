"""Agents and the credentials they earn: registry, attestation, verification, watch in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from actfor.audit import AuditLog
from actfor.identity.attestors import Attestor
from actfor.identity.model import AttestedAgent, Challenge, Evidence, Instance, Svid
from actfor.identity.repository import agents as rows
from actfor.identity.service.attestation import Attestation
from actfor.identity.service.registry import Registry
from actfor.identity.service.verification import Verification
from actfor.identity.service.watch import WATCH_INTERVAL, Watch
from actfor.store import Database, Tx
from actfor.wire.canonical import JsonObject
from actfor.wire.jose import SigningKey

SVID_LIFETIME = timedelta(minutes=10)
MAX_SVID_LIFETIME = timedelta(hours=1)


class AgentService(Registry):
    """``Registry`` and what registered agents get: challenges, SVIDs, verification, watching.

    An SVID lives for minutes, is bound to a key that the agent made, and counts only while its
    agent is active, its process runs and its manifest is the registered one.
    """

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        trust_domain: str,
        issuer: str,
        svid_key: SigningKey,
        attestors: Sequence[Attestor],
        clock: Callable[[], datetime],
        *,
        svid_lifetime: timedelta = SVID_LIFETIME,
        check_key: Callable[[Tx, str], None] | None = None,
    ) -> None:
        super().__init__(database, audit, trust_domain, clock)
        if not timedelta(0) < svid_lifetime <= MAX_SVID_LIFETIME:
            raise ValueError("an SVID lives for at most an hour")
        self._attestation = Attestation(
            self,
            issuer=issuer,
            key=svid_key,
            attestors=attestors,
            lifetime=svid_lifetime,
            clock=clock,
        )
        self._verification = Verification(
            self, keys=[svid_key.public], clock=clock, check_key=check_key
        )
        self._watch = Watch(self, attestors, clock)

    def use_svid_keys(self, keys: Sequence[SigningKey]) -> None:
        """Sign SVIDs with the first of ``keys`` and verify with all of them, from now on."""
        self._attestation.use_key(keys[0])
        self._verification.use_keys(key.public for key in keys)

    def check_key(self, tx: Tx, kid: str) -> None:
        """Refuse what a revoked key signed; for the transaction that relies on an SVID."""
        self._verification.check_key(tx, kid)

    async def challenge(self, name: str, peer_pid: int) -> Challenge:
        """See ``Attestation.challenge``."""
        return await self._attestation.challenge(name, peer_pid)

    async def attest(self, name: str, evidence: Evidence, proof: str, jwk: JsonObject) -> Svid:
        """See ``Attestation.attest``."""
        return await self._attestation.attest(name, evidence, proof, jwk)

    async def verify_svid(self, token: str, audience: str) -> AttestedAgent:
        """See ``Verification.verify_svid``."""
        return await self._verification.verify_svid(token, audience)

    async def instances(self, name: str) -> Sequence[Instance]:
        """The agent's processes that hold a live SVID."""
        now = self._now()
        live = await self.database.read(lambda tx: rows.live_instances(tx, now))
        return [one for one in live if one.agent == name]

    async def watch(self, interval: float = WATCH_INTERVAL) -> None:
        """Keep looking at running agents until cancelled; see ``Watch``."""
        await self._watch.run(interval)

    async def watch_once(self) -> None:
        """One look at every running agent."""
        await self._watch.once()
