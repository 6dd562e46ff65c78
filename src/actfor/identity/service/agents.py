"""Attestation and the credentials it earns; watching that what was attested stays so.

An SVID lives for minutes, is bound to a key that the agent made, and counts only while its agent
is active, its process runs and its manifest is the registered one. All three are read from the
database whenever it is presented; only the signature check is remembered.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

from actfor.audit import AuditLog, Event, EventType
from actfor.errors import Kind, Refused
from actfor.identity.attestors import Attestor
from actfor.identity.model import (
    Agent,
    AgentState,
    Appraised,
    AttestedAgent,
    Challenge,
    Evidence,
    Instance,
    Svid,
    appraise,
)
from actfor.identity.repository import agents as rows
from actfor.identity.repository import people as ceremonies
from actfor.identity.service.registry import Registry
from actfor.sdk.attest import ATTESTATION_TYPE
from actfor.store import Database, Tx, new_id
from actfor.wire import jose, spiffe
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.jose import SigningKey, VerifyKey, key_map
from actfor.wire.spiffe import SpiffeId

logger = logging.getLogger(__name__)

CHALLENGE_LIFETIME = timedelta(seconds=60)
SVID_LIFETIME = timedelta(minutes=10)
MAX_SVID_LIFETIME = timedelta(hours=1)
WATCH_INTERVAL = 0.25
"""Seconds between two looks at running agents' code; a change shows within twice that."""

_MAX_PAUSE = 0.5
_FRESH_EVERY = timedelta(minutes=1)
_MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Verified:
    """An SVID with signature, audience and trust domain checked, and its agent as last seen."""

    svid: spiffe.JwtSvid
    name: str
    instance: SpiffeId
    assurance: str
    agent: Agent


class AgentService(Registry):
    """``Registry`` and what registered agents get: challenges, SVIDs, verification, watching."""

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
    ) -> None:
        super().__init__(database, audit, trust_domain, clock)
        if not timedelta(0) < svid_lifetime <= MAX_SVID_LIFETIME:
            raise ValueError("an SVID lives for at most an hour")
        self._issuer = issuer
        self._key = svid_key
        self._keys = key_map([svid_key.public])
        self._attestors = {attestor.kind: attestor for attestor in attestors}
        self._lifetime = svid_lifetime
        # Owned by the event loop: verified SVIDs by digest, oldest first; last full looks by agent.
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._looked: dict[str, datetime] = {}

    # -- attestation ---------------------------------------------------------------------------

    async def challenge(self, name: str, peer_pid: int) -> Challenge:
        """A nonce that this peer may answer once within a minute.

        Raises:
            Refused: NOT_FOUND; DENIED with the cause for an agent that is out of service.
        """
        nonce = secrets.token_bytes(32)
        challenge = Challenge(jose.encode(nonce), self._issuer, self._now() + CHALLENGE_LIFETIME)
        agent = await self.show(name)
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
        agent = await self.show(name)
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
            lambda tx: rows.instances_of_process(tx, agent.name, evidence.pid)
        )
        try:
            found = await asyncio.to_thread(attestor.measure, evidence, agent.reference, known)
        except Refused as refused:
            await self._log_refusal(agent, refused.detail, evidence.peer_pid)
            if refused.kind is Kind.MALFORMED and agent.state is AgentState.ACTIVE:
                await self.invalidate(agent, refused.detail)
            raise Refused(Kind.DENIED, f"attestation refused: {refused.detail}") from refused
        listing = await self._database.read(
            lambda tx: rows.tree_of(tx, agent.name, agent.reference.code.digest)
        )
        cause = appraise(agent.reference, listing, found.measurement)
        if cause is not None:
            await self._log_refusal(agent, cause, evidence.peer_pid)
            await self.invalidate(agent, cause)
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
            )
            rows.add_instance(tx, instance)
        else:
            instance = replace(known, svid_expires_at=expires_at)
            rows.renew_instance(tx, instance)
        action = "svid-issued" if known is None else "svid-renewed"
        self._log_attest(tx, agent, {"action": action, "instance": str(instance.id), "jkt": jkt})
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

    # -- verification (the exchange's hot path) -------------------------------------------------

    async def verify_svid(self, token: str, audience: str) -> AttestedAgent:
        """The live agent behind a presented JWT-SVID.

        NOT checked: that the presenter holds the key; compare ``jkt`` with its DPoP proof.

        Raises:
            Refused: UNAUTHENTICATED, MALFORMED or EXPIRED for the token; DENIED with the cause for
                an agent that may not act, an ended process or another manifest.
        """
        digest = sha256(f"{audience} {token}".encode(errors="surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is None:
            known = await self._verify(token, audience)
        if self._now() >= known.svid.expires_at:
            self._verified.pop(digest, None)
            raise Refused(Kind.EXPIRED, "the SVID has expired")
        known = await self._live(known)
        self._remember(digest, known)
        return AttestedAgent(
            known.agent,
            known.instance,
            known.svid.jkt,
            known.agent.manifest_digest,
            known.assurance,
            known.svid.expires_at,
        )

    async def _verify(self, token: str, audience: str) -> _Verified:
        svid = spiffe.verify_jwt_svid(
            token,
            trust_domain=self._trust_domain,
            audience=audience,
            keys=self._keys,
            now=self._now(),
        )
        name = svid.id.agent_name
        stated, assurance = svid.private.get("instance"), svid.private.get("assurance")
        if name is None or not isinstance(stated, str) or not isinstance(assurance, str):
            raise Refused(Kind.UNAUTHENTICATED, "the SVID is not an agent's")
        instance = SpiffeId.parse(stated)
        if instance.agent != svid.id:
            raise Refused(Kind.UNAUTHENTICATED, "the SVID names another agent's instance")
        return _Verified(svid, name, instance, assurance, await self.show(name))

    async def _live(self, known: _Verified) -> _Verified:
        """Refuse unless agent, process and manifest are still the ones; the agent as it is now."""
        row = await self._database.read(
            lambda tx: rows.liveness(tx, known.name, str(known.instance))
        )
        if row is None:
            raise Refused(Kind.NOT_FOUND, f"there is no agent `{known.name}`")
        state, epoch, manifest, ended, instance = row
        agent = known.agent
        if (state, epoch, manifest) != (agent.state, agent.epoch, agent.manifest_digest):
            known = replace(known, agent=await self.show(known.name))
        known.agent.require_live()
        if instance is None or ended is not None:
            raise Refused(Kind.DENIED, f"the agent's instance has ended: {ended or 'unknown'}")
        if manifest != known.svid.manifest:
            raise Refused(Kind.DENIED, "the SVID was issued for another manifest")
        return known

    def _remember(self, digest: bytes, known: _Verified) -> None:
        self._verified[digest] = known
        while len(self._verified) > _MAX_REMEMBERED:
            self._verified.popitem(last=False)

    async def instances(self, name: str) -> Sequence[Instance]:
        """The agent's processes that hold a live SVID."""
        now = self._now()
        live = await self._database.read(lambda tx: rows.live_instances(tx, now))
        return [one for one in live if one.agent == name]

    # -- watching ------------------------------------------------------------------------------

    async def watch(self, interval: float = WATCH_INTERVAL) -> None:
        """Keep looking at the code and processes behind live SVIDs, until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self.watch_once()
            except Exception:  # a background loop's boundary: log and look again
                logger.exception("watching the agents failed; looking again")
            # Large trees are looked at less often, so that looking stays below a quarter of a core.
            took = time.monotonic() - began
            await asyncio.sleep(max(interval, min(4 * took, _MAX_PAUSE)))

    async def watch_once(self) -> None:
        """Invalidate every agent whose code changed, end every instance whose process is gone."""
        now = self._now()
        live = await self._database.read(lambda tx: rows.live_instances(tx, now))
        for instance in live:
            await self._look_at_process(instance)
        watched = {instance.agent for instance in live}
        for name in watched:
            await self._look_at_code(name, now)
        for name in self._looked.keys() - watched:
            del self._looked[name]

    async def _look_at_process(self, instance: Instance) -> None:
        for attestor in self._attestors.values():
            cause = await asyncio.to_thread(attestor.ended, instance)
            if cause is not None:
                await self._end_instance(instance, cause)

    async def _end_instance(self, instance: Instance, cause: str) -> None:
        def unit(tx: Tx) -> None:
            agent = rows.agent_by_name(tx, instance.agent)
            if agent is not None and rows.end_instance(tx, str(instance.id), cause):
                facts = {"action": "instance-ended", "instance": str(instance.id), "cause": cause}
                self._log_attest(tx, agent, facts)

        await self._database.write(unit)

    async def _look_at_code(self, name: str, now: datetime) -> None:
        agent = await self.show(name)
        if agent.state is not AgentState.ACTIVE:
            return
        last = self._looked.setdefault(name, now)
        fresh = now - last >= _FRESH_EVERY
        if fresh:
            self._looked[name] = now
        for attestor in self._attestors.values():
            cause = await asyncio.to_thread(_look, attestor, agent, fresh=fresh)
            if cause is not None:
                await self.invalidate(agent, await self._named(attestor, agent, cause))

    async def _named(self, attestor: Attestor, agent: Agent, cause: str) -> str:
        """The same finding, naming the file where the server knows the listing."""
        listing = await self._database.read(
            lambda tx: rows.tree_of(tx, agent.name, agent.reference.code.digest)
        )
        if listing is None:
            return cause
        try:
            found = await asyncio.to_thread(attestor.remeasure, agent.reference)
        except Refused:
            return cause
        return appraise(agent.reference, listing, found) or cause

    # -- records -------------------------------------------------------------------------------

    async def _log_refusal(self, agent: Agent, cause: str, peer_pid: int) -> None:
        facts: dict[str, JsonValue] = {
            "action": "svid-refused",
            "cause": cause[:500],
            "peer_pid": peer_pid,
        }
        await self._database.write(lambda tx: self._log_attest(tx, agent, facts))

    def _log_attest(self, tx: Tx, agent: Agent, facts: JsonObject) -> None:
        full = {"agent": str(agent.id), "manifest": agent.manifest_digest, **facts}
        self._audit.append(tx, Event(EventType.ATTEST, str(agent.id), full))


def _look(attestor: Attestor, agent: Agent, *, fresh: bool) -> str | None:
    try:
        return appraise(agent.reference, None, attestor.remeasure(agent.reference, fresh=fresh))
    except Refused as refused:
        if refused.kind is not Kind.MALFORMED:
            raise
        return refused.detail
