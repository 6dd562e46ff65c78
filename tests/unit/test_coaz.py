"""COAZ-MCP: which question a message asks, and that nothing gets by unasked."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from actfor.errors import Kind, Refused
from actfor.gateway.coaz import DEFAULTS, Pep, declared, map_message
from actfor.gateway.coaz.expressions import ABSENT, evaluate

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "coaz.json").read_text())
CLAIMS: dict[str, Any] = {
    "sub": "alice@example.com",
    "client_id": "http://agentprovider.com/agent-app-id",
    "iss": "https://auth.example.com",
    "aud": "https://mcp.example.com",
    "roles": ["treasury"],
}
CALL: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {"name": "get_customer", "arguments": {"id": "cust-12345", "case": "case-67890"}},
}
PERMIT: dict[str, Any] = {"decision": True}


def declares(mapping: Any) -> dict[str, Any]:
    return {"type": "object", "x-authzen-mapping": mapping}


def evaluation(**parts: Any) -> dict[str, Any]:
    return declares(
        {
            "evaluation": {
                "subject": {"type": "identity", "id": "$token.sub"},
                "action": {"name": "get_customer"},
                "resource": {"type": "customer", "id": "$params.arguments.id"},
                "context": {"agent": "$token.?client_id", "case": "$params.arguments.case"},
                **parts,
            }
        }
    )


class Pdp:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, answer: Any = PERMIT) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Any]] = []

    async def __call__(self, envelope: str, request: Any) -> Any:
        self.asked.append((envelope, request))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def message(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


# -- what is asked ----------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_a_message_asks_what_the_vector_says(vector: dict[str, Any]) -> None:
    schema = declares(vector["mapping"]) if "mapping" in vector else None
    mapped = map_message(
        vector["method"], vector["params"], VECTORS["claims"], mapping=declared(schema)
    )
    assert mapped.envelope == vector["envelope"]
    assert mapped.request == vector["request"]


def test_a_tool_call_asks_for_the_person_about_the_tool() -> None:
    mapped = map_message("tools/call", CALL["params"], CLAIMS)
    assert mapped.envelope == "evaluation"
    assert mapped.request == {
        "subject": {"type": "identity", "id": "alice@example.com"},
        "context": {"agent": "http://agentprovider.com/agent-app-id"},
        "action": {"name": "tools/call"},
        "resource": {"type": "tool", "id": "get_customer"},
    }


@pytest.mark.parametrize("method", sorted(DEFAULTS))
def test_every_default_mapping_makes_a_whole_question(method: str) -> None:
    params: dict[str, Any] = {
        "name": "n", "uri": "u", "taskId": "t", "level": "debug", "protocolVersion": "2026-07-28",
        "ref": {"type": "ref/prompt", "name": "greet"},
    }  # fmt: skip
    request: Any = map_message(method, params, CLAIMS).request
    assert request["action"] == {"name": method}
    assert request["subject"] == {"type": "identity", "id": "alice@example.com"}
    ids = {"mcp_server": CLAIMS["aud"], "tool": "n", "prompt": "n", "resource": "u", "task": "t"}
    expected = "greet" if method == "completion/complete" else ids[request["resource"]["type"]]
    assert request["resource"]["id"] == expected


def test_a_completion_is_of_a_prompt_or_a_resource() -> None:
    ref = {"type": "ref/resource", "uri": "file:///a"}
    request: Any = map_message("completion/complete", {"ref": ref}, CLAIMS).request
    assert request["resource"] == {"type": "resource", "id": "file:///a"}


def test_a_claim_that_is_not_there_leaves_the_member_out() -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != "client_id"}
    assert map_message("tools/list", {}, claims).request["context"] == {}


def test_a_server_among_several_audiences_is_named_by_its_own_id() -> None:
    claims = {**CLAIMS, "aud": ["https://a.example", "https://b.example"]}
    with pytest.raises(Refused, match="one server"):
        map_message("tools/list", {}, claims)
    made: Any = map_message("tools/list", {}, claims, server_id="https://b.example").request
    assert made["resource"]["id"] == "https://b.example"
    with pytest.raises(Refused, match="does not name this server"):
        map_message("tools/list", {}, claims, server_id="https://c.example")
    assert map_message("tools/list", {}, {**CLAIMS, "aud": ["only"]}).request["resource"] == {
        "type": "mcp_server",
        "id": "only",
    }


def test_a_declared_mapping_asks_its_own_question() -> None:
    mapped = map_message("tools/call", CALL["params"], CLAIMS, mapping=declared(evaluation()))
    assert mapped.request == {
        "subject": {"type": "identity", "id": "alice@example.com"},
        "action": {"name": "get_customer"},
        "resource": {"type": "customer", "id": "cust-12345"},
        "context": {"agent": CLAIMS["client_id"], "case": "case-67890"},
    }
    assert mapped.warnings == ()


def test_a_declared_mapping_may_ask_several_questions_and_all_must_be_permitted() -> None:
    schema = declares(
        {
            "evaluations": {
                "subject": {"type": "identity", "id": "$token.sub"},
                "context": {"agent": "$token.?client_id"},
                "options": {"evaluations_semantic": "permit_on_first_permit"},
                "evaluations": [
                    {
                        "action": {"name": name},
                        "resource": {"type": "object", "id": f"$params.arguments.{where}"},
                    }
                    for name, where in (("read", "source"), ("write", "destination"))
                ],
            }
        }
    )
    params: dict[str, Any] = {"name": "copy", "arguments": {"source": "/a", "destination": "/b"}}
    mapped = map_message("tools/call", params, CLAIMS, mapping=declared(schema))
    request: Any = mapped.request
    assert mapped.envelope == "evaluations"
    assert [entry["resource"]["id"] for entry in request["evaluations"]] == ["/a", "/b"]
    assert request["options"] == {"evaluations_semantic": "deny_on_first_deny"}


def test_expressions_are_computed_and_literals_are_not() -> None:
    schema = evaluation(
        subject={
            "type": "$token.roles.exists(r, r == 'treasury') ? 'treasury_user' : 'user'",
            "id": "$token.sub",
        },
        resource={
            "type": "account",
            "id": "$params.arguments.id",
            "properties": {
                "level": "$params.arguments.amount > 10000 ? 'high' : 'standard'",
                "price": "$$50",
                "count": 3,
                "open": True,
                "list": ["$token.iss", "x"],
            },
        },
    )
    arguments: dict[str, Any] = {"id": "a", "case": "c", "amount": 10_000.5}
    request: Any = map_message(
        "tools/call", {"name": "t", "arguments": arguments}, CLAIMS, mapping=declared(schema)
    ).request
    assert request["subject"]["type"] == "treasury_user"
    assert request["resource"]["properties"] == {
        "level": "high", "price": "$50", "count": 3, "open": True,
        "list": ["https://auth.example.com", "x"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("token.?client_id", ABSENT),
        ("token.?act.sub", ABSENT),
        ("token.?act.?sub", ABSENT),
        ("token.?sub", "a"),
        ("token.deep.?x", 1),
        ("token.deep.?x.y", "error"),
        ("token.?sub.orValue('none')", "a"),
        ("token.?nick.orValue('none')", "none"),
        ("'token.?sub'", "token.?sub"),
        ("token.?nothing.hasValue() ? 'y' : 'n'", "n"),
        ("null", None),
        ("{'a': [1, 2.5]}", {"a": [1, 2.5]}),
        ("token.gone", "error"),
        ("1 / 0", "error"),
        ("double('NaN')", "error"),
        ("b'bytes'", "error"),
        ("timestamp('2026-01-01T00:00:00Z')", "error"),
        ("[token.?nick]", "error"),
        ("", "error"),
        ("token.", "error"),
        ("a" * 2000, "error"),
        ("[1].map(x, [1].map(y, x))", "error"),
    ],
)
def test_an_expression_yields_json_or_nothing_or_an_error(expression: str, expected: Any) -> None:
    variables: dict[str, Any] = {"token": {"sub": "a", "deep": {"x": 1}}, "params": {}}
    if expected == "error":
        with pytest.raises(Refused) as refused:
            evaluate(expression, variables)
        assert refused.value.kind is Kind.MALFORMED
    else:
        assert evaluate(expression, variables) == expected


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("params.arguments.items.exists(x, x == -1)", 20_000),
        ("params.arguments.items.exists(x, params.arguments.items == [x])", 500),
        ("params.arguments.items.exists(x, params.arguments.items == [x])", 20_000),
        ("params.arguments.items.map(x, x * 2).size()", 20_000),
        ("params.arguments.items.map(x, params.arguments.items).size()", 60),
        ("params.arguments.items.map(x, params.arguments.items).size()", 20_000),
        ("params.arguments.items.filter(x, true).size()", 5_000),
        ("params.arguments.items.map(x, params.arguments.items.map(y, x * y)).size()", 60),
        ("[" + "1," * 400 + "1].map(x, params.arguments.items).size()", 60),
        ("'" + "a" * 900 + "'.matches('(a+)+$')", 1),
        ("params.arguments.items.size()", 20_000),
        ("params.arguments.items.exists(x, params.arguments.text.matches('(a|b)*c$'))", 60),
        ("params.arguments.items.exists(x, params.arguments.text.matches('(a|b)*c$'))", 500),
        ("params.arguments.text.matches('(a|b)*c$')", 1),
        ("params.arguments.items.//\nmap(x, x)", 20_000),
        ("params.arguments.items.map//\n(x, x)", 20_000),
        ("params.arguments.items.map (x, x)", 20_000),
        (r"r'\' == '' || params.arguments.items.map(x, x).size() == 3 || 'b' == ''", 20_000),
        (
            r"r'\' == '' || params.arguments.items.exists(x, [1].exists(y, x == y)) || 'b' == ''",
            500,
        ),
    ],
)
def test_a_hostile_mapping_cannot_hold_the_gateway_up(expression: str, values: int) -> None:
    """A `map` over 20,000 numbers takes half a minute, if it is let."""
    arguments: dict[str, Any] = {"items": list(range(values)), "text": "ab" * 100_000}
    started = time.process_time()
    try:
        evaluate(expression, {"params": {"arguments": arguments}, "token": {}})
    except Refused as refused:
        assert refused.kind is Kind.MALFORMED  # refused or quick: either will do
    assert time.process_time() - started < 0.5


def test_a_mapping_has_few_expressions_and_a_call_few_values() -> None:
    for many in (
        {f"m{n}": "$params.name" for n in range(70)},
        {f"m{n}": "$params.arguments.items.exists(x, x == 1)" for n in range(5)},
    ):
        with pytest.raises(Refused, match="more than 32 expressions"):
            map_message(
                "tools/call", CALL["params"], CLAIMS, mapping=declared(evaluation(context=many))
            )
    params: dict[str, Any] = {"name": "t", "arguments": {"id": "a", "items": [[1] * 5_000]}}
    with pytest.raises(Refused, match="more than 2048 values"):
        map_message("tools/call", params, CLAIMS, mapping=declared(evaluation()))
    params["arguments"]["items"] = ["x" * 50_000]
    assert map_message(
        "tools/call", params, CLAIMS, mapping=declared(evaluation(context={}))
    ).request


# -- what is refused --------------------------------------------------------------------------

SMUGGLED = [
    ("another person", evaluation(subject={"id": "bob@example.com"})),
    ("from the arguments", evaluation(subject={"id": "$params.arguments.id"})),
    ("of a number", evaluation(subject={"id": 7})),
    ("computed", evaluation(subject={"id": "$token.sub == '' ? 'bob' : 'alice@example.com'"})),
    ("no object", evaluation(subject="alice")),
    (
        "inside of an entry",
        declares(
            {
                "evaluations": {
                    "evaluations": [
                        {
                            "subject": {"type": "identity", "id": "$token.sub"},
                            "action": {"name": "read"},
                            "resource": {"type": "t", "id": "x"},
                        }
                    ]
                }
            }
        ),
    ),
]


@pytest.mark.parametrize("schema", [s[1] for s in SMUGGLED], ids=[s[0] for s in SMUGGLED])
async def test_no_mapping_says_who_the_person_is(schema: dict[str, Any]) -> None:
    pdp = Pdp()
    answer: Any = await Pep(pdp).authorize(CALL, CLAIMS, schema)
    assert answer["error"]["code"] == -32602
    assert answer["id"] == 2
    assert pdp.asked == []


@pytest.mark.parametrize(
    "mapping",
    [
        [], "x", {}, {"evaluation": {}, "evaluations": {}}, {"other": {}}, {"evaluation": []},
        {"evaluation": {"action": {"name": "a"}}},
        {"evaluation": {"action": {"name": "$token.?nick"}, "resource": {"type": "t", "id": "i"}}},
        {"evaluation": {"action": {"name": "a"}, "resource": {"type": "t", "id": "$null"}}},
        {"evaluation": {"action": {"name": "a"}, "resource": {"type": "t", "id": "$params.no"}}},
        {"evaluations": {"evaluations": []}},
        {"evaluations": {"evaluations": [{"action": {"name": "a"}}]}},
        {"evaluations": {"evaluations": [{}] * 30}},
    ],
)  # fmt: skip
async def test_a_mapping_that_makes_no_question_is_a_mapping_error(mapping: Any) -> None:
    pdp = Pdp()
    answer: Any = await Pep(pdp).authorize(CALL, CLAIMS, declares(mapping))
    assert answer["error"]["code"] == -32602
    assert pdp.asked == []


async def test_an_omitted_subject_is_the_tokens() -> None:
    pdp = Pdp()
    schema = declares(
        {"evaluation": {"action": {"name": "a"}, "resource": {"type": "t", "id": "i"}}}
    )
    assert await Pep(pdp).authorize(CALL, CLAIMS, schema) is None
    [(_, request)] = pdp.asked
    assert request["subject"] == {"type": "identity", "id": "alice@example.com"}


async def test_a_mapping_that_hides_the_agent_is_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await Pep(Pdp()).authorize(CALL, CLAIMS, evaluation(context={})) is None
    assert "does not name the agent" in caplog.text


async def test_a_claim_may_be_designated_to_say_who_the_person_is() -> None:
    pdp = Pdp()
    claims = {**CLAIMS, "sub": "agent-1", "obo": "alice"}
    schema = evaluation(subject={"id": "$token.obo"})
    assert await Pep(pdp, subject_claim="obo").authorize(CALL, claims, schema) is None
    assert pdp.asked[0][1]["subject"]["id"] == "alice"


@pytest.mark.parametrize("method", ["tools/shout", "resources/write", "sampling/createMessage", ""])
async def test_a_method_nobody_knows_is_denied_without_asking(method: str) -> None:
    pdp = Pdp()
    answer: Any = await Pep(pdp).authorize(message(method), CLAIMS)
    assert answer["error"]["code"] == -32001
    assert pdp.asked == []


@pytest.mark.parametrize("method", ["ping", "notifications/cancelled", "notifications/anything"])
async def test_a_ping_and_a_notification_pass_unasked(method: str) -> None:
    pdp = Pdp(ConnectionError())
    assert await Pep(pdp).authorize(message(method), {}) is None


async def test_a_current_client_can_discover_the_server() -> None:
    assert await Pep(Pdp()).authorize(message("server/discover"), CLAIMS) is None


async def test_a_token_without_a_subject_is_a_mapping_error() -> None:
    for claims in ({}, {**CLAIMS, "sub": ""}, {**CLAIMS, "sub": ["alice"]}):
        answer: Any = await Pep(Pdp()).authorize(CALL, claims)
        assert answer["error"]["code"] == -32602


# -- what is enforced -------------------------------------------------------------------------


async def test_a_denial_says_in_words_what_the_number_may_not() -> None:
    answer: Any = await Pep(Pdp({"decision": False})).authorize(CALL, CLAIMS)
    assert answer["error"]["code"] == -32001
    assert answer["error"]["data"]["type"] == "urn:openid:authzen:coaz:error:denied"


async def test_a_denial_may_be_a_tool_result() -> None:
    pep = Pep(Pdp({"decision": False}), denials_as_results=True)
    answer: Any = await pep.authorize(CALL, CLAIMS)
    assert answer["result"]["isError"] is True
    listed: Any = await pep.authorize(message("tools/list"), CLAIMS)
    assert listed["error"]["code"] == -32001


@pytest.mark.parametrize(
    "answer",
    [
        ConnectionError("refused"), TimeoutError(), None, [], "true", {}, {"decision": "true"},
        {"decision": 1}, {"decision": None}, {"evaluations": [PERMIT]},
    ],
)  # fmt: skip
async def test_a_decision_point_that_is_silent_or_talks_nonsense_permits_nothing(
    answer: Any,
) -> None:
    told: Any = await Pep(Pdp(answer)).authorize(CALL, CLAIMS)
    assert told["error"]["code"] == -32603


BATCH = declares(
    {
        "evaluations": {
            "resource": {"type": "t", "id": "i"},
            "evaluations": [{"action": {"name": "a"}}, {"action": {"name": "b"}}],
        }
    }
)


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([PERMIT, PERMIT], None),
        ([PERMIT, {"decision": False}], -32001),
        ([{"decision": False}], -32001),
        ([PERMIT], -32603),
        ([], -32603),
        ([PERMIT, {}], -32603),
    ],
)
async def test_a_batch_is_permitted_only_as_a_whole(answers: Any, code: int | None) -> None:
    told: Any = await Pep(Pdp({"evaluations": answers})).authorize(CALL, CLAIMS, BATCH)
    assert (told and told["error"]["code"]) == code


async def test_an_obligation_that_cannot_be_done_is_a_denial() -> None:
    obliged = {
        "decision": True,
        "context": {"obligations": [{"id": "o", "type": "notification", "to": "x", "body": "y"}]},
    }
    sent: list[Any] = []

    async def notify(obligation: Any) -> bool:
        sent.append(obligation["to"])
        return True

    told: Any = await Pep(Pdp(obliged)).authorize(CALL, CLAIMS)
    assert told["error"]["code"] == -32001
    assert (
        await Pep(Pdp(obliged), executors={"notification": notify}).authorize(CALL, CLAIMS) is None
    )
    assert sent == ["x"]
