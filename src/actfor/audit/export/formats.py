"""What an event looks like in each format. Pure: an event in, a line out.

Names that an agent chose (a tool that does not exist, say) reach these lines. Each format's own
escaping is applied to every value, and no line ever holds a line break (threats-and-faults D4, D9).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import actfor
from actfor.audit.export.ocsf import ocsf
from actfor.audit.model import LoggedEvent
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.timestamps import to_ms


class Format(StrEnum):
    """How events are written."""

    JSONL = "jsonl"
    OCSF = "ocsf"
    CEF = "cef"
    OTEL = "otel"


def batch(events: Iterable[LoggedEvent], form: Format, *, private: bool) -> list[str]:
    """One line for each event, without its line break.

    Raises:
        ValueError: OTEL is not a text format; its sender makes records.
    """
    return [line(event, form, private=private) for event in events]


def line(event: LoggedEvent, form: Format, *, private: bool) -> str:
    """One event as one line."""
    match form:
        case Format.JSONL:
            return _json(shown(event, private=private))
        case Format.OCSF:
            return _json(ocsf(event, private=private))
        case Format.CEF:
            return cef(event, private=private)
        case Format.OTEL:
            raise ValueError("OpenTelemetry records are not lines")


def shown(event: LoggedEvent, *, private: bool) -> JsonObject:
    """The event as the management API shows it; private members only where asked for."""
    body = event.to_json()
    if private:
        return body
    return {name: value for name, value in body.items() if name not in {"private", "erased"}}


# -- CEF ------------------------------------------------------------------------------------------

_CEF_FACTS: Final = {
    "agent": "suser",
    "decision": "act",
    "status": "outcome",
    "reason": "reason",
    "action": "cat",
    "server": "destinationServiceName",
    "tool": "deviceProcessName",
    "mandate": "cs2",
    "policy_version": "cs3",
    "effect": "cs4",
    "approval": "cs5",
}
_CEF_LABELS: Final = {
    "cs1": "trace",
    "cs2": "mandate",
    "cs3": "policyVersion",
    "cs4": "effect",
    "cs5": "approval",
    "cn1": "logIndex",
}


def cef(event: LoggedEvent, *, private: bool) -> str:
    """ArcSight Common Event Format, version 0: a pipe-separated head and ``key=value`` pairs."""
    head = ("CEF:0", "actfor", "actfor", actfor.__version__, event.type, _title(event))
    pairs: dict[str, JsonValue] = {
        "rt": to_ms(event.at),
        "externalId": event.id,
        "cn1": event.index,
        "cs1": event.trace,
    }
    for fact, key in _CEF_FACTS.items():
        value = event.facts.get(fact)
        if isinstance(value, str | int) and not isinstance(value, bool):
            pairs[key] = value
    pairs |= {f"{key}Label": label for key, label in _CEF_LABELS.items() if key in pairs}
    if private and isinstance(person := event.private.get("person"), str):
        pairs["duser"] = person
    fields = "|".join([*(_cef_head(part) for part in head), str(severity(event))])
    return f"{fields}|{' '.join(f'{key}={_cef_value(value)}' for key, value in pairs.items())}"


def severity(event: LoggedEvent) -> int:
    """0 to 10, as CEF counts: what a person should look at is above 5."""
    if event.facts.get("decision") == "deny":
        return 6
    if event.type in {"revoke", "recover", "erase"}:
        return 7
    return 5 if event.facts.get("decision") == "step-up" else 2


def _title(event: LoggedEvent) -> str:
    """What happened in a few words; the same kind of thing has the same title."""
    detail = event.facts.get("decision") or event.facts.get("action") or event.facts.get("status")
    return f"{event.type} {detail}" if isinstance(detail, str) else event.type


def _cef_head(text: str) -> str:
    return _one_line(text).replace("\\", "\\\\").replace("|", "\\|")


def _cef_value(value: JsonValue) -> str:
    return _one_line(str(value)).replace("\\", "\\\\").replace("=", "\\=")


def _one_line(text: str) -> str:
    """Without control and direction characters: a reader sees what a parser sees."""
    return "".join(" " if unicodedata.category(char) in _UNSEEN else char for char in text)


_UNSEEN: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})

# -- OpenTelemetry --------------------------------------------------------------------------------


def attributes(event: LoggedEvent, *, private: bool) -> dict[str, str | int | bool]:
    """Flat attributes under ``actfor.``; what has parts is JSON text."""
    found: dict[str, str | int | bool] = {
        "actfor.log.index": event.index,
        "actfor.event.id": event.id,
        "actfor.trace": event.trace,
    }
    members: Mapping[str, JsonValue] = event.facts
    if private:
        members = {**event.private, **event.facts}
    for name, value in members.items():
        if value is not None:
            plain = isinstance(value, str | int | bool)
            found[f"actfor.{name}"] = value if plain else _json(value)  # type: ignore[assignment] # plain
    return found


def _json(value: JsonValue) -> str:
    # ASCII: no line separator of any kind survives, whatever splits the stream.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)
