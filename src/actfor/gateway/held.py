"""What an agent holds behind a foreign enforcement point: a mandate that names it, or what its
token shows (ADR 20).
"""

from __future__ import annotations

from dataclasses import dataclass

from actfor.delegation import Delegation, DelegationService, Mandate
from actfor.gateway.facts import Between, between
from actfor.gateway.mapped import claims_of, claims_under
from actfor.identity import Agent
from actfor.store import Tx
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import Authority, Budget, Grant


@dataclass(frozen=True, slots=True)
class Held:
    """What the acting agent may do: all of a mandate that names it, or what its token shows.

    Nobody here saw a proof of the token's key. It shows how the agent came by its authority, no
    more; that the agent asks is the enforcement point's word, as it is where none is shown.
    """

    mandate: Mandate
    shown: Delegation | None = None

    @property
    def authority(self) -> Authority:
        """The most that the agent holds; of a chain that of its last token, which only narrows."""
        return self.mandate.authority if self.shown is None else self.shown.authority

    @property
    def chain(self) -> tuple[str, ...]:
        """The actors, who acts first. Empty without a token."""
        return () if self.shown is None else tuple(str(actor) for actor in self.shown.chain)

    def counted(self, index: int) -> str | None:
        """What is limited, at any level of a chain, that only the gateway counts or traces.

        ``index`` is the grant that covers the call (``Delegation.levels``, ADR 19).
        """
        if self.shown is None:
            return _limit(self.authority, self.authority.grants[index])
        levels = [(level.authority, level.grant(index)) for level in self.shown.levels]
        return next((limit for one in levels if (limit := _limit(*one))), None)

    def is_explicit(self, index: int) -> bool:
        """Whether the person named this tool themselves; an agent that narrows has not."""
        origin = index if self.shown is None else self.shown.origins[index]
        return self.mandate.authority.grants[origin].is_explicit

    @property
    def between(self) -> Between:
        """The agents between the person and the one that acts, as facts."""
        return {} if self.shown is None else between(self.shown)

    def claims(self, issuer: str, audience: str) -> JsonObject:
        """What a mapping may read of the token; without one, what the mandate says of it."""
        if self.shown is not None:
            return claims_of(self.shown, issuer)
        return claims_under(self.mandate, issuer, audience)

    def check(self, tx: Tx, delegation: DelegationService, agent: Agent) -> dict[str, JsonValue]:
        """Refuse, in the recording transaction, what was taken back; the epochs it rests on.

        Of a chain: each agent, each token and the mandate.
        """
        if self.shown is None:
            return dict(delegation.check_mandate(tx, self.mandate, agent))
        delegation.check_live(tx, self.shown)
        return dict(self.shown.epochs)


def _limit(authority: Authority, grant: Grant) -> str | None:
    if authority.budget != Budget():
        return "calls or money"
    if grant.max_calls is not None or grant.rates:
        return "the number of calls"
    if grant.ask_above is not None or grant.ask_new_recipient:
        return "sums or recipients"
    return "where data may flow" if authority.flows else None
