"""Changing policies: compared, proposed, approved by another, taken back."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.unit.test_policy_index import SCHEMA, conditions, contexts, principals, resources

from actfor.audit import AuditLog, LoggedEvent, NoteSigner
from actfor.authorization import AuthorizationService, PolicyChanges, compile_policies
from actfor.authorization.model import Effect, Request
from actfor.authorization.model.caps import problems
from actfor.authorization.model.diff import Direction, Kind, difference
from actfor.authorization.model.publication import Proposal, Publication
from actfor.authorization.policies import default_source
from actfor.errors import Kind as Refusal
from actfor.errors import Refused
from actfor.store import Database

ORIGIN = "example.org/log"
CAPS = "context.in_mandate && context.within_caps"
READS = f'@id("reads")@reason("r") permit (principal, action == Action::"read", resource) when {{ {CAPS} }};'
STRICTER = READS.replace(CAPS, f"{CAPS} && context.sender_constrained")
FORBIDS = (
    '\n@id("no")@reason("r") forbid (principal, action, resource) unless { context.tool_pinned };'
)


@pytest.fixture
def audit(database: Database, clock: Clock) -> AuditLog:
    return AuditLog(database, NoteSigner.generate(ORIGIN), ORIGIN, clock.now)


@pytest.fixture
async def service(database: Database, audit: AuditLog, clock: Clock) -> AuthorizationService:
    made = AuthorizationService(database, audit, clock.now)
    await made.ensure_default()
    return made


@pytest.fixture
def one(
    service: AuthorizationService, database: Database, audit: AuditLog, clock: Clock
) -> PolicyChanges:
    """One administrator's word is enough."""
    return PolicyChanges(service, database, audit, clock.now, four_eyes=False)


@pytest.fixture
def two(
    service: AuthorizationService, database: Database, audit: AuditLog, clock: Clock
) -> PolicyChanges:
    """Two administrators are needed."""
    return PolicyChanges(service, database, audit, clock.now, four_eyes=True)


async def logged(audit: AuditLog) -> list[LoggedEvent]:
    return list(reversed(await audit.search(limit=100)))


# -- the caps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "when { context.approved }",
        "when { context.in_mandate }",
        "when { context.within_caps }",
        "when { context.approved || (context.in_mandate && context.within_caps) }",
        "unless { context.in_mandate && context.within_caps }",
        "when { !context.in_mandate && context.within_caps }",
        "when { if context.approved then context.in_mandate && context.within_caps else false }",
        'when { context.tier == "low" } unless { context.within_caps || !context.in_mandate }',
    ],
)
async def test_a_permit_that_does_not_repeat_the_caps_is_not_published(
    one: PolicyChanges, service: AuthorizationService, condition: str
) -> None:
    text = f'@id("x")@reason("r") permit (principal, action, resource) {condition};'
    with pytest.raises(
        Refused, match=r"line 1: policy `x`: a permit must repeat the caps"
    ) as refused:
        await one.publish("usr_1", text)
    assert refused.value.kind is Refusal.MALFORMED
    assert [str(problem) for problem in await service.check(text)] == [refused.value.detail]
    lifted = text.replace("@reason", '@uncapped("the till counts itself")@reason')
    assert isinstance(await one.publish("usr_1", lifted), Publication)
    with pytest.raises(Refused, match="repeat the caps"):
        await one.publish("usr_1", lifted.replace("the till counts itself", " "))


async def test_a_set_that_permits_nothing_is_not_published(
    one: PolicyChanges, service: AuthorizationService
) -> None:
    before = service.snapshot
    text = '@id("x")@reason("r") forbid (principal, action, resource) when { !context.in_mandate };'
    with pytest.raises(Refused, match="no policy permits anything") as refused:
        await one.publish("usr_1", text)
    assert refused.value.kind is Refusal.MALFORMED
    assert [str(problem) for problem in await service.check(text)] == [refused.value.detail]
    assert service.snapshot is before


@pytest.mark.parametrize(
    "condition",
    [
        f"when {{ {CAPS} }}",
        "when { context.within_caps } when { context.in_mandate }",
        "unless { !context.within_caps || !context.in_mandate }",
        'when { context.tier == "low" && (context.approved && context.in_mandate) && context.within_caps }',
    ],
)
def test_caps_are_found_wherever_they_are_demanded(condition: str) -> None:
    text = f'@id("x")@reason("r") permit (principal, action, resource) {condition};'
    assert not list(problems(compile_policies(text).policies))


capped = st.builds(
    lambda effect, who, on, before, after: (
        f"{effect} ({who}, action, {on}) {before} "
        + (f"when {{ {CAPS} }} " if effect == "permit" else "")
        + f"{after};"
    ),
    st.sampled_from(["permit", "permit", "forbid"]),
    principals,
    resources,
    conditions,
    conditions,
)
capped_sets = st.lists(capped, min_size=1, max_size=6).map(
    lambda texts: "\n".join(f'@id("p{i}")@reason("r{i}")\n{text}' for i, text in enumerate(texts))
)


@settings(max_examples=200, deadline=None)
@given(capped_sets, contexts, st.sampled_from(["within_caps", "in_mandate"]), st.booleans())
def test_whatever_is_publishable_never_permits_over_budget_even_when_approved(
    source: str, context: dict[str, bool | int | str], cap: str, approved: bool
) -> None:
    policies = compile_policies(source)
    assert not list(problems(policies.policies))
    over = {**context, cap: False, "approved": approved}
    for action in sorted(SCHEMA.actions):
        for tool in ("git/log", "bank/pay"):
            asked = Request("spiffe://a/agent/one", action, tool, over)
            assert policies.decide(asked).effect is Effect.DENY


async def test_the_default_pack_repeats_the_caps(service: AuthorizationService) -> None:
    assert await service.check(default_source()) == ()


# -- comparing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "kind", "direction"),
    [
        (READS, READS + FORBIDS, Kind.ADDED, Direction.TIGHTER),
        (READS + FORBIDS, READS, Kind.REMOVED, Direction.LOOSER),
        (READS, STRICTER, Kind.CHANGED, Direction.TIGHTER),
        (STRICTER, READS, Kind.CHANGED, Direction.LOOSER),
        (READS, READS.replace('"read"', '"write"'), Kind.CHANGED, Direction.EITHER),
        (READS, READS.replace("permit", "forbid"), Kind.CHANGED, Direction.TIGHTER),
        (READS, READS.replace('("r")', '("because")'), Kind.REWORDED, Direction.NONE),
    ],
)
def test_a_change_is_told_policy_by_policy(
    before: str, after: str, kind: Kind, direction: Direction
) -> None:
    found = difference(compile_policies(before), compile_policies(after))
    (change,) = found.changes
    assert (change.kind, change.direction) == (kind, direction)
    assert found.unified.startswith("--- in force\n+++ candidate\n")


def test_remarks_spaces_and_order_change_no_policy() -> None:
    two = READS + FORBIDS
    swapped = "// other way round\n" + FORBIDS + "\n\n" + READS.replace(" when", "\n  when")
    assert difference(compile_policies(two), compile_policies(swapped)).changes == ()


# -- rolling back -----------------------------------------------------------------------------


async def test_one_command_rolls_back_to_the_version_before(
    one: PolicyChanges, service: AuthorizationService, audit: AuditLog
) -> None:
    await one.publish("usr_1", READS)
    made = await one.roll_back("usr_2", note="reads only was too little")
    assert isinstance(made, Publication)
    assert made.cause == "rolled back to 1"
    assert service.snapshot is not None
    assert service.snapshot.version == made.version == compile_policies().version
    last = (await logged(audit))[-1]
    assert last.facts["cause"] == "rolled back to 1"
    assert last.private == {"author": "usr_2", "note": "reads only was too little"}


async def test_a_version_is_named_by_number_or_by_its_beginning(one: PolicyChanges) -> None:
    first = await one.publish("usr_1", READS)
    second = await one.publish("usr_1", READS + FORBIDS)
    assert await one.version("#2") == first.version
    assert await one.version(second.version) == second.version
    assert await one.version(second.version.removeprefix("sha-256:")[:8]) == second.version
    for nonsense, says in (
        ("#9", "no policy version"),
        ("a", "6 characters"),
        ("zzzzzz", "no policy"),
    ):
        with pytest.raises(Refused, match=says):
            await one.version(nonsense)
    with pytest.raises(Refused, match="is in force"):
        await one.roll_back("usr_1", "#3")


async def test_there_is_nothing_before_the_first_version(one: PolicyChanges) -> None:
    with pytest.raises(Refused, match="no version before"):
        await one.roll_back("usr_1")


# -- two people -------------------------------------------------------------------------------


async def test_with_four_eyes_nothing_changes_until_another_administrator_agrees(
    two: PolicyChanges, service: AuthorizationService, audit: AuditLog
) -> None:
    before = service.snapshot
    made = await two.publish("usr_1", READS, note="less")
    assert isinstance(made, Proposal)
    assert service.snapshot is before
    with pytest.raises(Refused, match="cannot approve it as well") as refused:
        await two.approve("usr_1", made.id)
    assert refused.value.kind is Refusal.DENIED
    published = await two.approve("usr_2", made.id)
    assert service.snapshot is not None
    assert service.snapshot.version == published.version == made.version
    assert (published.author, published.approver) == ("usr_1", "usr_2")
    events = (await logged(audit))[1:]
    assert [event.facts.get("state") for event in events] == ["proposed", None]
    assert events[1].facts["proposal"] == made.id
    assert events[1].private == {"author": "usr_1", "approver": "usr_2", "note": "less"}
    assert "usr_" not in str([event.facts for event in events])


async def test_a_proposal_is_settled_once(two: PolicyChanges) -> None:
    made = await two.publish("usr_1", READS)
    assert isinstance(made, Proposal)
    closed = await two.reject("usr_2", made.id, reason="too little")
    assert closed.state == "rejected"
    for again in (two.approve("usr_3", made.id), two.reject("usr_1", made.id)):
        with pytest.raises(Refused, match="is rejected already"):
            await again
    other = await two.publish("usr_1", READS)
    assert isinstance(other, Proposal)
    assert (await two.reject("usr_1", other.id)).state == "withdrawn"


async def test_a_proposal_made_against_replaced_policies_cannot_be_approved(
    two: PolicyChanges,
) -> None:
    first = await two.publish("usr_1", READS)
    second = await two.publish("usr_1", READS + FORBIDS)
    assert isinstance(first, Proposal)
    assert isinstance(second, Proposal)
    await two.approve("usr_2", first.id)
    with pytest.raises(Refused, match="came into force meanwhile"):
        await two.approve("usr_2", second.id)
    seen = {one.id: one.state for one in await two.proposals()}
    assert seen == {first.id: "approved", second.id: "overtaken"}
    assert (await two.proposal(second.id))[0].state == "overtaken"
    assert (await two.reject("usr_1", second.id)).state == "withdrawn"


async def test_an_old_proposal_cannot_be_approved(two: PolicyChanges, clock: Clock) -> None:
    made = await two.publish("usr_1", READS)
    assert isinstance(made, Proposal)
    clock.advance(timedelta(days=7).total_seconds())
    with pytest.raises(Refused, match="older than 7 days"):
        await two.approve("usr_2", made.id)
    assert [one.state for one in await two.proposals()] == ["expired"]


async def test_rolling_back_takes_two_as_well(
    one: PolicyChanges, two: PolicyChanges, service: AuthorizationService
) -> None:
    await one.publish("usr_1", READS)
    made = await two.roll_back("usr_1")
    assert isinstance(made, Proposal)
    assert (await two.difference(made.id)).changes
    await two.approve("usr_2", made.id)
    assert service.snapshot is not None
    assert service.snapshot.version == compile_policies().version


@pytest.mark.parametrize("note", ["a\0b", "x" * 501])
async def test_a_note_that_no_database_stores_or_nobody_reads_is_refused(
    one: PolicyChanges, note: str
) -> None:
    with pytest.raises(Refused, match="the note") as refused:
        await one.publish("usr_1", READS, note=note)
    assert refused.value.kind is Refusal.MALFORMED


async def test_a_policy_text_with_a_nul_is_refused(one: PolicyChanges) -> None:
    with pytest.raises(Refused, match="NUL"):
        await one.publish("usr_1", READS + "// \0\n")
