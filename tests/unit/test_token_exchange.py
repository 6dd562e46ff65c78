"""The exchange request: one legal shape, and nothing that resembles it."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfor.errors import Kind, Refused
from actfor.wire.token_exchange import (
    ACCESS_TOKEN,
    GRANT_TYPE,
    JWT,
    ExchangeRequest,
    TokenResponse,
    parameters,
    parse,
)

RESOURCE = "https://gw.example.com/mcp/crm"
LEGAL = [
    ("grant_type", GRANT_TYPE),
    ("subject_token", "s.s.s"),
    ("subject_token_type", ACCESS_TOKEN),
    ("actor_token", "a.a.a"),
    ("actor_token_type", JWT),
    ("resource", RESOURCE),
]


def with_(**changes: str | None) -> list[tuple[str, str]]:
    whole: dict[str, str | None] = {**dict(LEGAL), **changes}
    return [(name, value) for name, value in whole.items() if value is not None]


def code_of(pairs: list[tuple[str, str]]) -> str | None:
    with pytest.raises(Refused) as caught:
        parse(pairs)
    assert caught.value.kind is Kind.MALFORMED
    return caught.value.code


def test_the_canonical_request_is_read() -> None:
    assert parse(LEGAL) == ExchangeRequest("s.s.s", "a.a.a", RESOURCE)
    asked = parse(
        with_(
            scope="crm:read crm:write",
            expires_in="60",
            client_id="spiffe://td/agent/a",
            requested_token_type=ACCESS_TOKEN,
            authorization_details='[{"type":"x"}]',
            audience=RESOURCE,
        )
    )
    assert asked.scope == frozenset({"crm:read", "crm:write"})
    assert (asked.expires_in, asked.client_id) == (60, "spiffe://td/agent/a")
    assert asked.authorization_details == [{"type": "x"}]


def test_tokens_do_not_show_in_a_traceback() -> None:
    assert "s.s.s" not in repr(parse(LEGAL))
    assert "secret" not in repr(TokenResponse("secret", 1, ""))


def test_only_the_exact_multiset_of_parameters_succeeds() -> None:
    """Each of the six, 0, 1 or 2 times: 729 shapes, one of which is legal."""
    succeeded = []
    for counts in product((0, 1, 2), repeat=len(LEGAL)):
        pairs = [pair for pair, times in zip(LEGAL, counts, strict=True) for _ in range(times)]
        try:
            parse(pairs)
        except Refused:
            continue
        succeeded.append(counts)
    assert succeeded == [(1,) * len(LEGAL)]


@pytest.mark.parametrize("name", [name for name, _ in LEGAL])
@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_an_empty_parameter_is_not_an_absent_one(name: str, blank: str) -> None:
    assert code_of([(n, blank if n == name else v) for n, v in LEGAL]) == "invalid_request"
    assert code_of([*LEGAL, ("scope", blank)]) == "invalid_request"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": GRANT_TYPE.upper()}, "unsupported_grant_type"),
        ({"actor_token": None}, "invalid_request"),
        ({"actor_token_type": None}, "invalid_request"),
        ({"actor_token": None, "actor_token_type": None}, "invalid_request"),
        ({"subject_token": None}, "invalid_request"),
        ({"subject_token_type": None}, "invalid_request"),
        ({"subject_token_type": JWT}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        ({"subject_token_type": ACCESS_TOKEN.upper()}, "invalid_request"),
        ({"actor_token_type": ACCESS_TOKEN}, "invalid_request"),
        ({"actor_token": "s.s.s"}, "invalid_request"),
        ({"requested_token_type": JWT}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:id-jag"}, "invalid_request"),
        ({"resource": None}, "invalid_target"),
        ({"audience": "https://other"}, "invalid_target"),
        ({"scope": "a  b"}, "invalid_scope"),
        ({"scope": " a"}, "invalid_scope"),
        ({"scope": 'a"b'}, "invalid_scope"),
        ({"scope": "a\nb"}, "invalid_scope"),
        ({"authorization_details": "{"}, "invalid_authorization_details"),
        ({"authorization_details": "null"}, "invalid_authorization_details"),
        ({"authorization_details": '{"a":1,"a":2}'}, "invalid_authorization_details"),
        ({"authorization_details": "\ud800"}, "invalid_authorization_details"),
        ({"expires_in": "0"}, "invalid_request"),
        ({"expires_in": "1.5"}, "invalid_request"),
        ({"expires_in": "٣"}, "invalid_request"),
        ({"expires_in": "9999999"}, "invalid_request"),
        ({"client_secret": "x"}, "invalid_request"),
        ({"client_assertion": "x"}, "invalid_request"),
        ({"mission_intent": "{}"}, "invalid_request"),
        ({"completion_mode": "deferred"}, "invalid_request"),
        ({"subject_token": "x" * 20_000}, "invalid_request"),
    ],
)
def test_another_shape_is_refused_with_its_own_error(changes: dict[str, Any], code: str) -> None:
    assert code_of(with_(**changes)) == code


def test_a_second_resource_is_no_second_chance() -> None:
    assert code_of([*LEGAL, ("resource", "https://other")]) == "invalid_target"
    assert code_of([*LEGAL, ("audience", RESOURCE), ("audience", RESOURCE)]) == "invalid_target"


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=6))
def test_junk_is_refused_and_never_crashes(junk: list[tuple[str, str]]) -> None:
    with pytest.raises(Refused):
        parse(junk)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=4)), max_size=5))
def test_parameters_are_read_once_each_or_not_at_all(pairs: list[tuple[str, str]]) -> None:
    names = [name for name, _ in pairs]
    legal = len(set(names)) == len(names) and all(value.strip() for _, value in pairs)
    if legal:
        assert parameters(pairs) == dict(pairs)
    else:
        with pytest.raises(Refused):
            parameters(pairs)


def test_the_answer_has_the_members_of_its_standards() -> None:
    answer = TokenResponse("t", 300, "crm:read", [{"type": "x"}])
    assert answer.to_json() == {
        "access_token": "t",
        "token_type": "DPoP",
        "expires_in": 300,
        "scope": "crm:read",
        "issued_token_type": ACCESS_TOKEN,
        "authorization_details": [{"type": "x"}],
    }
    assert "issued_token_type" not in TokenResponse("t", 1, "", issued_token_type=None).to_json()
