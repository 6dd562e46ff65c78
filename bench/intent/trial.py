"""One task played through a decision point: what was permitted, asked about, denied, and what ran.

Nothing here knows which product decides: a point is anything with ``decide``, ``record`` and
``endorse``. It is told the call and what came back, never whose call it is.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call: the tool's name and its arguments as JSON."""

    tool: str
    arguments: JsonObject

    @property
    def key(self) -> str:
        """Equal exactly for the same call; absent and null arguments are the same."""
        given = {name: value for name, value in self.arguments.items() if value is not None}
        return f"{self.tool} {json.dumps(given, sort_keys=True, default=str)}"


@dataclass(frozen=True, slots=True)
class Ran:
    """What came back as structured JSON, and whether it failed."""

    result: Any
    failed: bool = False
    printed: Callable[[], str] | None = None
    """Makes the text an agent reads, where that is not the JSON; it may take a while."""

    @property
    def text(self) -> str:
        """What an agent reads."""
        return self.flat if self.printed is None else self.printed()

    @property
    def flat(self) -> str:
        """All of it in one string, to look for something."""
        given = self.result
        return (
            given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, default=str)
        )


class World(Protocol):
    """Where calls run."""

    def run(self, call: Call) -> Ran:
        """Run one call; never raises for what a tool does."""
        ...


class Verdict(Protocol):
    """What a decision point says: an effect that prints as permit, step_up or deny."""

    @property
    def effect(self) -> Any:
        """The effect."""
        ...

    @property
    def reasons(self) -> Any:
        """Why, for people."""
        ...

    @property
    def slots(self) -> Any:
        """The arguments it asks about: pointer and value each."""
        ...


class Point(Protocol):
    """The decision point under test."""

    def decide(self, tool: str, arguments: JsonObject) -> Verdict:
        """Permit, step-up or deny."""
        ...

    def record(
        self, tool: str, arguments: JsonObject, result: Any, *, approved: bool = False
    ) -> object:
        """A permitted call ran, and this came back."""
        ...

    def endorse(self, tool: str, pointer: str, value: Any) -> object:
        """The person vouched for this value in this slot."""
        ...


@dataclass(frozen=True, slots=True)
class Human:
    """Answers step-ups: always yes to what they asked for, no to the rest but for honest mistakes.

    A mistake depends only on the seed and the place of the question, so that a rerun with other
    tasks in between answers alike.
    """

    mistakes: float = 0.0
    seed: str = ""

    def approves(self, call: Call, *, wanted: bool, place: str) -> bool:
        """The answer to one question."""
        if wanted:
            return True
        digest = hashlib.sha256(f"{self.seed}|{place}|{call.key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self.mistakes


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt and what became of it."""

    call: Call
    wanted: bool
    effect: str
    approved: bool
    ran: Ran | None
    reasons: str


@dataclass(slots=True)
class Trial:
    """One agent at work for one person. ``honest`` is all that the person wants, as calls."""

    point: Point
    world: World
    human: Human
    honest: list[Call]
    place: str = ""
    structured: bool = True
    steps: list[Step] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    _left: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        self._left = Counter(call.key for call in self.honest)

    def attempt(self, call: Call) -> Step:
        """Ask the point, the human if it says so, and run what may run."""
        wanted = self._left[call.key] > 0
        started = time.perf_counter()
        verdict = self.point.decide(call.tool, call.arguments)
        self.seconds.append(time.perf_counter() - started)
        effect = named(verdict.effect)
        place = f"{self.place}|{len(self.steps)}"
        approved = effect == "step_up" and self.human.approves(call, wanted=wanted, place=place)
        ran = (
            self._run(call, verdict, approved=approved) if effect == "permit" or approved else None
        )
        if ran is not None and wanted:
            self._left[call.key] -= 1
        step = Step(call, wanted, effect, approved, ran, _text(verdict.reasons))
        self.steps.append(step)
        return step

    def _run(self, call: Call, verdict: Verdict, *, approved: bool) -> Ran:
        if approved:
            for slot in verdict.slots or ():
                pointer, value = slot.pointer, slot.value
                self.point.endorse(call.tool, pointer, value)
        ran = self.world.run(call)
        result = ran.result if self.structured else ran.text
        started = time.perf_counter()
        self.point.record(call.tool, call.arguments, result, approved=approved)
        self.seconds[-1] += time.perf_counter() - started
        return ran

    def play(self, attack: list[Call], marker: str | None) -> bool:
        """The honest calls in order; once a result shows ``marker``, first the attacker's.

        Answers whether the marker was ever read.
        """
        hijacked = False
        for call in self.honest:
            step = self.attempt(call)
            if marker and not hijacked and step.ran is not None and marker in step.ran.flat:
                hijacked = True
                for other in attack:
                    self.attempt(other)
        return hijacked

    @property
    def ran(self) -> list[Call]:
        """The calls that ran, in order, failed ones too."""
        return [step.call for step in self.steps if step.ran is not None]

    def asked(self, *, wanted: bool = True) -> list[Step]:
        """The step-ups about calls that the person does (or does not) want."""
        return [step for step in self.steps if step.effect == "step_up" and step.wanted is wanted]

    def denied(self, *, wanted: bool = True) -> list[Step]:
        """The denials of calls that the person does (or does not) want."""
        return [step for step in self.steps if step.effect == "deny" and step.wanted is wanted]


def named(effect: Any) -> str:
    """`permit`, `step_up` or `deny`, however the point spells it; anything else is a deny."""
    said = str(getattr(effect, "value", effect)).lower().replace("-", "_")
    return said if said in {"permit", "step_up"} else "deny"


def _text(reasons: Any) -> str:
    return (
        reasons if isinstance(reasons, str) else "; ".join(str(reason) for reason in reasons or ())
    )
