"""How the command line speaks: data on stdout, everything else on stderr, exit codes that branch.

Colour only on a terminal and never with NO_COLOR. Text that came from agents or servers is
stripped of control characters before it reaches a terminal (threats-and-faults D4).
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from actfor.errors import Kind, Refused

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def clean(value: object) -> str:
    """``value`` as text without control, bidi or other invisible characters (shown as ⟦U+XXXX⟧)."""
    return "".join(
        character if _visible(character) else f"⟦U+{ord(character):04X}⟧"
        for character in str(value)
    )


def _visible(character: str) -> bool:
    return character in "\n\t" or not unicodedata.category(character).startswith(("C", "Zl", "Zp"))


def emit(value: Any, *, as_json: bool, text: str | None = None) -> None:
    """Print one result: JSON when asked, else ``text`` (or readable JSON)."""
    if as_json:
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    else:
        out.print(
            Text(clean(text)) if text is not None else Text(clean(json.dumps(value, indent=2)))
        )


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print rows as a table on a terminal, as tab-separated lines in a pipe, or as JSON."""
    if as_json:
        sys.stdout.write(json.dumps(list(rows), ensure_ascii=False) + "\n")
    elif not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(_cell(row.get(name)) for name in columns) + "\n")
    else:
        drawn = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            drawn.add_row(*(Text(_cell(row.get(name))) for name in columns))
        out.print(drawn)


def _cell(value: object) -> str:
    return "" if value is None else clean(value)


def note(message: str) -> None:
    """A line of progress for a person, on stderr."""
    err.print(Text(clean(message)))


def key_or_file(given: str) -> str:
    """A verifier key as it was typed, or the text of the file (key or policy) that was named.

    Raises:
        Refused: NOT_FOUND where it is neither.
    """
    if re.fullmatch(r"\s*\S+\+[0-9a-f]{8}\+\S+\s*", given):
        return given
    try:
        return Path(given).read_text()
    except (OSError, ValueError):
        raise Refused(
            Kind.NOT_FOUND, f"`{given[:80]}` is neither a verifier key nor a file that can be read"
        ) from None
