"""What is asked about: one call to the byte, and where its values come from.

INVARIANT: an approval is found, shown, answered and spent by one digest, SHA-256 over the
RFC 8785 bytes of the whole call. Change a byte of the call and there is no approval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from actfor.wire.canonical import JsonObject, JsonValue, digest


@dataclass(frozen=True, slots=True)
class ExactCall:
    """All that a person approves, to the byte. ``agent`` and ``chain`` are SPIFFE IDs as text; the
    chain begins with who acts now and ends with whom the person sent.

    ``arguments`` are the JSON the upstream would receive. ``tool_digest`` names the tool's
    definition, ``policy_version`` the rules that asked, ``manifest`` the agent's measured build.
    ``enforced_by`` is the account of the foreign enforcement point that would let the call through,
    and it alone; empty where our own gateway does.
    """

    agent: str
    chain: tuple[str, ...]
    person_id: str
    mandate_id: str
    server: str
    tool: str
    tool_digest: str
    arguments: JsonObject
    arguments_digest: str
    policy_version: str
    effect: str
    manifest: str = ""
    enforced_by: str = ""

    def to_json(self) -> JsonObject:
        """Every member, so that nothing about the call is outside the digest."""
        return {
            **({"enforced_by": self.enforced_by} if self.enforced_by else {}),
            "agent": self.agent,
            "chain": list(self.chain),
            "person": self.person_id,
            "mandate": self.mandate_id,
            "server": self.server,
            "tool": self.tool,
            "tool_digest": self.tool_digest,
            "arguments": self.arguments,
            "arguments_digest": self.arguments_digest,
            "policy_version": self.policy_version,
            "effect": self.effect,
            "manifest": self.manifest,
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote. ``value`` is our own record, not a stranger's."""
        arguments, chain = value["arguments"], value["chain"]
        if not isinstance(arguments, Mapping) or not isinstance(chain, list | tuple):
            raise ValueError("a stored call has lost its shape")  # noqa: TRY004 - our own record
        return cls(
            agent=_text(value, "agent"),
            chain=tuple(str(link) for link in chain),
            person_id=_text(value, "person"),
            mandate_id=_text(value, "mandate"),
            server=_text(value, "server"),
            tool=_text(value, "tool"),
            tool_digest=_text(value, "tool_digest"),
            arguments=arguments,
            arguments_digest=_text(value, "arguments_digest"),
            policy_version=_text(value, "policy_version"),
            effect=_text(value, "effect"),
            manifest=_text(value, "manifest"),
            enforced_by=_text(value, "enforced_by") if "enforced_by" in value else "",
        )

    @property
    def digest(self) -> str:
        """``sha-256:`` and base64url of the hash over the RFC 8785 bytes of the whole call."""
        return digest(self.to_json())


def acts_in(call: ExactCall, agent: str) -> bool:
    """Whether the agent, or an instance of it (a path below its SPIFFE ID), acts in the call."""
    below = f"{agent}/"
    return any(actor == agent or actor.startswith(below) for actor in (call.agent, *call.chain))


def _text(value: JsonObject, name: str) -> str:
    member: JsonValue = value[name]
    if not isinstance(member, str):
        raise ValueError(f"a stored call has no text in {name}")  # noqa: TRY004 - our own record
    return member


@dataclass(frozen=True, slots=True)
class SlotOrigin:
    """Where the value of one argument comes from, as the server found it when it asked.

    ``pointer`` names the value among the arguments, ``slot`` the argument whatever the place in a
    list. ``label`` is whose words it is, ``how`` how that was found; ``source`` is the tool that
    returned it, ``field`` where in its answer, ``author`` who wrote it. ``endorsable`` is whether a
    person may say that this value is right for this argument from now on.
    """

    pointer: str
    slot: str
    value: str
    label: str
    how: str
    source: str = ""
    field: str = ""
    author: str = ""
    endorsable: bool = False

    def to_json(self) -> JsonObject:
        """As it is stored and shown."""
        return {name: getattr(self, name) for name in _ORIGIN}

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote. ``value`` is our own record, not a stranger's."""
        texts = {name: _text(value, name) for name in _ORIGIN if name != "endorsable"}
        return cls(**texts, endorsable=value["endorsable"] is True)


_ORIGIN = (
    "pointer", "slot", "value", "label", "how", "source", "field", "author", "endorsable",
)  # fmt: skip
