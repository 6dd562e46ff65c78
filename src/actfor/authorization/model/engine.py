"""The one place that asks Cedar.

cedarpy's public call serialises and re-reads JSON in Python around its compiled function; on this
path that is a quarter of the time, so the compiled function is called directly where it has the
shape we know, and the public one otherwise. A test holds both to the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import cedarpy
import orjson

from actfor.authorization.model.facts import Fact, Request

Answer: TypeAlias = tuple[bool, tuple[str, ...], tuple[str, ...]]
"""Allowed, the @ids of the determining policies, and the errors. Never allowed with errors."""

_NOTHING = cedarpy.Entities.from_json_str("[]")


def ask(
    policies: cedarpy.PolicySet,
    request: Request,
    context: Mapping[str, Fact],
    *,
    hierarchy: bool,
    native: bool = True,
) -> Answer:
    """One question to Cedar; allowed only if Cedar says Allow and reports no error.

    ``context`` replaces the request's. Does not check it against the schema. Policies without
    an @id are not named.
    """
    try:
        question = {
            # As dicts: ids are data here, however they are spelt; Cedar parses no text.
            "principal": {"type": "Agent", "id": request.subject},
            "action": {"type": "Action", "id": request.action},
            "resource": {"type": "Tool", "id": request.resource},
            "context": orjson.dumps(context).decode(),
        }
        entities = _tool_in_server(request.resource) if hierarchy else _NOTHING
        answer = (_native if native and _native else _public)(question, policies, entities)
    except (ValueError, TypeError) as cause:  # ids or facts that no Cedar value can hold
        return False, (), (f"the request cannot be expressed in cedar: {type(cause).__name__}",)
    diagnostics = answer["diagnostics"]
    errors = tuple(map(str, diagnostics["errors"]))
    decided = answer["decision"]
    if decided not in {"Allow", "Deny"} and not errors:
        errors = (f"cedar gave no decision: `{decided}`",)
    names = tuple(diagnostics["id_annotations_by_reason"].values())
    return decided == "Allow" and not errors, names, errors


def _public(question: Mapping[str, Any], policies: Any, entities: cedarpy.Entities) -> Any:
    answer = cedarpy.is_authorized(dict(question), policies, entities)
    return {
        "decision": answer.decision.value,
        "diagnostics": {
            "id_annotations_by_reason": answer.diagnostics.id_annotations_by_reason,
            "errors": answer.diagnostics.errors,
        },
    }


def _find_native() -> Callable[..., Any] | None:
    call = getattr(getattr(cedarpy, "_internal", None), "is_authorized", None)
    if call is None or not hasattr(_NOTHING, "_inner"):
        return None

    def native(question: Mapping[str, Any], policies: Any, entities: Any) -> Any:
        return orjson.loads(call(question, policies, entities._inner))  # noqa: SLF001 - see module

    return native


_native = _find_native()


@lru_cache(maxsize=4096)
def _tool_in_server(resource: str) -> cedarpy.Entities:
    """The two entities of one tool: it, and its server as its parent. A pure function, kept."""
    server, _, tool = resource.partition("/")
    parents = [{"type": "Server", "id": server}] if tool else []
    entity = {"uid": {"type": "Tool", "id": resource}, "attrs": {}, "parents": parents}
    return cedarpy.Entities.from_json_str(orjson.dumps([entity]).decode())
