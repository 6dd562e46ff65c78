"""What is known about one call when it is decided.

``CallFacts`` is filled by an enforcement point on the server, never by the agent;
``to_request`` turns it into the subject, action, resource and context that policies see.
Both use the same names as ``policies/schema.cedarschema``; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from actfor.errors import Kind, Refused
from actfor.wire.rar import Money

Fact: TypeAlias = bool | int | str


class ToolEffect(StrEnum):
    """What a tool does to the world. There is one Cedar action for each.

    ``ToolEffect(name)`` never fails: an effect nobody has heard of is UNKNOWN, and asks a person.
    """

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    PAY = "pay"
    SHARE = "share"
    GRANT_ACCESS = "grant_access"
    EXECUTE = "execute"
    EGRESS = "egress"
    INFRASTRUCTURE = "infrastructure"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> ToolEffect:
        return _SHORT.get(value, cls.UNKNOWN) if isinstance(value, str) else cls.UNKNOWN


_SHORT = {"grant": ToolEffect.GRANT_ACCESS, "infra": ToolEffect.INFRASTRUCTURE}


def named_effect(name: str) -> ToolEffect:
    """The effect that somebody names; one that is not known is refused, not taken for unknown.

    Raises:
        Refused: MALFORMED.
    """
    effect = ToolEffect(name)
    if effect is ToolEffect.UNKNOWN and name != effect.value:
        shown = name[:64].encode("unicode_escape").decode("ascii")
        raise Refused(Kind.MALFORMED, f"effect `{shown}` is not one of {', '.join(ToolEffect)}")
    return effect


def in_words(minor: object, currency: object) -> str:
    """An amount as people write it, `20.01 EUR`; the bare number where nobody said of what."""
    if type(minor) is int and isinstance(currency, str):
        try:
            return str(Money.of_minor(minor, currency))
        except Refused:
            pass  # a fact of a foreign enforcement point that is no amount of money
    return str(minor)


class CallFacts(NamedTuple):
    """The facts of one call, gathered by the server. The defaults are the ones that deny.

    Amounts are in minor units of ``amount_currency`` (5000 is 50.00 EUR). ``None`` means
    unknown for ``amount_minor`` and unlimited for the limits. Does not check that the amount
    and the limits are in one currency; who gathers them does.

    A named tuple, given by names: of as many fields a frozen dataclass takes five times as long.
    """

    agent: str
    """SPIFFE ID of the acting agent: the innermost name a token proves, not a claimed one."""
    tool: str
    effect: ToolEffect
    server: str

    # So far, and these five, what a foreign question and its asker say (``foreign.facts_for``).
    approved: bool = False
    """A person approved exactly this call. Only a consumed approval may set it."""
    via: str = "gateway"
    pep: str | None = None
    amount_minor: int | None = None
    amount_currency: str | None = None

    in_mandate: bool = False
    mandate_reason: str = ""
    requires_approval: bool = True
    beyond_limit: str | None = None
    """Which limit of a grant that would not have asked was not met; None where none came close."""
    person: str = ""
    purpose: str = ""

    # Agents that passed the mandate on; absent where the person sent the acting agent themselves.
    asked_by: str | None = None
    """SPIFFE ID of the agent that asked the acting one."""
    first_agent: str | None = None
    """SPIFFE ID of the agent that the person sent."""
    depth: int | None = None
    """How often it was passed on; 1 where ``asked_by`` is ``first_agent``."""

    tier: str = "high"
    assurance: str = "none"
    sender_constrained: bool = False

    tool_pinned: bool = False
    tool_state: str = "unknown"

    amount_limit_minor: int | None = None
    budget_calls_left: int | None = None
    budget_amount_left_minor: int | None = None
    recipients_fit: bool | None = None
    recipient_new: bool | None = None
    unasked_minor: int | None = None
    calls_this_hour: int | None = None

    # What the person asked for and whose data the call carries (gateway.provenance); absent where
    # nobody traced the call. Absent facts never permit more: see policies/default.cedar.
    effect_asked: str | None = None
    sink_label: str | None = None
    sink_origin: str | None = None
    sinks_untrusted: bool | None = None
    target_unnamed: bool | None = None
    content_untrusted: bool | None = None
    solicited: bool | None = None
    relevant: bool | None = None
    read_untrusted: bool | None = None
    read_secret: bool | None = None
    carries_secret: bool | None = None
    over_count: bool | None = None
    unusual_order: bool | None = None
    value_endorsed: bool | None = None
    flow: str | None = None

    @property
    def within_caps(self) -> bool:
        """Whether the call fits every limit of the mandate that applies to it.

        A payment whose amount nobody knows does not fit a limited budget: it cannot be counted.
        """
        calls, amount = self.budget_calls_left, self.amount_minor
        if (calls is not None and calls < 1) or self.recipients_fit is False:
            return False
        limits = (self.amount_limit_minor, self.budget_amount_left_minor)
        if amount is None:
            return self.effect is not ToolEffect.PAY or limits == (None, None)
        return amount >= 0 and all(limit is None or amount <= limit for limit in limits)


SAID: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(words.split())
    for name, words in (
        ("via", "gateway authzen"),
        ("tier", "low medium high"),
        ("assurance", "measured declared none"),
        ("tool_state", "pinned changed unapproved missing unknown"),
        ("effect_asked", "yes maybe via means no"),
        ("sink_label", "none user from trusted attested unknown untrusted"),
        ("flow", "permit step-up deny"),
    )
}
"""The facts that say one of a few words, and which: whoever writes facts down may slip."""


class Request(NamedTuple):
    """AuthZEN's information model, as ids: who does what to which tool, and the facts.

    ``subject`` is the agent's id, ``action`` an effect, ``resource`` is ``server/tool``.
    The ids go to Cedar as data and are never spliced into policy text.
    """

    subject: str
    action: str
    resource: str
    context: Mapping[str, Fact]


def to_request(facts: CallFacts) -> Request:
    """The question for the policies. Absent facts are left out, for ``context has …``."""
    context: dict[str, Fact] = {
        name: value for name, value in zip(_CONTEXT, facts[_IDS:], strict=True) if value is not None
    }
    context["within_caps"] = facts.within_caps
    return Request(facts.agent, facts.effect.value, f"{facts.server}/{facts.tool}", context)


_IDS: Final = 3
"""Agent, tool and effect are no facts of the context, but what it is about."""
_CONTEXT: Final = CallFacts._fields[_IDS:]
"""The facts that policies see by their names, beside ``within_caps``."""
