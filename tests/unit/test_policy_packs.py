"""Packs for common agents, and policies made from data that attacks them."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import cedarpy
import pytest
import typer
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from actfor.authorization import CallFacts, compile_policies, decide_scenarios, to_request
from actfor.authorization.model import Effect, ToolEffect
from actfor.authorization.model.caps import problems
from actfor.authorization.model.scenarios import check, read_table
from actfor.authorization.model.template import fill, parameters
from actfor.authorization.policies import (
    PACKS,
    default_source,
    pack_parameters,
    pack_source,
    pack_table,
    rule,
    rules,
)
from actfor.cli.app import app
from actfor.errors import Kind, Refused

HOSTILE = [
    'x", action, resource); permit(principal, action, resource) when { "a" == "a',
    'x"); permit(principal, action, resource); //',
    "x\\",
    'x\\"',
    "a\nb\0c",
    "\u202e\u2028",
    "?principal",
    "2000",
    "\N{GRINNING FACE}",
]
TABLE = """
facts: {agent: a, server: s, tool: t, effect: read}
scenarios:
  - it: is denied
    decision: deny
"""


# -- packs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_decides_as_its_table_says(name: str) -> None:
    (result,) = decide_scenarios([(name, pack_table(name))], pack_source(name))
    assert [outcome.failure for outcome in result[1] if outcome.failure] == []
    assert len(result[1]) >= 12


@pytest.mark.parametrize("name", PACKS)
def test_every_policy_a_pack_adds_determines_one_of_its_scenarios(name: str) -> None:
    policies = compile_policies(pack_source(name))
    added = {policy.id for policy in policies.policies} - {
        policy.id for policy in compile_policies().policies
    }
    determining: set[str] = set()
    for outcome in check(read_table(yaml.safe_load(pack_table(name))), policies):
        determining.update(outcome.decision.policies)
    assert added
    assert added <= determining
    assert all(identity.startswith(name) for identity in added)


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_is_layered_on_the_default_and_repeats_the_caps(name: str) -> None:
    source = pack_source(name)
    assert source.startswith(default_source())
    assert not list(problems(compile_policies(source).policies))


def test_a_pack_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(Refused, match="coding, finance, support, operations, guarded") as refused:
        pack_source("../default")
    assert refused.value.kind is Kind.NOT_FOUND


def pay(amount: int, currency: str = "EUR") -> CallFacts:
    return CallFacts(
        agent="spiffe://a/agent/b", server="bank", tool="pay", effect=ToolEffect.PAY,
        in_mandate=True, requires_approval=False, tier="medium", assurance="measured",
        tool_pinned=True, amount_minor=amount, amount_currency=currency,
    )  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 4999))
def test_a_chosen_parameter_is_the_limit_to_the_cent(limit: int) -> None:
    policies = compile_policies(pack_source("finance", {"ask_above": limit}))
    assert policies.decide(to_request(pay(limit))).effect is Effect.PERMIT
    assert policies.decide(to_request(pay(limit + 1))).effect is Effect.STEP_UP


@pytest.mark.parametrize("currency", HOSTILE)
def test_a_parameter_that_reads_like_policy_is_a_text(currency: str) -> None:
    source = pack_source("finance", {"currency": currency})
    policies = compile_policies(source)
    assert len(policies.policies) == len(compile_policies(pack_source("finance")).policies)
    asked = policies.decide(to_request(pay(10, "EUR")))
    assert asked.policies == ("finance-foreign-currency",)
    assert policies.decide(to_request(pay(10, currency))).effect is Effect.PERMIT


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"ask_over": 1}, "no parameter `ask_over`; there is ask_above, ceiling, currency"),
        ({"ask_above": "1"}, "`ask_above` is a whole number"),
        ({"ask_above": True}, "`ask_above` is a whole number"),
        ({"currency": 1}, "`currency` is a text"),
        ({"currency": ""}, "has 1 to 512 characters"),
        ({"currency": "x" * 513}, "has 1 to 512 characters"),
        ({"ask_above": 2**63}, "is too large"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(values: dict[str, int | str], says: str) -> None:
    with pytest.raises(Refused, match=says):
        pack_source("finance", values)


def test_packs_name_what_may_be_chosen() -> None:
    found = {name: [each.name for each in pack_parameters(name)] for name in PACKS}
    assert found == {
        "coding": ["sandbox"],
        "finance": ["ask_above", "ceiling", "currency"],
        "support": ["helpdesk", "refund_above", "refund_ceiling"],
        "operations": ["diagnostics"],
        "guarded": [],
    }


# -- rules from data ------------------------------------------------------------------------------


@pytest.mark.parametrize("template", rules())
@pytest.mark.parametrize("agent", HOSTILE)
def test_an_agent_id_that_holds_policy_text_stays_an_id(template: str, agent: str) -> None:
    text = rule(template, "made", agent=agent, tool=f"crm/{agent}")
    (policy,) = compile_policies(text).policies
    assert policy.id == "made"
    assert policy.body["principal"] == {"op": "==", "entity": {"type": "Agent", "id": agent}}
    assert not list(problems([policy]))


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1), st.text())
def test_whatever_a_name_holds_the_rule_is_about_that_name(agent: str, tool: str) -> None:
    try:
        text = rule("forbid-tool", "made", agent=agent, tool=f"s/{tool}")
    except (Refused, ValueError, UnicodeEncodeError):
        assert any("\ud800" <= character <= "\udfff" for character in agent + tool)
        return
    (body,) = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"].values()
    assert body["principal"]["entity"]["id"] == agent
    assert body["resource"]["entity"] == {"type": "Tool", "id": f"s/{tool}"}


def test_a_rule_that_needs_a_tool_is_not_made_without() -> None:
    with pytest.raises(Refused, match="needs a value for `\\?resource`"):
        rule("allow-tool", "x", agent="a")
    on_server = rule("forbid-tool", "x", agent="a", tool="crm")
    assert compile_policies(on_server).policies[0].body["resource"] == {
        "op": "in",
        "entity": {"type": "Server", "id": "crm"},
    }
    with pytest.raises(Refused, match="no rule `everything`"):
        rule("everything", "x", agent="a")


def test_a_rule_decides_for_its_agent_alone() -> None:
    text = rule("spend-at-most", "cap", agent="spiffe://a/agent/b", values={"amount": 100})
    policies = compile_policies(default_source() + text)
    assert policies.decide(to_request(pay(100))).effect is Effect.PERMIT
    assert policies.decide(to_request(pay(101))).policies == ("cap",)
    other = to_request(pay(101)._replace(agent="spiffe://a/agent/c"))
    assert policies.decide(other).effect is Effect.PERMIT


def test_a_parameter_that_names_no_literal_is_a_programmers_error() -> None:
    text = '@id("x")@reason("r")@parameters("a=5") forbid (principal, action, resource);'
    with pytest.raises(ValueError, match="names no literal"):
        parameters(text)
    with pytest.raises(ValueError, match="names no literal"):
        fill(text, {})


# -- on the command line --------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["policy", *arguments])
    if isinstance(done.exception, Refused):
        from actfor.wire.problem import exit_code

        return exit_code(done.exception.kind), done.exception.detail
    return done.exit_code, done.stdout


def test_policy_test_runs_a_packs_own_table() -> None:
    code, said = run("test", "--pack", "finance", "-v")
    assert code == 0
    assert "✓ it asks one cent above it" in said


def test_policy_test_exits_1_and_shows_what_was_decided(tmp_path: Path) -> None:
    table = tmp_path / "t.yaml"
    table.write_text(TABLE.replace("decision: deny", "decision: permit"))
    junit = tmp_path / "junit.xml"
    code, said = run("test", str(table), "--junit", str(junit))
    assert code == 1
    assert "should be permit, is deny by" in said
    suite = ET.parse(junit).getroot().find("testsuite")  # noqa: S314 - our own file
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    code, said = run("test", str(table), "--json")
    assert code == 1
    assert json.loads(said)[0]["passed"] is False


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--pack", "nonsense"),
        ("no-such-file.yaml",),
        ("--pack", "finance", "--set", "ask_above"),
        ("--pack", "finance", "--policies", "x.cedar"),
        ("--pack", "finance", "--junit", "/no/such/folder/report.xml"),
    ],
)
def test_policy_test_exits_2_where_it_cannot_read(arguments: tuple[str, ...]) -> None:
    assert run("test", *arguments)[0] == 2


def test_a_parameter_without_a_pack_is_not_overlooked(tmp_path: Path) -> None:
    table = tmp_path / "t.yaml"
    table.write_text(TABLE)
    assert run("test", str(table), "--set", "ask_above=1") == (
        2,
        "--set chooses a parameter of a pack: name it with --pack",
    )


def test_policy_rule_prints_what_can_be_published(tmp_path: Path) -> None:
    code, said = run(
        "rule", "forbid-tool", "--agent", HOSTILE[0], "--tool", "crm/x", "--id", "no-x"
    )
    assert code == 0
    assert [policy.id for policy in compile_policies(said).policies] == ["no-x"]


# -- the guides -----------------------------------------------------------------------------------

GUIDES = Path(__file__).parents[2] / "docs/guides"


def snippets(guide: str, language: str) -> list[str]:
    parts = (GUIDES / guide).read_text().split(f"```{language}\n")[1:]
    return [part.partition("```")[0] for part in parts]


def test_the_policies_in_the_guide_can_be_published() -> None:
    found = snippets("policies.md", "cedar")
    assert len(found) == 2
    for text in found:
        assert not list(problems(compile_policies(text).policies))


def test_the_table_in_the_guide_is_decided_as_it_says() -> None:
    (table,) = snippets("policy-testing.md", "yaml")
    ((_, outcomes),) = decide_scenarios([("guide", table)])
    assert [outcome.failure for outcome in outcomes] == [None, None, None]


def test_every_command_in_the_guides_exists() -> None:
    root = typer.main.get_command(app)
    for guide in ("policies.md", "policy-testing.md", "rehearse.md"):
        for words in re.findall(r"^actfor ([a-z -]+)", (GUIDES / guide).read_text(), re.MULTILINE):
            command = root
            for word in words.split():
                inner = getattr(command, "commands", {})
                if word not in inner:
                    break
                command = inner[word]
            assert not getattr(command, "commands", None), f"{guide}: actfor {words}"
