"""Everything of the product that may be taken once, how it is made, and how it is taken.

`COLUMNS` says for everything that the product ever changes in its database whether it is taken
once, and which race takes it: `test_everything_that_may_be_taken_once_is_raced_for` reads the
product's own statements and fails where a column has no answer here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from tests.fakes.console_people import exact_call
from tests.fakes.delegation_world import BANK, CRM, ISSUER, Holder
from tests.fakes.identity_process import code_tree, draft
from tests.faults.arranged import (
    challenged,
    device,
    device_approved,
    exchanging,
    invited,
    login_proof,
    signing_in,
    world_of,
)
from tests.faults.node import Node, Setting, permitted, sign
from tests.faults.ruling import Ruling, keys_of

from actfor.approval import Answer
from actfor.audit.export import repository as exports
from actfor.authorization.model.facts import ToolEffect
from actfor.authorization.policies import default_source
from actfor.delegation import MandateDraft
from actfor.delegation.model import Delegation
from actfor.delegation.service.access import ONE_CALL
from actfor.delegation.usage import Use
from actfor.errors import Kind, Refused
from actfor.gateway import repository as gateway_rows
from actfor.gateway.model import Http, Server
from actfor.keys import Purpose
from actfor.store import Tx, new_id
from actfor.wire import dpop
from actfor.wire.jose import SigningKey
from actfor.wire.rar import Money, to_authorization_details

RACERS = 6
PEP = "usr_pep"
"""The enforcement point that asked what is answered, and may take it back."""


@dataclass(frozen=True)
class Thing:
    """Something of which ``worth`` attempts may succeed."""

    kind: str
    key: str
    made: Any
    worth: int = 1
    racers: int = RACERS


Take = Callable[[Node, Setting, Any, int], Awaitable[object]]


# -- making them -------------------------------------------------------------------------------------


async def make(node: Node, setting: Setting, rounds: int, budgets: int) -> list[Thing]:
    """``rounds`` of each kind that is cheap, one of each that is not."""
    things: list[Thing] = []
    for n in range(rounds):
        things += [Thing("proof", f"{n}.{k}", n * 20 + k) for k in range(20)]
        things += await _people_and_agents(node, setting, n)
        things += await _taken_back(node, setting, n)
    things += await _limits(node, setting)
    things += await _proofs(node, setting)
    things += await _rare(node, setting)
    things += [Thing("approval", f"{n}", (n, digest)) for n, digest in enumerate(setting.approved)]
    return things + [Thing("budget", f"{n}", n, worth=7, racers=30) for n in range(budgets)]


async def _people_and_agents(node: Node, setting: Setting, n: int) -> list[Thing]:
    call = exact_call(setting.person.id, {"race": n}, agent=f"spiffe://example.org/agent/r{n}")
    call = replace(call, enforced_by=PEP)
    asked = await node.approvals.request(call, decision_trace=f"dec_race{n}", reasons=["rig"])
    yes = {}
    for racer in range(0, RACERS, 2):
        yes[racer] = sign(setting, await node.approvals.options(setting.person, asked.id))
    redeemed, proof = await device_approved(node, setting)
    again = {racer: login_proof(node) for racer in range(1, RACERS)}
    only = replace(setting, delegations=setting.delegations[:1])
    return [
        Thing("answer", str(n), (asked.id, yes)),
        Thing("denial asked about", str(n), f"dec_asked{n}"),
        Thing("key of a request", str(n), f"key{n}"),
        Thing("device code", str(n), (redeemed, proof, again)),
        Thing("device answer", str(n), await device(node, setting)),
        Thing("ceremony of a registration", str(n), await invited(node, setting)),
        Thing("ceremony of a sign-in", str(n), await signing_in(node, setting)),
        Thing("attestation challenge", str(n), await challenged(node, setting)),
        Thing("proof of an exchange", str(n), await exchanging(node, only)),
        Thing("invitation", str(n), await _one_link(node, setting)),
    ]


async def _one_link(node: Node, setting: Setting) -> list[Any]:
    """One link, opened by each racer in a browser of their own."""
    token = await node.people.invite(setting.person, "Bob", ("approver",))
    begun = [await node.people.register_options(token) for _ in range(RACERS)]
    origin = node.people.origins[0]
    return [(one.id, type(setting.passkey)(origin).create(one.options)) for one in begun]


async def _one_passkey(node: Node, setting: Setting) -> list[Any]:
    """One passkey, which each racer registers by a link of their own."""
    passkey, made = type(setting.passkey)(node.people.origins[0]), []
    for _ in range(RACERS):
        token = await node.people.invite(setting.person, "Bob", ("approver",))
        begun = await node.people.register_options(token)
        made.append((begun.id, passkey.create(begun.options)))
    return made


async def _one_count(node: Node, setting: Setting) -> list[Any]:
    """Sign-ins by copies of one passkey that counts: all of them say the same number."""
    passkey, made = type(setting.passkey)(node.people.origins[0]), []
    begun = await node.people.register_options(
        await node.people.invite(setting.person, "Bob", ("approver",))
    )
    await node.people.register(begun.id, passkey.create(begun.options))
    for _ in range(RACERS):
        begun = await node.people.signin_options()
        passkey.count = 4
        made.append((begun.id, passkey.get(begun.options)))
    return made


async def _taken_back(node: Node, setting: Setting, n: int) -> list[Thing]:
    world, name = world_of(node, setting), setting.delegations[0].agent_name
    mandate = await world.mandate(name)
    holder = await world.attest(name)
    issued = await world.exchange(holder, await world.subject(mandate))
    grant = (await world.authenticate(holder, issued.access_token)).delegation.grant_id
    await node.database.write(
        lambda tx: node.delegation.endorse(
            tx, mandate_id=mandate.id, tool="bank/pay", slots=[("/to", "DE02")],
            by=setting.person.id, approval_id=new_id("apr"),
        )
    )  # fmt: skip
    (endorsed,) = await node.delegation.endorsements(mandate.id)
    return [
        Thing("grant taken back", str(n), (mandate.id, grant)),
        Thing("endorsement taken back", str(n), (mandate.id, endorsed.id)),
        Thing("mandate taken back", str(n), (await world.mandate(name)).id),
    ]


async def _limits(node: Node, setting: Setting) -> list[Thing]:
    """A token for each kind of limit that counts; what is asked for is more than there is."""
    crm = {"server": "crm", "tools": ["read_query"], "effects": ["read"]}
    bank = {"server": "bank", "tools": ["pay"], "effects": ["pay"]}
    euros = {"amount": {"value": "7.00", "currency": "EUR"}}
    wanted: list[tuple[str, str, dict[str, Any], dict[str, Any], int]] = [
        ("calls of a grant", CRM, {**crm, "max_calls": 7}, {"calls": 100}, 7),
        ("calls a day", CRM, crm, {"windows": [{"per": "day", "calls": 5}]}, 5),
        ("recipients", CRM, crm, {"recipients": 3}, 3),
        ("recipients a day", CRM, crm, {"windows": [{"per": "day", "recipients": 2}]}, 2),
        ("money", BANK, bank, euros, 7),
    ]
    world, made = world_of(node, setting), []
    holder = await world.attest(setting.delegations[0].agent_name)
    for at, (kind, audience, grant, budget, worth) in enumerate(wanted):
        delegation = await _delegated(
            node, setting, holder, audience, grants=[grant], budget=budget
        )
        made.append(Thing("limit", kind, (at, delegation), worth=worth, racers=12))
    return made


async def _delegated(
    node: Node, setting: Setting, holder: Holder, audience: str, **draft_: Any
) -> Delegation:
    world = world_of(node, setting)
    mandate = await world.mandate(holder.agent.name, **draft_)
    issued = await world.exchange(holder, await world.subject(mandate), resource=audience)
    return (await world.authenticate(holder, issued.access_token, audience)).delegation


async def unlimited(node: Node, setting: Setting) -> Delegation:
    """A delegation whose budget is no limit, for all races but those about budgets."""
    holder = await world_of(node, setting).attest(setting.delegations[0].agent_name)
    grant = {"server": "crm", "tools": ["read_query"], "effects": ["read"]}
    budget = {"calls": 1_000_000}
    return await _delegated(node, setting, holder, CRM, grants=[grant], budget=budget)


async def _proofs(node: Node, setting: Setting) -> list[Thing]:
    """A proof that came with a wish, and one of a command line."""
    world = world_of(node, setting)
    holder = await world.attest(setting.delegations[0].agent_name)
    authority = setting.delegations[0].mandate.authority
    details = to_authorization_details(authority, resources=node.delegation.resources)
    wish = (holder.svid.token, world.verified(holder.key), details, "please")
    answered = await node.delegation.wish(
        holder.svid.token, world.verified(holder.key), details, "please"
    )
    key, url = SigningKey.generate(), f"{ISSUER}/token"
    jti, now = new_id("jti"), node.clock.now()
    proof = dpop.verify_proof(
        dpop.build_proof(key=key, method="POST", url=url, now=now, jti=jti),
        method="POST", url=url, now=now,
    )  # fmt: skip
    started = await node.delegation.start_device(proof)
    await node.delegation.approve_device(setting.person, started.user_code)
    token = (await node.delegation.poll_device(started.device_code, proof)).access_token
    asked = dpop.build_proof(
        key=key, method="GET", url=f"{ISSUER}/v1/x", now=now, jti=new_id("jti"), access_token=token
    )
    return [
        Thing("proof of a wish", "", wish),
        Thing("wish answered", "", (answered.id, holder.agent.name, authority)),
        Thing(
            "proof of a wish's answer",
            "",
            (holder.svid.token, world.verified(holder.key), answered.id),
        ),
        Thing("proof of a command line", "", (f"DPoP {token}", asked)),
    ]


async def _rare(node: Node, setting: Setting) -> list[Thing]:
    """What costs too much to make often."""
    folder = Path(setting.folder)
    root = code_tree(folder / "newcomer")
    await node.agents.register(setting.person, draft(code_tree(folder / "bad"), "bad"))
    begun = await invited(node, setting)
    erased = (await node.people.register(*begun)).person.id
    await node.database.write(lambda tx: exports.begin(tx, "siem", 0))
    keys = await keys_of(node)
    (active, *_) = keys.held(Purpose.ACCESS_TOKEN)
    ruling = Ruling(node)
    await ruling.authorization.ensure_default()
    in_force = await node.database.read(ruling.authorization.version_in_force)
    texts = [default_source() + f"\n// {n}\n" for n in range(RACERS)]
    proposed = [await ruling.propose(text) for text in texts]
    trial = await ruling.trials.report_only(
        "usr_a", effects=[ToolEffect.READ], lasting=timedelta(hours=1),
        agent=str(setting.delegations[1].agent), note="rig",
    )  # fmt: skip
    closed = await ruling.propose(texts[0] + "\n// closed\n")
    return [
        Thing("name of an agent", "", root),
        Thing("agent quarantined", "", "bad"),
        Thing("passkey", "", await _one_passkey(node, setting)),
        Thing("count of a passkey", "", await _one_count(node, setting)),
        Thing("person erased", "", erased),
        Thing("right to export", "", "siem"),
        Thing("name of a server", "", "crm"),
        Thing("key revoked", "", active.key.kid),
        Thing("policies in force", "", (in_force, proposed, texts)),
        Thing("proposal settled", "", closed),
        Thing("trial stopped", "", trial.id),
    ]


# -- taking them -------------------------------------------------------------------------------------


async def _proof(node: Node, setting: Setting, made: Any, racer: int) -> object:
    return await node.decide(setting.delegations[0], made * 100 + racer, f"once-{made}")


async def _approval(node: Node, setting: Setting, made: Any, racer: int) -> object:
    number = 10_000_000 + made[0] * 100 + racer
    return await node.decide(setting.delegations[0], number, f"apr-{number}", made[1])


async def _budget(node: Node, setting: Setting, made: Any, racer: int) -> object:
    number = 20_000_000 + made * 1000 + racer
    return await node.decide(setting.delegations[1 + made], number, f"bud-{number}")


async def _limit(node: Node, setting: Setting, made: Any, racer: int) -> object:
    at, delegation = made
    number, use = 30_000_000 + at * 1000 + racer, ONE_CALL
    budget = delegation.authority.budget
    if budget.counts_recipients:
        use = Use(recipients=frozenset({f"recipient-{racer}"}))
    elif budget.amount is not None:
        use = Use(amount=Money.parse("1.00", "EUR"))

    def unit(tx: Tx) -> int:
        node.delegation.consume(tx, delegation, use, proof=f"lim-{number}")
        return node.audit.append(tx, permitted(delegation, number))

    return await node.database.write(unit)


async def _answer(node: Node, setting: Setting, made: Any, racer: int) -> object:
    if racer == RACERS - 1:
        return await node.approvals.withdraw(PEP, made[0], "obsolete")
    if racer % 2:
        return await node.approvals.answer(setting.person, made[0], Answer.DENY, reason="no")
    return await node.approvals.answer(setting.person, made[0], Answer.APPROVE, made[1][racer])


async def _redeem(node: Node, setting: Setting, made: Any, racer: int) -> object:
    key_proof = made[1] if racer == 0 else made[2][racer]
    return await node.delegation.poll_device(made[0].device_code, key_proof)


async def _erase(node: Node, setting: Setting, made: Any, racer: int) -> object:
    return await node.database.write(lambda tx: node.people.erase(tx, setting.person, made))


async def _claim(node: Node, setting: Setting, made: Any, racer: int) -> object:
    return await _first(node, lambda tx: exports.claim(tx, made, f"node-{racer}", 60_000))


async def _add_server(node: Node, setting: Setting, made: Any, racer: int) -> object:
    url = f"http://127.0.0.1:{8000 + racer}/mcp"
    server = Server(made, Http(url), setting.person.id, node.clock.now())
    return await _first(node, lambda tx: gateway_rows.add_server(tx, server))


async def _ask_about(node: Node, setting: Setting, made: Any, racer: int) -> object:
    task = gateway_rows.AccessRequested(PEP, f"apr_{racer}", "")
    return await _first(
        node,
        lambda tx: gateway_rows.add_access_request(tx, made, task, None, node.clock.now()),
    )


async def _ask_by_key(node: Node, setting: Setting, made: Any, racer: int) -> object:
    task = gateway_rows.AccessRequested(PEP, f"apr_{racer}", "")
    return await _first(
        node,
        lambda tx: gateway_rows.add_access_request(
            tx, f"dec_{made}_{racer}", task, made, node.clock.now()
        ),
    )


async def _answer_wish(node: Node, setting: Setting, made: Any, racer: int) -> object:
    if racer % 2:
        await node.delegation.dismiss_wish(setting.person, made[0])
        return None
    _, agent, authority = made
    until = node.clock.now() + timedelta(hours=1)
    draft_ = MandateDraft(agent, f"race {racer}", authority, until, wish=made[0])
    return await node.delegation.commit_mandate(setting.person, draft_)


async def _first(node: Node, unit: Callable[[Tx], bool]) -> object:
    if not await node.database.write(unit):
        raise Refused(Kind.CONFLICT, "somebody was first")
    return None


async def _kill_key(node: Node, setting: Setting, made: Any, racer: int) -> object:
    keys = await keys_of(node)
    return await keys.revoke(Purpose.ACCESS_TOKEN, by="usr_rig", cause="stolen", kid=made)


async def _rule(node: Node, setting: Setting, made: Any, racer: int) -> object:
    in_force, proposed, texts = made
    ruling = Ruling(node)
    if racer % 2:
        return await ruling.changes.approve("usr_b", proposed[racer])
    return await ruling.authorization.publish(f"usr_{racer}", texts[racer], replaces=in_force)


TAKE: Mapping[str, Take] = {
    "proof": _proof,
    "approval": _approval,
    "budget": _budget,
    "limit": _limit,
    "answer": _answer,
    "device code": _redeem,
    "device answer": lambda node, s, made, racer: node.delegation.approve_device(
        s.person, made[0].user_code, approve=racer % 2 == 0
    ),
    "ceremony of a registration": lambda node, s, made, _: node.people.register(*made),
    "ceremony of a sign-in": lambda node, s, made, _: node.people.signin(*made),
    "attestation challenge": lambda node, s, made, _: node.agents.attest(*made),
    "invitation": lambda node, s, made, racer: node.people.register(*made[racer]),
    "passkey": lambda node, s, made, racer: node.people.register(*made[racer]),
    "count of a passkey": lambda node, s, made, racer: node.people.signin(*made[racer]),
    "proof of an exchange": lambda node, s, made, _: node.delegation.exchange(*made),
    "proof of a wish": lambda node, s, made, _: node.delegation.wish(*made),
    "proof of a command line": lambda node, s, made, _: node.delegation.authenticate_person(
        made[0], proof=made[1], method="GET", url=f"{ISSUER}/v1/x"
    ),
    "proof of a wish's answer": lambda node, s, made, _: node.delegation.answered(*made),
    "wish answered": _answer_wish,
    "denial asked about": _ask_about,
    "key of a request": _ask_by_key,
    "grant taken back": lambda node, s, made, _: node.delegation.revoke_grant(
        s.person, made[0], made[1], "race"
    ),
    "endorsement taken back": lambda node, s, made, _: node.delegation.withdraw_endorsement(
        s.person, *made
    ),
    "mandate taken back": lambda node, s, made, _: node.delegation.revoke_mandate(
        s.person, made, "race"
    ),
    "name of an agent": lambda node, s, made, _: node.agents.register(
        s.person, draft(made, "newcomer")
    ),
    "agent quarantined": lambda node, s, made, _: node.agents.quarantine(s.person, made, "race"),
    "person erased": _erase,
    "right to export": _claim,
    "name of a server": _add_server,
    "key revoked": _kill_key,
    "policies in force": _rule,
    "proposal settled": lambda node, s, made, racer: Ruling(node).changes.reject(
        "usr_a" if racer % 2 else "usr_b", made
    ),
    "trial stopped": lambda node, s, made, _: Ruling(node).trials.stop(s.person.id, made),
}  # fmt: skip


# -- the list, held against the product's own statements -----------------------------------------------

NEW: Final = "+"
GONE: Final = "-"
_SAME = "what is inserted has an id that was made for it: nobody can ask for the same"
_FIRST = "the second finds the first's row and uses it"
_HELD = "written with what is raced for in the columns beside it"
_TOLD = "says what was; taken from nothing"
_AGED = "what is too old by itself is forgotten"
_RISES = "only rises, by a comparison in the statement; to the same value twice is once"
_LOG = "the log's own: one writer at a time by its head (R1 to R5, R15)"
_AGAIN = "each change counts, over an epoch that rises; R7 takes authority away under load"

COLUMNS: Mapping[str, str | Sequence[str]] = {
    "access_request.+": ["denial asked about", "key of a request"], "access_request.-": _AGED,
    "agent.+": ("name of an agent",),
    **dict.fromkeys(
        ("agent.state", "agent.epoch", "agent.cause"), ("agent quarantined",)
    ),
    "agent.manifest_digest": _AGAIN, "agent.reference": _AGAIN,
    "agent_instance.+": _SAME, "agent_instance.svid_expires_at": _TOLD,
    "agent_instance.ended": "ended twice is ended",
    "agent_tree.+": _HELD, "agent_tree.-": _HELD,
    "approval.+": _SAME,
    "approval.state": ["approval", "answer"], "approval.consumed_at": ("approval",),
    **dict.fromkeys(
        [f"approval.{c}" for c in ("answered_at", "approver", "assertion", "endorsed", "reason")],
        ("answer",),
    ),
    "approval.-": "with their person: `person erased`",
    "ceremony.+": _SAME,
    "ceremony.-": [
        "ceremony of a registration", "ceremony of a sign-in", "attestation challenge",
    ],
    "data_key.+": _FIRST, "data_key.root": _FIRST,
    "data_key.outside": "which file seals the key, too; wrapped again it is the same key",
    "data_key.wrapped": ("person erased",),
    "data_key.erased_by": "by the unit that erases the person: `person erased`",
    "device_login.+": _SAME, "device_login.state": ["device code", "device answer"],
    "device_login.person_id": ("device answer",), "device_login.person_epoch": ("device answer",),
    "device_login.polled_at": _TOLD, "device_login.-": _AGED,
    "export_cursor.+": _FIRST,
    "export_cursor.holder": ("right to export",), "export_cursor.held_until": ("right to export",),
    **dict.fromkeys(
        [f"export_cursor.{c}" for c in ("delivered_at", "error", "failures", "next_index")],
        "only its holder's",
    ),
    "gateway_server.+": ("name of a server",), "gateway_server.-": "removed twice is removed",
    "gateway_tool.+": _HELD, "gateway_tool.-": _HELD,
    **dict.fromkeys(
        [
            f"gateway_tool.{c}"
            for c in ("approved_at", "approved_by", "listed", "listed_digest", "overlay",
                      "pinned", "pinned_digest", "state")
        ],
        "a pin says which definition it is for; R7 takes pins away under load",
    ),
    "grant_slot.+": _HELD, "grant_slot.-": _AGED, "grant_slot.calls_used": ("limit",),
    "issued_grant.+": _SAME, "issued_grant.-": _AGED,
    "issued_grant.calls_used": ("budget",), "issued_grant.amount_used": ("limit",),
    "issued_grant.revoked_at": ("grant taken back",),
    **dict.fromkeys(
        [
            "log_checkpoint.+", "log_checkpoint.-", "log_checkpoint.at", "log_checkpoint.note",
            "log_checkpoint.root", "log_checkpoint.size", "log_cosigned.+", "log_cosigned.-",
            "log_head.+", "log_head.frontier", "log_head.size", "log_leaf.+", "log_leaf.-",
            "log_payload.-", "log_ref.+", "log_ref.-", "log_sealed.+", "log_sealed.-", "log_tile.+",
        ],
        _LOG,
    ),
    **dict.fromkeys(
        ["log_minimum.+", "log_minimum.at", "log_minimum.minimum", "log_minimum.deleted"], _RISES
    ),
    "mandate.+": _SAME, "mandate.-": "with their person: `person erased`",
    **dict.fromkeys(["mandate.state", "mandate.epoch", "mandate.reason"], ("mandate taken back",)),
    "mandate.calls_used": ("budget",), "mandate.amount_used": ("limit",),
    "mandate.recent_calls": _HELD, "mandate.recent_hour": _HELD,
    "mandate_endorsement.+": _SAME, "mandate_endorsement.-": "with their mandate",
    "mandate_endorsement.withdrawn_at": ("endorsement taken back",),
    "mandate_template.+": "a second text is a second version",
    "mandate_wish.+": _SAME, "mandate_wish.-": _AGED,
    "mandate_wish.answer": ("wish answered",), "mandate_wish.mandate_id": ("wish answered",),
    "passkey.+": ("passkey",), "passkey.-": "with their person: `person erased`",
    "passkey.sign_count": ("count of a passkey",), "passkey.backed_up": _TOLD,
    "person.+": ("invitation",),
    "person.roles": _AGAIN, "person.epoch": _AGAIN, "person.state": ("person erased",),
    "person.name": ("person erased",),
    "policy_proposal.+": _SAME,
    **dict.fromkeys(
        [f"policy_proposal.{c}" for c in ("settled_at", "settled_by", "state")],
        ("proposal settled", "policies in force"),
    ),
    "policy_publication.+": ("policies in force",),
    "policy_trial.+": _SAME, "policy_trial.stopped_at": ("trial stopped",),
    "root_key.+": _FIRST, "root_key.kek": _FIRST, "root_key.wrapped": _FIRST, "root_key.-": _HELD,
    "setup_link.+": _SAME, "setup_link.-": "only used ones, and those of who was erased",
    "setup_link.used_at": ("invitation",),
    "signing_key.+": _SAME,
    **dict.fromkeys(
        [f"signing_key.{c}" for c in ("cause", "rotate_at", "since", "state", "sealed")],
        ("key revoked",),
    ),
    "spent_proof.+": [
        "proof", "proof of an exchange", "proof of a wish", "proof of a wish's answer",
        "proof of a command line",
    ],
    "spent_proof.-": _AGED,
    "usage_meter.+": ("limit",), "usage_meter.used": ("limit",), "usage_meter.-": _AGED,
    "usage_set.value": "another form of the same value, at the start of a newer release",
    "usage_set.+": ("limit",), "usage_set.last_at": ("limit",), "usage_set.-": _AGED,
    "web_session.+": _SAME, "web_session.-": "ended twice is ended", "web_session.idle_at": _TOLD,
}  # fmt: skip
