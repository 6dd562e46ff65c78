"""What is typed on the command line, read strictly; no server is needed for it."""

import json
from pathlib import Path

import pytest

from actfor.cli.api import _check_path
from actfor.cli.drafts import doubts, edited, read_draft
from actfor.cli.mandates import parse_grants, shown
from actfor.cli.output import table
from actfor.cli.policy.common import read, seconds
from actfor.errors import Kind, Refused
from actfor.wire.rar import Grant


def test_a_limit_is_of_the_grant_before_it() -> None:
    files, bank = parse_grants(
        ["files:read", "/path~/srv/*", "bank:pay:pay", "/to=DE02", "/order=17", "/note=a=b~c"]
    )
    assert files["args"] == {"/path": {"pattern": "/srv/*"}}
    assert bank["args"] == {
        "/to": {"const": "DE02"},
        "/order": {"enum": ["17", 17]},  # a tool may want a number
        "/note": {"const": "a=b~c"},
    }


@pytest.mark.parametrize(
    "given", [["/path=x", "files:read"], ["files:read", "/path"], ["files:read", "/a=1", "/a=2"]]
)
def test_a_limit_that_is_no_grants_or_twice_is_refused(given: list[str]) -> None:
    with pytest.raises(Refused):
        parse_grants(given)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"budgets": {"calls": 1}}, "`budgets` is no member of a draft"),
        ({"expires_at": "2026-12-01T00:00:00Z"}, "say --hours"),
        ({"agent": "clerk"}, "say --agent"),
    ],
)
def test_what_a_draft_does_not_have_is_refused_and_not_left_out(
    tmp_path: Path, more: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "draft.json"
    file.write_text(json.dumps({"goal": "x", "grants": [], **more}))
    with pytest.raises(Refused, match=says):
        read_draft(file)
    monkeypatch.setenv("EDITOR", "true")  # leaves the draft as it is
    with pytest.raises(Refused, match=says):
        edited({"goal": "x", "grants": [], **more})


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1, "a": 2}'])
def test_a_file_that_is_no_draft_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "draft.json"
    file.write_text(text)
    with pytest.raises(Refused, match=f"`{file}`"):
        read_draft(file)
    file.write_bytes(b"\xff")
    with pytest.raises(Refused, match=f"`{file}`"):
        read([file])


def test_an_editor_that_is_not_there_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    with pytest.raises(Refused, match="cannot be run"):
        edited({"goal": "x"})


@pytest.mark.parametrize("text", ["0d", "60w", "-1d", "7x", "", "1.5h", "7 d", "٣d"])
def test_a_while_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        seconds(text)
    assert refused.value.kind is Kind.MALFORMED
    assert "last_seconds" not in refused.value.detail


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../agents", "x/../../agents", "x?y=1", "x#y", "%2e%2e", "x\\y"]
)
def test_a_name_does_not_lead_to_another_place(name: str) -> None:
    with pytest.raises(Refused):
        _check_path(f"/v1/mandates/{name}")


def test_names_of_tools_and_folders_of_them_are_names() -> None:
    _check_path("/v1/servers/crm/tools/group/read_query.v2/overlay")


def test_a_grant_that_does_nothing_with_the_tools_as_they_are_is_doubted() -> None:
    tools = [
        {"name": "pay", "overlay": {"effect": "pay"}},
        {"name": "query", "overlay": {"effect": {"sql": "/query"}}},
        {"name": "new", "overlay": {}},
    ]
    listed = {"bank": tools}
    grants = [
        Grant("bank", ("pay", "payy", "query", "new"), ("read",)),
        Grant("bank", ("*",), ("read",)),
        Grant("elsewhere", ("x",), ("read",)),  # one may not look there
    ]
    assert doubts(grants, listed) == [
        "`pay` of `bank` is there to pay; granted is: read",
        "`bank` has no tool `payy` now",
    ]


def test_what_is_not_there_is_an_empty_cell(capsys: pytest.CaptureFixture[str]) -> None:
    table([{"id": "a", "reason": None, "calls": 0}], ("id", "reason", "calls"), as_json=False)
    assert capsys.readouterr().out == "a\t\t0\n"


def test_a_mandate_is_shown_in_words_that_are_made_from_what_is_checked() -> None:
    found = {
        "id": "mdt_1",
        "state": "revoked",
        "reason": "enough",
        "agent": "clerk",
        "goal": "Pay the bill",
        "grants": [{"server": "bank", "tools": ["pay"], "effects": ["pay"], "max_calls": 2}],
        "budget": {"amount": {"value": "9.00", "currency": "EUR"}},
        "used": {"calls": 1, "amount": "4.00 EUR"},
        "four_eyes": True,
        "expires_at": "2026-12-01T00:00:00Z",
        "authority_hash": "sha-256:x",
    }
    text = "\n".join(shown(found))
    for said in (
        "revoked: enough",
        "Pay the bill",
        "On bank: pay, to pay; at most 2 calls;",
        "In all: at most 9.00 EUR.",
        "Whoever approves a call is not the person it is made for.",
        "1 call, 4.00 EUR",
        "sha-256:x",
    ):
        assert said in text
