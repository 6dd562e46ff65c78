"""The enforcement point of COAZ-MCP: every message is asked about before it takes effect.

Fails closed: a mapping error (-32602), a denial (-32001, or a tool result with ``isError``) and a
decision point that is silent or talks nonsense (-32603) all end the message. MCP 2026-07-28 lets
nobody read a meaning into -32001, so ``data`` says in words what happened.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from actfor.errors import Kind, Refused
from actfor.gateway.coaz.mapping import Envelope, map_message, passes
from actfor.wire import mcp
from actfor.wire.authzen_obligations import Executor, enforce
from actfor.wire.canonical import JsonObject, JsonValue

Ask = Callable[[Envelope, JsonObject], Awaitable[JsonValue]]
"""Send a request to the API named by the envelope; raise anything when there is no answer."""

DENIED_TYPE: Final = "urn:openid:authzen:coaz:error:denied"
logger = logging.getLogger(__name__)


class Pep:
    """``executors`` perform obligations by their type; one that is missing makes a permit a deny.

    ``denials_as_results``: a denied ``tools/call`` is a tool result with ``isError`` (the binding
    allows it) instead of a JSON-RPC error.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        executors: Mapping[str, Executor] | None = None,
        server_id: str | None = None,
        subject_claim: str = "sub",
        denials_as_results: bool = False,
    ) -> None:
        self._ask = ask
        self._executors = executors or {}
        self._server_id = server_id
        self._subject_claim = subject_claim
        self._denials_as_results = denials_as_results

    async def authorize(
        self, message: JsonObject, claims: JsonObject, input_schema: JsonObject | None = None
    ) -> JsonObject | None:
        """None if the message may go on; else the answer to give in its place.

        ``claims`` are those of a validated token; ``input_schema`` the called tool's, as pinned.
        """
        method, request_id = message.get("method"), _id(message)
        if not isinstance(method, str):
            return mcp.error(request_id, mcp.INVALID_REQUEST, "the message has no method")
        if passes(method):
            return None
        try:
            mapped = map_message(
                method,
                _params(message),
                claims,
                input_schema=input_schema,
                server_id=self._server_id,
                subject_claim=self._subject_claim,
            )
        except Refused as refused:
            if refused.kind is Kind.DENIED:
                return self._denied(method, request_id, refused.detail)
            return mcp.error(request_id, mcp.INVALID_PARAMS, refused.detail)
        for warning in mapped.warnings:
            logger.warning("%s", warning)
        try:
            answer = await self._ask(mapped.envelope, mapped.request)
            answers = _decisions(mapped.envelope, mapped.request, answer)
        except Exception:  # a process boundary: whatever went wrong, there is no decision
            logger.exception("the decision point gave no answer")
            text = "Authorization service unavailable"
            return mcp.error(request_id, mcp.INTERNAL_ERROR, text)
        permitted = [await enforce(answer, self._executors) for answer in answers]
        return None if all(permitted) else self._denied(method, request_id, "Access denied")

    def _denied(self, method: str, request_id: mcp.RequestId, text: str) -> JsonObject:
        if self._denials_as_results and method == "tools/call":
            said: JsonValue = [{"type": "text", "text": text}]
            return mcp.result(request_id, {"content": said, "isError": True})
        return mcp.error(request_id, mcp.DENIED, text, {"type": DENIED_TYPE, "detail": text})


def _decisions(envelope: Envelope, request: JsonObject, answer: JsonValue) -> list[JsonObject]:
    """The decisions of an answer; of a batch that ended early, those that were made.

    Raises:
        ValueError: it is no answer to the question.
    """
    if not isinstance(answer, Mapping):
        raise ValueError("the answer is not an object")  # noqa: TRY004 - a peer's message
    if envelope == "evaluation":
        return [_decision(answer)]
    asked, told = request["evaluations"], answer.get("evaluations")
    if not isinstance(told, list) or not isinstance(asked, list) or not told:
        raise ValueError("the answer has no `evaluations`")
    found = [_decision(each) for each in told]
    if len(found) != len(asked) and found[-1]["decision"] is True:
        raise ValueError("the answer does not decide every question")
    return found


def _decision(answer: JsonValue) -> JsonObject:
    if not isinstance(answer, Mapping) or not isinstance(answer.get("decision"), bool):
        raise ValueError("the answer has no `decision`")  # noqa: TRY004 - a peer's message
    return answer


def _params(message: JsonObject) -> JsonObject:
    params = message.get("params", {})
    if not isinstance(params, Mapping):
        raise Refused(Kind.MALFORMED, "COAZ mapping error: `params` is not an object")
    return params


def _id(message: JsonObject) -> mcp.RequestId:
    given = message.get("id")
    return given if isinstance(given, int | str) and not isinstance(given, bool) else None
