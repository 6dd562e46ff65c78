"""A policy store that somebody broke or changed: nothing is permitted, and it is said."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Clock
from tests.unit.test_authorization_service import CALL, evaluation

from actfor.audit import AuditLog, NoteSigner
from actfor.authorization import AuthorizationService, PolicyChanges, to_request
from actfor.authorization.model import Effect, ToolEffect
from actfor.authorization.model.policyset import version_of
from actfor.authorization.policies import default_source, schema_source
from actfor.store import Database

ORIGIN = "example.org/log"
OPEN = '@id("open")@reason("r")@uncapped("an attacker") permit (principal, action, resource);'
STRICT = default_source() + '@id("none")@reason("r") forbid (principal, action, resource);'


@pytest.fixture
def audit(database: Database, clock: Clock) -> AuditLog:
    return AuditLog(database, NoteSigner.generate(ORIGIN), ORIGIN, clock.now)


@pytest.fixture
async def started(
    database: Database, audit: AuditLog, clock: Clock
) -> Callable[[], AuthorizationService]:
    """A service as it is after a restart; before it, two versions were published."""
    service = AuthorizationService(database, audit, clock.now)
    await service.ensure_default()
    await service.publish("usr_1", STRICT)
    return lambda: AuthorizationService(database, audit, clock.now)


def tamper(folder: Path, statement: str, *values: str) -> None:
    """What somebody does who can write the database file."""
    with sqlite3.connect(folder / "actfor.db") as raw:
        assert raw.execute(statement, values).rowcount > 0


FAULTS = {
    "garbled": ("UPDATE policy_publication SET source = ? WHERE seq = 2", "\x00 permit ((("),
    "emptied": ("UPDATE policy_publication SET source = ? WHERE seq = 2", ""),
    "opened": ("UPDATE policy_publication SET source = ? WHERE seq = 2", OPEN),
    "opened, with its version": (
        "UPDATE policy_publication SET source = ?, version = ? WHERE seq = 2",
        OPEN,
        version_of(OPEN, schema_source()),
    ),
    "opened by a row nobody published": (
        "INSERT INTO policy_publication VALUES (99, ?, ?, ?, 'usr_1', 'published', 1, NULL, NULL)",
        version_of(OPEN, schema_source()),
        OPEN,
        schema_source(),
    ),
    "turned back by taking the last row away": ("DELETE FROM policy_publication WHERE seq = 2",),
    "read by another schema": (
        "UPDATE policy_publication SET schema = ? WHERE seq = 2",
        "entity X;",
    ),
}


@pytest.mark.sqlite
@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_permitted_from_a_store_that_was(
    started: Callable[[], AuthorizationService], tmp_path: Path, fault: str
) -> None:
    statement, *values = FAULTS[fault]
    tamper(tmp_path, statement, *values)
    service = started()
    await service.load()
    assert not service.ready
    assert service.fault is not None
    for effect in ToolEffect:
        for approved in (False, True):
            asked = to_request(CALL._replace(effect=effect, approved=approved))
            assert service.decide(asked).effect is Effect.DENY
    assert (await service.evaluate("crm", evaluation())).decision.effect is Effect.DENY


async def test_an_administrator_repairs_it_by_rolling_back(
    started: Callable[[], AuthorizationService],
    tmp_path: Path,
    database: Database,
    audit: AuditLog,
    clock: Clock,
) -> None:
    statement, *values = FAULTS["opened"]
    tamper(tmp_path, statement, *values)
    service = started()
    await service.load()
    await PolicyChanges(service, database, audit, clock.now, four_eyes=False).roll_back("usr_1")
    assert service.ready
    assert service.fault is None
    again = started()
    await again.load()
    assert again.ready


async def test_the_intended_text_may_be_published_again(
    started: Callable[[], AuthorizationService], tmp_path: Path
) -> None:
    statement, *values = FAULTS["garbled"]
    tamper(tmp_path, statement, *values)
    service = started()
    await service.load()
    made = await service.publish("usr_1", STRICT)
    assert made.seq == 3
    assert service.ready


async def test_what_another_node_published_is_taken_up(
    started: Callable[[], AuthorizationService],
) -> None:
    here, there = started(), started()
    await here.load()
    await there.load()
    made = await there.publish("usr_1", default_source() + "// another\n")
    assert here.decide(to_request(CALL)).version != made.version
    answer = await here.evaluate("crm", evaluation())
    assert answer.decision.version == made.version
    assert here.decide(to_request(CALL)).version == made.version
