"""The messages a gateway makes itself, and the seals on what it hands out."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import (
    CallToolResult,
    ElicitationRequiredErrorData,
    InputRequiredResult,
    methods,
    version,
)
from mcp_types import jsonrpc as sdk

from actfor.errors import Kind, Refused
from actfor.wire import mcp
from actfor.wire.canonical import JsonObject
from actfor.wire.mcp import Question, RequestState, Session

NOW = datetime(2026, 11, 24, 4, 5, 6, tzinfo=UTC)
KEY = bytes(range(32))
QUESTION = Question("apr_1", "https://iam.example.com/approvals/apr_1", "pay", NOW)
STATE = RequestState("apr_1", "sha-256:p", "sha-256:c", int(NOW.timestamp()) + 600)
TOOL: JsonObject = {
    "name": "pay",
    "title": "Pay",
    "description": "Pays.",
    "inputSchema": {"type": "object", "properties": {"amount": {"type": "string"}}},
    "outputSchema": {"type": "object"},
    "annotations": {"destructiveHint": True},
}


def test_versions_and_codes_are_those_of_the_official_sdk() -> None:
    assert mcp.HANDSHAKE_VERSIONS == version.HANDSHAKE_PROTOCOL_VERSIONS
    assert mcp.MODERN_VERSIONS == version.MODERN_PROTOCOL_VERSIONS
    assert (mcp.PARSE_ERROR, mcp.INVALID_REQUEST, mcp.METHOD_NOT_FOUND) == (
        sdk.PARSE_ERROR,
        sdk.INVALID_REQUEST,
        sdk.METHOD_NOT_FOUND,
    )
    assert (mcp.INVALID_PARAMS, mcp.INTERNAL_ERROR, mcp.HEADER_MISMATCH) == (
        sdk.INVALID_PARAMS,
        sdk.INTERNAL_ERROR,
        sdk.HEADER_MISMATCH,
    )
    assert mcp.UNSUPPORTED_VERSION == sdk.UNSUPPORTED_PROTOCOL_VERSION
    assert mcp.URL_ELICITATION_REQUIRED == sdk.URL_ELICITATION_REQUIRED


def test_input_required_is_what_2026_07_28_says_byte_for_byte() -> None:
    body = mcp.input_required(QUESTION, "v1.x.y")
    assert body == {
        "resultType": "input_required",
        "inputRequests": {
            "approval": {
                "method": "elicitation/create",
                "params": {
                    "mode": "url",
                    "message": "`pay` needs a person's approval. "
                    "Open the page, check the exact call, decide.",
                    "url": "https://iam.example.com/approvals/apr_1",
                },
            }
        },
        "requestState": "v1.x.y",
    }
    parsed = methods.parse_server_result("tools/call", "2026-07-28", dict(body))
    assert isinstance(parsed, InputRequiredResult)


def test_the_2025_error_carries_the_elicitation_with_its_id() -> None:
    data = mcp.url_elicitation_required(QUESTION)
    parsed = ElicitationRequiredErrorData.model_validate(data)
    assert parsed.elicitations[0].elicitation_id == "apr_1"
    assert parsed.elicitations[0].url == QUESTION.url


@pytest.mark.parametrize("modern", [True, False])
def test_a_client_that_can_show_nothing_is_told_in_words(*, modern: bool) -> None:
    body = mcp.pending_result(QUESTION, modern=modern)
    parsed = methods.parse_server_result(
        "tools/call", "2026-07-28" if modern else "2025-11-25", dict(body)
    )
    assert isinstance(parsed, CallToolResult)
    assert parsed.is_error
    text = parsed.content[0]
    assert text.type == "text"
    assert "Approval pending" in text.text
    assert QUESTION.url in text.text
    assert "retry the same call" in text.text
    assert "2026-11-24T04:05:06Z" in text.text


def test_an_error_without_an_id_says_null() -> None:
    assert mcp.error(None, mcp.PARSE_ERROR, "parse error") == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32700, "message": "parse error"},
    }


def test_one_changed_byte_of_a_definition_is_another_tool() -> None:
    digest = mcp.tool_digest(TOOL)
    text = json.dumps(TOOL)
    for position in range(len(text)):
        if text[position].isalpha():
            changed = (
                json.loads(text[:position] + "z" + text[position + 1 :])
                if (_is_json(text[:position] + "z" + text[position + 1 :]))
                else None
            )
            if changed is not None and changed != TOOL:
                assert mcp.tool_digest(changed) != digest


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_meta_is_neither_digested_nor_shown() -> None:
    noisy = {**TOOL, "_meta": {"seen": 42}}
    assert mcp.tool_digest(noisy) == mcp.tool_digest(TOOL)
    assert "_meta" not in mcp.pinned_definition(noisy)


def test_the_order_of_members_does_not_matter() -> None:
    assert mcp.tool_digest(dict(reversed(list(TOOL.items())))) == mcp.tool_digest(TOOL)


def test_both_challenges_name_the_metadata_and_the_scope() -> None:
    dpop, bearer = mcp.challenges(
        resource_metadata="https://x/.well-known/oauth-protected-resource/mcp/crm",
        scope="mcp:crm",
        error="invalid_token",
        detail='the token has "expired"\r\nX-Evil: 1',
    )
    assert dpop.startswith('DPoP algs="ES256", resource_metadata="https://x/')
    assert bearer.startswith('Bearer resource_metadata="https://x/')
    for value in (dpop, bearer):
        assert 'scope="mcp:crm"' in value
        assert 'error="invalid_token"' in value
        assert "\r" not in value
        assert "\n" not in value
        assert "error_description=\"the token has 'expired'??X-Evil: 1\"" in value


def test_no_error_is_named_where_there_were_no_credentials() -> None:
    assert "error" not in mcp.challenges(resource_metadata="https://x", scope="mcp:crm")[1]


def test_a_request_state_comes_back_as_it_was() -> None:
    assert RequestState.open(STATE.seal(KEY), KEY, now=NOW) == STATE


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_of_a_request_state_passes(position: int, flip: int) -> None:
    token = STATE.seal(KEY).encode()
    index = position % len(token)
    changed = token[:index] + bytes([token[index] ^ flip]) + token[index + 1 :]
    with pytest.raises(Refused) as refused:
        RequestState.open(changed.decode("latin-1"), KEY, now=NOW)
    assert refused.value.kind is Kind.MALFORMED


@pytest.mark.parametrize(
    "token", ["", ".", "..", "v1..", "v2.a.b", "v1.a.b", "é.é.é", "v1." + "A" * 9000]
)
def test_what_we_did_not_seal_is_refused(token: str) -> None:
    with pytest.raises(Refused) as refused:
        RequestState.open(token, KEY, now=NOW)
    assert refused.value.kind is Kind.MALFORMED


def test_every_truncation_of_a_request_state_is_refused() -> None:
    token = STATE.seal(KEY)
    for length in range(len(token)):
        with pytest.raises(Refused):
            RequestState.open(token[:length], KEY, now=NOW)


def test_a_padded_or_differently_encoded_seal_is_refused() -> None:
    token = STATE.seal(KEY)
    for changed in (token + "=", token + "\n", " " + token, token.replace("v1.", "v1. ")):
        with pytest.raises(Refused):
            RequestState.open(changed, KEY, now=NOW)


def test_another_servers_key_opens_nothing() -> None:
    with pytest.raises(Refused):
        RequestState.open(STATE.seal(KEY), bytes(32), now=NOW)


def test_a_request_state_expires_by_the_second() -> None:
    late = NOW + timedelta(seconds=600)
    assert RequestState.open(STATE.seal(KEY), KEY, now=late - timedelta(seconds=1)) == STATE
    with pytest.raises(Refused) as refused:
        RequestState.open(STATE.seal(KEY), KEY, now=late)
    assert refused.value.kind is Kind.EXPIRED


SESSION = Session("s", "sha-256:p", "2025-11-25", can_open_url=True, expires_at=STATE.expires_at)


def test_a_session_comes_back_as_it_was_and_expires() -> None:
    assert Session.open(SESSION.seal(KEY), KEY, now=NOW) == SESSION
    with pytest.raises(Refused) as refused:
        Session.open(SESSION.seal(KEY), KEY, now=NOW + timedelta(seconds=600))
    assert refused.value.kind is Kind.NOT_FOUND


def test_a_session_id_is_no_request_state_and_the_other_way_round() -> None:
    with pytest.raises(Refused):
        RequestState.open(SESSION.seal(KEY), KEY, now=NOW)
    with pytest.raises(Refused):
        Session.open(STATE.seal(KEY), KEY, now=NOW)


def test_a_session_id_is_visible_ascii() -> None:
    assert all("!" <= char <= "~" for char in SESSION.seal(KEY))
