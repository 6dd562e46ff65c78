"""Mandates that operators write once, with places to be filled in. Pure.

    {"title": "Pay one invoice",
     "parameters": {"invoice": {"type": "path", "label": "Which file?", "example": "bill.txt"},
                    "most": {"type": "number", "label": "At most, in EUR", "example": "100.00"}},
     "draft": {"goal": "Pay the invoice in {invoice}", "grants": […], "budget": …}}

In the texts of ``draft`` `{name}` stands for the parameter's value. Values go into JSON as data: no
value can add a member, a grant or a tool. Every parameter has a type, and an example with which the
template is checked when it is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import DRAFT_MEMBERS, VALUE_TYPES, authority_from_draft, is_type

MAX_PARAMETERS: Final = 16
MAX_VALUE: Final = 500
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PARAMETER: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")
_PLACE: Final = re.compile(r"\{([a-z][a-z0-9_]{0,30})\}")
_DRAFT: Final = DRAFT_MEMBERS | {"goal"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One place to be filled in: a value of this type (``wire.rar.VALUE_TYPES``)."""

    type: str
    label: str
    example: str


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a template. ``body`` is what was kept, in the form above."""

    name: str
    version: int
    title: str
    parameters: Mapping[str, Parameter]
    body: JsonObject
    created_by: str
    created_at: datetime

    @classmethod
    def parse(cls, name: str, body: JsonObject, *, version: int, by: str, now: datetime) -> Self:
        """A new version, checked by filling in its examples.

        Raises:
            Refused: MALFORMED, naming what is wrong.
        """
        if not _NAME.fullmatch(name):
            raise Refused(Kind.MALFORMED, "a template's name has a-z, 0-9 and inner hyphens")
        if body.keys() != {"title", "parameters", "draft"}:
            raise Refused(Kind.MALFORMED, "a template has `title`, `parameters` and `draft`")
        title = body["title"]
        if not isinstance(title, str) or not 1 <= len(title) <= 120 or not title.isprintable():
            raise Refused(Kind.MALFORMED, "`title` is one line of 1 to 120 characters")
        made = cls(name, version, title, _parameters(body["parameters"]), body, by, now)
        made.fill({name: one.example for name, one in made.parameters.items()})
        return made

    def fill(self, values: Mapping[str, str]) -> dict[str, JsonValue]:
        """The draft with these values: `goal` and the members of an authority.

        Raises:
            Refused: MALFORMED for a value that is missing, unknown or not of its type, and for a
                draft that is none once it is filled in.
        """
        if values.keys() != self.parameters.keys():
            named = ", ".join(sorted(self.parameters)) or "none"
            raise Refused(Kind.MALFORMED, f"the template's parameters are: {named}")
        for name, value in values.items():
            kind = self.parameters[name].type
            if len(value) > MAX_VALUE or not value.isprintable() or not is_type(value, kind):
                raise Refused(Kind.MALFORMED, f"`{name}` is not a value of the type `{kind}`")
        draft = _filled(self.body["draft"], values)
        if not isinstance(draft, dict) or not draft.keys() <= _DRAFT or "goal" not in draft:
            known = ", ".join(sorted(_DRAFT))
            raise Refused(Kind.MALFORMED, f"`draft` is an object with a `goal` and of {known}")
        authority_from_draft(draft)
        return draft


def _parameters(value: JsonValue) -> dict[str, Parameter]:
    if not isinstance(value, Mapping) or len(value) > MAX_PARAMETERS:
        raise Refused(Kind.MALFORMED, f"`parameters` is an object of at most {MAX_PARAMETERS}")
    found: dict[str, Parameter] = {}
    for name, body in value.items():
        if not _PARAMETER.fullmatch(name):
            raise Refused(Kind.MALFORMED, "a parameter's name has a-z, 0-9 and underscores")
        if not isinstance(body, Mapping) or body.keys() != {"type", "label", "example"}:
            raise Refused(Kind.MALFORMED, f"parameter `{name}` has `type`, `label` and `example`")
        said = (body["type"], body["label"], body["example"])
        kind, label, example = (one if isinstance(one, str) else "" for one in said)
        if kind not in VALUE_TYPES:
            raise Refused(Kind.MALFORMED, f"a type is one of {', '.join(sorted(VALUE_TYPES))}")
        if not 1 <= len(label) <= 200 or not label.isprintable():
            raise Refused(Kind.MALFORMED, f"the label of `{name}` is one line")
        found[name] = Parameter(kind, label, example)
    return found


def _filled(value: JsonValue, values: Mapping[str, str]) -> JsonValue:
    """The same JSON with places filled in: in texts only, and each once, never in a value again."""
    if isinstance(value, str):
        return _PLACE.sub(lambda place: _value(place.group(1), values), value)
    if isinstance(value, Mapping):
        return {name: _filled(member, values) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(member, values) for member in value]
    return value


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise Refused(Kind.MALFORMED, f"`{{{name}}}` is not a parameter of the template")
    return values[name]
