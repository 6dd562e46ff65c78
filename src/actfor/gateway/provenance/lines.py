"""Which line of a list the words speak of: `The museum's contact is in "Partners"`.

A list of partners holds many addresses; the person means the one beside the name they said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from actfor.authorization.intent import SinkType, normal, typed
from actfor.authorization.intent.lexicon import STOP
from actfor.authorization.intent.text import stem, words

if TYPE_CHECKING:
    from actfor.gateway.provenance.items import Entry

_TELLING: Final = 2
"""Words that a line shares with the person's to be one that may be meant."""
_MOST_LINES: Final = 1_000
_LONGEST: Final = 400  # characters; what is longer is prose and no line of a list


def told_values(
    fields: Iterable[Entry], kind: SinkType, said: frozenset[str], least: int = 1
) -> frozenset[str]:
    """The values of a type in the one line that shares most words with the person's (as stems);
    none where no line does, several share as many, or another shares two of these: whoever may add
    a line to a list can have it say more of the words than the one that is meant.
    """
    told: list[tuple[frozenset[str], frozenset[str]]] = []
    for name, line in islice(_lines(fields), _MOST_LINES):
        values = frozenset(value.key for value in typed(line) if value.type is kind)
        if values:
            told.append((_marks(f"{name} {line}", values) & said, values))
    best = max((shared for shared, _ in told), key=len, default=frozenset[str]())
    if len(best) < least:
        return frozenset()
    enough = min(len(best), _TELLING)
    meant = {values for shared, values in told if len(shared & best) >= enough > 0}
    meant |= {values for shared, values in told if len(shared) == len(best) > 0}
    return meant.pop() if len(meant) == 1 else frozenset()


def _lines(fields: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    """Each line of each field with what its field is called."""
    for field in fields:
        name = field.pointer.rpartition("/")[2]
        for line in field.original.splitlines():
            if line.strip() and len(line) <= _LONGEST:
                yield name, line


def _marks(text: str, values: frozenset[str]) -> frozenset[str]:
    """The stems of what stands beside the values."""
    beside = normal(text)
    for value in values:
        beside = beside.replace(value, " ")
    return frozenset(map(stem, words(beside))) - STOP - _COLUMNS


_COLUMNS: Final = frozenset(
    stem(word)
    for word in "email mail address contact phone mobile number iban account url link website name"
    " body content text".split()
)
"""What stands in every line."""
