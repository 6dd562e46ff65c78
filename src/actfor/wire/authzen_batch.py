"""AuthZEN Authorization API 1.0 §7: many evaluations in one request.

Members beside ``evaluations`` are defaults; an item's member replaces the default as a whole, but
for a required sub-member (``type``, ``id``, ``name``) that the item leaves out, which is taken from
the default (certification c-3-2-7). Without ``evaluations``, or with an empty one, the request is a
single evaluation (§7.1). An item that cannot be read is a denial in its place, not an error of the
whole (c-3-4-1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire.authzen import STATUS, Evaluation, parse_evaluation
from actfor.wire.canonical import JsonObject, JsonValue

EVALUATIONS_PATH: Final = "/access/v1/evaluations"
MAX_ITEMS: Final = 100
"""Each is decided and recorded; who needs more asks twice."""

_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "subject": ("type", "id"),
    "action": ("name",),
    "resource": ("type", "id"),
}


class Semantic(StrEnum):
    """``options.evaluations_semantic`` (§7.1.2)."""

    ALL = "execute_all"
    FIRST_DENY = "deny_on_first_deny"
    FIRST_PERMIT = "permit_on_first_permit"

    def ends(self, *, permitted: bool) -> bool:
        """Whether an item with this decision is the last that is looked at."""
        return self is (Semantic.FIRST_PERMIT if permitted else Semantic.FIRST_DENY)


@dataclass(frozen=True, slots=True)
class Batch:
    """The items in their order, each a question or what is wrong with it."""

    items: tuple[Evaluation | Refused, ...]
    semantic: Semantic = Semantic.ALL


def parse_evaluations(document: JsonValue) -> Evaluation | Batch:
    """Read a request from parsed JSON: a batch, or a single evaluation where it names no items.

    Raises:
        Refused: MALFORMED for what concerns the whole request.
    """
    if not isinstance(document, Mapping):
        raise Refused(Kind.MALFORMED, "the request must be a JSON object")
    items = document.get("evaluations", [])
    if not isinstance(items, list):
        raise Refused(Kind.MALFORMED, "`evaluations` must be an array")
    if not items:
        return parse_evaluation(document)
    if len(items) > MAX_ITEMS:
        raise Refused(Kind.MALFORMED, f"`evaluations` has more than {MAX_ITEMS} items")
    for name in (*_REQUIRED, "context"):
        if not isinstance(document.get(name, {}), Mapping):
            raise Refused(Kind.MALFORMED, f"`{name}` must be a JSON object")
    return Batch(tuple(_item(document, item) for item in items), _semantic(document))


def batch_response(answers: Sequence[JsonObject | Refused]) -> JsonObject:
    """The answer (§7.2): as many decisions as were made, in the order of the questions."""
    return {"evaluations": [_answered(answer) for answer in answers]}


def _answered(answer: JsonObject | Refused) -> JsonObject:
    if not isinstance(answer, Refused):
        return answer
    error: JsonObject = {"status": STATUS[answer.kind], "message": answer.detail}
    return {"decision": False, "context": {"error": error}}


def _semantic(document: JsonObject) -> Semantic:
    options = document.get("options", {})
    if not isinstance(options, Mapping):
        raise Refused(Kind.MALFORMED, "`options` must be a JSON object")
    named = options.get("evaluations_semantic", Semantic.ALL.value)
    if not isinstance(named, str) or named not in set(Semantic):
        known = ", ".join(Semantic)
        raise Refused(Kind.MALFORMED, f"`options.evaluations_semantic` is one of {known}")
    return Semantic(named)


def _item(defaults: JsonObject, item: JsonValue) -> Evaluation | Refused:
    try:
        return parse_evaluation(_merged(defaults, item))
    except Refused as refused:
        return refused


def _merged(defaults: JsonObject, item: JsonValue) -> JsonObject:
    if not isinstance(item, Mapping):
        raise Refused(Kind.MALFORMED, "an item of `evaluations` must be a JSON object")
    merged: dict[str, JsonValue] = {}
    for name in (*_REQUIRED, "context"):
        if name in item:
            merged[name] = _completed(name, item[name], defaults.get(name))
        elif name in defaults:
            merged[name] = defaults[name]
    return merged


def _completed(name: str, own: JsonValue, default: JsonValue) -> JsonValue:
    if not isinstance(own, Mapping) or not isinstance(default, Mapping):
        return own
    missing = {part: default[part] for part in _REQUIRED.get(name, ()) if part in default}
    return {**missing, **own}
