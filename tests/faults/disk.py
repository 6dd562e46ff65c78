"""A disk whose power can be cut: an SQLite VFS that keeps what was synced and gambles the rest.

Files are bytes in memory, in two states: what the process sees, and what is on the platter. A write
changes the first and is remembered; ``xSync`` moves everything remembered to the second. When the
power goes, each 512-byte sector of each remembered write is, by dice, on the platter, not there, or
torn in the middle; truncations and deletions that were not synced may have happened or not.
After the cut every operation fails, as on a machine that is off.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import apsw

SECTOR = 512


@dataclass
class Stored:
    """One file: what is seen, what is safe, and what is on its way, oldest first."""

    seen: bytearray = field(default_factory=bytearray)
    safe: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # None: cut to this size


class Off(Exception):  # noqa: N818 - a state of the world
    """There is no power."""


class Disk:
    """Files by name. ``lying`` says yes to a sync and does nothing."""

    def __init__(self, rng: random.Random, *, lying: bool = False) -> None:
        self.files: dict[str, Stored] = {}
        self.rng = rng
        self.lying = lying
        self.left: int | None = None  # operations until the power goes
        self.on = True

    def operate(self) -> None:
        """Each write, truncation, deletion and sync is a moment at which the power may go."""
        if not self.on:
            raise Off
        if self.left is not None:
            if self.left <= 0:
                self.on = False
                raise Off
            self.left -= 1

    def write(self, name: str, data: bytes, offset: int) -> None:
        self._torn_last(name, data, offset)
        stored = self.files[name]
        _put(stored.seen, data, offset)
        stored.pending.append((offset, data))

    def _torn_last(self, name: str, data: bytes, offset: int) -> None:
        """The write during which the power goes is as much on its way as those before it."""
        try:
            self.operate()
        except Off:
            if name in self.files:
                self.files[name].pending.append((offset, data))
            raise

    def truncate(self, name: str, size: int) -> None:
        self.operate()
        stored = self.files[name]
        del stored.seen[size:]
        stored.pending.append((size, None))

    def sync(self, name: str) -> None:
        self.operate()
        if not self.lying:
            stored = self.files[name]
            stored.safe[:] = stored.seen
            stored.pending.clear()

    def delete(self, name: str) -> None:
        self.operate()
        self.files.pop(name, None)

    def after_the_cut(self) -> Disk:
        """The disk as the machine finds it when it is on again."""
        again = Disk(self.rng, lying=self.lying)
        for name, stored in self.files.items():
            platter = bytearray(stored.safe)
            keep = self.rng.random()  # some cuts lose nearly everything, some nearly nothing
            for offset, data in stored.pending:
                if data is None:
                    if self.rng.random() < keep:
                        del platter[offset:]
                else:
                    self._gamble(platter, data, offset, keep)
            again.files[name] = Stored(bytearray(platter), platter)
        return again

    def _gamble(self, platter: bytearray, data: bytes, offset: int, keep: float) -> None:
        at = 0
        while at < len(data):
            size = min(SECTOR - (offset + at) % SECTOR, len(data) - at)
            dice = self.rng.random()
            if dice < keep:
                _put(platter, data[at : at + size], offset + at)
            elif dice < keep + (1 - keep) * 0.2:  # torn: only its beginning was written
                part = self.rng.randrange(size)
                _put(platter, data[at : at + part], offset + at)
            at += size


def _put(target: bytearray, data: bytes, offset: int) -> None:
    if offset > len(target):
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


class DiskFile:
    """What SQLite holds open (apsw.VFSFile's methods)."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk, self._name = disk, name

    @property
    def _stored(self) -> Stored:
        return self._disk.files[self._name]

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's names
        if not self._disk.on:
            raise apsw.IOError
        return bytes(self._stored.seen[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        _powered(self._disk.write, self._name, bytes(data), offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        _powered(self._disk.truncate, self._name, size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        _powered(self._disk.sync, self._name)

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._stored.seen)

    def xClose(self) -> None:  # noqa: N802
        pass

    def xLock(self, level: int) -> None:  # noqa: N802 - one process, one connection
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, op: int, pointer: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return SECTOR

    def xDeviceCharacteristics(self) -> int:  # noqa: N802 - nothing is promised but this
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE


def _powered(operation: Callable[..., None], *args: Any) -> None:
    try:
        operation(*args)
    except Off:
        raise apsw.IOError from None


class DiskVfs(apsw.VFS):
    """Registers the disk that is in the machine now; exchange it between two openings."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.disk: Disk | None = None

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - a DiskFile, which need not be apsw's
        path = name.filename() if isinstance(name, apsw.URIFilename) else (name or "temp")
        disk = self.disk
        assert disk is not None
        if path not in disk.files:
            disk.files[path] = Stored()
        flags[1] = flags[0]
        return DiskFile(disk, path)

    def xAccess(self, path: str, flags: int) -> bool:  # noqa: N802
        return self.disk is not None and path in self.disk.files

    def xDelete(self, path: str, syncdir: bool) -> None:  # noqa: N802
        assert self.disk is not None
        _powered(self.disk.delete, path)

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name
