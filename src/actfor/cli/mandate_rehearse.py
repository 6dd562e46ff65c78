"""`actfor mandate simulate` and `suggest`: another authority on what really happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli.api import api
from actfor.cli.drafts import read_draft
from actfor.cli.output import emit
from actfor.cli.policy.common import PATIENCE, JsonOption, cut, seconds
from actfor.errors import Kind, Refused

LastOption = Annotated[str, typer.Option("--last", help="How far back: 30m, 24h, 7d, 4w.")]


def register(group: typer.Typer) -> None:
    """Add the commands to `actfor mandate`."""
    group.command()(simulate)
    group.command()(suggest)


def simulate(
    mandate: str,
    draft: Annotated[Path, typer.Option(help="JSON with `grants`, `budget`, … as committed.")],
    last: LastOption = "7d",
    as_json: JsonOption = False,
) -> None:
    """Say what a narrower or wider authority would have made of a mandate's calls.

    Nothing is changed by it. Example: actfor mandate simulate mdt_… --draft narrower.json
    """
    body = {"draft": read_draft(draft), "last_seconds": seconds(last)}
    found = api().post(f"/v1/mandates/{mandate}/simulate", body, patience=PATIENCE)
    emit(found, as_json=as_json, text="\n".join(_rehearsed(found)))


def suggest(
    mandate: str,
    last: LastOption = "7d",
    out: Annotated[Path | None, typer.Option(help="Write the narrower draft here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Propose a narrower mandate from what its agent really used.

    It covers every call that was let through in that time; it knows nothing of what is planned.
    Example: actfor mandate suggest mdt_… --last 7d --out narrower.json
    """
    path = f"/v1/mandates/{mandate}/suggest"
    found = api().get(path, patience=PATIENCE, last_seconds=seconds(last))
    if out is not None:
        _write(out, found["draft"])
    lines = [f"{found['calls']} calls were let through"]
    lines += [f"  {each['words']}" for each in found["findings"]]
    if not found["findings"]:
        lines.append("  nothing in the mandate is wider than its use")
    elif out is None:
        lines.append(json.dumps(found["draft"], indent=2, ensure_ascii=False))
    lines += cut(found)
    if not found["complete"]:
        lines.append("         what is called unused, or the most, may not be so before that")
    emit(found, as_json=as_json, text="\n".join(lines))


def _write(path: Path, draft: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(draft, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise Refused(Kind.MALFORMED, f"`{path}` cannot be written: {error.strerror}") from None


def _rehearsed(found: dict[str, Any]) -> list[str]:
    before, after = found["covered_before"], found["covered_after"]
    lines = [f"of {found['calls']} calls {before} were covered, {after} would be"]
    if not found["narrower"]:
        lines.append(f"  WIDER than the mandate: {found['wider_because']}")
    for name, words in (
        ("lost", "would be refused"),
        ("gained", "would be covered"),
        ("asked", "would be asked about"),
    ):
        if found[f"{name}_total"]:
            lines.append(f"  {found[f'{name}_total']} {words}")
        for each in found[name]:
            call = f"{each['effect']} {each['server']}/{each['tool']}"
            lines.append(f"    {each['id']}  {call}  {each['reason']}".rstrip())
    lines += [f"  {_spent(each)}" for each in found["spent"]]
    if found["unknown"]:
        lines.append(f"  {found['unknown']} rest on where a value came from, and cannot be told")
    return [*lines, *cut(found)]


def _spent(spent: dict[str, Any]) -> str:
    limit, at = spent["limit"], spent["at"]["id"]
    if spent["over_time"]:
        return f"{limit}: not enough, too many together from {at} on"
    return f"{limit}: not enough, the first call too many is {at}"
