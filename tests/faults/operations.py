"""The operations that R5 interrupts: what the server ever writes, each as one request does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.fakes.console_people import exact_call
from tests.fakes.identity_process import draft
from tests.faults.arranged import (
    asked,
    challenged,
    code,
    device,
    device_approved,
    exchanging,
    grown,
    invited,
    joined,
    login_proof,
    long,
    proposed,
    published,
    quarantined,
    signing_in,
    waiting,
    with_mandate,
    world_of,
)
from tests.faults.node import START, Node, Setting
from tests.faults.ruling import Ruling, keys_of

from actfor.approval import Answer, Approval
from actfor.authorization.model.facts import ToolEffect
from actfor.delegation import MandateDraft
from actfor.errors import Kind, Refused
from actfor.gateway import repository as gateway_rows
from actfor.identity.model import PersonState
from actfor.keys import Purpose, Vault
from actfor.server.erasure import Erasure, read_ledger
from actfor.store import Tx
from actfor.wire.rar import to_authorization_details

Context = Any


@dataclass(frozen=True)
class Operation:
    """``arrange`` runs before and in another process; ``act`` is what is interrupted."""

    name: str
    act: Callable[[Node, Setting, Context], Awaitable[object]]
    arrange: Callable[[Node, Setting], Awaitable[Context]] | None = None
    once: bool = False  # done, it must be refused when asked for again
    transactions: int = 1
    holds: Callable[[Node, Setting, Context], str | None] | None = None
    """What is wrong when it was done once more, or None."""


async def _sweep(node: Node, setting: Setting, _: Context) -> object:
    node.clock.advance(3_600)
    return await node.approvals.sweep()


async def _trying(node: Node, setting: Setting) -> Any:
    return (await _tried(node, setting, None)).id


async def _tried(node: Node, setting: Setting, _: Context) -> Any:
    return await Ruling(node).trials.report_only(
        "usr_a", effects=[ToolEffect.READ], lasting=timedelta(hours=1),
        agent=str(setting.delegations[0].agent), note="rig",
    )  # fmt: skip


async def _with_keys(node: Node, setting: Setting) -> Any:
    (active, *_) = (await keys_of(node)).held(Purpose.ACCESS_TOKEN)
    return active.key.kid


async def _rotate(node: Node, setting: Setting, _: Context) -> None:
    await (await keys_of(node)).rotate(Purpose.ACCESS_TOKEN, by="usr_rig")


async def _kill_key(node: Node, setting: Setting, made: Context) -> object:
    keys = await keys_of(node)
    return await keys.revoke(Purpose.ACCESS_TOKEN, by="usr_rig", cause="stolen", kid=made)


async def _revoke_mandate(node: Node, setting: Setting, _: Context) -> None:
    await node.delegation.revoke_mandate(setting.person, setting.delegations[0].mandate.id, "rig")


async def _rewrap(node: Node, setting: Setting, _: Context) -> object:
    return await (await keys_of(node)).rewrap(by="usr_rig")


async def _asked_by_a_pep(node: Node, setting: Setting) -> Any:
    call = exact_call(setting.person.id, {"n": 6}, enforced_by="usr_pep")
    return (await node.approvals.request(call, decision_trace="dec_6", reasons=["rig"])).id


async def _ask_about(node: Node, setting: Setting, _: Context) -> object:
    """As an access request does: the question and the denial that it is made of, in one unit."""

    def take(tx: Tx, asked: Approval) -> None:
        made = gateway_rows.AccessRequested("usr_pep", asked.id, "body")
        if not gateway_rows.add_access_request(tx, "dec_7", made, "key", tx.now):
            raise Refused(Kind.CONFLICT, "the denial was asked about")

    call = exact_call(setting.person.id, {"n": 7}, enforced_by="usr_pep")
    return await node.approvals.request(call, decision_trace="dec_7", reasons=["rig"], within=take)


async def _wished(node: Node, setting: Setting) -> Any:
    world = world_of(node, setting)
    holder = await world.attest(setting.delegations[0].agent_name)
    authority = setting.delegations[0].mandate.authority
    details = to_authorization_details(authority, resources=node.delegation.resources)
    wish = await node.delegation.wish(
        holder.svid.token, world.verified(holder.key), details, "please"
    )
    return MandateDraft(
        holder.agent.name, "as wished", authority, node.clock.now() + timedelta(hours=1),
        wish=wish.id,
    )  # fmt: skip


async def _erase(node: Node, setting: Setting, made: Context) -> object:
    erasure = Erasure(
        database=node.database, audit=node.audit, vault=Vault(), people=node.people,
        delegation=node.delegation, approvals=node.approvals, ledger=_ledger(setting),
    )  # fmt: skip
    return await erasure.erase(setting.person, made)


def _ledger(setting: Setting) -> Path:
    return Path(setting.url.removeprefix("sqlite:///") + ".erasures")


def _is_in_the_ledger(node: Node, setting: Setting, made: Context) -> str | None:
    told = {line.person for line in read_ledger(_ledger(setting))}
    return None if made in told else "the ledger of erasures lacks one"


async def _refused_long_ago(node: Node, setting: Setting) -> Any:
    await long(node, setting)
    await _prune(node, setting, None)


async def _prune(node: Node, setting: Setting, _: Context) -> object:
    return await _pruned(node, setting, delete=False)


async def _pruned(node: Node, setting: Setting, *, delete: bool) -> object:
    node.audit.retention = timedelta(0)
    node.clock.advance(20 * 86_400 if delete else 86_400)
    return await node.audit.prune(START + timedelta(seconds=1), by=setting.person.id, delete=delete)


OPERATIONS = (
    Operation(
        "permit with approval",
        lambda node, s, _: node.decide(s.delegations[0], 1, "once-1", s.approved[0]), once=True,
    ),
    Operation(
        "permit that completes a tile",
        lambda node, s, _: node.decide(s.delegations[0], 1, "once-1"), grown, once=True,
    ),
    Operation("checkpoint", lambda node, s, _: node.audit.checkpoint(), quarantined),
    Operation(
        "approval asked",
        lambda node, s, _: node.approvals.request(
            exact_call(s.person.id, {"n": 5}), decision_trace="dec_5", reasons=["rig"]
        ),
    ),
    Operation(
        "approval answered yes",
        lambda node, s, made: node.approvals.answer(s.person, made[0], Answer.APPROVE, made[1]),
        asked, once=True, transactions=2,
    ),
    Operation(
        "approval answered no",
        lambda node, s, made: node.approvals.answer(s.person, made[0], Answer.DENY, reason="no"),
        asked, once=True,
    ),
    Operation("approvals expired", _sweep, asked),
    Operation(
        "question taken back",
        lambda node, s, made: node.approvals.withdraw("usr_pep", made, "obsolete"),
        _asked_by_a_pep,
    ),
    Operation("denial asked about", _ask_about, once=True),
    Operation(
        "wish granted",
        lambda node, s, made: node.delegation.commit_mandate(s.person, made), _wished, once=True,
    ),
    Operation("person invited", lambda node, s, _: node.people.invite(s.person, "Eve", ("admin",))),
    Operation(
        "person registered", lambda node, s, made: node.people.register(*made), invited,
        once=True, transactions=2,
    ),
    Operation(
        "person signed in", lambda node, s, made: node.people.signin(*made), signing_in,
        once=True, transactions=2,
    ),
    Operation(
        "person disabled",
        lambda node, s, made: node.people.change(
            s.person, made.person.id, state=PersonState.DISABLED
        ),
        joined,
    ),
    Operation(
        "agent registered",
        lambda node, s, root: node.agents.register(s.person, draft(root, "newcomer")), code,
        once=True,
    ),
    Operation(
        "agent attested", lambda node, s, made: node.agents.attest(*made), challenged, once=True,
        transactions=0,
    ),
    Operation(
        "agent quarantined",
        lambda node, s, _: node.agents.quarantine(s.person, s.delegations[0].agent_name, "rig"),
        asked, once=True,
    ),
    Operation(
        "agent reinstated",
        lambda node, s, _: node.agents.reinstate(s.person, s.delegations[0].agent_name),
        quarantined, once=True,
    ),
    Operation(
        "agent retired",
        lambda node, s, _: node.agents.retire(s.person, s.delegations[0].agent_name, "rig"),
        once=True,
    ),
    Operation(
        "mandate committed",
        lambda node, s, _: node.delegation.commit_mandate(
            s.person, world_of(node, s).draft(s.delegations[0].agent_name)
        ),
    ),
    Operation(
        "mandate revoked", _revoke_mandate, asked, once=True,
    ),
    Operation(
        "token exchanged", lambda node, s, made: node.delegation.exchange(*made), exchanging,
        once=True,
    ),
    Operation(
        "device login begun", lambda node, s, _: node.delegation.start_device(login_proof(node))
    ),
    Operation(
        "device login approved",
        lambda node, s, made: node.delegation.approve_device(s.person, made[0].user_code), device,
        once=True,
    ),
    Operation(
        "device login redeemed",
        lambda node, s, made: node.delegation.poll_device(made[0].device_code, made[1]),
        device_approved, once=True,
    ),
    Operation(
        "mandate revoked with what hangs on it", _revoke_mandate, waiting, once=True,
    ),
    Operation(
        "grant revoked",
        lambda node, s, _: node.delegation.revoke_grant(
            s.person, s.delegations[0].mandate.id, s.delegations[0].grant_id, "rig"
        ),
        once=True,
    ),
    Operation(
        "endorsement withdrawn",
        lambda node, s, made: node.delegation.withdraw_endorsement(
            s.person, s.delegations[0].mandate.id, made
        ),
        waiting, once=True,
    ),
    Operation(
        "policies published",
        lambda node, s, made: Ruling(node).authorization.publish(
            "usr_a", made[2], replaces=made[1]
        ),
        published, once=True,
    ),
    Operation(
        "policies rolled back",
        lambda node, s, made: Ruling(node, four_eyes=False).changes.roll_back("usr_a", made[0]),
        published, once=True,
    ),
    Operation(
        "policies proposed", lambda node, s, made: Ruling(node).propose(made[2]), published
    ),
    Operation(
        "policies approved", lambda node, s, made: Ruling(node).changes.approve("usr_b", made),
        proposed, once=True,
    ),
    Operation("trial begun", _tried),
    Operation(
        "trial stopped", lambda node, s, made: Ruling(node).trials.stop("usr_a", made), _trying,
        once=True,
    ),
    Operation("keys rotated", _rotate, _with_keys, transactions=3),
    Operation("key killed", _kill_key, _with_keys, once=True, transactions=3),
    Operation("keys wrapped again", _rewrap, _with_keys, transactions=3),
    Operation("person erased", _erase, with_mandate, holds=_is_in_the_ledger),
    Operation("entries refused", _prune, long),
    Operation(
        "entries deleted", lambda node, s, _: _pruned(node, s, delete=True), _refused_long_ago,
        transactions=2,
    ),
)  # fmt: skip
