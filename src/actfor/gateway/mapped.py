"""What a tool's COAZ mapping asks, decided by the domains of this server (COAZ-MCP Draft 1).

A mapping says which question about the application's own things a call is: may Ann read customer 7?
It is the operator's, in the tool's overlay (``coaz``), or else the server's own, in the pinned
input schema (``x-authzen-mapping``). The operator's replaces the server's; `"coaz": false` leaves
the server's unasked. The domains (``ACTFOR_AUTHZEN_DOMAINS``) decide.

INVARIANT: the answer can only say no. It is asked beside the mandate and the policies, which it
never replaces, so that nothing a server declares about itself widens what may be done with it. What
cannot be mapped or decided is denied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from actfor.authorization.model import Decision, Effect
from actfor.authorization.model.domain import Domain
from actfor.authorization.model.foreign import obliged
from actfor.delegation import Delegation, Mandate
from actfor.errors import Kind, Refused
from actfor.gateway.coaz import Envelope, Pep, Verdict, declared
from actfor.gateway.model import Tool
from actfor.wire import authzen
from actfor.wire.authzen import Evaluation
from actfor.wire.authzen_batch import Batch, parse_evaluations
from actfor.wire.authzen_obligations import with_obligations
from actfor.wire.canonical import JsonObject, JsonValue

OPERATOR: Final = "operator"
SERVER: Final = "server"


@dataclass(frozen=True, slots=True)
class MappedCall:
    """What was asked of the domains about one call, by whose mapping, and what they said."""

    by: str
    request: JsonObject | None
    answers: tuple[JsonObject, ...]
    refused: Refused | None

    @property
    def facts(self) -> JsonObject:
        """For the record, in clear: no argument stands here."""
        contexts = [answer["context"] for answer in self.answers]
        told = [one for one in contexts if isinstance(one, dict)]
        return {
            "by": self.by,
            "decision": "permit" if self.refused is None else "deny",
            "policies": [name for one in told for name in one["policies"]],
            "versions": sorted({str(one["policy_version"]) for one in told}),
        }


def mapped_by(tool: Tool) -> str | None:
    """Whose mapping counts for a tool; None if calls of it are asked about by none."""
    if tool.overlay.coaz is not None:
        return OPERATOR if tool.overlay.coaz is not False else None
    return None if _declared(tool) is None else SERVER


def is_mapped(tool: Tool) -> bool:
    """Whether calls of a tool are asked about by a mapping."""
    return mapped_by(tool) is not None


def claims_of(delegation: Delegation, issuer: str) -> JsonObject:
    """The claims of a verified token that a mapping may read (RFC 9068, RFC 8693 §4.1)."""
    act: dict[str, JsonValue] = {}
    for actor in reversed(delegation.chain):
        act = {"sub": str(actor), "iss": actor.authority, **({"act": act} if act else {})}
    return {
        "iss": issuer,
        "sub": delegation.person_id,
        "aud": delegation.audience,
        "client_id": str(delegation.agent),
        "jti": delegation.jti,
        "exp": int(delegation.expires_at.timestamp()),
        "scope": " ".join(delegation.authority.scope),
        "act": act,
        "mission": delegation.mandate.mission(issuer),
    }


def claims_under(mandate: Mandate, issuer: str, audience: str) -> JsonObject:
    """Those that hold for the agent of a mandate, where a call comes without a token."""
    return {
        "iss": issuer,
        "sub": mandate.person_id,
        "aud": audience,
        "client_id": str(mandate.agent),
        "mission": mandate.mission(issuer),
    }


class MappedCalls:
    """Asks the domains. They are read at start and never change under it."""

    def __init__(self, domains: Sequence[Domain]) -> None:
        self._domains = domains
        self._pep = Pep(self._ask)

    async def __call__(self, tool: Tool, arguments: JsonObject, claims: JsonObject) -> MappedCall:
        """Ask what the mapping of a tool asks about one call; ``is_mapped`` says that there is one.

        ``refused`` of the answer says why the call may not go on: MALFORMED for a mapping error.
        """
        by, mapping = mapped_by(tool) or SERVER, tool.overlay.coaz or _declared(tool)
        params: JsonObject = {"name": tool.name, "arguments": arguments}
        said = await self._pep.judge("tools/call", params, claims, mapping=mapping)
        request = None if said.mapped is None else said.mapped.request
        return MappedCall(by, request, said.answers, _why(said, by))

    async def _ask(self, envelope: Envelope, request: JsonObject) -> JsonValue:
        if envelope == "evaluation":
            return self._decided(authzen.parse_evaluation(request))
        batch = parse_evaluations(request)
        items = batch.items if isinstance(batch, Batch) else (batch,)
        answers: list[JsonValue] = []
        for item in items:
            if isinstance(item, Refused):
                raise item
            answer = self._decided(item)
            answers.append(answer)
            if answer["decision"] is not True:
                break  # `deny_on_first_deny`
        return {"evaluations": answers}

    def _decided(self, evaluation: Evaluation) -> JsonObject:
        """What a domain says, as an AuthZEN answer.

        Raises:
            Refused: MALFORMED for a property of the wrong type.
        """
        domain = next((one for one in self._domains if one.asks_about(evaluation)), None)
        if domain is None:
            types = f"`{evaluation.subject.type}` and `{evaluation.resource.type}`"
            decision = Decision(Effect.DENY, reasons=(f"no domain here decides about {types}",))
            obligations: tuple[JsonObject, ...] = ()
        else:
            decision = domain.decide(evaluation)
            obligations = tuple(domain.obligations(decision.policies))
            decision = obliged(decision, obligations, evaluation)
        body = authzen.response(
            decision=decision.permitted,
            id_="",
            reasons=decision.reasons,
            policies=decision.policies,
            policy_version=decision.version,
        )
        return with_obligations(body, obligations)


def _declared(tool: Tool) -> JsonValue:
    return declared((tool.pinned or {}).get("inputSchema"))


def _why(said: Verdict, by: str) -> Refused | None:
    """The refusal, in the words of the domain that refused, and whose mapping asked it."""
    refused = said.refused
    if refused is None or refused.kind is not Kind.DENIED or not said.answers:
        return refused
    context = said.answers[-1].get("context")
    told = context.get("reason_user") if isinstance(context, dict) else None
    text = told.get("en") if isinstance(told, dict) else None
    reason = text or "it takes obligations that the gateway cannot do"
    return Refused(Kind.DENIED, f"{reason} (asked by the {by}'s mapping)")
