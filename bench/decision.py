"""How long one decision takes in process, beside Cedar without our index, in the same run.

    python bench/decision.py [--rounds N]

Sets of 100 and 1,000 policies: the default pack, and for the rest one rule for each of as many
tools (two thirds bound by scope, one third by a condition on the server's name).
Four requests in turn: a read permitted, a write permitted by a tool's own rule, a deletion held for
approval (two questions), a call outside the mandate.

- ``actfor``: ``to_request`` and ``PolicySet.decide``, from facts to reasons. CPU of this thread.
- ``cedarpy, pre-parsed``: the same policies in one parsed ``PolicySet``, parsed ``Schema`` and
  ``Entities``, through cedarpy's public call, asked twice where the answer is no, as we do.
- ``cedarpy, no schema``: the same without the schema's check of each request: its quickest.

The answers of all three are compared before anything is timed.
Figures are the median over rounds of the mean per decision. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import cedarpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from actfor.authorization import compile_policies, to_request
from actfor.authorization.model import CallFacts, Decision, Effect, PolicySet, ToolEffect
from actfor.authorization.policies import default_source, schema_source

SIZES = (100, 1000)
AGENT = "spiffe://example.org/agent/clerk"


def source(count: int) -> str:
    """The default pack and rules for single tools, ``count`` policies in all."""
    pack = default_source()
    rest = count - len(compile_policies(pack).policies)
    return pack + "".join(rule(number) for number in range(rest))


def rule(number: int) -> str:
    """One operator's rule for one tool or one server."""
    name = f'@id("tool-{number}") @reason("rule {number} for its tool")\n'
    caps = "context.in_mandate && !context.requires_approval && context.within_caps"
    if number % 3 == 2:
        return (
            f'{name}permit (principal, action == Action::"write", resource)\n'
            f'when {{ context.server == "s{number}" && {caps} }};\n'
        )
    return (
        f'{name}permit (principal, action == Action::"write", resource == Tool::"s{number}/t")\n'
        f"when {{ {caps} }};\n"
    )


def calls() -> list[CallFacts]:
    """What is asked, in turn."""
    usual = {
        "agent": AGENT,
        "in_mandate": True,
        "requires_approval": False,
        "tier": "medium",
        "assurance": "measured",
        "sender_constrained": True,
        "tool_pinned": True,
        "tool_state": "pinned",
        "person": "usr_alice",
        "purpose": "answer the customers' letters of this week",
        "budget_calls_left": 40,
    }
    make: Callable[..., CallFacts] = CallFacts
    return [
        make(**usual, server="crm", tool="find", effect=ToolEffect.READ),
        make(**usual, server="s7", tool="t", effect=ToolEffect.WRITE),
        make(**usual, server="crm", tool="drop", effect=ToolEffect.DELETE),
        make(
            **{**usual, "in_mandate": False, "mandate_reason": "tool `send` is not granted"},
            server="mail",
            tool="send",
            effect=ToolEffect.SHARE,
        ),
    ]


class Linear:
    """Cedar over the whole set: everything parsed once, every policy evaluated."""

    def __init__(self, policies: PolicySet, *, checked: bool) -> None:
        self._policies = cedarpy.PolicySet.from_str(policies.source)
        self._schema = cedarpy.Schema.from_str(schema_source()) if checked else None
        self._entities = cedarpy.Entities.from_json_str("[]")

    def decide(self, facts: CallFacts) -> Effect:
        """The effect, by one question or two."""
        request = to_request(facts)
        question = {
            "principal": {"type": "Agent", "id": request.subject},
            "action": {"type": "Action", "id": request.action},
            "resource": {"type": "Tool", "id": request.resource},
            "context": dict(request.context),
        }
        if self._allowed(question):
            return Effect.PERMIT
        question["context"] = {**request.context, "approved": True}
        return Effect.STEP_UP if self._allowed(question) else Effect.DENY

    def _allowed(self, question: dict[str, object]) -> bool:
        answer = cedarpy.is_authorized(question, self._policies, self._entities, self._schema)
        return answer.allowed and not answer.diagnostics.errors


def microseconds(decide: Callable[[CallFacts], object], rounds: int, each: int) -> float:
    """CPU per decision of this thread: the median over rounds of the mean over calls in turn."""
    asked = calls()
    for facts in asked:
        decide(facts)
    found = []
    for _ in range(rounds):
        started = time.thread_time_ns()
        for _ in range(each // len(asked)):
            for facts in asked:
                decide(facts)
        found.append((time.thread_time_ns() - started) / (each // len(asked) * len(asked)) / 1000)
    return median(found)


def growth(policies: PolicySet, decisions: int) -> int:
    """Bytes by which the process grows over so many decisions."""
    asked = calls()
    for facts in asked * 50:
        policies.decide(to_request(facts))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(decisions):
        policies.decide(to_request(asked[number % len(asked)]))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def decided(policies: PolicySet, facts: CallFacts) -> Decision:
    """What is timed: from facts to a decision with its reasons."""
    return policies.decide(to_request(facts))


def main() -> None:
    """Measure, print a table, and the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    figures: dict[str, float | int | None] = {}
    print(
        f"{'policies':>8}  {'actfor':>9}  {'cedarpy, pre-parsed':>20}  {'cedarpy, no schema':>19}"
    )
    for size in SIZES:
        policies = compile_policies(source(size))
        ours = partial(decided, policies)
        linear, unchecked = Linear(policies, checked=True), Linear(policies, checked=False)
        for facts in calls():
            assert ours(facts).effect is linear.decide(facts) is unchecked.decide(facts)
        figures[f"decision_us_{size}"] = round(microseconds(ours, options.rounds, 4000), 1)
        each = 200_000 // size
        figures[f"peer_linear_us_{size}"] = round(
            microseconds(linear.decide, options.rounds, each), 1
        )
        figures[f"peer_unchecked_us_{size}"] = round(
            microseconds(unchecked.decide, options.rounds, each), 1
        )
        print(
            f"{size:>8}  {figures[f'decision_us_{size}']:>6} µs  "
            f"{figures[f'peer_linear_us_{size}']:>17} µs  "
            f"{figures[f'peer_unchecked_us_{size}']:>16} µs"
        )
        figures[f"growth_bytes_{size}"] = growth(policies, 20_000)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
