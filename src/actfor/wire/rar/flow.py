"""Where data may go: rules about labels and sinks.

    {"from": "untrusted", "to": "recipient", "decision": "deny"}

``from`` is whose words a value is (`user`, `trusted`, `untrusted`; what is unknown is untrusted) or
`secret`, for what was read from a place that an operator marked secret. ``to`` is what an argument
is for (a sink), an effect, or `*` for every one. Of several rules that apply, the most severe
holds; where none does, the policies decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue
from actfor.wire.rar.origins import LABELS

EFFECTS: Final = frozenset(
    {
        "read",
        "write",
        "delete",
        "pay",
        "share",
        "grant_access",
        "execute",
        "egress",
        "infrastructure",
        "unknown",
    }
)
"""What a tool does to the world; ``authorization`` has one action for each."""

SINKS: Final = frozenset(
    {
        "recipient",
        "account",
        "url",
        "command",
        "key",
        "permission",
        "path",
        "name",
        "amount",
        "date",
        "code",
        "text",
    }
)
"""What an argument is for, where it matters whose words it is."""

FLOW_LABELS: Final = LABELS | {"secret"}
ANYWHERE: Final = "*"
MAX_FLOWS: Final = 16

FlowDecision: TypeAlias = Literal["permit", "step-up", "deny"]
# Between `permit` and `step-up` stands what no rule is about: the policies decide.
_SEVERITY: Final[Mapping[FlowDecision | None, int]] = {
    "permit": 0,
    None: 1,
    "step-up": 2,
    "deny": 3,
}


@dataclass(frozen=True, slots=True)
class Flow:
    """One rule: data of ``label`` that would reach ``to``.

    Raises:
        Refused: MALFORMED, naming the member that is wrong.
    """

    label: str
    to: str
    decision: FlowDecision

    def __post_init__(self) -> None:
        if self.label not in FLOW_LABELS:
            raise Refused(
                Kind.MALFORMED, f"a flow's `from` is one of {', '.join(sorted(FLOW_LABELS))}"
            )
        if self.to != ANYWHERE and self.to not in SINKS | EFFECTS:
            known = ", ".join(sorted(SINKS | EFFECTS))
            raise Refused(Kind.MALFORMED, f"a flow's `to` is `*` or one of {known}")
        if self.decision not in {"permit", "step-up", "deny"}:
            raise Refused(Kind.MALFORMED, "a flow's `decision` is `permit`, `step-up` or `deny`")

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"from": self.label, "to": self.to, "decision": self.decision}


def flow_decision(flows: Sequence[Flow], label: str, targets: Iterable[str]) -> FlowDecision | None:
    """The most severe decision about data of ``label`` reaching ``targets``: sinks and effects.

    None where no rule applies.
    """
    reached = {ANYWHERE, *targets}
    votes = [flow.decision for flow in flows if flow.label == label and flow.to in reached]
    return max(votes, key=_SEVERITY.__getitem__, default=None)


def flows_widened(child: Sequence[Flow], parent: Sequence[Flow]) -> str | None:
    """None if ``child`` is at least as severe as ``parent`` for every label and target."""
    if not parent and all(flow.decision != "permit" for flow in child):
        return None
    for label in sorted(FLOW_LABELS):
        for target in sorted(SINKS | EFFECTS):
            mine = flow_decision(child, label, (target,))
            theirs = flow_decision(parent, label, (target,))
            if _SEVERITY[mine] < _SEVERITY[theirs]:
                return f"data that is {label} may not go to `{target}` more freely"
    return None


def flow_from_json(body: JsonValue) -> Flow:
    """Parse the wire form.

    Raises:
        Refused: MALFORMED.
    """
    if not isinstance(body, Mapping) or body.keys() != {"from", "to", "decision"}:
        raise Refused(Kind.MALFORMED, "a flow is an object of `from`, `to` and `decision`")
    label, to, decision = body["from"], body["to"], body["decision"]
    texts = [one if isinstance(one, str) else "" for one in (label, to, decision)]
    return Flow(texts[0], texts[1], texts[2])  # type: ignore[arg-type] # Flow checks it
