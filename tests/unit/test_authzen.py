"""The AuthZEN messages: what is read, what is refused, what is said."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfor.errors import Kind, Refused
from actfor.wire import authzen
from actfor.wire.canonical import JsonValue

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "authzen.json").read_text())
ASKED: dict[str, JsonValue] = {
    "subject": {"type": "agent", "id": "spiffe://example.org/agent/clerk"},
    "action": {"name": "read"},
    "resource": {"type": "tool", "id": "crm/find"},
}


@pytest.mark.parametrize("vector", VECTORS["requests"], ids=lambda vector: vector["name"])
def test_a_request_is_read_as_the_vector_says(vector: dict[str, JsonValue]) -> None:
    read = authzen.parse_evaluation(vector["request"])
    assert [
        read.subject.type,
        read.subject.id,
        read.action.name,
        read.resource.type,
        read.resource.id,
        dict(read.context),
    ] == vector["read"]


@pytest.mark.parametrize("vector", VECTORS["responses"], ids=lambda vector: vector["name"])
def test_a_response_has_the_bytes_of_the_vector(vector: dict[str, JsonValue]) -> None:
    arguments = vector["arguments"]
    assert isinstance(arguments, dict)
    assert json.dumps(authzen.response(**arguments)) == json.dumps(vector["response"])


MISSING = [
    ("subject",),
    ("action",),
    ("resource",),
    ("subject", "type"),
    ("subject", "id"),
    ("action", "name"),
    ("resource", "type"),
    ("resource", "id"),
]


@pytest.mark.parametrize("path", MISSING, ids=".".join)
@pytest.mark.parametrize("wrong", ["absent", None, 1, "", [], True])
def test_a_required_member_that_is_absent_or_wrong_is_named(
    path: tuple[str, ...], wrong: JsonValue
) -> None:
    request = json.loads(json.dumps(ASKED))
    holder = request
    for name in path[:-1]:
        holder = holder[name]
    if wrong == "absent":
        del holder[path[-1]]
    else:
        holder[path[-1]] = wrong
    with pytest.raises(Refused) as refused:
        authzen.parse_evaluation(request)
    assert refused.value.kind is Kind.MALFORMED
    assert f"`{path[-1]}`" in refused.value.detail


@pytest.mark.parametrize(
    "extra",
    [
        {"context": None},
        {"context": []},
        {"context": "x"},
        {"subject": {"type": "agent", "id": "x", "properties": 1}},
        {"subject": {"type": "agent", "id": "x" * 513}},
        {"subject": {"type": "agent", "id": "é" * 257}},
        {"subject": {"type": "t" * 65, "id": "x"}},
        {"action": {"name": "read\n"}},
        {"action": {"name": "read", "properties": []}},
        {"resource": {"type": "tool", "id": "crm/\u202efind"}},
        {"resource": {"type": "tool", "id": "crm/find\x00"}},
    ],
)
def test_a_member_of_another_type_or_size_is_refused(extra: dict[str, JsonValue]) -> None:
    with pytest.raises(Refused):
        authzen.parse_evaluation({**ASKED, **extra})


@pytest.mark.parametrize("document", [None, [], "x", 1, True])
def test_a_request_that_is_no_object_is_refused(document: JsonValue) -> None:
    with pytest.raises(Refused):
        authzen.parse_evaluation(document)


@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda name: name not in {*ASKED, "context"}),
        st.none() | st.booleans() | st.text(max_size=5),
    )
)
def test_unknown_members_are_ignored_everywhere(extra: dict[str, JsonValue]) -> None:
    subject = {**extra, "type": "agent", "id": "spiffe://example.org/agent/clerk"}
    subject.pop("properties", None)
    read = authzen.parse_evaluation({**extra, **ASKED, "subject": subject})
    assert read == authzen.parse_evaluation(ASKED)


def test_every_kind_of_refusal_has_a_status_and_none_is_a_decision() -> None:
    assert set(authzen.STATUS) == set(Kind)
    assert all(400 <= status < 600 for status in authzen.STATUS.values())


def test_the_metadata_names_the_base_it_was_fetched_from() -> None:
    assert authzen.metadata("https://pdp.example.org/") == {
        "policy_decision_point": "https://pdp.example.org",
        "access_evaluation_endpoint": "https://pdp.example.org/access/v1/evaluation",
    }


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        (" application/json ", True),
        ("application/json-seq", False),
        ("text/plain", False),
        ("text/plain; application/json", False),
        ("", False),
        (None, False),
    ],
)
def test_the_content_type_is_json_and_nothing_like_it(
    content_type: str | None, *, expected: bool
) -> None:
    assert authzen.is_json(content_type) is expected
