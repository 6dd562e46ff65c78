"""`actfor …`: the command line. It imports the server only inside `serve`, `dev` and `init`."""

from __future__ import annotations


def main() -> None:
    """Run the command line; every refusal becomes one line on stderr and a documented exit code."""
    from actfor.cli.loading import loading

    with loading():
        from actfor.cli.app import start
    start()
