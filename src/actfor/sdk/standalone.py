#!/usr/bin/env python3
"""Verify a receipt, a `.tlog-proof` or a folder of tiles with this one file.

    python3 standalone.py --key log.vkey [--policy policy] [--checkpoint kept] WHAT

For an auditor who wants to read what they run: needs Python 3.9 or newer and the package
`cryptography` (50 or newer where ML-DSA-44 is used), nothing of actfor. It shares no code with the
rest, on purpose. Formats: C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof,
tlog-tiles, tlog-policy; RFC 6962 §2.1; the leaf is RFC 8785 JSON.

Prints what was proved and exits 0, or says what is wrong and exits 8.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

Signatures = list[tuple[str, bytes]]
Head = tuple[str, int, bytes]  # origin, size, root


class Wrong(Exception):  # noqa: N818 - a finding, not an error
    """Something does not hold."""


# -- RFC 6962 ------------------------------------------------------------------------------------


def leaf_hash(entry: bytes) -> bytes:
    """§2.1: SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """§2.1: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def check_inclusion(leaf: bytes, index: int, size: int, siblings: list[bytes], root: bytes) -> None:
    """RFC 9162 §2.1.3.2, step by step."""
    if index >= size:
        raise Wrong("the index is not in the tree")
    fn, sn, node = index, size - 1, leaf
    for sibling in siblings:
        if sn == 0:
            raise Wrong("the inclusion proof is too long")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn or node != root:
        raise Wrong("the inclusion proof does not lead to the signed root")


class Tree:
    """Grows by leaves; keeps the root of each perfect subtree on its right edge."""

    def __init__(self) -> None:
        self.size = 0
        self.edge: list[bytes] = []

    def add(self, node: bytes) -> None:
        """One more leaf hash."""
        size = self.size
        while size & 1:
            node, size = node_hash(self.edge.pop(), node), size >> 1
        self.edge.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self.edge:
            return hashlib.sha256(b"").digest()
        node = self.edge[-1]
        for left in reversed(self.edge[:-1]):
            node = node_hash(left, node)
        return node


# -- C2SP notes ----------------------------------------------------------------------------------


class Key:
    """A verifier key: <name>+<id>+<base64(type || public key)>."""

    def __init__(self, text: str) -> None:
        self.name, id_, rest = text.strip().split("+", 2)
        raw = base64.b64decode(rest, validate=True)
        self.type, self.public = raw[0], raw[1:]
        self.id = hashlib.sha256(self.name.encode() + b"\n" + raw).digest()[:4]
        if self.id.hex() != id_ or self.type not in {1, 4, 6}:
            raise Wrong(f"not a verifier key: {text.strip()[:60]}")

    def signed(self, text: str, signatures: Signatures) -> int:
        """The latest time at which it signed (1 for a type without), or 0 if it did not."""
        latest = 0
        for name, raw in signatures:
            if (name, raw[:4]) == (self.name, self.id):
                latest = max(latest, self._check(text, raw[4:]))
        return latest

    def _check(self, text: str, signature: bytes) -> int:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        message, at = text.encode(), 1
        if self.type != 1:
            at = int.from_bytes(signature[:8], "big")
            signature = signature[8:]
        if self.type == 4:
            message = b"cosignature/v1\ntime %d\n" % at + message
        try:
            if self.type == 6:
                from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

                origin, size, root = checkpoint(text)
                message = b"".join(
                    (
                        b"subtree/v1\n\0",
                        bytes([len(self.name.encode())]) + self.name.encode(),
                        at.to_bytes(8, "big"),
                        bytes([len(origin.encode())]) + origin.encode(),
                        bytes(8),
                        size.to_bytes(8, "big"),
                        root,
                    )
                )
                MLDSA44PublicKey.from_public_bytes(self.public).verify(signature, message)
            else:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise Wrong(f"the signature of {self.name} does not verify") from None
        return at


def checkpoint(text: str) -> Head:
    """Origin, size and root of a checkpoint's text."""
    lines = text.split("\n")
    root = base64.b64decode(lines[2], validate=True) if len(lines) > 3 else b""
    if len(root) != 32 or not lines[1].isascii() or not lines[1].isdigit():
        raise Wrong("not a checkpoint")
    return lines[0], int(lines[1]), root


def note(data: str) -> tuple[str, Signatures]:
    """A note's text, and its signatures by name."""
    text, blank, tail = data.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise Wrong("not a signed note")
    signatures: Signatures = []
    for line in tail[:-1].split("\n"):
        dash, name, encoded = line.split(" ")
        if dash != "—":
            raise Wrong("not a signed note")
        signatures.append((name, base64.b64decode(encoded, validate=True)))
    return text + "\n", signatures


class Policy:
    """Which logs are believed, and whose cosignatures a checkpoint needs (tlog-policy)."""

    def __init__(self, text: str) -> None:
        self.logs: list[Key] = []
        self.witnesses: dict[str, Key] = {}
        self.groups: list[tuple[str, int, list[str]]] = []
        self.quorum = "none"
        stated = False
        for line in text.split("\n"):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] == "log":
                self.logs.append(Key(words[1]))
            elif words[0] == "witness":
                self.witnesses[words[1]] = Key(words[2])
            elif words[0] == "group":
                members = words[3:]
                need = {"all": len(members), "any": 1}.get(words[2]) or int(words[2])
                self.groups.append((words[1], need, members))
            elif words[0] == "quorum":
                self.quorum, stated = words[1], True
            else:
                self.logs.append(Key(line))
                stated = True
        if not stated:
            raise Wrong("the policy has no quorum line")

    def check(self, data: str) -> tuple[Head, list[str]]:
        """The checkpoint in a note, and who cosigned it."""
        text, signatures = note(data)
        origin, size, root = checkpoint(text)
        signed = [key.name == origin for key in self.logs if key.signed(text, signatures)]
        if not any(signed):
            raise Wrong("the checkpoint is not signed by the trusted key")
        cosigned = sorted(
            name for name, key in self.witnesses.items() if key.signed(text, signatures)
        )
        holds = set(cosigned)
        for name, need, members in self.groups:
            if sum(member in holds for member in members) >= need:
                holds.add(name)
        if self.quorum != "none" and self.quorum not in holds:
            raise Wrong(f"the quorum `{self.quorum}` did not cosign the checkpoint")
        return (origin, size, root), cosigned

    def kept(self, data: str) -> Head:
        """A checkpoint that was kept: the log signed it; who cosigned is of no matter."""
        text, signatures = note(data)
        if not any(key.signed(text, signatures) for key in self.logs):
            raise Wrong("the kept checkpoint is not signed by the trusted key")
        return checkpoint(text)


# -- the log's entries ---------------------------------------------------------------------------


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """No member twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Wrong("an entry has a member twice")
    return found


class Revocations:
    """No permit after the revocation of anything it names, under an epoch before it."""

    def __init__(self) -> None:
        self.floor: dict[tuple[str, str], tuple[int, int]] = {}
        self.permits = 0
        self.wrong: list[str] = []

    def see(self, index: int, entry: dict[str, Any]) -> None:
        """One entry, in order."""
        facts = entry["facts"]
        for kind, things in facts.get("revoked", {}).items():
            for id_, epoch in things.items():
                if self.floor.get((kind, id_), (0, 0))[0] < epoch:
                    self.floor[kind, id_] = (epoch, index)
        decision = facts.get("decision")
        decide = entry["type"] == "decide" and decision == "permit"
        if not decide and not (entry["type"] == "delegate" and decision != "deny"):
            return
        self.permits += 1
        epochs = facts.get("epochs")
        if epochs is None:
            if facts.get("via") != "authzen":
                self.wrong.append(f"entry {index} permits without saying under which epochs")
            return
        for kind, things in epochs.items():
            for id_, epoch in things.items():
                floor, by = self.floor.get((kind, id_), (0, 0))
                if epoch < floor:
                    self.wrong.append(
                        f"entry {index} permits under {kind} {id_}, which entry {by} revoked"
                    )
        named = {
            kind: facts[kind] for kind in ("agent", "mandate", "grant", "approval") if kind in facts
        }
        if facts.get("action") == "subject-token":
            named.pop("agent", None)  # it names who may use it later
        if "server" in facts and "tool" in facts:
            named["tool"] = f"{facts['server']}/{facts['tool']}"
        pairs = list(named.items())
        # Whoever passed the mandate on stands in the chain: the permit rests on them as well.
        pairs += [("agent", actor.split("/i/")[0]) for actor in facts.get("chain", [])]
        for kind, id_ in sorted(set(pairs)):
            if id_ not in epochs.get(kind, {}):
                self.wrong.append(f"entry {index} permits under {kind} {id_} without its epoch")


def verify_folder(folder: Path, policy: Policy, kept: Head | None) -> dict[str, Any]:
    """Every entry and every tile leads to the signed root; nothing is held but the right edge."""
    (origin, size, root), cosigned = policy.check((folder / "checkpoint").read_text("utf-8"))
    if kept and kept[1] > size:
        raise Wrong(f"the log was cut: {size} entries, the kept checkpoint has {kept[1]}")
    tree, seen = Tree(), Revocations()
    level0: list[bytes] = []
    for n in range(-(-size // 256)):
        width = min(256, size - n * 256)
        entries = split((folder / path("entries", n, width)).read_bytes(), width)
        hashes = read_hashes(folder, 0, n, width)
        for k, entry in enumerate(entries):
            index = n * 256 + k
            if leaf_hash(entry) != hashes[k]:
                raise Wrong(f"entry {index} was changed")
            tree.add(hashes[k])
            value = json.loads(entry, object_pairs_hook=once)
            if value["seq"] != index:
                raise Wrong(f"entry {index} says that it is entry {value['seq']}")
            seen.see(index, value)
            if kept and kept[1] == tree.size and kept[2] != tree.root():
                raise Wrong("the log is not the one of the kept checkpoint")
        if width == 256:
            level0.append(root_of(hashes))
    if tree.root() != root:
        raise Wrong("the entries do not lead to the signed root")
    level, nodes = 1, level0
    while nodes:
        for n in range(-(-len(nodes) // 256)):
            part = nodes[n * 256 : n * 256 + 256]
            if read_hashes(folder, level, n, len(part)) != part:
                raise Wrong(f"tile {n} of level {level} was changed")
        full = range(0, len(nodes) - 255, 256)
        level, nodes = level + 1, [root_of(nodes[at : at + 256]) for at in full]
    if seen.wrong:
        raise Wrong("; ".join(seen.wrong[:20]))
    return {
        "verified": "log",
        "log": origin,
        "entries": size,
        "permits": seen.permits,
        "permits after revoke": 0,
        "cosigned by": cosigned,
        "continues": kept[1] if kept else None,
    }


def verify_file(text: str, policy: Policy) -> dict[str, Any]:
    """A receipt (JSON) or a `.tlog-proof` that has its leaf with it."""
    openings: dict[str, Any] = {}
    if text.startswith("c2sp.org/tlog-proof@v1\n"):
        proof = text
        extra = text.split("\n")[1]
        if not extra.startswith("extra "):
            raise Wrong("the proof has no leaf with it")
        leaf = base64.b64decode(extra[6:], validate=True)
    else:
        receipt = json.loads(text, object_pairs_hook=once)
        proof, openings = receipt["proof"], receipt["openings"]
        leaf = canonical(receipt["leaf"])
    head, _, signed = proof.partition("\n\n")
    lines = [line for line in head.split("\n")[1:] if not line.startswith("extra ")]
    index = int(lines[0].removeprefix("index "))
    (origin, size, root), cosigned = policy.check(signed)
    nodes = [base64.b64decode(line, validate=True) for line in lines[1:]]
    check_inclusion(leaf_hash(leaf), index, size, nodes, root)
    entry = json.loads(leaf, object_pairs_hook=once)
    if entry["seq"] != index:
        raise Wrong("the event says that it is another entry")
    opened = {}
    for name, opening in openings.items():
        salt = base64.urlsafe_b64decode(opening["salt"] + "=")
        made = hmac.digest(salt, canonical(opening["value"]), "sha256")
        if base64.urlsafe_b64encode(made).rstrip(b"=").decode() != entry["commitments"].get(name):
            raise Wrong(f"`{name}` is not what was committed to")
        opened[name] = opening["value"]
    return {
        "verified": "receipt",
        "log": origin,
        "entry": index,
        "of": size,
        "type": entry["type"],
        "trace": entry["trace"],
        "facts": entry["facts"],
        "private": opened,
        "cosigned by": cosigned,
    }


def canonical(value: Any) -> bytes:
    """RFC 8785 for what our leaves hold: text and integers. Others are refused, not guessed."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if any(ord(char) > 0xFFFF for char in text) or has_float(value):
        raise Wrong("this file cannot re-encode floats and characters beyond the basic plane")
    return text.encode()


def has_float(value: Any) -> bool:
    """Whether a float stands anywhere in it."""
    if isinstance(value, dict):
        return any(map(has_float, value.values()))
    if isinstance(value, list):
        return any(map(has_float, value))
    return isinstance(value, float)


def split(bundle: bytes, width: int) -> list[bytes]:
    """The entries of a bundle, each after its length in two bytes."""
    entries: list[bytes] = []
    at = 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        entries.append(bundle[at + 2 : end])
        at = end
    if at != len(bundle) or len(entries) != width:
        raise Wrong("a bundle of entries was cut or changed")
    return entries


def read_hashes(folder: Path, level: int, n: int, width: int) -> list[bytes]:
    """The hashes of one tile."""
    data = (folder / path(level, n, width)).read_bytes()
    if len(data) != 32 * width:
        raise Wrong("a tile was cut or changed")
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def path(level: int | str, n: int, width: int) -> str:
    """tlog-tiles: 1234067 is x001/x234/067."""
    digits = [f"{n % 1000:03d}"]
    while n >= 1000:
        n //= 1000
        digits.insert(0, f"x{n % 1000:03d}")
    return f"tile/{level}/" + "/".join(digits) + ("" if width == 256 else f".p/{width}")


def root_of(hashes: list[bytes]) -> bytes:
    """The root over 256 hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[k], hashes[k + 1]) for k in range(0, len(hashes), 2)]
    return hashes[0]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", type=Path)
    parser.add_argument("--key", "--policy", required=True, help="the key or policy, or its file")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint that you kept (for a folder)")
    given = parser.parse_args()
    try:
        typed = re.fullmatch(r"\S+\+[0-9a-f]{8}\+\S+", given.key)
        policy = Policy(given.key if typed else Path(given.key).read_text("utf-8"))
        kept = None
        if given.checkpoint:
            kept = policy.kept(given.checkpoint.read_text("utf-8"))
        if given.what.is_dir():
            report = verify_folder(given.what, policy, kept)
        else:
            report = verify_file(given.what.read_text("utf-8"), policy)
    except Wrong as wrong:
        _fail(str(wrong))
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        _fail(f"not what it should be: {type(error).__name__}: {error}")
    sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def _fail(why: str) -> NoReturn:
    sys.stderr.write(f"NOT VERIFIED: {why}\n")
    sys.exit(8)


if __name__ == "__main__":
    main()
