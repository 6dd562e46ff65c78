"""`actfor mandate …`: what a person wants done, committed; and taken back."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli import mandate_rehearse
from actfor.cli.api import api
from actfor.cli.drafts import MEMBERS, doubts, edited, read_draft, read_json
from actfor.cli.output import clean, emit, err, note, table
from actfor.errors import Kind, Refused
from actfor.wire.rar import authority_from_draft, explain, require_sense

app = typer.Typer(
    no_args_is_help=True, help="What a person wants done: commit it, look at it, revoke it."
)
templates = typer.Typer(no_args_is_help=True, help="Mandates written once, to be filled in.")
app.add_typer(templates, name="template")
HoursOption = Annotated[
    float, typer.Option(min=0.01, max=744, help="For how long; at most 31 days.")
]
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
        list[str],
        typer.Option(
            "--grant",
            "--arg",
            metavar="<str>",
            help="--grant SERVER:TOOL[,TOOL…][:EFFECT[,EFFECT…]], may be repeated; after it "
            "--arg /POINTER=VALUE or --arg /POINTER~GLOB limits an argument of that grant.",
        ),
    ],
    calls: Annotated[int | None, typer.Option(min=1, help="How many calls at most.")] = None,
    amount: Annotated[str | None, typer.Option(help="Total amount, e.g. '500.00 EUR'.")] = None,
    hours: HoursOption = 8,
    always_ask: Annotated[bool, typer.Option(help="Ask a person before each call.")] = False,
    four_eyes: Annotated[bool, typer.Option(help="Somebody else must approve.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Commit a mandate: the goal in words, the limits machine-checked.

    Example: actfor mandate create --agent bookkeeper --goal "pay October's invoices"
    --grant bank:pay:pay --arg /to=DE02120300000000202051 --amount "5000.00 EUR" --hours 2
    """
    grants = parse_grants(grant, always_ask=always_ask)
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
    hours: HoursOption = 8,
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
    hours: HoursOption = 8,
    four_eyes: Annotated[bool, typer.Option(help="Somebody else must approve.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Commit a draft: grants, limits by source, domain or date, budgets over time, flows.

    Example: actfor mandate commit december.json --agent bookkeeper --hours 24
    """
    body = read_draft(draft)
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
    found = api().get(f"/v1/mandates/{mandate}")
    emit(found, as_json=as_json, text="\n".join(shown(found)))


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
    said = "agent says (unchecked)"
    rows = [
        {**one, "wishes": " ".join(one["words"][:-2]), said: one["agent_says_unchecked"]}
        for one in found
    ]
    table(
        found if as_json else rows, ("id", "agent", "wishes", said, "expires_at"), as_json=as_json
    )


@app.command("take-wish")
def take_wish(
    wish: Annotated[str, typer.Argument(help="Id of the wish, as `wishes` lists it.")],
    goal: Annotated[str, typer.Option(help="What you want, in your own words.")],
    hours: HoursOption = 8,
    edit: Annotated[bool, typer.Option("--edit", help="Open it in your editor.")] = False,
    four_eyes: Annotated[bool, typer.Option(help="Somebody else must approve.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Take an agent's wish as a draft; narrow it, and commit it in your own words.

    The agent is told, and goes on under this mandate by itself.
    """
    found = [one for one in api().get("/v1/mandates/wishes")["wishes"] if one["id"] == wish]
    if not found:
        raise Refused(Kind.NOT_FOUND, f"there is no open wish `{wish}`")
    agent = str(found[0]["agent"]).rpartition("/agent/")[2]
    draft = {**found[0]["draft"], "goal": goal}
    _commit(draft, agent, hours, four_eyes=four_eyes, edit=edit, yes=yes, wish=wish)


@app.command("dismiss-wish")
def dismiss_wish(
    wish: Annotated[str, typer.Argument(help="Id of the wish, as `wishes` lists it.")],
) -> None:
    """Say no to an agent's wish: it is told."""
    api().post(f"/v1/mandates/wishes/{wish}/dismiss", {})
    note(f"{wish} is dismissed")


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
    kept = api().put(f"/v1/mandates/templates/{name}", read_json(file))
    note(f"{kept['name']} version {kept['version']} is kept")


@templates.command("use")
def use_template(
    name: Annotated[str, typer.Argument(help="Name of the template.")],
    agent: Annotated[str, typer.Option(help="Name of the agent that may act.")],
    value: Annotated[
        list[str] | None, typer.Option("--set", help="PARAMETER=VALUE; may be repeated.")
    ] = None,
    hours: HoursOption = 8,
    edit: Annotated[bool, typer.Option("--edit", help="Open the draft in your editor.")] = False,
    four_eyes: Annotated[bool, typer.Option(help="Somebody else must approve.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Fill in a template, see the mandate, commit it.

    Example: actfor mandate template use pay-invoice --agent bookkeeper
    --set account=DE02120300000000202051 --set most=100.00
    """
    values = dict(_pair(text) for text in value or [])
    filled = api().post(f"/v1/mandates/templates/{name}/draft", {"values": values})
    _commit(filled["draft"], agent, hours, four_eyes=four_eyes, edit=edit, yes=yes)


def shown(found: dict[str, Any]) -> list[str]:
    """A mandate for a person: their words, what is checked, what was used."""
    calls = found["used"]["calls"]
    used = [f"{calls} call{'' if calls == 1 else 's'}", found["used"].get("amount")]
    why = f": {found['reason']}" if found["reason"] else ""
    return [
        f"{found['id']}  {found['state']}{why}",
        f"  {found['goal']}",
        "",
        *(f"  {one}" for one in explain(authority_from_draft(found), four_eyes=found["four_eyes"])),
        "",
        f"  agent      {found['agent']}",
        f"  until      {found['expires_at']}",
        f"  used       {', '.join(one for one in used if one)}",
        f"  authority  {found['authority_hash']}",
    ]


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


def parse_grants(given: list[str], *, always_ask: bool = False) -> list[dict[str, Any]]:
    """Grants, each followed by the limits of its own arguments, which begin with a slash."""
    grants: list[dict[str, Any]] = []
    for text in given:
        if not text.startswith("/"):
            grants.append(parse_grant(text, always_ask=always_ask))
        elif not grants:
            raise Refused(Kind.MALFORMED, f"limit `{text}` comes before any --grant")
        else:
            pointer, limit = parse_limit(text)
            args = grants[-1].setdefault("args", {})
            if pointer in args:
                raise Refused(Kind.MALFORMED, f"argument `{pointer}` is limited twice")
            args[pointer] = limit
    return grants


def parse_limit(text: str) -> tuple[str, dict[str, Any]]:
    """``/to=x`` or ``/to~*@example.com`` as a limit; a number is meant as text and as a number."""
    marks = [mark for mark in "=~" if mark in text]
    if not marks:
        raise Refused(Kind.MALFORMED, f"limit `{text}` is not /POINTER=VALUE or /POINTER~GLOB")
    mark = min(marks, key=text.index)
    pointer, _, value = text.partition(mark)
    if mark == "~":
        return pointer, {"pattern": value}
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,14})|true|false", value):
        return pointer, {"enum": [value, json.loads(value)]}
    return pointer, {"const": value}


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
    body = {name: value for name, value in draft.items() if name in MEMBERS}
    if edit:
        body = edited(body)
    body |= {"agent": agent, "four_eyes": four_eyes, "expires_at": _until(hours)}
    _confirm(body, yes=yes)
    made = api().post("/v1/mandates", body if wish is None else {**body, "wish": wish})
    emit(made, as_json=False, text=made["id"])
    note(f"committed until {made['expires_at']}")
    if wish is None:
        note(f"use it: actfor run --agent {agent} --mandate {made['id']} -- …")
    else:
        note(f"{agent} wished for it, is told, and goes on")


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
    require_sense(authority, datetime.now(UTC), datetime.fromisoformat(draft["expires_at"]))
    for doubt in doubts(authority.grants, _listed(authority.servers)):
        note(f"NOTE: {doubt}")
    if yes:
        return
    err.print(f"\n{clean(str(draft.get('goal', '')))}\n", style="bold", markup=False)
    for sentence in explain(authority, four_eyes=bool(draft.get("four_eyes"))):
        err.print(f"  {clean(sentence)}", markup=False)
    err.print(f"  Until {draft['expires_at']}.", markup=False)
    if not sys.stdin.isatty():
        raise Refused(Kind.MALFORMED, "not a terminal: look at the mandate and repeat with --yes")
    if not typer.confirm("commit this mandate?", err=True):
        raise Refused(Kind.DENIED, "not committed")


def _listed(servers: Sequence[str]) -> dict[str, Any]:
    """The tools of these servers as they are now; what one may not look at is left out."""
    found: dict[str, Any] = {}
    for server in servers:
        try:
            found[server] = api().get(f"/v1/servers/{server}")["tools"]
        except Refused as refused:
            if refused.kind not in {Kind.DENIED, Kind.NOT_FOUND}:  # who commits it tells of that
                raise
    return found


def _chain(row: dict[str, Any]) -> str:
    """The agents through which a token came, whom the person sent first."""
    instances = [*reversed(row["through"]), row["instance"]]
    return " → ".join(one.rpartition("/agent/")[2].partition("/")[0] for one in instances)
