"""What the command line says of an answer that is not about all that was asked for."""

from typing import Any

from actfor.cli.mandate_rehearse import _rehearsed
from actfor.cli.policy.rehearse import tallied
from actfor.cli.policy.trials import _reported

CUT: dict[str, Any] = {"complete": False, "seen": 50_000, "since": "2026-11-20T00:00:00Z"}
WHOLE: dict[str, Any] = {"complete": True, "seen": 7, "since": "2026-11-20T00:00:00Z"}
SAID = (
    "NOT ALL: only the newest 50000 decisions, back to 2026-11-20T00:00:00Z, were looked at;"
    " older ones may say otherwise"
)
SIMULATED: dict[str, Any] = {
    "changed": 0, "calls": 7, "before": {}, "after": {}, "moves": [], "errors": 0, "adapted": 0,
    "skipped": {},
}  # fmt: skip
REPORTED: dict[str, Any] = {
    "id": "trl_1", "kind": "shadow", "started_at": "a", "ends_at": "b", "stopped_at": None,
    "differing": 0, "calls": 7, "differences": [], "policies": {}, "errors": 0, "suspended": None,
}  # fmt: skip
REHEARSED: dict[str, Any] = {
    "calls": 7, "covered_before": 7, "covered_after": 7, "narrower": True, "lost": [],
    "lost_total": 0, "gained": [], "gained_total": 0, "asked": [], "asked_total": 0, "unknown": 0,
    "spent": [],
}  # fmt: skip


def test_every_answer_says_at_its_end_that_it_was_cut_off() -> None:
    for say, answer in ((tallied, SIMULATED), (_reported, REPORTED), (_rehearsed, REHEARSED)):
        assert say({**answer, **CUT})[-1] == SAID
        assert SAID not in say({**answer, **WHOLE})
