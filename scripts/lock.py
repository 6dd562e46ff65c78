"""Write requirements/*.txt from *.in: every version pinned, every file hashed, no URL."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "requirements"


def main() -> None:
    """Resolve for every supported Python and platform at once."""
    uv = shutil.which("uv")
    if uv is None:
        sys.exit(
            "uv is not on the PATH; install it to change the lock (it is not needed to use one)"
        )
    for source in sorted(HERE.glob("*.in")):
        subprocess.run(
            [
                uv,
                "pip",
                "compile",
                "--quiet",
                "--universal",
                "--python-version",
                "3.11",
                "--generate-hashes",
                "--no-header",
                "--no-annotate",
                "--no-strip-extras",
                "--no-emit-package",
                "actfor",
                str(source),
                "-o",
                str(source.with_suffix(".txt")),
            ],
            check=True,
        )


if __name__ == "__main__":
    main()
