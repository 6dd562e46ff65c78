"""Make the golden vectors of cosignatures and witness messages:
`python tests/vectors/make_witness_vectors.py`.

Keys, times and heads are fixed. Ed25519 signatures are a function of them; ML-DSA-44 ones are not,
so a vector holds the message that is signed and one signature that was made once.
Run it after a deliberate change of a wire message, and read the diff.
"""

import json
from base64 import b64encode
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from actfor.wire import merkle
from actfor.wire.checkpoint import Checkpoint, LogProof
from actfor.wire.log_entry import LogEntry
from actfor.wire.note import Cosigner, NoteSigner, cosigned_message
from actfor.wire.witness import AddCheckpoint

TARGET = Path(__file__).with_name("witness.json")
ORIGIN = "log.example/vectors"
AT = 1_795_655_512


def make() -> dict[str, object]:
    """Everything, by name."""
    log = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    cosigners = {
        "log-ml-dsa-44": Cosigner(ORIGIN, MLDSA44PrivateKey.from_seed_bytes(bytes([1]) * 32)),
        "witness-ed25519": Cosigner(
            "witness.example/w1", Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
        ),
        "witness-ml-dsa-44": Cosigner(
            "witness.example/w1", MLDSA44PrivateKey.from_seed_bytes(bytes([3]) * 32)
        ),
    }
    leaves = [
        LogEntry(n, f"evt_{n}", "admin", AT * 1000, "t", {"n": n}, {}).encode() for n in range(9)
    ]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]

    def node(level: int, index: int) -> bytes:
        return merkle.root(hashes[index << level : (index + 1) << level])

    text = Checkpoint(ORIGIN, 9, merkle.root(hashes)).text()
    note = log.sign(text)
    lines = {name: cosigner.cosign(text, AT) for name, cosigner in cosigners.items()}
    proof = merkle.prove_inclusion(5, 9, node)
    return {
        "at": AT,
        "log_key": str(log.verifier),
        "leaves": [leaf.decode() for leaf in leaves],
        "checkpoint": note,
        "cosigners": {
            name: {
                "key": str(cosigner.verifier),
                "message": b64encode(
                    cosigned_message(cosigner.verifier.type, cosigner.verifier.name, text, AT)
                ).decode(),
                "line": lines[name],
            }
            for name, cosigner in cosigners.items()
        },
        "add_checkpoint": AddCheckpoint(
            6, tuple(merkle.prove_consistency(6, 9, node)), note
        ).text(),
        "tlog_proof": LogProof(5, tuple(proof), note + lines["witness-ed25519"], leaves[5]).text(),
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(make(), indent=1, ensure_ascii=False) + "\n")
