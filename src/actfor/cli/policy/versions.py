"""What is in force, what was, what is proposed; a new version and the way back."""

from __future__ import annotations

import sys
import webbrowser
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli.api import api
from actfor.cli.output import clean, emit, note, out, table
from actfor.cli.policy.common import (
    FilesArgument,
    JsonOption,
    NoteOption,
    made,
    named_version,
    read,
)
from actfor.errors import Kind, Refused


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ls")(list_)
    for command in (
        show, check, publish, rollback, diff, proposals, proposal, approve, reject,
    ):  # fmt: skip
        app.command()(command)


def show(
    version: Annotated[str, typer.Argument(help="#N or the beginning of a version.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Print the policies in force, or those of one version."""
    found = api().get(f"/v1/policies/versions/{named_version(version)}" if version else _CURRENT)
    if as_json:
        emit(found, as_json=True)
    else:
        out.file.write(f"// {found['version']}\n{found['source']}")


def list_(as_json: JsonOption = False) -> None:
    """List the published versions, newest first."""
    found = api().get("/v1/policies")["versions"]
    table(found, ("seq", "version", "published_at", "cause", "note", "active"), as_json=as_json)


def check(source: FilesArgument) -> None:
    """Say all that is wrong with a policy set, as the server sees it. Exits 1 if anything is.

    A set takes the place of all that is in force; what would be gone and new is counted.
    Example: actfor policy check policies/*.cedar
    """
    client, text = api(), read(source)
    problems = client.post("/v1/policies/check", {"source": text})["problems"]
    for problem in problems:
        where = f"line {problem['line']}: " if problem["line"] else ""
        whose = f"policy `{problem['policy']}`: " if problem["policy"] else ""
        note(f"{where}{whose}{problem['message']}")
    if problems:
        raise typer.Exit(1)
    note("these policies may be published")
    note(_instead(client.post("/v1/policies/diff", {"source": text})["changes"]))


def publish(
    source: FilesArgument,
    why: NoteOption = "",
    replaces: Annotated[
        str | None, typer.Option(help="Only if this version is in force: #N or its beginning.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a new version. It is validated strictly; a set that is empty or wrong is refused.

    Where the server demands two administrators this proposes it, and exits 6.
    """
    body: dict[str, Any] = {"source": read(source), "note": why}
    if replaces is not None:
        body["replaces"] = named_version(replaces)
    made(api().post("/v1/policies", body), as_json=as_json)


def rollback(
    version: Annotated[
        str, typer.Argument(help="#N or the beginning of a version.  [default: the one before]")
    ] = "",
    why: NoteOption = "",
    as_json: JsonOption = False,
) -> None:
    """Put an earlier version in force again, as a new publication."""
    body = {"note": why, **({"to": version} if version else {})}
    made(api().post("/v1/policies/rollback", body), as_json=as_json)


def diff(
    before: Annotated[str, typer.Argument(help="#N or the beginning of a version.")] = "",
    after: Annotated[str, typer.Argument(help="Likewise.  [default: the one in force]")] = "",
    file: Annotated[
        list[Path] | None, typer.Option("--file", help="Compare these files with what is in force.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Only line by line, as `diff -u`.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what changed between two versions, policy by policy.

    Example: actfor policy diff "#3" "#4" · actfor policy diff --file new.cedar
    """
    if file:
        found = api().post("/v1/policies/diff", {"source": read(file)})
    elif before:
        found = api().get("/v1/policies/diff", before=before, after=after or None)
    else:
        raise Refused(Kind.MALFORMED, "name a version, or files with --file")
    if as_json:
        emit(found, as_json=True)
    else:
        show_diff(found, text=text)


def proposals(as_json: JsonOption = False) -> None:
    """List the changes that wait, or waited, for a second administrator."""
    found = api().get("/v1/policies/proposals")["proposals"]
    columns = ("id", "state", "cause", "author", "note", "created_at", "expires_at")
    table(found, columns, as_json=as_json)


def proposal(proposal_id: str, as_json: JsonOption = False) -> None:
    """Show a proposed change."""
    found = api().get(f"/v1/policies/proposals/{proposal_id}")
    if as_json:
        emit(found, as_json=True)
    else:
        note(f"{found['id']} is {found['state']}, by {found['author']}: {found['note']}")
        show_diff(found["diff"])


def approve(
    proposal_id: str,
    no_browser: Annotated[bool, typer.Option(help="Only print the link.")] = False,
) -> None:
    """Open the proposal's page: agreeing takes your passkey, which lives in the browser.

    Exits 6, because the proposal is still open.
    """
    client = api()
    state = client.get(f"/v1/policies/proposals/{proposal_id}")["state"]
    if state != "open":
        raise Refused(Kind.CONFLICT, f"the proposal is {state} already")
    link = f"{client.base_url}/policies/proposals/{proposal_id}"
    note(link)
    if not no_browser:
        webbrowser.open(link)
    raise Refused(Kind.STEP_UP_REQUIRED, f"`{proposal_id}` is open: approve it in the browser")


def reject(
    proposal_id: str, reason: Annotated[str, typer.Option(help="Why; it goes to the log.")] = ""
) -> None:
    """Say no to a proposed change; to your own: withdraw it."""
    found = api().post(f"/v1/policies/proposals/{proposal_id}/reject", {"reason": reason})
    note(f"{proposal_id} is {found['state']}")


def show_diff(found: dict[str, Any], *, text: bool = False) -> None:
    """A difference for a person: policy by policy, then the lines."""
    if not text:
        for change in found["changes"]:
            note(f"{change['kind']:>9}  {change['id']}: {change['direction']}")
            if change["uncapped"]:
                note(f"           does not repeat the caps: {change['uncapped']}")
        if not found["changes"]:
            note("every policy decides as before")
    if found["unified"]:
        sys.stdout.write(clean(found["unified"]) + "\n")


def _instead(changes: list[dict[str, Any]]) -> str:
    """What a set would do to what is in force, counted."""
    if not changes:
        return "every policy would decide as now"
    kinds = Counter(change["kind"] for change in changes)
    counted = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    return f"they would take the place of all in force: {counted}; see `actfor policy diff --file`"


_CURRENT = "/v1/policies/current"
