"""Where a governed server is, and how it is reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue

_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(frozen=True, slots=True)
class Stdio:
    """A server we start ourselves: exactly this argument vector, never a shell.

    ``env`` is added to a small safe environment (the MCP SDK's), not to ours. ``env_files`` names
    files whose content becomes a variable: secrets stay out of the database.
    """

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    env_files: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    kind: Literal["stdio"] = "stdio"

    def to_json(self) -> JsonObject:
        """The stored form, which `transport_from_json` reads."""
        return {
            "kind": self.kind,
            "command": self.command,
            "args": list(self.args),
            "env": dict(self.env),
            "env_files": dict(self.env_files),
            "cwd": self.cwd,
        }

    def shown(self) -> JsonObject:
        """For people and the log: environment variables by name only, for they may be secret."""
        return {**self.to_json(), "env": sorted(self.env)}


@dataclass(frozen=True, slots=True)
class Http:
    """A server somewhere else. ``credential_file`` holds *our* bearer token for it.

    The caller's token is for us alone and is never sent on (MCP 2026-07-28, security: token
    passthrough).
    """

    url: str
    credential_file: str | None = None
    kind: Literal["http"] = "http"

    def to_json(self) -> JsonObject:
        """The stored form, which `transport_from_json` reads."""
        return {"kind": self.kind, "url": self.url, "credential_file": self.credential_file}

    def shown(self) -> JsonObject:
        """For people and for the log."""
        return self.to_json()


Transport = Stdio | Http


def transport_from_json(value: JsonValue) -> Transport:
    """Parse an operator's description of a server.

    Raises:
        Refused: MALFORMED, naming the member that is wrong.
    """
    if not isinstance(value, dict):
        raise _malformed("a transport is an object with a `kind`")
    kind = value.get("kind")
    if kind == "stdio":
        return _stdio(value)
    if kind == "http":
        return _http(value)
    raise _malformed("a transport's `kind` is `stdio` or `http`")


def _stdio(value: JsonObject) -> Stdio:
    _only(value, {"kind", "command", "args", "env", "env_files", "cwd"})
    command, cwd = value.get("command"), value.get("cwd")
    if not isinstance(command, str) or not command or "\0" in command:
        raise _malformed("`command` is the program to start")
    if cwd is not None and not (isinstance(cwd, str) and cwd.startswith("/")):
        raise _malformed("`cwd` is an absolute path")
    args = value.get("args", [])
    if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
        raise _malformed("`args` is a list of strings")
    return Stdio(
        command,
        tuple(str(arg) for arg in args),
        _environment(value, "env"),
        _environment(value, "env_files"),
        cwd,
    )


def _environment(value: JsonObject, name: str) -> dict[str, str]:
    members = value.get(name) or {}
    if not isinstance(members, dict):
        raise _malformed(f"`{name}` is an object of strings")
    for key, member in members.items():
        if not _ENV_NAME.fullmatch(key) or not isinstance(member, str) or "\0" in member:
            raise _malformed(f"`{name}` is an object of strings")
    return {key: str(member) for key, member in members.items()}


def _http(value: JsonObject) -> Http:
    _only(value, {"kind", "url", "credential_file"})
    url, credential_file = value.get("url"), value.get("credential_file")
    if not isinstance(url, str):
        raise _malformed("`url` is the address of the server")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _malformed("`url` is not an address") from None
    if parts.scheme not in {"http", "https"} or not host or parts.username or parts.fragment:
        raise _malformed("`url` is an http(s) address without credentials or fragment")
    if credential_file is not None and not (
        isinstance(credential_file, str) and credential_file.startswith("/")
    ):
        raise _malformed("`credential_file` is an absolute path")
    return Http(url, credential_file)


def _only(value: JsonObject, known: set[str]) -> None:
    for name in value:
        if name not in known:
            raise _malformed(f"unknown member `{name[:64]}`")


def _malformed(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, detail)
