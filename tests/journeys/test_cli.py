"""The command line against a running server, as an operator types it, bad input included."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.commands import Stage

from actfor.cli.demo.browser import browser_page, find_chromium
from actfor.cli.demo.person import RobotPerson
from actfor.cli.demo.stage import ACTFOR, Broken, find_server, free_port
from actfor.cli.demo.world import build

ROOT = Path(__file__).parents[2]
VECTORS = str(Path(__file__).parents[1] / "vectors")  # any folder of files
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="NOT RUN: no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(build(tmp_path_factory.mktemp("cli") / "w"), free_port())
    try:
        with browser_page() as page:
            person = RobotPerson(page)
            person.set_up(stage.start())
            person.sign_in_cli(stage)
        world = stage.world
        stage.actfor(
            "gateway", "add", "crm", "--approve-tools", "--effect", "read_query=sql:/query",
            "--", find_server("mcp-server-sqlite"), "--db-path", str(world.customers),
        )  # fmt: skip
        stage.actfor("agent", "register", "clerk", "--purpose", "reads", "--code", str(world.agent))
        yield stage
    finally:
        stage.stop()


def mandate(stage: Stage, *more: str, code: int = 0) -> str:
    return stage.actfor(
        "mandate", "create", "--agent", "clerk", "--goal", "Look around", "--yes",
        "--grant", "crm:read_query:read", *more, code=code,
    ).strip()  # fmt: skip


def test_the_exported_log_verifies_without_the_server_and_not_when_changed(
    stage: Stage, tmp_path: Path
) -> None:
    folder, key = tmp_path / "log", tmp_path / "log.vkey"
    key.write_text(stage.actfor("audit", "key"))
    stage.actfor("audit", "export-tiles", str(folder), "--key", str(key))
    verify = ("audit", "verify", str(folder), "--key", str(key))
    report = stage.json(*verify)
    assert report["verified"] == "log"
    assert report["entries"] > 3
    stage.actfor("audit", "export-tiles", str(folder))  # brought up to date
    assert stage.json("audit", "verify")["ok"] is True
    proof = tmp_path / "event.tlog-proof"
    stage.actfor("audit", "receipt", "1", "-o", str(proof))
    assert stage.json("audit", "verify", str(proof), "--policy", str(key))["entry"] == 1
    alone = [sys.executable, str(ROOT / "src/actfor/sdk/standalone.py"), "--key", str(key)]
    for what in (folder, proof):
        done = subprocess.run([*alone, str(what)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    entries = next((folder / "tile" / "entries").rglob("*"))
    bundle = next(path for path in (folder / "tile" / "entries").rglob("*") if path.is_file())
    assert entries.exists()
    changed = bytearray(bundle.read_bytes())
    changed[len(changed) // 2] ^= 1
    bundle.write_bytes(changed)
    stage.actfor(*verify, code=8)
    done = subprocess.run([*alone, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 8


def test_words_a_file_and_a_template_become_mandates(stage: Stage, tmp_path: Path) -> None:
    words = "Read the customers whose account is closed"
    drafted = stage.json("mandate", "propose", words, "--agent", "clerk")
    assert drafted == stage.json("mandate", "propose", words, "--agent", "clerk")
    assert drafted["goal"] == words
    assert any("read_query" in grant["tools"] for grant in drafted["grants"])
    assert all(grant["purpose_bound"] for grant in drafted["grants"])

    draft = tmp_path / "draft.json"
    draft.write_text(json.dumps({**drafted, "budget": {"windows": [{"per": "day", "calls": 3}]}}))
    made = stage.actfor("mandate", "commit", str(draft), "--agent", "clerk", "--yes").strip()
    assert stage.json("mandate", "show", made)["budget"]["windows"] == [{"per": "day", "calls": 3}]
    assert stage.json("mandate", "tokens", made) == []
    assert stage.json("mandate", "endorsements", made) == []
    for more in ({"budgets": {"calls": 1}}, {"expires_at": "2026-12-01T00:00:00Z"}):
        draft.write_text(json.dumps({**drafted, **more}))  # a limit that would have been left out
        stage.actfor("mandate", "commit", str(draft), "--agent", "clerk", "--yes", code=2)
        stage.actfor("mandate", "simulate", made, "--draft", str(draft), code=2)
    stage.actfor("mandate", "commit", str(tmp_path / "none"), "--agent", "clerk", "--yes", code=3)

    template = tmp_path / "template.json"
    grant = {"server": "crm", "tools": ["read_query"], "effects": ["read"], "max_calls": 1}
    which = {"type": "name", "label": "Whose?", "example": "Ada"}
    template.write_text(
        json.dumps(
            {
                "title": "Look somebody up",
                "parameters": {"who": which},
                "draft": {"goal": "Look up {who}", "grants": [grant]},
            }
        )
    )
    stage.actfor("mandate", "template", "keep", "look-up", str(template))
    assert [one["name"] for one in stage.json("mandate", "template", "ls")] == ["look-up"]
    use = ("mandate", "template", "use", "look-up", "--agent", "clerk", "--yes")
    filled = stage.actfor(*use, "--set", "who=Alan").strip()
    assert stage.json("mandate", "show", filled)["goal"] == "Look up Alan"
    stage.actfor(*use, code=2)
    assert stage.json("mandate", "wishes") == []


def test_a_mandate_is_listed_shown_and_revoked_once(stage: Stage) -> None:
    made = mandate(stage, "--calls", "3")
    assert made in {row["id"] for row in stage.json("mandate", "ls")}
    shown = stage.json("mandate", "show", made)
    assert shown["state"] == "active"
    stage.actfor("mandate", "revoke", made)
    assert stage.json("mandate", "show", made)["state"] == "revoked"
    stage.actfor("mandate", "revoke", made, code=7)
    revoked = stage.json("audit", "search", "--type", "revoke", "--limit", "1")
    assert made in json.dumps(revoked)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("mandate", "show", "mdt_nothing"), 3),
        (("agent", "show", "nobody"), 3),
        (("gateway", "tools", "nowhere"), 3),
        (("approval", "show", "apr_nothing"), 3),
        (("agent", "register", "Bad Name", "--purpose", "x", "--code", "."), 2),
        (("agent", "register", "clerk", "--purpose", "x", "--code", VECTORS), 7),
        (("gateway", "add", "x"), 2),
        (("gateway", "overlay", "crm", "read_query", "not json"), 2),
        (("gateway", "overlay", "crm", "read_query", '{"effect": "reads"}'), 2),
        (("gateway", "add", "x", "--", "/no/such/program"), 9),
        (("audit", "verify", "/no/such/file", "--key", "k"), 3),
        (("audit", "search", "--limit", "0"), 2),
        (("mandate", "show", "../agents"), 2),
        (("mandate", "show", ""), 2),
        (("mandate", "suggest", "mdt_x/../../agents"), 2),
        (("mandate", "suggest", "mdt_nothing", "--last", "60w"), 2),
        (("mandate", "suggest", "mdt_nothing", "--last", "0d"), 2),
        (("gateway", "overlay", "crm", "read_query", "{"), 2),
        (("policy", "simulate", __file__, "--agent", "nobody"), 3),
        (("policy", "simulate", __file__, "--mandate", "mdt_nothing"), 3),
        (
            (
                "policy",
                "report-only",
                "start",
                "--agent",
                "clerk",
                "--effect",
                "fly",
                "--note",
                "x",
            ),
            2,
        ),
        (("policy", "report-only", "start", "--agent", "no", "--effect", "read", "--note", "x"), 3),
    ],
)
def test_bad_input_is_one_clear_line_and_a_documented_exit_code(
    stage: Stage, arguments: tuple[str, ...], code: int
) -> None:
    stage.actfor(*arguments, code=code)


@pytest.mark.parametrize(
    "more",
    [
        ("--grant", "nonsense"),
        ("--grant", "crm:read_query:fly"),
        ("--amount", "many euros"),
        ("--hours", "100000"),
        ("--arg", "query=SELECT"),
        ("--hours", "inf"),
    ],
)
def test_a_mandate_that_cannot_be_meant_is_not_committed(
    stage: Stage, more: tuple[str, ...]
) -> None:
    before = len(stage.json("mandate", "ls"))
    mandate(stage, *more, code=2)
    assert len(stage.json("mandate", "ls")) == before


def test_everything_that_can_be_looked_at_is(stage: Stage) -> None:
    assert stage.json("whoami")["name"] == "Olivia Operator"
    assert "clerk" in [row["name"] for row in stage.json("agent", "ls")]
    assert {row["name"] for row in stage.json("gateway", "tools", "crm")} >= {"read_query"}
    assert stage.json("approval", "ls") == []
    assert "permit" in stage.actfor("policy", "show")
    assert stage.json("policy", "ls")[0]["active"] is True


def test_a_held_call_cannot_be_approved_from_the_terminal(stage: Stage) -> None:
    with pytest.raises(Broken, match="exited 3"):
        stage.actfor("approval", "approve", "apr_nothing", "--no-browser")


def test_policies_are_tested_without_a_server(stage: Stage, tmp_path: Path) -> None:
    table = Path(__file__).parents[1] / "scenarios" / "default-pack.yaml"
    stage.actfor("policy", "test", str(table))
    never = tmp_path / "never.cedar"
    never.write_text('@id("never") @reason("never") forbid(principal, action, resource);')
    stage.actfor("policy", "test", str(table), "--policies", str(never), code=1)


def test_keys_are_listed_rotated_and_wrapped_again(stage: Stage) -> None:
    before = {key["purpose"]: key["kid"] for key in stage.json("keys", "list")}
    assert {"access-token", "svid", "seal", "log"} <= before.keys()
    assert len(stage.json("keys", "rotate", "--purpose", "svid")) == 2  # a successor is published
    stage.actfor("keys", "rotate", "--purpose", "log", code=7)
    stage.actfor("keys", "rotate", "--purpose", "svid", "--emergency", code=2)
    stage.actfor("keys", "rotate", "--purpose", "seal", "--cause", "x", code=2)
    stage.actfor("keys", "rotate", "--purpose", "nothing", code=2)
    why = ("--emergency", "--cause", "a drill")
    after = stage.json("keys", "rotate", "--purpose", "seal", *why)
    assert {key["kid"]: key["state"] for key in after}[before["seal"]] == "dead"
    stage.actfor("keys", "rewrap", "--new-kek")
    revoked = stage.json("audit", "search", "--type", "revoke", "--limit", "5")
    assert any(event["trace"] == before["seal"] for event in revoked)


def test_a_backup_is_made_while_the_server_serves_and_verifies(
    stage: Stage, tmp_path: Path
) -> None:
    data, file, key = str(stage.world.data), tmp_path / "b", tmp_path / "log.vkey"
    key.write_text(stage.actfor("audit", "key"))
    stage.actfor("backup", str(file), "--data", data)
    said = stage.actfor("backup", "verify", str(file), "--key", str(key), "--data", data)
    assert "by the key you gave" in said
    stage.actfor("backup", str(file), "--data", data, code=7)
    stage.actfor("restore", str(file), "--data", data, code=2)  # whose is it?
    stage.actfor("restore", str(file), "--key", str(key), "--data", data, code=7)
    with file.open("r+b") as raw:
        raw.truncate(file.stat().st_size - 10)
    stage.actfor("backup", "verify", str(file), "--data", data, code=2)


def test_only_somebody_who_is_there_is_erased(stage: Stage) -> None:
    stage.actfor("audit", "erase", "Nobody At All", "--yes", code=3)
    refused = stage.actfor("audit", "erase", "Olivia Operator", "--yes", code=7)
    assert refused == ""  # the last admin


def told_by(stage: Stage, *arguments: str) -> str:
    """What a command says beside its output."""
    command = [sys.executable, "-m", "actfor", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=stage.environment)
    return " ".join(done.stderr.split())


def test_policies_are_tried_published_and_taken_back(stage: Stage, tmp_path: Path) -> None:
    before = stage.json("policy", "ls")[0]
    candidate = tmp_path / "new.cedar"
    forbid = '@id("closed") @reason("not now") forbid (principal, action, resource);'
    candidate.write_text(stage.actfor("policy", "show") + forbid + "\n")
    stage.actfor("policy", "check", str(candidate))
    assert "all in force: 1 added" in told_by(stage, "policy", "check", str(candidate))
    alone = tmp_path / "alone.cedar"
    alone.write_text(forbid)
    refused = told_by(stage, "policy", "check", str(alone))
    assert refused == "no policy permits anything: everything would be denied"
    capped = "when { context.in_mandate && context.within_caps };"
    permit = f'@id("more") @reason("more") permit (principal, action, resource) {capped}'
    alone.write_text(forbid + permit)  # as whoever takes a set for an addition would
    assert re.search(r"\d+ removed", told_by(stage, "policy", "check", str(alone)))
    told = stage.json("policy", "diff", "--file", str(candidate))
    assert [(each["id"], each["kind"]) for each in told["changes"]] == [("closed", "added")]
    assert stage.json("policy", "simulate", str(candidate), "--last", "7d")["complete"] is True
    shadow = stage.json("policy", "shadow", "start", str(candidate), "--for", "1h")
    assert stage.json("policy", "shadow", "report")["id"] == shadow["id"]
    stage.actfor("policy", "report-only", "report", code=3)  # the newest one is of another kind
    stage.actfor("policy", "shadow", "stop", shadow["id"])
    stage.actfor("policy", "shadow", "stop", shadow["id"], code=7)
    made = stage.json("policy", "publish", str(candidate), "--note", "a trial of closing")
    assert stage.json("policy", "ls")[0]["note"] == "a trial of closing"
    back = stage.json("policy", "rollback")
    assert (back["version"], back["seq"]) == (before["version"], made["seq"] + 1)
    used = stage.json("policy", "use", "support", "--set", "refund_above=100")
    assert used["cause"] == "pack support"
    stage.actfor("policy", "use", "support", "--set", "refund_over=1", code=2)
    stage.actfor("policy", "rollback", f"#{before['seq']}")
    candidate.write_text("permit (principal, action, resource);")
    stage.actfor("policy", "check", str(candidate), code=1)
    stage.actfor("policy", "publish", str(candidate), code=2)
    stage.actfor("policy", "approve", "prp_nothing", "--no-browser", code=3)


def test_a_call_that_nobody_makes_is_explained(stage: Stage, tmp_path: Path) -> None:
    request = tmp_path / "call.yaml"
    request.write_text(
        "facts: {agent: spiffe://localhost/agent/clerk, server: crm, tool: drop, effect: delete,"
        " in_mandate: true, tool_pinned: true, tier: low, requires_approval: false}\n"
    )
    (told,) = stage.json("policy", "explain", "--request", str(request))
    assert told["decision"] == "step-up"
    assert told["remedies"][0]["words"] == "a person approves exactly this call"
    stage.actfor("policy", "explain", code=2)
    stage.actfor("policy", "explain", "dec_" + "a" * 26, code=3)


def test_a_mandate_that_was_not_used_is_not_narrowed(stage: Stage, tmp_path: Path) -> None:
    made = mandate(stage)
    assert stage.json("mandate", "suggest", made)["findings"] == []
    draft = tmp_path / "draft.json"
    draft.write_text(json.dumps(stage.json("mandate", "suggest", made)["draft"]))
    stage.actfor("mandate", "suggest", made, "--out", str(tmp_path / "none" / "x"), code=2)
    told = stage.json("mandate", "simulate", made, "--draft", str(draft))
    assert (told["calls"], told["narrower"]) == (0, True)


WISHER = """
import asyncio
from actfor.sdk import connect

WANTED = {"grants": [{"server": "crm", "tools": ["read_query", "list_tables"], "effects": ["read"]}]}

async def main():
    async with connect() as me:
        wish = await me.wish_async(WANTED, says="I was asked who has not paid.")
        print(wish.id, flush=True)
        print((await wish.wait_async(60)).mandate, flush=True)

asyncio.run(main())
"""


def test_a_wish_is_taken_from_the_terminal_and_its_agent_goes_on(
    stage: Stage, tmp_path: Path
) -> None:
    code, editor = tmp_path / "wisher", tmp_path / "editor.py"
    code.mkdir()
    (code / "wisher.py").write_text(WISHER)
    stage.actfor("agent", "register", "wisher", "--purpose", "asks", "--code", str(code))
    editor.write_text(
        "import json, sys\nbody = json.load(open(sys.argv[1]))\n"
        "body['grants'][0]['tools'] = ['read_query']\njson.dump(body, open(sys.argv[1], 'w'))\n"
    )
    run = [*ACTFOR, "run", "--agent", "wisher", "--", sys.executable, str(code / "wisher.py")]
    with subprocess.Popen(run, env=stage.environment, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        wish = agent.stdout.readline().strip()
        [shown] = stage.json("mandate", "wishes")
        assert "I was asked who has not paid." in stage.actfor("mandate", "wishes")
        assert (shown["id"], shown["agent_says_unchecked"]) == (
            wish,
            "I was asked who has not paid.",
        )
        take = ("mandate", "take-wish", wish)
        stage.actfor(*take, "--yes", code=2)  # the words are the person's own, never the agent's
        stage.actfor(*take, "--goal", " ", "--yes", code=2)
        stage.actfor(*take, "--goal", "Look it up", code=2)  # nobody looked at it
        stage.actfor("mandate", "take-wish", "wsh_nothing", "--goal", "x", "--yes", code=3)
        stage.environment["EDITOR"] = f"{sys.executable} {editor}"
        try:
            made = stage.actfor(*take, "--goal", "Find out who has not paid", "--edit", "--yes")
        finally:
            del stage.environment["EDITOR"]
        assert agent.stdout.readline() == made
        assert agent.wait(30) == 0
    mandate = stage.json("mandate", "show", made.strip())
    assert (mandate["goal"], mandate["agent"]) == ("Find out who has not paid", "wisher")
    assert [grant["tools"] for grant in mandate["grants"]] == [["read_query"]]
    stage.actfor(*take, "--goal", "Once more", "--yes", code=3)
    stage.actfor("mandate", "dismiss-wish", wish, code=3)
    assert stage.json("mandate", "wishes") == []
