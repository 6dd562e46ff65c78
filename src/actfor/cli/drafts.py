"""Drafts of mandates as files: read strictly, shown in words, edited."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from actfor.errors import Kind, Refused
from actfor.wire import strict_json
from actfor.wire.canonical import JsonValue
from actfor.wire.rar import ANY_TOOL, DRAFT_MEMBERS, Grant

MEMBERS: Final = DRAFT_MEMBERS | {"goal"}
_SAID_ELSEWHERE: Final = {"agent": "--agent", "expires_at": "--hours", "four_eyes": "--four-eyes"}


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        Refused: NOT_FOUND for what cannot be read, MALFORMED for what is no object.
    """
    try:
        return dict(strict_json.load_object(file.read_bytes()))
    except OSError as cause:
        raise Refused(Kind.NOT_FOUND, f"`{file}` cannot be read: {cause.strerror}") from cause
    except Refused as refused:
        raise Refused(refused.kind, f"`{file}`: {refused.detail}") from None


def read_draft(file: Path) -> dict[str, Any]:
    """A draft in a file. What it says beyond a draft would have been meant, and is refused.

    Raises:
        Refused: NOT_FOUND, MALFORMED.
    """
    body = read_json(file)
    check_members(body)
    return body


def check_members(body: Mapping[str, JsonValue]) -> None:
    """Refuse members that are none of a draft: they might have limited it.

    Raises:
        Refused: MALFORMED, naming the first.
    """
    for name in sorted(body.keys() - MEMBERS):
        if name in _SAID_ELSEWHERE:
            raise Refused(
                Kind.MALFORMED, f"`{name}` is no member of a draft; say {_SAID_ELSEWHERE[name]}"
            )
        known = ", ".join(sorted(MEMBERS))
        shown = name[:64].encode("unicode_escape").decode("ascii")
        raise Refused(Kind.MALFORMED, f"`{shown}` is no member of a draft; those are {known}")


def doubts(grants: Sequence[Grant], listed: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What of these grants does nothing with the tools as they are ``listed`` now, by server."""
    found: list[str] = []
    for grant in grants:
        known = {str(tool["name"]): tool for tool in listed.get(grant.server, ())}
        for name in grant.tools if grant.server in listed else ():
            tool = known.get(name)
            if tool is None and name != ANY_TOOL:
                found.append(f"`{grant.server}` has no tool `{name}` now")
            effect = None if tool is None else tool["overlay"].get("effect")
            if isinstance(effect, str) and effect not in grant.effects:
                effects = ", ".join(grant.effects)
                found.append(
                    f"`{name}` of `{grant.server}` is there to {effect}; granted is: {effects}"
                )
    return found


def edited(body: dict[str, Any]) -> dict[str, Any]:
    """The draft as it comes back from the person's own editor.

    Raises:
        Refused: DENIED if the editor fails, MALFORMED.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "mandate.json"
        draft.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
        # The person's own setting, on their own machine; arguments in it are theirs as well.
        try:
            done = subprocess.run([*shlex.split(editor), str(draft)], check=False)
        except OSError as error:
            raise Refused(
                Kind.NOT_FOUND, f"the editor `{editor}` cannot be run: {error.strerror}"
            ) from None
        if done.returncode != 0:
            raise Refused(Kind.DENIED, "not committed: the editor failed")
        return read_draft(draft)
