"""The grammar of authority: RFC 9396 authorization details of type ``mission_resource_access``.

Pure data and a few questions: does this authority cover this call (``Authority.covers``), is this
one within that one (``narrows``), what may flow where (``flow_decision``), what are its bytes
(``to_authorization_details``).

    values, pointers   how a value is read          constraint, composite   what an argument may be
    origins            where a value was seen       window, budget, flow    when, how much, whereto
    authority          grants and what they cover   narrowing               child within parent
    details, draft     the wire form; what people write        words   what it says, in plain words
"""

from actfor.wire.rar.authority import (
    ANY_TOOL,
    Authority,
    Call,
    Coverage,
    Grant,
)
from actfor.wire.rar.budget import Budget, Rate, Windowed
from actfor.wire.rar.composite import (
    AllOf,
    AnyOf,
    Constraint,
    Each,
    From,
    Source,
    constraint_from_json,
    constraint_narrows,
    taken,
)
from actfor.wire.rar.constraint import (
    Amount,
    Dates,
    Domain,
    MaxLength,
    OneOf,
    Pattern,
    Prefix,
    Range,
    Typed,
)
from actfor.wire.rar.details import (
    DETAIL_TYPE,
    INVALID_DETAILS,
    authority_hash,
    from_authorization_details,
    intent_hash,
    to_authorization_details,
)
from actfor.wire.rar.draft import DRAFT_MEMBERS, authority_from_draft, draft_of
from actfor.wire.rar.flow import EFFECTS, FLOW_LABELS, SINKS, Flow, FlowDecision, flow_decision
from actfor.wire.rar.money import Money, require_currency
from actfor.wire.rar.narrowing import narrows, origin
from actfor.wire.rar.origins import LABELS, NOWHERE, Origin, Origins, Take, Where
from actfor.wire.rar.pointers import ABSENT, member_pointer, resolve
from actfor.wire.rar.sense import require_sense, sources
from actfor.wire.rar.spelling import only
from actfor.wire.rar.values import VALUE_TYPES, host_of, is_type
from actfor.wire.rar.values import segments_of as path_segments
from actfor.wire.rar.window import Period, TimeWindow, window_from_json
from actfor.wire.rar.words import EFFECT_WORDS, explain

__all__ = [
    "ABSENT",
    "ANY_TOOL",
    "DETAIL_TYPE",
    "DRAFT_MEMBERS",
    "EFFECTS",
    "EFFECT_WORDS",
    "FLOW_LABELS",
    "INVALID_DETAILS",
    "LABELS",
    "NOWHERE",
    "SINKS",
    "VALUE_TYPES",
    "AllOf",
    "Amount",
    "AnyOf",
    "Authority",
    "Budget",
    "Call",
    "Constraint",
    "Coverage",
    "Dates",
    "Domain",
    "Each",
    "Flow",
    "FlowDecision",
    "From",
    "Grant",
    "MaxLength",
    "Money",
    "OneOf",
    "Origin",
    "Origins",
    "Pattern",
    "Period",
    "Prefix",
    "Range",
    "Rate",
    "Source",
    "Take",
    "TimeWindow",
    "Typed",
    "Where",
    "Windowed",
    "authority_from_draft",
    "authority_hash",
    "constraint_from_json",
    "constraint_narrows",
    "draft_of",
    "explain",
    "flow_decision",
    "from_authorization_details",
    "host_of",
    "intent_hash",
    "is_type",
    "member_pointer",
    "narrows",
    "only",
    "origin",
    "path_segments",
    "require_currency",
    "require_sense",
    "resolve",
    "sources",
    "taken",
    "to_authorization_details",
    "window_from_json",
]
