"""`actfor policy explain` and `simulate`: look back at decisions, try a change on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli.api import api
from actfor.cli.output import emit, note
from actfor.cli.policy.common import (
    PATIENCE,
    FilesArgument,
    JsonOption,
    agent_id,
    cut,
    mandate_id,
    read,
    seconds,
)
from actfor.errors import Kind, Refused

LastOption = Annotated[str, typer.Option("--last", help="How far back: 30m, 24h, 7d, 4w.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(explain)
    app.command()(simulate)


def explain(
    decision: Annotated[str, typer.Argument(help="The id of a recorded decision.")] = "",
    request: Annotated[
        Path | None,
        typer.Option(help="JSON or YAML with `facts`: a call that nobody makes."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a call was decided as it was, and what would have made it pass.

    Example: actfor policy explain dec_… · actfor policy explain --request call.yaml
    """
    if bool(decision) == (request is not None):
        raise Refused(Kind.MALFORMED, "name a recorded decision, or a file with --request")
    if request is not None:
        found = [api().post("/v1/policies/explain", {"facts": _facts(request)})]
    else:
        found = api().get(f"/v1/policies/decisions/{decision}")["decisions"]
    if as_json:
        emit(found, as_json=True)
    else:
        emit(None, as_json=False, text="\n\n".join("\n".join(told(each)) for each in found))


def simulate(
    source: FilesArgument,
    last: LastOption = "7d",
    agent: Annotated[str | None, typer.Option(help="Only this agent's calls.")] = None,
    mandate: Annotated[str | None, typer.Option(help="Only calls under this mandate.")] = None,
    against: Annotated[
        str, typer.Option(help="Compare with what was `recorded`, or with what is decided `now`.")
    ] = "recorded",
    as_json: JsonOption = False,
) -> None:
    """Decide recorded calls by a candidate, and show what would have been otherwise.

    Nothing is changed by it. Example: actfor policy simulate new.cedar --last 7d
    """
    body = {
        "source": read(source),
        "last_seconds": seconds(last),
        "agent": agent_id(agent),
        "mandate": mandate_id(mandate),
        "against": against,
    }
    found = api().post("/v1/policies/simulate", body, patience=PATIENCE)
    emit(found, as_json=as_json, text="\n".join(tallied(found)))


def told(account: dict[str, Any]) -> list[str]:
    """One decision for a person."""
    lines = [f"{account['decision']}: {account['effect']} {account['resource']}"]
    if "id" in account:
        lines[0] += f"   {account['id']} at {account['at']}"
    lines.append(f"  agent      {account['agent']}")
    lines += between(account["facts"])
    lines += [f"  because    {reason}" for reason in account["reasons"]]
    if account["determining"]:
        lines.append(f"  policies   {', '.join(account['determining'])}")
    lines += [f"  error      {error}" for error in account["errors"]]
    if account["decision"] != "permit":
        would = [f"  {each['decision']:<9}if {each['words']}" for each in account["remedies"]]
        lines += ["  what would have changed it:", *(f"  {line}" for line in would)]
        if not would:
            lines[-1] = "  nothing that anyone can bring about would have made it pass"
    now = account["now"]
    if (now["decision"], now["policies"]) != (account["decision"], account["determining"]):
        named = ", ".join(now["policies"]) or "no policy"
        lines.append(f"  today      {now['decision']} by {named}")
    if not account.get("replayed", True):
        lines.append("  NOTE       the record says otherwise than its policies decide")
    width = max(len(name) for name in account["facts"])
    lines.append("  facts")
    lines += [f"    {name:<{width}}  {value}" for name, value in sorted(account["facts"].items())]
    return lines


def between(facts: dict[str, Any]) -> list[str]:
    """Whom the person sent, and through whom the acting agent was asked."""
    if "asked_by" not in facts:
        return []
    lines = [f"  asked by   {facts['asked_by']}"]
    if facts["first_agent"] != facts["asked_by"]:
        lines.append(f"  sent first {facts['first_agent']}")
    return lines


def tallied(found: dict[str, Any]) -> list[str]:
    """A simulation for a person."""
    lines = [f"{found['changed']} of {found['calls']} calls would have been decided otherwise"]
    lines += [
        f"  {effect:<8}  {found['before'].get(effect, 0):>6} → {found['after'].get(effect, 0):>6}"
        for effect in ("permit", "step-up", "deny")
    ]
    for move in found["moves"]:
        lines.append(f"\n{move['before']} → {move['after']}: {move['count']}")
        for each in move["examples"]:
            by = ", ".join(each["policies_after"]) or "no policy"
            lines.append(f"  {each['id']}  {each['effect']} {each['resource']}  by {by}")
    if found["errors"]:
        lines.append(f"\n{found['errors']} calls could not be evaluated, which denies them")
    if found["adapted"]:
        note(f"{found['adapted']} records are older than a fact of today's schema")
    for why, count in found["skipped"].items():
        note(f"{count} records left out: {why}")
    return [*lines, *cut(found)]


def _facts(path: Path) -> dict[str, Any]:
    text = read([path])
    try:
        document = json.loads(text)
    except ValueError:
        document = _yaml(text)
    facts = document.get("facts", document) if isinstance(document, dict) else None
    if not isinstance(facts, dict):
        raise Refused(Kind.MALFORMED, f"`{path}` holds no `facts`")
    return facts


def _yaml(text: str) -> object:
    try:
        import yaml
    except ImportError as missing:
        raise Refused(Kind.NOT_FOUND, "YAML is read by `actfor[server]`; use JSON") from missing
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise Refused(Kind.MALFORMED, "the request is neither JSON nor YAML") from None
