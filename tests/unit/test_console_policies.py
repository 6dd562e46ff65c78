"""Policies in the console: looked at by all, changed by administrators, agreed to by another."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.test_console_http import Server, User, assert_sealed, invite

from actfor.authorization import CallFacts, to_request
from actfor.authorization.model import ToolEffect
from actfor.authorization.model.publication import Proposal
from actfor.authorization.policies import default_source
from actfor.server.settings import load
from actfor.server.wiring import build
from actfor.wire.authzen import parse_evaluation

MARKUP = '@id("shut")@reason("<script>alert(1)</script>") forbid (principal, action, resource);'


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server on which a change of policy takes two administrators."""
    settings = load(data=tmp_path, port=8711, log_level="error", policy_four_eyes=True)
    application = await build(settings, with_default_policies=True)
    yield Server(application)
    await application.close()


@pytest.fixture
async def olivia(server: Server) -> User:
    return await server.join(await server.services.people.create_setup_link(), "Olivia")


async def test_a_proposal_is_read_and_approved_by_a_second_administrator(
    server: Server, olivia: User
) -> None:
    bob = await invite(server, olivia, "Bob", "admin")
    changes = server.services.policy_changes
    made = await changes.publish(olivia.person.id, default_source() + MARKUP, note="<b>why</b>")
    assert isinstance(made, Proposal)
    path = f"/policies/proposals/{made.id}"
    mine = await olivia.http.get(path)
    assert "another administrator must agree" in mine.text
    assert "approve-policy" not in mine.text
    theirs = await bob.http.get(path)
    assert_sealed(theirs)
    assert "may permit less" in theirs.text
    assert "<script>alert(1)" not in theirs.text
    assert "<b>why</b>" not in theirs.text
    own = await olivia.post(f"{path}/approve")
    assert own.status_code == 403
    assert "cannot approve it as well" in own.text
    done = await bob.post(f"{path}/approve")
    assert done.headers["location"] == "/policies?done=published"
    listed = await olivia.http.get("/policies")
    assert "agreed by" in listed.text
    shown = await olivia.http.get("/policies/versions/2")
    assert "What changed from #1" in shown.text
    assert_sealed(shown)
    back = await bob.post("/policies/versions/1/rollback", note="too strict")
    assert back.headers["location"] == "/policies?done=proposed"


async def test_who_is_no_administrator_looks_and_changes_nothing(
    server: Server, olivia: User
) -> None:
    carol = await invite(server, olivia, "Carol")
    made = await server.services.policy_changes.publish(olivia.person.id, default_source() + MARKUP)
    assert isinstance(made, Proposal)
    path = f"/policies/proposals/{made.id}"
    assert (await carol.http.get(path)).status_code == 200
    for form in (f"{path}/approve", f"{path}/reject", "/policies/versions/1/rollback"):
        assert (await carol.post(form)).status_code == 403
    assert (await server.services.policy_changes.proposal(made.id))[0].state == "open"


async def test_a_trial_is_shown_and_stopped(server: Server, olivia: User) -> None:
    trials = server.services.trials
    run = await trials.shadow(
        olivia.person.id, default_source() + MARKUP, lasting=timedelta(days=1), note="<i>"
    )
    call = CallFacts(agent="spiffe://x/agent/y", server="s", tool="t", effect=ToolEffect.READ)
    server.services.authorization.decide(to_request(call))
    page = await olivia.http.get(f"/policies/trials/{run.id}")
    assert_sealed(page)
    assert "going on" in page.text
    metrics = (await olivia.http.get("/metrics")).text
    assert 'actfor_policy_trial_calls_total{differs="false",kind="shadow"} 1.0' in metrics
    assert "<i>" not in page.text
    done = await olivia.post(f"/policies/trials/{run.id}/stop")
    assert done.headers["location"] == "/policies?done=stopped"
    assert "over" in (await olivia.http.get(f"/policies/trials/{run.id}")).text


async def test_why_a_call_was_denied_and_what_would_have_helped(
    server: Server, olivia: User
) -> None:
    asked = {
        "subject": {"type": "agent", "id": "spiffe://x/agent/y"},
        "action": {"name": "read"},
        "resource": {"type": "tool", "id": "crm/find"},
    }
    answer = await server.services.authorization.evaluate("crm", parse_evaluation(asked))
    page = await olivia.http.get(f"/decisions/{answer.id}/why")
    assert page.status_code == 200
    assert_sealed(page)
    assert "outside the mandate" in page.text
    assert "What would have changed it" in page.text
    carol = await invite(server, olivia, "Carol")
    assert (await carol.http.get(f"/decisions/{answer.id}/why")).status_code == 404
