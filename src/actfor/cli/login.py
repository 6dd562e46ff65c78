"""`actfor login`, `logout`, `whoami`: sign the command line in through the browser (RFC 8628)."""

from __future__ import annotations

import time
import webbrowser
from typing import Annotated

import typer

from actfor.cli.api import api
from actfor.cli.output import emit, note
from actfor.cli.profile import forget_profile

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(login)
    app.command()(logout)
    app.command()(whoami)


def login(
    server: Annotated[str, typer.Option(help="URL of the server.")] = "http://localhost:8700",
    no_browser: Annotated[bool, typer.Option(help="Only print the link.")] = False,
) -> None:
    """Sign in: confirm a code in the browser, where your passkey is.

    The token is bound to a key made here and kept in a file that only you can read.
    """
    from actfor.cli.device import begin, finish

    started = begin(server)
    note(f"open {started.link}\nand confirm the code {started.user_code}")
    if not no_browser:
        webbrowser.open(started.link)
    while not finish(started):
        time.sleep(started.interval)
    note(f"signed in to {server} as {api().get('/v1/me')['name']}")


def logout() -> None:
    """Forget this command line's token and key."""
    forget_profile()
    note("signed out")


def whoami(as_json: JsonOption = False) -> None:
    """Print who is signed in."""
    me = api().get("/v1/me")
    emit(me, as_json=as_json, text=f"{me['name']} ({', '.join(me['roles'])})")
