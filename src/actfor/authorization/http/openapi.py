"""AuthZEN's endpoints for the OpenAPI document: bare ASGI, so FastAPI does not know them."""

from __future__ import annotations

from typing import Any, Final

from actfor.wire import authzen, authzen_access, authzen_batch, authzen_search
from actfor.wire.authzen_search import Sought

_OBJECT: Final = {"type": "object"}
_ENTITY: Final = {
    "type": "object",
    "required": ["type", "id"],
    "properties": {
        "type": {"type": "string", "maxLength": authzen.MAX_NAME_BYTES},
        "id": {"type": "string", "maxLength": authzen.MAX_ID_BYTES},
        "properties": _OBJECT,
    },
}
_SOUGHT: Final = {**_ENTITY, "required": ["type"]}
_ACTION: Final = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "maxLength": authzen.MAX_NAME_BYTES},
        "properties": _OBJECT,
    },
}
_TEXT: Final = {"type": "string", "maxLength": 512}
_FLAG: Final = {"type": "boolean", "default": False}
_VALUE: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["argument", "label"],
    "properties": {
        "argument": {"type": "string", "description": "RFC 6901 pointer into `arguments`"},
        "label": {"type": "string", "enum": ["trusted", "attested", "unknown", "untrusted"]},
        "source": _TEXT,
        "field": _TEXT,
        "author": _TEXT,
        "secret": _FLAG,
    },
}
_PROVENANCE: Final = {
    "type": "object",
    "description": "Where the arguments come from. What loosens counts from whom is believed only.",
    "additionalProperties": False,
    "properties": {
        "values": {"type": "array", "maxItems": 64, "items": _VALUE},
        "complete": _FLAG,
        "read_untrusted": _FLAG,
        "read_secret": _FLAG,
    },
}
_CONTEXT: Final = {
    "type": "object",
    "properties": {
        "mandate": {"type": "string", "description": "the mandate that the call is under"},
        "arguments": {"type": "object", "description": "of the tool, under a mandate"},
        "provenance": _PROVENANCE,
        "access_token": {
            "type": "string",
            "description": "the agent's access token; shows through whom it holds the mandate",
        },
        "approval": {"type": "object", "properties": {"id": {"type": "string"}}},
        "business_justification": {
            "type": "string",
            "maxLength": authzen_access.MAX_TEXT,
            "description": "of an access request: shown to who answers, as unchecked",
        },
        "amount_minor": {"type": "integer"},
        "amount_currency": {"type": "string"},
    },
}
_PARTS: Final = {"subject": _ENTITY, "action": _ACTION, "resource": _ENTITY, "context": _CONTEXT}
_ANSWER: Final = {
    "type": "object",
    "required": ["decision"],
    "properties": {"decision": {"type": "boolean"}, "context": _OBJECT},
}
_PAGE: Final = {
    "type": "object",
    "properties": {
        "token": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1, "maximum": authzen_search.MAX_LIMIT},
    },
}


def authzen_paths() -> dict[str, Any]:
    """The `paths` of every AuthZEN endpoint, to be joined with the management API's."""
    question = _body({**_PARTS}, ["subject", "action", "resource"])
    items = {"type": "array", "maxItems": authzen_batch.MAX_ITEMS, "items": _body(_PARTS, [])}
    semantic = {"type": "string", "enum": list(authzen_batch.Semantic)}
    options = {"type": "object", "properties": {"evaluations_semantic": semantic}}
    many = _body({**_PARTS, "evaluations": items, "options": options}, [])
    answers = _body({"evaluations": {"type": "array", "items": _ANSWER}}, ["evaluations"])
    text = {"type": "string"}
    denial = _body(
        dict.fromkeys(("evaluation_id", "binding_token", "expires_at", "template"), text), []
    )
    told = {"reason": {**text, "maxLength": 64}, "comment": {**text, "maxLength": 200}}
    named = [{"name": "task", "in": "path", "required": True, "schema": text}]
    wanted = _body({**_PARTS, "denial": denial}, ["subject", "action", "resource", "denial"])
    task = _body({"task": _OBJECT, "result": _OBJECT}, ["task"])
    return {
        authzen.EVALUATION_PATH: _post("Decide one question", question, _ANSWER),
        authzen_batch.EVALUATIONS_PATH: _post(
            "Decide many questions", many, {"oneOf": [answers, _ANSWER]}
        ),
        **{
            f"{authzen_search.SEARCH_PATH}/{sought}": _post(
                f"Search {sought}s", _search(sought), _body({"results": {"type": "array"}}, [])
            )
            for sought in Sought
        },
        authzen_access.PATH: _post("Ask a person to permit what was denied", wanted, task),
        authzen_access.PATH + "/{task}": {
            "get": _operation("What became of it", task) | {"parameters": named}
        },
        authzen_access.CANCEL_PATH: {
            "post": _post("Take it back, while nobody has answered", _body(told, []), task)["post"]
            | {"parameters": named}
        },
        authzen.METADATA_PATH: {"get": _operation("What this decision point offers", _OBJECT)},
    }


def _search(sought: Sought) -> dict[str, Any]:
    parts = {**_PARTS, "page": _PAGE}
    required = ["subject", "action", "resource"]
    if sought is Sought.ACTION:
        del parts["action"]
        required.remove("action")
    else:
        parts[sought.value] = _SOUGHT
    return _body(parts, required)


def _body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    # Members nobody knows are ignored, as AuthZEN asks.
    return {"type": "object", "properties": properties, "required": required}


def _post(summary: str, asked: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": asked}}
    return {
        "post": _operation(summary, told) | {"requestBody": {"required": True, "content": content}}
    }


def _operation(summary: str, told: dict[str, Any]) -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    refused = {"description": "Why the message is refused", "content": text}
    answered = {"description": "The answer", "content": {"application/json": {"schema": told}}}
    return {
        "tags": ["authzen"],
        "summary": summary,
        "responses": {"200": answered, "400": refused, "401": refused, "403": refused},
    }
