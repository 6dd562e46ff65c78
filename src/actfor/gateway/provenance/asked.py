"""Whether the words ask for one call: by a verb, by what they point at, or by all that fills it.

The first that fits says how surely: `yes`, `maybe`, `via` (a source that was handed over to asks),
`means` (a step on the way), `no`.
"""

from __future__ import annotations

from typing import Final

from actfor.authorization.intent import TARGET, Ask, SinkType
from actfor.authorization.intent.lexicon import Deed
from actfor.authorization.intent.proposal import GRAVE
from actfor.authorization.intent.text import normal, stem
from actfor.authorization.intent.values import is_path
from actfor.authorization.model import ToolEffect
from actfor.gateway.provenance.doubts import is_prose, only_looks
from actfor.gateway.provenance.findings import Findings, is_grave
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.provenance.slots import is_id


def asked_of(found: Findings) -> str:
    """How surely the words ask for it, before anything is known of its values' doubts."""
    if found.contrary:
        return "no"
    if found.effect is ToolEffect.READ:
        return "yes"
    if found.grounds.files and not _takes_files(found):
        return "no"
    if found.grounds.ask is Ask.YES:
        return "yes"
    if found.only_object and not found.history.speaks:
        return "yes"
    if _only_opens(found):
        return "yes"
    if _is_done_to_its_record(found):
        return "yes"
    pointed = _is_pointed_at(found)
    if pointed and not found.history.read_untrusted:
        return "yes"
    if pointed or found.grounds.ask is Ask.MAYBE:
        return "maybe"
    if found.via and found.effect not in GRAVE and found.slots:
        return "via"
    if any(slot.how == "endorsed" for slot in found.slots):
        return "maybe"
    return "no"


def _takes_files(found: Findings) -> bool:
    """Whether files are taken along, and each was spelled out or listed: to upload is no message,
    and takes no file that only might be there.
    """
    paths = [slot for slot in found.slots if slot.type is SinkType.PATH]
    return bool(paths) and all(slot.how == "words" or slot.origin.tool for slot in paths)


def _only_opens(found: Findings) -> bool:
    """Whether a page is opened and nothing else said: one whose address the words spell, or the
    link of the invitation that they say to accept.
    """
    opens = Deed.LOOK in found.tool.deeds and "~web" in found.tool.head
    light = found.effect in {ToolEffect.WRITE, ToolEffect.EGRESS, ToolEffect.SHARE}
    if not (opens and light and found.changes_asked) or found.tool.verbs & found.denied:
        return False
    slots = [slot for slot in found.slots if slot.type is SinkType.URL]
    said = len(slots) == len(found.slots) == 1 and slots[0].how in {"words", "invitation"}
    return said and not found.history.speaks


def _is_done_to_its_record(found: Findings) -> bool:
    """Whether the best tool for a verb of the words is used on the very record that they call by
    its name, whatever kind of thing that is, and nothing else in it is a stranger's choice: `invite
    Lene to drive my Volvo Brunhilde`. Not what pays, destroys or runs.
    """
    targets = [slot for slot in found.slots if slot.type in TARGET]
    return (
        found.effect in _SPELLED
        and found.grounds.verb is Ask.YES
        and not found.history.speaks
        and any(slot.how == "named-record" for slot in targets)
        and all(slot.label <= Label.FROM or slot.how == "named-record" for slot in targets)
    )


def _is_pointed_at(found: Findings) -> bool:
    """Whether a verb of the words may mean this, and they name all that it is done to.

    `Get rid of draft.txt`, `move the budget review to 3 pm`: the thing is told by its name or by
    its record's title, and the verb alone says the rest. Not what only money or code would do.
    """
    targets = [slot for slot in found.slots if slot.type in TARGET]
    surely = found.grounds.verb if found.effect in GRAVE else found.grounds.verb * 2
    if surely < Ask.YES or not targets or found.effect in _NEVER_POINTED:
        return False
    if found.history.read_untrusted and (found.effect in GRAVE or _names_new(found, targets)):
        return False
    return all(slot.label is Label.USER or slot.how == "named-record" for slot in targets)


def _names_new(found: Findings, targets: list[SlotTrace]) -> bool:
    """Whether a new thing only bears a name out of the words: that points at nothing. A file does,
    at its path, and what is added to a record that the words name.
    """
    return Deed.CREATE in found.tool.deeds and not any(
        (slot.type is SinkType.PATH and is_path(normal(slot.value)))
        or (slot.how == "named-record" and is_id(slot.pointer))
        for slot in targets
    )


_NEVER_POINTED: Final = frozenset({ToolEffect.PAY, ToolEffect.EXECUTE, ToolEffect.UNKNOWN})


def is_plainly_meant(found: Findings) -> bool:
    """Whether the verb and the matter both say that this is a change that was meant."""
    plain = found.effect is ToolEffect.WRITE and not is_grave(found)
    return plain and found.matter and found.grounds.verb is Ask.YES


def is_its_own_proof(found: Findings) -> bool:
    """Whether a call in which nothing is in doubt shows by itself that it was meant."""
    if found.contrary:
        return False
    return _is_own_doing(found) or _is_spelled_out(found) or _is_query(found)


def is_means(found: Findings, *, doubtful: bool, content: bool) -> bool:
    """A step on the way: a plain write about the same matter in which nothing is others'."""
    if (
        found.effect is not ToolEffect.WRITE
        or doubtful
        or content
        or found.contrary
        or not found.slots
    ):
        return False
    if (found.hands_over and not found.history.speaks) or Deed.LOGIN in found.tool.deeds:
        return True
    if not found.changes_asked:
        return False
    if any(s.type is SinkType.NAME and s.label is Label.FROM for s in found.slots):
        return False
    if Deed.CREATE in found.tool.deeds:
        return found.matter and bool(found.tool.head & _LOCAL)
    return found.relevant and bool(found.tool.deeds & {Deed.FETCH, Deed.MOVE})


_LOCAL: Final = frozenset(stem(word) for word in "dir directory folder".split())
"""What an agent makes for itself on the way."""


def _is_spelled_out(found: Findings) -> bool:
    """Whether the person's own words fill the call: on what, for whom, and one more thing.

    `Nadia needs read access to the staging database until Friday`: no verb, and nothing left open.
    Not what pays, destroys or runs, where only a verb that asks for it is enough.
    """
    if found.effect not in _SPELLED or found.history.speaks or not found.changes_asked:
        return False
    said = {normal(slot.value) for slot in found.slots if slot.how in {"words", "named-record"}}
    targets = [slot for slot in found.slots if slot.type in TARGET]
    targets = [slot for slot in targets if not _is_composed(slot, found)]
    lets_in = found.effect is ToolEffect.GRANT_ACCESS
    if lets_in and not found.said & _ADMITS:
        return False  # who writes to somebody about a folder does not let them into it
    most = Label.USER if lets_in else Label.TRUSTED
    sums = [slot for slot in found.slots if slot.type is SinkType.AMOUNT]
    meant = any(slot.how in {"words", "named-record"} for slot in targets)
    others = any(slot.label in _OTHERS for slot in found.slots)
    told = all(slot.label <= most for slot in targets)
    told &= all(slot.label <= Label.TRUSTED for slot in sums)
    return len(said) > 1 and meant and told and not others


def _is_composed(slot: SlotTrace, found: Findings) -> bool:
    """Whether this is a text that the agent wrote, where a tool calls it a name: what to do."""
    nowhere = slot.type is SinkType.NAME and slot.label is Label.UNKNOWN and slot.how == "none"
    made = Deed.CREATE in found.tool.deeds and slot.value.count(" ") > 1 and not is_id(slot.pointer)
    return nowhere and found.effect is ToolEffect.WRITE and (made or is_prose(slot, found))


_SPELLED: Final = frozenset({ToolEffect.WRITE, ToolEffect.SHARE, ToolEffect.GRANT_ACCESS})


_ADMITS: Final = frozenset(
    stem(word)
    for word in "access permission rights role login account let able invite admit allow share"
    " member see".split()
)


_OTHERS: Final = frozenset({Label.ATTESTED, Label.UNTRUSTED})


def _is_query(found: Findings) -> bool:
    """Whether all that is run is an SQL text that changes nothing, on what is not others'."""
    run = [slot for slot in found.slots if slot.type is SinkType.COMMAND]
    rest = [slot for slot in found.slots if slot.type in TARGET and slot not in run]
    return (
        found.effect is ToolEffect.EXECUTE
        and bool(run)
        and all(only_looks(slot, found) for slot in run)
        and all(slot.label <= Label.TRUSTED for slot in rest)
    )


def _is_own_doing(found: Findings) -> bool:
    """Something light, done to what the person or the records say, before others had any say.

    Where no text of others was read, nobody but the person can have asked for it in some other way
    than this page can read.
    """
    light = found.effect in {ToolEffect.WRITE, ToolEffect.SHARE} and not is_grave(found)
    if not light or found.history.read_untrusted or found.history.read_secret:
        return False
    targets = [slot for slot in found.slots if slot.type in TARGET]
    told = [slot for slot in targets if slot.label <= Label.FROM or slot.how == "named-record"]
    return bool(told) and all(slot.label <= Label.TRUSTED for slot in targets)


def is_over_count(found: Findings) -> bool:
    """Whether this is a second call where one was meant, or the same one over again."""
    again = _RETRIES if found.tool.deeds & _RETRIED and not found.history.just_made else 1
    if found.history.same >= again and not found.repeats:
        return True
    if found.taken_over:
        return False  # one call for each thing that is taken over
    if found.grounds.single and Deed.CREATE in found.tool.deeds and found.history.made > 0:
        return not found.hands_over  # `create a code`: one was asked for
    if found.effect is ToolEffect.PAY and found.share is not None and found.share.alone:
        most = found.share.count
        return found.history.paid_them or (most is not None and found.history.paid >= most)
    single = found.grounds.one and not found.hands_over
    counts = found.effect in GRAVE or found.effect in {ToolEffect.SHARE, ToolEffect.EGRESS}
    return single and counts and found.history.made > 0


_RETRIES: Final = 3


_RETRIED: Final = frozenset({Deed.UPLOAD, Deed.FETCH, Deed.MOVE, Deed.LOGIN, Deed.LOOK})
"""What is done again to the same end, once something else was tried: nobody signs in twice over."""
