"""What a foreign enforcement point says about where the values of a call come from.

``context.provenance`` of an AuthZEN question under a mandate (ours; AuthZEN §5.4 leaves `context`
to the parties):

    {"values": [{"argument": "/to", "label": "untrusted", "source": "mail/read", "field": "body",
                 "author": "eve@evil.example", "secret": false}],
     "complete": true, "read_untrusted": true, "read_secret": false}

``argument`` is a pointer into `context.arguments` and stands for all below it. ``label`` is
`trusted` (a system of record), `attested` (a system vouches, strangers choose), `unknown` (the
agent made it up) or `untrusted` (others wrote it); there is none for what the person said: that is
in the mandate's words. ``complete``: whoever says this saw all that the agent has read.

INVARIANT: what tightens is taken from everybody, what loosens only from whom the operator believes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from actfor.authorization.intent import TARGET, SinkType
from actfor.authorization.model import Fact, ToolEffect
from actfor.errors import Kind, Refused
from actfor.gateway.provenance import Label, Ledger, Origin, SlotTrace
from actfor.gateway.provenance.results import Field
from actfor.gateway.provenance.slots import slots
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import ABSENT, resolve

PROVENANCE: Final = "provenance"
MAX_VALUES: Final = 64
MAX_TEXT: Final = 512
LABELS: Final[Mapping[str, Label]] = {
    label.word: label for label in (Label.TRUSTED, Label.ATTESTED, Label.UNKNOWN, Label.UNTRUSTED)
}

_FLAGS: Final = ("complete", "read_untrusted", "read_secret")
_TEXTS: Final = ("source", "field", "author")
_OTHERS: Final = frozenset({Label.ATTESTED, Label.UNTRUSTED})
# A read reaches out only by the address or the command it is given (`provenance.intent`).
_READ_BY: Final = frozenset({SinkType.URL, SinkType.COMMAND})


@dataclass(frozen=True, slots=True)
class Value:
    """Where one argument comes from, as somebody says it."""

    argument: str
    label: Label
    origin: Origin
    secret: bool = False

    def is_about(self, pointer: str) -> bool:
        """Whether a value of the call at this pointer is meant."""
        return pointer == self.argument or pointer.startswith(f"{self.argument}/")


@dataclass(frozen=True, slots=True)
class Told:
    """All that was said about a call. What is left out is not known."""

    values: tuple[Value, ...] = ()
    complete: bool = False
    read_untrusted: bool = False
    read_secret: bool = False

    @property
    def loosens(self) -> bool:
        """Whether some of it would make a call less doubtful, if it were believed."""
        return self.complete or any(one.label < Label.UNTRUSTED for one in self.values)

    def of(self, pointer: str) -> Sequence[Value]:
        """What was said about the value at ``pointer``, the most doubtful last."""
        about = [one for one in self.values if one.is_about(pointer)]
        return sorted(about, key=lambda one: one.label)


def told_of(said: JsonValue, arguments: JsonObject) -> Told:
    """Parse ``context.provenance``. Members that we do not know are refused, because they might
    have tightened.

    Raises:
        Refused: MALFORMED, naming what is wrong.
    """
    body = _members(said, {"values", *_FLAGS}, "it")
    values = body.get("values", [])
    if not isinstance(values, list | tuple) or len(values) > MAX_VALUES:
        raise _malformed(f"`values` is a list of at most {MAX_VALUES}")
    flags = {name: _flag(body, name) for name in _FLAGS}
    return Told(tuple(_value(one, arguments) for one in values), **flags)


def believe(
    ledger: Ledger, told: Told, arguments: JsonObject, sinks: Mapping[str, SinkType]
) -> None:
    """Have the ledger know these values as if their sources had returned them through us."""
    for pointer, _, text in slots(arguments, sinks):
        for one in told.of(pointer):
            if one.label is not Label.UNKNOWN:
                fields = tuple(_fields(one, text))
                content = one.label in _OTHERS
                ledger.index.add(
                    0, one.origin.tool, fields, keyed=False, content=content, complete=True
                )


def tighten(
    facts: Mapping[str, Fact], traced: Sequence[SlotTrace], told: Told, effect: ToolEffect
) -> dict[str, Fact]:
    """The facts, where what was said is more doubtful than what was found."""
    tighter = dict(facts)
    for slot in traced:
        for one in told.of(slot.pointer):
            if one.label > slot.label:
                tighter |= _doubts(replace(slot, label=one.label, origin=one.origin), effect)
    if told.read_untrusted or any(one.label in _OTHERS for one in told.values):
        tighter["read_untrusted"] = True
    secrets = any(one.secret for one in told.values)
    if told.read_secret or secrets:
        tighter["read_secret"] = True
    if secrets and effect is not ToolEffect.READ:
        tighter["carries_secret"] = True
    return tighter


def _doubts(slot: SlotTrace, effect: ToolEffect) -> Mapping[str, Fact]:
    """What follows from one value that is worse than it was found to be."""
    if slot.type not in TARGET:
        return {"content_untrusted": True} if slot.label in _OTHERS else {}
    if effect is ToolEffect.READ and slot.type not in _READ_BY:
        return {}
    told: dict[str, Fact] = {"sink_label": slot.label.word, "sink_origin": slot.shown}
    if slot.label in _OTHERS:
        return {**told, "sinks_untrusted": True}
    return {**told, "target_unnamed": True} if slot.label is Label.UNKNOWN else {}


def _fields(one: Value, text: str) -> Iterator[Field]:
    name = one.origin.field or "value"
    yield Field(0, f"/{name}", text, one.label, secret=one.secret)
    if one.origin.author:
        yield Field(0, "/author", one.origin.author, Label.ATTESTED, author=True)


def _value(said: JsonValue, arguments: JsonObject) -> Value:
    body = _members(said, {"argument", "label", "secret", *_TEXTS}, "a value")
    argument, label = body.get("argument"), body.get("label")
    if not isinstance(argument, str) or resolve(arguments, argument) is ABSENT:
        raise _malformed("`argument` points at one of `context.arguments`")
    if not isinstance(label, str) or label not in LABELS:
        raise _malformed(f"`label` is one of {', '.join(LABELS)}")
    texts = [_text(body, name) for name in _TEXTS]
    return Value(argument, LABELS[label], Origin(*texts), _flag(body, "secret"))


def _members(said: JsonValue, known: set[str], what: str) -> JsonObject:
    if not isinstance(said, Mapping):
        raise _malformed(f"{what} is an object")
    unknown = sorted(said.keys() - known)
    if unknown:
        raise _malformed(f"{what} has no member `{unknown[0][:64]!a}`")
    return said


def _flag(body: JsonObject, name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise _malformed(f"`{name}` is true or false")
    return value


def _text(body: JsonObject, name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise _malformed(f"`{name}` is a text of at most {MAX_TEXT} characters")
    return value


def _malformed(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, f"`context.{PROVENANCE}`: {detail}")
