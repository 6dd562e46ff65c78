"""`actfor policy shadow` and `report-only`: trials on live traffic."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from actfor.cli.api import api
from actfor.cli.output import emit, note, table
from actfor.cli.policy.common import (
    PATIENCE,
    FilesArgument,
    JsonOption,
    NoteOption,
    agent_id,
    cut,
    mandate_id,
    read,
    seconds,
)
from actfor.errors import Kind, Refused

AgentOption = Annotated[str | None, typer.Option(help="Only this agent's calls.")]
MandateOption = Annotated[str | None, typer.Option(help="Only calls under this mandate.")]

_shadow = typer.Typer(
    no_args_is_help=True,
    help="Ask a candidate beside the policies in force; nothing it says is enforced.",
)
_report_only = typer.Typer(
    no_args_is_help=True,
    help="Let one agent's or mandate's calls pass where only policies stand in the way.",
)


def register(app: typer.Typer) -> None:
    """Add the groups."""
    app.add_typer(_shadow, name="shadow")
    app.add_typer(_report_only, name="report-only")
    for group in (_shadow, _report_only):
        group.command("ls")(list_)
        group.command()(report)
        group.command()(stop)


@_shadow.command("start")
def start_shadow(
    source: FilesArgument,
    lasting: Annotated[str, typer.Option("--for", help="How long, at most 30d.")] = "7d",
    agent: AgentOption = None,
    mandate: MandateOption = None,
    why: NoteOption = "",
    as_json: JsonOption = False,
) -> None:
    """Ask a candidate what the policies in force are asked, and record where it differs.

    Example: actfor policy shadow start new.cedar --for 7d
    """
    body = {
        "source": read(source),
        "seconds": seconds(lasting, least="1m", most="30d"),
        "agent": agent_id(agent),
        "mandate": mandate_id(mandate),
        "note": why,
    }
    _started(api().post("/v1/policies/trials/shadow", body), as_json=as_json)


@_report_only.command("start")
def start_report_only(
    effect: Annotated[list[str], typer.Option(help="read, write, pay, …; may be repeated.")],
    why: Annotated[str, typer.Option("--note", help="Why; it is kept, and in the log.")],
    lasting: Annotated[str, typer.Option("--for", help="How long, at most 7d.")] = "1d",
    agent: AgentOption = None,
    mandate: MandateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do not enforce policies for one agent or mandate; what they would say is recorded.

    The mandate, its caps, pinned tools, revocation and attestation are enforced as ever.
    Example: actfor policy report-only start --agent clerk --effect write --for 4h --note "rollout"
    """
    body = {
        "effects": effect,
        "seconds": seconds(lasting, least="1m", most="7d"),
        "agent": agent_id(agent),
        "mandate": mandate_id(mandate),
        "note": why,
    }
    made = api().post("/v1/policies/trials/report-only", body)
    note("WARNING: until then policies are NOT ENFORCED for these calls")
    _started(made, as_json=as_json)


def list_(as_json: JsonOption = False) -> None:
    """List the trials, newest first."""
    rows = api().get("/v1/policies/trials")["trials"]
    columns = ("id", "kind", "agent", "mandate", "started_at", "ends_at", "stopped_at", "note")
    table(rows, columns, as_json=as_json)


def report(
    context: typer.Context,
    trial: Annotated[str, typer.Argument(help="Its id.  [default: the newest of its kind]")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show what a trial has shown so far."""
    if not trial:
        kind = None if context.parent is None else context.parent.info_name
        trials = api().get("/v1/policies/trials")["trials"]
        known = [each for each in trials if each["kind"] == kind]
        if not known:
            raise Refused(Kind.NOT_FOUND, f"there was no {kind} trial yet")
        trial = known[0]["id"]
    found = api().get(f"/v1/policies/trials/{trial}", patience=PATIENCE)
    emit(found, as_json=as_json, text="\n".join(_reported(found)))


def stop(trial: str, as_json: JsonOption = False) -> None:
    """End a trial now."""
    found = api().post(f"/v1/policies/trials/{trial}/stop", {})
    emit(found, as_json=as_json, text=f"{trial} is stopped")


def _started(made: dict[str, Any], *, as_json: bool) -> None:
    emit(made, as_json=as_json, text=made["id"])
    note(f"until {made['ends_at']}; look: actfor policy {made['kind']} report {made['id']}")


def _reported(found: dict[str, Any]) -> list[str]:
    over = found["stopped_at"] or found["ends_at"]
    lines = [
        f"{found['id']}  {found['kind']}  {found['started_at']} to {over}",
        f"{found['differing']} of {found['calls']} calls would be decided otherwise",
    ]
    for each in found["differences"]:
        lines.append(f"  {each['enforced']} → {each['candidate']}: {each['count']}")
        lines += [f"    {example}" for example in each["examples"]]
    if found["policies"]:
        named = ", ".join(f"{name} {count}" for name, count in found["policies"].items())
        lines.append(f"  by {named}")
    if found["errors"]:
        lines.append(f"  {found['errors']} could not be evaluated, which denies them")
    if found["suspended"]:
        lines.append(f"  SUSPENDED on this node: {found['suspended']}")
    return [*lines, *cut(found)]
