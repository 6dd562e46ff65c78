"""Decide one action, at the moment it is attempted: pure vocabulary and rules.

facts → request → ``PolicySet.decide`` → decision. The parts: ``facts`` (what is known of a call),
``schema`` and ``source`` (what may be published), ``index`` and ``engine`` (asking Cedar quickly),
``policyset`` (deciding), ``scenarios`` (decision tables).
"""

from __future__ import annotations

from actfor.authorization.model.binding import bind
from actfor.authorization.model.decision import Decision, Effect
from actfor.authorization.model.facts import CallFacts, Fact, Request, ToolEffect, to_request
from actfor.authorization.model.policyset import Explanation, PolicyAnswer, PolicySet
from actfor.authorization.model.schema import RequestSchema
from actfor.authorization.model.source import Policy, Problem

__all__ = [
    "CallFacts",
    "Decision",
    "Effect",
    "Explanation",
    "Fact",
    "Policy",
    "PolicyAnswer",
    "PolicySet",
    "Problem",
    "Request",
    "RequestSchema",
    "ToolEffect",
    "bind",
    "to_request",
]
