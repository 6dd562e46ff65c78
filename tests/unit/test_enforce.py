"""The line from an attempt to its outcome, with everything real but the wire."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Clock
from tests.fakes.gateway_world import (
    EVERYTHING,
    OVERLAYS,
    Token,
    World,
    build,
    counting_http,
    register,
    settle,
)

from actfor.approval import Answer
from actfor.errors import Kind, Refused
from actfor.gateway.calls import (
    Answered,
    Attempt,
    Client,
    Credentials,
    Denied,
    Failed,
    Outcome,
    Pending,
    Stage,
)
from actfor.gateway.case import Caller
from actfor.gateway.effects import Overlay
from actfor.gateway.model import Http
from actfor.store import Database
from actfor.wire.rar import Budget, Grant

PLAIN = Client(modern=True, can_open_url=False)
SHOWS = Client(modern=True, can_open_url=True)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Http]]:
    journal = tmp_path_factory.mktemp("counting") / "journal"
    with counting_http(journal) as url:
        yield journal, Http(url)


@pytest.fixture
def journal(upstream: tuple[Path, Http]) -> Path:
    upstream[0].unlink(missing_ok=True)
    return upstream[0]


@pytest.fixture
async def world(
    database: Database, clock: Clock, tmp_path: Path, journal: Path, upstream: tuple[Path, Http]
) -> AsyncIterator[World]:
    made = await build(database, clock.now, tmp_path, journal=journal)
    await made.add(transport=upstream[1])
    yield made
    await made.catalog.close()


@pytest.fixture
async def holding(
    database: Database, clock: Clock, tmp_path: Path, journal: Path, upstream: tuple[Path, Http]
) -> AsyncIterator[World]:
    """A gateway that holds calls for up to 20 seconds."""
    made = await build(database, clock.now, tmp_path, journal=journal, hold_seconds=20)
    await made.add(transport=upstream[1])
    yield made
    await made.catalog.close()


async def authenticated(world: World, token: Token, proof: str | None = None) -> Caller:
    url = world.settings.url("counting")
    given = proof or token.proof(url, world.house.clock())
    credentials = Credentials("DPoP", token.token, given, "POST", url)
    return await world.enforcer.authenticate("counting", credentials)


async def call(
    world: World, token: Token, tool: str, *, client: Client = PLAIN, state: str | None = None,
    words: str | None = None, **arguments: Any
) -> Outcome:  # fmt: skip
    caller = await authenticated(world, token)
    attempt = Attempt("counting", tool, arguments, client, state, words)
    return await world.enforcer.call(caller, attempt)


def denied(outcome: Outcome, stage: Stage, kind: Kind = Kind.DENIED) -> Denied:
    assert isinstance(outcome, Denied), outcome
    assert (outcome.stage, outcome.kind) == (stage, kind), outcome
    return outcome


def pending(outcome: Outcome) -> Pending:
    assert isinstance(outcome, Pending), outcome
    return outcome


async def test_a_read_in_the_mandate_runs_and_leaves_decision_and_outcome(world: World) -> None:
    token = await world.token()
    outcome = await call(world, token, "echo", text="hello")
    assert isinstance(outcome, Answered)
    assert outcome.result["structuredContent"] == {"result": "echo: hello"}
    assert [line["arguments"] for line in world.calls] == [{"text": "hello"}]

    decision, ended = await world.events(outcome.trace)
    assert (decision["type"], ended["type"]) == ("decide", "outcome")
    facts = decision["facts"]
    assert facts["decision"] == "permit"
    assert facts["policies"] == ["read-in-mandate"]
    assert facts["agent"] == str(world.agent.id)
    assert facts["mandate"] == token.mandate.id
    assert facts["manifest"] == world.agent.manifest_digest
    assert facts["effect"] == "read"
    assert facts["tool_digest"] == world.catalog.tool("counting", "echo").pinned_digest
    assert facts["labels"] == {"text": "unknown"}
    assert "hello" not in str(facts), "arguments are committed to, not shown"
    assert decision["private"]["arguments"] == {"text": "hello"}
    assert decision["private"]["person"] == world.operator.id
    assert ended["facts"]["status"] == "ok"


async def test_the_record_is_on_disk_before_anything_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    governed = world.catalog.governed("counting")
    assert governed is not None
    seen: list[int] = []

    async def spying(*given: Any) -> Any:
        # A reader sees only what is committed.
        seen.extend(one.index for one in await world.house.audit.search(type="decide"))
        return {"content": []}

    monkeypatch.setattr(type(governed.upstream), "call", lambda self, *given: spying(*given))
    outcome = await call(world, await world.token(), "echo", text="x")
    assert isinstance(outcome, Answered)
    assert len(seen) == 1


async def test_nothing_is_sent_when_the_record_cannot_be_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(unit: object, ahead: object) -> None:
        raise Refused(Kind.BUSY, "the record could not be made durable")

    token = await world.token()
    monkeypatch.setattr(world.database, "write", full)
    denied(await call(world, token, "echo", text="x"), Stage.RECORD, Kind.BUSY)
    assert world.calls == []


async def test_a_call_outside_the_mandate_is_denied_and_recorded(world: World) -> None:
    token = await world.token(Grant("counting", ("echo",), ("read",)))
    said = denied(await call(world, token, "query", query="SELECT 1"), Stage.POLICY)
    assert said.policies == ("outside-mandate",)
    assert "no grant for tool `query`" in said.reason
    assert said.scope == "counting:read"
    assert world.calls == []
    (decision,) = await world.events(said.trace)
    assert decision["facts"]["decision"] == "deny"
    assert decision["facts"]["stage"] == "policy"
    assert decision["private"]["arguments"] == {"query": "SELECT 1"}


async def test_no_policy_can_widen_the_mandate(world: World) -> None:
    await world.authorization.publish(
        world.operator.id,
        '@id("all") @reason("everything goes") @uncapped("a test of what binds anyway")'
        "permit (principal, action, resource);",
    )
    token = await world.token(Grant("counting", ("echo",), ("read",)))
    denied(await call(world, token, "pay", amount="1.00", to="me"), Stage.POLICY)
    assert isinstance(await call(world, token, "echo", text="x"), Answered)
    assert [line["tool"] for line in world.calls] == ["echo"]


async def test_an_unknown_tool_is_refused_and_recorded(world: World) -> None:
    said = denied(
        await call(world, await world.token(), "no_such_tool" * 40), Stage.TOOL, Kind.NOT_FOUND
    )
    (decision,) = await world.events(said.trace)
    assert decision["facts"]["reason"] == "not-found"
    assert "tool" not in decision["facts"]  # the agent's own text is in no leaf
    assert len(decision["private"]["tool"]) == 128


async def test_a_tool_nobody_described_asks_a_person(world: World) -> None:
    await world.catalog.set_overlay(world.operator, "counting", "echo", Overlay())
    pending(await call(world, await world.token(), "echo", text="x"))
    assert world.calls == []


async def test_the_effect_comes_from_the_sql(world: World) -> None:
    token = await world.token(Grant("counting", ("query",), EVERYTHING))
    assert isinstance(await call(world, token, "query", query="SELECT 1"), Answered)
    assert isinstance(await call(world, token, "query", query="INSERT INTO t VALUES (1)"), Answered)
    pending(await call(world, token, "query", query="DELETE FROM t WHERE id = 1"))
    pending(await call(world, token, "query", query="SELECT 1; DROP TABLE t"))
    assert len(world.calls) == 2


# -- approval ---------------------------------------------------------------------------------


async def test_a_deletion_waits_for_a_person_and_then_runs_exactly_once(world: World) -> None:
    token = await world.token()
    asked = pending(await call(world, token, "delete_record", record=3, words="the user said so"))
    assert asked.question.url.endswith(f"/approvals/{asked.question.approval_id}")
    assert world.calls == []

    again = pending(await call(world, token, "delete_record", record=3))
    assert again.question.approval_id == asked.question.approval_id, "asked once, not twice"

    await world.answer(asked.question.approval_id)
    outcome = await call(world, token, "delete_record", record=3)
    assert isinstance(outcome, Answered)
    assert len(world.calls) == 1

    said = denied(
        await call(world, token, "delete_record", record=3), Stage.APPROVAL, Kind.REPLAYED
    )
    assert "already used" in said.reason
    assert len(world.calls) == 1

    kinds = [event["type"] for event in await world.events(asked.trace)]
    assert kinds == [
        "approval-request",
        "decide",
        "decide",
        "approve",
        "decide",
        "outcome",
        "decide",
    ]


async def test_an_approval_during_the_hold_answers_the_same_call(holding: World) -> None:
    running = asyncio.create_task(call(holding, await holding.token(), "delete_record", record=3))
    while not (waiting := await holding.waiting()):
        await asyncio.sleep(0.01)
    assert holding.calls == []
    await holding.answer(waiting[0])
    assert isinstance(await running, Answered)
    assert len(holding.calls) == 1


async def test_a_client_that_can_show_the_page_is_told_at_once_and_held_after(
    holding: World,
) -> None:
    token = await holding.token()
    async with asyncio.timeout(5):
        asked = pending(await call(holding, token, "delete_record", client=SHOWS, record=3))
    state = asked.request_state
    retry = asyncio.create_task(
        call(holding, token, "delete_record", client=SHOWS, state=state, record=3)
    )
    await asyncio.sleep(0.1)
    assert not retry.done()
    await holding.answer(asked.question.approval_id)
    assert isinstance(await retry, Answered)


async def test_other_arguments_need_another_approval(world: World) -> None:
    token = await world.token()
    asked = pending(await call(world, token, "delete_record", record=3))
    await world.answer(asked.question.approval_id)
    other = pending(await call(world, token, "delete_record", record=4))
    assert other.question.approval_id != asked.question.approval_id
    said = denied(
        await call(
            world, token, "delete_record", client=SHOWS, state=asked.request_state, record=4
        ),
        Stage.APPROVAL,
    )
    assert "another call" in said.reason
    assert world.calls == []


async def test_another_tool_definition_or_other_policies_need_another_approval(
    world: World,
) -> None:
    token = await world.token()
    asked = pending(await call(world, token, "delete_record", record=3))
    await world.answer(asked.question.approval_id)
    source = (await world.authorization.published())[1]
    await world.authorization.publish(world.operator.id, source + "\n// another remark\n")
    other = pending(await call(world, token, "delete_record", record=3))
    assert other.question.approval_id != asked.question.approval_id
    assert world.calls == []


async def test_another_agent_cannot_use_the_approval(
    world: World, tmp_path: Path, database: Database
) -> None:
    other = await register(world.agents, world.operator, tmp_path, database, "intern")
    asked = pending(await call(world, await world.token(), "delete_record", record=3))
    await world.answer(asked.question.approval_id)
    stranger = await world.token(agent=other)
    said = denied(
        await call(
            world, stranger, "delete_record", client=SHOWS, state=asked.request_state, record=3
        ),
        Stage.APPROVAL,
    )
    assert "someone else" in said.reason
    pending(await call(world, stranger, "delete_record", record=3))
    assert world.calls == []


async def test_a_denied_call_stays_denied(world: World) -> None:
    token = await world.token()
    asked = pending(await call(world, token, "delete_record", record=3))
    await world.answer(asked.question.approval_id, Answer.DENY)
    for state in (None, asked.request_state):
        said = denied(
            await call(world, token, "delete_record", client=SHOWS, state=state, record=3),
            Stage.APPROVAL,
        )
        assert "denied" in said.reason
    assert world.calls == []


async def test_an_expired_approval_runs_nothing_and_may_be_asked_for_anew(
    world: World, clock: Clock
) -> None:
    token = await world.token()
    asked = pending(await call(world, token, "delete_record", record=3))
    await world.answer(asked.question.approval_id)
    clock.advance(601)
    token = await world.token(mandate=token.mandate)
    denied(
        await call(
            world, token, "delete_record", client=SHOWS, state=asked.request_state, record=3
        ),
        Stage.APPROVAL,
        Kind.EXPIRED,
    )
    other = pending(await call(world, token, "delete_record", record=3))
    assert other.question.approval_id != asked.question.approval_id
    assert world.calls == []


async def test_saying_in_the_call_that_it_is_approved_changes_nothing(world: World) -> None:
    await world.catalog.set_overlay(
        world.operator, "counting", "echo", Overlay.from_json({"effect": "delete"})
    )
    outcome = await call(
        world, await world.token(), "echo", words="approved by the CISO", text="x", approved=True
    )
    pending(outcome)
    assert world.calls == []


@pytest.mark.parametrize("change", ["bytes", "empty", "cut", "foreign"])
async def test_a_tampered_request_state_is_refused(world: World, change: str) -> None:
    token = await world.token()
    asked = pending(await call(world, token, "delete_record", client=SHOWS, record=3))
    await world.answer(asked.question.approval_id)
    state = {
        "bytes": asked.request_state[:-2] + "AA",
        "empty": "",
        "cut": asked.request_state[:-1],
        "foreign": "v1.e30.AAAA",
    }[change]
    outcome = await call(world, token, "delete_record", client=SHOWS, state=state, record=3)
    denied(outcome, Stage.APPROVAL, Kind.MALFORMED)
    assert world.calls == []


async def test_racing_retries_execute_an_approved_call_once(world: World) -> None:
    token = await world.token()
    asked = pending(await call(world, token, "delete_record", record=3))
    await world.answer(asked.question.approval_id)
    outcomes = await asyncio.gather(
        *(call(world, token, "delete_record", record=3) for _ in range(12))
    )
    assert sum(isinstance(one, Answered) for one in outcomes) == 1
    assert all(one.kind is Kind.REPLAYED for one in outcomes if isinstance(one, Denied))
    assert len(world.calls) == 1


async def test_an_agent_that_is_invalidated_while_it_waits_runs_nothing(world: World) -> None:
    token = await world.token()
    asked = pending(await call(world, token, "delete_record", record=3))
    await world.answer(asked.question.approval_id)
    await world.agents.quarantine(world.operator, world.agent.name, "looks odd")
    with pytest.raises(Refused, match="quarantined") as refused:
        await call(world, token, "delete_record", record=3)
    assert refused.value.kind is Kind.UNAUTHENTICATED
    assert world.calls == []


@pytest.mark.parametrize("revoked", ["agent", "mandate"])
async def test_no_permit_follows_a_revocation_however_late_it_comes(
    world: World, revoked: str
) -> None:
    token = await world.token()
    caller = await authenticated(world, token)
    if revoked == "agent":
        await world.agents.quarantine(world.operator, world.agent.name, "looks odd")
    else:
        await world.delegation.revoke_mandate(world.operator, token.mandate.id, "changed my mind")
    outcome = await world.enforcer.call(caller, Attempt("counting", "echo", {"text": "x"}, PLAIN))
    said = denied(outcome, Stage.MANDATE)
    assert "quarantined" in said.reason or "revoked" in said.reason
    assert world.calls == []
    (decision,) = await world.events(said.trace)
    assert decision["facts"]["stage"] == "mandate"


# -- once, and no longer ------------------------------------------------------------------------


async def test_a_proof_is_good_for_one_call(world: World) -> None:
    token = await world.token()
    proof = token.proof(world.settings.url("counting"), world.house.clock())
    outcomes: list[Outcome] = []
    for text in ("first", "second"):
        caller = await authenticated(world, token, proof)
        attempt = Attempt("counting", "echo", {"text": text}, PLAIN)
        outcomes.append(await world.enforcer.call(caller, attempt))
    assert isinstance(outcomes[0], Answered)
    denied(outcomes[1], Stage.CREDENTIAL, Kind.REPLAYED)
    assert [line["arguments"]["text"] for line in world.calls] == ["first"]


@pytest.mark.parametrize("tool", ["pay", "no_such_tool", "delete_record"])
async def test_the_proof_of_a_call_that_did_not_run_is_spent_as_well(
    world: World, tool: str
) -> None:
    token = await world.token(
        Grant("counting", ("echo",), ("read",)), Grant("counting", ("delete_record",), ("delete",))
    )
    proof = token.proof(world.settings.url("counting"), world.house.clock())
    caller = await authenticated(world, token, proof)
    first = await world.enforcer.call(caller, Attempt("counting", tool, {"record": 1}, PLAIN))
    assert not isinstance(first, Answered)
    assert caller.spent
    caller = await authenticated(world, token, proof)
    stolen = Attempt("counting", "echo", {"text": "stolen"}, PLAIN)
    denied(await world.enforcer.call(caller, stolen), Stage.CREDENTIAL, Kind.REPLAYED)
    assert world.calls == []


async def test_the_budget_of_calls_holds_under_a_race(world: World) -> None:
    token = await world.token(budget=Budget(calls=3))
    outcomes = await asyncio.gather(*(call(world, token, "echo", text="x") for _ in range(10)))
    assert sum(isinstance(one, Answered) for one in outcomes) == 3
    assert len(world.calls) == 3


async def test_a_tool_that_changes_while_the_call_is_decided_does_not_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = world.catalog.tool("counting", "echo")
    decide = world.authorization.decide

    def slow(*question: Any) -> Any:
        world.catalog._snapshot = dict(world.catalog._snapshot)
        return decide(*question)

    monkeypatch.setattr(world.authorization, "decide", slow)
    # The operator changes the overlay behind the snapshot that this call was decided on.
    before = world.catalog._snapshot
    await world.catalog.set_overlay(
        world.operator, "counting", "echo", Overlay.from_json({"effect": "delete"})
    )
    world.catalog._snapshot = before
    said = denied(await call(world, await world.token(), "echo", text="x"), Stage.TOOL)
    assert "changed while" in said.reason
    assert tool.overlay == OVERLAYS["echo"]
    assert world.calls == []


async def test_policies_that_change_while_the_call_is_decided_are_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide, source = world.authorization.decide, (await world.authorization.published())[1]
    forbid = '@id("closed") @reason("closed for today") forbid (principal, action, resource);'
    done = False

    def overtaken(*question: Any) -> Any:
        nonlocal done
        decision = decide(*question)
        if not done:
            done = True
            publishing.append(
                asyncio.ensure_future(
                    world.authorization.publish(world.operator.id, f"{source}\n{forbid}")
                )
            )
        return decision

    publishing: list[Any] = []
    monkeypatch.setattr(world.authorization, "decide", overtaken)
    await call(world, await world.token(), "echo", text="x")
    await asyncio.gather(*publishing)
    said = denied(await call(world, await world.token(), "echo", text="y"), Stage.POLICY)
    assert said.policies == ("closed",)


# -- upstreams --------------------------------------------------------------------------------


async def test_a_tool_that_fails_is_passed_on_as_it_is(world: World) -> None:
    outcome = await call(world, await world.token(), "fail")
    assert isinstance(outcome, Answered)
    assert outcome.result["isError"] is True
    events = await world.events(outcome.trace)
    assert events[-1]["facts"]["status"] == "tool-error"


async def test_an_upstream_that_dies_is_said_to_be_dead_and_comes_back(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    world = await build(database, clock.now, tmp_path)
    await world.add()
    token = await world.token()
    outcome = await call(world, token, "die")
    assert isinstance(outcome, Failed)
    assert outcome.code == -32603
    assert outcome.data is not None
    assert "ended before it answered" in outcome.message
    events = await world.events(outcome.trace)
    assert [event["type"] for event in events] == ["decide", "outcome"]
    assert events[-1]["facts"]["status"] == "unknown"
    assert isinstance(await call(world, token, "echo", text="again"), Answered)
    await world.catalog.close()


async def test_many_calls_share_one_upstream_and_none_is_crossed(world: World) -> None:
    token = await world.token()
    outcomes = await asyncio.gather(
        *(call(world, token, "echo", text=f"n{number}") for number in range(40))
    )
    for number, outcome in enumerate(outcomes):
        assert isinstance(outcome, Answered)
        assert outcome.result["structuredContent"] == {"result": f"echo: n{number}"}
    assert len({line["pid"] for line in world.calls}) == 1


async def test_every_call_that_reached_the_upstream_has_a_durable_permit(world: World) -> None:
    token = await world.token(Grant("counting", ("echo", "query"), ("read", "delete")))
    for number in range(6):
        await call(world, token, "echo", text=str(number))
        await call(world, token, "query", query="SELECT 1")
        await call(world, token, "query", query="DELETE FROM t")
        await call(world, token, "pay", amount="1.00", to="me")
    await settle(world.database)
    permits = [
        one
        for one in await world.house.audit.search(limit=500, type="decide")
        if one.facts["decision"] == "permit"
    ]
    assert len(permits) == len(world.calls) == 12
    report = await world.house.audit.verify()
    assert report.ok, report.problems
