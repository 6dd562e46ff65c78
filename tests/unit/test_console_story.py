"""A trace in plain words, from the log's events and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest

from actfor.audit import LoggedEvent
from actfor.console import story
from actfor.wire.canonical import JsonObject

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AGENT = "spiffe://example.com/agent/bookkeeper"
NAMES = {"usr_1": "Olivia", "usr_2": "Bob"}


def event(
    index: int, kind: str, facts: JsonObject, private: JsonObject | None = None, **more: object
) -> LoggedEvent:
    given: dict[str, object] = {"at": NOW + timedelta(seconds=index), "erased": (), **more}
    return LoggedEvent(
        index=index,
        id=f"evt_{index}",
        type=kind,
        trace="dec_1",
        facts=facts,
        private=private or {},
        **given,  # type: ignore[arg-type] # test data
    )


CHAIN = [f"{AGENT}/i/1", AGENT.replace("bookkeeper", "lead") + "/i/2"]
CALL: JsonObject = {"agent": AGENT, "server": "crm", "tool": "write_query", "chain": CHAIN}
WHOLE = [
    event(9, "outcome", {**CALL, "status": "ok", "milliseconds": 12}),
    event(8, "decide", {**CALL, "decision": "permit"}, {"person": "usr_1", "reasons": []}),
    event(6, "approve", {"approval": "apr_1", "agent": AGENT, "state": "approved"},
          {"approver": "usr_2", "person": "usr_1"}),
    event(5, "approval-request", {"approval": "apr_1", "agent": AGENT, "state": "pending"},
          {"reasons": ["deleting needs a person"]}),
    event(4, "decide", {**CALL, "decision": "step-up"},
          {"person": "usr_1", "reasons": ["deleting needs a person"]}),
    event(2, "mandate", {"mandate": "mdt_1"}, {"person": "usr_1", "goal": "tidy up"}),
]  # fmt: skip


def test_the_story_runs_from_the_person_to_the_outcome() -> None:
    told = story.steps(WHOLE, NAMES)
    assert [(step.title, step.state) for step in told] == [
        ("Olivia gave a mandate", None),
        ("bookkeeper, asked by lead, asked for write_query on crm", "step-up"),
        ("A person was asked about this exact call", "pending"),
        ("Bob approved it with a passkey", "approved"),
        ("bookkeeper, asked by lead, asked for write_query on crm", "permit"),
        ("The upstream did it", "ok"),
    ]
    assert told[0].words == "tidy up"
    assert told[0].link == "/mandates/mdt_1"
    assert told[1].chain == (CHAIN[1], CHAIN[0])
    assert told[2].link == "/approvals/apr_1"
    assert told[5].words == "after 12 ms"


@pytest.mark.parametrize(
    ("state", "title"),
    [("denied", "Bob said no"), ("expired", "Nobody answered in time")],
)
def test_a_no_says_whose_it_was(state: str, title: str) -> None:
    said = event(1, "deny", {"approval": "apr_1", "state": state}, {"approver": "usr_2"})
    assert story.steps([said], NAMES)[0].title == title


@pytest.mark.parametrize(
    "kind",
    ["admin", "agent", "attest", "mandate", "delegate", "decide", "approval-request", "approve",
     "deny", "revoke", "outcome", "policy", "tool", "key", "session", "of-a-later-release"],
)  # fmt: skip
@pytest.mark.parametrize(
    "facts", [{}, {"agent": 5, "chain": "x", "decision": None, "state": [], "status": {}}]
)
def test_an_event_that_says_little_is_told_all_the_same(kind: str, facts: JsonObject) -> None:
    (told,) = story.steps([event(1, kind, facts, {"reasons": 7, "person": None})], NAMES)
    assert told.title
    assert told.index == 1


def test_what_was_erased_is_said_to_be_erased() -> None:
    (told,) = story.steps([event(1, "decide", CALL, erased=("arguments", "person"))], NAMES)
    assert ("arguments", "erased") in told.facts
    assert ("person", "erased") in told.facts


def test_a_decision_without_a_word_is_counted_as_a_no() -> None:
    assert story.summary(event(1, "decide", {})).decision == "deny"
    odd = event(1, "decide", {"decision": "perhaps"})
    assert story.count([odd]).total == 0


def test_the_chart_stays_in_its_frame() -> None:
    minutes = [*range(0, 60, 2), 59, 59, 61, 500, -5]
    events = [
        event(n, "decide", {"decision": ("permit", "deny", "step-up")[n % 3]},
              at=NOW - timedelta(minutes=minute))
        for n, minute in enumerate(minutes)
    ]  # fmt: skip
    bars = story.bars(events, NOW)
    assert bars
    for bar in bars:
        assert 0 <= bar.x <= 224
        assert bar.y >= 0
        assert bar.y + bar.height <= 58
    assert story.bars([], NOW) == []
