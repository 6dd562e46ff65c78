"""What the values of one argument have in common, as a limit that all of them are within. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from actfor.errors import Refused
from actfor.wire.canonical import JsonValue
from actfor.wire.rar import Constraint, constraint_from_json, host_of, path_segments

MOST_VALUES: Final = 5
"""So many different values or hosts are still a list of them."""

OFTEN: Final = 3
"""Several values are a list if each came so many times, on average."""

ROOM: Final = 2
Scalar: TypeAlias = str | int | float


@dataclass(slots=True)
class CommonValues:
    """Takes values one by one and keeps only what is common to them, and a few."""

    count: int = 0
    different: dict[Scalar, None] = field(default_factory=dict)
    low: int = 0
    high: int = 0
    whole: bool = True
    folder: tuple[str, ...] | None = None
    hosts: set[str] | None = field(default_factory=set)

    def add(self, value: Scalar) -> None:
        """Take one more."""
        if len(self.different) <= MOST_VALUES:
            self.different[value] = None
        self._number(value)
        self._path(value)
        self._host(value)
        self.count += 1

    def limit(self) -> tuple[Constraint, str] | None:
        """The tightest limit that is sensible, and what it says in words."""
        return self._list() or self._range() or self._folder() or self._hosts()

    def _number(self, value: Scalar) -> None:
        if isinstance(value, int):
            self.low = value if self.count == 0 else min(self.low, value)
            self.high = value if self.count == 0 else max(self.high, value)
        else:
            self.whole = False

    def _path(self, value: Scalar) -> None:
        """``folder`` is what all paths begin with; empty if they share nothing, or one is none."""
        parts = path_segments(value) if isinstance(value, str) and value.startswith("/") else None
        if self.count == 0 or self.folder is None:
            self.folder = parts or ()
            return
        shared = 0
        for ours, theirs in zip(self.folder, parts or (), strict=False):
            if ours != theirs:
                break
            shared += 1
        self.folder = self.folder[:shared]

    def _host(self, value: Scalar) -> None:
        host = host_of(value)
        if self.hosts is not None:
            self.hosts = None if host is None else self.hosts | {host}
            if self.hosts is not None and len(self.hosts) > MOST_VALUES:
                self.hosts = None

    def _list(self) -> tuple[Constraint, str] | None:
        values = list(self.different)
        few = len(values) <= MOST_VALUES and self.count >= OFTEN * len(values)
        if len(values) != 1 and not few:
            return None
        return _made({"enum": list(values)}, f"always {' or '.join(f'`{v}`' for v in values)}")

    def _range(self) -> tuple[Constraint, str] | None:
        if not self.whole:
            return None
        most = self.high * ROOM if self.high > 0 else 0
        body: JsonValue = {"min": str(min(self.low, 0)), "max": str(most)}
        return _made({"range": body}, f"between {self.low} and {self.high}")

    def _folder(self) -> tuple[Constraint, str] | None:
        if self.folder is None or len(self.folder) < 2:
            return None  # not below one folder, or below the root, which says nothing
        path = "/".join(self.folder)
        return _made({"prefix": path}, f"always below `{path}`")

    def _hosts(self) -> tuple[Constraint, str] | None:
        if not self.hosts:
            return None
        named = sorted(self.hosts)
        words = f"always at {', '.join(f'`{host}`' for host in named)}"
        return _made({"domain": list(named)}, words)


def _made(form: dict[str, JsonValue], words: str) -> tuple[Constraint, str] | None:
    try:
        return constraint_from_json(form), words
    except Refused:
        return None  # too large a number, a name that is no domain
