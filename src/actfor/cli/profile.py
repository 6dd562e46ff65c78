"""Where `actfor login` keeps who this command line is: ``~/.config/actfor/profile.json``, 0600.

It holds an access token and the private key it is bound to; whoever reads the file can act as
the person until the token ends. A file that others may read is refused.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from actfor.errors import Kind, Refused
from actfor.sdk.sidecar import private_jwk, signing_key
from actfor.wire.canonical import JsonObject
from actfor.wire.jose import SigningKey
from actfor.wire.strict_json import load_object

_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Profile:
    """A signed-in command line. ``attest_socket`` is a path on this machine, if the server is."""

    server: str
    issuer: str
    access_token: str = field(repr=False)
    key: SigningKey = field(repr=False)
    expires_at: datetime
    attest_socket: str | None = None

    def require_live(self) -> None:
        """Refuse a login that is over."""
        if datetime.now(UTC) >= self.expires_at:
            raise Refused(Kind.UNAUTHENTICATED, "the login has expired; run `actfor login`")


def profile_path() -> Path:
    """``$XDG_CONFIG_HOME/actfor/profile.json``, by default below ``~/.config``."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "actfor" / "profile.json"


def load_profile(path: Path | None = None) -> Profile:
    """The profile as saved; it may have expired (``require_live``).

    Raises:
        Refused: UNAUTHENTICATED when there is none; DENIED when others may read it; MALFORMED.
    """
    where = path or profile_path()
    try:
        descriptor = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as cause:
        raise Refused(Kind.UNAUTHENTICATED, "not signed in; run `actfor login`") from cause
    with os.fdopen(descriptor, "rb") as file:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            raise Refused(Kind.DENIED, f"`{where}` is readable by others; chmod 600 it")
        return _parse(load_object(file.read(_MAX_BYTES)), where)


def save_profile(profile: Profile, path: Path | None = None) -> None:
    """Replace the profile at once or not at all."""
    where = path or profile_path()
    where.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = {
        "server": profile.server,
        "issuer": profile.issuer,
        "attest_socket": profile.attest_socket,
        "access_token": profile.access_token,
        "key": private_jwk(profile.key),
        "expires_at": int(profile.expires_at.timestamp()),
    }
    descriptor, temporary = tempfile.mkstemp(dir=where.parent, prefix=".profile-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(where)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def forget_profile(path: Path | None = None) -> None:
    """Remove the profile; nothing happens when there is none."""
    (path or profile_path()).unlink(missing_ok=True)


def _parse(content: JsonObject, where: Path) -> Profile:
    texts = {name: content.get(name) for name in ("server", "issuer", "access_token")}
    expires_at, socket = content.get("expires_at"), content.get("attest_socket")
    wrong = Refused(Kind.MALFORMED, f"`{where}` is not a profile; run `actfor login`")
    if not all(isinstance(text, str) for text in texts.values()) or type(expires_at) is not int:
        raise wrong
    if socket is not None and not isinstance(socket, str):
        raise wrong
    return Profile(
        server=str(texts["server"]),
        issuer=str(texts["issuer"]),
        access_token=str(texts["access_token"]),
        key=signing_key(content.get("key")),
        expires_at=datetime.fromtimestamp(expires_at, UTC),
        attest_socket=socket,
    )
