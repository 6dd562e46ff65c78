"""A stage whose `actfor …` is a process of its own each time, which does not load libraries anew.

Loading them is most of what a command costs: `command_helper` has loaded them, and forks.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from actfor.cli.demo.stage import Broken
from actfor.cli.demo.stage import Stage as DemoStage
from actfor.cli.demo.world import World

HELPER = Path(__file__).with_name("command_helper.py")
LONGEST = 120.0


class Stage(DemoStage):
    """The demo's stage, whose commands are forked."""

    def __init__(self, world: World, port: int) -> None:
        super().__init__(world, port)
        self._helper = subprocess.Popen(
            [sys.executable, "-P", str(HELPER)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment,
        )  # fmt: skip

    def actfor(self, *arguments: str, code: int = 0) -> str:
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            places = {"out": str(out), "err": str(err), "environment": dict(self.environment)}
            ended = self._ask({"arguments": arguments, **places})
            told, wrong = out.read_text(), err.read_text()
        if ended != code:
            raise Broken(f"`actfor {' '.join(arguments)}` exited {ended}:\n{told}{wrong}")
        return told

    def _ask(self, what: dict[str, Any]) -> int:
        assert self._helper.stdin is not None
        assert self._helper.stdout is not None
        self._helper.stdin.write(json.dumps(what) + "\n")
        self._helper.stdin.flush()
        ready, _, _ = select.select([self._helper.stdout], [], [], LONGEST)
        assert ready, f"it has not ended: {what['arguments']}"
        return int(self._helper.stdout.readline())

    def stop(self) -> None:
        super().stop()
        self._helper.communicate()
