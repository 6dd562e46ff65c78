"""What the operating system says about a running process; nothing here asks the process.

On Linux from /proc, without heuristics (psutil splits an argv of one word at its blanks); on
macOS through psutil.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import psutil

from actfor.errors import Kind, Refused
from actfor.identity.measure import digest_descriptor

LINUX = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Run:
    """How a process was started: where, with what words, under which environment."""

    executable: str
    argv: tuple[str, ...]
    cwd: str
    environ: Mapping[str, str]


@cache
def this_machine() -> str:
    """A name for the machine, or the container, whose processes this server can look at."""
    known = b""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with suppress(OSError):
            known = Path(path).read_bytes().strip()
            break
    return sha256(known + b" " + socket.gethostname().encode()).hexdigest()[:32]


def identify(pid: int) -> tuple[int, str]:
    """When the process began, and which program it has been running since its last exec.

    The second changes with every exec: device and inode of the executable and, on Linux, the start
    of the stack, which the kernel places anew each time.

    Raises:
        ProcessLookupError: it is gone, or a zombie.
        PermissionError: this server may not look.
    """
    if not LINUX:
        return _identify_elsewhere(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        found = Path(f"/proc/{pid}/exe").stat()
    except FileNotFoundError as cause:
        raise ProcessLookupError(pid) from cause
    fields = stat[stat.rindex(")") + 2 :].split()  # proc(5): field 3 is the first after the name
    return int(fields[22 - 3]), f"{found.st_dev}:{found.st_ino}:{fields[28 - 3]}"


def look(pid: int) -> Run:
    """How the process was started, as far as it has not rewritten its own memory since.

    Raises:
        ProcessLookupError, PermissionError: see ``identify``.
    """
    if not LINUX:
        return _look_elsewhere(pid)
    try:
        folder = Path(f"/proc/{pid}")
        return Run(
            executable=str((folder / "exe").readlink()),
            argv=tuple(_words(folder / "cmdline")),
            cwd=str((folder / "cwd").readlink()),
            environ=dict(word.partition("=")[::2] for word in _words(folder / "environ")),
        )
    except FileNotFoundError as cause:
        raise ProcessLookupError(pid) from cause


def executable_digest(pid: int) -> str:
    """The digest of the very file the process executes, even if its path holds another by now."""
    path = f"/proc/{pid}/exe" if LINUX else psutil.Process(pid).exe()
    try:
        return digest_descriptor(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError as cause:
        raise ProcessLookupError(pid) from cause


def require_same_files(pid: int) -> None:
    """Refuse a process that sees other files than we do at the same paths.

    Anyone may make a mount namespace of their own (``unshare -Urm``) and put other code over the
    code root, visible to their processes only.
    """
    if not LINUX:
        return
    try:
        same = all(
            Path(f"/proc/{pid}/{link}").readlink() == Path(f"/proc/self/{link}").readlink()
            for link in ("ns/mnt", "root")
        )
    except FileNotFoundError as cause:
        raise ProcessLookupError(pid) from cause
    if not same:
        raise Refused(
            Kind.DENIED, "the process sees other files than this server (mount namespace)"
        )


def require_user(pid: int, uid: int) -> None:
    """Refuse a process that runs, or could run, as another user than ``uid``."""
    try:
        uids = psutil.Process(pid).uids()
    except psutil.Error as cause:
        raise ProcessLookupError(pid) from cause
    if {uids.real, uids.effective, uids.saved} != {uid}:
        raise Refused(Kind.DENIED, "the process belongs to another user than whoever asks")


def _words(path: Path) -> list[str]:
    raw = path.read_bytes()
    return [os.fsdecode(word) for word in raw.removesuffix(b"\0").split(b"\0")] if raw else []


def _identify_elsewhere(pid: int) -> tuple[int, str]:
    try:
        process = psutil.Process(pid)
        found = Path(process.exe()).stat()
        return int(process.create_time() * 1000), f"{found.st_dev}:{found.st_ino}"
    except (psutil.NoSuchProcess, FileNotFoundError) as cause:
        raise ProcessLookupError(pid) from cause
    except psutil.AccessDenied as cause:
        raise PermissionError(pid) from cause


def _look_elsewhere(pid: int) -> Run:
    try:
        process = psutil.Process(pid)
        return Run(process.exe(), tuple(process.cmdline()), process.cwd(), dict(process.environ()))
    except psutil.NoSuchProcess as cause:
        raise ProcessLookupError(pid) from cause
    except psutil.AccessDenied as cause:
        raise PermissionError(pid) from cause
