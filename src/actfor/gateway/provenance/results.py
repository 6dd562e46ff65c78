"""What a tool returned, cut into items and fields, each with its label.

The operator's overlay decides. Without one, a tool that returns what others wrote (mail, pages,
files) is untrusted but for what its system itself sets; a record's prose is untrusted all the same.
Text that holds JSON or YAML is read as such, with bounds; what cannot be read is one opaque field.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from actfor.authorization.intent.text import MAX_TEXT, words
from actfor.gateway.effects import Results
from actfor.gateway.provenance.labels import Label
from actfor.wire.canonical import JsonValue

MAX_FIELDS: Final = 4_096
_DEPTH: Final = 12
_PROSE: Final = 12  # words; longer text of a record is prose, which others may have written
_PLAIN: Final = 4
"""Words; a longer text that stands in no field is prose: nothing says what it is."""
_OPEN: Final = (
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
)
_CLOSE: Final = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_TRICKS: Final = (yaml.AliasToken, yaml.AnchorToken, yaml.TagToken)
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_LOADER):  # type: ignore[misc] # with or without libyaml
    """Reads no mapping that has a name twice: all but the last would be hidden from who looks."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - as the loader has it
        """As the loader's, which keeps the last of several.

        Raises:
            ValueError: if a name comes twice.
        """
        _refuse_twice([self.construct_object(key, deep=True) for key, _ in node.value])
        return super().construct_mapping(node, deep)


def _refuse_twice(names: list[Any]) -> None:
    if len(names) != len({str(name) for name in names}):
        raise ValueError("a name comes twice")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_twice([name for name, _ in pairs])
    return dict(pairs)


_SYSTEM: Final = frozenset(
    "id date time timestamp created modified updated size status type read unread balance amount"
    " currency price start end count total rating star index version iban recurring page".split()
)
_AUTHORS: Final = frozenset("sender from author owner user username creator organizer by".split())
_PEOPLE: Final = frozenset(
    "recipients recipient to cc bcc participants attendees members collaborators email shared"
    " receiver".split()
)
_WRITTEN: Final = frozenset(
    "subject body content text message description title comment comments note notes review"
    " reviews summary bio html details issues".split()
)
_SECRET: Final = frozenset(
    "password passwd secret token credential apikey otp pin cvv passport ssn card license".split()
)


@dataclass(frozen=True, slots=True)
class Field:
    """One scalar of a result: where, what, and whose. ``item`` numbers the record it is part of."""

    item: int
    pointer: str
    text: str
    label: Label
    secret: bool = False
    author: bool = False


@dataclass(slots=True)
class Read:
    """A result as it was read. ``content``: others wrote it, as far as nobody says otherwise.

    ``complete``: all of it was read; what was cut must tighten.
    """

    fields: list[Field]
    content: bool
    complete: bool = True


def read_result(
    result: JsonValue | str, rules: Results | None, *, content: bool, confirms: bool = False
) -> Read:
    """The fields of a result, each with its label.

    ``content`` is whether the tool returns what others wrote; it counts where ``rules`` are absent.
    So does a text that is in no field: it is others' words, unless it ``confirms`` a change.
    """
    value = structure(result)
    if rules is None and isinstance(value, str) and value.count(" ") >= _PLAIN and not confirms:
        content = True
    read = Read([], content)
    for item, part, base in _items(value):
        for pointer, scalar in _scalars(part, base, 0):
            if len(read.fields) >= MAX_FIELDS or len(scalar) > MAX_TEXT:
                read.complete = False
            if len(read.fields) >= MAX_FIELDS:
                return read
            read.fields.append(_field(item, pointer, scalar[:MAX_TEXT], rules, content=content))
    return read


def structure(result: JsonValue | str) -> JsonValue:
    """The value that a text spells, if it is a JSON object or list, or YAML or Python for one; the
    text that it spells as a JSON string.
    """
    if not isinstance(result, str) or len(result) > 4 * MAX_TEXT:
        return result
    text = result.strip()
    if text[:1] in {"{", "["}:
        return _json(text)
    if text[:2] == "- " or _looks_mapping(text):
        return _yaml(text)
    inner = _unquoted(text)
    return result if inner is None else structure(inner)


def _unquoted(text: str) -> str | None:
    """What a JSON string says: many dump as JSON whatever a tool returned, texts too.

    Not with a backslash in it: whoever reads the text as it stands would copy two.
    """
    if not (text[:1] == text[-1:] == '"'):
        return None
    try:
        inner = json.loads(text)
    except ValueError:
        return None
    return inner if isinstance(inner, str) and "\\" not in inner else None


def _looks_mapping(text: str) -> bool:
    head = text.split("\n", 1)[0]
    key, mark, _ = head.partition(":")
    return (
        bool(mark)
        and "\n" in text
        and key.replace("_", "").replace(" ", "").isalnum()
        and len(key) < 40
    )


def _json(text: str) -> JsonValue:
    try:
        return json.loads(text, object_pairs_hook=_once)  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        pass
    if not _is_plain_literal(text):
        return _yaml(text)
    try:
        tree = ast.parse(text, mode="eval")
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                _refuse_twice([ast.dump(key) for key in node.keys if key is not None])
        value = ast.literal_eval(tree)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return text
    return value if isinstance(value, dict | list) else text


# Python's notation, as the text of many tools has it. Python's own parser can be crashed by what is
# nested deeply enough, so only flat enough text of nothing but literals gets there.
_LITERAL: Final = re.compile(
    r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|[-+]?[0-9][0-9.e+-]*|None|True|False|[\[\]{}(),:\s]"""
)


def _is_plain_literal(text: str) -> bool:
    at = depth = 0
    for token in _LITERAL.finditer(text):
        if token.start() != at:
            return False
        at = token.end()
        depth += token.group() in {"[", "{", "("}
        depth -= token.group() in {"]", "}", ")"}
        if depth > _DEPTH:
            return False
    return at == len(text)


def _yaml(text: str) -> JsonValue:
    depth = 0
    try:
        for token in yaml.scan(text, Loader=_LOADER):
            # Aliases could make a small text a huge value; nesting could exhaust the C stack.
            depth += isinstance(token, _OPEN)
            depth -= isinstance(token, _CLOSE)
            if depth > _DEPTH or isinstance(token, _TRICKS):
                return text
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    return value if isinstance(value, dict | list) else text


def _items(value: JsonValue) -> Iterator[tuple[int, JsonValue, str]]:
    """A list's elements are items of their own; anything else is one item."""
    if isinstance(value, dict) and len(value) == 1:
        (name, inner), *_ = value.items()
        if isinstance(inner, list):
            yield from ((n, part, f"/{name}/*") for n, part in enumerate(inner))
            return
    if isinstance(value, list):
        yield from ((n, part, "/*") for n, part in enumerate(value))
    elif isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
        for n, (name, part) in enumerate(value.items()):
            yield n, {"": name, **part} if isinstance(part, dict) else part, f"/{name}"
    else:
        yield 0, value, ""


def _scalars(value: JsonValue, pointer: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _DEPTH:
        yield pointer, str(value)[:MAX_TEXT]
    elif isinstance(value, dict):
        for name, part in value.items():
            if not isinstance(part, dict | list) and isinstance(name, str) and _keyed(name):
                yield f"{pointer}/*", name  # a map from names to values: the name is data
            yield from _scalars(_nested(part), f"{pointer}/{str(name)[:80]}", depth + 1)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _scalars(_nested(part), f"{pointer}/*", depth + 1)
    elif value is not None and not isinstance(value, bool):
        yield pointer, str(value)


def _keyed(name: str) -> bool:
    """Whether a member's name is itself data: it has spaces, an `@` or capitals inside."""
    return any(char in name for char in " @./") or name[1:] != name[1:].lower()


def _nested(part: JsonValue) -> JsonValue:
    """JSON or Python notation inside a text field is read as what it spells."""
    if (
        isinstance(part, str)
        and len(part) <= MAX_TEXT
        and part[:1] in {"{", "["}
        and part[-1:] in {"}", "]"}
    ):
        inner = _json(part)
        return inner if isinstance(inner, dict | list) else part
    return part


def _field(item: int, pointer: str, text: str, rules: Results | None, *, content: bool) -> Field:
    names = [name for name in pointer.split("/") if name and name != "*"]
    own = set(words(names[-1])) if names else set()
    secret = bool(own & _SECRET)
    if rules is not None:
        label = Label.TRUSTED if rules.trusts(pointer, names) else Label.UNTRUSTED
        author = rules.is_author(pointer, names)
        if author and label is Label.UNTRUSTED:
            label = Label.ATTESTED
        return Field(item, pointer, text, label, secret or rules.is_secret(pointer, names), author)
    author = bool(own & _AUTHORS)
    return Field(
        item, pointer, text, _label(own, text, author=author, content=content), secret, author
    )


def _label(own: set[str], text: str, *, author: bool, content: bool) -> Label:
    if text.count(" ") >= _PROSE or own & _WRITTEN:
        return Label.UNTRUSTED
    if own & _SYSTEM:
        return Label.TRUSTED
    if content:
        return Label.ATTESTED if author or own & _PEOPLE else Label.UNTRUSTED
    return Label.TRUSTED
