"""From traces to facts: what the policies are told about intent and data. Pure.

The rules here name what is doubtful; what is done about it is the policies' (default.cedar).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from actfor.authorization.intent import HARD, TARGET, Ask, Grounds, SinkType, ToolReading
from actfor.authorization.intent.lexicon import Deed, concepts
from actfor.authorization.intent.permissions import is_least
from actfor.authorization.intent.proposal import GRAVE
from actfor.authorization.intent.text import mixes_scripts, normal, stem, words
from actfor.authorization.intent.values import is_moment, is_path, number_key
from actfor.authorization.model import Fact, ToolEffect
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.sql import effect_of

_SMALL: Final = Decimal(50)
"""As `small-payment-in-mandate` in default.cedar."""
_MADE_UP: Final = frozenset({SinkType.COMMAND, SinkType.KEY, SinkType.PERMISSION})
"""What an agent may well compose itself, when it was surely asked to."""


_ANCHOR: Final = TARGET | {SinkType.TEXT, SinkType.DATE, SinkType.AMOUNT}
_LOCAL: Final = frozenset(stem(word) for word in "dir directory folder".split())
"""What an agent makes for itself on the way."""
_SYSTEM: Final = frozenset(
    "etc bin sbin boot system root windows system32 proc dev crontab startup authorized_keys .. ~"
    " cron.d init.d systemd library launchagents".split()
)


@dataclass(frozen=True, slots=True)
class History:
    """What happened before under the mandate, as far as it makes the next call doubtful."""

    read_untrusted: bool = False
    read_secret: bool = False
    speaks: bool = False
    """A text that speaks to machines has been read."""
    made: int = 0
    """Other calls of this tool that were made, with other arguments."""
    same: int = 0
    """This very call, made before."""


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
    embedded: Sequence[SlotTrace]
    """Addresses and accounts inside of a command or an SQL text that changes something."""
    relevant: bool
    matter: bool
    """Whether the tool itself has to do with the words, whatever its arguments."""
    solicited: SlotTrace | None
    carries_secret: bool
    history: History
    said: frozenset[str] = frozenset()
    """The stems of the person's words."""
    names_recipient: bool = False
    """Whether the words hold an address."""
    changes_asked: bool = True
    """Whether the words ask for more than an answer."""
    links: bool = False
    """Whether the words speak of links, pages or articles."""
    hands_over: bool = False
    """Whether the words say to do what a named source says."""
    awaits_code: bool = False
    """Whether the words speak of a code that is sent to them."""
    own: bool = False
    """Whether all it acts on was made under this mandate, because the words asked for that."""
    sum_said: bool = False
    """Whether the words that ask say how much money."""
    most: Decimal | None = None
    """The largest number in all the words."""
    filled: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What the words themselves put into slots, by the stem of the noun beside it."""
    dialects: Mapping[str, str] = field(default_factory=dict)
    repeats: bool = False
    """Whether the words that ask say to do it more than once."""
    only_object: bool | None = None
    """Whether a deletion's target is the one record that the tool's own verb is said of; None where
    no record is.
    """
    """In which SQL an argument is written, by its pointer, where the operator's overlay says it."""


def facts_of(found: Findings) -> dict[str, Fact]:
    """The intent facts of a call, by the names of the Cedar schema."""
    asked = _asked(found)
    doubtful = [slot for slot in found.slots if _doubtful(slot, found, asked)]
    doubtful += [slot for slot in found.inner if _leads_out(slot, found)]
    doubtful += [slot for slot in found.embedded if _is_smuggled(slot, found)]
    unnamed = [slot for slot in found.slots if _is_unnamed(slot, found, asked)]
    leaning = asked == "maybe" and not found.hands_over
    most = Label.TRUSTED if _is_plainly_meant(found) else Label.FROM
    anchored = any(
        slot.label <= most or slot.how == "named-record"
        for slot in found.slots
        if slot.type in _ANCHOR
    )
    if leaning and (not anchored or _is_grave(found) or found.history.speaks):
        asked = "no"  # words that may mean it are not enough, or have nothing to do with this call
    content = any(
        slot.type is SinkType.TEXT and slot.label >= Label.ATTESTED and slot.how != "none"
        for slot in found.slots
    )
    means = _is_means(found, doubtful=bool(doubtful), content=content)
    if asked == "no" and (means or (not (doubtful or unnamed) and _is_its_own_proof(found))):
        asked = "means"
    targets = [slot for slot in found.slots if slot.type in TARGET] + doubtful
    worst = max(targets, key=lambda slot: slot.label, default=None)
    shown = doubtful[0] if doubtful else found.solicited or next(iter(unnamed), worst)
    changes = found.effect is not ToolEffect.READ
    unsure = asked in {"no", "maybe", "via"} and found.effect in GRAVE
    return {
        "effect_asked": asked,
        "sink_label": "none" if worst is None else worst.label.word,
        "sink_origin": "" if shown is None else shown.shown,
        "sinks_untrusted": bool(doubtful),
        "target_unnamed": bool(unnamed),
        "content_untrusted": content,
        "solicited": found.solicited is not None,
        "relevant": found.relevant,
        "read_untrusted": found.history.read_untrusted,
        "read_secret": found.history.read_secret,
        "carries_secret": found.carries_secret,
        "over_count": changes and _over_count(found),
        "unusual_order": changes and found.history.speaks and (unsure or _is_unproved(found)),
        "value_endorsed": any(slot.how == "endorsed" for slot in found.slots),
    }


def _is_its_own_proof(found: Findings) -> bool:
    """Whether a call in which nothing is in doubt shows by itself that it was meant."""
    own = found.own and found.effect is ToolEffect.WRITE and not found.history.speaks
    own &= all(slot.label not in _OTHERS for slot in found.slots)
    return own or _is_own_doing(found) or _is_spelled_out(found) or _is_query(found)


def _is_plainly_meant(found: Findings) -> bool:
    """Whether the verb and the matter both say that this is a change that was meant."""
    plain = found.effect is ToolEffect.WRITE and not _is_grave(found)
    return plain and found.matter and found.grounds.verb is Ask.YES


def _is_grave(found: Findings) -> bool:
    """Whether it is hard to take back: a reservation costs money as well."""
    return found.effect in GRAVE or Deed.BOOK in found.tool.deeds


def _asked(found: Findings) -> str:
    if found.effect is ToolEffect.READ or found.grounds.ask is Ask.YES:
        return "yes"
    if found.only_object and not found.history.speaks:
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
    at its path.
    """
    return Deed.CREATE in found.tool.deeds and not any(
        slot.type is SinkType.PATH and is_path(normal(slot.value)) for slot in targets
    )


_NEVER_POINTED: Final = frozenset({ToolEffect.PAY, ToolEffect.EXECUTE, ToolEffect.UNKNOWN})


def _doubtful(slot: SlotTrace, found: Findings, asked: str) -> bool:
    """Whether this argument sends, pays or lets in where others say."""
    kind, label = slot.type, slot.label
    if found.effect is ToolEffect.READ:
        # A read reaches out only by the address or the command it is given.
        if kind is SinkType.URL and slot.how in {"exact", "part"} and found.matter:
            return False  # a link as it was posted, where the words speak of such: nothing leaves
        if kind is SinkType.COMMAND and slot.how == "none":
            return not _only_looks(slot, found)  # else it looks, as was granted
        return kind in {SinkType.URL, SinkType.COMMAND} and label >= Label.UNKNOWN
    if Deed.LOGIN in found.tool.deeds:
        # A credential or code is given to the service it is for; nobody makes one up, or has one
        # that only looks like theirs.
        odd = slot.how == "look-alike" or mixes_scripts(slot.value)
        return odd or (kind is SinkType.CODE and label is Label.UNKNOWN)
    if kind in _PLAIN and _is_odd(slot):
        return True
    if kind is SinkType.CODE and (label is Label.UNKNOWN or mixes_scripts(slot.value)):
        return True  # a voucher's or a coupon's: nobody makes one up
    if kind is SinkType.CODE and found.awaits_code and asked == "yes":
        return False
    if kind in HARD:
        return _hard_doubt(slot, found, asked)
    if kind is SinkType.AMOUNT and found.effect is ToolEffect.PAY:
        # A payee out of a document is believed with that document's amount, or the person's.
        payee = any(s.type is SinkType.ACCOUNT and s.label is Label.FROM for s in found.slots)
        if label is Label.UNKNOWN and asked != "no":  # where nobody asked, that is said already
            return _another_sum(slot, found)
        return label is Label.UNTRUSTED or (payee and label > Label.FROM)
    if kind is SinkType.TEXT:
        hidden = slot.how == "encoded" and found.effect in {ToolEffect.SHARE, ToolEffect.EGRESS}
        return slot.how == "machine" or hidden
    if _is_payees_name(slot, found, asked):
        return False
    if kind is SinkType.NAME and label is Label.FROM and _is_only_told(slot, found):
        return True
    if kind is SinkType.NAME and found.only_object is False:
        return True  # there is one record that is called so, and this is another
    if kind is SinkType.NAME and slot.how == "other-record":
        return found.grounds.one or label is Label.UNTRUSTED
    if kind is SinkType.NAME and label is Label.UNKNOWN and _names_existing(slot, found):
        return True
    if kind is SinkType.NAME and label is Label.UNKNOWN and Deed.BOOK in found.tool.deeds:
        return words(slot.pointer) not in _WHOSE  # in whose name is the person's own to know
    if kind is SinkType.PATH and slot.how not in {"words", "endorsed"}:
        if _is_sensitive(slot.value):
            return True  # where systems keep theirs: only the person's own word is enough
        if label is Label.UNKNOWN:
            return False  # where an agent keeps its own work is its own choice
    if kind in TARGET:
        chosen = label is Label.ATTESTED and (asked == "no" or found.effect in GRAVE)
        return label is Label.UNTRUSTED or chosen
    return False


_WHOSE: Final = (["name"], ["guest"], ["guest", "name"], ["passenger"], ["patient"])


def _is_only_told(slot: SlotTrace, found: Findings) -> bool:
    """Whether one message is all that speaks of a thing that is to be deleted, opened or answered,
    or the words say which one is meant, and it is another.
    """
    if found.hands_over:
        return False
    grave = found.effect in GRAVE or found.effect is ToolEffect.SHARE
    letter = bool(slot.origin.author) and grave and not _mentions(slot, found)
    return letter or _is_said_otherwise(slot, found)


def _is_payees_name(slot: SlotTrace, found: Findings, asked: str) -> bool:
    """Whether this only says whose an account is, and the account itself is beyond doubt: it gets
    the money, whatever name stands beside it.
    """
    if found.effect is not ToolEffect.PAY or asked == "no" or slot.type is not SinkType.NAME:
        return False
    accounts = [
        one
        for one in found.slots
        if one.type is SinkType.ACCOUNT and _PAYER.isdisjoint(words(one.pointer))
    ]
    named = [word for word in words(slot.pointer) if word not in {"name", "full", "account"}]
    return (
        _PAYEE.issuperset(named)
        and bool(accounts)
        and all(one.label <= Label.TRUSTED for one in accounts)
    )


_PAYEE: Final = frozenset("recipient payee beneficiary holder receiver".split())
_PAYER: Final = frozenset("from source payer debit sender own my card".split())
"""What an account is called that pays: it says nothing of who gets the money."""


def _another_sum(slot: SlotTrace, found: Findings) -> bool:
    """Whether a sum from nowhere is not what the words leave to the agent to work out.

    Where they say how much for one payment, that much was meant. Else it may be worked out from
    what they say, up to the largest number in them; where they hold none, up to what the default
    pack calls small. (``slot`` is an amount that neither words nor results hold.)
    """
    if found.sum_said and found.grounds.one:
        return True
    number = number_key(normal(slot.value))
    return not number or Decimal(number) > (_SMALL if found.most is None else found.most)


def _is_odd(slot: SlotTrace) -> bool:
    """Whether a date or a sum is none that anybody would write."""
    nowhere = slot.type is SinkType.DATE and slot.label is Label.UNKNOWN
    return mixes_scripts(slot.value) or (nowhere and not is_moment(normal(slot.value)))


_PLAIN: Final = frozenset({SinkType.DATE, SinkType.AMOUNT})


def _names_existing(slot: SlotTrace, found: Findings) -> bool:
    """Whether an unheard-of name stands where something that exists must be meant."""
    if found.effect in {ToolEffect.SHARE, ToolEffect.EGRESS}:
        return Deed.UPLOAD not in found.tool.deeds
    return slot.how == "near" and Deed.CREATE not in found.tool.deeds


def _is_unnamed(slot: SlotTrace, found: Findings, asked: str) -> bool:
    """Whether nobody said or wrote what this call acts on, where somebody must have.

    What is taken away, run or let in was said or read somewhere; and where the words say what
    belongs in a slot, nothing else was meant.
    """
    if slot.label is not Label.UNKNOWN or found.effect is ToolEffect.READ:
        return False
    if _is_payees_name(slot, found, asked):
        return False
    if slot.type in _MADE_UP:
        if _is_harmless(slot, found) and (asked != "no" or found.effect is ToolEffect.EXECUTE):
            return False
        return asked != "yes" or found.history.read_untrusted
    if slot.type is SinkType.NAME and _is_said_otherwise(slot, found):
        return True
    nowhere = (
        slot.type is SinkType.NAME and slot.how in {"none", "near"} and not _is_prose(slot, found)
    )
    if nowhere and found.history.read_untrusted and _acts_on(slot, found):
        return True
    return slot.type in {SinkType.NAME, SinkType.PATH} and _takes_away(found)


def _is_prose(slot: SlotTrace, found: Findings) -> bool:
    """Whether this is a text and no name: what is wrong, an entry of a list; not where the argument
    is called as what the tool acts on is, a name, or an identifier.
    """
    last = words(slot.pointer.rstrip("/0123456789"))[-1:]
    named = _NAMING.intersection(last) or found.tool.head & concepts(frozenset(map(stem, last)))
    return slot.value.count(" ") >= _PROSE and not named


_NAMING: Final = frozenset("id ids name title".split())
_PROSE: Final = 2  # gaps between words


def _is_harmless(slot: SlotTrace, found: Findings) -> bool:
    """Whether what an agent composed lets somebody look and no more: `viewer`, a mere query."""
    if slot.type is SinkType.PERMISSION:
        return is_least(slot.value)
    return slot.type is SinkType.COMMAND and _only_looks(slot, found)


def _only_looks(slot: SlotTrace, found: Findings) -> bool:
    """Whether a command is an SQL text that changes nothing."""
    return effect_of(slot.value, found.dialects.get(slot.pointer)) is ToolEffect.READ


def _acts_on(slot: SlotTrace, found: Findings) -> bool:
    """Whether this says which of the things that exist is changed.

    An honest agent has read it, or was told. One that has read a stranger's text and knows it from
    nowhere may have it from there, in a form that this page does not read.
    """
    if found.tool.deeds & {Deed.CREATE, Deed.BOOK, Deed.UPLOAD}:
        nouns = [word for word in words(slot.pointer) if not word.isdigit()]
        return nouns[-1:] in (["id"], ["ids"])
    return True


def _is_said_otherwise(slot: SlotTrace, found: Findings) -> bool:
    """Whether the words say what belongs here, and this is not it: `workspace Apollo`, not Zeus."""
    value = normal(slot.value)
    nouns = [stem(word) for word in words(slot.pointer)[-2:]]
    said = {name for noun in nouns for name in found.filled.get(noun, ())}
    if not said and value.count("/") == 1:  # `owner/name` is one kind of name
        said = {one for names in found.filled.values() for one in names if one.count("/") == 1}
    return bool(said) and not any(name in value for name in said)


def _takes_away(found: Findings) -> bool:
    return found.effect in GRAVE and not found.tool.deeds & {Deed.CHANGE, Deed.PAY}


def _hard_doubt(slot: SlotTrace, found: Findings, asked: str) -> bool:
    kind, label = slot.type, slot.label
    if kind is SinkType.PERMISSION:
        if label >= Label.FROM and not _WIDEST.isdisjoint(words(slot.value)):
            return True
        return asked != "yes" and label in _OTHERS  # else nobody named it, see `_is_unnamed`
    if label is Label.UNKNOWN and kind in _MADE_UP:
        return False  # an agent composes such; see `_is_unnamed`
    if slot.how == "named-site" and asked != "no" and Deed.FETCH in found.tool.deeds:
        return False
    if label is Label.FROM and asked != "yes":
        # A source is believed about what the person surely asked for, or, where it was handed the
        # wheel, about whom to write to; not about whom to pay or what key to let in.
        return not (found.hands_over and kind in {SinkType.RECIPIENT, SinkType.URL})
    if label is Label.FROM and Deed.CHANGE in found.tool.deeds and slot.how == "named-source":
        return not _mentions(slot, found)  # to change *where to* is another thing than to change
    if label is Label.ATTESTED and kind is SinkType.RECIPIENT:
        return not _by_role(found)
    return label >= Label.ATTESTED


_WIDEST: Final = frozenset(
    "public world anyone anybody everyone everybody anonymous admin administrator owner root"
    " superuser sudo unrestricted".split()
)
"""Permissions that nobody works out for somebody else: the person says them, or is asked."""


def _by_role(found: Findings) -> bool:
    """Whether the words say who gets a message by what they did: `the user who wrote most`. `Our
    landlord` is one whom the person knows, and not whoever wrote of being that.
    """
    if _OWN_PEOPLE.search(found.grounds.because) is not None:
        return False
    role = "~person" in found.grounds.about and found.grounds.ask is Ask.YES
    return role and found.effect is ToolEffect.SHARE and not found.names_recipient


_OWN_PEOPLE: Final = re.compile(
    r"\b(?:to|tell|inform|notify|ask|remind|warn|alert|thank) (?:my|our|his|her|their) "
)


def _mentions(slot: SlotTrace, found: Findings) -> bool:
    called = set(words(slot.pointer))
    own = {stem(word) for word in called} | {stem(slot.type.value)}
    return bool((own | _NUMBERS if called & _PHONES else own) & found.said)


_PHONES: Final = frozenset("phone mobile telephone cell".split())
_NUMBERS: Final = frozenset(stem(word) for word in "number phone mobile telephone cell".split())


def _is_sensitive(path: str) -> bool:
    """Whether a path is where systems keep keys, programs or what they start with."""
    steps = normal(path).replace("\\", "/").split("/")
    return any(step in _SYSTEM or (step.startswith(".") and len(step) > 2) for step in steps)


def _is_unproved(found: Findings) -> bool:
    """Whether a call stands on what neither the person nor a source they named has said.

    That is usual for an honest agent, which adds up amounts and picks records. It is not once a
    text has been read that speaks to machines: then what costs or destroys needs their own word.
    """
    targets = [slot for slot in found.slots if slot.type in TARGET]
    if any(slot.label is Label.UNKNOWN and slot.type is SinkType.NAME for slot in targets):
        return True
    costs = found.effect is ToolEffect.PAY
    if costs and any(s.label > Label.FROM for s in found.slots if s.type is SinkType.AMOUNT):
        return True
    return _is_grave(found) and any(slot.label > Label.FROM for slot in targets)


def _leads_out(slot: SlotTrace, found: Findings) -> bool:
    """Whether a link in a text that goes to others is a stranger's, and no link was asked for."""
    if slot.label < Label.FROM or (slot.label is Label.FROM and found.hands_over):
        return False
    if slot.label in {Label.TRUSTED, Label.FROM}:
        return slot.label is Label.FROM and not found.links
    return slot.label is Label.UNKNOWN or slot.how == "machine" or not found.links


def _is_smuggled(slot: SlotTrace, found: Findings) -> bool:
    """Whether a command carries an address that is only others', or hides what it carries."""
    if slot.type is SinkType.KEY:
        return found.history.read_untrusted
    return slot.label is Label.UNTRUSTED or (
        slot.label is Label.UNKNOWN and found.history.read_untrusted
    )


def _is_means(found: Findings, *, doubtful: bool, content: bool) -> bool:
    """A step on the way: a plain write about the same matter in which nothing is others'."""
    if found.effect is not ToolEffect.WRITE or doubtful or content or not found.slots:
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


def _is_spelled_out(found: Findings) -> bool:
    """Whether the person's own words fill the call: on what, for whom, and one more thing.

    `Nadia needs read access to the staging database until Friday`: no verb, and nothing left open.
    Not what pays, destroys or runs, where only a verb that asks for it is enough.
    """
    if found.effect not in _SPELLED or found.history.speaks or not found.changes_asked:
        return False
    said = {normal(slot.value) for slot in found.slots if slot.how in {"words", "named-record"}}
    targets = [slot for slot in found.slots if slot.type in TARGET]
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
        and all(_only_looks(slot, found) for slot in run)
        and all(slot.label <= Label.TRUSTED for slot in rest)
    )


def _is_own_doing(found: Findings) -> bool:
    """Something light, done to what the person or the records say, before others had any say.

    Where no text of others was read, nobody but the person can have asked for it in some other way
    than this page can read.
    """
    light = found.effect in {ToolEffect.WRITE, ToolEffect.SHARE} and not _is_grave(found)
    if not light or found.history.read_untrusted or found.history.read_secret:
        return False
    targets = [slot for slot in found.slots if slot.type in TARGET]
    told = [slot for slot in targets if slot.label <= Label.FROM or slot.how == "named-record"]
    return bool(told) and all(slot.label <= Label.TRUSTED for slot in targets)


def _over_count(found: Findings) -> bool:
    """Whether this is a second call where one was meant, or the same one over again."""
    again = _RETRIES if found.tool.deeds & _RETRIED else 1
    if found.history.same >= again and not found.repeats:
        return True
    if found.grounds.single and Deed.CREATE in found.tool.deeds and found.history.made > 0:
        return not found.hands_over  # `create a code`: one was asked for
    single = found.grounds.one and not found.hands_over
    counts = found.effect in GRAVE or found.effect in {ToolEffect.SHARE, ToolEffect.EGRESS}
    return single and counts and found.history.made > 0


_RETRIES: Final = 3
_RETRIED: Final = frozenset({Deed.UPLOAD, Deed.FETCH, Deed.MOVE, Deed.LOGIN, Deed.LOOK})
"""What is done again after it met an obstacle, to the same end."""
