"""The one place where the rooms meet: every service is built here, by plain arguments.

Read it top to bottom: what is built later may use what was built before, never the reverse.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from starlette.types import ASGIApp

from actfor.approval import ApprovalService
from actfor.approval.endorsing import endorsing
from actfor.audit import AuditLog, Revocable, Witnessing
from actfor.audit.export import Exporter
from actfor.audit.witnesses import witnesses_of
from actfor.authorization import (
    AuthorizationService,
    Options,
    Pages,
    Pdp,
    PolicyChanges,
    Population,
    Rehearsal,
    Trials,
)
from actfor.authorization.domains import load as load_domain
from actfor.delegation import DelegationService
from actfor.errors import Kind, Refused
from actfor.gateway import Catalog, Enforcer, ModelProposer, Proposals
from actfor.gateway import Settings as GatewaySettings
from actfor.gateway.access_requests import AccessRequests, Issuer
from actfor.gateway.foreign import ForeignCalls, Parts
from actfor.gateway.mapped import MappedCalls
from actfor.identity import AgentService, AttestationSocket, LocalProcessAttestor, PeopleService
from actfor.keys import KeyService, Purpose, Vault
from actfor.server import personal
from actfor.server.app import asgi
from actfor.server.erasure import LEDGER, Erasure
from actfor.server.following import follow_others
from actfor.server.keyring import open_keys, open_vault, recorder
from actfor.server.settings import Settings
from actfor.server.telemetry import Metrics
from actfor.store import BALLAST_BYTES, Database
from actfor.wire import jose
from actfor.wire.tlog_policy import Policy

Loop = Callable[[], Coroutine[None, None, None]]
log = structlog.get_logger("actfor.server")
RETAINED = "checkpoint"
"""File in the data folder with the last checkpoint: shows when the database was rolled back."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that was built, for the edge to serve and for tests to ask."""

    settings: Settings
    erasure: Erasure
    keys: KeyService
    vault: Vault
    database: Database
    audit: AuditLog
    witnessing: Witnessing
    exporter: Exporter
    authorization: AuthorizationService
    pdp: Pdp
    access_requests: AccessRequests
    policy_changes: PolicyChanges
    rehearsal: Rehearsal
    trials: Trials
    people: PeopleService
    agents: AgentService
    attestation: AttestationSocket
    delegation: DelegationService
    approvals: ApprovalService
    catalog: Catalog
    proposals: Proposals
    enforcer: Enforcer
    gateway: GatewaySettings
    metrics: Metrics
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Application:
    """A server that is ready to listen. Close it: queued records are made durable then."""

    services: Services
    asgi: ASGIApp
    loops: Mapping[str, Loop]

    async def setup_link(self) -> str | None:
        """A fresh one-time link while there is no operator."""
        people = self.services.people
        if await people.has_operator():
            return None
        return f"{self.services.settings.public_url}/setup?t={await people.create_setup_link()}"

    async def check_startable(self) -> None:
        """Refuse what must not serve.

        Raises:
            Refused: there is no policy in force.
        """
        authorization = self.services.authorization
        # Stored policies that are not as they were published deny everything, and are said by
        # `readyz`; the server starts, so that an administrator can roll back.
        if not authorization.ready and authorization.fault is None:
            raise Refused(
                Kind.CONFLICT,
                "no policy is published, so everything would be denied: run `actfor init`"
                f" --data {self.services.settings.data}",
            )

    async def close(self) -> None:
        """End connections, sign the last checkpoint, keep it, close the database."""
        try:
            await self.services.audit.checkpoint()
        except Refused as refused:
            log.warning("the last checkpoint was not signed", reason=refused.detail)
        await self.release()

    async def release(self) -> None:
        """End connections, close the database; sign nothing."""
        services = self.services
        await services.attestation.close()
        await services.catalog.close()
        await services.witnessing.close()
        await services.database.close()


async def build(
    settings: Settings,
    *,
    with_default_policies: bool,
    guarded: bool = True,
    restoring: bool = False,
) -> Application:
    """Open the data folder and wire the services.

    ``guarded=False`` leaves out the comparison of the log with what was signed before: only
    ``recovery`` may, and what is built so must never serve. ``restoring``: the database was filled
    from a backup and is closed to everybody else.

    Raises:
        Refused: a key file, the database, the log or the policies are not as they must be.
    """
    clock = utc
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    origin = settings.domain + "/log"
    vault = open_vault(settings)
    database = Database.open(
        settings.database_url, clock=clock, unfinished=restoring, reserve=BALLAST_BYTES
    )
    try:
        services = await _services(
            settings,
            vault,
            database,
            origin,
            clock,
            with_default_policies=with_default_policies,
            guarded=guarded,
        )
    except BaseException:
        await database.close()
        raise
    return Application(services, asgi(services), _loops(services))


def open_log(
    settings: Settings,
    database: Database,
    keys: KeyService,
    vault: Vault,
    clock: Callable[[], datetime],
) -> AuditLog:
    """The log under its key's name, as the settings want it signed, cosigned and retained."""
    signer = keys.log_signer()
    return AuditLog(
        database,
        signer,
        signer.verifier.name,
        clock,
        vault,
        cosigner=keys.log_cosigner() if settings.log_post_quantum else None,
        policy=_witness_policy(settings),
        retain=lambda note: _retain(settings.data, note),
        retention=timedelta(days=settings.log_retention_days),
    )


def open_witnessing(settings: Settings, database: Database, audit: AuditLog) -> Witnessing:
    """The way to the witnesses of the log's policy."""
    return Witnessing(
        database,
        audit.policy,
        witnesses_of(audit.policy),
        audit.consistency,
        settings.witness_seconds,
    )


async def _services(
    settings: Settings,
    vault: Vault,
    database: Database,
    origin: str,
    clock: Callable[[], datetime],
    *,
    with_default_policies: bool,
    guarded: bool,
) -> Services:
    keys = await open_keys(settings, database, vault, clock, log_name=origin)
    audit = open_log(settings, database, keys, vault, clock)
    witnessing = open_witnessing(settings, database, audit)
    if guarded:
        # Whoever puts an older copy of the database in place finds that somebody else remembers.
        await audit.start(retained(settings.data))
        try:
            await witnessing.compare()
        finally:
            await witnessing.close()
    await keys.start(recorder(audit))
    exporter = Exporter(
        database,
        audit,
        [export.destination() for export in settings.export],
        node=f"{socket.gethostname()}-{os.getpid()}",
    )

    domains = tuple(load_domain(name, settings.data) for name in settings.authzen_domains)
    authorization = AuthorizationService(database, audit, clock)
    await authorization.load()
    if with_default_policies:
        await authorization.ensure_default()
    policy_changes = PolicyChanges(
        authorization, database, audit, clock, four_eyes=settings.policy_four_eyes
    )
    if not settings.authzen_record:
        log.warning("answers to foreign enforcement points are NOT RECORDED: authzen_record is off")
    metrics = Metrics()
    trials = Trials(
        authorization,
        database,
        audit,
        clock,
        four_eyes=settings.policy_four_eyes,
        on_judged=metrics.trial,
    )
    await trials.load()

    people = PeopleService(database, audit, settings.rp_id, _origins(settings), clock)
    agents = AgentService(
        database,
        audit,
        settings.domain,
        settings.public_url,
        keys.signers(Purpose.SVID)[0],
        [LocalProcessAttestor()],
        clock,
        check_key=keys.check,
    )
    attestation = AttestationSocket(agents, settings.data.resolve() / "attest.sock")
    agents.after_invalidated.append(attestation.notify)

    catalog = Catalog(database, audit, clock, logs=settings.data / "logs")
    secret = settings.seal_secret.get_secret_value().encode() if settings.seal_secret else None
    gateway = GatewaySettings(
        audience=f"{settings.public_url}/mcp",
        key=secret or keys.secrets(Purpose.SEAL)[0],
        rotating=None if secret else lambda: keys.secrets(Purpose.SEAL),
        hold_seconds=settings.hold_seconds,
    )
    delegation = DelegationService(
        database,
        audit,
        people,
        agents,
        keys=keys.signers(Purpose.ACCESS_TOKEN),
        check_key=keys.check,
        issuer=settings.public_url,
        trust_domain=settings.domain,
        clock=clock,
        audiences=lambda: {gateway.url(server.name): server.name for server in catalog.servers()},
        policy_version=lambda: _version(authorization),
    )
    approvals = ApprovalService(
        database,
        audit,
        people,
        settings.public_url,
        clock,
        lifetime=timedelta(seconds=settings.approval_seconds),
    )

    def use_keys() -> None:
        agents.use_svid_keys(keys.signers(Purpose.SVID))
        delegation.use_keys(keys.signers(Purpose.ACCESS_TOKEN))

    use_keys()
    keys.on_change.append(use_keys)
    agents.on_invalidated.append(approvals.cancel_for_agent)
    delegation.on_revoked.append(approvals.cancel_for_mandate)
    approvals.on_endorsed.append(endorsing(delegation))
    mapped = MappedCalls(domains)
    enforcer = Enforcer(
        database=database,
        audit=audit,
        agents=agents,
        authorization=authorization,
        delegation=delegation,
        approvals=approvals,
        catalog=catalog,
        settings=gateway,
        clock=clock,
        mapped=mapped,
    )
    foreign = ForeignCalls(
        Parts(
            agents,
            delegation,
            catalog,
            approvals,
            clock,
            enforcer.memory.tool,
            gateway.url,
            mapped,
            frozenset(settings.authzen_provenance),
        )
    )
    await catalog.start()
    await attestation.start()
    follow_others(
        database.feed,
        authorization=authorization,
        catalog=catalog,
        approvals=approvals,
        agents=agents,
        enforcer=enforcer,
        reload_keys=keys.reload,
    )
    erasure = Erasure(
        database=database,
        audit=audit,
        vault=vault,
        people=people,
        delegation=delegation,
        approvals=approvals,
        ledger=settings.data / LEDGER,
    )
    if guarded:
        if await database.read(erasure.cut_out):
            await database.write(erasure.cut_again)
        if await personal.seal_old(database, audit.texts, delegation):
            await erasure.compact()
    await erasure.keep_ledger()
    database.feed.on(Revocable.PERSON, lambda _: erasure.keep_ledger())
    return Services(
        erasure=erasure,
        settings=settings,
        keys=keys,
        vault=vault,
        database=database,
        audit=audit,
        witnessing=witnessing,
        exporter=exporter,
        authorization=authorization,
        access_requests=AccessRequests(
            foreign,
            authorization,
            approvals,
            audit,
            database,
            Issuer(
                settings.public_url.rstrip("/"),
                lambda: jose.key_map(key.public for key in keys.signers(Purpose.ACCESS_TOKEN)),
            ),
            clock,
        ),
        pdp=Pdp(
            authorization,
            database,
            audit,
            Pages(lambda: [secret] if secret else keys.secrets(Purpose.SEAL), clock),
            Options(
                domains=domains,
                populations=_populations(agents, catalog),
                record=settings.authzen_record,
                look=foreign,
            ),
        ),
        policy_changes=policy_changes,
        rehearsal=Rehearsal(authorization, audit, clock),
        trials=trials,
        people=people,
        agents=agents,
        attestation=attestation,
        delegation=delegation,
        approvals=approvals,
        catalog=catalog,
        proposals=Proposals(catalog, _proposer(settings)),
        enforcer=enforcer,
        gateway=gateway,
        metrics=metrics,
        clock=clock,
    )


def _loops(services: Services) -> dict[str, Loop]:
    return {
        "changes": services.database.feed.run,
        "keys": services.keys.run,
        "retention": lambda: services.audit.retain(_payloads_for(services.settings)),
        "checkpoints": services.audit.run,
        "witnesses": services.witnessing.run,
        "agents": services.agents.watch,
        "approvals": services.approvals.run,
        "proofs": services.delegation.run,
        "upstreams": services.catalog.run,
        "exports": services.exporter.run,
    }


def _populations(agents: AgentService, catalog: Catalog) -> dict[str, Population]:
    """What AuthZEN's searches look through."""

    async def registered() -> list[str]:
        return [str(agent.id) for agent in await agents.list()]

    async def tools() -> list[str]:
        return [f"{server.name}/{tool}" for server in catalog.servers() for tool in server.tools]

    return {"agent": registered, "tool": tools}


def _proposer(settings: Settings) -> ModelProposer | None:
    """The language model that may propose mandates, if an operator named one."""
    if not settings.proposer_url:
        return None
    try:
        return ModelProposer(
            settings.proposer_url, settings.proposer_model, settings.proposer_token_file
        )
    except ValueError as cause:
        raise Refused(Kind.MALFORMED, f"proposer_url: {cause}") from cause


def _payloads_for(settings: Settings) -> timedelta | None:
    return timedelta(days=settings.payload_days) if settings.payload_days else None


def _origins(settings: Settings) -> tuple[str, ...]:
    return (settings.public_url,)


def _version(authorization: AuthorizationService) -> str:
    policies = authorization.snapshot
    return "" if policies is None else policies.version


def retained(data: Path) -> str | None:
    """The checkpoint kept outside the database, if there is one."""
    file = data / RETAINED
    return file.read_text() if file.exists() else None


def _retain(data: Path, note: str) -> None:
    """Keep the newest checkpoint outside the database, on the disk before it is answered."""
    temporary = data / f".{RETAINED}"
    with temporary.open("w") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(data / RETAINED)


def _witness_policy(settings: Settings) -> Policy | None:
    if settings.witness_policy is None:
        return None
    path = settings.data / settings.witness_policy  # an absolute path stays as it is
    try:
        return Policy.parse(path.read_text())
    except (OSError, UnicodeDecodeError) as cause:
        raise Refused(
            Kind.MALFORMED, f"setting `witness_policy`: `{path}` cannot be read"
        ) from cause
    except Refused as refused:
        raise Refused(Kind.MALFORMED, f"setting `witness_policy`: {refused.detail}") from refused


def utc() -> datetime:
    """The time now."""
    return datetime.now(UTC)
