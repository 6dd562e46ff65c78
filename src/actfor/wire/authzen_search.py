"""AuthZEN Authorization API 1.0 §8: which subjects, resources or actions would be permitted.

What is sought is named by its type alone; an id that comes with it is ignored (§8.2). Results come
in pages. A ``page.token`` is only good with the parameters it was given for; their fingerprint is
what must be the same on each page (§8.3); ``page.limit`` may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire.authzen import Action, Entity, Evaluation, parse_evaluation
from actfor.wire.canonical import JsonObject, JsonValue, digest

SEARCH_PATH: Final = "/access/v1/search"
MAX_LIMIT: Final = 500
_ANY: Final = "*"
"""Stands for what is sought while the rest of the request is read; nobody sees it."""


class Sought(StrEnum):
    """The three searches; also the last segment of their paths."""

    SUBJECT = "subject"
    RESOURCE = "resource"
    ACTION = "action"


@dataclass(frozen=True, slots=True)
class Query:
    """One search. ``evaluation`` is the question asked of each candidate, `*` in its place."""

    sought: Sought
    evaluation: Evaluation
    fingerprint: str
    limit: int | None = None
    token: str | None = None

    def about(self, candidate: str) -> Evaluation:
        """The question whether this candidate would be permitted."""
        asked = self.evaluation
        subject, action, resource = asked.subject, asked.action, asked.resource
        if self.sought is Sought.SUBJECT:
            subject = Entity(subject.type, candidate, subject.properties)
        elif self.sought is Sought.RESOURCE:
            resource = Entity(resource.type, candidate, resource.properties)
        else:
            action = Action(candidate)
        return Evaluation(subject, action, resource, asked.context)

    @property
    def type(self) -> str:
        """The type of the entities that are sought; of an action search, none."""
        if self.sought is Sought.SUBJECT:
            return self.evaluation.subject.type
        return self.evaluation.resource.type if self.sought is Sought.RESOURCE else ""


@dataclass(frozen=True, slots=True)
class Found:
    """One page: names in order, and the token of the next; "" at the end."""

    names: tuple[str, ...]
    next_token: str = ""
    total: int | None = field(default=None)


def parse_search(sought: Sought, document: JsonValue) -> Query:
    """Read a request from parsed JSON.

    Raises:
        Refused: MALFORMED, naming the member that is missing or wrong.
    """
    if not isinstance(document, Mapping):
        raise Refused(Kind.MALFORMED, "the request must be a JSON object")
    limit, token = _page(document.get("page", {}))
    filled: dict[str, JsonValue] = {
        name: document[name]
        for name in ("subject", "action", "resource", "context")
        if name in document
    }
    if sought is Sought.ACTION:
        filled["action"] = {"name": _ANY}  # §8.6: an action search names none
    else:
        entity = filled.get(sought.value)
        if isinstance(entity, Mapping):
            filled[sought.value] = {**entity, "id": _ANY}
    evaluation = parse_evaluation(filled)
    return Query(sought, evaluation, digest({"search": sought.value, **filled}), limit, token)


def search_response(query: Query, found: Found) -> JsonObject:
    """The answer (§8.5): the page, and where the next begins."""
    results: list[JsonValue] = [
        {"name": name} if query.sought is Sought.ACTION else {"type": query.type, "id": name}
        for name in found.names
    ]
    page: dict[str, JsonValue] = {"next_token": found.next_token, "count": len(results)}
    if found.total is not None:
        page["total"] = found.total
    return {"results": results, "page": page}


def endpoints(base: str, sought: Sequence[Sought] = tuple(Sought)) -> dict[str, JsonValue]:
    """The metadata's members (§9.1.1)."""
    return {f"search_{each.value}_endpoint": f"{base}{SEARCH_PATH}/{each.value}" for each in sought}


def _page(page: JsonValue) -> tuple[int | None, str | None]:
    if not isinstance(page, Mapping):
        raise Refused(Kind.MALFORMED, "`page` must be a JSON object")
    limit, token = page.get("limit"), page.get("token")
    if limit is not None and (type(limit) is not int or not 1 <= limit <= 10**9):
        raise Refused(Kind.MALFORMED, "`page.limit` must be a positive integer")
    if token is not None and not isinstance(token, str):
        raise Refused(Kind.MALFORMED, "`page.token` must be a string")
    # An empty token is the end of the results (§8.3), so asking with it is asking anew.
    return (None if limit is None else min(limit, MAX_LIMIT)), token or None
