"""Who is asked to cosign our checkpoints: over HTTP, or by files carried across an air gap."""

from actfor.audit.witnesses.base import Cosigned, Misfit, NotCosigned, Prove, Witness
from actfor.audit.witnesses.folder import FolderWitness
from actfor.audit.witnesses.http import HttpWitness
from actfor.errors import Kind, Refused
from actfor.wire.tlog_policy import Policy

__all__ = [
    "Cosigned",
    "FolderWitness",
    "HttpWitness",
    "Misfit",
    "NotCosigned",
    "Prove",
    "Witness",
    "witnesses_of",
]


def witnesses_of(policy: Policy) -> list[Witness]:
    """One way to each witness of the policy that has a URL; others are for those who verify.

    Raises:
        Refused: MALFORMED for a URL that is neither https, http, nor file.
    """
    made: list[Witness] = []
    for line in policy.witnesses:
        if line.url is None:
            continue
        scheme = line.url.partition(":")[0]
        if scheme in {"http", "https"}:
            made.append(HttpWitness(line.name, line.key, line.url))
        elif scheme == "file":
            made.append(FolderWitness.at(line.name, line.key, line.url))
        else:
            raise Refused(
                Kind.MALFORMED,
                f"witness `{line.name}`: `{line.url}` is not an http, https or file URL",
            )
    return made
