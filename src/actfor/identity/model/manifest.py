"""The agent manifest: reference values, measurements, and whether they agree.

Reference values (RFC 9334 §8.3) say what an agent is allowed to be made of: its code tree, the
executable that runs it, and, as far as the owner states them, its model, container image, system
prompt and tool catalogue. Together, as RFC 8785 JSON, they are the agent manifest; its SHA-256 is
the binding that every credential and every delegated token of the agent carries.

A component with a path is *measured* by the server each time; one without is *declared* by the
owner, and the manifest says which, so that nobody mistakes one for the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue, canonical, digest

_DIGEST = re.compile(r"sha-256:[A-Za-z0-9_-]{43}")
_IMAGE_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Assurance(StrEnum):
    """How a value of the manifest is known."""

    MEASURED = "measured"
    DECLARED = "declared"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: relative POSIX path, mode (``-``, ``x`` executable, ``l`` symlink), digest."""

    path: str
    mode: str
    digest: str


@dataclass(frozen=True)
class Tree:
    """A code tree as measured: every file, by path. The digest covers names, x-bits and bytes."""

    entries: tuple[Entry, ...]

    @cached_property
    def digest(self) -> str:
        """``sha-256:…`` over the RFC 8785 bytes of ``[[path, mode, digest], …]``."""
        return digest([[e.path, e.mode, e.digest] for e in self.entries])

    def to_json(self) -> str:
        """The listing, for keeping beside its digest: a later mismatch can then name the file."""
        return canonical([[e.path, e.mode, e.digest] for e in self.entries]).decode()


def difference(reference: Tree, now: Tree) -> str | None:
    """What changed from ``reference`` to ``now``, naming the first file; None if nothing did."""
    before = {e.path: e for e in reference.entries}
    after = {e.path: e for e in now.entries}
    changes = [
        _change(path, before.get(path), after.get(path))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]
    if not changes:
        return None
    more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
    return changes[0] + more


def _change(path: str, before: Entry | None, after: Entry | None) -> str:
    if before is None:
        return f"`{path}` was added"
    if after is None:
        return f"`{path}` was removed"
    if before.digest == after.digest:
        return f"`{path}` changed its mode from `{before.mode}` to `{after.mode}`"
    return f"`{path}` was changed"


@dataclass(frozen=True, slots=True)
class Component:
    """One reference value: a digest, and the absolute path it is measured at, if it is measured."""

    digest: str
    path: str | None = None

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise Refused(Kind.MALFORMED, f"`{self.digest[:80]}` is not a `sha-256:` digest")
        if self.path is not None and not is_absolute(self.path):
            raise Refused(Kind.MALFORMED, f"path `{self.path[:200]}` is not absolute")

    @property
    def assurance(self) -> Assurance:
        """Measured when there is a place to measure."""
        return Assurance.DECLARED if self.path is None else Assurance.MEASURED

    def stated(self) -> JsonObject:
        """The component as the manifest states it; paths are this machine's affair and stay out."""
        return {"digest": self.digest, "assurance": self.assurance.value}


@dataclass(frozen=True, slots=True)
class ModelRef:
    """The language model, by name. Always declared: nothing on this machine can measure it."""

    id: str
    version: str

    def __post_init__(self) -> None:
        for label, value in (("id", self.id), ("version", self.version)):
            if not value.strip() or len(value) > 200 or not value.isprintable():
                raise Refused(
                    Kind.MALFORMED, f"model {label} must be 1 to 200 printable characters"
                )

    def stated(self) -> JsonObject:
        """The model as the manifest states it."""
        return {"id": self.id, "version": self.version, "assurance": Assurance.DECLARED.value}


@dataclass(frozen=True, slots=True)
class Reference:
    """What the agent may be made of. ``image`` is an OCI digest (``sha256:`` and 64 hex digits)."""

    code: Component
    executable: Component
    model: ModelRef | None = None
    image: str | None = None
    prompt: Component | None = None
    tools: Component | None = None

    def __post_init__(self) -> None:
        if self.code.path is None or self.executable.path is None:
            raise Refused(Kind.MALFORMED, "code and executable need a path to be measured at")
        if self.image is not None and not _IMAGE_DIGEST.fullmatch(self.image):
            raise Refused(Kind.MALFORMED, f"`{self.image[:80]}` is not an OCI image digest")

    @property
    def code_root(self) -> str:
        """The absolute path of the code tree."""
        assert self.code.path is not None  # noqa: S101 - checked when built
        return self.code.path

    def files(self) -> dict[str, Component]:
        """The measured components that are single files, by their name in the manifest."""
        named = {"executable": self.executable, "prompt": self.prompt, "tools": self.tools}
        return {name: c for name, c in named.items() if c is not None and c.path is not None}

    def manifest(self, agent: str) -> JsonObject:
        """The agent manifest for the SPIFFE ID ``agent``; absent components are stated as null."""
        image: JsonValue = None
        if self.image is not None:
            image = {"digest": self.image, "assurance": Assurance.DECLARED.value}
        return {
            "v": 1,
            "agent": agent,
            "code": self.code.stated(),
            "executable": self.executable.stated(),
            "model": self.model.stated() if self.model else None,
            "image": image,
            "prompt": self.prompt.stated() if self.prompt else None,
            "tools": self.tools.stated() if self.tools else None,
        }


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the server found: the code tree and the digest of each measured file, by name."""

    code: Tree
    files: Mapping[str, str] = field(default_factory=dict)


def appraise(reference: Reference, listing: Tree | None, found: Measurement) -> str | None:
    """Compare evidence with the reference values (RFC 9334 §8.4): the cause of a mismatch, or None.

    ``listing`` is the tree behind the reference digest, where the server measured it itself; it
    only serves to name the file. Declared components are not looked at: there is nothing to see.
    """
    if found.code.digest != reference.code.digest:
        named = difference(listing, found.code) if listing is not None else None
        return named or f"code tree measures `{found.code.digest}`"
    for name, component in reference.files().items():
        if found.files.get(name) != component.digest:
            return f"{name} `{component.path}` was changed"
    return None


def is_absolute(path: str) -> bool:
    """An absolute, normalised POSIX path without control characters."""
    parts = path.split("/")[1:]
    return (
        path.startswith("/")
        and len(path) <= 4096
        and path.isprintable()
        and (path == "/" or not any(part in {"", ".", ".."} for part in parts))
    )
