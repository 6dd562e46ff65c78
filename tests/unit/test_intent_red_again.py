"""What a stranger may make of the rules for names, times, folders, baskets and ways of asking: every
call here that is not `permit` was not asked for. No name here is of a benchmark.
"""

import time

import pytest
from tests.fakes.intent_tools import effect, tool
from tests.unit.test_intent_requests import SEND, said

from actfor.authorization.intent import asks, read_tool, read_words
from actfor.authorization.intent.values import bears_name

FILE = tool("read_document", "Returns a document's text.", "title", effect="read",
            results="untrusted")  # fmt: skip
MOST = 5  # seconds, of a slow machine


@pytest.mark.parametrize("text", ["Ann she sent me ", "what she sent me ", "delete mails, "])
def test_a_text_that_says_one_thing_thousands_of_times_keeps_nobody_waiting(text):
    drops = read_tool("delete_event", "Deletes an event.", {})
    start = time.process_time()
    asks(read_words([text * (65_000 // len(text))]), drops, [drops])
    assert time.process_time() - start < MOST


def test_a_name_of_thousands_of_words_is_compared_in_time():
    start = time.process_time()
    assert not bears_name(frozenset(f"ab{n}" for n in range(12_000)), "zzz@x.example")
    assert time.process_time() - start < MOST
    assert bears_name(frozenset({"alexander", "chen"}), "alexanderchen@x.example")


def test_a_list_of_thousands_of_lines_is_looked_through_once_for_all_who_are_written_to():
    point = said('Send the pictures to the museum, see the document "Partners".', FILE, SEND)
    lines = "\n".join(f"museum {n}: a{n}@h{n}.example" for n in range(4_000))
    point.record("read_document", {"title": "Partners"}, lines)
    many = [f"a{n}@h{n}.example" for n in range(200)]
    start = time.process_time()
    assert effect(point, "send_mail", to=many, subject="x", body="y") == "step-up"
    assert time.process_time() - start < MOST
