"""Chains of agents: who passed a mandate on to whom, how far, and what is counted where. Pure.

The `act` claim names the actors (RFC 8693 §4.1); beside it our own claim `through` has, for each
actor but the acting one and in the same order, the grant it held then:

    {"grant": "gr_…", "agent_epoch": 1, "authorization_details": […]}

Without details it held all that it could: the mandate for this server, or what was passed on to it.

INVARIANT: a chain only grows, and each link's authority is within the one above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from actfor.delegation.model import Delegation, Link, integer, member
from actfor.errors import Kind, Refused
from actfor.wire import jose
from actfor.wire.canonical import JsonObject, JsonValue, canonical
from actfor.wire.rar import (
    Authority,
    from_authorization_details,
    origin,
    to_authorization_details,
)
from actfor.wire.spiffe import SpiffeId
from actfor.wire.token_exchange import ACTOR_UNAUTHORIZED, INVALID_REQUEST

MAX_CHAIN: Final = 8
MAX_CHAIN_BYTES: Final = 4_500
"""Of a chain and what it may do, in canonical form: a token is at most ``jose.MAX_TOKEN_BYTES``."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What an agent passed on: the most that may come of it, and by whom it came here.

    ``act`` is the chain as the token has it; ``told`` our claim about the same actors.
    """

    authority: Authority
    act: JsonObject
    told: JsonValue

    def above(self, mandate: Authority, *, resources: str) -> tuple[Link, ...]:
        """The actors, the nearest first, with what each held.

        Raises:
            Refused: UNAUTHENTICATED if the token does not say that.
        """
        server = self.authority.grants[0].server
        return passed_links(actors(self.act), self.told, mandate, server, resources=resources)


def above_of(held: Delegation) -> tuple[Link, ...]:
    """Who stands above whoever is given ``held``: its holder, and those above that one."""
    own = Link(held.grant_id, held.agent, held.instance, held.agent_epoch, held.authority)
    return (own, *held.through)


def require_passable(held: Delegation, to: SpiffeId) -> None:
    """Refuse unless the holder may pass its token on to the agent ``to``.

    Raises:
        Refused: DENIED with `invalid_request` (too deep) or `actor_unauthorized` (not that agent).
    """
    if to.agent != to or to.trust_domain != held.agent.trust_domain:
        raise _unauthorized(f"`{to}` is not a registered agent")
    if held.authority.max_depth < 1 or len(held.chain) >= MAX_CHAIN:
        raise Refused(
            Kind.DENIED, "the mandate may not be passed on any further", code=INVALID_REQUEST
        )
    delegates = held.authority.delegates
    if delegates is not None and to.agent_name not in delegates:
        raise _unauthorized(f"the mandate may not be passed on to `{to.agent_name}`")
    if any(actor.agent == to for actor in held.chain):
        raise _unauthorized(f"`{to.agent_name}` is in the chain already")


def ceiling(authority: Authority) -> Authority:
    """The most that may be passed on of this: all of it, one agent less deep."""
    return replace(authority, max_depth=max(authority.max_depth - 1, 0))


def descended(
    authority: Authority, above: Sequence[Link], mandate: Authority
) -> tuple[tuple[Link, ...], tuple[int, ...]]:
    """The links with their ``origins`` for ``authority``, and its origins in the mandate.

    Raises:
        Refused: UNAUTHENTICATED if a grant is in none of those above it.
    """
    here, found = authority, tuple(range(len(authority.grants)))
    links: list[Link] = []
    for link in above:
        step = _origins(here, link.authority)
        here, found = link.authority, tuple(step[index] for index in found)
        links.append(replace(link, origins=found))
    step = _origins(here, mandate)
    return tuple(links), tuple(step[index] for index in found)


def actors(act: JsonObject) -> tuple[SpiffeId, ...]:
    """The actors, the current one first (RFC 8693 §4.1).

    Raises:
        Refused: UNAUTHENTICATED if there are too many; MALFORMED if one is no SPIFFE ID.
    """
    chain: list[SpiffeId] = []
    here: JsonValue = act
    while isinstance(here, Mapping):
        if len(chain) == MAX_CHAIN:
            raise Refused(Kind.UNAUTHENTICATED, f"more than {MAX_CHAIN} actors")
        chain.append(SpiffeId.parse(jose.text(here, "sub")))
        here = here.get("act")
    return tuple(chain)


def passed_of(claims: JsonObject, private: JsonObject, *, resources: str) -> Passed:
    """What verified claims of a passed-on token say.

    Raises:
        Refused: UNAUTHENTICATED, MALFORMED if they are not those of one.
    """
    details = claims.get("authorization_details")
    authority = from_authorization_details(details, resources=resources)
    return Passed(authority, member(claims, "act"), private.get("through"))


def passed_links(
    chain: Sequence[SpiffeId], told: JsonValue, mandate: Authority, server: str, *, resources: str
) -> tuple[Link, ...]:
    """The links of a chain, which is without the acting agent, by our claim ``told`` about it.

    Raises:
        Refused: UNAUTHENTICATED if the two are not about the same actors.
    """
    if not isinstance(told, list | tuple) or len(told) != len(chain):
        raise _untold()
    links: list[Link] = []
    implied = cut(mandate, server)
    for actor, one in reversed(list(zip(chain, told, strict=True))):
        links.insert(0, _link(actor, one, implied, resources))
        implied = ceiling(links[0].authority)
    return tuple(links)


def through_claim(links: Sequence[Link], mandate: Authority, *, resources: str) -> list[JsonValue]:
    """Our claim `through`."""
    told: list[JsonValue] = []
    implied = cut(mandate, links[-1].authority.grants[0].server) if links else None
    for link in reversed(links):
        one: dict[str, JsonValue] = {"grant": link.grant_id, "agent_epoch": link.agent_epoch}
        if link.authority != implied:
            one["authorization_details"] = to_authorization_details(
                link.authority, resources=resources
            )
        told.insert(0, one)
        implied = ceiling(link.authority)
    return told


def require_fits(authority: Authority, act: JsonObject, told: JsonValue, *, resources: str) -> None:
    """Refuse what would not fit a token.

    Raises:
        Refused: DENIED with `invalid_request`.
    """
    details = to_authorization_details(authority, resources=resources)
    if len(canonical([details, act, told])) > MAX_CHAIN_BYTES:
        raise Refused(Kind.DENIED, "the chain does not fit a token", code=INVALID_REQUEST)


def cut(authority: Authority, server: str) -> Authority:
    """The authority for one server.

    Raises:
        Refused: UNAUTHENTICATED if there is none.
    """
    grants = tuple(grant for grant in authority.grants if grant.server == server)
    if not grants:
        raise _untold()
    return replace(authority, grants=grants)


def _link(actor: SpiffeId, told: JsonValue, implied: Authority, resources: str) -> Link:
    if not isinstance(told, Mapping) or actor.agent is None:
        raise _untold()
    authority = implied
    if "authorization_details" in told:
        details = told["authorization_details"]
        authority = from_authorization_details(details, resources=resources)
    return Link(
        grant_id=jose.text(told, "grant"),
        agent=actor.agent,
        instance=actor,
        agent_epoch=integer(told, "agent_epoch"),
        authority=authority,
    )


def _untold() -> Refused:
    return Refused(Kind.UNAUTHENTICATED, "token does not say what its actors held")


def _origins(authority: Authority, parent: Authority) -> tuple[int, ...]:
    """For each grant, the grant of ``parent`` that contains it."""
    found = [origin(grant, parent) for grant in authority.grants]
    if None in found:
        raise Refused(Kind.UNAUTHENTICATED, "token grants what its mandate does not")
    return tuple(index for index in found if index is not None)


def _unauthorized(detail: str) -> Refused:
    return Refused(Kind.DENIED, detail, code=ACTOR_UNAUTHORIZED)
