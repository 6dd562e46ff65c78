"""What is known of the data in a call whose history nobody here saw.

A foreign enforcement point lets calls through whose results we never read. So what its agent sends
counts as ours does after a restart: what stands in the person's own words is theirs, everything
else is read from others. What comes of it can only ask or deny more, never permit. The enforcement
point may say more (``told``); what would loosen counts only where the operator believes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from actfor.authorization.intent import Wish, read_words
from actfor.authorization.model import Fact, ToolEffect
from actfor.gateway.provenance import KnownTool, Ledger
from actfor.gateway.told import Told, believe, tighten
from actfor.wire.canonical import JsonObject


def untraced(
    words: str,
    tool: KnownTool,
    effect: ToolEffect,
    arguments: JsonObject,
    told: Told,
    *,
    granted: bool,
    believed: bool,
) -> Mapping[str, Fact]:
    """The facts about whose data a call carries, by the schema's names.

    ``granted`` is as for ``Ledger.trace``; ``believed`` is whether ``told`` may loosen. Left out is
    that the words ask for the effect: a policy that permits because of it is for calls that were
    traced and counted; and, unless all of the history is believed, whether the call is relevant:
    what is denied to everyone for being of others and irrelevant must be known to be of others.
    """
    ledger, whole = Ledger(_wish(words)), believed and told.complete
    if not whole:
        ledger.missed(read_secret=told.read_secret)
    if believed:
        believe(ledger, told, arguments, tool.sinks)
    traced = ledger.trace(tool, effect, arguments, granted=granted)
    facts = tighten(traced.facts, traced.slots, told, effect)
    if not whole:
        facts.pop("relevant", None)
    if facts.get("effect_asked") != "no":
        facts.pop("effect_asked", None)
    return facts


@lru_cache(maxsize=256)
def _wish(words: str) -> Wish:
    return read_words([words])
