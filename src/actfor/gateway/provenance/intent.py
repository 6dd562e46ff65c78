"""From traces to facts: what the policies are told about intent and data. Pure.

The rules here name what is doubtful; what is done about it is the policies' (default.cedar).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from actfor.authorization.intent import HARD, TARGET, Ask, Grounds, SinkType, ToolReading
from actfor.authorization.intent.lexicon import Deed
from actfor.authorization.intent.proposal import GRAVE
from actfor.authorization.model import Fact, ToolEffect
from actfor.gateway.provenance.labels import Label, SlotTrace

_MADE_UP: Final = frozenset({SinkType.COMMAND, SinkType.KEY, SinkType.PERMISSION})
"""What an agent may well compose itself, when it was surely asked to."""


@dataclass(frozen=True, slots=True)
class History:
    """What happened before under the mandate, as far as it makes the next call doubtful."""

    read_untrusted: bool = False
    read_secret: bool = False
    speaks: bool = False
    """A text that speaks to machines has been read."""
    made: int = 0
    """Other calls of this tool that were made, with other arguments."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out about one call before its facts are drawn."""

    tool: ToolReading
    effect: ToolEffect
    grounds: Grounds
    via: bool
    """A source that the words name and hand over to asks for it."""
    slots: Sequence[SlotTrace]
    inner: Sequence[SlotTrace]
    """Addresses and accounts inside of free text."""
    relevant: bool
    solicited: SlotTrace | None
    carries_secret: bool
    history: History


def facts_of(found: Findings) -> dict[str, Fact]:
    """The intent facts of a call, by the names of the Cedar schema."""
    asked = _asked(found)
    doubtful = [slot for slot in found.slots if _doubtful(slot, found, asked)]
    doubtful += [slot for slot in found.inner if _leads_out(slot, found)]
    content = any(
        slot.type is SinkType.TEXT and slot.label >= Label.ATTESTED and slot.how != "none"
        for slot in found.slots
    )
    if asked == "no" and _is_means(found, doubtful=bool(doubtful), content=content):
        asked = "means"
    targets = [slot for slot in found.slots if slot.type in TARGET] + doubtful
    worst = max(targets, key=lambda slot: slot.label, default=None)
    shown = doubtful[0] if doubtful else found.solicited or worst
    changes = found.effect is not ToolEffect.READ
    unsure = asked in {"no", "maybe", "via"} and found.effect in GRAVE
    return {
        "effect_asked": asked,
        "sink_label": "none" if worst is None else worst.label.word,
        "sink_origin": "" if shown is None else shown.shown,
        "sinks_untrusted": bool(doubtful),
        "content_untrusted": content,
        "solicited": found.solicited is not None,
        "relevant": found.relevant,
        "read_untrusted": found.history.read_untrusted,
        "read_secret": found.history.read_secret,
        "carries_secret": found.carries_secret,
        "over_count": changes and found.grounds.one and found.history.made > 0 and _counts(found),
        "unusual_order": changes and unsure and found.history.speaks,
        "value_endorsed": any(slot.how == "endorsed" for slot in found.slots),
    }


def _asked(found: Findings) -> str:
    if found.effect is ToolEffect.READ or found.grounds.ask is Ask.YES:
        return "yes"
    if found.grounds.ask is Ask.MAYBE:
        return "maybe"
    if found.via and found.effect not in GRAVE:
        return "via"
    if any(slot.how == "endorsed" for slot in found.slots):
        return "maybe"
    return "no"


def _doubtful(slot: SlotTrace, found: Findings, asked: str) -> bool:
    """Whether this argument sends, pays or lets in where others say."""
    kind, label = slot.type, slot.label
    if found.effect is ToolEffect.READ:
        # A read reaches out only by the address or the command it is given.
        return kind in {SinkType.URL, SinkType.COMMAND} and label >= Label.UNKNOWN
    if Deed.LOGIN in found.tool.deeds:
        return False  # a credential or code, given to the service it is for
    if kind in HARD:
        if label is Label.UNKNOWN and kind in _MADE_UP:
            return kind is not SinkType.PERMISSION and (
                asked != "yes" or found.history.read_untrusted
            )
        return label >= Label.ATTESTED
    if kind is SinkType.AMOUNT:
        return found.effect is ToolEffect.PAY and label is Label.UNTRUSTED
    if kind in TARGET:
        return label is Label.UNTRUSTED or (label >= Label.ATTESTED and asked == "no")
    return False


def _leads_out(slot: SlotTrace, found: Findings) -> bool:
    """Whether a link in a text that goes to others is a stranger's, and no link was asked for."""
    if found.effect not in {ToolEffect.SHARE, ToolEffect.EGRESS}:
        return False
    return slot.label >= Label.ATTESTED and not found.relevant


def _is_means(found: Findings, *, doubtful: bool, content: bool) -> bool:
    """A step on the way: a plain write about the same matter in which nothing is others'."""
    if found.effect is not ToolEffect.WRITE or doubtful or content:
        return False
    return found.relevant or Deed.LOGIN in found.tool.deeds


def _counts(found: Findings) -> bool:
    return found.effect in GRAVE or found.effect in {ToolEffect.SHARE, ToolEffect.EGRESS}
