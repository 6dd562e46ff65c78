"""Labels of data, and the record of where one argument's value came from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from actfor.authorization.intent.values import SinkType


class Label(IntEnum):
    """Whose data a value is, from the person's own to a stranger's. Higher is tighter.

    USER       the person's words, or what they endorsed
    FROM       one value of one type out of a source that the words name (`from` of a mandate)
    TRUSTED    a system of record says so
    ATTESTED   a system vouches for the field, but strangers choose the value (who sent a mail)
    UNKNOWN    nowhere in what was said or read: the agent composed or guessed it
    UNTRUSTED  only in what others wrote
    """

    USER = 0
    FROM = 1
    TRUSTED = 2
    ATTESTED = 3
    UNKNOWN = 4
    UNTRUSTED = 5

    @property
    def word(self) -> str:
        """The label as policies and people see it."""
        return self._name_.lower()  # `name` is a descriptor in Python


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was seen first: the tool that returned it, the field, who wrote it."""

    tool: str = ""
    field: str = ""
    author: str = ""

    def __str__(self) -> str:
        by = f", written by `{self.author}`" if self.author else ""
        field = f" in `{self.field}`" if self.field else ""
        return f"`{self.tool}`{field}{by}" if self.tool else "nowhere in what was said or read"


@dataclass(frozen=True, slots=True)
class SlotTrace:
    """One argument, or one value inside of it: its label, and how that was found.

    ``how`` is one of: words, endorsed, named-source, person-named, record, named-record, composed,
    invitation, exact, part, look-alike, encoded, solicited, ambiguous, forgotten, none.
    """

    pointer: str
    value: str
    type: SinkType
    label: Label
    how: str
    origin: Origin = Origin()

    @property
    def shown(self) -> str:
        """One line for the person who decides; values are cut, not cleaned."""
        value = self.value if len(self.value) <= 80 else f"{self.value[:77]}…"
        where = "the person's words" if self.label is Label.USER else str(self.origin)
        return f"`{value}` for `{self.pointer}` comes from {where} ({self.label.word}, {self.how})"
