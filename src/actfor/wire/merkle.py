"""The Merkle tree of RFC 9162 §2 (the same tree as RFC 6962 §2): hashes and proofs.

    leaf = SHA-256(0x00 || entry)        node = SHA-256(0x01 || left || right)

A *perfect* node ``(level, index)`` is the root over the ``2**level`` leaves from
``index << level`` on.
Proofs are built from perfect nodes only, so that a builder needs a lookup, not the tree;
the verifying side needs nothing but the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Self, TypeAlias

from actfor.errors import Kind, Refused

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

Node: TypeAlias = Callable[[int, int], bytes]
"""Looks up the perfect node ``(level, index)``."""


def leaf_hash(entry: bytes) -> bytes:
    """RFC 9162 §2.1.1: the hash of one entry."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 9162 §2.1.1: the hash of two neighbours."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """What a growing tree must remember: the roots of its perfect subtrees, largest first.

    There is one for each set bit of ``size``, so at most 64 hashes of 32 bytes.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise ValueError("a frontier has one hash for each bit of its size")

    def append(self, leaf: bytes) -> Self:
        """The tree with one more leaf, given its ``leaf_hash``."""
        hashes = self.hashes
        merges = (~self.size & (self.size + 1)).bit_length() - 1  # trailing ones of the size
        for left in reversed(hashes[len(hashes) - merges :]):
            leaf = node_hash(left, leaf)
        return type(self)(self.size + 1, (*hashes[: len(hashes) - merges], leaf))

    def root(self) -> bytes:
        """The Merkle Tree Hash of all leaves so far."""
        return _fold(self.hashes)

    def to_bytes(self) -> bytes:
        """The hashes, concatenated."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Self:
        """The reverse of ``to_bytes``; raises ValueError where data and size disagree."""
        if len(data) % HASH_BYTES:
            raise ValueError("a frontier is made of 32-byte hashes")
        steps = range(0, len(data), HASH_BYTES)
        return cls(size, tuple(data[start : start + HASH_BYTES] for start in steps))


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """The Merkle Tree Hash over leaf hashes (RFC 9162 §2.1.1)."""
    stack: list[bytes] = []
    for size, leaf in enumerate(leaf_hashes):
        node, bits = leaf, size
        while bits & 1:
            node, bits = node_hash(stack.pop(), node), bits >> 1
        stack.append(node)
    return _fold(stack)


def prove_inclusion(index: int, size: int, node: Node) -> list[bytes]:
    """RFC 9162 §2.1.3.1: the audit path of leaf ``index`` in the tree of ``size`` leaves.

    Raises:
        ValueError: there is no such leaf in that tree.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of that size")
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(root_of_range(middle, high, node))
            high = middle
        else:
            path.append(root_of_range(low, middle, node))
            low = middle
    return path[::-1]


def prove_consistency(old: int, new: int, node: Node) -> list[bytes]:
    """RFC 9162 §2.1.4.1: that the tree of ``new`` leaves begins with the tree of ``old``.

    Empty for ``old == new`` and for ``old == 0``, which are consistent by definition.
    """
    if not 0 <= old <= new:
        raise ValueError("a tree is consistent with smaller trees only")
    if old in {0, new}:
        return []
    path: list[bytes] = []
    low, high, whole = 0, new, True
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(root_of_range(middle, high, node))
            high = middle
        else:
            path.append(root_of_range(low, middle, node))
            low, whole = middle, False
    return ([] if whole else [root_of_range(low, high, node)]) + path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes
) -> None:
    """RFC 9162 §2.1.3.2: leaf hash ``leaf`` stands at ``index`` under the root ``expected``.

    Says nothing about who vouches for that root.

    Raises:
        Refused: DENIED if it does not follow.
    """
    if not 0 <= index < size:
        raise _unproven("the index is not in the tree")
    inner = (index ^ (size - 1)).bit_length()
    if len(proof) != inner + (index >> inner).bit_count():
        raise _unproven("the inclusion proof has the wrong length")
    node = leaf
    for height, sibling in enumerate(proof[:inner]):
        left = index >> height & 1
        node = node_hash(sibling, node) if left else node_hash(node, sibling)
    for sibling in proof[inner:]:
        node = node_hash(sibling, node)
    if not compare_digest(node, expected):
        raise _unproven("the inclusion proof does not lead to the signed root")


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """RFC 9162 §2.1.4.2: the tree under ``new_root`` begins with the tree under ``old_root``.

    Raises:
        Refused: DENIED if it does not follow: history was changed, cut or forked.
    """
    if not 0 <= old <= new:
        raise _unproven("the log has become shorter")
    if old in {0, new}:
        _verify_trivial(old, proof, old_root, new_root)
        return
    if not proof:
        raise _unproven("the consistency proof has the wrong length")
    # A tree whose size is a power of two is itself the first node of the path.
    path = iter(proof if old & (old - 1) else [old_root, *proof])
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    left = right = next(path)
    for sibling in path:
        if sn == 0:
            raise _unproven("the consistency proof has the wrong length")
        if fn & 1 or fn == sn:
            left, right = node_hash(sibling, left), node_hash(sibling, right)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            right = node_hash(right, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise _unproven("the consistency proof has the wrong length")
    if not (compare_digest(left, old_root) and compare_digest(right, new_root)):
        raise _unproven("the log does not continue the earlier checkpoint")


def _verify_trivial(old: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    if proof:
        raise _unproven("the consistency proof has the wrong length")
    if not compare_digest(old_root, EMPTY_ROOT if old == 0 else new_root):
        raise _unproven("the log does not continue the earlier checkpoint")


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees, largest first."""
    if not hashes:
        return EMPTY_ROOT
    node = hashes[-1]
    for left in hashes[-2::-1]:
        node = node_hash(left, node)
    return node


def fold(subtrees: Sequence[bytes], right: bytes) -> bytes:
    """The root over equal perfect subtrees, and what stands to their right.

    Neighbours are joined first: ``subtrees`` are themselves the leaves of a tree whose last,
    smaller part is ``right``.
    """
    stack: list[tuple[int, bytes]] = []  # height and root of perfect subtrees of subtrees
    for subtree in subtrees:
        height, node = 0, subtree
        while stack and stack[-1][0] == height:
            height, node = height + 1, node_hash(stack.pop()[1], node)
        stack.append((height, node))
    for _, left in reversed(stack):
        right = node_hash(left, right)
    return right


def _split(size: int) -> int:
    """The largest power of two smaller than ``size`` (RFC 9162 §2.1.1)."""
    return 1 << ((size - 1).bit_length() - 1)


def root_of_range(low: int, high: int, node: Node) -> bytes:
    """The hash over leaves ``[low, high)``: a whole tree, or a right-hand part of a proof.

    ``low`` must be a multiple of a power of two that is not smaller than the range.
    """
    parts: list[bytes] = []
    while low < high:
        level = (high - low).bit_length() - 1
        parts.append(node(level, low >> level))
        low += 1 << level
    return _fold(parts)


def _unproven(detail: str) -> Refused:
    return Refused(Kind.DENIED, detail)
