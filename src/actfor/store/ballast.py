"""A file that is nothing but space, kept for the moment when there is none.

When the disk is full, SQLite cannot record a decision, so nothing is permitted. But a revocation
must be recorded all the same: the ballast is let go, and what it held is for vital units only,
until there is room for it again.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

BALLAST_BYTES = 16 << 20
_LOOK_EVERY = 1.0
_CHUNK = bytes(1 << 20)
_TO_OPEN = 4 << 20


class Ballast:
    """Owned by the sequencer's thread. ``size`` 0 means that there is none."""

    def __init__(self, database: Path, size: int) -> None:
        self._path = database.with_name(database.name + ".ballast")
        self._size = size
        self._looked = 0.0
        self.released = False
        if size and (self._is_whole() or self._free() >= 2 * size):
            self._restore()
        elif size:
            self.release()

    @classmethod
    def make_way(cls, database: Path) -> None:
        """Before the database is opened on a disk that is full: SQLite needs space even to read."""
        ballast = cls(database, 0)
        if ballast._path.exists() and ballast._free() < _TO_OPEN:
            ballast._path.unlink()

    def release(self) -> None:
        """Let it go: the disk is full."""
        if not self._size or self.released:
            return  # there is nothing to let go
        with suppress(FileNotFoundError):
            self._path.unlink()
        self.released = True
        self._looked = time.monotonic()
        logger.critical("the disk is full: only revocations are recorded until there is space")

    def look(self) -> None:
        """Take it back if there is room for it twice; looks once a second at most."""
        now = time.monotonic()
        if not self.released or now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        if self._free() >= 2 * self._size:
            self._restore()

    def _is_whole(self) -> bool:
        try:
            return self._path.stat().st_blocks * 512 >= self._size
        except FileNotFoundError:
            return False

    def _free(self) -> int:
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize

    def _restore(self) -> None:
        try:
            self._fill()
        except OSError as cause:
            with suppress(OSError):
                self._path.unlink()
            if cause.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                raise
            self.release()
            return
        if self.released:
            logger.warning("there is space again; everything is recorded")
        self.released = False

    def _fill(self) -> None:
        """Written, not only sized: a hole would hold no space."""
        if self._is_whole():
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, self._size)
            else:
                for _ in range(self._size // len(_CHUNK)):
                    os.write(descriptor, _CHUNK)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
