"""May it? Policies published and decided.

The model (pure) is in ``model``, the packaged schema and default pack in ``policies``; the service
publishes and decides; ``http`` speaks AuthZEN and serves ``/v1/policies``.
"""

from __future__ import annotations

from collections.abc import Iterable

from actfor.authorization.model import (
    CallFacts,
    Decision,
    Effect,
    PolicySet,
    Request,
    RequestSchema,
    ToolEffect,
    to_request,
)
from actfor.authorization.model.publication import Publication
from actfor.authorization.model.scenarios import Outcome, check, read_table
from actfor.authorization.policies import default_source, schema_source
from actfor.authorization.service import (
    Answer,
    AuthorizationService,
    Gather,
    Options,
    Pages,
    Pdp,
    PolicyChanges,
    Population,
    Rehearsal,
    Trials,
)
from actfor.errors import Kind, Refused

__all__ = [
    "Answer",
    "AuthorizationService",
    "CallFacts",
    "Decision",
    "Effect",
    "Gather",
    "Options",
    "Outcome",
    "Pages",
    "Pdp",
    "PolicyChanges",
    "PolicySet",
    "Population",
    "Publication",
    "Rehearsal",
    "Request",
    "ToolEffect",
    "Trials",
    "compile_policies",
    "decide_scenarios",
    "run_scenarios",
    "to_request",
]


def compile_policies(source: str | None = None) -> PolicySet:
    """A policy text checked against the packaged schema; the default pack where none is given.

    Raises:
        Refused: MALFORMED, with line and policy.
    """
    schema = RequestSchema.parse(schema_source())
    return PolicySet.compile(default_source() if source is None else source, schema)


def run_scenarios(tables: Iterable[tuple[str, str]], source: str | None = None) -> list[str]:
    """Decide the rows of YAML decision tables, given as (name, text); one line for each failure.

    Raises:
        Refused: MALFORMED for policies or a table that cannot be read.
    """
    return [
        f"{name}: {outcome.scenario.it}: {outcome.failure}"
        for name, outcomes in decide_scenarios(tables, source)
        for outcome in outcomes
        if outcome.failure is not None
    ]


def decide_scenarios(
    tables: Iterable[tuple[str, str]], source: str | None = None
) -> list[tuple[str, list[Outcome]]]:
    """The outcome of every row of YAML decision tables, by table.

    Raises:
        Refused: MALFORMED for policies or a table that cannot be read.
    """
    import yaml

    policies = compile_policies(source)
    found: list[tuple[str, list[Outcome]]] = []
    for name, text in tables:
        try:
            scenarios = read_table(yaml.safe_load(text))
        except yaml.YAMLError as cause:
            mark = getattr(cause, "problem_mark", None)
            line = f" at line {mark.line + 1}" if mark else ""
            raise Refused(Kind.MALFORMED, f"`{name}` is not YAML{line}") from cause
        except Refused as refused:
            raise Refused(refused.kind, f"`{name}`: {refused.detail}") from refused
        found.append((name, list(check(scenarios, policies))))
    return found
