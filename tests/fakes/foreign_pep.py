"""What speaks to a whole server with an account: an enforcement point, a person's command line."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx2
from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount
from tests.fakes.gateway_world import World

from actfor.authorization import Options, Pages, Pdp
from actfor.authorization.http import Signing, authzen_routes
from actfor.delegation.http import mandates_router
from actfor.gateway.access_http import access_request_routes
from actfor.gateway.access_requests import AccessRequests, Issuer
from actfor.gateway.foreign import ForeignCalls, Parts
from actfor.identity import Person, Role
from actfor.server.app import HANDLERS
from actfor.wire import dpop, jose
from actfor.wire.jose import SigningKey

ERROR = "urn:openid:authzen:access-request:error:"


def decision_point(world: World) -> list[BaseRoute]:
    """AuthZEN over the world's services, wired and authenticated as the server does it."""
    house, clock, base = world.house, world.house.clock, world.issuer
    calls = ForeignCalls(
        Parts(
            world.agents, world.delegation, world.catalog, house.approvals, clock,
            world.enforcer.memory.tool, world.settings.url, world.mapped,
        )
    )  # fmt: skip
    pages = Pages(lambda: [b"k" * 32], clock)
    pdp = Pdp(world.authorization, world.database, house.audit, pages, Options(look=calls))
    signer = SigningKey.generate()
    requests = AccessRequests(
        calls, world.authorization, house.approvals, house.audit, world.database,
        Issuer(base, lambda: jose.key_map([signer.public])), clock,
    )  # fmt: skip

    async def pep(request: Request) -> str:
        found = await world.delegation.authenticate_person(
            request.headers.get("authorization", ""),
            proof=request.headers.get("dpop"),
            method=request.method,
            url=base + request.scope["path"],
        )
        found.require(Role.ADMIN)
        return found.id

    signing = Signing(lambda: signer, f"{base}/.well-known/jwks.json")
    return [
        *authzen_routes(pdp, authenticate_pep=pep, base_url=base, offers=clock, signing=signing),
        *access_request_routes(
            requests, authenticate_pep=pep, base_url=base, ticket=house.approvals.url
        ),
    ]


def management(world: World) -> list[BaseRoute]:
    """The management API of mandates, authenticated as the server does it."""

    async def person(request: Request) -> Person:
        return await world.delegation.authenticate_person(
            request.headers.get("authorization", ""),
            proof=request.headers.get("dpop"),
            method=request.method,
            url=world.issuer + request.scope["path"],
        )

    api = FastAPI(exception_handlers=HANDLERS)
    api.include_router(mandates_router(world.delegation, person))
    return [Mount("/", api)]


@dataclass
class Pep:
    """An account, signed in on a machine of its own. ``http`` has no other authentication."""

    world: World
    token: str
    http: httpx2.AsyncClient
    clock: Callable[[], datetime]
    key: SigningKey = field(repr=False)

    @classmethod
    async def sign_in(cls, world: World, person: Person, http: httpx2.AsyncClient) -> "Pep":
        """By the device login that a command line takes."""
        key, url, clock = SigningKey.generate(), f"{world.issuer}/token", world.house.clock

        def proof() -> dpop.DpopProof:
            jti = secrets.token_urlsafe(16)
            sent = dpop.build_proof(key=key, method="POST", url=url, now=clock(), jti=jti)
            return dpop.verify_proof(sent, method="POST", url=url, now=clock())

        begun = await world.delegation.start_device(proof())
        await world.delegation.approve_device(person, begun.user_code)
        got = await world.delegation.poll_device(begun.device_code, proof())
        return cls(world, got.access_token, http, clock, key)

    async def send(
        self, path: str, json: Any = None, *, method: str = "POST", **headers: str
    ) -> httpx2.Response:
        """A request with a fresh proof."""
        url = self.world.issuer + path
        proof = dpop.build_proof(
            key=self.key, method=method, url=url, now=self.clock(),
            jti=secrets.token_urlsafe(16), access_token=self.token,
        )  # fmt: skip
        signed = {"authorization": f"DPoP {self.token}", "dpop": proof, **headers}
        return await self.http.request(method, url, json=json, headers=signed)

    async def evaluate(self, question: Any) -> Any:
        """What the decision point answers."""
        answer = await self.send("/access/v1/evaluation", question)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ask(self, question: Any, denial: Any, **headers: str) -> httpx2.Response:
        """An access request about a question, bound by what ``denial`` says."""
        sent = {**question, "denial": denial}
        return await self.send("/access/v1/access-request", sent, **headers)

    async def task(self, id_: str) -> httpx2.Response:
        """What became of a task."""
        return await self.send(f"/access/v1/access-request/{id_}", method="GET")

    async def cancel(self, id_: str, why: Any = None, **headers: str) -> httpx2.Response:
        """Take a task back."""
        return await self.send(f"/access/v1/access-request/{id_}/cancel", why, **headers)
