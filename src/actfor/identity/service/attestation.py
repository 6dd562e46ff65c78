"""Attestation: a fresh challenge, a look at the process, a short-lived SVID bound to its key.

The nonce is spent first, whatever comes out; the process is measured outside any transaction;
the instance is recorded before its SVID is signed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from actfor.errors import Kind, Refused
from actfor.identity.attestors import Attestor
from actfor.identity.attestors.process import this_machine
from actfor.identity.model import (
    Agent,
    AgentState,
    Appraised,
    Challenge,
    Evidence,
    Instance,
    Svid,
    appraise,
)
from actfor.identity.repository import agents as rows
from actfor.identity.repository import people as ceremonies
from actfor.identity.service.registry import Registry, attest_event
from actfor.sdk.attest import ATTESTATION_TYPE
from actfor.store import Tx, new_id
from actfor.wire import jose, spiffe
from actfor.wire.base64_text import base64url
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.jose import SigningKey, VerifyKey

CHALLENGE_LIFETIME = timedelta(seconds=60)


class Attestation:
    """Challenges and SVIDs for one registry's agents."""

    def __init__(
        self,
        registry: Registry,
        *,
        issuer: str,
        key: SigningKey,
        attestors: Sequence[Attestor],
        lifetime: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._database = registry.database
        self._audit = registry.audit
        self._issuer = issuer
        self._key = key
        self._attestors = {attestor.kind: attestor for attestor in attestors}
        self._lifetime = lifetime
        self._now = clock

    def use_key(self, key: SigningKey) -> None:
        """Sign with this key from now on."""
        self._key = key

    async def challenge(self, name: str, peer_pid: int) -> Challenge:
        """A nonce that this peer may answer once within a minute.

        Raises:
            Refused: NOT_FOUND; DENIED with the cause for an agent that is out of service.
        """
        nonce = secrets.token_bytes(32)
        challenge = Challenge(base64url(nonce), self._issuer, self._now() + CHALLENGE_LIFETIME)
        agent = await self._registry.show(name)
        await self._require_attestable(agent, peer_pid)

        def unit(tx: Tx) -> None:
            ceremonies.add_ceremony(
                tx,
                challenge.nonce,
                "attest",
                nonce,
                subject=name,
                context=str(peer_pid),
                expires_at=challenge.expires_at,
            )

        await self._database.write(unit)
        return challenge

    async def attest(self, name: str, evidence: Evidence, proof: str, jwk: JsonObject) -> Svid:
        """Measure the process and, if it is what was registered, issue a JWT-SVID bound to ``jwk``.

        ``proof`` is a JWS (``typ`` as in ``sdk.attest``) by that key over our nonce, for us, about
        this agent and pid.

        Raises:
            Refused: REPLAYED or EXPIRED (nonce), UNAUTHENTICATED (proof), DENIED (the process or
                its code is not what was registered; the agent is invalidated if its code is not).
        """
        # 1. The nonce is spent first, whatever comes out.
        key = VerifyKey.from_jwk(jwk)
        await self._spend_nonce(name, evidence, proof)
        agent = await self._registry.show(name)
        self._verify_proof(agent, evidence, proof, key)
        await self._require_attestable(agent, evidence.peer_pid)
        # 2. Look at the process and every byte of its code.
        attestor = self._attestor(evidence.kind)
        found = await self._appraised(attestor, agent, evidence)
        # 3. Record, then issue.
        now = self._now()
        instance = await self._database.write(
            lambda tx: self._record_instance(tx, agent, found, key.kid, now + self._lifetime)
        )
        return self._issue(agent, instance, attestor.assurance, now)

    async def _require_attestable(self, agent: Agent, peer_pid: int) -> None:
        try:
            agent.require_attestable()
        except Refused as refused:
            await self._log_refusal(agent, refused.detail, peer_pid)
            raise

    async def _spend_nonce(self, name: str, evidence: Evidence, proof: str) -> None:
        nonce = jose.text(jose.unverified(proof).claims, "nonce")
        taken = await self._database.write(lambda tx: ceremonies.take_ceremony(tx, nonce, "attest"))
        if taken is None:
            raise Refused(Kind.REPLAYED, "the attestation nonce is unknown or was used")
        _, subject, peer, expires_at = taken
        if (subject, peer) != (name, str(evidence.peer_pid)):
            raise Refused(Kind.UNAUTHENTICATED, "the attestation nonce was given to someone else")
        if self._now() >= expires_at:
            raise Refused(Kind.EXPIRED, "the attestation nonce is older than a minute")

    def _verify_proof(self, agent: Agent, evidence: Evidence, proof: str, key: VerifyKey) -> None:
        claims = jose.verify(
            proof,
            typ=ATTESTATION_TYPE,
            keys={key.kid: key},
            issuer=str(agent.id),
            audience=self._issuer,
            now=self._now(),
            leeway=timedelta(seconds=5),
        )
        if claims.get("pid") != evidence.pid:
            raise Refused(Kind.UNAUTHENTICATED, "the attestation proof is about another process")

    def _attestor(self, kind: str) -> Attestor:
        try:
            return self._attestors[kind]
        except KeyError as cause:
            raise Refused(Kind.MALFORMED, f"no attestor for {kind[:40]!a} evidence") from cause

    async def _appraised(self, attestor: Attestor, agent: Agent, evidence: Evidence) -> Appraised:
        known = await self._database.read(
            lambda tx: rows.instances_of_process(tx, agent.name, evidence.pid, this_machine())
        )
        try:
            found = await asyncio.to_thread(attestor.measure, evidence, agent.reference, known)
        except Refused as refused:
            await self._log_refusal(agent, refused.detail, evidence.peer_pid)
            if refused.kind is Kind.MALFORMED and agent.state is AgentState.ACTIVE:
                await self._registry.invalidate(agent, refused.detail)
            raise Refused(Kind.DENIED, f"attestation refused: {refused.detail}") from refused
        listing = await self._database.read(
            lambda tx: rows.tree_of(tx, agent.name, agent.reference.code.digest)
        )
        cause = appraise(agent.reference, listing, found.measurement)
        if cause is not None:
            await self._log_refusal(agent, cause, evidence.peer_pid)
            await self._registry.invalidate(agent, cause)
            raise Refused(Kind.DENIED, f"agent `{agent.name}` is invalidated: {cause}")
        return found

    def _record_instance(
        self, tx: Tx, agent: Agent, found: Appraised, jkt: str, expires_at: datetime
    ) -> Instance:
        current = rows.agent_by_name(tx, agent.name)
        if current is None or (current.epoch, current.manifest_digest) != (
            agent.epoch,
            agent.manifest_digest,
        ):
            raise Refused(Kind.CONFLICT, f"agent `{agent.name}` was changed during attestation")
        if current.state is not AgentState.ACTIVE:
            rows.swap_agent(tx, current, current.activate())
        known = rows.same_instance(
            tx,
            agent.name,
            pid=found.pid,
            started_at=found.started_at,
            jkt=jkt,
            manifest=agent.manifest_digest,
        )
        if known is None:
            instance = Instance(
                id=agent.id.instance(new_id("ins").removeprefix("ins_")),
                agent=agent.name,
                pid=found.pid,
                started_at=found.started_at,
                program=found.program,
                jkt=jkt,
                manifest=agent.manifest_digest,
                svid_expires_at=expires_at,
                host=this_machine(),
            )
            rows.add_instance(tx, instance)
        else:
            instance = replace(known, svid_expires_at=expires_at)
            rows.renew_instance(tx, instance)
        action = "svid-issued" if known is None else "svid-renewed"
        facts = {"action": action, "instance": str(instance.id), "jkt": jkt}
        self._audit.append(tx, attest_event(agent, facts))
        return instance

    def _issue(self, agent: Agent, instance: Instance, assurance: str, now: datetime) -> Svid:
        model = agent.reference.model
        token = spiffe.sign_jwt_svid(
            agent.id,
            audience=self._issuer,
            jkt=instance.jkt,
            jti=new_id("svid"),
            now=now,
            ttl=self._lifetime,
            key=self._key,
            private={
                "manifest": instance.manifest,
                "instance": str(instance.id),
                "assurance": assurance,
                "model": {"id": model.id, "version": model.version} if model else None,
            },
        )
        return Svid(
            token,
            agent.id,
            instance.id,
            instance.jkt,
            instance.manifest,
            issued_at=now,
            expires_at=now + self._lifetime,
        )

    async def _log_refusal(self, agent: Agent, cause: str, peer_pid: int) -> None:
        facts: dict[str, JsonValue] = {
            "action": "svid-refused",
            "cause": cause[:500],
            "peer_pid": peer_pid,
        }
        event = attest_event(agent, facts)
        await self._database.write(lambda tx: self._audit.append(tx, event))
