"""What an independent C2SP implementation (tlog-scales) says; run by its own interpreter.

Reads one JSON request a line, answers one JSON line each. Imports nothing of ours.

    {"do": "note", "note": …, "keys": [vkey …]}           -> {"origin", "size", "signed": [name …]}
    {"do": "log", "at": path or URL, "key": vkey,         -> {"size", "entries", "root"}
     "old": [[size, root hex] …]}
    {"do": "proof", "proof": text, "leaf": hex, "key": …}  -> {"index", "size"}
"""

# mypy: ignore-errors
# Its imports are in `.venv-tlog` only.
import base64
import json
import sys

from tlog_scales import backend, reader, signing, tiles, tlog


def note(request):
    checkpoint = tlog.Checkpoint.from_text(request["note"])
    keys = signing.VkeySet(*map(signing.Vkey.from_string, request["keys"]))
    signed = keys.verify(checkpoint.signatures, checkpoint)
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "signed": sorted(f"{key.name}/{key.sig_type}" for key, _ in signed),
    }


def log(request):
    tree = reader.TilesReader(backend.make_backend(request["at"]))
    checkpoint = tree.get_checkpoint()
    checkpoint.verify(signing.Vkey.from_string(request["key"]))
    if tree.calculate_root_hash() != checkpoint.root_hash:
        raise ValueError("the tiles do not lead to the root")
    for index in range(checkpoint.size):
        proof = tree.get_inclusion_proof(index, checkpoint.size)
        proof.check(tiles.leaf_hash(tree.get_entry(index)), checkpoint.root_hash)
    for size, root in request.get("old", []):
        proof = tree.get_consistency_proof(size, checkpoint.size)
        proof.check(bytes.fromhex(root), checkpoint.root_hash)
    return {"size": checkpoint.size, "entries": checkpoint.size, "root": checkpoint.root_hash.hex()}


def proof(request):
    head, _, text = request["proof"].partition("\n\n")
    first, *lines = head.split("\n")
    if first != "c2sp.org/tlog-proof@v1":
        raise ValueError("not a tlog-proof")
    if lines[0].startswith("extra "):
        lines.pop(0)
    index = int(lines.pop(0).removeprefix("index "))
    checkpoint = tlog.Checkpoint.from_text(text)
    checkpoint.verify(signing.Vkey.from_string(request["key"]))
    path = [base64.b64decode(line) for line in lines]
    included = tlog.InclusionProof(index, checkpoint.size, path)
    included.check(tiles.leaf_hash(bytes.fromhex(request["leaf"])), checkpoint.root_hash)
    return {"index": index, "size": checkpoint.size}


for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = {"note": note, "log": log, "proof": proof}[asked["do"]](asked)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
