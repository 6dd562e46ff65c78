"""What the commands about policies share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli.api import api
from actfor.cli.output import emit, note
from actfor.errors import Kind, Refused

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NoteOption = Annotated[str, typer.Option("--note", help="Why; it is kept with the version.")]
FilesArgument = Annotated[list[Path], typer.Argument(help="Cedar files; together one set.")]
PATIENCE = 1800.0
"""Seconds: an answer may be about a million decisions."""
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def read(files: list[Path]) -> str:
    """The files as one text.

    Raises:
        Refused: NOT_FOUND, MALFORMED for what is no text.
    """
    try:
        return "\n".join(path.read_text(encoding="utf-8") for path in files)
    except OSError as error:
        raise Refused(Kind.NOT_FOUND, f"`{error.filename}`: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Refused(Kind.MALFORMED, f"{_named(files)} is not UTF-8 text") from None


def made(answer: dict[str, Any], *, as_json: bool) -> None:
    """Tell what came of a change: in force, or waiting for another administrator."""
    if as_json:
        emit(answer, as_json=True)
    if answer.get("state") == "open":
        waits = "needs another administrator: `actfor policy approve`"
        raise Refused(Kind.STEP_UP_REQUIRED, f"proposed as `{answer['id']}`; it {waits}")
    note(f"in force: #{answer['seq']} {answer['version']}")


def named_version(version: str) -> str:
    """The whole name of a version that is given by its number or its beginning."""
    known = api().get("/v1/policies")["versions"]
    bare = version.removeprefix("sha-256:")
    found = {
        each["version"]
        for each in known
        if version == f"#{each['seq']}"
        or (len(bare) >= 6 and each["version"].removeprefix("sha-256:").startswith(bare))
    }
    if len(found) != 1:
        what = "several versions begin with" if found else "there is no policy version"
        raise Refused(Kind.MALFORMED if found else Kind.NOT_FOUND, f"{what} `{version}`")
    return str(found.pop())


def pack_values(chosen: list[str]) -> dict[str, int | str]:
    """``["ask_above=2000", "currency=EUR"]`` as values; digits are a number."""
    values: dict[str, int | str] = {}
    for each in chosen:
        name, found, value = each.partition("=")
        if not found or not name or not value:
            raise Refused(Kind.MALFORMED, f"`{each}` is not NAME=VALUE")
        number = value.removeprefix("-")
        whole = number.isascii() and number.isdecimal() and len(number) < 20
        values[name] = int(value) if whole else value
    return values


def seconds(text: str, *, least: str = "1s", most: str = "366d") -> int:
    """``7d`` in seconds.

    Raises:
        Refused: MALFORMED for another spelling, and for what is shorter or longer than that.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise Refused(Kind.MALFORMED, f"`{text}` is not a while like 30m, 24h, 7d or 4w")
    asked = int(found[1]) * _SECONDS[found[2]]
    if not seconds_of(least) <= asked <= seconds_of(most):
        raise Refused(Kind.MALFORMED, f"`{text}` is not between {least} and {most}")
    return asked


def seconds_of(text: str) -> int:
    """A while of our own in seconds."""
    return int(text[:-1]) * _SECONDS[text[-1]]


def cut(found: dict[str, Any]) -> list[str]:
    """What to say where an answer is not about all of the time that was asked for."""
    if found["complete"]:
        return []
    looked = f"only the newest {found['seen']} decisions, back to {found['since']}, were looked at"
    return [f"NOT ALL: {looked}; older ones may say otherwise"]


def agent_id(agent: str | None) -> str | None:
    """A SPIFFE ID as it is; a name as the ID of the agent called so here.

    Raises:
        Refused: NOT_FOUND for a name that no agent has: about nobody there is nothing to say.
    """
    if agent is None or agent.startswith("spiffe://"):
        return agent
    _require(f"/v1/agents/{agent}")
    return f"spiffe://{api().get('/v1/server')['trust_domain']}/agent/{agent}"


def mandate_id(mandate: str | None) -> str | None:
    """The id of a mandate that there is.

    Raises:
        Refused: NOT_FOUND.
    """
    if mandate is not None:
        _require(f"/v1/mandates/{mandate}")
    return mandate


def _require(path: str) -> None:
    try:
        api().get(path)
    except Refused as refused:
        if refused.kind is not Kind.DENIED:  # whoever may not look at it may still name it
            raise


def _named(files: list[Path]) -> str:
    return " or ".join(f"`{path}`" for path in files)
