"""The grammar of authority: RFC 9396 authorization details of type ``mission_resource_access``.

Pure data and three questions: does this authority cover this call (``Authority.covers``), is this
one within that one (``narrows``), and what are its bytes (``to_authorization_details``).
"""

from actfor.wire.rar.authority import (
    ANY_TOOL,
    EFFECTS,
    Authority,
    Budget,
    Call,
    Coverage,
    Grant,
)
from actfor.wire.rar.constraint import (
    Constraint,
    MaxLength,
    OneOf,
    Pattern,
    Prefix,
    Range,
    constraint_from_json,
    constraint_narrows,
)
from actfor.wire.rar.details import (
    DETAIL_TYPE,
    INVALID_DETAILS,
    authority_hash,
    from_authorization_details,
    intent_hash,
    to_authorization_details,
)
from actfor.wire.rar.draft import authority_from_draft, draft_of
from actfor.wire.rar.money import Money
from actfor.wire.rar.narrowing import narrows, origin

__all__ = [
    "ANY_TOOL",
    "DETAIL_TYPE",
    "EFFECTS",
    "INVALID_DETAILS",
    "Authority",
    "Budget",
    "Call",
    "Constraint",
    "Coverage",
    "Grant",
    "MaxLength",
    "Money",
    "OneOf",
    "Pattern",
    "Prefix",
    "Range",
    "authority_from_draft",
    "authority_hash",
    "constraint_from_json",
    "constraint_narrows",
    "draft_of",
    "from_authorization_details",
    "intent_hash",
    "narrows",
    "origin",
    "to_authorization_details",
]
