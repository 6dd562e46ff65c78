"""The tree of RFC 9162: published vectors, laws, and an attacker with one changed bit."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfor.errors import Kind, Refused
from actfor.wire import merkle
from actfor.wire.merkle import EMPTY_ROOT, Frontier
from actfor.wire.tiles import TreeWalk

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "log.json").read_text())
PUBLISHED = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]


def naive_root(hashes: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1, word for word."""
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return merkle.node_hash(naive_root(hashes[:split]), naive_root(hashes[split:]))


def nodes(hashes: list[bytes]) -> merkle.Node:
    return lambda level, index: naive_root(hashes[index << level : (index + 1) << level])


def leaves(size: int) -> list[bytes]:
    return [merkle.leaf_hash(f"leaf {n}".encode()) for n in range(size)]


def test_the_empty_tree() -> None:
    assert merkle.root([]) == Frontier().root() == EMPTY_ROOT
    assert EMPTY_ROOT.hex().startswith("e3b0c44298fc1c14")


@pytest.mark.parametrize("size", range(1, 9))
def test_published_roots(size: int) -> None:
    assert merkle.root(PUBLISHED[:size]).hex() == VECTORS["roots"][size - 1]


@pytest.mark.parametrize("vector", VECTORS["inclusion"])
def test_published_inclusion_proofs(vector: dict[str, object]) -> None:
    index, size = int(str(vector["index"])), int(str(vector["size"]))
    proof = merkle.prove_inclusion(index, size, nodes(PUBLISHED))
    assert [node.hex() for node in proof] == vector["proof"]


@pytest.mark.parametrize("vector", VECTORS["consistency"])
def test_published_consistency_proofs(vector: dict[str, object]) -> None:
    old, new = int(str(vector["old"])), int(str(vector["new"]))
    proof = merkle.prove_consistency(old, new, nodes(PUBLISHED))
    assert [node.hex() for node in proof] == vector["proof"]


@given(st.integers(0, 70))
def test_growing_leaf_by_leaf_gives_the_root_of_the_whole(size: int) -> None:
    frontier = Frontier()
    for leaf in leaves(size):
        frontier = frontier.append(leaf)
    assert frontier.root() == merkle.root(leaves(size)) == naive_root(leaves(size))
    assert Frontier.from_bytes(frontier.size, frontier.to_bytes()) == frontier


@pytest.mark.parametrize(("size", "data"), [(1, b""), (0, b"x" * 32), (3, b"x" * 63), (-1, b"")])
def test_a_frontier_that_contradicts_its_size_is_an_error(size: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="frontier"):
        Frontier.from_bytes(size, data)


@given(st.data())
def test_every_leaf_has_a_proof_that_verifies(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    proof = merkle.prove_inclusion(index, size, nodes(hashes))
    merkle.verify_inclusion(hashes[index], index, size, proof, merkle.root(hashes))


@given(st.data())
def test_every_earlier_tree_has_a_proof_that_verifies(data: st.DataObject) -> None:
    new = data.draw(st.integers(0, 70))
    old = data.draw(st.integers(0, new))
    hashes = leaves(new)
    proof = merkle.prove_consistency(old, new, nodes(hashes))
    merkle.verify_consistency(old, new, proof, merkle.root(hashes[:old]), merkle.root(hashes))


def changed(proof: list[bytes], how: str, at: int) -> list[bytes]:
    if how == "flip" and proof:
        at %= len(proof)
        return [*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]]
    if how == "drop" and proof:
        return proof[:at] + proof[at + 1 :] if at < len(proof) else proof[:-1]
    if how == "repeat" and proof:
        return [*proof, proof[-1]]
    if how == "swap" and len(proof) > 1:
        return [proof[1], proof[0], *proof[2:]]
    return [*proof, bytes(32)]


@given(st.data(), st.sampled_from(["flip", "drop", "repeat", "swap", "add"]), st.integers(0, 7))
def test_a_changed_inclusion_proof_is_refused(data: st.DataObject, how: str, at: int) -> None:
    size = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    proof = merkle.prove_inclusion(index, size, nodes(hashes))
    with pytest.raises(Refused) as refused:
        merkle.verify_inclusion(
            hashes[index], index, size, changed(proof, how, at), merkle.root(hashes)
        )
    assert refused.value.kind is Kind.DENIED


@given(st.data(), st.sampled_from(["flip", "drop", "repeat", "swap", "add"]), st.integers(0, 7))
def test_a_changed_consistency_proof_is_refused(data: st.DataObject, how: str, at: int) -> None:
    new = data.draw(st.integers(2, 40))
    old = data.draw(st.integers(1, new - 1))
    hashes = leaves(new)
    proof = merkle.prove_consistency(old, new, nodes(hashes))
    with pytest.raises(Refused):
        merkle.verify_consistency(
            old,
            new,
            changed(proof, how, at),
            merkle.root(hashes[:old]),
            merkle.root(hashes),
        )


@given(st.data())
def test_a_leaf_does_not_verify_as_another_leaf_or_at_another_index(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 40))
    index, other = data.draw(
        st.lists(st.integers(0, size - 1), min_size=2, max_size=2, unique=True)
    )
    hashes = leaves(size)
    proof, root = merkle.prove_inclusion(index, size, nodes(hashes)), merkle.root(hashes)
    with pytest.raises(Refused):
        merkle.verify_inclusion(hashes[other], index, size, proof, root)
    with pytest.raises(Refused):
        merkle.verify_inclusion(hashes[index], other, size, proof, root)


def test_an_inner_node_is_not_a_leaf() -> None:
    # Second preimage: the entry whose bytes are two hashes must not hash like their parent.
    first, second = leaves(2)
    assert merkle.leaf_hash(first + second) != merkle.node_hash(first, second)


@given(st.integers(1, 40), st.data())
def test_a_fork_is_not_consistent(new: int, data: st.DataObject) -> None:
    """An attacker who rewrote one old entry cannot prove anything with honest-looking nodes."""
    old = data.draw(st.integers(1, new))
    at = data.draw(st.integers(0, old - 1))
    honest, forged = leaves(new), leaves(new)
    forged[at] = merkle.leaf_hash(b"forged")
    for source in (honest, forged):
        with pytest.raises(Refused, match="does not continue"):
            merkle.verify_consistency(
                old,
                new,
                merkle.prove_consistency(old, new, nodes(source)),
                merkle.root(honest[:old]),
                merkle.root(forged),
            )


@pytest.mark.parametrize(("old", "new"), [(3, 2), (-1, 2), (5, 0)])
def test_a_log_that_became_shorter_is_refused(old: int, new: int) -> None:
    with pytest.raises(Refused, match="shorter"):
        merkle.verify_consistency(old, new, [], EMPTY_ROOT, EMPTY_ROOT)
    with pytest.raises(ValueError, match="smaller"):
        merkle.prove_consistency(old, new, nodes([]))


def test_nothing_is_consistent_with_a_false_empty_tree() -> None:
    hashes = leaves(3)
    with pytest.raises(Refused):
        merkle.verify_consistency(0, 3, [], merkle.root(hashes), merkle.root(hashes))
    with pytest.raises(Refused):
        merkle.verify_consistency(3, 3, [], merkle.root(hashes[:2]), merkle.root(hashes))
    with pytest.raises(Refused):
        merkle.verify_consistency(2, 3, [], merkle.root(hashes[:2]), merkle.root(hashes))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 4), (4, 4)])
def test_an_index_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        merkle.prove_inclusion(index, size, nodes(leaves(4)))
    with pytest.raises(Refused, match="not in the tree"):
        merkle.verify_inclusion(leaves(1)[0], index, size, [], leaves(1)[0])


def test_roots_of_growing_trees_differ() -> None:
    roots = [merkle.root(leaves(size)) for size in range(60)]
    assert len(set(roots)) == 60
    assert all(one != other for one, other in pairwise(roots))


def test_a_walk_has_the_root_and_the_tiles_of_its_tree_and_can_be_resumed() -> None:
    hashes = [merkle.leaf_hash(n.to_bytes(4, "big")) for n in range(66_000)]
    tiles: dict[tuple[int, int], list[bytes]] = {}
    walk = TreeWalk(lambda level, n, full: tiles.__setitem__((level, n), full))
    for size in (0, 1, 2, 255, 256, 257, 700, 65_535, 65_536, 65_537, 66_000):
        while walk.size < size:
            walk.add(hashes[walk.size])
        assert walk.root() == merkle.root(hashes[:size])
        whole = size // 256 * 256
        above: list[list[bytes]] = [[] for _ in range(3 if whole else 1)]
        for level, _, kept in walk.partial():
            if level:
                above[level] = kept
        again = TreeWalk(resume=[list(level) for level in above])
        assert again.size == whole
        for one in hashes[whole:size]:
            again.add(one)
        assert again.root() == walk.root()
        assert list(again.partial()) == list(walk.partial())
    assert tiles[0, 3] == hashes[768:1024]
    assert tiles[1, 0][5] == merkle.root(hashes[1280:1536])
    assert max(tiles) == (1, 0)
