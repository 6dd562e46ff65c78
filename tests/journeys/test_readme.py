"""The README, run as a newcomer runs it: every snippet, in order, against a real server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from actfor.cli.demo.browser import browser_page, find_chromium
from actfor.cli.demo.person import RobotPerson
from actfor.cli.demo.stage import Stage, find_server, free_port
from actfor.cli.demo.world import build

ROOT = Path(__file__).parents[2]
SNIPPET = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def snippets() -> list[tuple[str, str]]:
    return SNIPPET.findall((ROOT / "README.md").read_text())


def test_every_snippet_is_of_a_kind_that_is_run_here() -> None:
    assert {language for language, _ in snippets()} == {"sh", "python"}
    assert [text.strip() for language, text in snippets() if language == "sh"][:2] == [
        "make demo\nmake test",
        "actfor dev",
    ]


def test_the_two_commands_are_targets_that_set_everything_up() -> None:
    for target in ("demo", "test"):
        planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert planned.returncode == 0
        assert "scripts/bootstrap.py dev" in planned.stdout


def test_every_file_that_is_linked_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="NOT RUN: no Chromium on this machine")
def test_the_snippets_govern_an_agent(tmp_path: Path) -> None:
    shell = [text for language, text in snippets() if language == "sh"]
    (program,) = (text for language, text in snippets() if language == "python")
    world = build(tmp_path / "w")
    (world.agent / "agent.py").write_text(program)
    world.customers.rename(world.root / "crm.db")
    stage = Stage(world, free_port())
    login, *rest = shell[2].split("\n", 1)
    assert login == "actfor login"
    try:
        with browser_page() as page:
            person = RobotPerson(page)
            person.set_up(stage.start())
            person.sign_in_cli(stage)
        path = os.pathsep.join(
            [
                str(Path(sys.executable).parent),
                str(Path(find_server("mcp-server-sqlite")).parent),
                os.environ["PATH"],
            ]
        )
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", rest[0]],
            cwd=world.root,
            env={**stage.environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr
        assert "Ada Byron" in done.stdout
        assert "decide" in done.stdout.splitlines()[-1]
    finally:
        stage.stop()
