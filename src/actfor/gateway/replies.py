"""What the gateway says to clients, in the words of their era."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import actfor
from actfor.gateway.calls import Attempt, Pending
from actfor.gateway.transport import Message, Reply, Stop, stop
from actfor.wire import mcp
from actfor.wire.canonical import JsonObject, JsonValue

if TYPE_CHECKING:
    from mcp.shared.inbound import InboundLadderRejection

_LIST_TTL_MS: Final = 5_000
INSTRUCTIONS: Final = (
    "Calls are governed: each is checked against a person's mandate, and some wait for a person's "
    "approval. When a call is pending, have the page opened, then retry the same call."
)


def opens_urls(capabilities: object) -> bool:
    """Whether the client declared URL-mode elicitation; an empty ``elicitation`` is form only."""
    elicitation = capabilities.get("elicitation") if isinstance(capabilities, dict) else None
    return isinstance(elicitation, dict) and isinstance(elicitation.get("url"), dict)


def server_info(server: str) -> JsonObject:
    """How we name ourselves to clients."""
    return {"name": f"actfor/{server}", "version": actfor.__version__}


def no_server() -> Stop:
    """Nothing is governed under that name."""
    return stop(404, mcp.INVALID_REQUEST, "there is no such server")


def discovered(message: Message, server: str) -> Reply:
    """The answer to ``server/discover`` (2026-07-28)."""
    body: JsonObject = {
        "resultType": "complete",
        "supportedVersions": [*reversed(mcp.MODERN_VERSIONS), *reversed(mcp.HANDSHAKE_VERSIONS)],
        "capabilities": {"tools": {}},
        "instructions": INSTRUCTIONS,
        "ttlMs": _LIST_TTL_MS,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": server_info(server)},
    }
    return Reply(200, mcp.result(message.id, body))


def listed(message: Message, tools: Sequence[JsonObject], *, modern: bool) -> Reply:
    """The answer to ``tools/list``: one page, for this caller alone."""
    if message.params.get("cursor") is not None:
        return failure(message.id, mcp.INVALID_PARAMS, "there is only one page", modern=modern)
    body: dict[str, JsonValue] = {"tools": list(tools)}
    if modern:
        # The list depends on the mandate presented, so no cache may share it (T-MCP-5).
        body |= {"resultType": "complete", "ttlMs": _LIST_TTL_MS, "cacheScope": "private"}
    return Reply(200, mcp.result(message.id, body))


def pending(request_id: mcp.RequestId, attempt: Attempt, pending: Pending) -> Reply:
    """A person must decide: told in the way the client can take it."""
    client, question = attempt.client, pending.question
    if not client.can_open_url:
        body = mcp.pending_result(question, modern=client.modern)
        return Reply(200, mcp.result(request_id, body))
    if client.modern:
        body = mcp.input_required(question, pending.request_state)
        return Reply(200, mcp.result(request_id, body))
    data = mcp.url_elicitation_required(question)
    return Reply(200, mcp.error(request_id, mcp.URL_ELICITATION_REQUIRED, question.message, data))


def shaped(result: JsonObject, *, modern: bool) -> JsonObject:
    """The upstream's result with the one member in which the eras differ."""
    if modern:
        return result if "resultType" in result else {"resultType": "complete", **result}
    if "resultType" not in result:
        return result
    return {name: member for name, member in result.items() if name != "resultType"}


def failure(request_id: mcp.RequestId, code: int, message: str, *, modern: bool) -> Reply:
    """A JSON-RPC error with the status that the era gives it."""
    from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS

    status = ERROR_CODE_HTTP_STATUS.get(code, 200) if modern else 200
    return Reply(status, mcp.error(request_id, code, message))


def rejected(request_id: mcp.RequestId, verdict: InboundLadderRejection) -> Reply:
    """What the SDK's validation ladder found wrong."""
    from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS

    status = ERROR_CODE_HTTP_STATUS.get(verdict.code, 400)
    return Reply(status, mcp.error(request_id, verdict.code, verdict.message, verdict.data))


def unsupported(request_id: mcp.RequestId, version: str | None) -> Reply:
    """A version we do not speak, and those we do."""
    data: JsonObject = {
        "supported": [*mcp.HANDSHAKE_VERSIONS, *mcp.MODERN_VERSIONS],
        "requested": version,
    }
    body = mcp.error(request_id, mcp.UNSUPPORTED_VERSION, "Unsupported protocol version", data)
    return Reply(400, body)


def busy(request_id: mcp.RequestId) -> Reply:
    """Nothing could be written down, so nothing was done."""
    body = mcp.error(
        request_id, mcp.INTERNAL_ERROR, "the record could not be made durable; nothing was executed"
    )
    return Reply(503, body, (("retry-after", "1"),))
