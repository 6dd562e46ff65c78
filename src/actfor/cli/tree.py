"""A trace as a tree of plain lines: human → mandate → chain → call → approval → outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_WIDE = 100


def render_trace(events: Sequence[Mapping[str, Any]]) -> str:
    """The events of one action, oldest first: what each says in clear, and what was opened."""
    lines = [line for number, event in enumerate(events) for line in _event(number, event)]
    return "\n".join(lines)


def _event(number: int, event: Mapping[str, Any]) -> list[str]:
    facts, private = event["facts"], event["private"]
    indent = "" if number == 0 else "   " * min(number, 4)
    head = f"{indent}{'└─ ' if number else ''}{_title(event['type'], facts)}"
    lines = [f"{head}   [{event['index']}] {event['at']}"]
    for name, value in (*_chosen(facts), *private.items()):
        lines.append(f"{indent}     {name}: {_short(value)}")
    by = ", ".join(str(leaf) for leaf in event.get("erased_by", ()))
    gone = f"payload erased by leaf {by}" if by else "payload erased"
    lines += [f"{indent}     {name}: {gone}, its commitment stands" for name in event["erased"]]
    return lines


def _title(kind: str, facts: Mapping[str, Any]) -> str:
    call = f"{facts.get('server')}.{facts.get('tool')}"
    match kind:
        case "mandate":
            return "a person committed a mandate"
        case "delegate":
            chain = facts.get("chain") or [str(facts.get("agent"))]
            return f"delegation: {' → '.join([*reversed(chain), *_next(facts)])}"
        case "decide":
            return f"{str(facts.get('decision')).upper()} {call}{_through(facts)}"
        case "approval-request":
            return f"a person is asked about {call}"
        case "approve":
            return "a person approved, with a passkey"
        case "deny":
            return "a person denied"
        case "outcome":
            return f"outcome of {call}: {facts.get('status')}"
        case _:
            return kind


def _through(facts: Mapping[str, Any]) -> str:
    """The agents that a call came through, the person's first; nothing where it was one."""
    chain = facts.get("chain") or []
    return f"   by {' → '.join(reversed(chain))}" if len(chain) > 1 else ""


def _next(facts: Mapping[str, Any]) -> list[str]:
    """To whom an agent passed on what it held."""
    to = facts.get("to")
    return [to] if facts.get("action") == "pass-on" and isinstance(to, str) else []


_SHOWN = (
    "mandate", "authority_hash", "agent", "effect", "policies", "reason", "approval",
    "call_digest", "manifest", "status", "action", "expires_at",
)  # fmt: skip


def _chosen(facts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, facts[name]) for name in _SHOWN if facts.get(name) not in (None, [], "")]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDE else f"{text[:_WIDE]}… ({len(text) - _WIDE} more)"
