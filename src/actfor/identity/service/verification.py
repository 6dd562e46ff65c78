"""Who presents this SVID, and does it still count? On the path of every token exchange.

Only the signature check is remembered; that the agent is active, the process runs and the manifest
is the registered one is read from the database each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from actfor.errors import Kind, Refused
from actfor.identity.model import Agent, AttestedAgent
from actfor.identity.repository import agents as rows
from actfor.identity.service.registry import Registry
from actfor.store import Row, Tx
from actfor.wire import jose, spiffe
from actfor.wire.jose import VerifyKey, key_map
from actfor.wire.spiffe import SpiffeId

_MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Verified:
    """An SVID with signature, audience and trust domain checked, and its agent as last seen."""

    svid: spiffe.JwtSvid
    name: str
    instance: SpiffeId
    assurance: str
    agent: Agent
    kid: str


class Verification:
    """Verifies the SVIDs of one registry's agents, signed by one of ``keys``.

    ``check_key`` refuses, in a transaction, what a key signed that was revoked (on any node).
    """

    def __init__(
        self,
        registry: Registry,
        *,
        keys: Iterable[VerifyKey],
        clock: Callable[[], datetime],
        check_key: Callable[[Tx, str], None] | None = None,
    ) -> None:
        self._registry = registry
        self._database = registry.database
        self._now = clock
        self.check_key = check_key or self._check_known
        self.use_keys(keys)

    def use_keys(self, keys: Iterable[VerifyKey]) -> None:
        """Verify with these from now on. What was remembered as verified is forgotten."""
        self._keys = key_map(keys)
        # Owned by the event loop: verified SVIDs by digest, oldest first.
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

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
            known.kid,
        )

    def _check_known(self, _tx: Tx, kid: str) -> None:
        """``check_key`` where nobody else keeps the keys: those that verify are those that live."""
        if kid not in self._keys:
            raise Refused(Kind.UNAUTHENTICATED, "the SVID's signing key was revoked")

    async def _verify(self, token: str, audience: str) -> _Verified:
        svid = spiffe.verify_jwt_svid(
            token,
            trust_domain=self._registry.trust_domain,
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
        agent = await self._registry.show(name)
        return _Verified(svid, name, instance, assurance, agent, jose.kid_of(token))

    async def _live(self, known: _Verified) -> _Verified:
        """Refuse unless agent, process and manifest are still the ones; the agent as it is now."""

        def unit(tx: Tx) -> Row | None:
            self.check_key(tx, known.kid)
            return rows.liveness(tx, known.name, str(known.instance))

        row = await self._database.read(unit)
        if row is None:
            raise Refused(Kind.NOT_FOUND, f"there is no agent `{known.name}`")
        state, epoch, manifest, ended, instance = row
        agent = known.agent
        if (state, epoch, manifest) != (agent.state, agent.epoch, agent.manifest_digest):
            known = replace(known, agent=await self._registry.show(known.name))
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
