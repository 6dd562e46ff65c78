"""What happened under each mandate, as far as this node saw it.

The values that passed are kept in this process only, within bounds. What a node did not see (it was
restarted, or another node served the call) it does not know, and it knows that it does not: each
permitted call is counted in the mandate's row, and a mandate of which more calls were permitted
than went through here is one of which something was missed. From then on whatever is not found
counts as read from others (``Ledger.missed``). What was forgotten for want of room is missed as
well. So less memory only ever asks more.

What must hold everywhere is not here but in the database: counts, recipients, endorsements, and
the calls that changed something (``delegation.usage``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from actfor.authorization.intent import ToolReading, normal, read_words
from actfor.delegation import Delegation, DelegationService, Endorsement
from actfor.errors import Kind, Refused
from actfor.gateway.model import Server, Tool
from actfor.gateway.provenance import KnownTool, Ledger, parts_of
from actfor.wire.canonical import JsonObject

MAX_MANDATES: Final = 1_024
MAX_CHARS: Final = 32_000_000
_MAX_TOOLS: Final = 4_096

Slot: TypeAlias = tuple[str, str, str]
"""A tool (`server/tool`), an argument, a value in normal form."""


@dataclass(slots=True)
class Past:
    """One mandate's history. ``seen`` counts the calls that were permitted here."""

    ledger: Ledger
    seen: int = 0
    endorsed: Mapping[Slot, str] = field(default_factory=dict)
    offered: dict[str, tuple[Server, tuple[ToolReading, ...]]] = field(default_factory=dict)
    """What each server offered when it was called last: a verb means the tool it fits best."""

    def offer(self, server: Server, read: Callable[[Tool], KnownTool]) -> None:
        """The server as it is now, once for each state that it has been in."""
        known = self.offered.get(server.name)
        if known is not None and known[0] is server:
            return
        readings = tuple(read(tool).reading for tool in server.tools.values() if tool.is_pinned)
        self.offered[server.name] = (server, readings)
        self.ledger.offer(one for _, offered in self.offered.values() for one in offered)

    @contextmanager
    def permitting(self) -> Iterator[None]:
        """A permit is being recorded: counted before, so that no other call takes it for a
        stranger's; not counted if it was refused, and missed if nobody knows.
        """
        self.seen += 1
        try:
            yield
        except Exception as cause:
            if isinstance(cause, Refused) and cause.kind is Kind.BUSY:
                self.ledger.missed()  # the database does not say whether it committed
            else:
                self.seen -= 1  # whatever a unit raises is rolled back
            raise
        except BaseException:
            self.ledger.missed()  # cancelled: it may have committed
            raise

    def keep_endorsed(self, held: Sequence[Endorsement]) -> bool:
        """Believe exactly these endorsements; True if that is news."""
        slots = {(one.tool, one.slot, normal(one.value)): one.id for one in held}
        if slots == self.endorsed:
            return False
        self.endorsed = slots
        self.ledger.endorse_only(slots)
        return True


class Memory:
    """The histories of the mandates in use, the least recently used forgotten first.

    Owned by the event loop.
    """

    def __init__(
        self,
        delegation: DelegationService,
        *,
        mandates: int = MAX_MANDATES,
        chars: int = MAX_CHARS,
    ) -> None:
        self._delegation = delegation
        self._mandates, self._chars = mandates, chars
        self._known: OrderedDict[str, Past] = OrderedDict()
        self._tools: OrderedDict[tuple[str, str, str], KnownTool] = OrderedDict()

    async def of(self, delegation: Delegation) -> Past:
        """The history of the delegation's mandate.

        Raises:
            Refused: BUSY if what the database keeps of it cannot be read.
        """
        mandate = delegation.mandate
        past = self._known.get(mandate.id)
        if past is None:
            past = await self._recalled(delegation)
        self._known.move_to_end(mandate.id)
        if mandate.calls_used > past.seen:
            # Somebody else permitted calls: what they returned, the agent knows and we do not.
            known = await self._delegation.remembered(mandate.id)
            past.seen = max(past.seen, mandate.calls_used)
            past.ledger.missed(known.changed, read_secret=known.read_secret)
        return past

    def tool(self, tool: Tool) -> KnownTool:
        """A pinned tool as provenance reads it, with the operator's overlay."""
        key = (f"{tool.server}/{tool.name}", tool.pinned_digest or "", tool.overlay.text)
        known = self._tools.get(key)
        if known is None:
            known = self._tools[key] = known_tool(tool)
            while len(self._tools) > _MAX_TOOLS:
                self._tools.popitem(last=False)
        return known

    @property
    def readings(self) -> int:
        """How many tools were read and are remembered."""
        return len(self._tools)

    def heard(
        self, past: Past, known: KnownTool, arguments: JsonObject, result: JsonObject
    ) -> None:
        """What the agent is about to read, labelled and kept."""
        parts, readable = parts_of(result)
        for part in parts or [""]:
            past.ledger.record(known, arguments, part)
        if not readable:
            past.ledger.unreadable()
        self.forget()

    def forget(self) -> None:
        """Make room: drop the least recently used histories beyond the bounds."""
        size = sum(past.ledger.size for past in self._known.values())
        while len(self._known) > self._mandates or (size > self._chars and len(self._known) > 1):
            _, gone = self._known.popitem(last=False)
            size -= gone.ledger.size

    def __len__(self) -> int:
        return len(self._known)

    async def _recalled(self, delegation: Delegation) -> Past:
        mandate = delegation.mandate
        past = Past(Ledger(read_words([mandate.goal])))
        past.keep_endorsed(await self._delegation.endorsements(mandate.id))
        return self._known.setdefault(mandate.id, past)  # another call may have been quicker


def known_tool(tool: Tool) -> KnownTool:
    """A tool as provenance reads it: its definition (the pinned one, if there is), its overlay."""
    definition = tool.pinned or tool.listed
    return KnownTool.of(
        tool.name, _text(definition, "description"), _schema(definition), tool.overlay
    ).called(f"{tool.server}/{tool.name}")


def _text(body: JsonObject, name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _schema(body: JsonObject) -> JsonObject:
    schema = body.get("inputSchema")
    return schema if isinstance(schema, Mapping) else {}
