"""For agent builders: be an agent, call what you may, verify what happened.

Needs the base install only; imports nothing of the server.
"""

from actfor.errors import Kind, Refused
from actfor.sdk.agent import Agent, connect, connect_sync
from actfor.sdk.auth import DelegatedAuth
from actfor.sdk.wishes import Granted, Wish

__all__ = [
    "Agent",
    "DelegatedAuth",
    "Granted",
    "Kind",
    "Refused",
    "Wish",
    "connect",
    "connect_sync",
]
