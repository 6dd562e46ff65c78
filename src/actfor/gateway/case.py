"""One call with everything that was found out about it on its way down the line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

from actfor.approval import Approval, SlotOrigin
from actfor.authorization.intent import TARGET, normal
from actfor.authorization.model import CallFacts
from actfor.delegation import Delegation, Use
from actfor.gateway.calls import Attempt
from actfor.gateway.effects import Judged
from actfor.gateway.mapped import MappedCall
from actfor.gateway.memory import Past
from actfor.gateway.model import Tool
from actfor.gateway.provenance import KnownTool, Label, SlotTrace, Traced
from actfor.gateway.provenance.slots import slot_of
from actfor.gateway.shelf import Governed
from actfor.wire.canonical import digest

MAX_SHOWN: Final = 32
MAX_ENDORSED: Final = 200
"""Characters of a value that may be endorsed: what a person can read in one glance."""

# What pretends to be a known value, or hides, is approved each time or not at all.
_NEVER: Final = frozenset({"look-alike", "encoded"})


@dataclass(slots=True)
class Caller:
    """Who calls one server, as `Enforcer.authenticate` found proved. There is no other way to one.

    ``proof`` names its DPoP proof, which is taken once, by whatever request it came with; ``spent``
    is whether that has happened.
    """

    server: str
    delegation: Delegation
    proof: str
    spent: bool = False

    @property
    def principal(self) -> str:
        """The digest of person and agent: to whom sessions and request states belong."""
        return digest({"person": self.delegation.person_id, "agent": str(self.delegation.agent)})

    def may_reach(self, tool: Tool) -> bool:
        """Whether the mandate grants anything of this tool."""
        return self.delegation.authority.may_reach(tool.server, tool.name)


@dataclass(frozen=True, slots=True)
class Case:
    """A call to a known tool, its effect judged, its facts gathered."""

    trace: str
    caller: Caller
    attempt: Attempt
    governed: Governed
    tool: Tool
    judged: Judged
    arguments_digest: str
    facts: CallFacts
    past: Past
    known: KnownTool
    traced: Traced
    use: Use
    mapped: MappedCall | None = None

    @property
    def scope(self) -> str:
        """The coarse name of what the call would need, as tokens carry it (``Authority.scope``)."""
        return f"{self.attempt.server}:{self.judged.effect}"

    @property
    def endorsements(self) -> tuple[str, ...]:
        """The ids of the endorsements that the decision rests on."""
        endorsed = [slot for slot in self.traced.slots if slot.how == "endorsed"]
        keys = [(self.known.name, slot_of(o.pointer), normal(o.value)) for o in endorsed]
        return tuple(sorted({self.past.endorsed[key] for key in keys if key in self.past.endorsed}))

    @property
    def origins(self) -> tuple[SlotOrigin, ...]:
        """Where the values of the arguments come from, the most doubtful first, for a person."""
        shown = [_shown(slot) for slot in sorted(self.traced.slots, key=_doubt)]
        return tuple(dict.fromkeys(shown))[:MAX_SHOWN]

    def approved(self, approval: Approval) -> Self:
        """The case as it is decided again; its records join those of the question."""
        return replace(self, trace=approval.trace, facts=self.facts._replace(approved=True))


def _doubt(slot: SlotTrace) -> tuple[int, int]:
    """Most doubtful first; of equals, what says on whom the call acts."""
    return -slot.label, slot.type not in TARGET


def _shown(slot: SlotTrace) -> SlotOrigin:
    may = slot.type in TARGET and slot.label is not Label.USER and slot.how not in _NEVER
    return SlotOrigin(
        pointer=slot.pointer,
        slot=slot_of(slot.pointer),
        value=slot.value,
        label=slot.label.word,
        how=slot.how,
        source=slot.origin.tool,
        field=slot.origin.field,
        author=slot.origin.author,
        endorsable=may and len(slot.value) <= MAX_ENDORSED and slot.value.isprintable(),
    )
