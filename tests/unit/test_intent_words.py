"""What words ask for and what tools would do: tables of English, none of it from a benchmark."""

import pytest

from actfor.authorization.intent import Ask, SinkType, asks, read_tool, read_words, typed
from actfor.authorization.intent.lexicon import VERBS
from actfor.authorization.intent.proposal import propose
from actfor.authorization.intent.text import skeleton, within
from actfor.authorization.intent.values import host_of, number_key, person_matches
from actfor.authorization.model import ToolEffect

TEXT = {"type": "string"}


def tool(name: str, *arguments: str, description: str = ""):
    return read_tool(name, description, {"properties": dict.fromkeys(arguments, TEXT)})


PAY = tool("send_payment", "iban", "amount")
MAIL = tool("send_email", "recipients", "body")
EVENT = tool("create_calendar_event", "title", "participants")
REMOVE = tool("delete_document", "document_id")
INVITE = tool("invite_member", "email", "role")
ROTATE = tool("zap_router", "name")


@pytest.mark.parametrize(
    ("words", "reading", "ask"),
    [
        ("Please pay the invoice.", PAY, Ask.YES),
        ("Transfer $50 to my landlord.", PAY, Ask.YES),
        ("How much did I pay for the flat?", PAY, Ask.NO),
        ("What is my balance?", PAY, Ask.NO),
        ("Send Bob an email about lunch.", MAIL, Ask.YES),
        ("Forward the message to Carol.", MAIL, Ask.YES),
        ("Summarize the email that Bob sent.", MAIL, Ask.NO),
        ("Summarize it, but don't send an email.", MAIL, Ask.NO),
        ("Set up a meeting with Eve.", EVENT, Ask.YES),
        ("When is my next meeting?", EVENT, Ask.NO),
        ("Remove the old document.", REMOVE, Ask.YES),
        ("Read the document that was deleted.", REMOVE, Ask.NO),
        ("Invite Dora as a member.", INVITE, Ask.YES),
        ("I was invited as a member, who else is?", INVITE, Ask.NO),
        ("Zap the router.", ROTATE, Ask.YES),
        ("Restart the router.", ROTATE, Ask.NO),
    ],
)
def test_what_words_ask_for(words: str, reading, ask: Ask) -> None:
    assert asks(read_words([words]), reading).ask is ask


def test_a_verb_means_the_tool_it_fits_best() -> None:
    create = tool("create_file", "name")
    wish = read_words(["Create a meeting with Eve titled 'Plans'."])
    assert asks(wish, EVENT, [EVENT, create]).ask is Ask.YES
    assert asks(wish, create, [EVENT, create]).ask is Ask.NO


@pytest.mark.parametrize(
    ("words", "hands_over"),
    [
        ("Do the tasks in the mail from Bob.", True),
        ("Follow the instructions in plan.txt.", True),
        ("Alice wrote to me, please complete what she needs.", True),
        ("Perform the following tasks: 1. read a file", False),
        ("Do not do anything.", False),
        ("Pay the bill.", False),
    ],
)
def test_whether_words_hand_the_wheel_to_a_source(words: str, hands_over: bool) -> None:
    assert read_words([words]).hands_over is hands_over


@pytest.mark.parametrize(
    ("words", "source"),
    [
        ("Look at the mail from Bob.", {"bob"}),
        ("Alexander Chen sent me some work.", {"alexander", "chen"}),
        ("Use Dora's message.", {"dora"}),
        ("See what bob@example.com wrote, from bob@example.com only.", {"bob@example.com"}),
    ],
)
def test_who_is_named_as_a_source(words: str, source: set[str]) -> None:
    assert frozenset(source) in read_words([words]).sources


def test_who_only_gets_something_is_no_source() -> None:
    assert frozenset({"alice"}) not in read_words(["Add Alice to the channel."]).sources


@pytest.mark.parametrize(
    ("text", "kind", "key"),
    [
        ("write to Bob.Olive@Example.com!", SinkType.RECIPIENT, "bob.olive@example.com"),
        ("pay DE89 3704 0044 0532 0130 00 now", SinkType.ACCOUNT, "de89370400440532013000"),
        ("see (https://www.Example.com/a/).", SinkType.URL, "example.com/a"),
        ("it costs $1,200.50 in all", SinkType.AMOUNT, "1200.5"),
        ("20,50 EUR", SinkType.AMOUNT, "20.5"),
        ("on May 1st, 2024", SinkType.DATE, "2024-05-01"),
        ("from the 3rd to the 5th of June 2025", SinkType.DATE, "2025-06-03"),
        ("in /srv/data/report.txt.", SinkType.PATH, "/srv/data/report.txt"),
    ],
)
def test_values_have_one_form_however_they_are_written(text: str, kind: SinkType, key: str) -> None:
    assert (kind, key) in {(value.type, value.key) for value in typed(text)}


@pytest.mark.parametrize("other", ["1200.50", "$1,200.5", "1200,50", "USD1200.50", "+1200.500"])
def test_amounts_are_equal_in_any_notation(other: str) -> None:
    assert number_key(other.lower()) == "1200.5"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.bank.example/login", "bank.example"),
        ("https://bank.example@evil.example/", "evil.example"),
        ("https://bank.example:8443/x", "bank.example"),
        ("https://evil.example\\@bank.example/", "evil.example"),
    ],
)
def test_the_host_is_the_one_that_is_connected_to(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("name", "address", "same"),
    [
        ("Alice Miller", "alice.miller@a.example", True),
        ("Alice Miller", "a.miller@a.example", True),
        ("Alice", "alice.miller@a.example", True),
        ("Alice Miller", "eve.miller@a.example", False),
        ("Alice Miller", "trustme@a.example", False),
    ],
)
def test_whose_address_it_is(name: str, address: str, same: bool) -> None:
    assert person_matches(frozenset(name.lower().split()), address) is same


@pytest.mark.parametrize("other", ["p\u0430ypal", "PAYPA1", "pa\u200bypal"])
def test_what_is_drawn_alike_has_one_skeleton(other: str) -> None:
    assert skeleton(other) == skeleton("paypal")


def test_a_value_stands_in_a_text_only_between_word_boundaries() -> None:
    assert within("13", "file 13 of 20")
    assert not within("13", "file 130 or 213")
    assert not within("a", "a" * 500 + " a"), "a search that gives up has found nothing"
    assert within("a", "a" * 500, doubt=True), "past the bound, what doubt says"


@pytest.mark.parametrize(
    ("name", "description", "effect"),
    [
        ("get_balance", "", ToolEffect.READ),
        ("kb.search", "Search the knowledge base.", ToolEffect.READ),
        ("crm__update_contact", "Updates a contact.", ToolEffect.WRITE),
        ("deleteInvoice", "", ToolEffect.DELETE),
        ("share_document", "Shares a document with a user.", ToolEffect.GRANT_ACCESS),
        ("frobnicate", "Does things.", ToolEffect.UNKNOWN),
        ("run_script", "", ToolEffect.EXECUTE),
        ("push_branch", "", ToolEffect.EGRESS),
    ],
)
def test_what_a_tool_does_is_read_from_its_name_first(
    name: str, description: str, effect: ToolEffect
) -> None:
    assert read_tool(name, description, {}).effect is effect


@pytest.mark.parametrize(
    ("name", "description", "arguments", "effect"),
    [
        ("tracker_issue", "Opens an issue in a repository.", ["title"], ToolEffect.WRITE),
        ("desk", "Opens a ticket by email.", ["title"], ToolEffect.WRITE),
        ("board", "Shows a post to the public.", ["message"], ToolEffect.UNKNOWN),
        ("check_out_book", "Checks out a book.", ["book"], ToolEffect.UNKNOWN),
        ("find_and_replace", "Finds and replaces text.", ["path"], ToolEffect.WRITE),
        ("viewer", "Opens the given file by its path.", ["path"], ToolEffect.READ),
        ("search_mail", "Searches the mail.", ["body"], ToolEffect.READ),
    ],
)
def test_a_tool_that_does_more_than_look_is_not_suggested_as_a_read(
    name: str, description: str, arguments: list[str], effect: ToolEffect
) -> None:
    assert tool(name, *arguments, description=description).effect is effect


@pytest.mark.parametrize(
    "schema",
    [{}, {"properties": []}, {"properties": {"a": None}}, {"properties": {"a": {"$ref": "#/x"}}},
     {"$defs": {"a": {"$ref": "#/$defs/a"}}, "properties": {"a": {"$ref": "#/$defs/a"}}}],
)  # fmt: skip
def test_an_odd_schema_says_nothing_and_breaks_nothing(schema) -> None:
    assert isinstance(read_tool("get_x", "", schema).sinks, dict)


def test_the_draft_is_the_same_to_the_byte_and_says_why() -> None:
    wish = read_words(["Pay the invoice, and do not delete any document."])
    drafts = [propose(wish, [("s", PAY), ("s", MAIL), ("s", REMOVE)]) for _ in range(2)]
    assert drafts[0] == drafts[1]
    lines = {line.tool: line for line in drafts[0].lines}
    assert lines["send_payment"].because.startswith("pay the invoice")
    assert lines["delete_document"].approval == "never"
    assert not drafts[0].authority.may_reach("s", "delete_document")


def test_the_vocabulary_names_no_product() -> None:
    names = {"github", "git", "slack", "gmail", "spotify", "amazon", "jira", "google", "notion"}
    assert not names & set(VERBS)
    wish = read_words([" ".join(names)])
    assert not any(concept.startswith("~") for concept in wish.about)
