"""From traces to facts: what the policies are told about intent and data. Pure.

The rules (``asked``, ``doubts``) name what is doubtful; what is done about it is the policies'
(default.cedar).
"""

from __future__ import annotations

from typing import Final

from actfor.authorization.intent import TARGET, SinkType
from actfor.authorization.intent.proposal import GRAVE
from actfor.authorization.model import Fact, ToolEffect
from actfor.gateway.provenance.asked import (
    asked_of,
    is_its_own_proof,
    is_means,
    is_over_count,
    is_plainly_meant,
)
from actfor.gateway.provenance.doubts import (
    is_doubtful,
    is_smuggled,
    is_unnamed,
    is_unproved,
    leads_out,
)
from actfor.gateway.provenance.findings import Findings, is_grave
from actfor.gateway.provenance.labels import Label

_BASKET: Final = "the basket may hold what was not asked for"
_ANCHOR: Final = TARGET | {SinkType.TEXT, SinkType.DATE, SinkType.AMOUNT}


def facts_of(found: Findings) -> dict[str, Fact]:
    """The intent facts of a call, by the names of the Cedar schema."""
    asked = asked_of(found)
    doubtful = [slot for slot in found.slots if is_doubtful(slot, found, asked)]
    doubtful += [slot for slot in found.inner if leads_out(slot, found)]
    doubtful += [slot for slot in found.embedded if is_smuggled(slot, found)]
    unnamed = [slot for slot in found.slots if is_unnamed(slot, found, asked)]
    leaning = asked == "maybe" and not found.hands_over
    most = Label.TRUSTED if is_plainly_meant(found) else Label.FROM
    anchored = any(
        slot.label <= most or slot.how == "named-record"
        for slot in found.slots
        if slot.type in _ANCHOR
    )
    if leaning and (not anchored or is_grave(found) or found.history.speaks):
        asked = "no"  # words that may mean it are not enough, or have nothing to do with this call
    content = any(
        slot.type is SinkType.TEXT and slot.label >= Label.ATTESTED and slot.how != "none"
        for slot in found.slots
    )
    means = is_means(found, doubtful=bool(doubtful), content=content)
    if asked == "no" and (means or (not (doubtful or unnamed) and is_its_own_proof(found))):
        asked = "means"
    targets = [slot for slot in found.slots if slot.type in TARGET] + doubtful
    worst = max(targets, key=lambda slot: slot.label, default=None)
    shown = doubtful[0] if doubtful else found.solicited or next(iter(unnamed), worst)
    changes = found.effect is not ToolEffect.READ
    unsure = asked in {"no", "maybe", "via"} and found.effect in GRAVE
    return {
        "effect_asked": asked,
        "sink_label": "none" if worst is None else worst.label.word,
        "sink_origin": _BASKET if found.basket else "" if shown is None else shown.shown,
        "sinks_untrusted": bool(doubtful),
        "target_unnamed": bool(unnamed) or found.basket,
        "content_untrusted": content,
        "solicited": found.solicited is not None,
        "relevant": found.relevant,
        "read_untrusted": found.history.read_untrusted,
        "read_secret": found.history.read_secret,
        "carries_secret": found.carries_secret,
        "over_count": changes and is_over_count(found),
        "unusual_order": changes and found.history.speaks and (unsure or is_unproved(found)),
        "value_endorsed": any(slot.how == "endorsed" for slot in found.slots),
    }
