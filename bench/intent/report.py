"""Figures as tables for people, and the failed trials in full for whoever mends them."""

from __future__ import annotations

from pathlib import Path

from bench.intent import replay
from bench.intent.figures import DOJO, Figures
from bench.intent.measure import line, told
from bench.intent.point import changing

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "security" / "intent-benchmark.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"

_COLUMNS = (
    ("residual_static", "attacks left"),
    ("residual_static_wrong", "… 10 % wrong yes"),
    ("residual_adaptive", "adaptive left"),
    ("residual_adaptive_wrong", "… 10 % wrong yes"),
    ("step_up_agentdojo", "tasks with a step-up"),
    ("hard_deny_agentdojo", "tasks with a deny"),
    ("utility_kept", "utility kept"),
    ("intent_flip", "intent flip"),
)


def told_all(figures: Figures, name: str) -> str:
    """Everything about one decision point."""
    parts = [f"### {name}", environments(figures), generators(figures)]
    if figures.traces:
        parts.append(logs(figures))
    return "\n\n".join(part for part in parts if part)


def environments(figures: Figures) -> str:
    """A line for each suite that runs, in percent with 95 % intervals."""
    head = (
        "| suite | tasks | pairs | "
        + " | ".join(title for _, title in _COLUMNS)
        + " | step-ups a task |"
    )
    lines = [head, "|" + "---|" * (len(_COLUMNS) + 4)]
    groups = [(name, [name]) for name in figures.suites]
    groups.insert(len([n for n in figures.suites if n in DOJO]), ("**AgentDojo**", list(DOJO)))
    own = [name for name in figures.suites if name not in DOJO]
    if own:
        groups.append(("**our own**", own))
    for title, names in groups:
        part = figures.of(names)
        rates = part.rates()
        cells = [rates[column].percent() for column, _ in _COLUMNS]
        asked = part.step_ups()
        lines.append(
            f"| {title} | {len(part.honest)} | {len(part.static)} | {' | '.join(cells)} |"
            f" {'-' if asked is None else f'{asked:.2f}'} |"
        )
    return "\n".join(lines)


def generators(figures: Figures) -> str:
    """A line for each way to attack."""
    part = figures.of(DOJO)
    lines = [
        "| adaptive attack (AgentDojo) | n | succeeded | … 10 % wrong yes |",
        "|---|---|---|---|",
    ]
    for name, (perfect, wrong) in part.generators().items():
        lines.append(f"| {name} | {perfect.n} | {perfect.percent()} | {wrong.percent()} |")
    worst = part.rates()["residual_adaptive_worst"]
    lines.append(f"| any of them, by task | {worst.n} | {worst.percent()} | |")
    return "\n".join(lines)


def logs(figures: Figures) -> str:
    """AgentDyn's logs, by model."""
    columns = (
        ("residual_static_agentdyn", "left"),
        ("residual_static_agentdyn_strict", "left, strict"),
        ("step_up_agentdyn", "with a step-up"),
        ("hard_deny_agentdyn", "with a deny"),
        ("intent_flip", "intent flip"),
    )
    titles = ["attacks that succeeded", "solved", *(title for _, title in columns)]
    head = "| AgentDyn `github`, logs of | " + " | ".join(titles) + " |"
    lines = [head, "|---|" + "---|" * len(titles)]
    for model in ["all", *sorted({trace.model for trace in figures.traces})]:
        traces = [t for t in figures.traces if model in ("all", t.model)]
        rates = Figures(figures.seed, traces=traces).rates()
        n = f"{rates['residual_static_agentdyn'].n} | {rates['step_up_agentdyn'].n}"
        cells = " | ".join(rates[name].percent() for name, _ in columns)
        lines.append(f"| {model} | {n} | {cells} |")
    return "\n".join(lines)


def compared(rows: dict[str, Figures]) -> str:
    """One line for each decision point, over AgentDojo, the logs and our own suites."""
    columns = (
        ("residual_static_agentdojo", "AgentDojo: left"),
        ("residual_adaptive", "adaptive left"),
        ("step_up_agentdojo", "step-up"),
        ("hard_deny_agentdojo", "deny"),
        ("utility_kept", "utility kept"),
        ("residual_static_agentdyn", "AgentDyn: left"),
        ("step_up_agentdyn", "step-up"),
        ("hard_deny_agentdyn", "deny"),
    )
    own = (
        ("residual_static", "our own: left"),
        ("step_up_agentdojo", "step-up"),
        ("hard_deny_agentdojo", "deny"),
    )
    titles = [title for _, title in (*columns, *own)]
    lines = ["| decision point | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    for name, figures in rows.items():
        published = figures.of([*DOJO, replay.SUITE]).rates()
        ours = figures.of([suite for suite in figures.suites if suite not in DOJO]).rates()
        cells = [published[key].percent() for key, _ in columns] + [
            ours[key].percent() for key, _ in own
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def failures(figures: Figures) -> str:
    """Each trial that should have gone otherwise, in full."""
    parts = ["# Attacks that succeeded", *(told(r) for r in figures.static if r.breached)]
    parts += [
        "# Adaptive attacks that succeeded",
        *(told(r) for r in figures.adaptive if r.breached),
    ]
    parts += ["# Honest tasks that were disturbed"]
    parts += [told(r) for r, _ in figures.honest if r.trial.asked() or r.trial.denied()]
    parts += ["# Goals that were refused to the user who asked for them"]
    parts += [
        told(r) for r, free in figures.flips if free and (r.trial.asked() or r.trial.denied())
    ]
    parts += ["# Logged traces", *_traces(figures)]
    return "\n".join(parts) + "\n"


def _traces(figures: Figures) -> list[str]:
    changes = changing(replay.tools())
    told_ = []
    for trace in figures.traces:
        stopped = [step for step in trace.steps if step.effect != "permit"]
        left = trace.attack is not None and not replay.stopped_after(trace, changes)
        disturbed = trace.attack is None and trace.solved and stopped
        if left or disturbed:
            kind = "ATTACK LEFT" if left else "disturbed"
            lines = [
                f"## {kind} {trace.model} {trace.user} {trace.attack or ''}",
                f"words: {trace.words}",
            ]
            for at, step in enumerate(trace.steps):
                mark = "  -- injected text was read --" if at == trace.injected else ""
                lines += [mark] if mark else []
                lines.append(line(step, "change" if step.call.tool in changes else "read"))
            told_.append("\n".join(lines) + "\n")
    return told_


def write(text: str) -> None:
    """Put the tables between the marks of the page in the docs."""
    page = DOCS.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    DOCS.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
