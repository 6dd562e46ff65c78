"""How long one decision takes in process, beside Cedar without our index, in the same run.

    python bench/decision.py [--rounds N] [--memory DECISIONS]

Sets of 100 and 1,000 policies: the default pack, and for the rest one rule for each of as many
tools (bound by scope, by a condition on the server's name, or by a pattern on the purpose).
Every fact of the schema is given. Five requests in turn: a read permitted, a write permitted by a
tool's own rule, one permitted by a rule with a pattern (which our index leaves to Cedar), a
deletion held for approval (two questions), a call outside the mandate.

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
    pattern = ' && context.purpose like "*letters*"' if number % 3 == 1 else ""
    return (
        f'{name}permit (principal, action == Action::"write", resource == Tool::"s{number}/t")\n'
        f"when {{ {caps}{pattern} }};\n"
    )


def calls() -> list[CallFacts]:
    """What is asked, in turn: every fact of the schema is there."""
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
        "pep": "crm",
        "amount_minor": 0,
        "amount_currency": "EUR",
        "amount_limit_minor": 10_000,
        "budget_calls_left": 40,
        "budget_amount_left_minor": 50_000,
        "effect_asked": "yes",
        "sink_label": "user",
        "sink_origin": "the person's words",
        "sinks_untrusted": False,
        "content_untrusted": True,
        "solicited": False,
        "relevant": True,
        "read_untrusted": True,
        "read_secret": False,
        "carries_secret": False,
        "over_count": False,
        "unusual_order": False,
        "value_endorsed": False,
        "target_unnamed": False,
        "recipients_fit": True,
        "recipient_new": False,
        "unasked_minor": 0,
        "calls_this_hour": 3,
        "asked_by": "spiffe://example.org/agent/lead",
        "first_agent": "spiffe://example.org/agent/lead",
        "depth": 1,
        "flow": "permit",
    }
    make: Callable[..., CallFacts] = CallFacts
    asks = {**usual, "requires_approval": True}
    outside = {**usual, "in_mandate": False, "mandate_reason": "tool `send` is not granted"}
    made = [
        make(**usual, server="crm", tool="find", effect=ToolEffect.READ),
        make(**usual, server="s6", tool="t", effect=ToolEffect.WRITE),
        make(**usual, server="s7", tool="t", effect=ToolEffect.WRITE),
        make(**asks, server="crm", tool="drop", effect=ToolEffect.DELETE),
        make(**outside, server="mail", tool="send", effect=ToolEffect.SHARE),
    ]
    left_out = compile_policies().schema.facts - to_request(made[0]).context.keys()
    left_out -= {"beyond_limit"}  # only there where a call is beyond one, which asks
    assert not left_out, f"facts that the benchmark does not give: {sorted(left_out)}"
    return made


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
    """Bytes by which the process grows over so many decisions, after a first thousand."""
    asked = calls()
    for facts in asked * 200:
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
    parser.add_argument(
        "--memory", type=int, default=100_000, help="decisions over which growth is measured"
    )
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
        figures[f"decision_us_{size}"] = round(microseconds(ours, options.rounds, 5000), 1)
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
        figures[f"growth_bytes_{size}"] = growth(policies, options.memory)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
