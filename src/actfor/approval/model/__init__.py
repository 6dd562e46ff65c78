"""A human's answer to one exact call, usable once: the call, the states, who may ask and answer."""

from __future__ import annotations

from actfor.approval.model.approval import LIFETIME, LIVE, Answer, Approval, State
from actfor.approval.model.asking import (
    COOLDOWN,
    MAX_DENIALS,
    MAX_PENDING,
    Recent,
    check_may_answer,
    check_not_flooding,
)
from actfor.approval.model.call import ExactCall, SlotOrigin, acts_in

__all__ = [
    "COOLDOWN",
    "LIFETIME",
    "LIVE",
    "MAX_DENIALS",
    "MAX_PENDING",
    "Answer",
    "Approval",
    "ExactCall",
    "Recent",
    "SlotOrigin",
    "State",
    "acts_in",
    "check_may_answer",
    "check_not_flooding",
]
