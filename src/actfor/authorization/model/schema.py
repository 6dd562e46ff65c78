"""The shape of a request, read from the Cedar schema and checked here at every decision.

Cedar can check a request against the schema too, but re-reads the whole context to do it
(20 µs a call); this check takes one pass over a table. A test proves that both refuse alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import cedarpy

from actfor.authorization.model.facts import Fact, Request

_TYPES: Mapping[str, type] = {"Bool": bool, "Long": int, "String": str}
_COMMENT = re.compile(r"//[^\n]*")
_FACTS = re.compile(r"type\s+Facts\s*=\s*\{(?P<body>[^{}]*)\}\s*;")
_FACT = re.compile(r"(?P<name>\w+)(?P<optional>\??)\s*:\s*(?P<type>\w+)")
_ACTION = re.compile(r"action\s+(?P<names>[\w\s,]+?)\s+appliesTo")
_LONG = 2**63
_MOST_GOOD = 4096


@dataclass(frozen=True, slots=True)
class RequestSchema:
    """A Cedar schema with entities ``Agent`` and ``Tool in [Server]``, actions, and ``type Facts``.

    ``Facts`` must be a flat record of Bool, Long and String; anything else is a programmer's error.
    """

    text: str
    actions: frozenset[str]
    required: Mapping[str, type]
    optional: Mapping[str, type]
    facts: frozenset[str]
    """The names of all of them."""
    handle: cedarpy.Schema = field(compare=False, repr=False)
    # Names and types of the facts of requests without a fault, and which are numbers: a memo.
    _good: dict[tuple[object, ...], tuple[str, ...]] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a schema.

        Raises:
            ValueError: Cedar refuses it, or it has not the shape described above.
        """
        bare = _COMMENT.sub("", text)
        record, actions = _FACTS.search(bare), _ACTION.findall(bare)
        if record is None or not actions:
            raise ValueError("the schema needs `type Facts = {…};` and actions")
        required: dict[str, type] = {}
        optional: dict[str, type] = {}
        for fact in _FACT.finditer(record["body"]):
            kind = _TYPES.get(fact["type"])
            if kind is None:
                raise ValueError(f"fact `{fact['name']}` is not a Bool, Long or String")
            (optional if fact["optional"] else required)[fact["name"]] = kind
        names = frozenset(name.strip() for group in actions for name in group.split(","))
        facts = frozenset(required) | frozenset(optional)
        handle = cedarpy.Schema.from_str(text)
        return cls(text, names, required, optional, facts, handle, {})

    def fault(self, request: Request) -> str | None:
        """Why the request is not of this shape, or None."""
        if request.action not in self.actions:
            return f"action `{request.action}` is not in the schema"
        context = request.context
        shape = (*context, *map(type, context.values()))
        numbers = self._good.get(shape)
        if numbers is None:
            return self._fault(context, shape)
        for name in numbers:
            if not -_LONG <= context[name] < _LONG:  # type: ignore[operator] # a number, by its type
                return self._fault(context, shape)
        return None

    def _fault(self, context: Mapping[str, Fact], shape: tuple[object, ...]) -> str | None:
        """The same, slowly, fact by fact."""
        for name, kind in self.required.items():
            # `type(…) is`: True is an int to Python, and a Bool is never a Long to Cedar.
            if type(value := context.get(name)) is not kind or (kind is int and _too_big(value)):
                return f"fact `{name}` is missing or not a {kind.__name__}"
        for name, value in context.items():
            if name in self.required:
                continue
            if type(value) is not self.optional.get(name) or _too_big(value):
                return f"fact `{name}` is unknown or has the wrong type"
        if len(self._good) >= _MOST_GOOD:
            self._good.clear()
        self._good[shape] = tuple(name for name, value in context.items() if type(value) is int)
        return None


def _too_big(value: object) -> bool:
    return type(value) is int and not -_LONG <= value < _LONG
