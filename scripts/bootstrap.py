"""Create the environments of this checkout from its hashed locks; nothing to do means nothing done.

    python3 scripts/bootstrap.py dev mcp-git mcp-sqlite

`dev` is .venv with actfor itself, editable; `intent` is .venv-intent, actfor's source beside the
published tasks that `make bench-intent` replays. The others are published MCP servers. Each has an
environment of its own, because their pins collide with ours.
Needs Python >= 3.11 and pip's registry; on Debian without python3-venv it installs that
package where it may, and says what to type where it may not.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(names: list[str]) -> None:
    """Bring each named environment up to date with its lock."""
    if sys.version_info < (3, 11):
        sys.exit(
            f"actfor needs Python 3.11 or newer; `{sys.executable}` is {sys.version.split()[0]}"
        )
    for name in names:
        _ensure(name)


def _ensure(name: str) -> None:
    lock = ROOT / "requirements" / f"{name}.txt"
    target = ROOT / (".venv" if name == "dev" else f".venv-{name}")
    stamp = target / ".lock"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest() + sys.version.split()[0] + str(ROOT)
    if name == "dev":
        wanted += hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"setting up {target.name} (once) …", flush=True)
    shutil.rmtree(target, ignore_errors=True)
    _venv(target)
    python = str(target / "bin" / "python")
    # Every lock is whole (uv resolves all of it), so pip needs to look for nothing else; and it
    # would take `pydantic[email]==…` for no pin of `pydantic`, which others need.
    # Modules are compiled when they are first imported: most of an environment never is.
    _pip(python, "install", "--require-hashes", "--no-deps", "--no-compile", "-r", str(lock))
    _pip(python, "check")  # a lock that leaves something out is found here, not at the first import
    if name == "dev":
        _pip(python, "install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    if name == "intent":
        _see_source(python)
    stamp.write_text(wanted)


def _see_source(python: str) -> None:
    """Put src/ on the path: no build backend is in this lock, and none is needed to import."""
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True)
    (Path(found.stdout.strip()) / "actfor.pth").write_text(f"{ROOT / 'src'}\n")


def _venv(target: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "venv", str(target)], capture_output=True, text=True, check=False
    )
    if made.returncode == 0:
        return
    shutil.rmtree(target, ignore_errors=True)
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if not _apt_install(package):
        sys.exit(
            "this Python cannot create environments; install the package that can:\n"
            f"  sudo apt-get install {package}\n{made.stdout}{made.stderr}"
        )
    subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)


def _apt_install(package: str) -> bool:
    """Install a Debian package if this account may do so without a password."""
    apt = shutil.which("apt-get")
    if apt is None:
        return False
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if prefix and shutil.which("sudo") is None:
        return False
    install = [*prefix, apt, "install", "-y", "-q", package]
    with Path(__file__).open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # make runs several of us at once, and apt only one
        return _runs(install) or (_runs([*prefix, apt, "update", "-q"]) and _runs(install))


def _runs(command: list[str]) -> bool:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return not subprocess.run(command, env=env, capture_output=True, check=False).returncode


def _pip(python: str, command: str, *arguments: str) -> None:
    done = subprocess.run(
        [python, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(
            f"pip {command} {' '.join(arguments)} failed:\n"
            f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )


if __name__ == "__main__":
    main(sys.argv[1:] or ["dev"])
