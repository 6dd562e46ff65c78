"""Whether words ask for what a tool does: yes, maybe, or no, and because of which words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise
from typing import Final

from actfor.authorization.intent.deeds import Asked
from actfor.authorization.intent.lexicon import MEETS, Deed
from actfor.authorization.intent.otherwise import NEAR, goals, is_else
from actfor.authorization.intent.request import Wish
from actfor.authorization.intent.text import stem, words
from actfor.authorization.intent.tool import ToolReading
from actfor.authorization.intent.values import SinkType
from actfor.authorization.model.facts import ToolEffect


class Ask(IntEnum):
    """How surely the person asked for an effect, in order: only more than NO may be permitted."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Grounds:
    """The answer, the words it rests on (quoted to the person), and how many calls they mean."""

    ask: Ask
    because: str = ""
    about: frozenset[str] = frozenset()
    """What the sentence is about that asks."""
    one: bool = False
    """The words mean one thing: a second, different call was not asked for."""
    single: bool = False
    """The verb's own object is one new thing: `create a code`, whatever else the sentence has."""
    files: bool = False
    """Files are to be uploaded to a thing, and the tool writes there: not without a file."""
    verb: Ask = Ask.NO
    """Whether a verb of the words may mean what the tool does, whatever it is done to; YES where it
    fits no other tool better. What the call acts on has to say the rest."""


_VALUE_FOR: Final = {
    SinkType.RECIPIENT: SinkType.RECIPIENT,
    SinkType.ACCOUNT: SinkType.ACCOUNT,
    SinkType.URL: SinkType.URL,
}
_PAYEES: Final = frozenset({SinkType.ACCOUNT, SinkType.RECIPIENT})
_MAKES: Final = frozenset({Deed.CREATE, Deed.POST})
_LIGHT: Final = frozenset("make do get set place have".split())
"""Verbs that leave it to a noun: `make a reservation` is to reserve."""
# Ways to make something: where the thing itself is named, which of them is a matter of style.
_MAKING: Final = frozenset({Deed.CREATE, Deed.POST, Deed.SEND, Deed.UPLOAD, Deed.BOOK})
# What only people get, whatever verb is used: a weak match is no match.
_GRAVE: Final = frozenset(
    {ToolEffect.PAY, ToolEffect.DELETE, ToolEffect.GRANT_ACCESS, ToolEffect.EXECUTE}
)


def asks(wish: Wish, tool: ToolReading, others: Sequence[ToolReading] = ()) -> Grounds:
    """Whether ``wish`` asks for what ``tool`` does. A verb that is denied asks for nothing.

    ``others`` are the catalogue: a verb that clearly means another of them does not mean this one.
    """
    if tool.verbs & wish.denied:
        return Grounds(Ask.NO, "the words say not to")
    best = _by_own_verb(wish, tool)
    verb = best.verb
    for one in wish.asked:
        free = _is_free(one, wish, tool)
        level, alike = _one(one, wish, tool, free=free), _is_alike(one, wish, tool)
        if _rewrites(one, tool) and not alike:
            verb = max(verb, Ask.MAYBE)
        if level is Ask.NO and not alike:
            continue
        own = _strength(one, wish, tool)
        other = max((_strength(one, wish, other) for other in others), default=0)
        if alike:
            verb = max(verb, Ask.YES if own >= other else Ask.MAYBE)
        found = level if free or not others else _ranked(level, one, wish, tool, own, other)
        if found > best.ask:
            once = not (one.many or fills_basket(tool))  # an order may be of many things
            files = _uploads(one, tool)
            best = Grounds(found, one.text, one.about, once, one.single, files=files)
        elif found == best.ask and found > Ask.NO:
            best = replace(best, one=best.one and not one.many, single=best.single and one.single)
    if best.ask < Ask.YES and (only := _only_for(wish, tool, others)):
        best = only
    if wish.truncated:  # what was not read may say not to
        best = replace(best, ask=min(best.ask, Ask.MAYBE))
    return replace(best, verb=verb)


def _only_for(wish: Wish, tool: ToolReading, others: Sequence[ToolReading]) -> Grounds | None:
    """A verb of the words that says much and that one tool of the catalogue alone bears.

    `Exchange the kettle` names no order; but there is one tool that exchanges.
    """
    rest = [other for other in others if other.name != tool.name]
    telling = tool.verbs - _GENERIC
    if telling and not any(telling & other.verbs for other in rest):
        for one in wish.asked:
            if one.verb in telling:
                return Grounds(Ask.YES, one.text, one.about, one=not one.many)
    made_by_none = not any(Deed.CREATE in one.deeds and one.head & tool.head for one in rest)
    if Deed.CHANGE in tool.deeds and tool.effect is ToolEffect.WRITE and made_by_none:
        for one in wish.asked:
            if Deed.CREATE in one.deeds and one.thing & tool.head and not is_else(one, wish, tool):
                return Grounds(Ask.YES, one.text, one.about, one=not one.many)
    own = tool.own_verb
    if own and rest and not any(own == other.own_verb for other in rest):
        for text, asking, about, many in wish.sentences:
            if own in asking and text.startswith(own) and _has_object(own, text):
                return Grounds(Ask.YES, text, about, one=not many)  # `link my tablet to my account`
    if own and rest and not any(own == other.own_verb or own in other.about for other in rest):
        light = tool.effect is ToolEffect.WRITE
        for text, asking, about, many in wish.sentences:
            if own in asking and (text.startswith(own) or (light and _has_object(own, text))):
                return Grounds(Ask.YES, text, about, one=not many)
    return None


def _has_object(own: str, text: str) -> bool:
    """Whether a word stands before what something is done to: `water the plants`; not so in
    `compare the price to water bills`.
    """
    return any(stem(one) == own and two in _OBJECT for one, two in pairwise(words(text)))


_OBJECT: Final = frozenset(
    "the a an my our your his her their its this these those it them him me us all every each any"
    " both".split()
)
# Verbs that say too little by themselves.
_GENERIC: Final = frozenset(
    "get read list search find check view show look browse open see tell is are do handle make add"
    " create new put set update change edit modify fix write insert delete remove clear drop send"
    " give share post transfer move copy run execute start stop take use manage save"
    " log note call ask place submit process help work put like rate follow".split()
)


def _is_light(one: Asked, tool: ToolReading) -> bool:
    """Whether a verb leaves it to a noun, and that is the tool's: `make a reservation`. Not where
    the noun only says of what: `make a list of my bookings`, `get the order confirmation`; and what
    is got, had or set must be a new thing: who gets their bookings books nothing.
    """
    if one.verb == "set" and tool.effect in _GRAVE:
        return False  # `set it to granted` grants nobody anything
    return _leaves_to_noun(one) and any(stem(verb) in one.thing for verb in tool.verbs)


def _leaves_to_noun(one: Asked) -> bool:
    return one.verb in _LIGHT and (one.single or one.verb in _DOING)


_DOING: Final = frozenset("make do place".split())


def _is_alike(one: Asked, wish: Wish, tool: ToolReading) -> bool:
    """Whether a verb may mean what a tool does, whatever it is done to."""
    if tool.effect is ToolEffect.GRANT_ACCESS and not (one.deeds & _LETS_IN):
        return one.verb in tool.verbs or one.verb in _ENROLS
    if is_else(one, wish, tool):
        return False
    if one.verb == "agree" and tool.deeds & _STARTS:
        return False  # what is right with somebody is approved, and neither booked nor run
    if one.verb in _HANDS and takes_orders(tool):
        return one.verb in tool.verbs  # `send the order confirmation to Ann` orders nothing
    if _adds_to(one, tool) or one.verb in tool.told or _uploads(one, tool):
        return True
    return one.verb in tool.verbs or any(one.deeds & MEETS[deed] for deed in tool.deeds)


def _uploads(one: Asked, tool: ToolReading) -> bool:
    """Whether files are to be uploaded to what a tool writes to, and it takes files along."""
    takes = SinkType.PATH in tool.sinks.values() and bool(tool.deeds & {Deed.POST, Deed.SEND})
    return takes and one.verb in _UPLOADS and bool(one.after & tool.core)


_UPLOADS: Final = frozenset({"upload", "attach"})


def _adds_to(one: Asked, tool: ToolReading) -> bool:
    """Whether something is put into what a tool changes: `add a second address to my account`. Who
    puts the balance of an account into a file does nothing to the account.
    """
    if one.verb not in _ADDS or Deed.CHANGE not in tool.deeds:
        return False
    found = goals(one.text[:NEAR])
    return not found or bool(found & tool.core)


_ADDS: Final = frozenset("add put save enter".split())
_HANDS: Final = frozenset("send give".split())
_STARTS: Final = frozenset({Deed.BOOK, Deed.RUN, Deed.PAY})
_LETS_IN: Final = frozenset({Deed.ADMIT, Deed.CHANGE})


_ENROLS: Final = frozenset("create make register setup".split())


def _rewrites(one: Asked, tool: ToolReading) -> bool:
    """Whether who is to do this may write a file: who fixes one does."""
    return Deed.CHANGE in one.deeds and Deed.CREATE in tool.deeds and "~file" in tool.head


def _by_own_verb(wish: Wish, tool: ToolReading) -> Grounds:
    """A tool whose verb no vocabulary has is asked for by that very word, about the same thing;
    one that makes a thing, by the thing's name used as a verb: `remind me`, `invoice Acme`.
    """
    if tool.deeds & _MAKING:
        for text, asking, about, many in wish.sentences:
            if asking & tool.head:
                return Grounds(Ask.YES, text, about, one=not many, verb=Ask.YES)
    if tool.own_verb:
        for text, asking, about, many in wish.sentences:
            if tool.own_verb in asking:
                sure = Ask.YES if about & tool.core else Ask.NO
                return Grounds(sure, text, about, one=not many, verb=Ask.YES)
    return Grounds(Ask.NO)


def _ranked(found: Ask, one: Asked, wish: Wish, tool: ToolReading, own: int, best: int) -> Ask:
    """The level that is left when the verb fits (``_strength``) other tools better."""
    if found is Ask.NO:
        return found
    same = one.verb in tool.verbs
    clearly = best >= (_SURE if same else _CLEAR) and not one.about & tool.core
    # With the same verb it may have a second object: then the words speak of that elsewhere. And of
    # two ways to pay, an account of theirs leaves both open.
    payable = tool.effect is ToolEffect.PAY and _fits(wish, tool) and best - own < _SURER
    if own < best and clearly and not payable and not (same and wish.about & tool.core):
        return Ask.NO
    if tool.effect in _GRAVE and best - own >= 2:
        return min(found, Ask.MAYBE)
    return found


_CLEAR: Final = 3
_SURER: Final = 2
_SURE: Final = 5


def _strength(one: Asked, wish: Wish, tool: ToolReading) -> int:
    """How well a verb in its sentence fits a tool: the same verb, the same thing."""
    if _is_money_sent(one) and Deed.PAY not in tool.deeds:
        return 0  # no letter carries money
    verb = 3 if _is_light(one, tool) else 2 if one.verb in tool.verbs else 0
    verb = verb or int(one.verb in tool.told)
    if not verb and not _is_alike(one, wish, tool):
        return 0
    payee = tool.effect is ToolEffect.PAY and _fits(wish, tool)
    thing = 2 if one.about & tool.head or payee else 0
    return verb + thing + (1 if one.about & tool.core else 0)


def asking_sentences(wish: Wish, tool: ToolReading) -> Iterator[str]:
    """The sentences, in normal form, that may ask for what ``tool`` does."""
    return (
        one.text
        for one in wish.asked
        if _one(one, wish, tool, free=_is_free(one, wish, tool)) > Ask.NO
    )


def _is_free(one: Asked, wish: Wish, tool: ToolReading) -> bool:
    """Whether it is the agent's choice by which tool it does this: how somebody is told; and what
    is ordered may be called anything, and is put into a basket first.
    """
    told = one.to_someone and _is_letter(tool)
    return told or _is_bought_with(one, tool) or _fills_form(one, wish, tool)


def _one(one: Asked, wish: Wish, tool: ToolReading, *, free: bool) -> Ask:
    same_verb, alike = one.verb in tool.verbs | tool.told, _is_alike(one, wish, tool)
    if _is_light(one, tool):
        return Ask.YES
    if is_else(one, wish, tool):
        return Ask.NO
    if Deed.PAY in tool.deeds and (one.verb in _PAYS or _is_money_sent(one)):
        return Ask.YES  # what is paid out is money, whatever it is called
    if free:
        return Ask.YES
    shared = one.about & tool.about
    making = bool(one.deeds & _MAKES and tool.deeds & _MAKING)
    making &= Deed.BOOK in one.deeds or Deed.BOOK not in tool.deeds  # who notes a hotel books none
    if tool.effect is ToolEffect.WRITE and stem(one.verb) in tool.head:
        return Ask.YES  # `remind me`, where the tool sets a reminder
    if (alike and one.about & tool.core) or (making and one.after & tool.head):
        return Ask.YES
    if alike and _fits(wish, tool):
        # An account to pay into leaves no doubt; an address may be there for many reasons.
        return Ask.YES if tool.effect is ToolEffect.PAY else Ask.MAYBE
    if same_verb and (tool.about & wish.about or len(tool.about) <= 1):
        return Ask.YES
    if alike and (shared or one.about & tool.mentions or tool.about & wish.about):
        return Ask.MAYBE
    if Deed.ANY in one.deeds and one.about & tool.head and tool.effect not in _GRAVE:
        return Ask.MAYBE
    # `send it to Alice` names no thing; who creates or changes something names it.
    return Ask.MAYBE if same_verb and Deed.SEND in tool.deeds else Ask.NO


def _is_money_sent(one: Asked) -> bool:
    """Whether what is sent is money: `send her the money`."""
    return one.verb == "send" and one.deeds == {Deed.PAY}


def _fills_form(one: Asked, wish: Wish, tool: ToolReading) -> bool:
    """Whether a verb asks for what is done by filling in a form: `register her on …`, where the
    words say on which page, or that what is to be confirmed came by mail.
    """
    if one.verb not in _FILLS or "form" not in tool.head:
        return False
    by_mail = one.verb in _CONFIRMS and not wish.about.isdisjoint(_LETTERS)
    return by_mail or (wish.has(SinkType.URL) and ("form" in wish.about or _is_done_on(one)))


def _is_done_on(one: Asked) -> bool:
    """Whether a verb is done on a page that its sentence names after it. Who looks at a page and
    books a table fills in no form of it; who reports what stands on one, neither.
    """
    return one.verb not in _TOLD and any(
        match.group(0).startswith(one.verb[:_ROOT]) for match in _ON_PAGE.finditer(one.text[:NEAR])
    )


_TOLD: Final = frozenset("report enter order".split())
"""What is more often told, written down or sorted."""
_ROOT: Final = 4
_ON_PAGE: Final = re.compile(
    r"\b[a-z]+(?= (?:[^\s,]+ ){0,8}?(?:on|at|via|through|under|using|with) (?:the page )?(?:https?://|www\.|[^\s,]+\.[a-z]{2,}))"
)


def _is_bought_with(one: Asked, tool: ToolReading) -> bool:
    """Whether a verb asks to buy something, and a tool takes orders or fills a basket."""
    bought = one.verb in BUYS or (_leaves_to_noun(one) and "order" in one.thing)
    return bought and takes_orders(tool)


def takes_orders(tool: ToolReading) -> bool:
    """Whether a tool orders what it is given, or fills what is ordered later."""
    pays = tool.effect is ToolEffect.PAY
    about = tool.core | tool.head | tool.told | tool.verbs
    return fills_basket(tool) or (pays and not _ORDERS.isdisjoint(about))


def fills_basket(tool: ToolReading) -> bool:
    """Whether a tool fills what is paid for later."""
    return tool.effect is ToolEffect.WRITE and not BASKETS.isdisjoint(tool.core | tool.head)


BASKETS: Final = frozenset(stem(word) for word in "cart basket trolley".split())
BUYS: Final = frozenset("order buy purchase checkout".split())
_ORDERS: Final = frozenset(stem(word) for word in "order purchase checkout cart basket".split())
_CONFIRMS: Final = frozenset("confirm accept join redeem verify claim activate".split())
_FILLS: Final = _CONFIRMS | frozenset(
    "register apply subscribe signup enroll enter fill submit book order reserve report".split()
)
_PAYS: Final = frozenset("pay repay reimburse refund remit".split())


def _is_letter(tool: ToolReading) -> bool:
    return Deed.SEND in tool.deeds and bool(tool.about & _LETTERS)


_LETTERS: Final = frozenset({"~mail", "~message"})


def _fits(wish: Wish, tool: ToolReading) -> bool:
    """Whether the words hold a value of the very kind that the tool is to act on.

    For money that is an account, or somebody and a sum: an address alone may be there for a mail.
    """
    if tool.effect is ToolEffect.PAY:
        payee = not _PAYEES.isdisjoint(tool.sinks.values())
        somebody = wish.has(SinkType.RECIPIENT) and wish.has(SinkType.AMOUNT)
        return payee and (wish.has(SinkType.ACCOUNT) or somebody)
    return any(
        kind in _VALUE_FOR and wish.has(_VALUE_FOR[kind]) for kind in set(tool.sinks.values())
    )


def relevant(wish: Wish, tool: ToolReading, extra: Iterable[str] = ()) -> bool:
    """Whether the tool has anything to do with what was asked for: shared subject matter.

    Only ever a reason to ask or to deny; never to permit.
    """
    return bool((tool.about | frozenset(extra)) & wish.about)
