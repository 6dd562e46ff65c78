"""What the commands about policies share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actfor.errors import Kind, Refused

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NoteOption = Annotated[str, typer.Option("--note", help="Why; it is kept with the version.")]
FilesArgument = Annotated[list[Path], typer.Argument(help="Cedar files; together one set.")]


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
        raise Refused(Kind.MALFORMED, "a policy file is UTF-8 text") from None
