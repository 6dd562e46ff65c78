"""AuthZEN Profile for Obligations, Draft 1 (2026-07-03): what an enforcement point must also do.

Obligations come with a permit or a denial, in ``context.obligations``. Whoever cannot do one of
them must deny, and do the others all the same (§ Non-Compliance). The metadata's and the request's
member is ``obligations_supported``; earlier texts called it ``supported_obligations``, which we say
and hear as well.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue

TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "step-up": ("acr_value",),
    "notification": ("to", "body"),
    "session_termination": ("subject",),
    "custom": (),
}
"""The types there are, and the members that each must have (texts)."""
SUPPORTED: Final = ("obligations_supported", "supported_obligations")
MAX_OBLIGATIONS: Final = 8
Executor = Callable[[JsonObject], Awaitable[bool]]
"""Does what an obligation says; False, or an exception, if it could not."""


def metadata() -> dict[str, JsonValue]:
    """The metadata's member, by both names."""
    return {name: list(TYPES) for name in SUPPORTED}


def parse_obligations(text: str) -> tuple[JsonObject, ...]:
    """A policy's annotation ``@obligations('[{"type": "notification", "to": …, "body": …}]')``.

    Raises:
        Refused: MALFORMED, naming what is wrong. Ids are given when they are sent.
    """
    try:
        listed = json.loads(text)
    except ValueError as cause:
        raise Refused(Kind.MALFORMED, f"@obligations is not JSON: {cause}") from cause
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_OBLIGATIONS:
        raise Refused(Kind.MALFORMED, f"@obligations is an array of 1 to {MAX_OBLIGATIONS}")
    for each in listed:
        if (why := fault(each)) is not None:
            raise Refused(Kind.MALFORMED, f"@obligations: {why}")
    return tuple(listed)


def fault(obligation: JsonValue) -> str | None:
    """Why this is no obligation of a known type; None if it is."""
    if not isinstance(obligation, Mapping):
        return "an obligation is an object"
    kind = obligation.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        return f"`type` is one of {', '.join(TYPES)}"
    for name in TYPES[kind]:
        if not isinstance(obligation.get(name), str) or not obligation[name]:
            return f"a `{kind}` has a `{name}`"
    return None


def supported_by(context: JsonObject) -> frozenset[str] | None:
    """The types that a request says its sender can do; None if it says nothing.

    Values that are not ours are ignored (§ Negotiation).
    """
    for name in SUPPORTED:
        if isinstance(listed := context.get(name), list):
            return frozenset(kind for kind in listed if isinstance(kind, str) and kind in TYPES)
    return None


def missing(obligations: Sequence[JsonObject], supported: Collection[str] | None) -> list[str]:
    """The types among these that a sender which says what it can do has not named."""
    return (
        [] if supported is None else sorted({str(o["type"]) for o in obligations} - set(supported))
    )


def with_obligations(answer: JsonObject, obligations: Sequence[JsonObject]) -> JsonObject:
    """The answer with these obligations, numbered."""
    if not obligations:
        return answer
    context = answer.get("context", {})
    listed: list[JsonValue] = [
        {**each, "id": f"obl-{number}"} for number, each in enumerate(obligations, 1)
    ]
    told = {**context} if isinstance(context, Mapping) else {}
    return {**answer, "context": {**told, "obligations": listed}}


async def enforce(answer: JsonObject, executors: Mapping[str, Executor]) -> bool:
    """Do every obligation that can be done; whether the answer is a permit then.

    Unknown, malformed, failed: each makes it a denial, and none keeps the others from being done.
    """
    context = answer.get("context", {})
    listed = context.get("obligations", []) if isinstance(context, Mapping) else []
    permitted = answer.get("decision") is True and isinstance(listed, list)
    for each in listed if isinstance(listed, list) else ():
        permitted = await _done(each, executors) and permitted
    return permitted


async def _done(obligation: JsonValue, executors: Mapping[str, Executor]) -> bool:
    if not isinstance(obligation, Mapping) or fault(obligation) is not None:
        return False
    executor = executors.get(str(obligation["type"]))
    if executor is None:
        return False
    try:
        return await executor(obligation) is True
    except Exception:  # noqa: BLE001 - somebody else's code; the draft: a failed execution is a denial
        return False
