"""Going on with a database that is not the one that was signed: `actfor recover`.

The server does not start on a database that is an older copy of itself, or a fork: what happened
since the copy was made is unknown, so anything that was revoked, spent or rotated since would be
alive again. Going on takes a person's word, and then everything ends that might be such a thing:

    keys         all dead, new ones made: no token or identity of before verifies
    people       epochs rise, sessions and links end; who they are and what they may is as copied
    agents       quarantined, epochs rise: an admin reinstates each
    mandates     revoked, approvals with them: people commit anew
    the log      goes on under another name and key: the first one signed more than this holds, and
                 must never sign a second history; its last checkpoint is in the RECOVER leaf

    the erased   who was erased since, by `erasure.key`, is erased again

One transaction, with a leaf for each thing taken. Whoever verified the log needs its new key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from actfor.errors import Kind, Refused
from actfor.server import personal, wiring
from actfor.server.settings import Settings
from actfor.server.telemetry import configure_logging
from actfor.server.wiring import Services
from actfor.store import Tx

_CAUSE = "the database was recovered from an older copy"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found, and what was taken."""

    cause: str
    log: str
    verifier_key: str
    people: int
    agents: int
    mandates: int


async def recover(settings: Settings) -> Recovered:
    """Acknowledge that this database is not the one that was signed, and make it safe to serve.

    Raises:
        Refused: CONFLICT where nothing is wrong, or where the database contradicts itself: that is
            no older copy but a changed one, and is not served whatever anybody acknowledges.
    """
    configure_logging("error")
    application = await wiring.build(settings, with_default_policies=False, guarded=False)
    try:
        return await _recover(application.services)
    finally:
        await application.release()


async def _recover(services: Services) -> Recovered:
    settings = services.settings
    # 1. Is there anything to recover from?
    kept = wiring.retained(settings.data)
    cause = await _mismatch(services, kept)
    if cause is None:
        raise Refused(Kind.CONFLICT, "the log is the one that was signed; nothing to recover from")
    # 2. Is the copy whole?
    report = await services.audit.verify()
    if not report.ok:
        raise Refused(
            Kind.CONFLICT,
            f"the database was changed, {report.problems[0]}: restore a copy that verifies",
        )

    def also(tx: Tx) -> None:
        services.erasure.cut_again(tx)

    done = await end_everything(services, cause, also, kept=kept)
    await personal.seal_old(services.database, services.audit.texts, services.delegation)
    await services.erasure.compact()
    await services.erasure.keep_ledger()
    return done


async def end_everything(
    services: Services,
    cause: str,
    also: Callable[[Tx], None] | None = None,
    *,
    kept: str | None = None,
) -> Recovered:
    """End all that might have ended since the copy was made, in one transaction; ``also`` is part
    of it. ``kept`` is the last checkpoint that is known of the log as it was.
    """
    settings, database = services.settings, services.database
    # 3. One transaction.
    at = services.clock()
    # More than any epoch can have risen since, however old the copy is.
    by = int(at.timestamp())
    name = f"{settings.domain}/log/{at:%Y%m%dT%H%M%SZ}"

    def unit(tx: Tx) -> tuple[int, int, int]:
        if also is not None:
            also(tx)
        people = services.people.take_back_all(tx, by)
        mandates = services.delegation.take_back_all(tx, _CAUSE)
        agents = services.agents.take_back_all(tx, by, _CAUSE)
        signer = services.keys.renew_all(tx, name, cause=_CAUSE)
        services.audit.renounce(tx, signer, cause, kept)
        return people, agents, mandates

    people, agents, mandates = await database.write(unit)
    # 4. The log goes on under its new name; what is retained is of that one from now on.
    log = wiring.open_log(settings, database, services.keys, services.vault, services.clock)
    await log.start()
    return Recovered(cause, name, log.verifier_key, people, agents, mandates)


async def _mismatch(services: Services, kept: str | None) -> str | None:
    try:
        await services.audit.check(kept)
        await services.witnessing.compare()
    except Refused as refused:
        if refused.kind is not Kind.CONFLICT:
            raise
        return refused.detail
    return None
