"""No permit after its revocation: proved from the log alone, and every forgery named."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Clock
from tests.fakes.audit_log import AGENT, SIGNER, export, open_log

from actfor.audit import AuditLog, Event, EventType, Revocable
from actfor.errors import Refused
from actfor.sdk import standalone
from actfor.sdk.receipt import verify_export
from actfor.store import Database, new_id
from actfor.wire.canonical import JsonValue

KEY = str(SIGNER.verifier)
MANDATE, GRANT, APPROVAL = new_id("mdt"), new_id("gr"), new_id("apr")
ANN = "sub_ann"
THINGS = {
    Revocable.AGENT: AGENT,
    Revocable.PERSON: ANN,
    Revocable.MANDATE: MANDATE,
    Revocable.GRANT: GRANT,
    Revocable.TOOL: "crm/write_query",
    Revocable.APPROVAL: APPROVAL,
    Revocable.KEY: "kid-1",
}


@pytest.fixture
def log(database: Database, clock: Clock) -> AuditLog:
    return open_log(database, clock)


def permit(kind: EventType = EventType.DECIDE, **epochs: int) -> Event:
    """A permit under epoch 1 of everything, but for those given."""
    facts: dict[str, JsonValue] = {
        "agent": AGENT,
        "mandate": MANDATE,
        "grant": GRANT,
        "approval": APPROVAL,
        "server": "crm",
        "tool": "write_query",
        "decision": "permit",
        "epochs": {kind.value: {id_: epochs.get(kind.value, 1)} for kind, id_ in THINGS.items()},
    }
    return Event(kind, new_id("dec"), facts)


def revoke(kind: Revocable, epoch: int = 2) -> Event:
    return Event.revoked(kind, THINGS[kind], epoch, trace=new_id("evt"), facts={"action": "x"})


def write(database: Database, log: AuditLog, *events: Event) -> None:
    for event in events:
        database.write_sync(lambda tx, event=event: log.append(tx, event))


async def found(log: AuditLog, folder: Path) -> tuple[tuple[str, ...], str]:
    """What the server finds, and what an auditor finds in the exported folder."""
    await export(log, folder)
    said = ""
    try:
        verify_export(folder, KEY)
    except Refused as refused:
        said = refused.detail
    problems = (await log.verify()).problems
    # The stand-alone file, which shares no code, comes to the same.
    try:
        standalone.verify_folder(folder, standalone.Policy(KEY), None)
        alone = ""
    except (standalone.Wrong, TypeError, AttributeError) as wrong:
        alone = str(wrong)
    assert bool(alone) == bool(said) or "person" in said
    return problems, said


@pytest.mark.parametrize("kind", list(THINGS))
@pytest.mark.parametrize("event", [EventType.DECIDE, EventType.DELEGATE])
async def test_a_permit_after_the_revocation_of_anything_it_rests_on_is_named(
    database: Database, log: AuditLog, tmp_path: Path, kind: Revocable, event: EventType
) -> None:
    write(database, log, permit(), permit(event), revoke(kind), permit(event))
    problems, said = await found(log, tmp_path / "log")
    assert problems == (
        f"entry 3 permits under {kind.value} `{THINGS[kind]}` of epoch 1, which entry 2 revoked",
    )
    assert said == problems[0]


@pytest.mark.parametrize("kind", list(THINGS))
async def test_a_permit_under_the_new_epoch_is_in_order(
    database: Database, log: AuditLog, tmp_path: Path, kind: Revocable
) -> None:
    write(database, log, permit(), revoke(kind), permit(**{kind.value: 2}))
    assert await found(log, tmp_path / "log") == ((), "")
    report = await log.verify()
    assert (report.permits, report.revoked) == (2, 1)


async def test_a_second_revocation_does_not_lower_the_first(
    database: Database, log: AuditLog, tmp_path: Path
) -> None:
    write(database, log, revoke(Revocable.MANDATE, 5), revoke(Revocable.MANDATE, 2))
    write(database, log, permit(mandate=4), permit(mandate=5))
    problems, _ = await found(log, tmp_path / "log")
    assert len(problems) == 1
    assert problems[0].startswith("entry 2 ")


async def test_denials_and_questions_may_follow(
    database: Database, log: AuditLog, tmp_path: Path
) -> None:
    write(database, log, revoke(Revocable.AGENT))
    for decision in ("deny", "step-up"):
        event = permit()
        write(database, log, Event(event.type, event.trace, {**event.facts, "decision": decision}))
    write(database, log, Event(EventType.DELEGATE, "gr_x", {"agent": AGENT, "decision": "deny"}))
    assert await found(log, tmp_path / "log") == ((), "")


Forge = Callable[[dict[str, JsonValue]], object]


@pytest.mark.parametrize(
    ("forge", "says"),
    [
        (lambda facts: facts.pop("epochs"), "without saying under which epochs"),
        (lambda facts: facts["epochs"].pop("agent"), "without saying its epoch"),
        (lambda facts: facts["epochs"].pop("mandate"), "without saying its epoch"),
        (lambda facts: facts["epochs"].pop("grant"), "without saying its epoch"),
        (lambda facts: facts["epochs"].pop("tool"), "without saying its epoch"),
        (lambda facts: facts["epochs"].pop("approval"), "without saying its epoch"),
        (lambda facts: facts["epochs"].pop("person"), "without saying their epoch"),
        (lambda facts: facts["epochs"].update(agent={"spiffe://other": 9}), "its epoch"),
        (lambda facts: facts["epochs"].update(agent={AGENT: "2"}), "which entry 0 revoked"),
        (lambda facts: facts["epochs"].update(agent={AGENT: None}), "which entry 0 revoked"),
        (lambda facts: facts["epochs"].update(agent=2), "without saying its epoch"),
    ],
)
async def test_a_forged_permit_cannot_hide_what_it_rests_on(
    database: Database, log: AuditLog, tmp_path: Path, forge: Forge, says: str
) -> None:
    facts = dict(permit().facts)
    forge(facts)
    write(database, log, revoke(Revocable.AGENT), Event(EventType.DECIDE, "dec_x", facts))
    problems, said = await found(log, tmp_path / "log")
    assert any("entry 1 " in one and says in one for one in problems)
    assert says in said


async def test_a_permit_in_a_chain_rests_on_every_agent_in_it(
    database: Database, log: AuditLog, tmp_path: Path
) -> None:
    above = AGENT.rpartition("/")[0] + "/sent-first"
    event = permit()
    chain: list[JsonValue] = [f"{AGENT}/i/1", f"{above}/i/2"]
    whole: JsonValue = {**event.facts["epochs"], "agent": {AGENT: 1, above: 1}}  # type: ignore[dict-item] # a map, made above
    write(
        database,
        log,
        Event(event.type, event.trace, {**event.facts, "chain": chain, "epochs": whole}),
    )
    assert await found(log, tmp_path / "whole") == ((), "")
    write(database, log, Event(event.type, event.trace, {**event.facts, "chain": chain}))
    problems, said = await found(log, tmp_path / "log")
    assert problems == (f"entry 1 permits under agent `{above}` without saying its epoch",)
    assert said == problems[0]


async def test_all_of_many_are_counted_and_the_first_are_named(
    database: Database, log: AuditLog, tmp_path: Path
) -> None:
    write(database, log, revoke(Revocable.AGENT), *(permit() for _ in range(30)))
    _, said = await found(log, tmp_path / "log")
    assert "entry 1 permits" in said
    assert said.endswith("and 10 more")
