"""Make sure a SoftHSM is there for the PKCS#11 tests; install it where the system lets us.

Exit 0 also when there is none, with a loud message: the tests then report themselves as not run.
Under CI (`CI=true`) that is a failure, because CI must run them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bootstrap import _apt_install

LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


def find_softhsm() -> str | None:
    """The library, where the tool that makes tokens is there as well."""
    if shutil.which("softhsm2-util") is None:
        return None
    return next((path for path in LIBRARIES if Path(path).is_file()), None)


def main() -> None:
    """Find, else install, else explain."""
    if find_softhsm():
        return
    print("no SoftHSM found; installing it with the system's package manager …", flush=True)
    if sys.platform == "darwin" and (brew := shutil.which("brew")):
        subprocess.run([brew, "install", "softhsm"], check=False)
    else:
        _apt_install("softhsm2")
    if find_softhsm():
        return
    print(
        "\n" + "!" * 78 + "\n"
        "!! NO SOFTHSM: the PKCS#11 key provider will NOT BE TESTED.\n"
        "!! Install one:  sudo apt-get install softhsm2   |   brew install softhsm\n" + "!" * 78,
        file=sys.stderr,
    )
    if os.environ.get("CI") == "true":
        sys.exit(1)


if __name__ == "__main__":
    main()
