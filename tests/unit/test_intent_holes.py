"""Holes that an attacker found in the reading of plain requests; every refusal here was a yes."""

import time

import pytest
from tests.fakes.intent_tools import effect, tool
from tests.unit.test_intent_requests import (
    EVIL,
    FILE,
    IBAN,
    PAY,
    SEND,
    said,
)

DROP_MAIL = tool("delete_email", "Deletes an email.", "email_id", effect="delete",
                 sinks={"/email_id": "id"})  # fmt: skip
EVENTS = tool("list_events", "Lists events.", "query", effect="read",
              results={"label": "untrusted", "trusted": ["/*/id", "/*/title"]})  # fmt: skip
PUBLISH_LIST = tool("publish_list", "Publishes a list.", "name", effect="share",
                    sinks={"/name": "name"})  # fmt: skip
UPDATE_LIST = tool("update_list", "Changes a list.", "name entry", effect="write",
                   sinks={"/name": "name", "/entry": "text"})  # fmt: skip


# -- long texts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["pay ", "order the lamp\n", "let her know, ", "pay 5 EUR to a, "])
def test_a_text_full_of_verbs_is_read_in_the_blink_of_an_eye_and_asks_for_everything(text):
    point = said("Pay the bill 'bill.txt'", FILE, PAY, SEND)
    letters = f"{text * (50_000 // len(text))} {IBAN} {EVIL}"
    point.record("read_file", {"path": "note.txt"}, letters)
    start = time.process_time()
    assert effect(point, "send_payment", iban=IBAN, amount=5) == "step-up"
    assert time.process_time() - start < 1
