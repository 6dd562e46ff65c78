"""Starting, stopping and refusing to start, as an operator sees it: processes, files, exit codes."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from actfor.cli.demo.stage import Stage, free_port
from actfor.cli.demo.world import World

ACTFOR = [sys.executable, "-m", "actfor"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ACTFOR_")}
    return subprocess.run(
        [*ACTFOR, *arguments],
        env={**clean, **environment, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(World(tmp_path), free_port())


def checkpoint(stage: Stage) -> str:
    """The first checkpoint that holds anything; one is signed each second."""
    for _ in range(50):
        note = httpx2.get(f"{stage.url}/log/checkpoint").text
        if int(note.splitlines()[1]) > 0:
            return note
        time.sleep(0.1)
    raise AssertionError("no checkpoint within five seconds")


def test_a_stop_signal_ends_the_server_in_order(stage: Stage, tmp_path: Path) -> None:
    stage.start()
    process = stage._server
    assert process is not None
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    stage.stop()
    assert json.loads((tmp_path / "server.log").read_text().splitlines()[-1])["event"] == "stopped"
    # The last checkpoint is kept outside the database, to show a rollback at the next start.
    assert (tmp_path / "data" / "checkpoint").read_text().startswith("localhost/log\n")


def test_what_was_kept_is_served_again_and_only_its_owner_may_read_it(
    stage: Stage, tmp_path: Path
) -> None:
    stage.start()
    first = checkpoint(stage)
    stage.stop()
    for file in (tmp_path / "data" / "keys").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE((tmp_path / "data" / "actfor.db").stat().st_mode) == 0o600
    stage.start()
    second = checkpoint(stage)
    stage.stop()
    assert int(second.splitlines()[1]) >= int(first.splitlines()[1]) > 0
    assert second.splitlines()[-1].split()[1] == first.splitlines()[-1].split()[1]


def test_a_database_that_was_rolled_back_is_not_served(stage: Stage, tmp_path: Path) -> None:
    stage.start()
    stage.stop()
    kept = (tmp_path / "data" / "actfor.db").read_bytes()
    stage.start()  # another setup link: one entry more
    stage.stop()
    (tmp_path / "data" / "actfor.db").write_bytes(kept)
    refused = run("dev", "--data", str(tmp_path / "data"), "--port", str(free_port()))
    assert refused.returncode == 7
    assert "checkpoint" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "said"),
    [
        (["dev", "--host", "0.0.0.0"], {}, 2, "host"),  # noqa: S104
        (["serve"], {}, 2, "issuer"),
        (["serve", "--issuer", "http://iam.example.com"], {}, 2, "https"),
        (["serve", "--issuer", "https://iam.example.com"], {}, 7, "no policy is published"),
        (["dev"], {"ACTFOR_SEAL_SECRET": "changeme"}, 2, "seal_secret"),
        (["dev"], {"ACTFOR_SEAL_SECRET": "a" * 40}, 2, "seal_secret"),
        (["dev", "--db", "sqlite:///x.db?synchronous=normal"], {}, 2, "synchronous"),
        (["dev", "--db", "mysql://x"], {}, 2, "database url"),
    ],
)
def test_it_refuses_to_start_and_says_which_setting_and_why(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], code: int, said: str
) -> None:
    refused = run(
        *arguments, "--data", str(tmp_path / "d"), "--port", str(free_port()), **environment
    )
    assert refused.returncode == code
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_key_that_others_can_read_is_refused(stage: Stage, tmp_path: Path) -> None:
    stage.start()
    stage.stop()
    (tmp_path / "data" / "keys" / "kek.key").chmod(0o644)
    refused = run("dev", "--data", str(tmp_path / "data"), "--port", str(free_port()))
    assert refused.returncode == 2
    assert "kek.key" in refused.stderr
    assert "readable by others" in refused.stderr


def test_init_makes_a_folder_that_serve_accepts(tmp_path: Path) -> None:
    made = run("init", "--issuer", "https://iam.example.com", "--data", str(tmp_path))
    assert made.returncode == 0
    assert "https://iam.example.com/setup?t=" in made.stdout
    again = run("init", "--issuer", "https://iam.example.com", "--data", str(tmp_path))
    assert again.returncode == 0
    assert made.stdout != again.stdout  # the link before is void
