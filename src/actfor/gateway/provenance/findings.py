"""What was found out about one call, before its facts are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from actfor.authorization.intent import Grounds, ToolReading
from actfor.authorization.intent.each import Share
from actfor.authorization.intent.lexicon import Deed
from actfor.authorization.intent.proposal import GRAVE
from actfor.authorization.model import ToolEffect
from actfor.gateway.provenance.labels import SlotTrace


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
    just_made: bool = False
    """Whether nothing was changed since it was made."""
    paid: int = 0
    """How many were paid."""
    paid_them: bool = False
    """Whether one of them may be whom this one pays."""


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
    taken_over: bool = False
    """Whether it takes over what the words say to, from its own record or row by row."""
    denied: frozenset[str] = frozenset()
    """Verbs that the words forbid."""
    changes_asked: bool = True
    """Whether the words ask for more than an answer."""
    links: bool = False
    """Whether the words speak of links, pages or articles."""
    hands_over: bool = False
    """Whether the words say to do what a named source says."""
    awaits_code: bool = False
    """Whether the words speak of a code that is sent to them."""
    sum_said: bool = False
    """Whether the words that ask say how much money."""
    share: Share | None = None
    """How much each of several who are paid gets."""
    most: Decimal | None = None
    """The largest number in all the words."""
    filled: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What the words themselves put into slots, by the stem of the noun beside it."""
    dialects: Mapping[str, str] = field(default_factory=dict)
    contrary: bool = False
    """Whether a switch of the call is set the other way than the words say."""
    repeats: bool = False
    """Whether the words that ask say to do it more than once."""
    basket: bool = False
    """Whether it pays for a basket that may hold what nobody asked for."""
    only_object: bool | None = None
    """Whether a deletion's target is the one record that the tool's own verb is said of; None where
    no record is.
    """
    """In which SQL an argument is written, by its pointer, where the operator's overlay says it."""


def is_grave(found: Findings) -> bool:
    """Whether it is hard to take back: a reservation costs money as well."""
    return found.effect in GRAVE or Deed.BOOK in found.tool.deeds
