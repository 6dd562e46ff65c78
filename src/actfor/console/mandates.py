"""Mandates between people and machine: a form read into an authority.

What a person confirms is said by ``wire.rar.explain``, from the very data that will be checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from actfor.console.forms import Form
from actfor.delegation import Mandate
from actfor.errors import Kind, Refused
from actfor.wire import strict_json
from actfor.wire.canonical import JsonObject, JsonValue, canonical
from actfor.wire.rar import EFFECT_WORDS, Authority, authority_from_draft

EFFECTS = tuple(EFFECT_WORDS.items())
"""The effects in the order of their harm, and in words."""

MAX_HOURS = 31 * 24
_TOOL = re.compile(r"[a-z0-9-]{1,63}/\S{1,128}")
_KINDS = "is, enum, pattern, prefix, range or max_length"


@dataclass(frozen=True, slots=True)
class Filled:
    """The mandate form as filled in; shown again as it is when something is wrong with it."""

    goal: str = ""
    agent: str = ""
    hours: str = "8"
    tools: tuple[str, ...] = ()
    server: str = ""
    tool_names: str = ""
    effects: tuple[str, ...] = ("read",)
    constraints: str = ""
    calls: str = ""
    amount: str = ""
    approval: str = "policy"
    four_eyes: bool = False

    @classmethod
    def read(cls, form: Form) -> Filled:
        """The fields of a submitted form, not yet understood."""
        return cls(
            goal=form.one("goal"),
            agent=form.one("agent"),
            hours=form.one("hours"),
            tools=tuple(form.all("tool")),
            server=form.one("server"),
            tool_names=form.one("tools"),
            effects=tuple(form.all("effect")),
            constraints=form.one("constraints"),
            calls=form.one("calls"),
            amount=form.one("amount"),
            approval=form.one("approval"),
            four_eyes=form.one("four_eyes") == "1",
        )

    def fields(self) -> list[tuple[str, str]]:
        """The same fields again, for hidden inputs."""
        single = [
            ("goal", self.goal),
            ("agent", self.agent),
            ("hours", self.hours),
            ("server", self.server),
            ("tools", self.tool_names),
            ("constraints", self.constraints),
            ("calls", self.calls),
            ("amount", self.amount),
            ("approval", self.approval),
            ("four_eyes", "1" if self.four_eyes else ""),
        ]
        many = [("tool", tool) for tool in self.tools]
        return [*single, *many, *(("effect", effect) for effect in self.effects)]

    def authority(self) -> Authority:
        """What the form asks for.

        Raises:
            Refused: MALFORMED, saying what to correct.
        """
        limits = _limits(self.constraints)
        grants = [
            _grant(server, tools, args, self)
            for server, tools, args in _grouped(self._chosen(), limits)
        ]
        budget: dict[str, JsonValue] = {}
        if self.calls:
            budget["calls"] = _whole(self.calls)
        if self.amount:
            budget["amount"] = _money(self.amount)
        return authority_from_draft({"grants": grants, "budget": budget})

    def lifetime(self) -> timedelta:
        """How long the mandate shall last.

        Raises:
            Refused: MALFORMED unless it is a sensible number of hours.
        """
        return hours_of(self.hours)

    def _chosen(self) -> list[tuple[str, str]]:
        chosen = list(self.tools)
        if self.server:
            chosen += [f"{self.server}/{name}" for name in self.tool_names.split()]
        for tool in chosen:
            if not _TOOL.fullmatch(tool):
                raise Refused(Kind.MALFORMED, "a tool is named as `server/tool`")
        if not chosen:
            raise Refused(Kind.MALFORMED, "choose at least one tool")
        if not self.effects:
            raise Refused(Kind.MALFORMED, "choose what the tools may be used for")
        pairs = [(server, name) for server, _, name in (tool.partition("/") for tool in chosen)]
        return sorted(set(pairs))


def hours_of(text: str) -> timedelta:
    """A number of hours as people write it.

    Raises:
        Refused: MALFORMED unless it is a sensible number of hours.
    """
    if not re.fullmatch(r"[0-9]{1,4}([.,][0-9]{1,3})?", text):
        raise Refused(Kind.MALFORMED, "how long? give hours, such as `8` or `0.5`")
    hours = float(text.replace(",", "."))
    if not 0.01 <= hours <= MAX_HOURS:
        raise Refused(Kind.MALFORMED, f"a mandate lasts from 0.01 to {MAX_HOURS} hours")
    return timedelta(hours=hours)


@dataclass(slots=True)
class _Limits:
    """Limits for every tool, and for single tools."""

    everywhere: dict[str, JsonValue] = field(default_factory=dict)
    by_tool: dict[str, dict[str, JsonValue]] = field(default_factory=dict)

    def of(self, tool: str) -> dict[str, JsonValue]:
        return {**self.everywhere, **self.by_tool.get(tool, {})}


def _limits(text: str) -> _Limits:
    """Lines of ``[TOOL] /POINTER KIND VALUE``."""
    limits = _Limits()
    for line in text.splitlines():
        words = line.split(None, 3 if not line.lstrip().startswith("/") else 2)
        if not words:
            continue
        tool = None if words[0].startswith("/") else words.pop(0)
        if len(words) != 3 or not words[0].startswith("/"):
            raise Refused(
                Kind.MALFORMED, f"limit `{line.strip()[:80]}` is not `/argument kind value`"
            )
        pointer, kind, value = words
        target = limits.everywhere if tool is None else limits.by_tool.setdefault(tool, {})
        if pointer in target:
            raise Refused(Kind.MALFORMED, f"`{pointer[:80]}` is limited twice")
        target[pointer] = _constraint(kind, value.strip())
    return limits


def _constraint(kind: str, value: str) -> JsonObject:
    match kind:
        case "is" | "const":
            return {"const": _value(value)}
        case "enum":
            return {"enum": [_value(item.strip()) for item in value.split(",")]}
        case "pattern" | "prefix":
            return {kind: value}
        case "max_length":
            return {kind: _whole(value)}
        case "range":
            low, _, high = value.partition(" ")
            bounds = {"min": low.strip(), "max": high.strip()}
            return {
                "range": {name: bound for name, bound in bounds.items() if bound not in {"", "-"}}
            }
    raise Refused(Kind.MALFORMED, f"a limit's kind is {_KINDS}, not `{kind[:40]}`")


def _value(text: str) -> JsonValue:
    """JSON where it is JSON (`3`, `true`, `"3"`), else the text itself."""
    try:
        return strict_json.loads(text.encode(), max_depth=4)
    except (Refused, UnicodeEncodeError):
        return text


def _grouped(
    chosen: Sequence[tuple[str, str]], limits: _Limits
) -> list[tuple[str, list[str], dict[str, JsonValue]]]:
    """Tools of one server under the same limits share a grant."""
    names = {name for _, name in chosen}
    for tool in limits.by_tool:
        if tool not in names:
            raise Refused(Kind.MALFORMED, f"tool `{tool[:80]}` is limited, but not chosen")
    groups: dict[tuple[str, bytes], tuple[str, list[str], dict[str, JsonValue]]] = {}
    for server, name in chosen:
        args = limits.of(name)
        groups.setdefault((server, canonical(args)), (server, [], args))[1].append(name)
    return list(groups.values())


def _grant(server: str, tools: list[str], args: dict[str, JsonValue], form: Filled) -> JsonObject:
    approval = "always" if form.approval == "always" else "policy"
    effects = list(form.effects)
    return {
        "server": server,
        "tools": tools,
        "effects": effects,
        "args": args,
        "approval": approval,
    }


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused(Kind.MALFORMED, f"`{text[:40]}` is not a whole number")
    return int(text)


def _money(text: str) -> JsonObject:
    value, _, currency = text.partition(" ")
    return {"value": value, "currency": currency.strip().upper()}


def row(mandate: Mandate) -> Mapping[str, Any]:
    """A mandate as a list shows it."""
    calls = mandate.authority.budget.calls
    used = f"{mandate.calls_used} of {calls} calls" if calls is not None else None
    return {
        "id": mandate.id,
        "goal": mandate.goal,
        "agent": mandate.agent,
        "person_id": mandate.person_id,
        "state": mandate.state.value,
        "used": used or f"{mandate.calls_used} calls",
        "expires_at": mandate.expires_at,
        "created_at": mandate.created_at,
        "four_eyes": mandate.four_eyes,
    }
