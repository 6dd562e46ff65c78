"""`actfor mandate …`: what a person wants done, committed; and taken back."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli import mandate_rehearse
from actfor.cli.api import api
from actfor.cli.output import clean, emit, err, note, table
from actfor.errors import Kind, Refused
from actfor.wire import strict_json
from actfor.wire.rar import DRAFT_MEMBERS, authority_from_draft, explain

app = typer.Typer(
    no_args_is_help=True, help="What a person wants done: commit it, look at it, revoke it."
)
templates = typer.Typer(no_args_is_help=True, help="Mandates written once, to be filled in.")
app.add_typer(templates, name="template")
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
        "expires_at": _until(hours),
    }
    _confirm(draft, yes=yes)
    made = api().post("/v1/mandates", draft)
    emit(made, as_json=as_json, text=made["id"])
    note(f"committed until {made['expires_at']}")
    note(f"use it: actfor run --agent {agent} --mandate {made['id']} -- …")


@app.command()
def propose(
    words: Annotated[str, typer.Argument(help="What you want, in your own words.")],
    agent: Annotated[str, typer.Option(help="Name of the agent that may act.")],
    server: Annotated[
        list[str] | None, typer.Option(help="Use only tools of this server; may be repeated.")
    ] = None,
    hours: Annotated[float, typer.Option(min=0.01, help="For how long.")] = 8,
    edit: Annotated[bool, typer.Option("--edit", help="Open the draft in your editor.")] = False,
    model: Annotated[
        bool, typer.Option("--model", help="Ask the server's language model to narrow it.")
    ] = False,
    four_eyes: Annotated[bool, typer.Option(help="Somebody else must approve.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Draft a mandate from your words and the approved tools; see it, narrow it, commit it.

    The same words always give the same draft. With --json the draft is printed and nothing is
    committed; `actfor mandate commit` takes it.

    Example: actfor mandate propose "pay the bill in bill.txt" --agent bookkeeper --edit
    """
    wanted = {"words": words, "servers": server or [], "model": model}
    found = api().post("/v1/mandates/propose", wanted)
    if as_json:
        emit(found["draft"], as_json=True)
        return
    for line in found["lines"]:
        because = f": {line['because']}" if line["because"] else ""
        note(clean(f"{line['server']}/{line['tool']} ({line['effect']}) {line['asked']}{because}"))
    if found["note"]:
        note(clean(found["note"]))
    _commit(found["draft"], agent, hours, four_eyes=four_eyes, edit=edit, yes=yes)


@app.command()
def commit(
    draft: Annotated[Path, typer.Argument(help="File with the draft as JSON; see the guide.")],
    agent: Annotated[str, typer.Option(help="Name of the agent that may act.")],
    goal: Annotated[str, typer.Option(help="What you want; default: the draft's `goal`.")] = "",
    hours: Annotated[float, typer.Option(min=0.01, help="For how long.")] = 8,
    four_eyes: Annotated[bool, typer.Option(help="Somebody else must approve.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Commit a draft: grants, limits by source, domain or date, budgets over time, flows.

    Example: actfor mandate commit december.json --agent bookkeeper --hours 24
    """
    body = _read(draft)
    if goal:
        body["goal"] = goal
    _commit(body, agent, hours, four_eyes=four_eyes, edit=False, yes=yes)


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


@app.command()
def tokens(mandate: str, as_json: JsonOption = False) -> None:
    """List the access tokens made from a mandate that can be used now."""
    rows = api().get(f"/v1/mandates/{mandate}/grants")["grants"]
    shown = [{**row, "chain": _chain(row)} for row in rows]
    columns = ("id", "chain", "audience", "calls_used", "created_at", "expires_at")
    table(rows if as_json else shown, columns, as_json=as_json)


@app.command("revoke-token")
def revoke_token(
    mandate: str,
    token: Annotated[str, typer.Argument(help="Id of the token, as `tokens` lists it.")],
    reason: Annotated[str, typer.Option(help="Why; it goes to the log.")] = "",
) -> None:
    """Take one access token back, and all made from it; the mandate stays."""
    body = {"reason": reason or "revoked on the command line"}
    api().post(f"/v1/mandates/{mandate}/grants/{token}/revoke", body)
    note(f"{token} is revoked")


@app.command()
def endorsements(mandate: str, as_json: JsonOption = False) -> None:
    """List the values that you said are right for an argument from now on."""
    rows = api().get(f"/v1/mandates/{mandate}/endorsements")["endorsements"]
    table(rows, ("id", "tool", "argument", "value", "created_at"), as_json=as_json)


@app.command()
def withdraw(
    mandate: str,
    endorsement: Annotated[str, typer.Argument(help="Id, as `endorsements` lists it.")],
) -> None:
    """Take an endorsement back: the value is asked about again."""
    api().post(f"/v1/mandates/{mandate}/endorsements/{endorsement}/withdraw", {})
    note(f"{endorsement} is taken back")


@app.command()
def wishes(as_json: JsonOption = False) -> None:
    """List what agents wish they might do. Nothing is granted by it."""
    found = api().get("/v1/mandates/wishes")["wishes"]
    rows = [{**one, "wishes": " ".join(one["words"][:-2])} for one in found]
    table(rows, ("id", "agent", "wishes", "expires_at"), as_json=as_json)


@app.command("take-wish")
def take_wish(
    wish: Annotated[str, typer.Argument(help="Id of the wish, as `wishes` lists it.")],
    goal: Annotated[str, typer.Option(help="What you want, in your own words.")],
    hours: Annotated[float, typer.Option(min=0.01, help="For how long.")] = 8,
    edit: Annotated[bool, typer.Option("--edit", help="Open it in your editor.")] = False,
    four_eyes: Annotated[bool, typer.Option(help="Somebody else must approve.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Take an agent's wish as a draft; narrow it, and commit it in your own words.

    The agent is told, and goes on under this mandate by itself.
    """
    found = [one for one in api().get("/v1/mandates/wishes")["wishes"] if one["id"] == wish]
    if not found:
        raise Refused(Kind.NOT_FOUND, f"there is no wish `{wish}`")
    agent = str(found[0]["agent"]).rpartition("/agent/")[2]
    draft = {**found[0]["draft"], "goal": goal}
    _commit(draft, agent, hours, four_eyes=four_eyes, edit=edit, yes=yes, wish=wish)


@templates.command("ls")
def list_templates(as_json: JsonOption = False) -> None:
    """List the templates of the server."""
    found = api().get("/v1/mandates/templates")["templates"]
    rows = [{**one, "fill in": ", ".join(one["parameters"])} for one in found]
    table(rows, ("name", "version", "title", "fill in"), as_json=as_json)


@templates.command("keep")
def keep_template(
    name: Annotated[str, typer.Argument(help="Name of the template.")],
    file: Annotated[Path, typer.Argument(help="File with the template as JSON; see the guide.")],
) -> None:
    """Keep a new version of a template (administrators)."""
    kept = api().put(f"/v1/mandates/templates/{name}", _read(file))
    note(f"{kept['name']} version {kept['version']} is kept")


@templates.command("use")
def use_template(
    name: Annotated[str, typer.Argument(help="Name of the template.")],
    agent: Annotated[str, typer.Option(help="Name of the agent that may act.")],
    value: Annotated[
        list[str] | None, typer.Option("--set", help="PARAMETER=VALUE; may be repeated.")
    ] = None,
    hours: Annotated[float, typer.Option(min=0.01, help="For how long.")] = 8,
    edit: Annotated[bool, typer.Option("--edit", help="Open the draft in your editor.")] = False,
    four_eyes: Annotated[bool, typer.Option(help="Somebody else must approve.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Fill in a template, see the mandate, commit it.

    Example: actfor mandate template use pay-invoice --agent bookkeeper --set invoice=bill.txt
    """
    values = dict(_pair(text) for text in value or [])
    filled = api().post(f"/v1/mandates/templates/{name}/draft", {"values": values})
    _commit(filled["draft"], agent, hours, four_eyes=four_eyes, edit=edit, yes=yes)


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


def _commit(
    draft: dict[str, Any],
    agent: str,
    hours: float,
    *,
    four_eyes: bool,
    edit: bool,
    yes: bool,
    wish: str | None = None,
) -> None:
    body = {name: value for name, value in draft.items() if name in {"goal", *DRAFT_MEMBERS}}
    if edit:
        body = _edited(body)
    body |= {"agent": agent, "four_eyes": four_eyes, "expires_at": _until(hours)}
    _confirm(body, yes=yes)
    made = api().post("/v1/mandates", body if wish is None else {**body, "wish": wish})
    emit(made, as_json=False, text=made["id"])
    note(f"committed until {made['expires_at']}")
    if wish is None:
        note(f"use it: actfor run --agent {agent} --mandate {made['id']} -- …")
    else:
        note(f"{agent} wished for it, is told, and goes on")


def _edited(body: dict[str, Any]) -> dict[str, Any]:
    """The draft as it comes back from the person's own editor."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "mandate.json"
        draft.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
        # The person's own setting, on their own machine; arguments in it are theirs as well.
        done = subprocess.run([*shlex.split(editor), str(draft)], check=False)
        if done.returncode != 0:
            raise Refused(Kind.DENIED, "not committed: the editor failed")
        return dict(strict_json.load_object(draft.read_bytes()))


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(strict_json.load_object(file.read_bytes()))
    except OSError as cause:
        raise Refused(Kind.NOT_FOUND, f"`{file}` cannot be read") from cause


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise Refused(Kind.MALFORMED, f"`{text}` is not PARAMETER=VALUE")
    return name, value


def _until(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat(timespec="seconds")


def _confirm(draft: dict[str, Any], *, yes: bool) -> None:
    # Read as the server will read it, so that what is shown is what is checked.
    authority = authority_from_draft(draft)
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(Kind.MALFORMED, "not a terminal: look at the mandate and repeat with --yes")
    err.print(f"\n{clean(str(draft.get('goal', '')))}\n", style="bold", markup=False)
    for sentence in explain(authority, four_eyes=bool(draft.get("four_eyes"))):
        err.print(f"  {clean(sentence)}", markup=False)
    err.print(f"  Until {draft['expires_at']}.", markup=False)
    if not typer.confirm("commit this mandate?", err=True):
        raise Refused(Kind.DENIED, "not committed")


def _chain(row: dict[str, Any]) -> str:
    """The agents through which a token came, whom the person sent first."""
    instances = [*reversed(row["through"]), row["instance"]]
    return " → ".join(one.rpartition("/agent/")[2].partition("/")[0] for one in instances)
