"""Every refusal has a wire form in every protocol."""

import pytest

from actfor.errors import Kind, Refused
from actfor.wire import problem


@pytest.mark.parametrize(
    "table", [problem.OAUTH, problem.BEARER, problem.HTTP, problem.JSON_RPC, problem.EXIT]
)
def test_every_table_is_total(table: dict[Kind, object]) -> None:
    assert set(table) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_no_refusal_reads_as_success(kind: Kind) -> None:
    refused = Refused(kind, "because")
    assert problem.oauth_error(refused)[0] >= 400
    assert problem.bearer_error(refused)[0] >= 400
    status, body = problem.problem(refused, instance="/v1/x")
    assert status == body["status"]
    assert status >= 400
    assert body["type"] == f"{problem.PROBLEM_TYPE}{kind.value}"
    assert body["detail"] == "because"
    code = problem.json_rpc_error(refused)["code"]
    assert isinstance(code, int)
    assert -32768 <= code < 0
    assert 1 <= problem.exit_code(kind) <= 9


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (Refused(Kind.DENIED, "x", code="invalid_scope"), (400, "invalid_scope")),
        (Refused(Kind.DENIED, "x", code="actor_unauthorized"), (400, "actor_unauthorized")),
        (Refused(Kind.UNAUTHENTICATED, "x", code="invalid_client"), (401, "invalid_client")),
        (Refused(Kind.REPLAYED, "x", code="invalid_dpop_proof"), (400, "invalid_dpop_proof")),
        (Refused(Kind.MALFORMED, "x"), (400, "invalid_request")),
        (Refused(Kind.STEP_UP_REQUIRED, "x"), (400, "authorization_pending")),
        (Refused(Kind.BUSY, "x"), (503, "temporarily_unavailable")),
    ],
)
def test_oauth_errors(refused: Refused, expected: tuple[int, str]) -> None:
    status, body = problem.oauth_error(refused)
    assert (status, body["error"]) == expected


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (Refused(Kind.UNAUTHENTICATED, "x"), (401, "invalid_token")),
        (Refused(Kind.EXPIRED, "x", code="invalid_token"), (401, "invalid_token")),
        (Refused(Kind.REPLAYED, "x", code="invalid_dpop_proof"), (401, "invalid_dpop_proof")),
        (Refused(Kind.UNAUTHENTICATED, "x", code="use_dpop_nonce"), (401, "use_dpop_nonce")),
        (Refused(Kind.DENIED, "x"), (403, "insufficient_scope")),
        (Refused(Kind.DENIED, "x", code="actor_unauthorized"), (403, "actor_unauthorized")),
    ],
)
def test_resource_errors(refused: Refused, expected: tuple[int, str]) -> None:
    assert problem.bearer_error(refused) == expected


def test_a_description_stays_within_its_alphabet() -> None:
    shown = problem.description('a "b" \\ \n\r\x00 é \u202e')
    assert shown == "a 'b' ? ??? ? ?"
    header_safe = problem.oauth_error(Refused(Kind.DENIED, "x\r\nset-cookie: y"))[1]
    assert "\n" not in header_safe["error_description"]
