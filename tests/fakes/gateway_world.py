"""Everything the gateway stands on, real, with a counting MCP server behind it."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from tests.fakes.console_authenticator import Passkey
from tests.fakes.console_people import House
from tests.fakes.gateway_mcp import journal_lines

from actfor import console
from actfor.approval import Answer
from actfor.approval.endorsing import endorsing
from actfor.authorization.model.domain import Domain
from actfor.authorization.service import (
    AuthorizationService,
    PolicyChanges,
    Rehearsal,
    Trials,
)
from actfor.delegation import DelegationService, Mandate, MandateDraft
from actfor.delegation.http import delegation_routes
from actfor.gateway.calls import Settings
from actfor.gateway.catalog import Catalog
from actfor.gateway.effects import Overlay
from actfor.gateway.enforce import Enforcer
from actfor.gateway.mapped import MappedCalls
from actfor.gateway.mcp import McpFront
from actfor.gateway.model import Http, Server, Stdio, Transport
from actfor.gateway.proposals import Proposals
from actfor.identity import (
    ATTESTED_LOCAL,
    Agent,
    AgentDraft,
    AgentService,
    ModelRef,
    Person,
    ReferenceDraft,
    Tier,
    Wanted,
)
from actfor.identity.model import Instance
from actfor.identity.repository import agents as agent_rows
from actfor.store import Database, new_id
from actfor.wire import dpop, jose
from actfor.wire.jose import SigningKey
from actfor.wire.rar import Authority, Budget, Flow, Grant
from actfor.wire.spiffe import SpiffeId, sign_jwt_svid
from actfor.wire.token_exchange import ExchangeRequest

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
    """What an agent's sidecar holds: a token and the key it is bound to."""

    token: str
    key: SigningKey
    mandate: Mandate

    def proof(self, url: str, now: datetime, method: str = "POST") -> str:
        return dpop.build_proof(
            key=self.key,
            method=method,
            url=url,
            now=now,
            jti=new_id("jti"),
            access_token=self.token,
        )

    def headers(self, url: str, now: datetime, method: str = "POST") -> dict[str, str]:
        return {"authorization": f"DPoP {self.token}", "dpop": self.proof(url, now, method)}


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
    svid_key: SigningKey
    issuer: str
    mapped: MappedCalls

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

    async def token(
        self,
        *grants: Grant,
        server: str = "counting",
        budget: Budget | None = None,
        four_eyes: bool = False,
        person: Person | None = None,
        agent: Agent | None = None,
        mandate: Mandate | None = None,
        goal: str = "test the gateway",
        flows: tuple[Flow, ...] = (),
        depth: int = 0,
    ) -> Token:
        """A delegated token, by the real exchange: mandate, subject token, SVID, proof."""
        acting, whose = agent or self.agent, person or self.operator
        now = self.house.clock()
        if mandate is None:
            authority = Authority(
                grants or (Grant(server, ("*",), EVERYTHING),),
                budget or Budget(),
                max_depth=depth,
                flows=flows,
            )
            draft = MandateDraft(acting.name, goal, authority, now + timedelta(hours=2), four_eyes)
            mandate = await self.delegation.commit_mandate(whose, draft)
        key = SigningKey.generate()
        subject = await self.delegation.subject_token(whose, mandate.id)
        response = await self.delegation.exchange(
            ExchangeRequest(subject, await self._svid(acting, key), self.settings.url(server)),
            self._at_token_endpoint(key),
        )
        return Token(response.access_token, key, mandate)

    async def passed_on(self, token: Token, to: Agent, *, server: str = "counting") -> Token:
        """What ``to`` gets when the holder of ``token`` passes it on: two real exchanges."""
        holder = SpiffeId.parse(jose.text(jose.unverified(token.token).claims, "client_id"))
        audience = self.settings.url(server)
        actor = await self._svid(await self.agents.show(holder.agent_name or ""), token.key)
        passed = await self.delegation.pass_on(
            ExchangeRequest(token.token, actor, audience, requested_actor=to.id),
            self._at_token_endpoint(token.key),
        )
        key = SigningKey.generate()
        made = await self.delegation.exchange(
            ExchangeRequest(passed.access_token, await self._svid(to, key), audience),
            self._at_token_endpoint(key),
        )
        return Token(made.access_token, key, token.mandate)

    def _at_token_endpoint(self, key: SigningKey) -> dpop.DpopProof:
        url, now = f"{self.issuer}/token", self.house.clock()
        proof = dpop.build_proof(key=key, method="POST", url=url, now=now, jti=new_id("jti"))
        return dpop.verify_proof(proof, method="POST", url=url, now=now)

    async def _svid(self, agent: Agent, key: SigningKey) -> str:
        """What `AgentService.attest` issues, without a process to measure."""
        now, until = self.house.clock(), self.house.clock() + timedelta(minutes=10)
        instance = agent.id.instance(new_id("ins").removeprefix("ins_"))
        row = Instance(instance, agent.name, 1, 1, "0:0", key.kid, agent.manifest_digest, until)
        await self.database.write(lambda tx: agent_rows.add_instance(tx, row))
        return sign_jwt_svid(
            agent.id, audience=self.issuer, jkt=key.kid, jti=new_id("svid"), now=now,
            ttl=timedelta(minutes=10), key=self.svid_key,
            private={
                "manifest": agent.manifest_digest, "instance": str(instance),
                "assurance": ATTESTED_LOCAL, "model": {"id": "scripted", "version": "1"},
            },
        )  # fmt: skip

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
        found = await self.house.audit.trace(trace)  # with what led to it: mandate, grant
        return [dict(event.to_json()) for event in found if event.trace == trace]

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
    journal: Path | None = None,
    domains: tuple[Domain, ...] = (),
) -> World:
    house = House.build(database, clock, issuer)
    operator, passkey = await house.operator()
    svid_key = SigningKey.generate()
    agents = AgentService(database, house.audit, "localhost", issuer, svid_key, [], clock)
    agent = await register(agents, operator, tmp, database)
    authorization = AuthorizationService(database, house.audit, clock)
    await authorization.ensure_default()
    catalog = Catalog(database, house.audit, clock)
    await catalog.start()
    delegation = DelegationService(
        database, house.audit, house.people, agents, keys=[SigningKey.generate()], issuer=issuer,
        trust_domain="localhost", clock=clock,
        audiences=lambda: {f"{issuer}/mcp/{one.name}": one.name for one in catalog.servers()},
        policy_version=lambda: "",
    )  # fmt: skip
    house.approvals.on_endorsed.append(endorsing(delegation))
    delegation.on_revoked.append(house.approvals.cancel_for_mandate)
    settings = Settings(f"{issuer}/mcp", bytes(range(32)), hold_seconds)
    mapped = MappedCalls(domains)
    enforcer = Enforcer(
        database=database, audit=house.audit, agents=agents, authorization=authorization,
        delegation=delegation, approvals=house.approvals, catalog=catalog, settings=settings,
        clock=clock, mapped=mapped,
    )  # fmt: skip
    front = McpFront(enforcer, settings, issuer, clock)
    return World(
        house, agents, authorization, delegation, catalog, enforcer, front, settings,
        journal or tmp / "journal.jsonl", operator, passkey, agent, svid_key, issuer, mapped,
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


@contextmanager
def counting_http(journal: Path) -> Iterator[str]:
    """The counting server over HTTP, in a process of its own; yields its URL."""
    with _process(str(SERVER), "http", str(journal)) as url:
        yield url


@contextmanager
def office_http(journal: Path) -> Iterator[str]:
    """The office over HTTP, in a process of its own; yields its URL."""
    with _process(str(SERVER.with_name("office_mcp.py")), str(journal)) as url:
        yield url


@contextmanager
def _process(*command: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *command, str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(500):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def served(
    database: Database,
    clock: Callable[[], datetime],
    tmp: Path,
    *,
    also: Callable[["World"], list[BaseRoute]] = lambda _: [],
    **more: Any,
) -> AsyncIterator[World]:
    """A world whose gateway is served by uvicorn on a loopback port, ``also`` with these routes."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
        world = await build(database, clock, tmp, issuer=issuer, **more)
        authorization_server = delegation_routes(world.delegation)
        routes = [*world.front.routes, *authorization_server, *pages(world), *also(world)]
        app = Starlette(routes=routes)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        task = asyncio.create_task(server.serve([listener]))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            yield world
        finally:
            server.should_exit = True
            await task
            await world.catalog.close()


@asynccontextmanager
async def served_with_upstream(
    database: Database,
    clock: Callable[[], datetime],
    tmp: Path,
    *,
    name: str = "counting",
    also: Callable[["World"], list[BaseRoute]] = lambda _: [],
) -> AsyncIterator[tuple[World, httpx2.AsyncClient]]:
    """``served``, with the counting server behind the gateway as ``name``; and an HTTP client."""
    journal = tmp / "journal"
    with counting_http(journal) as upstream:
        async with (
            served(database, clock, tmp, journal=journal, also=also) as world,
            httpx2.AsyncClient(timeout=30) as http,
        ):
            await world.add(name, Http(upstream))
            yield world, http


def pages(world: World) -> list[BaseRoute]:
    """The console over the world's services."""
    rooms = (world.database, world.house.audit, world.house.clock)
    policies = console.Policies(
        world.authorization,
        PolicyChanges(world.authorization, *rooms, four_eyes=False),
        Rehearsal(world.authorization, world.house.audit, world.house.clock),
        Trials(world.authorization, *rooms, four_eyes=False),
    )
    services = console.Services(
        people=world.house.people, agents=world.agents, delegation=world.delegation,
        approvals=world.house.approvals, audit=world.house.audit, catalog=world.catalog,
        proposals=Proposals(world.catalog), policies=policies,
        issuer=world.issuer, clock=world.house.clock,
    )  # fmt: skip
    return list(console.routes(services))


class DelegatedAuth(httpx2.Auth):
    """What the SDK does for an agent: a fresh proof for each request."""

    def __init__(self, world: World, token: Token) -> None:
        self._world, self._token = world, token

    def auth_flow(self, request: httpx2.Request) -> Iterator[httpx2.Request]:  # type: ignore[override] # no answer is looked at
        now = self._world.house.clock()
        request.headers.update(self._token.headers(str(request.url), now, request.method))
        yield request


@asynccontextmanager
async def client(
    world: World, token: Token, mode: str, *, server: str = "counting", **more: Any
) -> AsyncIterator[Client]:
    """The official SDK's client, as an agent would use it."""
    url = world.settings.url(server)
    async with (
        httpx2.AsyncClient(auth=DelegatedAuth(world, token), timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, **more) as connected,
    ):
        yield connected


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
