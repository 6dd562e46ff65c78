"""What was asked for, and what a tool would do about it: pure readings of words and definitions.

``read_words`` reads a person's words, ``read_tool`` a tool's definition, ``asks`` compares the two,
``propose`` drafts the mandate that the words mean. All deterministic, none of it grants anything.
"""

from __future__ import annotations

from actfor.authorization.intent.asking import (
    Ask,
    Grounds,
    asking_sentences,
    asks,
    fills_basket,
    relevant,
    takes_orders,
)
from actfor.authorization.intent.deeds import Asked
from actfor.authorization.intent.request import Wish, read_words
from actfor.authorization.intent.text import normal, skeleton
from actfor.authorization.intent.tool import ToolReading, parameter_type, read_tool
from actfor.authorization.intent.values import (
    HARD,
    TARGET,
    SinkType,
    Value,
    key_of,
    sums_in,
    typed,
)

__all__ = [
    "HARD",
    "TARGET",
    "Ask",
    "Asked",
    "Grounds",
    "SinkType",
    "ToolReading",
    "Value",
    "Wish",
    "asking_sentences",
    "asks",
    "fills_basket",
    "key_of",
    "normal",
    "parameter_type",
    "read_tool",
    "read_words",
    "relevant",
    "skeleton",
    "sums_in",
    "takes_orders",
    "typed",
]
