"""Publishing and answering, on a real database with a real log."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Clock

from actfor.audit import AuditLog, LoggedEvent, NoteSigner
from actfor.authorization import AuthorizationService, compile_policies, to_request
from actfor.authorization.model import CallFacts, Effect, Request, RequestSchema, ToolEffect
from actfor.authorization.policies import default_source
from actfor.errors import Kind, Refused
from actfor.store import Database, Tx
from actfor.wire.authzen import Evaluation, parse_evaluation
from actfor.wire.canonical import JsonValue

ORIGIN = "example.org/log"
EXTRA = '@id("extra")@reason("r")@uncapped("a test") permit (principal, action == Action::"egress", resource);\n'
CALL = CallFacts(
    agent="spiffe://example.org/agent/clerk",
    server="crm",
    tool="find",
    effect=ToolEffect.READ,
    in_mandate=True,
    requires_approval=False,
    tier="low",
    tool_pinned=True,
)


@pytest.fixture
def audit(database: Database, clock: Clock) -> AuditLog:
    return AuditLog(database, NoteSigner.generate(ORIGIN), ORIGIN, clock.now)


@pytest.fixture
def service(database: Database, audit: AuditLog, clock: Clock) -> AuthorizationService:
    return AuthorizationService(database, audit, clock.now)


def evaluation(action: str = "read", tool: str = "crm/find", **context: Any) -> Evaluation:
    # Any: what a caller might send.
    return parse_evaluation(
        {
            "subject": {"type": "agent", "id": CALL.agent},
            "action": {"name": action},
            "resource": {"type": "tool", "id": tool},
            "context": context,
        }
    )


async def logged(audit: AuditLog) -> list[LoggedEvent]:
    return list(reversed(await audit.search(limit=100)))


async def test_nothing_is_permitted_before_a_policy_set_is_in_force(
    service: AuthorizationService,
) -> None:
    await service.load()
    assert not service.ready
    assert service.decide(to_request(CALL)).effect is Effect.DENY
    assert service.decide(to_request(CALL)).reason == "no policy set is in force"
    answer = await service.evaluate("crm", evaluation())
    assert answer.decision.effect is Effect.DENY
    with pytest.raises(Refused, match="no policy set"):
        service.explain(to_request(CALL))


async def test_the_default_pack_is_published_once(
    service: AuthorizationService, audit: AuditLog
) -> None:
    await service.ensure_default()
    await service.ensure_default()
    assert service.ready
    assert service.decide(to_request(CALL)).effect is Effect.PERMIT
    assert [event.type for event in await logged(audit)] == ["policy"]
    assert (await service.history())[0].author == "system"


async def test_a_publication_is_in_force_and_in_the_log_when_publish_returns(
    service: AuthorizationService, audit: AuditLog, clock: Clock
) -> None:
    await service.ensure_default()
    egress = to_request(CALL._replace(effect=ToolEffect.EGRESS))
    assert service.decide(egress).effect is Effect.STEP_UP
    made = await service.publish("usr_1", default_source() + EXTRA)
    assert service.decide(egress).effect is Effect.PERMIT
    assert service.decide(egress).version == made.version
    assert made.published_at.timestamp() == pytest.approx(clock.now().timestamp(), abs=0.001)
    event = (await logged(audit))[-1]
    assert event.facts["policy_version"] == made.version
    assert event.facts["replaces"] == compile_policies().version
    assert event.private["author"] == "usr_1"
    assert "usr_1" not in str(event.facts)


async def test_the_last_publication_is_in_force_after_a_restart(
    service: AuthorizationService, database: Database, audit: AuditLog, clock: Clock
) -> None:
    await service.ensure_default()
    made = await service.publish("usr_1", EXTRA)
    again = AuthorizationService(database, audit, clock.now)
    assert again.decide(to_request(CALL)).effect is Effect.DENY
    await again.load()
    assert again.snapshot is not None
    assert again.snapshot.version == made.version
    await again.ensure_default()
    assert again.snapshot.version == made.version


@pytest.mark.parametrize("source", ["", "// nothing", "permit (principal, action, resource);", "x"])
async def test_a_refused_text_changes_nothing(
    service: AuthorizationService, audit: AuditLog, source: str
) -> None:
    await service.ensure_default()
    before = service.snapshot
    with pytest.raises(Refused) as refused:
        await service.publish("usr_1", source)
    assert refused.value.kind is Kind.MALFORMED
    assert service.snapshot is before
    assert len(await logged(audit)) == 1
    assert await service.check(source)


async def test_publishing_what_is_in_force_writes_nothing(
    service: AuthorizationService, audit: AuditLog
) -> None:
    first = await service.publish("usr_1", EXTRA)
    assert await service.publish("usr_2", EXTRA) == first
    assert len(await logged(audit)) == 1


async def test_rolling_back_is_publishing_an_earlier_text_again(
    service: AuthorizationService,
) -> None:
    first = await service.publish("usr_1", EXTRA)
    await service.publish("usr_1", default_source())
    _, source = await service.published(first.version)
    back = await service.publish("usr_1", source)
    assert (back.version, back.seq) == (first.version, 3)
    assert [made.seq for made in await service.history()] == [3, 2, 1]
    with pytest.raises(Refused, match="no such policy version"):
        await service.published("sha-256:none")


async def test_two_editors_of_one_version_do_not_overwrite_each_other(
    service: AuthorizationService,
) -> None:
    base = await service.publish("usr_1", EXTRA)
    answers = await asyncio.gather(
        service.publish("usr_1", default_source(), replaces=base.version),
        service.publish("usr_2", default_source() + EXTRA, replaces=base.version),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    assert [each.kind for each in refused] == [Kind.CONFLICT]
    assert len(await service.history()) == 2


async def test_a_new_schema_gives_the_same_text_a_new_version(
    service: AuthorizationService, database: Database, audit: AuditLog, clock: Clock
) -> None:
    made = await service.publish("usr_1", EXTRA)
    upgraded = AuthorizationService(database, audit, clock.now)
    upgraded.schema = RequestSchema.parse(upgraded.schema.text + "// a later release\n")
    await upgraded.load()
    assert upgraded.snapshot is not None
    assert upgraded.snapshot.version != made.version
    assert (await upgraded.history())[0].cause == "schema changed"


async def test_a_listener_hears_of_each_set_in_the_order_of_publication(
    database: Database, audit: AuditLog, clock: Clock
) -> None:
    heard: list[str] = []
    service = AuthorizationService(
        database, audit, clock.now, on_publish=lambda made: heard.append(made.version)
    )
    await asyncio.gather(*(service.publish("usr_1", EXTRA + f"// {i}\n") for i in range(20)))
    order = [made.version for made in reversed(await service.history())]
    assert heard == order
    assert service.snapshot is not None
    assert service.snapshot.version == order[-1]


async def test_a_decision_by_a_replaced_policy_set_is_not_recorded(
    service: AuthorizationService, database: Database
) -> None:
    await service.publish("usr_1", default_source() + EXTRA)
    egress = to_request(CALL._replace(effect=ToolEffect.EGRESS))
    decision = service.decide(egress)
    assert decision.permitted
    await service.publish("usr_1", default_source())

    def record(tx: Tx) -> None:
        service.check_current(tx, decision.version)

    with pytest.raises(Refused) as refused:
        await database.write(record)
    assert refused.value.kind is Kind.CONFLICT


async def test_in_log_order_no_answer_by_an_old_version_follows_a_new_one(
    service: AuthorizationService, audit: AuditLog
) -> None:
    await service.ensure_default()

    async def publish() -> None:
        for number in range(6):
            await service.publish("usr_1", default_source() + f"// {number}\n")

    async def ask() -> None:
        for _ in range(30):
            # BUSY: the policies changed at each of its attempts.
            with suppress(Refused):
                await service.evaluate("crm", evaluation())

    await asyncio.gather(publish(), *(ask() for _ in range(3)))
    in_force = None
    for event in await logged(audit):
        if event.type == "policy":
            in_force = event.facts["policy_version"]
        else:
            assert event.facts["policy_version"] == in_force


# -- foreign enforcement points ---------------------------------------------------------------


async def knows(pep: str, asked: Evaluation) -> CallFacts:
    """A server that knows the agent, its mandate and the tool; and that somebody once approved."""
    return CALL._replace(approved=True, agent="spiffe://example.org/agent/other", server="x")


async def test_an_answer_is_in_the_log_under_its_id_before_it_is_given(
    service: AuthorizationService, audit: AuditLog
) -> None:
    await service.ensure_default()
    answer = await service.evaluate("crm-backend", evaluation(), knows)
    assert answer.decision.effect is Effect.PERMIT
    (event,) = await audit.trace(answer.id)
    assert event.type == "decide"
    assert event.private["pep"] == "crm-backend"
    assert event.facts["agent"] == CALL.agent
    assert event.facts["resource"] == "crm/find"
    assert event.facts["decision"] == "permit"
    assert event.facts["policies"] == ["read-in-mandate"]


async def test_a_recorded_answer_can_be_decided_again(
    service: AuthorizationService, audit: AuditLog
) -> None:
    await service.ensure_default()
    answer = await service.evaluate("crm", evaluation("pay", amount_minor=7000), knows)
    (event,) = await audit.trace(answer.id)
    context = event.private["context"]
    assert isinstance(context, dict)
    replayed = service.decide(
        Request(
            str(event.facts["agent"]),
            str(event.facts["effect"]),
            str(event.facts["resource"]),
            context,
        )
    )
    assert replayed == answer.decision
    assert answer.decision.effect is Effect.STEP_UP


FORGED: dict[str, Any] = {
    "approved": True,
    "in_mandate": True,
    "requires_approval": False,
    "within_caps": True,
    "tier": "low",
    "assurance": "measured",
    "sender_constrained": True,
    "tool_pinned": True,
    "tool_state": "pinned",
    "via": "gateway",
    "pep": "another",
    "person": "usr_admin",
    "purpose": "anything",
    "mandate_reason": "",
    "server": "crm",
    "budget_calls_left": 99,
    "budget_amount_left_minor": 10**9,
    "amount_limit_minor": 10**9,
}


async def test_a_caller_sets_no_fact_of_the_server(
    service: AuthorizationService, audit: AuditLog
) -> None:
    await service.ensure_default()
    for action in ToolEffect:
        forged = await service.evaluate("crm", evaluation(action, **FORGED))
        plain = await service.evaluate("crm", evaluation(action))
        assert forged.decision == plain.decision
        assert forged.decision.effect is Effect.DENY
        assert "no mandate was presented" in forged.decision.reason
        assert set(forged.ignored) == set(FORGED)
        (event,) = await audit.trace(forged.id)
        assert event.facts["ignored"] == sorted(FORGED)


async def test_an_approval_known_to_the_server_is_not_spent_on_a_foreign_question(
    service: AuthorizationService,
) -> None:
    await service.ensure_default()
    answer = await service.evaluate("crm", evaluation("delete"), knows)
    assert answer.decision.effect is Effect.STEP_UP


async def test_a_caller_is_believed_about_the_amount_of_its_own_call(
    service: AuthorizationService,
) -> None:
    await service.ensure_default()
    small = await service.evaluate("crm", evaluation("pay", amount_minor=5000), knows)
    large = await service.evaluate("crm", evaluation("pay", amount_minor=5001), knows)
    assert small.decision.effect is Effect.PERMIT
    assert large.decision.effect is Effect.STEP_UP


@pytest.mark.parametrize(
    "context",
    [{"amount_minor": "5"}, {"amount_minor": 1.5}, {"amount_minor": True}, {"amount_currency": 5}],
)
async def test_an_amount_of_the_wrong_type_is_malformed(
    service: AuthorizationService, context: dict[str, Any]
) -> None:
    await service.ensure_default()
    with pytest.raises(Refused) as refused:
        await service.evaluate("crm", evaluation("pay", **context), knows)
    assert refused.value.kind is Kind.MALFORMED


async def test_a_refusal_while_gathering_is_a_denial_with_its_reason(
    service: AuthorizationService, audit: AuditLog
) -> None:
    async def revoked(pep: str, asked: Evaluation) -> CallFacts:
        raise Refused(Kind.DENIED, "the agent is quarantined")

    async def busy(pep: str, asked: Evaluation) -> CallFacts:
        raise Refused(Kind.BUSY, "try later")

    await service.ensure_default()
    answer = await service.evaluate("crm", evaluation(), revoked)
    assert answer.decision.effect is Effect.DENY
    assert answer.decision.reason == "the agent is quarantined"
    assert (await audit.trace(answer.id))[0].facts["decision"] == "deny"
    with pytest.raises(Refused, match="try later"):
        await service.evaluate("crm", evaluation(), busy)


@pytest.mark.parametrize(
    ("member", "value", "says"),
    [
        ("subject", {"type": "user", "id": "alice"}, "subject type `user`"),
        ("action", {"name": "READ"}, "action `READ`"),
        ("action", {"name": "infra"}, "action `infra`"),
        ("resource", {"type": "record", "id": "crm/find"}, "resource type `record`"),
        ("resource", {"type": "tool", "id": "find"}, "`server/tool`"),
        ("resource", {"type": "tool", "id": "/find"}, "`server/tool`"),
    ],
)
async def test_a_question_about_something_unknown_is_denied_and_recorded(
    service: AuthorizationService, audit: AuditLog, member: str, value: JsonValue, says: str
) -> None:
    await service.publish(
        "usr_1", '@id("all")@reason("r")@uncapped("a test") permit (principal, action, resource);'
    )
    asked: dict[str, JsonValue] = {
        "subject": {"type": "agent", "id": CALL.agent},
        "action": {"name": "read"},
        "resource": {"type": "tool", "id": "crm/find"},
    }
    answer = await service.evaluate("crm", parse_evaluation({**asked, member: value}), knows)
    assert answer.decision.effect is Effect.DENY
    assert says in answer.decision.reason
    assert len(await audit.trace(answer.id)) == 1


async def test_a_policy_may_permit_a_named_enforcement_point_without_a_mandate(
    service: AuthorizationService,
) -> None:
    await service.publish(
        "usr_1",
        '@id("crm-reads")@reason("the crm checks its own users")@uncapped("a test") '
        'permit (principal, action == Action::"read", resource in Server::"crm") '
        'when { context.via == "authzen" && context has pep && context.pep == "crm-backend" };',
    )
    assert (await service.evaluate("crm-backend", evaluation())).decision.permitted
    assert not (await service.evaluate("other", evaluation(pep="crm-backend"))).decision.permitted
    elsewhere = await service.evaluate("crm-backend", evaluation(tool="bank/find"))
    assert not elsewhere.decision.permitted
    assert not service.decide(to_request(CALL)).permitted


async def test_an_answer_that_cannot_be_recorded_is_not_given(clock: Clock, tmp_path: Path) -> None:
    gone = Database.open(f"sqlite:///{tmp_path}/gone.db", clock=clock.now, create_all=True)
    log = AuditLog(gone, NoteSigner.generate(ORIGIN), ORIGIN, clock.now)
    service = AuthorizationService(gone, log, clock.now)
    await service.ensure_default()
    await gone.close()
    with pytest.raises(Refused) as refused:
        await service.evaluate("crm", evaluation(), knows)
    assert refused.value.kind is Kind.BUSY


async def test_the_longest_question_fits_the_log(
    service: AuthorizationService, audit: AuditLog
) -> None:
    named = "".join(
        f'@id("{"p" * 60}{i}")@reason("{"r" * 300}") forbid (principal, action, resource);'
        for i in range(99)
    )
    named += (
        '@id("x")@reason("r") permit (principal, action, resource)'
        " when { context.in_mandate && context.within_caps };"
    )
    await service.publish("usr_1", named)
    asked = parse_evaluation(
        {
            "subject": {"type": "agent", "id": '"' * 512},
            "action": {"name": "read"},
            "resource": {"type": "tool", "id": "crm/" + "\\" * 508},
            "context": FORGED,
        }
    )
    answer = await service.evaluate("p" * 128, asked)
    assert len(await audit.trace(answer.id)) == 1


async def test_the_exception_in_the_documentation_is_publishable(
    service: AuthorizationService,
) -> None:
    text = (Path(__file__).parents[2] / "docs/standards/authzen.md").read_text()
    _, _, rest = text.partition("```cedar\n")
    await service.publish("usr_1", rest.partition("```")[0])
    assert (await service.evaluate("crm-backend", evaluation())).decision.permitted
    assert not (await service.evaluate("other", evaluation())).decision.permitted
    assert not (await service.evaluate("crm-backend", evaluation("write"))).decision.permitted
