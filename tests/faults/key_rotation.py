"""R16: signing keys rotate at every turn while tokens are used; now and then one is stolen.

A cycle is one rotation of the access-token key and of the SVID key under load: tokens of every age
are presented, exchanged and spent while the keys step on. No token that is in its life may be
refused for its key. Every tenth cycle is an emergency: the keys are revoked in the middle of a
burst of calls. From the revocation's leaf on, nothing that a dead key signed may be permitted; the
log itself is read to see that, and what comes after the answer must be refused.

The clock moves ten seconds a cycle, so tokens of five minutes see thirty rotations.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tests.conftest import Clock, import_tables
from tests.fakes import delegation_world
from tests.fakes.console_people import House
from tests.fakes.delegation_world import CRM, DOMAIN, ISSUER, Holder, SimulatedProcess, World
from tests.faults.harness import Plan, Rig, Tally
from tests.faults.node import START

from actfor.audit import Event, EventType
from actfor.delegation import DelegationService, Mandate
from actfor.errors import Kind, Refused
from actfor.keys import KeyService, Purpose, Schedule, Vault
from actfor.server.keyring import recorder
from actfor.store import Database, Tx, new_id
from actfor.wire import jose
from actfor.wire.jose import SigningKey

STEP = 10
OVERLAP = timedelta(seconds=900)
BURST = 12
TOKENS = 40


class Hoarder(DelegationService):
    """A node that never lets go of a key it once had."""

    def use_keys(self, keys: Sequence[SigningKey]) -> None:
        had: dict[str, SigningKey] = getattr(self, "_had", {})
        self._had = {**{key.kid: key for key in keys}, **had}
        super().use_keys([*keys, *(key for key in had.values() if key not in keys)])


@dataclass
class Token:
    """An access token, who holds it, which key signed it, and until when it lives."""

    text: str
    holder: Holder
    kid: str
    expires_at: datetime


class Site:
    """An authorization server whose keys rotate."""

    def __init__(self, world: World, keys: KeyService, rng: random.Random, tally: Tally) -> None:
        self.world, self.keys, self.rng, self.tally = world, keys, rng, tally
        self.tokens: list[Token] = []
        self.revoked: set[str] = set()
        self.holder: Holder | None = None
        self.mandate: Mandate | None = None

    async def prepare(self) -> None:
        self.holder = await self.world.agent()
        await self.commit()

    async def commit(self) -> None:
        self.mandate = await self.world.mandate(budget={"calls": 1_000_000})

    async def issue(self) -> None:
        assert self.holder is not None
        assert self.mandate is not None
        subject = await self.world.subject(self.mandate)
        try:
            answer = await self.world.exchange(self.holder, subject)
        except Refused as refused:
            self.tally.problems.append(f"an agent in its life was given no token: {refused}")
            return
        life = timedelta(seconds=answer.expires_in)
        token = Token(
            answer.access_token,
            self.holder,
            jose.kid_of(answer.access_token),
            self.world.clock.now() + life,
        )
        self.tokens = [*self.tokens[-TOKENS:], token]

    async def renew(self) -> None:
        assert self.holder is not None
        self.holder = await self.world.attest("bookkeeper", self.holder.key)

    async def use(self, token: Token) -> bool:
        """Present and spend one token; whether that was permitted."""
        delegation, audit = self.world.delegation, self.world.house.audit
        try:
            proved = await self.world.authenticate(token.holder, token.text, CRM)

            def unit(tx: Tx) -> None:
                delegation.consume(tx, proved.delegation, proof=proved.proof)
                facts = {"decision": "permit", "epochs": proved.delegation.epochs}
                audit.append(tx, Event(EventType.DECIDE, new_id("dec"), facts))

            await self.world.database.write(unit)
        except Refused as refused:
            if refused.kind is Kind.BUSY:
                raise
            return False
        return True

    async def rotate(self) -> None:
        """One turn of the clock: keys step on while tokens of every age are used."""
        self.world.clock.advance(STEP)
        now = self.world.clock.now()
        alive = [token for token in self.tokens if token.expires_at > now]
        used = [self.rng.choice(alive) for _ in range(BURST)] if alive else []
        steps = [self.use(token) for token in used]
        steps.insert(self.rng.randrange(len(steps) + 1), self.advance())
        results = await asyncio.gather(*steps)
        self.tally.acknowledged += sum(results)
        refused = len(used) - (sum(results) - 1)
        if refused:
            self.tally.problems.append(f"{refused} tokens in their life were refused")
        self.tally.count("rotations")

    async def advance(self) -> bool:
        await self.keys.advance()
        return True

    async def steal(self) -> None:
        """Revoke in the middle of a burst; afterwards nothing of the old keys is permitted."""
        old = [t for t in self.tokens if t.expires_at > self.world.clock.now()]
        if not old:
            return
        bursts = [self.use(self.rng.choice(old)) for _ in range(BURST)]
        bursts.insert(self.rng.randrange(BURST), self.revoke())
        await asyncio.gather(*bursts)
        for token in self.rng.sample(old, min(4, len(old))):
            self.tally.permits_after_revoke += await self.use(token)
        self.tokens.clear()
        self.tally.count("emergencies")

    async def revoke(self) -> bool:
        dead = {key.kid for key in self.keys.signers(Purpose.ACCESS_TOKEN)}
        await self.keys.revoke(Purpose.ACCESS_TOKEN, by="usr_rig", cause="stolen")
        self.revoked |= dead
        return True

    async def read_the_log(self) -> None:
        """In log order, nothing depends on a key after the leaf that ended it."""
        audit, dead, at = self.world.house.audit, set[str](), 0
        size = (await audit.head()).size
        while at < size:
            events = await audit.events(at, 500)
            for event in events:
                revoked = event.facts.get("revoked")
                if isinstance(revoked, dict):
                    dead |= set(revoked.get("key", {}))
                epochs = event.facts.get("epochs")
                if isinstance(epochs, dict) and dead & set(epochs.get("key", {})):
                    self.tally.permits_after_revoke += 1
            at += len(events)
        if not self.revoked <= dead:
            self.tally.problems.append("a key was revoked without a leaf")


async def build(
    database: Database, clock: Clock, folder: Path, mutant: str | None
) -> tuple[World, KeyService]:
    overlap = timedelta(0) if mutant == "no-overlap" else OVERLAP
    schedule = Schedule(timedelta(seconds=STEP), timedelta(seconds=STEP / 2), overlap)
    keys = KeyService(
        database, Vault(), clock.now, schedules=dict.fromkeys(Purpose, schedule), log_name=DOMAIN
    )
    await keys.open()
    house = House.build(database, clock.now, ISSUER)
    await keys.start(recorder(house.audit))
    ada, _ = await house.operator("Ada")
    hoards = mutant == "hoards-keys"
    agents = delegation_world.RacingAgents(
        database,
        house.audit,
        DOMAIN,
        ISSUER,
        keys.signers(Purpose.SVID)[0],
        [SimulatedProcess()],
        clock.now,
        check_key=keys.check,
    )
    servers = {CRM: "crm", delegation_world.BANK: "bank"}
    delegation = (Hoarder if hoards else DelegationService)(
        database,
        house.audit,
        house.people,
        agents,
        keys=keys.signers(Purpose.ACCESS_TOKEN),
        check_key=(lambda _tx, _kid: None) if hoards else keys.check,
        issuer=ISSUER,
        trust_domain=DOMAIN,
        clock=clock.now,
        audiences=lambda: servers,
        policy_version=lambda: "sha-256:" + "P" * 43,
    )

    def use_keys() -> None:
        agents.use_svid_keys(keys.signers(Purpose.SVID))
        delegation.use_keys(keys.signers(Purpose.ACCESS_TOKEN))

    keys.on_change.append(use_keys)
    world = World(
        house, agents, delegation, [], keys.signers(Purpose.SVID)[0], clock, folder, ada, servers
    )
    return world, keys


async def play(plan: Plan, tally: Tally) -> None:
    clock = Clock(START)
    database = Database.open(f"sqlite:///{plan.folder}/actfor.db", clock=clock.now)
    try:
        world, keys = await build(database, clock, plan.folder, plan.mutant)
        site = Site(world, keys, plan.rng, tally)
        await site.prepare()
        cycle = 0
        while not plan.over(cycle, tally):
            cycle += 1
            if cycle % 20 == 0:
                await site.renew()
            if cycle % 600 == 0:
                await site.commit()
            await site.issue()
            await site.rotate()
            if cycle % 10 == 0:
                await site.steal()
        await site.read_the_log()
    finally:
        await database.close()


def run(plan: Plan) -> Tally:
    import_tables()
    tally = Tally()
    asyncio.run(play(plan, tally))
    return tally


RIG = Rig(
    "R16", "keys that rotate at every turn and are stolen now and then", run,
    short=60, release=86_400, mutants={"no-overlap": 40, "hoards-keys": 40},
)  # fmt: skip
