"""An authorization server with a person, agents and servers; only the process is simulated."""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.conftest import Clock
from tests.fakes.console_people import House
from tests.fakes.identity_process import code_tree, draft

from actfor.delegation import DelegationService, Mandate, MandateDraft, Proved
from actfor.identity import Agent, AgentService, AttestedAgent, Evidence, Person, Svid
from actfor.identity.measure import Measurer
from actfor.identity.model import Appraised, Instance, Measurement, Reference
from actfor.sdk.attest import attestation_proof
from actfor.store import Database, new_id
from actfor.wire import dpop, token_exchange
from actfor.wire.dpop import DpopProof
from actfor.wire.jose import SigningKey
from actfor.wire.token_exchange import ACCESS_TOKEN, GRANT_TYPE, JWT, TokenResponse

ISSUER = "http://localhost:8700"
DOMAIN = "example.org"
CRM = f"{ISSUER}/mcp/crm"
BANK = f"{ISSUER}/mcp/bank"


class SimulatedProcess:
    """An attestor that measures real code and believes that it runs."""

    kind = "local-process"
    assurance = "attested-local"

    def measure(
        self, evidence: Evidence, reference: Reference, known: Sequence[Instance] = ()
    ) -> Appraised:
        return Appraised(self.remeasure(reference, fresh=True), evidence.pid, 1, "1:2")

    def remeasure(self, reference: Reference, *, fresh: bool = False) -> Measurement:
        return Measurer().measure(reference, fresh=fresh)

    def ended(self, instance: Instance) -> str | None:
        return None


class RacingAgents(AgentService):
    """Agents of which something happens just after their SVID was found good."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def verify_svid(self, token: str, audience: str) -> AttestedAgent:
        found = await super().verify_svid(token, audience)
        if self.meanwhile is not None:
            await self.meanwhile()
        return found


@dataclass
class Holder:
    """An agent that was attested: its key and its SVID."""

    agent: Agent
    key: SigningKey
    svid: Svid


@dataclass
class World:
    house: House
    agents: RacingAgents
    delegation: DelegationService
    keys: list[SigningKey]
    svid_key: SigningKey
    clock: Clock
    folder: Path
    ada: Person
    servers: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        return self.house.database

    async def agent(self, name: str = "bookkeeper") -> Holder:
        code = code_tree(self.folder / name)
        agent = await self.agents.register(self.ada, draft(code, name))
        return await self.attest(agent.name)

    async def attest(self, name: str, key: SigningKey | None = None) -> Holder:
        key = key or SigningKey.generate()
        evidence = Evidence(os.getpid(), os.getuid(), os.getpid())
        challenge = await self.agents.challenge(name, evidence.peer_pid)
        agent = await self.agents.show(name)
        proof = attestation_proof(
            key,
            agent=str(agent.id),
            audience=ISSUER,
            nonce=challenge.nonce,
            pid=evidence.pid,
            now=self.clock.now(),
        )
        svid = await self.agents.attest(name, evidence, proof, key.public.jwk)
        return Holder(await self.agents.show(name), key, svid)

    def draft(self, agent: str = "bookkeeper", **changes: Any) -> MandateDraft:
        body: dict[str, Any] = {
            "agent": agent,
            "goal": "Pay October's invoices",
            "grants": [
                {"server": "crm", "tools": ["read_query", "list_tables"], "effects": ["read"]},
                {
                    "server": "bank",
                    "tools": ["pay"],
                    "effects": ["pay"],
                    "args": {"/to": {"enum": ["DE02", "DE03"]}},
                    "amount": {"value": "500.00", "currency": "EUR"},
                },
            ],
            "budget": {"calls": 40, "amount": {"value": "900.00", "currency": "EUR"}},
            "expires_at": (self.clock.now() + timedelta(hours=2)).isoformat(),
            **changes,
        }
        return MandateDraft.from_json(body)

    async def mandate(self, agent: str = "bookkeeper", **changes: Any) -> Mandate:
        return await self.delegation.commit_mandate(self.ada, self.draft(agent, **changes))

    async def subject(self, mandate: Mandate) -> str:
        return await self.delegation.subject_token(self.ada, mandate.id)

    def proof(
        self, key: SigningKey, url: str = f"{ISSUER}/token", *, token: str | None = None
    ) -> str:
        return dpop.build_proof(
            key=key,
            method="POST",
            url=url,
            now=self.clock.now(),
            jti=new_id("jti"),
            access_token=token,
        )

    def verified(self, key: SigningKey) -> DpopProof:
        return dpop.verify_proof(
            self.proof(key), method="POST", url=f"{ISSUER}/token", now=self.clock.now()
        )

    async def exchange(
        self, holder: Holder, subject: str, *, proof: DpopProof | None = None, **params: Any
    ) -> TokenResponse:
        asked = token_exchange.parse(form(holder, subject, **params))
        return await self.delegation.exchange(asked, proof or self.verified(holder.key))

    async def pass_on(
        self, holder: Holder, token: str, to: str, *, proof: DpopProof | None = None, **params: Any
    ) -> str:
        """What ``holder`` hands to the agent named ``to``, made from its own access token."""
        named = {"requested_actor": f"spiffe://{DOMAIN}/agent/{to}", **params}
        asked = token_exchange.parse(form(holder, token, **named))
        return (
            await self.delegation.pass_on(asked, proof or self.verified(holder.key))
        ).access_token

    async def authenticate(
        self, holder: Holder, token: str, audience: str = CRM, **changes: Any
    ) -> Proved:
        request = {
            "audience": audience,
            "scheme": "DPoP",
            "proof": self.proof(holder.key, audience, token=token),
            "method": "POST",
            "url": audience,
            **changes,
        }
        return await self.delegation.authenticate(token, **request)

    async def ready(self, **changes: Any) -> tuple[Holder, Mandate, str]:
        """An attested agent, a mandate for it, and the person's token for that."""
        holder = await self.agent()
        mandate = await self.mandate(**changes)
        return holder, mandate, await self.subject(mandate)

    async def log(self, kind: str) -> list[dict[str, Any]]:
        """The facts of the events of one type, oldest first."""
        events = await self.house.audit.search(limit=200)
        return [dict(event.facts) for event in reversed(events) if event.type == kind]


def form(holder: Holder, subject: str, **params: str) -> list[tuple[str, str]]:
    """The canonical exchange, with changes; an empty string removes a parameter."""
    body = {
        "grant_type": GRANT_TYPE,
        "subject_token": subject,
        "subject_token_type": ACCESS_TOKEN,
        "actor_token": holder.svid.token,
        "actor_token_type": JWT,
        "resource": CRM,
        **params,
    }
    return [(name, value) for name, value in body.items() if value]


async def build(database: Database, clock: Clock, folder: Path) -> World:
    house = House.build(database, clock.now, ISSUER)
    ada, _ = await house.operator("Ada")
    svid_key, keys = SigningKey.generate(), [SigningKey.generate()]
    agents = RacingAgents(
        database, house.audit, DOMAIN, ISSUER, svid_key, [SimulatedProcess()], clock.now
    )
    servers = {CRM: "crm", BANK: "bank"}
    delegation = DelegationService(
        database,
        house.audit,
        house.people,
        agents,
        keys=keys,
        issuer=ISSUER,
        trust_domain=DOMAIN,
        clock=clock.now,
        audiences=lambda: servers,
        policy_version=lambda: "sha-256:" + "P" * 43,
    )
    return World(house, agents, delegation, keys, svid_key, clock, folder, ada, servers)


def later(clock: Clock, seconds: float) -> datetime:
    return clock.now() + timedelta(seconds=seconds)
