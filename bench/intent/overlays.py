"""What an operator says about each tool, read from overlays/*.yaml and the suites.

The files are written in words that no product owns: an effect, which arguments are sinks and of
what kind, which fields of a result only trustworthy hands can write. ``point.py`` says it in the
product's own form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "overlays"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as a server describes it, and what the operator says about it."""

    name: str
    description: str
    schema: Mapping[str, Any]
    effect: str = "unknown"
    sinks: Mapping[str, str] = field(default_factory=dict)
    """Pointer into the arguments → email, iban, url, path, name, id, permission, secret."""
    trusted: tuple[str, ...] = ()
    """Pointers into the result, `*` for any member; the empty pointer is the whole of it."""
    author: tuple[str, ...] = ()
    """Fields of the result that say who wrote an item."""
    secret: tuple[str, ...] = ()
    """Fields of the result that must not leave unasked."""
    amount: Mapping[str, str] | None = None

    @property
    def changes(self) -> bool:
        """Whether the operator calls it anything but a read."""
        return self.effect != "read"


def described(name: str, description: str, schema: Mapping[str, Any], said: Any) -> Tool:
    """Join what the server says with an overlay's entry, which may be absent."""
    said = said or {}
    return Tool(
        name,
        description,
        schema,
        said.get("effect", "unknown"),
        said.get("sinks", {}),
        tuple(said.get("results", ())),
        tuple(said.get("author", ())),
        tuple(said.get("secret", ())),
        said.get("amount"),
    )


def schema_of(arguments: Mapping[str, str]) -> dict[str, Any]:
    """A JSON Schema from `{name: type}`; a name that ends in `?` may be left out."""
    properties = {name.rstrip("?"): _typed(kind) for name, kind in arguments.items()}
    required = [name for name in arguments if not name.endswith("?")]
    return {"type": "object", "properties": properties, "required": required}


def _typed(kind: str) -> dict[str, Any]:
    if kind == "array":
        return {"type": "array", "items": {"type": "string"}}
    return {"type": kind}


@cache
def load(suite: str) -> dict[str, Any]:
    """The entries of overlays/<suite>.yaml, by tool."""
    entries: dict[str, Any] = yaml.safe_load((FOLDER / f"{suite}.yaml").read_text())["tools"]
    return entries
