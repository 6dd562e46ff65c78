"""The calls that were made under one mandate, counted: the same ones, and others than this one."""

from __future__ import annotations

from collections import Counter
from typing import Final

from actfor.authorization.intent import HARD, TARGET, key_of
from actfor.authorization.intent.text import words
from actfor.authorization.model import ToolEffect
from actfor.gateway.provenance.slots import PAYER, slots
from actfor.gateway.provenance.tools import KnownTool
from actfor.wire.canonical import JsonObject, digest

_MOST: Final = 10_000


class Made:
    """Calls by tool and digest of the arguments (``said``; worked out where nobody has it).

    Not shared between threads.
    """

    def __init__(self) -> None:
        self._calls: dict[str, Counter[str]] = {}
        self._reached: dict[str, set[str]] = {}
        self._payees: set[str] = set()
        self._last = ("", "")
        """The last call that changed something."""

    def note(self, tool: KnownTool, arguments: JsonObject, said: str) -> None:
        """One more."""
        self._count(tool.name, said)
        if tool.reading.effect is not ToolEffect.READ:
            self._last = tool.name, said
        if reached := _reached(tool, arguments):
            self._reached.setdefault(tool.name, set()).add(reached)
        if tool.reading.effect is ToolEffect.PAY:
            self._pay(_payee(tool, arguments))

    def note_unseen(self, tool: str, said: str) -> None:
        """One more, of which nothing but the digest is known: it reached somebody else, and may
        have paid anybody.
        """
        self._count(tool, said)
        self._pay("")
        self._reached.setdefault(tool, set()).add(said)

    def _count(self, tool: str, said: str) -> None:
        """Past the bound all others count as one another's repetition."""
        calls = self._calls.setdefault(tool, Counter())
        calls[said if said in calls or len(calls) < _MOST else ""] += 1

    def is_last(self, tool: KnownTool, arguments: JsonObject, said: str | None) -> bool:
        """Whether this very call was made, and nothing was changed since."""
        return self._last == (tool.name, said or digest(arguments))

    @property
    def has_changed(self) -> bool:
        """Whether anything was changed."""
        return bool(self._last[0])

    @property
    def paid(self) -> int:
        """How many were paid, by whatever tool."""
        return len(self._payees)

    def _pay(self, payee: str) -> None:
        self._payees.add(payee if len(self._payees) < _MOST else "")

    def has_paid(self, tool: KnownTool, arguments: JsonObject) -> bool:
        """Whether somebody may have been paid before whom this call pays."""
        if tool.reading.effect is not ToolEffect.PAY or not self._payees:
            return False
        payee = _payee(tool, arguments)
        return not payee or not self._payees.isdisjoint({payee, ""})

    def others(self, tool: KnownTool, arguments: JsonObject, said: str | None) -> int:
        """Calls made with other arguments; of what goes to someone, to others."""
        calls = self._calls.get(tool.name)
        if not calls:
            return 0
        if reached := _reached(tool, arguments):
            return len(self._reached.get(tool.name, set()) - {reached})
        return len(calls.keys() - {said or digest(arguments)})

    def same(self, tool: KnownTool, arguments: JsonObject, said: str | None) -> int:
        """This very call, made before."""
        calls = self._calls.get(tool.name)
        return 0 if not calls else max(calls[said or digest(arguments)], calls[""])


def _payee(tool: KnownTool, arguments: JsonObject) -> str:
    """Whom a payment reaches: the accounts or addresses that do not pay, else the names."""
    found = [
        (kind, key_of(value, kind))
        for pointer, kind, value in slots(arguments, tool.sinks)
        if kind in TARGET and PAYER.isdisjoint(words(pointer))
    ]
    hard = [key for kind, key in found if kind in HARD]
    return "\n".join(sorted(hard or [key for _, key in found]))


def _reached(tool: KnownTool, arguments: JsonObject) -> str:
    """Whom a message reaches, as one text; nothing for tools that send none."""
    if tool.reading.effect not in {ToolEffect.SHARE, ToolEffect.EGRESS}:
        return ""
    return "\n".join(
        sorted(
            key_of(value, kind) for _, kind, value in slots(arguments, tool.sinks) if kind in HARD
        )
    )
