"""What somebody outside passes to a decision point, in the form that is decided; or refused.

A harness has calls and results as its traces have them: JSON or text that spells it, MCP's content
blocks, the message parts of a chat log. What is no JSON is refused with the place where it stands:
read in another form than the agent saw it, a value would pass for one that nobody wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from actfor.errors import Kind, Refused
from actfor.wire.canonical import MAX_DEPTH, MAX_INTEGER, JsonObject, JsonValue, canonical
from actfor.wire.rar import member_pointer

_BLOCKS: Final = frozenset({"text", "image", "audio", "resource", "resource_link", "image_url"})
_OF_A_TEXT: Final = frozenset({"type", "text", "content", "annotations", "_meta"})
_LONGEST: Final = 4_096  # bits; Python spells no much longer numbers
_OF_AN_ANSWER: Final = frozenset({"content", "structuredContent", "isError", "resultType", "_meta"})


def spoken(words: object) -> str:
    """What a person said: a text, or the parts of a chat message.

    Raises:
        Refused: MALFORMED for anything else, and for a part that is no text.
    """
    if isinstance(words, str):
        return words
    blocks = _as_blocks(words)
    if blocks is not None and all(block["type"] == "text" for block in blocks):
        return "\n".join(str(block["text"]) for block in blocks)
    raise _malformed(f"`words` are the person's text, not {_kind(words)}")


def called(arguments: object) -> JsonObject:
    """The arguments of a call: an object, a text that spells one, None for a call without any.

    Raises:
        Refused: MALFORMED, naming the argument that is no JSON.
    """
    if arguments is None:
        return {}
    if isinstance(arguments, str):
        arguments = _spelled(arguments)
    if not isinstance(arguments, Mapping):
        raise _malformed(f"`arguments` are a JSON object, not {_kind(arguments)}")
    plain = _plain(arguments, "", exact=True)
    return plain if isinstance(plain, dict) else {}


def returned(result: object) -> tuple[list[JsonValue], bool]:
    """The parts of a result, and whether all of it can be read (``parts_of``).

    Raises:
        Refused: MALFORMED, naming the place of what is no JSON.
    """
    plain = _plain(result, "", exact=False)
    if (blocks := _as_blocks(plain)) is not None:
        return parts_of({"content": blocks})
    if isinstance(plain, dict) and _OF_AN_ANSWER.issuperset(plain):
        blocks = _as_blocks(plain.get("content", []))
        if blocks is not None or "structuredContent" in plain:
            return parts_of({**plain, "content": blocks})
    return [plain], True


def require(value: object, kind: type[Any] | tuple[type[Any], ...], says: str) -> None:
    """Refuse what is of another type than an annotation promised.

    Raises:
        Refused: MALFORMED, with what it ``says``.
    """
    if not isinstance(value, kind):
        raise _malformed(says)


def is_failure(result: object) -> bool:
    """Whether a result says by MCP's ``isError`` that the call failed."""
    return isinstance(result, Mapping) and result.get("isError") is True


def parts_of(result: JsonObject) -> tuple[list[JsonValue], bool]:
    """What a tool's answer says (MCP ``CallToolResult``), and whether all of it can be read.

    Structured content and text that spells the same are one part. Images, sound and other bytes
    cannot be read: who looks at them may find there whatever somebody put there.
    """
    parts: list[JsonValue] = []
    readable = True
    structured = result.get("structuredContent")
    if structured is not None:
        parts.append(structured)
    for block in _blocks(result.get("content")):
        text = _block_text(block)
        if text is None:
            readable = False
        elif not _says(structured, text):
            parts.append(text)
    return parts, readable


def _blocks(content: JsonValue) -> list[JsonObject]:
    if not isinstance(content, list | tuple):
        return []
    return [block for block in content if isinstance(block, Mapping)]


def _block_text(block: JsonObject) -> JsonValue:
    match block.get("type"):
        case "text":
            return block.get("text")
        case "resource_link":
            return {name: block[name] for name in ("uri", "name", "description") if name in block}
        case "resource":
            inner = block.get("resource")
            if isinstance(inner, Mapping) and isinstance(inner.get("text"), str):
                return {"uri": inner.get("uri"), "text": inner["text"]}
    return None


def _says(structured: JsonValue, text: JsonValue) -> bool:
    """Whether a text only repeats the structured content, as MCP asks servers to do."""
    if structured is None or not isinstance(text, str):
        return False
    if isinstance(structured, Mapping) and structured.get("result") == text:
        return True
    return text == canonical(structured).decode()


def _as_blocks(value: object) -> list[JsonObject] | None:
    """MCP's content blocks, or the parts of a chat message (`content` for `text`); None for other
    lists, and for an empty one, which a tool may as well have returned by itself.
    """
    if not isinstance(value, list | tuple) or not value:
        return None
    return [_block(one) for one in value] if all(map(_is_block, value)) else None


def _is_block(value: object) -> bool:
    if not isinstance(value, Mapping) or str(value.get("type")) not in _BLOCKS:
        return False
    if value["type"] != "text":
        return True
    told = [value[name] for name in ("text", "content") if name in value]
    return (
        _OF_A_TEXT.issuperset(value)
        and len(told) == 1
        and (told[0] is None or isinstance(told[0], str))
    )


def _block(value: JsonObject) -> JsonObject:
    if value["type"] != "text":
        return value
    return {"type": "text", "text": value.get("text", value.get("content")) or ""}


def _spelled(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _malformed("`arguments` are a text that spells no JSON") from None


def _plain(value: object, at: str, *, exact: bool, depth: int = MAX_DEPTH) -> JsonValue:
    """The JSON of what Python code has: tuples, dates, decimals and keys that are no text, too.

    ``exact``: every number and text must be one that JSON carries unchanged, as in a call.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, at, exact=exact)
    if isinstance(value, int):
        return value if abs(value) <= MAX_INTEGER else _uncarried(value, at, exact=exact)
    if isinstance(value, float):
        return value if isfinite(value) else _uncarried(value, at, exact=exact)
    if isinstance(value, date | datetime | time | Decimal):
        return str(value)
    if depth == 0:
        raise _malformed(f"{_place(at)} is nested too deeply")
    if isinstance(value, Mapping):
        return {
            str(name): _plain(part, member_pointer(at, str(name)), exact=exact, depth=depth - 1)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            _plain(part, f"{at}/{n}", exact=exact, depth=depth - 1) for n, part in enumerate(value)
        ]
    raise _malformed(f"{_place(at)} is no JSON but {_kind(value)}: pass what the agent saw")


def _text(value: str, at: str, *, exact: bool) -> str:
    if exact and not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise _malformed(f"{_place(at)} holds half of a character")
    return value


def _uncarried(value: object, at: str, *, exact: bool) -> str:
    """The text of a number that JSON does not carry unchanged, as a result may have it."""
    if exact or (isinstance(value, int) and value.bit_length() > _LONGEST):
        raise _malformed(f"{_place(at)} is a number that JSON does not carry: pass it as text")
    return str(value)


def _place(at: str) -> str:
    return f"`{at[:64]}`" if at else "the result"


def _kind(value: object) -> str:
    return f"`{type(value).__name__}`"


def _malformed(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, detail)


__all__ = ["called", "is_failure", "parts_of", "require", "returned", "spoken"]
