"""Policy text, read and refused with the line at fault.

Cedar's parser names no lines, so the text is cut into its statements first (at each ``;``
outside strings and comments); Cedar numbers policies in the same order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import cedarpy

from actfor.authorization.model.schema import RequestSchema
from actfor.errors import Kind, Refused
from actfor.wire.authzen_obligations import parse_obligations
from actfor.wire.canonical import JsonObject

Node: TypeAlias = Mapping[str, Any]  # Any: Cedar's JSON policy format, walked and never trusted

MAX_BYTES = 4 * 2**20
MAX_POLICIES = 20_000
MAX_DEPTH = 400
"""Levels of Cedar's JSON form, three to each operator: enough for any policy a person reads."""

_SHOWN_PROBLEMS = 5
# A string that never ends reaches to the end of the text, so that no text takes quadratic time.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|//[^\n]*|;', re.DOTALL)
_BLANK = re.compile(r"(?:\s++|//[^\n]*+)*+")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_FOR_POLICY = re.compile(r"^for policy `[^`]*`, ")
_FOR_ACTION = re.compile(r" for Action::\"[^\"]*\"")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a policy text. ``line`` counts from 1; 0 is the text as a whole."""

    line: int
    policy: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        whose = f"policy `{self.policy}`: " if self.policy else ""
        return where + whose + self.message


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy: its @id and @reason, its text, and Cedar's JSON form of it."""

    id: str
    reason: str
    effect: str
    line: int
    text: str
    body: Node

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The facts that the reason quotes."""
        return tuple(_PLACEHOLDER.findall(self.reason))

    @property
    def obligations(self) -> tuple[JsonObject, ...]:
        """What an AuthZEN enforcement point must also do where this policy determines.

        Raises:
            Refused: MALFORMED; a policy that was published has none of it.
        """
        text = self.body.get("annotations", {}).get("obligations")
        return () if text is None else parse_obligations(text)


def parse(source: str, schema: RequestSchema) -> tuple[Policy, ...]:
    """The policies of a text, all of them valid under the schema.

    Raises:
        Refused: MALFORMED, naming line and policy: a syntax error, a template, a missing or
            repeated @id, a missing @reason, a breach of the schema; or no policy at all.
    """
    policies, problems = read(source, schema)
    refuse(problems)
    return policies


def refuse(problems: tuple[Problem, ...]) -> None:
    """Nothing if there are no problems.

    Raises:
        Refused: MALFORMED, with the first few of them.
    """
    if problems:
        shown = "; ".join(map(str, problems[:_SHOWN_PROBLEMS]))
        left = len(problems) - _SHOWN_PROBLEMS
        raise Refused(Kind.MALFORMED, f"{shown} (and {left} more)" if left > 0 else shown)


def no_permit(policies: tuple[Policy, ...]) -> tuple[Problem, ...]:
    """What is wrong with a set that forbids alone: nobody who publishes it means that.

    Not asked of what is in force already: that must still be read.
    """
    if any(policy.effect == "permit" for policy in policies):
        return ()
    return (Problem(0, "", "no policy permits anything: everything would be denied"),)


def read(source: str, schema: RequestSchema) -> tuple[tuple[Policy, ...], tuple[Problem, ...]]:
    """The policies that could be read and everything that is wrong with the text."""
    if (unreadable := _unreadable(source)) is not None:
        return (), (unreadable,)
    statements = tuple(_statements(source))
    try:
        document = json.loads(cedarpy.policies_to_json_str(source))
    except (ValueError, RecursionError) as error:
        return (), (_syntax_problem(statements, error),)
    if document["templates"]:
        return (), (Problem(0, "", "templates (`?principal`, `?resource`) are not supported"),)
    bodies: Mapping[str, Node] = document["staticPolicies"]
    if not bodies:
        return (), (Problem(0, "", "the text holds no policy: everything would be denied"),)
    lines = {f"policy{index}": line for index, (line, _) in enumerate(statements)}
    if bodies.keys() != lines.keys():
        return (), (Problem(0, "", "the text cannot be cut into its policies"),)
    policies = tuple(
        _policy(bodies[f"policy{index}"], line, text)
        for index, (line, text) in enumerate(statements)
    )
    deep = tuple(policy for policy in policies if _depth(policy.body) > MAX_DEPTH)
    if deep:  # nothing below walks a policy that could exhaust the stack
        return (), tuple(Problem(policy.line, "", "nested too deeply") for policy in deep)
    problems = [*_annotation_problems(policies, schema), *_schema_problems(source, schema, lines)]
    return policies, tuple(sorted(problems, key=lambda problem: problem.line))


def _unreadable(source: str) -> Problem | None:
    try:
        size = len(source.encode())
    except UnicodeEncodeError:
        return Problem(0, "", "the text holds a lone surrogate")
    if "\0" in source:  # PostgreSQL stores none, and no policy needs one
        return Problem(0, "", "the text holds a NUL character")
    if size > MAX_BYTES:
        return Problem(0, "", f"the text is larger than {MAX_BYTES} bytes")
    if source.count(";") > MAX_POLICIES:
        return Problem(0, "", f"the text holds more than {MAX_POLICIES} policies")
    return None


def _statements(source: str) -> Iterator[tuple[int, str]]:
    """Each statement with the line on which its first token stands."""
    ends = [token.end() for token in _TOKEN.finditer(source) if token[0] == ";"]
    line, counted, start = 1, 0, 0
    for end in [*ends, len(source)]:
        blank = _BLANK.match(source, start, end)
        first = blank.end() if blank else start
        if first < end:
            line += source.count("\n", counted, first)
            counted = first
            yield line, source[first:end]
        start = end


def _syntax_problem(statements: tuple[tuple[int, str], ...], error: Exception) -> Problem:
    message = str(error) if isinstance(error, ValueError) else "nested too deeply"
    for line, text in statements:
        try:
            json.loads(cedarpy.policies_to_json_str(text))
        except ValueError as cause:
            return Problem(line, "", _one_line(str(cause)))
        except RecursionError:
            return Problem(line, "", "nested too deeply")
    return Problem(0, "", _one_line(message))


def _policy(body: Node, line: int, text: str) -> Policy:
    annotations = body.get("annotations", {})
    name, reason = annotations.get("id") or "", annotations.get("reason") or ""
    return Policy(name, reason, body["effect"], line, text, body)


def _depth(body: Node) -> int:
    level: list[Any] = [body]
    depth = 0
    while level:
        depth += 1
        level = [
            inner
            for node in level
            for inner in (node.values() if isinstance(node, dict) else node)
            if isinstance(inner, dict | list)
        ]
    return depth


def _annotation_problems(policies: tuple[Policy, ...], schema: RequestSchema) -> Iterator[Problem]:
    seen: set[str] = set()
    for policy in policies:
        if not _ID.fullmatch(policy.id):
            message = 'needs @id("…"): up to 64 of a-z, 0-9, `.`, `_` and `-`'
            yield Problem(policy.line, policy.id[:64], message)
        elif policy.id in seen:
            yield Problem(policy.line, policy.id, "the @id is used twice")
        if not policy.reason.strip():
            yield Problem(policy.line, policy.id[:64], 'needs @reason("…") in plain words')
        for name in sorted(set(policy.placeholders) - schema.facts):
            yield Problem(
                policy.line, policy.id[:64], f"the @reason names an unknown fact `{name}`"
            )
        try:
            policy.obligations  # noqa: B018 - asked for what is wrong with it
        except Refused as refused:
            yield Problem(policy.line, policy.id[:64], refused.detail)
        seen.add(policy.id)


def _schema_problems(
    source: str, schema: RequestSchema, lines: Mapping[str, int]
) -> Iterator[Problem]:
    result = cedarpy.validate_policies(source, schema.handle)
    if result.validation_passed:
        return
    seen: set[tuple[str, str]] = set()
    for error in result.errors:
        message = _FOR_ACTION.sub("", _FOR_POLICY.sub("", _one_line(error.error)))
        if (error.policy_id, message) not in seen:
            seen.add((error.policy_id, message))
            name = result.id_annotations_by_policy_id.get(error.policy_id, "")
            yield Problem(lines.get(error.policy_id, 0), name[:64], message)


def _one_line(message: str) -> str:
    return " ".join(message.split())[:300]
