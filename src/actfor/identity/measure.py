"""Measure code: the digest of a tree of files, of one file, and what a process executes.

A tree is every regular file below a root: relative path, executable bit, SHA-256. Symbolic links
are recorded by their target and must stay inside. Only ``.git`` and ``__pycache__`` are left out;
whoever appraises a Python process must therefore see to it that it reads no bytecode from there
(``attestors.local_process`` does).

A ``Measurer`` remembers digests by stat signature, so that looking again costs one ``lstat`` per
file. The signature holds ctime, which no user can set; a file changed within the last instants is
never remembered, because a second change in the same clock tick would not show (git's "racily
clean"). NOT checked by a remembered look: writes through a memory map that existed before the
file was hashed. ``fresh=True`` reads every byte again, and attestation always asks for it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass

from actfor.errors import Kind, Refused
from actfor.identity.model import Entry, Measurement, Reference, Tree
from actfor.wire.base64_text import base64url
from actfor.wire.canonical import digest_bytes

EXCLUDED = frozenset({".git", "__pycache__"})
MAX_FILES = 50_000
MAX_BYTES = 4 * 2**30
_RACY_NS = 100_000_000

_Signature = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Known:
    signature: _Signature
    digest: str


class Measurer:
    """Measures trees and files, remembering digests of files that cannot have changed.

    Not thread-safe: one owner at a time. The memory is per absolute path and grows with the
    measured trees only; ``forget`` drops a tree that is no longer watched.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._trees: dict[str, tuple[list[tuple[str, _Signature]], Tree]] = {}

    def measure(self, reference: Reference, *, fresh: bool = False) -> Measurement:
        """Everything of ``reference`` that has a path, as it is now.

        Raises:
            Refused: something is missing, unreadable, not a plain file, or too large.
        """
        files = {
            name: self.file(component.path, fresh=fresh)
            for name, component in reference.files().items()
            if component.path is not None
        }
        return Measurement(self.tree(reference.code_root, fresh=fresh), files)

    def tree(self, root: str, *, fresh: bool = False) -> Tree:
        """The code tree below ``root`` (an absolute path of a directory, not a symlink).

        Raises:
            Refused: MALFORMED when there is no such tree or it may not be measured.
        """
        try:
            if not stat.S_ISDIR(os.lstat(root).st_mode):
                raise Refused(Kind.MALFORMED, f"code root `{root}` is not a directory")
            found = _walk(root)
            look = [(path, _signature(seen)) for path, seen in found]
            known = self._trees.get(root)
            if not fresh and known is not None and known[0] == look:
                return known[1]
            tree = Tree(tuple(self._entries(root, found, fresh=fresh)))
        except OSError as cause:
            raise Refused(Kind.MALFORMED, _cannot("code tree", root, cause)) from cause
        if not any(_is_racy(seen) for _, seen in found):
            self._trees[root] = (look, tree)
        return tree

    def file(self, path: str, *, fresh: bool = False) -> str:
        """The digest of the one regular file at ``path``.

        Raises:
            Refused: MALFORMED when there is no such file or it cannot be read.
        """
        try:
            found = os.lstat(path)
            if not stat.S_ISREG(found.st_mode):
                raise Refused(Kind.MALFORMED, f"`{path}` is not a regular file")
            return self._digest(path, found, fresh=fresh)
        except OSError as cause:
            raise Refused(Kind.MALFORMED, _cannot("file", path, cause)) from cause

    def forget(self, root: str) -> None:
        """Drop what is remembered at and below ``root``."""
        self._trees.pop(root, None)
        for path in [p for p in self._known if p == root or p.startswith(root + "/")]:
            del self._known[path]

    def _entries(
        self, root: str, found: list[tuple[str, os.stat_result]], *, fresh: bool
    ) -> Iterator[Entry]:
        for path, seen in found:
            name = _name(root, path)
            if stat.S_ISLNK(seen.st_mode):
                yield Entry(name, "l", _link(root, path, name))
            elif stat.S_ISREG(seen.st_mode):
                mode = "x" if seen.st_mode & 0o111 else "-"
                yield Entry(name, mode, self._digest(path, seen, fresh=fresh))
            else:
                raise Refused(Kind.MALFORMED, f"`{name}` in the code tree is not a regular file")

    def _digest(self, path: str, found: os.stat_result, *, fresh: bool) -> str:
        known = self._known.get(path)
        if not fresh and known is not None and known.signature == _signature(found):
            return known.digest
        digest, seen = _hash(path)
        if _is_racy(seen):
            self._known.pop(path, None)
        else:
            self._known[path] = _Known(_signature(seen), digest)
        return digest


def resolve(path: str) -> str:
    """``path`` with every symbolic link followed: what will be measured, and shown to people.

    Raises:
        Refused: MALFORMED when nothing is there.
    """
    try:
        return os.path.realpath(path, strict=True)
    except (OSError, ValueError) as cause:
        raise Refused(Kind.MALFORMED, f"nothing can be measured at `{path}`") from cause


def digest_descriptor(descriptor: int) -> str:
    """The digest of an open file, from its start; the descriptor is closed."""
    with os.fdopen(descriptor, "rb") as file:
        return _text(hashlib.file_digest(file, "sha256").digest())


def _walk(root: str) -> list[tuple[str, os.stat_result]]:
    """Everything below ``root`` that is not a folder, by path."""
    found: list[tuple[str, os.stat_result]] = []
    pending, size = [root], 0
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in EXCLUDED:
                        pending.append(entry.path)
                else:
                    found.append((entry.path, entry.stat(follow_symlinks=False)))
                    size += found[-1][1].st_size
                if len(found) > MAX_FILES or size > MAX_BYTES:
                    raise Refused(
                        Kind.MALFORMED, f"code root `{root}` has too many files or bytes to measure"
                    )
    if not found:
        raise Refused(Kind.MALFORMED, f"code root `{root}` contains no files")
    return sorted(found, key=lambda one: one[0])


def _is_racy(seen: os.stat_result) -> bool:
    """Whether the file changed so recently that another change might leave the same stamps."""
    return time.time_ns() - max(seen.st_ctime_ns, seen.st_mtime_ns) <= _RACY_NS


def _name(root: str, path: str) -> str:
    name = path[len(root.rstrip("/")) + 1 :]
    try:
        name.encode()
    except UnicodeEncodeError as cause:
        raise Refused(
            Kind.MALFORMED, f"file name {name!a} in the code tree is not utf-8"
        ) from cause
    return name


def _link(root: str, path: str, name: str) -> str:
    target = os.path.realpath(path)
    if target != root and not target.startswith(root.rstrip("/") + "/"):
        raise Refused(Kind.MALFORMED, f"`{name}` links out of the code tree")
    if EXCLUDED & set(target[len(root) :].split("/")):
        raise Refused(Kind.MALFORMED, f"`{name}` links to what is not measured")
    return digest_bytes(os.fsencode(os.readlink(path)))  # noqa: PTH115 - the target as written


def _hash(path: str) -> tuple[str, os.stat_result]:
    """Digest and stat of one and the same content: read again if it changed meanwhile."""
    for _ in range(3):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            digest = hashlib.file_digest(file, "sha256").digest()
            after = os.fstat(descriptor)
        if _signature(before) == _signature(after):
            return _text(digest), after
    raise Refused(Kind.MALFORMED, f"`{path}` changes while it is measured")


def _signature(found: os.stat_result) -> _Signature:
    return (
        found.st_dev,
        found.st_ino,
        found.st_mode,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )


def _text(sha256: bytes) -> str:
    return "sha-256:" + base64url(sha256)


def _cannot(what: str, path: str, cause: OSError) -> str:
    return f"{what} `{path}` cannot be measured: {(cause.strerror or 'unreadable').lower()}"
