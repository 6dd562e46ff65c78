"""`actfor mandate …`: what a person wants done, committed; and taken back."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from actfor.cli import mandate_rehearse
from actfor.cli.api import api
from actfor.cli.output import clean, emit, err, note, table
from actfor.errors import Kind, Refused

app = typer.Typer(
    no_args_is_help=True, help="What a person wants done: commit it, look at it, revoke it."
)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(parent: typer.Typer) -> None:
    """Add the group."""
    mandate_rehearse.register(app)
    parent.add_typer(app, name="mandate")


@app.command()
def create(
    agent: Annotated[str, typer.Option(help="Name of the agent that may act.")],
    goal: Annotated[str, typer.Option(help="What you want, in your own words.")],
    grant: Annotated[
        list[str], typer.Option(help="SERVER:TOOL[,TOOL…][:EFFECT[,EFFECT…]]; may be repeated.")
    ],
    arg: Annotated[
        list[str] | None,
        typer.Option(
            help="Limit an argument of the grant before it: /POINTER=VALUE or /POINTER~GLOB."
        ),
    ] = None,
    calls: Annotated[int | None, typer.Option(min=1, help="How many calls at most.")] = None,
    amount: Annotated[str | None, typer.Option(help="Total amount, e.g. '500.00 EUR'.")] = None,
    hours: Annotated[float, typer.Option(min=0.01, help="For how long.")] = 8,
    always_ask: Annotated[bool, typer.Option(help="Ask a person before each call.")] = False,
    four_eyes: Annotated[bool, typer.Option(help="Somebody else must approve.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Commit a mandate: the goal in words, the limits machine-checked.

    Example: actfor mandate create --agent bookkeeper --goal "pay October's invoices"
    --grant bank:pay:pay --amount "5000.00 EUR" --hours 2
    """
    grants = [parse_grant(text, always_ask=always_ask) for text in grant]
    _constrain(grants, arg or [])
    budget: dict[str, Any] = {}
    if calls is not None:
        budget["calls"] = calls
    if amount is not None:
        budget["amount"] = parse_amount(amount)
    draft = {
        "agent": agent,
        "goal": goal,
        "grants": grants,
        "budget": budget,
        "four_eyes": four_eyes,
        "expires_at": (datetime.now(UTC) + timedelta(hours=hours)).isoformat(timespec="seconds"),
    }
    _confirm(draft, yes=yes)
    made = api().post("/v1/mandates", draft)
    emit(made, as_json=as_json, text=made["id"])
    note(f"committed until {made['expires_at']}")
    note(f"use it: actfor run --agent {agent} --mandate {made['id']} -- …")


@app.command("ls")
def list_(as_json: JsonOption = False) -> None:
    """List your mandates, newest first."""
    rows = api().get("/v1/mandates")["mandates"]
    table(rows, ("id", "state", "agent", "goal", "expires_at"), as_json=as_json)


@app.command()
def show(mandate: str, as_json: JsonOption = False) -> None:
    """Show one mandate: what was said, what it allows, what was used of it."""
    emit(api().get(f"/v1/mandates/{mandate}"), as_json=as_json)


@app.command()
def revoke(
    mandate: str, reason: Annotated[str, typer.Option(help="Why; it goes to the log.")] = ""
) -> None:
    """Take a mandate back. From the next call on, nothing under it is permitted."""
    api().post(
        f"/v1/mandates/{mandate}/revoke", {"reason": reason or "revoked on the command line"}
    )
    note(f"{mandate} is revoked")


def parse_grant(text: str, *, always_ask: bool = False) -> dict[str, Any]:
    """``crm:read_query,list_tables:read`` as the JSON of one grant."""
    parts = text.split(":")
    if len(parts) not in {2, 3} or not all(parts):
        raise Refused(Kind.MALFORMED, f"grant `{text}` is not SERVER:TOOLS or SERVER:TOOLS:EFFECTS")
    grant: dict[str, Any] = {"server": parts[0], "tools": parts[1].split(",")}
    grant["effects"] = parts[2].split(",") if len(parts) == 3 else ["read"]
    if always_ask:
        grant["approval"] = "always"
    return grant


def parse_amount(text: str) -> dict[str, str]:
    """``500.00 EUR`` as an amount; the value stays a decimal string."""
    value, _, currency = text.strip().partition(" ")
    if not value.replace(".", "", 1).isdigit() or len(currency) != 3 or not currency.isupper():
        raise Refused(Kind.MALFORMED, f"amount `{text}` is not like `500.00 EUR`")
    return {"value": value, "currency": currency}


def _constrain(grants: list[dict[str, Any]], limits: list[str]) -> None:
    for text in limits:
        for mark, kind in (("=", "const"), ("~", "pattern")):
            pointer, found, value = text.partition(mark)
            if found and pointer.startswith("/"):
                for grant in grants:
                    grant.setdefault("args", {})[pointer] = {kind: value}
                break
        else:
            raise Refused(Kind.MALFORMED, f"limit `{text}` is not /POINTER=VALUE or /POINTER~GLOB")


def _confirm(draft: dict[str, Any], *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(Kind.MALFORMED, "not a terminal: look at the mandate and repeat with --yes")
    err.print(f"\n{clean(draft['goal'])}\n", style="bold", markup=False)
    for grant in draft["grants"]:
        effects = ", ".join(grant["effects"])
        err.print(f"  {grant['server']}: {', '.join(grant['tools'])} ({effects})", markup=False)
    err.print(
        f"  until {draft['expires_at']}, budget {draft['budget'] or 'unlimited'}", markup=False
    )
    if not typer.confirm("commit this mandate?", err=True):
        raise Refused(Kind.DENIED, "not committed")
