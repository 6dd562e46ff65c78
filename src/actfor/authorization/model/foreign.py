"""What a foreign enforcement point (an AuthZEN PEP) may say, and what only the server says.

A PEP is authenticated and enforces the answer; it is believed about the call it is about to let
through: who (``subject``), what (``action``, ``resource``), and how much (``REPORTED``). It is not
believed about anything that would widen authority: mandate, approval, attestation, tool pins,
budgets. Those names in its ``context`` are dropped, listed in the answer and in the log.
"""

from __future__ import annotations

from collections.abc import Sequence

from actfor.authorization.model.decision import Decision, Effect
from actfor.authorization.model.facts import CallFacts, ToolEffect
from actfor.authorization.model.schema import RequestSchema
from actfor.errors import Kind, Refused
from actfor.wire.authzen import Evaluation
from actfor.wire.authzen_obligations import missing, supported_by
from actfor.wire.canonical import JsonObject

REPORTED = ("amount_minor", "amount_currency")
"""The facts taken from a PEP's ``context``; all others of the schema are the server's."""

BOUND = (
    "agent", "tool", "effect", "server", "approved", "via", "pep", "amount_minor", "amount_currency"
)  # fmt: skip
"""The facts that the question and its asker set: the first ones of ``CallFacts``, in its order."""
assert CallFacts._fields[: len(BOUND)] == BOUND  # noqa: S101 - `facts_for` rests on it

_EFFECTS = frozenset(ToolEffect)


def unknown(evaluation: Evaluation) -> str | None:
    """Why the question is not about an agent, an effect and a tool; None if it is.

    Not an error of the message: AuthZEN leaves types open, so the answer is a denial.
    """
    if evaluation.subject.type != "agent":
        return f"subject type `{evaluation.subject.type}` is not known here, only `agent` is"
    if evaluation.action.name not in _EFFECTS:
        return f"action `{evaluation.action.name}` is not one of {', '.join(ToolEffect)}"
    if evaluation.resource.type != "tool":
        return f"resource type `{evaluation.resource.type}` is not known here, only `tool` is"
    server, _, tool = evaluation.resource.id.partition("/")
    if not server or not tool:
        return "the id of a tool is `server/tool`"
    return None


def stranger(evaluation: Evaluation) -> CallFacts:
    """The facts when the server knows nothing about the call: every one at its worst."""
    server, _, tool = evaluation.resource.id.partition("/")
    return CallFacts(
        agent=evaluation.subject.id,
        server=server,
        tool=tool,
        effect=ToolEffect(evaluation.action.name),
        mandate_reason="no mandate was presented",
    )


def facts_for(pep: str, evaluation: Evaluation, gathered: CallFacts) -> CallFacts:
    """The gathered facts, bound to the question that was asked and to who asked it.

    INVARIANT: ``approved`` is never taken from a caller; an evaluation over AuthZEN has none.

    Raises:
        Refused: MALFORMED for a reported fact of the wrong type.
    """
    server, _, tool = evaluation.resource.id.partition("/")
    amount, currency = (evaluation.context.get(name) for name in REPORTED)
    if gathered.amount_minor is not None:  # judged from the arguments: no report replaces it
        amount, currency = gathered.amount_minor, gathered.amount_currency
    if amount is not None and type(amount) is not int:
        raise Refused(Kind.MALFORMED, "`context.amount_minor` must be an integer of minor units")
    if currency is not None and not isinstance(currency, str):
        raise Refused(Kind.MALFORMED, "`context.amount_currency` must be a string")
    # In the order of BOUND; `_replace` by names takes three times as long, on a hot path.
    effect, approved, via = ToolEffect(evaluation.action.name), False, "authzen"
    bound = (evaluation.subject.id, tool, effect, server, approved, via, pep, amount, currency)
    return CallFacts._make((*bound, *gathered[len(BOUND) :]))


def obliged(
    decision: Decision, obligations: Sequence[JsonObject], evaluation: Evaluation
) -> Decision:
    """The decision, for a PEP that may have said which obligations it can do.

    A permit with one that it cannot do is a denial: it would have to deny anyway, and this way the
    answer and the log say so.
    """
    if not obligations:  # as a rule
        return decision
    lacking = missing(obligations, supported_by(evaluation.context))
    if not decision.permitted or not lacking:
        return decision
    why = f"it takes obligations that the enforcement point cannot do: {', '.join(lacking)}"
    return decision._replace(effect=Effect.DENY, reasons=(why,))


def ignored(evaluation: Evaluation, schema: RequestSchema) -> tuple[str, ...]:
    """The names in the caller's ``context`` that are facts of the server."""
    if not evaluation.context:
        return ()
    return tuple(sorted((schema.facts & evaluation.context.keys()) - set(REPORTED)))
