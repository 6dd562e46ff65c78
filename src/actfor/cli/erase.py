"""`actfor audit erase`: forget a person, and keep every proof."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from actfor.cli.api import Api, api
from actfor.cli.output import note
from actfor.errors import Kind, Refused


def register(parent: typer.Typer) -> None:
    """Add it to `actfor audit`."""
    parent.command()(erase)


def erase(
    subject: Annotated[str, typer.Argument(help="The person: their id, or their name if unique.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase a person for good: name, passkeys, mandates, and what the log keeps of them.

    Every entry and proof of the log stays valid; what was private in it says by which leaf it was
    erased. Their mandates end. Backups made before open for them no more, as long as only the
    newest copy of `erasure.key` is kept: see docs/security/privacy.md.

    Example: actfor audit erase usr_7q2m… --yes
    """
    server = api()
    found = _resolve(server, subject)
    if not yes:
        typer.confirm(f"Erase {found['name']!a} ({found['id']}) for good?", abort=True)
    done = server.post(f"/v1/people/{found['id']}/erase", {})
    note(f"erased by leaf {done['leaf']}; {done['subject']} in the log")
    if not done["compacted"]:
        raise Refused(
            Kind.BUSY,
            "erased, but the database files still hold deleted rows: run it again, or have the"
            " owner of the tables run VACUUM (FULL)",
        )


def _resolve(server: Api, subject: str) -> dict[str, Any]:
    people: list[dict[str, Any]] = server.get("/v1/people")["people"]
    found = [one for one in people if one["id"] == subject]
    found = found or [one for one in people if subject and one["name"] == subject]
    if not found:
        raise Refused(Kind.NOT_FOUND, f"nobody here is `{subject}`")
    if len(found) > 1:
        ids = ", ".join(one["id"] for one in found)
        raise Refused(Kind.CONFLICT, f"`{subject}` is the name of several people: {ids}")
    return found[0]
