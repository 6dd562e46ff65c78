"""What is doubtful about one value of a call: that it sends, pays or lets in where others say, that
nobody named it, or that it is none that anybody would write.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from actfor.authorization.intent import HARD, TARGET, Ask, SinkType
from actfor.authorization.intent.lexicon import Deed, concepts
from actfor.authorization.intent.permissions import is_least
from actfor.authorization.intent.proposal import GRAVE
from actfor.authorization.intent.text import mixes_scripts, normal, stem, words
from actfor.authorization.intent.values import is_moment, number_key
from actfor.authorization.model import ToolEffect
from actfor.gateway.provenance.findings import Findings, is_grave
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.provenance.slots import PAYER
from actfor.gateway.sql import effect_of

_OTHERS: Final = frozenset({Label.ATTESTED, Label.UNTRUSTED})
_SMALL: Final = Decimal(50)
"""As `small-payment-in-mandate` in default.cedar."""


_MADE_UP: Final = frozenset({SinkType.COMMAND, SinkType.KEY, SinkType.PERMISSION})
"""What an agent may well compose itself, when it was surely asked to."""


_SYSTEM: Final = frozenset(
    "etc bin sbin boot system root windows system32 proc dev crontab startup authorized_keys .. ~"
    " cron.d init.d systemd library launchagents".split()
)


def is_doubtful(slot: SlotTrace, found: Findings, asked: str) -> bool:
    """Whether this argument sends, pays or lets in where others say."""
    kind, label = slot.type, slot.label
    if found.effect is ToolEffect.READ:
        # A read reaches out only by the address or the command it is given.
        if kind is SinkType.URL and slot.how in {"exact", "part"} and found.matter:
            return False  # a link as it was posted, where the words speak of such: nothing leaves
        if kind is SinkType.COMMAND and slot.how == "none":
            return not only_looks(slot, found)  # else it looks, as was granted
        return kind in {SinkType.URL, SinkType.COMMAND} and label >= Label.UNKNOWN
    if Deed.LOGIN in found.tool.deeds:
        # A credential or code is given to the service it is for; nobody makes one up, or has one
        # that only looks like theirs.
        odd = slot.how == "look-alike" or mixes_scripts(slot.value) or _is_no_credential(slot)
        made_up = kind in {SinkType.CODE, SinkType.RECIPIENT} and label is Label.UNKNOWN
        return odd or made_up
    if kind in _PLAIN and _is_odd(slot):
        return True
    if kind is SinkType.CODE and (label is Label.UNKNOWN or mixes_scripts(slot.value)):
        return True  # a voucher's or a coupon's: nobody makes one up
    if kind is SinkType.CODE and found.awaits_code and asked == "yes":
        return False
    if kind in HARD:
        return _hard_doubt(slot, found, asked)
    if kind is SinkType.AMOUNT and found.effect is ToolEffect.PAY:
        if _is_above_share(slot, found):
            return True
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
    if _is_form_field(slot, found):
        return False
    if kind is SinkType.NAME and label is Label.UNKNOWN and _names_existing(slot, found):
        return True
    if kind is SinkType.NAME and label is Label.UNKNOWN and Deed.BOOK in found.tool.deeds:
        return not _is_own_name(slot)
    if kind is SinkType.PATH and slot.how not in {"words", "endorsed"}:
        if _is_sensitive(slot.value):
            return True  # where systems keep theirs: only the person's own word is enough
        if label is Label.UNKNOWN:
            return False  # where an agent keeps its own work is its own choice
    if kind in TARGET:
        chosen = label is Label.ATTESTED and (asked == "no" or found.effect in GRAVE)
        return label is Label.UNTRUSTED or chosen
    return False


def _is_no_credential(slot: SlotTrace) -> bool:
    """Whether this is nobody's sign-in: a sentence of the words, or a code with a word more."""
    if slot.how == "words" and slot.value.count(" ") > _PROSE:
        return True
    parts = slot.value.split()
    worded = any(part.isalpha() and len(part) > _SYLLABLE for part in parts)
    return worded and len(parts) > 1 and not _CODES.isdisjoint(words(slot.pointer))


_CODES: Final = frozenset("code otp pin passcode".split())


_SYLLABLE: Final = 3  # letters; `G 123 456` is how codes are printed


def _is_own_name(slot: SlotTrace) -> bool:
    """Whether this may be the person's own name, which stands nowhere: in whose name something is
    booked. A stranger's would stand in what the stranger wrote.
    """
    plain = slot.value.replace(" ", "").replace("-", "").replace("'", "").replace(".", "")
    return slot.label is Label.UNKNOWN and plain.isalpha() and words(slot.pointer) in _WHOSE


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
        if one.type is SinkType.ACCOUNT and PAYER.isdisjoint(words(one.pointer))
    ]
    named = [word for word in words(slot.pointer) if word not in {"name", "full", "account"}]
    return (
        _PAYEE.issuperset(named)
        and bool(accounts)
        and all(one.label <= Label.TRUSTED for one in accounts)
    )


_PAYEE: Final = frozenset("recipient payee beneficiary holder receiver".split())


def _is_above_share(slot: SlotTrace, found: Findings) -> bool:
    """Whether this is more than each of those who are paid gets, or what all of them get: one that
    the words have for something else is meant for that.
    """
    share, number = found.share, number_key(normal(slot.value))
    if share is None or slot.how == "endorsed" or not number or Decimal(number) <= share.sum:
        return False
    return slot.label is not Label.USER or Decimal(number) == share.total or share.alone


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


def is_unnamed(slot: SlotTrace, found: Findings, asked: str) -> bool:
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
    nowhere = slot.type is SinkType.NAME and slot.how in {"none", "near"}
    nowhere &= not (is_prose(slot, found) or _is_form_field(slot, found))
    nowhere &= not (asked == "yes" and normal(slot.value) in found.tool.vocabulary)
    if nowhere and found.history.read_untrusted and _acts_on(slot, found):
        return True
    return slot.type in {SinkType.NAME, SinkType.PATH} and _takes_away(found)


def _is_form_field(slot: SlotTrace, found: Findings) -> bool:
    """Whether this is written into a form and stands in nothing that was read: the person's own
    name. Where the form goes is another argument.
    """
    inner = slot.pointer.count("/") > 1 and "form" in found.tool.head
    return inner and slot.type is SinkType.NAME and slot.label is Label.UNKNOWN


def is_prose(slot: SlotTrace, found: Findings) -> bool:
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
    return slot.type is SinkType.COMMAND and only_looks(slot, found)


def only_looks(slot: SlotTrace, found: Findings) -> bool:
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
        return asked != "yes" and label in _OTHERS  # else nobody named it, see `is_unnamed`
    if label is Label.UNKNOWN and (kind in _MADE_UP or _is_own_name(slot)):
        return False  # an agent composes such; see `unnamed`
    if slot.how == "named-site" and asked != "no" and Deed.FETCH in found.tool.deeds:
        return False
    if label is Label.FROM and asked != "yes":
        # A source is believed about what the person surely asked for, or, where it was handed the
        # wheel, about whom to write to; not about whom to pay or what key to let in.
        return not (found.hands_over and kind in {SinkType.RECIPIENT, SinkType.URL})
    if kind is SinkType.URL and slot.how in _BY_SOURCE and slot.origin.author:
        return not found.hands_over  # a letter's link to elsewhere is not what was asked for
    if label is Label.FROM and Deed.CHANGE in found.tool.deeds and slot.how in _BY_SOURCE:
        return not _mentions(slot, found)  # to change *where to* is another thing than to change
    if label is Label.ATTESTED and kind is SinkType.RECIPIENT:
        return not _by_role(found)
    return label >= Label.ATTESTED


_BY_SOURCE: Final = frozenset({"named-source", "followed"})


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
    own |= _NUMBERS if called & _PHONES else frozenset[str]()
    own |= {"e"} if "email" in called else set[str]()  # `a new e-mail`
    return bool(own & found.said)


_PHONES: Final = frozenset("phone mobile telephone cell".split())


_NUMBERS: Final = frozenset(stem(word) for word in "number phone mobile telephone cell".split())


def _is_sensitive(path: str) -> bool:
    """Whether a path is where systems keep keys, programs or what they start with."""
    steps = normal(path).replace("\\", "/").split("/")
    return any(step in _SYSTEM or (step.startswith(".") and len(step) > 2) for step in steps)


def is_unproved(found: Findings) -> bool:
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
    return is_grave(found) and any(slot.label > Label.FROM for slot in targets)


def leads_out(slot: SlotTrace, found: Findings) -> bool:
    """Whether a link in a text that goes to others is a stranger's, and no link was asked for."""
    if slot.label < Label.FROM or (slot.label is Label.FROM and found.hands_over):
        return False
    if slot.label in {Label.TRUSTED, Label.FROM}:
        return slot.label is Label.FROM and not found.links
    return slot.label is Label.UNKNOWN or slot.how == "machine" or not found.links


def is_smuggled(slot: SlotTrace, found: Findings) -> bool:
    """Whether a command carries an address that is only others', or hides what it carries."""
    if slot.type is SinkType.KEY:
        return found.history.read_untrusted
    return slot.label is Label.UNTRUSTED or (
        slot.label is Label.UNKNOWN and found.history.read_untrusted
    )
