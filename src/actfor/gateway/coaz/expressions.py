"""CEL expressions of COAZ mappings, evaluated over a message and the claims of a token.

The evaluator has no optional selection (`token.?client_id`), which the binding needs, so it is
rewritten to what it means: `has(token.client_id) ? optional.of(token.client_id) : optional.none()`.

A declared mapping is written by the server that is being guarded, so its expressions are bounded:
their length, and one comprehension (`map`, `exists`, …) each, which makes time linear in the
arguments. CEL's regular expressions are linear. Nothing but message and claims can be read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import cel

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue

MAX_EXPRESSION: Final = 1024
_STRING: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_CHAIN: Final = re.compile(r"[A-Za-z_]\w*(?:\.\??[A-Za-z_]\w*)*(?![\w(])")
_MACRO: Final = re.compile(r"\.\s*(?:map|filter|exists|exists_one|all)\s*\(")
_METHODS: Final = frozenset({"orValue", "hasValue", "value", "or"})


class Absent:
    """What an optional selection of something that is not there yields."""


ABSENT: Final = Absent()


def evaluate(expression: str, variables: Mapping[str, Any]) -> JsonValue | Absent:
    """The JSON value of an expression (without its `$`), or ABSENT.

    Raises:
        Refused: MALFORMED: it cannot be parsed, fails, or yields what is not JSON.
    """
    try:
        value = _program(expression).execute(dict(variables))
    except KeyError as cause:
        raise _fault(expression, f"no such key {cause}") from cause
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as cause:
        raise _fault(expression, str(cause)) from cause
    return _json(value, expression)


def check_expression(expression: str) -> None:
    """Refuse what is no CEL, or more of it than an expression may have.

    Raises:
        Refused: MALFORMED.
    """
    _program(expression)


@lru_cache(maxsize=1024)
def _program(expression: str) -> cel.Program:
    if len(expression) > MAX_EXPRESSION:
        raise _fault(expression, f"longer than {MAX_EXPRESSION} characters")
    if len(_MACRO.findall(_STRING.sub("''", expression))) > 1:
        raise _fault(expression, "more than one comprehension")
    try:
        return cel.compile(_without_optional_selection(expression))
    except (ValueError, TypeError, RuntimeError) as cause:
        raise _fault(expression, str(cause)) from cause


def _without_optional_selection(expression: str) -> str:
    if ".?" not in expression:
        return expression
    rewritten, at = [], 0
    for literal in _STRING.finditer(expression):
        rewritten += [_CHAIN.sub(_selected, expression[at : literal.start()]), literal[0]]
        at = literal.end()
    return "".join([*rewritten, _CHAIN.sub(_selected, expression[at:])])


def _selected(chain: re.Match[str]) -> str:
    """One chain of names; from its first `?` on every step may be missing."""
    if ".?" not in chain[0]:
        return chain[0]
    head, *optional = chain[0].split(".?")
    steps = [name for part in optional for name in part.split(".")]
    paths, here = [], head
    for name in steps:
        here = f"{here}.{name}"
        paths.append(here)
    there = " && ".join(f"has({path})" for path in paths)
    return f"({there} ? optional.of({here}) : optional.none())"


def _json(value: Any, expression: str) -> JsonValue | Absent:
    if isinstance(value, cel.OptionalValue):
        return _json(value.value(), expression) if value.has_value() else ABSENT
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list):
        return [_present(item, expression) for item in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: _present(item, expression) for name, item in value.items()}
    raise _fault(expression, f"a {type(value).__name__} is not a JSON value")


def _present(value: Any, expression: str) -> JsonValue:
    found = _json(value, expression)
    if isinstance(found, Absent):
        raise _fault(expression, "an absent value inside of a list or map")
    return found


def _fault(expression: str, why: str) -> Refused:
    shown = " ".join(why.split())[:200]
    return Refused(Kind.MALFORMED, f"COAZ mapping error: expression `${expression[:80]}`: {shown}")
