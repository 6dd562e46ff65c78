"""`actfor audit dump` and `actfor audit exports`: the log as lines, and where it is sent on to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import typer

from actfor.cli.api import Api, api
from actfor.cli.output import note, out, table
from actfor.errors import Kind, Refused

_PAGE = 500


class LineFormat(StrEnum):
    """The formats that are lines of text."""

    JSONL = "jsonl"
    OCSF = "ocsf"
    CEF = "cef"


def register(parent: typer.Typer) -> None:
    """Add both to `actfor audit`."""
    parent.command()(dump)
    parent.command()(exports)


def dump(
    form: Annotated[LineFormat, typer.Option("--format", help="How to write events.")] = (
        LineFormat.JSONL
    ),
    start: Annotated[int, typer.Option("--from", min=0, help="First leaf index.")] = 0,
    out_file: Annotated[Path | None, typer.Option("--out", help="New file to write.")] = None,
    private: Annotated[
        bool, typer.Option("--private", help="With personal data: it cannot be erased from there.")
    ] = False,
) -> None:
    """Write the log as lines, oldest first: JSON, OCSF 1.5.0 or CEF.

    Example: actfor audit dump --format ocsf --out october.ocsf.jsonl
    """
    pages = _pages(api(), form.value, start, private=private)
    if out_file is None:
        for page in pages:
            out.file.write(page.decode())
        return
    try:
        # Ours alone: a log says who did what even without anyone's name.
        target = os.open(out_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refused(Kind.CONFLICT, f"`{out_file}` exists already") from None
    count = 0
    with open(target, "wb") as file:  # noqa: PTH123 - a descriptor
        for page in pages:
            file.write(page)
            count += page.count(b"\n")
    note(f"wrote {count} events to {out_file}")


def exports(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List where the log is sent on to, and how far each destination has got.

    Destinations are configured in actfor.toml, by whoever may write there, and nowhere else.
    """
    found = api().get("/v1/audit/exports")["exports"]
    columns = ("name", "format", "to", "behind", "failures", "delivered_at", "error")
    table(found, columns, as_json=as_json)


def _pages(server: Api, form: str, start: int, *, private: bool) -> Iterator[bytes]:
    while True:
        query = {"format": form, "from": start, "limit": _PAGE, "private": str(private).lower()}
        page = server.text(f"/v1/audit/lines?{urlencode(query)}")
        if not page:
            return
        yield page
        start += page.count(b"\n")
