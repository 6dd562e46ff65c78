"""Domains: questions of AuthZEN about other things than agents and tools.

A domain is a folder with ``schema.json`` (types, actions, known entities) and ``policies.cedar``.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from actfor.authorization.model.domain import Domain
from actfor.errors import Kind, Refused

NAMES = ("certification",)


@cache
def packaged(name: str) -> Domain:
    """A domain by name.

    Raises:
        Refused: NOT_FOUND.
    """
    if name not in NAMES:
        raise Refused(Kind.NOT_FOUND, f"there is no domain `{name[:64]}`: {', '.join(NAMES)}")
    return _read(name, files(__name__) / name)


def load(named: str, base: Path) -> Domain:
    """A domain by the name of a packaged one, or by its folder (below ``base`` if relative).

    Raises:
        Refused: NOT_FOUND; MALFORMED, saying what is wrong with the folder's files.
    """
    if named in NAMES:
        return packaged(named)
    folder = base / named
    if not folder.is_dir():
        raise Refused(Kind.NOT_FOUND, f"there is no domain and no folder `{named[:256]}`")
    return _read(folder.name, folder)


def _read(name: str, folder: Traversable) -> Domain:
    try:
        described = json.loads((folder / "schema.json").read_text("utf-8"))
        policies = (folder / "policies.cedar").read_text("utf-8")
    except (OSError, ValueError) as cause:
        raise Refused(Kind.MALFORMED, f"domain `{name}` cannot be read: {cause}") from cause
    if not isinstance(described, dict):
        raise Refused(Kind.MALFORMED, f"domain `{name}`: schema.json must be an object")
    return Domain.read(name, described, policies)
