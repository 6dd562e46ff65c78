"""What an operation of a rig stands on, made before and by another process than the one that dies.

Each takes a node and its setting, and gives back what the operation is then called with.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from tests.fakes.console_people import House, exact_call
from tests.fakes.delegation_world import ISSUER, World, form
from tests.fakes.identity_process import code_tree
from tests.faults.node import SERVERS, Node, Setting, permitted, sign
from tests.faults.ruling import Ruling

from actfor.authorization.policies import default_source
from actfor.identity import Evidence
from actfor.sdk.attest import attestation_proof
from actfor.store import Tx
from actfor.wire import dpop, token_exchange
from actfor.wire.dpop import DpopProof
from actfor.wire.jose import SigningKey


async def asked(node: Node, setting: Setting) -> Any:
    call = exact_call(setting.person.id, {"n": 77}, agent=str(setting.delegations[0].agent))
    one = await node.approvals.request(call, decision_trace="dec_77", reasons=["rig"])
    options = await node.approvals.options(setting.person, one.id)
    return one.id, sign(setting, options), call


async def invited(node: Node, setting: Setting) -> Any:
    token = await node.people.invite(setting.person, "Bob", ("approver",))
    begun = await node.people.register_options(token, None)
    passkey = type(setting.passkey)(node.people.origins[0])
    return begun.id, passkey.create(begun.options)


async def signing_in(node: Node, setting: Setting) -> Any:
    begun = await node.people.signin_options()
    return begun.id, sign(setting, begun.options)


def world_of(node: Node, setting: Setting) -> World:
    house = House(node.database, node.audit, node.people, node.approvals, node.clock.now)
    keys = [setting.token_key]
    return World(
        house, node.agents, node.delegation, keys, setting.svid_key, node.clock, Path("/"),
        setting.person, SERVERS,
    )  # fmt: skip


async def exchanging(node: Node, setting: Setting) -> Any:
    world = world_of(node, setting)
    holder = await world.attest(setting.delegations[0].agent_name)
    subject = await world.subject(setting.delegations[0].mandate)
    return token_exchange.parse(form(holder, subject)), world.verified(holder.key)


async def challenged(node: Node, setting: Setting) -> Any:
    key, name = SigningKey.generate(), setting.delegations[0].agent_name
    evidence = Evidence(os.getpid(), os.getuid(), os.getpid())
    challenge = await node.agents.challenge(name, evidence.peer_pid)
    agent = await node.agents.show(name)
    proof = attestation_proof(
        key, agent=str(agent.id), audience=ISSUER, nonce=challenge.nonce, pid=evidence.pid,
        now=node.clock.now(),
    )  # fmt: skip
    return name, evidence, proof, key.public.jwk


def login_proof(node: Node) -> DpopProof:
    key = SigningKey.generate()
    url = f"{ISSUER}/token"
    made = dpop.build_proof(
        key=key, method="POST", url=url, now=node.clock.now(), jti="jti_login_0123456789"
    )
    return dpop.verify_proof(made, method="POST", url=url, now=node.clock.now())


async def device(node: Node, setting: Setting) -> Any:
    proof = login_proof(node)
    return await node.delegation.start_device(proof), proof


async def device_approved(node: Node, setting: Setting) -> Any:
    started, proof = await device(node, setting)
    await node.delegation.approve_device(setting.person, started.user_code)
    return started, proof


async def quarantined(node: Node, setting: Setting) -> Any:
    await node.agents.quarantine(setting.person, setting.delegations[0].agent_name, "rig")


async def code(node: Node, setting: Setting) -> Any:
    return code_tree(Path(setting.url.removeprefix("sqlite:///") + ".code"))


async def joined(node: Node, setting: Setting) -> Any:
    return await node.people.register(*(await invited(node, setting)))


async def grown(node: Node, setting: Setting, to: int = 255) -> Any:
    """255 leaves, so that the next completes a tile; in small transactions, for a busy machine."""
    size = (await node.audit.head()).size

    def unit(tx: Tx, start: int) -> None:
        for n in range(start, min(start + 40, to)):
            node.audit.append(tx, permitted(setting.delegations[0], 1_000_000 + n))

    for start in range(size, to, 40):
        await node.database.write(partial(unit, start=start))


async def waiting(node: Node, setting: Setting) -> Any:
    """A question under the mandate, a yes that was not used, and a value that was endorsed."""
    delegation = setting.delegations[0]
    call = exact_call(
        setting.person.id, {"n": 78}, agent=str(delegation.agent), mandate_id=delegation.mandate.id,
        chain=(str(delegation.agent),),
    )  # fmt: skip
    await node.approvals.request(call, decision_trace="dec_78", reasons=["rig"])
    await node.database.write(
        lambda tx: node.delegation.endorse(
            tx, mandate_id=delegation.mandate.id, tool="bank/pay", slots=[("/to", "DE02")],
            by=setting.person.id, approval_id="apr_rig",
        )
    )  # fmt: skip
    (endorsed,) = await node.delegation.endorsements(delegation.mandate.id)
    return endorsed.id


async def published(node: Node, setting: Setting) -> Any:
    """Two versions, one in force; the first, and a text that is to follow."""
    ruling = Ruling(node, four_eyes=False)
    await ruling.authorization.ensure_default()
    first = await node.database.read(ruling.authorization.version_in_force)
    second = await ruling.authorization.publish("usr_a", default_source() + "\n// second\n")
    return first, second.version, default_source() + "\n// third\n"


async def proposed(node: Node, setting: Setting) -> Any:
    text = (await published(node, setting))[2]
    return await Ruling(node).propose(text)


async def with_mandate(node: Node, setting: Setting) -> Any:
    """Somebody with a mandate and a question, who is to be erased."""
    somebody = await joined(node, setting)
    draft_ = world_of(node, setting).draft(setting.delegations[0].agent_name)
    await node.delegation.commit_mandate(somebody.person, draft_)
    call = exact_call(somebody.person.id, {"n": 79}, agent=str(setting.delegations[0].agent))
    await node.approvals.request(call, decision_trace="dec_79", reasons=["rig"])
    return somebody.person.id


async def long(node: Node, setting: Setting) -> Any:
    await grown(node, setting, 300)
    await node.audit.checkpoint()
