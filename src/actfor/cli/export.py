"""Mirror the public log into a folder: the checkpoint and every tile under it (C2SP tlog-tiles)."""

from __future__ import annotations

from pathlib import Path

from actfor.cli.api import Api
from actfor.errors import Kind, Refused
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.note import NoteVerifier
from actfor.wire.tiles import tiles_of


def export_log(api: Api, folder: Path) -> int:
    """Write the log as of its latest checkpoint; return its size.

    Checks the checkpoint's signature only; `audit verify` checks the rest.

    Raises:
        Refused: CONFLICT when the folder is there already.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise Refused(Kind.CONFLICT, f"`{folder}` exists already") from None
    note = api.text("/log/checkpoint")
    key = NoteVerifier.parse(api.get("/v1/audit/key")["key"])
    size = Checkpoint.verified(note.decode(), key).size
    for tile in tiles_of(size):
        target = folder / tile.path()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(api.text(f"/log/{tile.path()}"))
    # The checkpoint last: a folder without one is an export that did not finish.
    (folder / "checkpoint").write_bytes(note)
    return size
