"""Policies and keys beside a node's services, as a server wires them."""

from __future__ import annotations

from tests.faults.node import Node

from actfor.authorization.model.publication import Proposal
from actfor.authorization.service import AuthorizationService, PolicyChanges, Trials
from actfor.keys import KeyService, Vault
from actfor.server.keyring import recorder


class Ruling:
    """Policies, with two people needed for a change, as a node has them."""

    def __init__(self, node: Node, *, four_eyes: bool = True) -> None:
        given = (node.database, node.audit, node.clock.now)
        self.authorization = AuthorizationService(*given)
        self.changes = PolicyChanges(self.authorization, *given, four_eyes=four_eyes)
        self.trials = Trials(self.authorization, *given, four_eyes=False)

    async def propose(self, text: str) -> str:
        """The id of a proposal by `usr_a`."""
        made = await self.changes.publish("usr_a", text)
        assert isinstance(made, Proposal)
        return made.id


async def keys_of(node: Node) -> KeyService:
    keys = KeyService(node.database, Vault(), node.clock.now)
    await keys.open()
    await keys.start(recorder(node.audit))
    return keys
