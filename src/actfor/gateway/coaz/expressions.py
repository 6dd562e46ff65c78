"""CEL expressions of COAZ mappings, evaluated over a message and the claims of a token.

The evaluator has no optional selection (`token.?client_id`), which the binding needs, so it is
rewritten to what it means: `has(token.client_id) ? optional.of(token.client_id) : optional.none()`.

A declared mapping is written by the server that is being guarded, so its expressions are bounded:
their length, one comprehension each, and over how many values. The evaluator copies what it
iterates over, so that `exists` takes time by the square of that and `map` by its cube: a `map` over
60,000 numbers took minutes. CEL's regular expressions are linear. Nothing but message and claims
can be read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue

if TYPE_CHECKING:
    # At run time it is loaded with the first expression: it brings a command line of its own.
    import cel

MAX_EXPRESSION: Final = 1024
MAX_VALUES: Final = 2_048
"""Values in a message that a mapping is about: the evaluator takes all of them in each time."""
_MOST_TESTED: Final = 512
"""Values in the message where an expression has `exists`, `exists_one` or `all`."""
_MOST_COLLECTED: Final = 64
"""The same with `map` or `filter`, which also build a list, or with `matches` for each value; and
how long such an expression is.
"""
_MAX_COLLECTING: Final = 200
_MOST_TEXT: Final = 16_384
"""Characters of text in the message where an expression has a comprehension."""
_STRING: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_CHAIN: Final = re.compile(r"[A-Za-z_]\w*(?:\.\??[A-Za-z_]\w*)*(?![\w(])")
# Looked for in strings as well: a raw string, or a comment, could hide code from who reads strings.
_MACRO: Final = re.compile(r"\b(?:map|filter|exists|exists_one|all) *\(")
_COLLECTING: Final = re.compile(r"\b(?:map|filter|matches) *\(")
_METHODS: Final = frozenset({"orValue", "hasValue", "value", "or"})


class Absent:
    """What an optional selection of something that is not there yields."""


ABSENT: Final = Absent()


def evaluate(expression: str, variables: Mapping[str, Any]) -> JsonValue | Absent:
    """The JSON value of an expression (without its `$`), or ABSENT.

    Raises:
        Refused: MALFORMED: it cannot be parsed, fails, or yields what is not JSON.
    """
    program, most = _program(expression)
    if most is not None:
        require_few(variables.get("params"), most, _MOST_TEXT)
    try:
        value = program.execute(dict(variables))
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


def is_costly(expression: str) -> bool:
    """Whether an expression goes over many values, or over a whole text."""
    return bool(_MACRO.search(expression) or _COLLECTING.search(expression))


def require_few(
    values: JsonValue | Mapping[str, Any], most: int, most_text: int | None = None
) -> None:
    """Refuse more than ``most`` values, members and items at any depth, or characters of text.

    Raises:
        Refused: MALFORMED.
    """
    waiting: list[Any] = [values]
    count, text = 0, 0
    while waiting:
        value = waiting.pop()
        inside = value.values() if isinstance(value, Mapping) else value
        if isinstance(value, Mapping | list | tuple):
            count += len(value)
            waiting.extend(inside)
        elif isinstance(value, str):
            text += len(value)
        if count > most or (most_text is not None and text > most_text):
            limits = (
                f"{most} values"
                if most_text is None
                else f"{most} values, or {most_text} characters"
            )
            said = f"COAZ mapping error: more than {limits} to look through"
            raise Refused(Kind.MALFORMED, said)


@lru_cache(maxsize=1024)
def _program(expression: str) -> tuple[cel.Program, int | None]:
    """The expression compiled, and how many values the message may have where it goes over them."""
    import cel

    if len(expression) > MAX_EXPRESSION:
        raise _fault(expression, f"longer than {MAX_EXPRESSION} characters")
    if not expression.isprintable():
        raise _fault(expression, "a line break or another control character")
    if len(_MACRO.findall(expression)) > 1:
        raise _fault(expression, "more than one comprehension")
    most = _MOST_TESTED if _MACRO.search(expression) else None
    if most is not None and _COLLECTING.search(expression):
        most = _MOST_COLLECTED
        if len(expression) > _MAX_COLLECTING:
            text = f"longer than {_MAX_COLLECTING} characters, with `map`, `filter` or `matches`"
            raise _fault(expression, text)
    try:
        return cel.compile(_without_optional_selection(expression)), most
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
    import cel

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
