"""Everything the gateway stands on, real, with a counting MCP server behind it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from actfor.delegation import Delegation, DelegationService, Mandate
from starlette.applications import Starlette
from tests.fakes.console_authenticator import Passkey
from tests.fakes.console_people import House
from tests.fakes.gateway_mcp import journal_lines

from actfor.approval import Answer
from actfor.authorization.service import AuthorizationService
from actfor.gateway.calls import Settings
from actfor.gateway.catalog import Catalog
from actfor.gateway.effects import Overlay
from actfor.gateway.enforce import Enforcer
from actfor.gateway.mcp import McpFront
from actfor.gateway.model import Server, Stdio, Transport
from actfor.identity import Agent, AgentDraft, AgentService, ModelRef, Person, ReferenceDraft, Tier, Wanted
from actfor.identity.repository import agents as agent_rows
from actfor.store import Database, new_id
from actfor.wire import dpop
from actfor.wire.jose import SigningKey
from actfor.wire.rar import Authority, Budget, Grant, authority_hash, to_authorization_details

ISSUER = "http://localhost"
SERVER = Path(__file__).with_name("gateway_mcp.py")
EVERYTHING = ("read", "write", "delete", "pay", "execute", "infrastructure", "unknown")
OVERLAYS = {
    "echo": Overlay.from_json({"effect": "read"}),
    "delete_record": Overlay.from_json({"effect": "delete"}),
    "query": Overlay.from_json({"effect": {"sql": "/query"}}),
    "pay": Overlay.from_json(
        {"effect": "pay", "amount": {"pointer": "/amount", "currency": "EUR"}}
    ),
    "fail": Overlay.from_json({"effect": "read"}),
    "slow": Overlay.from_json({"effect": "read"}),
    "die": Overlay.from_json({"effect": "read"}),
}


@dataclass
class Token:
    """What an agent holds: a token and, for DPoP, the key it is bound to."""

    token: str
    key: SigningKey | None
    delegation: Delegation

    def headers(self, url: str, now: datetime, method: str = "POST") -> dict[str, str]:
        if self.key is None:
            return {"authorization": f"Bearer {self.token}"}
        proof = dpop.build_proof(
            key=self.key, method=method, url=url, now=now, jti=new_id("jti"), access_token=self.token
        )
        return {"authorization": f"DPoP {self.token}", "dpop": proof}


@dataclass
class World:
    """One gateway. ``journal`` is what reached the upstream, whoever sent it."""

    house: House
    agents: AgentService
    authorization: AuthorizationService
    delegation: DelegationService
    catalog: Catalog
    enforcer: Enforcer
    front: McpFront
    settings: Settings
    journal: Path
    operator: Person
    passkey: Passkey
    agent: Agent
    mandates: dict[str, Mandate] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        return self.house.database

    @property
    def calls(self) -> list[dict[str, Any]]:
        return journal_lines(self.journal)

    def stdio(self, *, journal: Path | None = None) -> Stdio:
        return Stdio(sys.executable, (str(SERVER), "stdio", str(journal or self.journal)))

    async def add(self, name: str = "counting", transport: Transport | None = None) -> Server:
        return await self.catalog.add_server(
            self.operator, name, transport or self.stdio(), approve_listed=True, overlays=OVERLAYS
        )

    def token(
        self,
        *grants: Grant,
        server: str = "counting",
        budget: Budget | None = None,
        bound: bool = True,
        four_eyes: bool = False,
        person: Person | None = None,
        seconds: int = 300,
        agent: Agent | None = None,
    ) -> Token:
        authority = Authority(
            grants or (Grant(server, ("*",), EVERYTHING),), budget or Budget()
        )
        acting, whose = agent or self.agent, person or self.operator
        mandate = Mandate(
            new_id("mdt"), whose.id, "test the gateway", authority,
            "sha-256:" + "A" * 43, four_eyes=four_eyes,
        )  # fmt: skip
        key = SigningKey.generate() if bound else None
        instance = acting.id.instance("one")
        delegation = Delegation(
            grant_id=new_id("gr"), jti=new_id("at"), person_id=whose.id, agent=acting.id,
            instance=instance, mandate=mandate, authority=authority,
            audience=self.settings.url(server), jkt=key.kid if key else None,
            manifest=acting.manifest_digest, expires_at=self.house.clock() + timedelta(seconds=seconds),
            chain=(acting.id,), person_epoch=whose.epoch, agent_epoch=acting.epoch,
        )  # fmt: skip
        token = new_id("tok")
        self.delegation.tokens[token] = delegation
        return Token(token, key, delegation)

    async def answer(self, approval_id: str, answer: Answer = Answer.APPROVE) -> None:
        approvals = self.house.approvals
        assertion = None
        if answer is Answer.APPROVE:
            options = await approvals.options(self.operator, approval_id)
            assertion = self.passkey.get(options)
        await approvals.answer(self.operator, approval_id, answer, assertion)

    async def waiting(self) -> list[str]:
        return [one.id for one in (await self.house.approvals.inbox(self.operator)).waiting]

    async def events(self, trace: str) -> list[dict[str, Any]]:
        await settle(self.database)
        return [dict(event.to_json()) for event in await self.house.audit.trace(trace)]

    async def log(self, kind: str) -> list[Any]:
        await settle(self.database)
        return [one for one in await self.house.audit.search(limit=200) if one.type == kind]


async def settle(database: Database) -> None:
    """Whatever was posted before is written."""
    await database.write(lambda tx: None)


async def build(
    database: Database,
    clock: Callable[[], datetime],
    tmp: Path,
    *,
    hold_seconds: float = 0.0,
    issuer: str = ISSUER,
) -> World:
    house = House.build(database, clock, issuer)
    operator, passkey = await house.operator()
    agents = AgentService(
        database, house.audit, "localhost", issuer, SigningKey.generate(), [], clock
    )
    agent = await register(agents, operator, tmp, database)
    authorization = AuthorizationService(database, house.audit, clock)
    await authorization.ensure_default()
    delegation = DelegationService(agents, clock)
    catalog = Catalog(database, house.audit, clock)
    await catalog.start()
    settings = Settings(f"{issuer}/mcp", bytes(range(32)), hold_seconds)
    enforcer = Enforcer(
        database=database, audit=house.audit, agents=agents, authorization=authorization,
        delegation=delegation, approvals=house.approvals, catalog=catalog, settings=settings,
        clock=clock,
    )  # fmt: skip
    front = McpFront(enforcer, settings, issuer, clock)
    return World(
        house, agents, authorization, delegation, catalog, enforcer, front, settings,
        tmp / "journal.jsonl", operator, passkey, agent,
    )  # fmt: skip


async def register(
    agents: AgentService, owner: Person, tmp: Path, database: Database, name: str = "bookkeeper"
) -> Agent:
    code = tmp / f"code-{name}"
    code.mkdir()
    (code / "agent.py").write_text("print('hello')\n")
    reference = ReferenceDraft(
        Wanted(path=str(code)), Wanted(path=sys.executable), ModelRef("scripted", "1")
    )
    draft = AgentDraft(name, "keeps the books", Tier.MEDIUM, reference)
    agent = await agents.register(owner, draft)
    active = agent.activate()
    await database.write(lambda tx: agent_rows.swap_agent(tx, agent, active))
    return active


@asynccontextmanager
async def served(world: World) -> AsyncIterator[str]:
    """The gateway on a loopback port; yields its origin."""
    app = Starlette(routes=list(world.front.routes))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


def modern(
    method: str, params: Mapping[str, Any] | None = None, *, url: bool = False, request_id: Any = 1
) -> tuple[dict[str, Any], dict[str, str]]:
    """A 2026-07-28 request: body and its mirrored headers."""
    given = dict(params or {})
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}} if url else {},
        **given.pop("_meta", {}),
    }
    body = {
        "jsonrpc": "2.0", "id": request_id, "method": method, "params": {**given, "_meta": meta},
    }  # fmt: skip
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": method}
    if isinstance(given.get("name"), str):
        headers["mcp-name"] = given["name"]
    return body, headers
