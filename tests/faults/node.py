"""What a rig breaks: the writing half of a server, real services on a real database, no HTTP.

`prepare` makes a database in which a person has agents with mandates, tokens and approvals, and
gives back a `Setting`: all that a process needs to come back to it. `Node` is such a process. Its
`decide` is the transaction of `gateway.enforce` step 5: everything that is taken once is taken,
and the leaf is appended, or nothing is.

Time stands still, so that no token ends while it is raced for; the rig about clocks moves it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.conftest import Clock, import_tables
from tests.fakes.console_authenticator import Passkey
from tests.fakes.console_people import House, exact_call
from tests.fakes.delegation_world import (
    BANK,
    CRM,
    DOMAIN,
    ISSUER,
    RacingAgents,
    SimulatedProcess,
    World,
)
from tests.faults.harness import Tally

from actfor.approval import Answer, ApprovalService
from actfor.audit import AuditLog, Event, EventType, NoteSigner
from actfor.audit import repository as log_rows
from actfor.delegation import DelegationService
from actfor.delegation.model import Delegation
from actfor.errors import Refused
from actfor.identity import PeopleService, Person
from actfor.store import Database, Tx
from actfor.wire.jose import SigningKey
from actfor.wire.log_entry import LogEntry
from actfor.wire.merkle import Frontier

ORIGIN = "log.example/faults"
START = datetime(2026, 11, 26, 1, 0, tzinfo=UTC)
SERVERS = {CRM: "crm", BANK: "bank"}
MANY_CALLS = 1_000_000


@dataclass(frozen=True)
class Setting:
    """What outlives a process: its keys, and what it had issued."""

    url: str
    signer: NoteSigner
    svid_key: SigningKey
    token_key: SigningKey
    person: Person
    passkey: Passkey
    delegations: tuple[Delegation, ...]
    tokens: tuple[str, ...]
    approved: tuple[str, ...]  # digests of calls that a person said yes to
    folder: str = ""  # where the agents' code is


@dataclass(frozen=True)
class Parts:
    """What a node is made of. A mutant replaces one of them by a subclass that does it wrong."""

    audit: type[AuditLog] = AuditLog
    approvals: type[ApprovalService] = ApprovalService
    delegation: type[DelegationService] = DelegationService


class Node:
    """One server's services on one database."""

    def __init__(
        self,
        database: Database,
        signer: NoteSigner,
        svid_key: SigningKey,
        token_key: SigningKey,
        clock: Clock,
        parts: Parts = Parts(),
    ) -> None:
        self.database, self.clock = database, clock
        self.audit = parts.audit(database, signer, ORIGIN, clock.now)
        self.people = PeopleService(database, self.audit, "localhost", [ISSUER], clock.now)
        self.approvals = parts.approvals(database, self.audit, self.people, ISSUER, clock.now)
        self.agents = RacingAgents(
            database, self.audit, DOMAIN, ISSUER, svid_key, [SimulatedProcess()], clock.now
        )
        self.delegation = parts.delegation(
            database, self.audit, self.people, self.agents, keys=[token_key], issuer=ISSUER,
            trust_domain=DOMAIN, clock=clock.now, audiences=lambda: SERVERS,
            policy_version=lambda: "sha-256:" + "P" * 43,
        )  # fmt: skip
        self.agents.on_invalidated.append(self.approvals.cancel_for_agent)
        self.delegation.on_revoked.append(self.approvals.cancel_for_mandate)

    @classmethod
    def open(
        cls, setting: Setting, clock: Clock | None = None, parts: Parts = Parts(), **more: Any
    ) -> Node:
        """Come back to a database, as a server does at its start (without `audit.start`)."""
        clock = clock or Clock(START)
        database = Database.open(setting.url, clock=clock.now, **more)
        return cls(database, setting.signer, setting.svid_key, setting.token_key, clock, parts)

    async def decide(
        self, delegation: Delegation, number: int, once: str, approval: str | None = None
    ) -> int:
        """Record one permit; the index of its leaf. Raises Refused when it may not be."""
        return await self.database.write(
            partial(self.permit, delegation=delegation, number=number, once=once, approval=approval)
        )

    def permit(
        self, tx: Tx, delegation: Delegation, number: int, once: str, approval: str | None = None
    ) -> int:
        """The unit: the order of `Recorder.permit`."""
        self.delegation.consume(tx, delegation, proof=once)
        if approval is not None:
            self.approvals.consume(tx, approval, str(delegation.agent))
        return self.audit.append(tx, permitted(delegation, number, approval))

    async def close(self) -> None:
        await self.database.close()


def permitted(delegation: Delegation, number: int, approval: str | None = None) -> Event:
    """The leaf of a permit, as large as a real one."""
    facts: dict[str, Any] = {
        "agent": str(delegation.agent),
        "mandate": delegation.mandate.id, "grant": delegation.grant_id,
        "server": "crm", "tool": "read_query", "effect": "read", "decision": "permit",
        "manifest": delegation.manifest, "n": number,
        "epochs": {**delegation.epochs, "tool": {"crm/read_query": 1}},
    }  # fmt: skip
    if approval is not None:
        facts["approval_digest"] = approval
    private: dict[str, Any] = {"person": delegation.person_id, "arguments": {"n": number}}
    return Event(EventType.DECIDE, f"dec_{number}", facts, private)


async def prepare(
    url: str,
    folder: Path,
    *,
    agents: int = 1,
    approvals: int = 0,
    among: int | None = None,
    calls: int | None = MANY_CALLS,
    max_calls: int | None = None,
) -> Setting:
    """A database with an operator, and for each agent a mandate of ``calls`` and a token for it.

    The first ``among`` agents (all, if not given) have ``approvals`` in turn.
    """
    import_tables()
    folder.mkdir(parents=True, exist_ok=True)
    clock = Clock(START)
    database = Database.open(url, clock=clock.now)
    signer = NoteSigner.generate(ORIGIN)
    svid_key, token_key = SigningKey.generate(), SigningKey.generate()
    try:
        node = Node(database, signer, svid_key, token_key, clock)
        house = House(database, node.audit, node.people, node.approvals, clock.now)
        person, passkey = await house.operator("Ada")
        world = World(
            house, node.agents, node.delegation, [token_key], svid_key, clock, folder, person,
            SERVERS,
        )  # fmt: skip
        made = [await _delegated(world, n, calls, max_calls) for n in range(agents)]
        delegations = tuple(delegation for delegation, _ in made)
        setting = Setting(
            url, signer, svid_key, token_key, person, passkey, delegations,
            tuple(token for _, token in made), (),
        )  # fmt: skip
        digests = [
            await _approved(node, setting, setting.delegations[n % (among or agents)], n)
            for n in range(approvals)
        ]
        await node.audit.checkpoint()
    finally:
        await database.close()
    return replace(setting, approved=tuple(digests), folder=str(folder))


async def _delegated(
    world: World, n: int, calls: int | None, max_calls: int | None
) -> tuple[Delegation, str]:
    holder = await world.agent(f"agent-{n}")
    grant: dict[str, Any] = {"server": "crm", "tools": ["read_query"], "effects": ["read"]}
    if max_calls is not None:
        grant["max_calls"] = max_calls
    budget = {} if calls is None else {"calls": calls}
    mandate = await world.mandate(holder.agent.name, grants=[grant], budget=budget)
    issued = await world.exchange(holder, await world.subject(mandate))
    proved = await world.authenticate(holder, issued.access_token)
    return proved.delegation, issued.access_token


def sign(setting: Setting, options: Any) -> dict[str, Any]:
    """The person's passkey, which does not count (WebAuthn §6.1.1: many do not)."""
    setting.passkey.count = -1
    return setting.passkey.get(options)


async def _approved(node: Node, setting: Setting, delegation: Delegation, n: int) -> str:
    """Ask about one exact call and have the person say yes with their passkey."""
    call = exact_call(
        setting.person.id, {"n": n}, agent=str(delegation.agent), mandate_id=delegation.mandate.id,
        chain=(str(delegation.agent),),
    )  # fmt: skip
    asked = await node.approvals.request(call, decision_trace=f"dec_ask{n}", reasons=["rig"])
    options = await node.approvals.options(setting.person, asked.id)
    assertion = sign(setting, options)
    await node.approvals.answer(setting.person, asked.id, Answer.APPROVE, assertion)
    return call.digest


# -- the checker -------------------------------------------------------------------------------


def entries(tx: Tx) -> list[LogEntry]:
    """Every leaf, decoded from its bytes."""
    size = log_rows.head(tx).size
    return [LogEntry.decode(found.leaf) for found in log_rows.stored(tx, 0, size)]


async def examine(
    node: Node, setting: Setting, acknowledged: dict[int, int], tally: Tally, retained: str | None
) -> Sequence[LogEntry]:
    """Compare what clients were told with what is there, and have the log verify itself.

    ``acknowledged`` maps the number of a permit to the leaf index that its client was given.
    """
    found = await node.database.read(entries)
    numbers = [entry.facts["n"] if entry.type == "decide" else None for entry in found]
    for number, index in acknowledged.items():
        if index >= len(found) or numbers[index] != number:
            tally.lost += 1
    permits = [entry for entry in found if entry.type == "decide"]
    tally.double_spent += _twice(entry.facts["n"] for entry in permits)
    tally.double_spent += _twice(
        entry.facts["approval_digest"] for entry in permits if "approval_digest" in entry.facts
    )
    await _counters(node, setting, permits, tally)
    try:
        await node.audit.start(retained)
        report = await node.audit.verify()
        tally.problems += report.problems
        if report.size != len(found):
            tally.problems.append(f"verified {report.size} of {len(found)} leaves")
    except (Refused, ValueError) as cause:
        tally.problems.append(f"the log does not verify: {cause}")
    return found


async def _counters(
    node: Node, setting: Setting, permits: Sequence[LogEntry], tally: Tally
) -> None:
    """A budget counts exactly the permits in the log: they are one transaction."""
    recorded = Counter(entry.facts["mandate"] for entry in permits)
    for delegation in setting.delegations:
        mandate = await node.delegation.mandate(delegation.mandate.id)
        used = mandate.calls_used
        if used != recorded[mandate.id]:
            tally.problems.append(
                f"mandate counts {used} calls, the log has {recorded[mandate.id]} permits"
            )


def frontier(tx: Tx) -> Frontier:
    """The tree head."""
    return log_rows.head(tx)


def _twice(values: Any) -> int:
    return sum(count - 1 for count in Counter(values).values() if count > 1)
