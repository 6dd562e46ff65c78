"""Decision tables: those of the repository hold, and a table that says nonsense is refused."""

from pathlib import Path

import pytest

from actfor.authorization import Effect, compile_policies, run_scenarios
from actfor.authorization.model.facts import SAID, CallFacts
from actfor.authorization.model.scenarios import check, read_table
from actfor.errors import Kind, Refused
from actfor.gateway.model import ToolState
from actfor.gateway.provenance import Label
from actfor.identity import Tier

TABLES = sorted((Path(__file__).parent.parent / "scenarios").glob("*.yaml"))
ROW = """
facts: {agent: a, server: s, tool: t, effect: read}
scenarios:
  - it: is denied
    decision: deny
"""


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_the_default_pack_decides_as_its_tables_say(table: Path) -> None:
    assert run_scenarios([(table.name, table.read_text())]) == []


def test_every_policy_of_the_default_pack_determines_a_scenario() -> None:
    import yaml

    determining: set[str] = set()
    policies = compile_policies()
    for table in TABLES:
        for outcome in check(read_table(yaml.safe_load(table.read_text())), policies):
            determining.update(outcome.decision.policies)
    assert determining == {policy.id for policy in policies.policies}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("decision: deny", "decision: permit"), "t.yaml: is denied: should be permit, is deny by"),
        (("decision: deny", "decision: deny\n    policies: [x]"), "should be by x, is deny by"),
        (("decision: deny", "decision: deny\n    policies: []"), "should be by no policy"),
        (("decision: deny", "decision: deny\n    reason: because"), "should say `because`"),
    ],
)
def test_a_row_that_fails_says_what_was_decided(change: tuple[str, str], says: str) -> None:
    (failure,) = run_scenarios([("t.yaml", ROW.replace(*change))])
    assert says in failure


def test_a_row_passes_or_fails_by_the_policies_given() -> None:
    everything = '@id("x")@reason("r") permit (principal, action, resource);'
    assert run_scenarios([("t.yaml", ROW)]) == []
    foreign = ROW.replace("effect: read", "effect: read, via: authzen")
    assert len(run_scenarios([("t.yaml", foreign)], everything)) == 1


def test_a_row_through_the_gateway_is_bound_as_the_gateway_binds_it() -> None:
    everything = '@id("x")@reason("r") permit (principal, action, resource);'
    assert run_scenarios([("t.yaml", ROW)], everything) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be a mapping"),
        ("[]", "must be a mapping"),
        ("a: [", "is not YAML at line"),
        ("scenarios: []", "needs a list of `scenarios`"),
        ("facts: {}", "needs a list of `scenarios`"),
        (ROW.replace("it:", "if:"), "unknown member `if`"),
        (ROW.replace("tool: t", "toll: t"), "unknown member `toll`"),
        (ROW.replace("tool: t, ", ""), "scenario 1 has no `tool`"),
        (ROW.replace("effect: read", "effect: fly"), "`effect` of scenario 1 is one of read"),
        (ROW.replace("effect: read", "effect: [read]"), "`effect` of scenario 1 is one of read"),
        (ROW.replace("effect: read", "effect: read, in_mandate: 1"), "`in_mandate`"),
        (ROW.replace("effect: read", "effect: read, amount_minor: yes"), "`amount_minor`"),
        (ROW.replace("effect: read", "effect: read, tier: hihg"), "is one of high, low, medium"),
        (ROW.replace("effect: read", "effect: read, assurance: measurd"), "`assurance`"),
        (ROW.replace("decision: deny", "decision: allow"), "is permit, step-up or deny"),
        (ROW.replace("decision: deny", "policies: [x]"), "is permit, step-up or deny"),
        (ROW.replace("decision: deny", "decision: deny\n    policies: x"), "list of policy ids"),
        (ROW.replace("decision: deny", "decision: deny\n    reason: 1"), "`reason`"),
        (ROW.replace("it: is denied", "it: "), "needs `it`"),
    ],
)
def test_a_table_that_says_nonsense_is_refused_not_passed(text: str, says: str) -> None:
    with pytest.raises(Refused) as refused:
        run_scenarios([("t.yaml", text)])
    assert refused.value.kind is Kind.MALFORMED
    assert says in refused.value.detail
    assert "t.yaml" in refused.value.detail


def test_the_words_of_facts_are_those_that_an_enforcement_point_says() -> None:
    assert SAID["tier"] == set(Tier)
    assert SAID["tool_state"] == {*ToolState, CallFacts._field_defaults["tool_state"]}
    assert SAID["sink_label"] == {"none", *(label.word for label in Label)}
    assert SAID["flow"] == {effect.value for effect in Effect}
    assert all(CallFacts._field_defaults[name] in {*SAID[name], None} for name in SAID)
