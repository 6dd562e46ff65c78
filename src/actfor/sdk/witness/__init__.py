"""A witness, to be run away from the log it watches: C2SP tlog-witness, the witness's side.

It cosigns a log's checkpoint only if that continues the last one it cosigned, so that whoever
demands its cosignature cannot be shown two histories. Needs nothing of the server.
"""

from actfor.sdk.witness.http import WitnessServer
from actfor.sdk.witness.keeper import Keeper

__all__ = ["Keeper", "WitnessServer"]
