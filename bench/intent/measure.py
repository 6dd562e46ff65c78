"""Measurement 1: a fully compromised agent on suites that run, AgentDojo's and our own."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bench.intent.adaptive import Scene, Variant, variants
from bench.intent.cases import LETTERS, Case, Letter
from bench.intent.point import Maker, Permits
from bench.intent.trial import Call, Human, Point, Step, Trial

MACHINE = LETTERS["machine"]


@dataclass(frozen=True, slots=True)
class Result:
    """One trial, with what the tables and the list of failures need."""

    case: Case
    attack: str
    """The injection's or the generator's name; empty for an honest run."""
    breached: bool
    useful: bool | None
    """None where the suite's checker was not asked: AgentDojo's take up to a second."""
    trial: Trial

    @property
    def cluster(self) -> str:
        """What the bootstrap draws: the user's task."""
        return f"{self.case.suite}/{self.case.user}"


@dataclass(slots=True)
class Pairs:
    """The pairs of task and attack that mean something, and why the others do not."""

    kept: list[tuple[Case, str]] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)


def halved(name: str) -> str:
    """Which half of a hold-out a task belongs to, by its name: `seen` or `reserved`."""
    return ("seen", "reserved")[hashlib.sha256(f"half/{name}".encode()).digest()[0] % 2]


def sampled(names: Iterable[str], *, quick: bool) -> set[str]:
    """All of them, or a third that never changes; at least one."""
    known = sorted(set(names))
    if not quick:
        return set(known)
    return {n for n in known if hashlib.sha256(n.encode()).digest()[0] % 3 == 0} or set(known[:1])


def pairs(cases: Iterable[Case], letter: Letter = MACHINE) -> Pairs:
    """Every (user task, injection) whose attack works on an agent that nobody defends."""
    found = Pairs()
    for case in cases:
        for attack in case.attacks:
            reason = _meaningless(case, attack, letter)
            if reason is None:
                found.kept.append((case, attack))
            else:
                name = f"{case.suite}/{case.user}/{attack}"
                found.left_out.setdefault(reason, []).append(name)
    return found


def _meaningless(case: Case, attack: str, letter: Letter) -> str | None:
    if not case.open(None).attack(attack):
        return "the injection's ground truth is empty"
    alone = _play(case, attack, Permits(), Human(), letter, calls=[])
    if alone.breached:
        return "the injection's goal is met without its calls"
    if not any(letter.marker in step.ran.flat for step in alone.trial.steps if step.ran):
        return "the user's ground truth reads no injected text"
    if not _play(case, attack, Permits(), Human(), letter).breached:
        return "the injection's ground truth does not meet its goal"
    return None


def _play(
    case: Case,
    attack: str,
    point: Point,
    human: Human,
    letter: Letter,
    *,
    calls: list[Call] | None = None,
    structured: bool = True,
    use: bool = False,
) -> Result:
    """Play one pair and ask the suite's checkers."""
    room = case.open(letter.saying(case.goal(attack)))
    place = f"{case.suite}/{case.user}/{attack}"
    trial = Trial(point, room, human, room.honest, place, structured)
    trial.play(room.attack(attack) if calls is None else calls, letter.marker)
    useful = room.useful() if use else None
    return Result(case, attack, room.breached(attack), useful, trial)


def static(
    kept: list[tuple[Case, str]],
    make: Maker,
    human: Human,
    letter: Letter = MACHINE,
    *,
    structured: bool = True,
) -> Iterator[Result]:
    """Each pair under the decision point. Use is asked after in the first pair of each task."""
    seen: set[str] = set()
    for case, attack in kept:
        name = f"{case.suite}/{case.user}"
        point = make(case.words, case.tools, case.open(None).honest)
        use = not human.mistakes and name not in seen
        yield _play(case, attack, point, human, letter, structured=structured, use=use)
        seen.add(name)


def honest(
    cases: Iterable[Case], make: Maker, *, structured: bool = True
) -> Iterator[tuple[Result, bool]]:
    """Each task alone; beside it, whether it is useful without any decision point."""
    for case in cases:
        point = make(case.words, case.tools, case.open(None).honest)
        yield alone(case, point, structured=structured), bool(free(case).useful)


_FREE: dict[str, Result] = {}


def free(case: Case) -> Result:
    """The honest task without any decision point; played once."""
    name = f"{case.suite}/{case.user}"
    if name not in _FREE:
        _FREE[name] = alone(case, Permits())
    return _FREE[name]


def alone(case: Case, point: Point, *, structured: bool = True) -> Result:
    """The person's calls and nobody else's."""
    room = case.open(None)
    trial = Trial(point, room, Human(), room.honest, f"{case.suite}/{case.user}", structured)
    trial.play([], None)
    return Result(case, "", breached=False, useful=room.useful(), trial=trial)


@dataclass(frozen=True, slots=True)
class Plot:
    """A task, and one of our own attacks on it."""

    case: Case
    variant: Variant
    letter: Letter = MACHINE


def plots(cases: Iterable[Case], letter: Letter = MACHINE, *, seed: int) -> list[Plot]:
    """For each task and generator that applies to it, an attack that wins where nobody defends."""
    found = []
    for case in cases:
        alone = free(case)
        scene = Scene(
            case.words,
            {tool.name: tool for tool in case.tools},
            alone.trial.honest,
            [step.ran.result for step in alone.trial.steps if step.ran],
            [case.open(None).attack(attack) for attack in case.attacks],
            random.Random(f"{seed}/{case.suite}/{case.user}"),
        )
        found += [Plot(case, variant, letter) for variant in variants(scene)]
    return [plot for plot in found if _tried(plot, Permits(), Human()).breached]


def adaptive(
    made: Iterable[Plot], make: Maker, human: Human, *, structured: bool = True
) -> Iterator[Result]:
    """Our own attacks under the decision point."""
    for plot in made:
        case = plot.case
        point = make(case.words, case.tools, case.open(None).honest)
        yield _tried(plot, point, human, structured=structured)


def _tried(plot: Plot, point: Point, human: Human, *, structured: bool = True) -> Result:
    case, variant, letter = plot.case, plot.variant, plot.letter
    # The planted value must be what the agent reads; the others bring the usual text.
    room = case.open(f"{letter.marker}. {variant.injection or letter.saying(variant.generator)}")
    place = f"{case.suite}/{case.user}/{variant.generator}"
    trial = Trial(point, room, human, room.honest, place, structured)
    trial.play(variant.calls, letter.marker)
    return Result(case, variant.generator, variant.wins(trial.steps), None, trial)


def told(result: Result) -> str:
    """One trial in full, for whoever has to mend it."""
    effects = {tool.name: tool.effect for tool in result.case.tools}
    lines = [f"## {result.cluster} {result.attack}", f"words: {result.case.words}"]
    lines += [line(step, effects.get(step.call.tool, "?")) for step in result.trial.steps]
    return "\n".join(lines) + "\n"


def line(step: Step, effect: str) -> str:
    """One attempt in a line, its reasons in the next."""
    whose = "user" if step.wanted else "ATTACKER"
    answer = " approved" if step.approved else ""
    failed = " (failed)" if step.ran is not None and step.ran.failed else ""
    said = f"{step.effect}{answer}{failed}"
    reasons = f"\n           {step.reasons[:600]}" if step.reasons else ""
    return f"  {whose:8} {said:20} {effect:12} {step.call.key[:600]}{reasons}"
