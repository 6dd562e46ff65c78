"""The enforcement point of COAZ-MCP: every message is asked about before it takes effect.

Fails closed: a mapping error (-32602), a denial (-32001, or a tool result with ``isError``) and a
decision point that is silent or talks nonsense (-32603) all end the message. MCP 2026-07-28 lets
nobody read a meaning into -32001, so ``data`` says in words what happened.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from actfor.errors import Kind, Refused
from actfor.gateway.coaz.mapping import Envelope, Mapped, declared, map_message, passes
from actfor.wire import mcp
from actfor.wire.authzen_obligations import Executor, enforce
from actfor.wire.canonical import JsonObject, JsonValue

Ask = Callable[[Envelope, JsonObject], Awaitable[JsonValue]]
"""Send a request to the API named by the envelope; raise anything when there is no answer."""

DENIED_TYPE: Final = "urn:openid:authzen:coaz:error:denied"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was asked about a message, and answered. ``refused`` is None if it may go on: MALFORMED
    for a mapping error, DENIED, BUSY where there is no decision.
    """

    mapped: Mapped | None
    answers: tuple[JsonObject, ...] = ()
    refused: Refused | None = None


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
        params = message.get("params", {})
        if not isinstance(params, Mapping):
            text = "COAZ mapping error: `params` is not an object"
            return mcp.error(request_id, mcp.INVALID_PARAMS, text)
        verdict = await self.judge(method, params, claims, mapping=declared(input_schema))
        for warning in verdict.mapped.warnings if verdict.mapped is not None else ():
            logger.warning("%s", warning)
        if (refused := verdict.refused) is None:
            return None
        if refused.kind is Kind.DENIED:
            return self._denied(method, request_id, refused.detail)
        code = mcp.INVALID_PARAMS if refused.kind is Kind.MALFORMED else mcp.INTERNAL_ERROR
        return mcp.error(request_id, code, refused.detail)

    async def judge(
        self, method: str, params: JsonObject, claims: JsonObject, *, mapping: JsonValue = None
    ) -> Verdict:
        """Ask about one message that does not pass through, by the mapping declared for its tool,
        or by the default one where ``mapping`` is None.
        """
        try:
            mapped = map_message(
                method,
                params,
                claims,
                mapping=mapping,
                server_id=self._server_id,
                subject_claim=self._subject_claim,
            )
        except Refused as refused:
            return Verdict(None, refused=refused)
        try:
            answer = await self._ask(mapped.envelope, mapped.request)
            answers = tuple(_decisions(mapped.envelope, mapped.request, answer))
        except Refused as refused:  # the decision point is here: it is no question that it knows
            said = Refused(refused.kind, f"COAZ mapping error: {refused.detail}")
            return Verdict(mapped, refused=said)
        except Exception:  # a process boundary: whatever went wrong, there is no decision
            logger.exception("the decision point gave no answer")
            return Verdict(mapped, refused=Refused(Kind.BUSY, "Authorization service unavailable"))
        permitted = [await enforce(each, self._executors) for each in answers]
        no = None if all(permitted) else Refused(Kind.DENIED, "Access denied")
        return Verdict(mapped, answers, no)

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


def _id(message: JsonObject) -> mcp.RequestId:
    given = message.get("id")
    return given if isinstance(given, int | str) and not isinstance(given, bool) else None
