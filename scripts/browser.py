"""Make sure a Chromium is there for the browser journeys; install it where the system lets us.

Exit 0 also when there is none, with a loud message: the journeys then report themselves
as not run. Under CI (`CI=true`) that is a failure, because CI must run them.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bootstrap import ROOT, _apt_install

# By its file, because this runs beside the setting up of .venv.
find_chromium = runpy.run_path(str(ROOT / "src/actfor/cli/demo/browser.py"))["find_chromium"]


def main() -> None:
    """Find, else install, else explain."""
    if find_chromium():
        return
    print("no Chromium found; installing it with the system's package manager …", flush=True)
    if sys.platform == "darwin" and (brew := shutil.which("brew")):
        subprocess.run([brew, "install", "--cask", "chromium"], check=False)
    else:
        _apt_install("chromium")
    if find_chromium():
        return
    print(
        "\n" + "!" * 78 + "\n"
        "!! NO CHROMIUM: passkey journeys in a real browser will NOT RUN.\n"
        "!! Install one:  sudo apt-get install chromium   |   brew install --cask chromium\n"
        + "!"
        * 78,
        file=sys.stderr,
    )
    if os.environ.get("CI") == "true":
        sys.exit(1)


if __name__ == "__main__":
    main()
