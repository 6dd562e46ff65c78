"""What a tool would do, read from its name, its description and its schema.

A suggestion for an operator, and the reading used where no operator has spoken. A server writes
these texts: they say *which* argument is a recipient, and calls are traced and bound all the same.
Nothing read here is a fact for policies by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from actfor.authorization.intent.lexicon import VERBS, Deed, concepts, primary
from actfor.authorization.intent.text import stem, words
from actfor.authorization.intent.values import HARD, SinkType
from actfor.authorization.model.facts import ToolEffect
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import member_pointer

_DEPTH: Final = 4
_DESCRIPTION: Final = 4_096

_PARAMETERS: Final[tuple[tuple[SinkType, frozenset[str]], ...]] = tuple(
    (kind, frozenset(stem(word) for word in names.split()))
    for kind, names in (
        # The first that matches, so what can do more harm stands first.
        (
            SinkType.OTHER,
            "type kind format mode unit status decision verdict outcome priority frequency"
            " language encoding",
        ),
        (SinkType.CODE, "otp verification captcha passcode 2fa mfa"),
        (SinkType.ACCOUNT, "iban account wallet card bic swift routing"),
        (SinkType.KEY, "key password secret token credential passphrase pin ssh"),
        (SinkType.URL, "url link uri website webpage domain host endpoint webhook site href"),
        (
            SinkType.RECIPIENT,
            "recipient recipients to cc bcc email mail participant attendee user username member"
            " collaborator friend contact phone receiver invitee owner assignee guest payee"
            " beneficiary people person",
        ),
        (SinkType.COMMAND, "command cmd script shell sql code expression program"),
        (SinkType.PERMISSION, "permission role access scope privilege visibility acl"),
        (SinkType.AMOUNT, "amount price total sum cost budget quantity number count size limit"),
        (
            SinkType.DATE,
            "date due until time day month year timestamp deadline duration start end when expires"
            " expiry expiration cron schedule valid since",
        ),
        (SinkType.PATH, "path file filename dir directory folder source destination attachment"),
        (
            SinkType.TEXT,
            "body content message text subject title description comment note summary reason query"
            " keyword input question answer prompt location label category reference memo"
            " remark caption row cell",
        ),
        (
            SinkType.NAME,
            "name channel repo repository hotel restaurant company product item event city location"
            " id flight car project team street country airline",
        ),
    )
)
_EFFECT: Final[Mapping[Deed, ToolEffect]] = {
    Deed.LOOK: ToolEffect.READ,
    Deed.CREATE: ToolEffect.WRITE,
    Deed.CHANGE: ToolEffect.WRITE,
    Deed.MOVE: ToolEffect.WRITE,
    Deed.DELETE: ToolEffect.DELETE,
    Deed.SEND: ToolEffect.SHARE,
    Deed.POST: ToolEffect.SHARE,
    Deed.PAY: ToolEffect.PAY,
    Deed.BOOK: ToolEffect.WRITE,
    Deed.ADMIT: ToolEffect.GRANT_ACCESS,
    Deed.FETCH: ToolEffect.WRITE,
    Deed.UPLOAD: ToolEffect.EGRESS,
    Deed.RUN: ToolEffect.EXECUTE,
    Deed.LOGIN: ToolEffect.WRITE,
    Deed.RATE: ToolEffect.WRITE,
    Deed.ACCEPT: ToolEffect.WRITE,
}
_ACCESS: Final = frozenset({"~credential", "~key", "~role"})
_CONTENT: Final = frozenset(
    {"~mail", "~message", "~web", "~file", "~issue"}
    | {
        stem(w)
        for w in "review comment post feed news tweet content webpage transcript log".split()
    }
)
_LOOSE: Final = frozenset("open show check view track monitor see watch list visit".split())
"""Verbs of looking that are as often another thing: who shows a post to all publishes it."""
_WRITINGS: Final = frozenset("body comment message note remark reply".split())
_CONTAINER: Final = frozenset(stem(w) for w in "channel user contact member name list id".split())


@dataclass(frozen=True, slots=True)
class ToolReading:
    """A tool as it was read. ``sinks`` maps pointers to types (``/*`` for elements of lists)."""

    name: str
    effect: ToolEffect
    deeds: frozenset[Deed]
    verbs: frozenset[str]
    own_verb: str
    """The stem of the first word of the name, where no vocabulary has it as a verb."""
    about: frozenset[str]
    """The concepts in its name."""
    head: frozenset[str]
    """The concepts of what its verb acts on: the `event` of `create_calendar_event`."""
    core: frozenset[str]
    """The concepts in its name without the product's that leads it: `git` of `git_push`."""
    mentions: frozenset[str]
    """The concepts in its name, first sentence and parameters."""
    sinks: Mapping[str, SinkType] = field(default_factory=dict)
    content: bool = True
    """Whether what it returns was written by others: mail, pages, files; true if not known."""
    told: frozenset[str] = frozenset()
    """The base forms of the verbs that lead its description: the same in other words."""
    vocabulary: frozenset[str] = frozenset()
    """The words of its description: what it calls its own fields."""
    required: frozenset[str] | None = None
    """The pointers of the arguments that every call has; None where the schema does not say."""

    def as_effect(self, effect: ToolEffect) -> ToolReading:
        """The reading once an operator said what the tool does."""
        deeds = frozenset(deed for deed, known in _EFFECT.items() if known is effect)
        own = self.deeds & deeds if effect is ToolEffect.READ else self.deeds
        if effect is ToolEffect.DELETE:  # `archive` moves nothing where an operator says it deletes
            own -= _KEEPS
        extra = (
            deeds if effect in {ToolEffect.PAY, ToolEffect.DELETE, ToolEffect.READ} else frozenset()
        )
        return replace(self, effect=effect, deeds=own | extra)


_KEEPS: Final = frozenset({Deed.MOVE, Deed.CHANGE, Deed.CREATE})
"""What leaves a thing there."""


def read_tool(name: str, description: str, schema: JsonObject) -> ToolReading:
    """The reading of one tool. Deterministic; never fails on odd schemas, which say nothing."""
    parts = words(name.rpartition("__")[2] or name)
    first = _sentence(description[:_DESCRIPTION])
    said = words(first)
    verb, deed = _deed(parts, said)
    named = concepts(frozenset(stem(part) for part in parts if part != verb))
    told = concepts(frozenset(stem(word) for word in said))
    sinks = _sinks(schema, description[:_DESCRIPTION])
    if deed is Deed.LOOK and VERBS[verb][0] in _LOOSE and _takes_writing(sinks):
        deed = None  # who only looks is given nothing to say
    effect = _effect(deed, named, told, sinks)
    about = named or told
    leads = parts[0] if len(parts) > 1 and primary(parts[0]) is None else ""
    own = [part for part in parts if part not in {verb, leads}]
    core = concepts(frozenset(stem(part) for part in own))
    if effect is ToolEffect.PAY:  # whomever it pays, it is about money
        core, about = core | {"~money"}, about | {"~money"}
    if not core:  # a verb and no noun: what it is about stands in its first sentence
        itself = {stem(verb), stem(verb.removeprefix("un"))} if verb else set()
        core = concepts(frozenset(stem(word) for word in said if word != verb) | itself) or about
    core |= _also_done_to(said, deed)
    parameters = concepts(frozenset(stem(w) for pointer in sinks for w in words(pointer)))
    deeds = {deed} if deed is not None else set()
    if effect is ToolEffect.GRANT_ACCESS and deed in {Deed.CREATE, Deed.PAY, Deed.SEND}:
        deeds.add(Deed.ADMIT)
    if effect is ToolEffect.PAY:
        deeds.add(Deed.PAY)
    verbs = frozenset({VERBS[verb][0]} if verb in VERBS else set())
    content = _returns_content(effect, deed, about, told)
    return ToolReading(
        name=name,
        effect=effect,
        deeds=frozenset(deeds),
        verbs=verbs,
        told=_told_verbs(said) | _light(parts) if effect is not ToolEffect.READ else frozenset(),
        own_verb=stem(parts[0]) if len(parts) > 1 and parts[0] not in VERBS else "",
        about=about,
        head=_head([part for part in parts if part != leads], verb) or core,
        core=core,
        mentions=about | told | parameters,
        vocabulary=frozenset(_TERM.findall(description[:_DESCRIPTION].casefold())),
        sinks=sinks,
        content=content,
        required=_required(schema),
    )


def _takes_writing(sinks: Mapping[str, SinkType]) -> bool:
    """Whether an argument is what somebody is to read."""
    return any(not _WRITINGS.isdisjoint(words(pointer)[-1:]) for pointer in sinks)


def _told_verbs(said: list[str]) -> frozenset[str]:
    """The verbs that lead a description: `Orders everything in the cart`, `Pauses or ends it`."""
    found: set[str] = set()
    for word in said[:_LEAD]:
        known = VERBS.get(word)
        if known is None and word not in {"and", "or"}:
            break
        if known is not None and primary(word) is not Deed.LOOK and word not in {"returns", "is"}:
            found.add(known[0])
    return frozenset(found)


def _light(parts: list[str]) -> frozenset[str]:
    """The verb that a name with an empty verb has as its noun: `set_like`, `toggle_star`."""
    empty = len(parts) == 2 and parts[0] in _EMPTY and primary(parts[1]) is not None
    return frozenset({VERBS[parts[1]][0]}) if empty else frozenset()


def _also_done_to(said: list[str], deed: Deed | None) -> frozenset[str]:
    """What else a description says that it is done to: `Removes a device or an API token from …`,
    where the name tells of the device alone.
    """
    if deed is None or not said or primary(said[0]) is not deed:
        return frozenset()
    end = next((at for at, word in enumerate(said) if word in _PREPOSITIONS), len(said))
    kinds = [at for at, word in enumerate(said[:end]) if word == "or"]
    nouns = [said[at - 1] for at in kinds] + said[end - 1 : end] if kinds else []
    return concepts(frozenset(map(stem, nouns))) if end <= _GOVERNED else frozenset()


_EMPTY: Final = frozenset("set toggle give leave".split())
_GOVERNED: Final = 10  # words
_LEAD: Final = 5
_TERM: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def _required(schema: JsonObject) -> frozenset[str] | None:
    named = schema.get("required")
    if not isinstance(named, list):
        return None
    return frozenset(member_pointer("", name) for name in named if isinstance(name, str))


_PREPOSITIONS: Final = frozenset("to from by in for with of on through via".split())


def _head(parts: list[str], verb: str) -> frozenset[str]:
    """The last noun of a name before any preposition: `user` in `add_user_to_channel`."""
    for position, part in enumerate(parts):
        if part in _PREPOSITIONS:
            parts = parts[:position]
            break
    nouns = [part for part in parts if part != verb]
    return concepts(frozenset({stem(nouns[-1])})) if nouns else frozenset()


def _returns_content(
    effect: ToolEffect, deed: Deed | None, about: frozenset[str], told: frozenset[str]
) -> bool:
    """Whether what comes back was written by others; what a change confirms is the system's own."""
    if deed is None or deed in {Deed.RUN, Deed.ACCEPT}:
        return True
    if effect is not ToolEffect.READ:
        return False
    if about & _CONTAINER and not about & {"~mail", "~web", "~file"}:
        return False
    return bool((about | told) & _CONTENT)


def _sentence(description: str) -> str:
    """The first sentence: what the tool is for."""
    text = description.strip()
    for at, char in enumerate(text):
        if char == "\n" and text[at + 1 : at + 2] in {"\n", ":", ""}:
            return text[:at]
        if char == "." and text[at + 1 : at + 2] in {"", " ", "\n"}:
            return text[:at]
    return text


def _deed(parts: list[str], said: list[str]) -> tuple[str, Deed | None]:
    """The verb of the tool and what it does: of the name if that has one, else of the text."""
    found = [
        (part, deed)
        for position, part in enumerate(parts)
        if (deed := primary(part)) is not None and (position == 0 or len(part) > 2)
    ]
    if found and found[0][0] == "open" and not _OPENED & {*parts}:
        found[0] = "open", Deed.CREATE  # who opens a port or an account changes something
    if found and found[0][1] is Deed.LOOK and (more := _beyond_looking(parts)) is not None:
        return more
    plain = [(part, deed) for part, deed in found if part in _PLAIN]
    if found:
        noun_first = plain and _is_noun_first(found[0][0])
        return plain[0] if noun_first and not _is_told(found[0][0], plain[0][0], said) else found[0]
    for position, word in enumerate(said[:4]):
        if (deed := primary(word)) is not None:
            opens = VERBS[word][0] == "open" and not _is_looked_at(said[position + 1 :])
            return word, Deed.CREATE if opens else deed
    return "", None


def _beyond_looking(parts: list[str]) -> tuple[str, Deed | None] | None:
    """What a name that begins with looking does besides: `get_or_create_user`; `check_out_book`
    looks at nothing, and nobody knows what it does.
    """
    for before, part in pairwise(parts):
        if before == "check" and part in {"in", "out", "off"}:
            return before, None
        if before in {"and", "or"} and primary(part) not in {None, Deed.LOOK}:
            return part, primary(part)
    return None


def _is_looked_at(after: list[str]) -> bool:
    """Whether what is opened is only looked at: `the given file`, not `an issue by email`."""
    end = next((at for at, word in enumerate(after) if word in _PREPOSITIONS), _LEAD)
    return not _OPENED.isdisjoint(after[: min(end, _LEAD)])


_OPENED: Final = frozenset(
    "file files document folder mail email message page webpage site url link web app browser tab"
    " attachment".split()
)
"""What is only looked at when it is opened."""


def _is_noun_first(part: str) -> bool:
    """Whether a name may begin with what it is about: `work_orders_create`, `issue_read`."""
    return part not in _PLAIN and VERBS[part][0] in _PLAIN_NOUNS


def _is_told(first: str, plain: str, said: list[str]) -> bool:
    """Whether a description begins with a verb that does what the first word does, and not what the
    plain one would: `transfer_list` is no list where it says `Gives a list to somebody`.
    """
    told = next((VERBS[word][1] for word in said[:1] if word in VERBS), frozenset[Deed]())
    return bool(told & VERBS[first][1]) and told.isdisjoint(VERBS[plain][1])


# What nearly every catalogue calls its verbs, and words that are as often nouns.
_PLAIN: Final = frozenset(
    "get list read find search create add update set edit delete remove cancel send write upload"
    " download revoke grant query execute insert append".split()
)
_PLAIN_NOUNS: Final = frozenset(
    "work order issue report comment review schedule record note log message email mail file text"
    " call address book charge release deposit purchase visit process contact plan list transfer"
    " form trade request".split()
)


def _effect(
    deed: Deed | None,
    named: frozenset[str],
    told: frozenset[str],
    sinks: Mapping[str, SinkType],
) -> ToolEffect:
    if deed is None:
        return ToolEffect.UNKNOWN
    effect = _EFFECT.get(deed, ToolEffect.UNKNOWN)
    kinds = set(sinks.values())
    if effect is ToolEffect.READ:
        return effect
    money = SinkType.AMOUNT in kinds and ("~money" in named or SinkType.ACCOUNT in kinds)
    if deed is Deed.ADMIT and named & {"~issue", "~task"}:
        return ToolEffect.WRITE  # who works on a ticket is given nothing by it
    if deed in {Deed.CREATE, Deed.SEND, Deed.PAY} and money:
        return ToolEffect.PAY
    if (
        deed is Deed.PAY
        and not money
        and "~money" not in named | told
        and "~shop" not in told | named
    ):
        return ToolEffect.GRANT_ACCESS if kinds & HARD else ToolEffect.WRITE
    if deed is Deed.DELETE:
        return effect
    if named & _ACCESS or (SinkType.KEY in kinds and deed in {Deed.CREATE, Deed.CHANGE}):
        return ToolEffect.GRANT_ACCESS
    noted = deed is Deed.CREATE and "contact" in named  # an address book lets nobody in
    letting_in = deed in {Deed.CREATE, Deed.ADMIT} and "~person" in named and not noted
    if letting_in and SinkType.RECIPIENT in kinds:
        return ToolEffect.GRANT_ACCESS
    if deed is Deed.CREATE and SinkType.RECIPIENT in kinds and SinkType.TEXT in kinds:
        return ToolEffect.SHARE if named & {"~mail", "~message"} else effect
    return effect


def _sinks(schema: JsonObject, description: str) -> dict[str, SinkType]:
    found: dict[str, SinkType] = {}
    documented = _documented(description)
    _walk(schema, schema, "", found, documented, 0)
    return found


def _walk(
    schema: JsonValue,
    root: JsonObject,
    pointer: str,
    found: dict[str, SinkType],
    documented: Mapping[str, str],
    depth: int,
) -> None:
    if not isinstance(schema, dict) or depth > _DEPTH:
        return
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return
    for name, raw in properties.items():
        body = _resolved(raw, root)
        if not isinstance(body, dict):
            continue
        here = member_pointer(pointer, name)
        told = body.get("description")
        text = told if isinstance(told, str) else documented.get(name, "")
        found[here] = parameter_type(name, text, body)
        _walk(body, root, here, found, documented, depth + 1)
        items = _resolved(body.get("items"), root)
        _walk(items, root, f"{here}/*", found, documented, depth + 1)


def _resolved(body: JsonValue, root: JsonObject) -> JsonValue:
    """One step through `$ref` or to the one alternative of `anyOf` that is not null."""
    if not isinstance(body, dict):
        return body
    reference = body.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        here: JsonValue = root
        for part in reference[2:].split("/")[:8]:
            here = here.get(part) if isinstance(here, dict) else None
        return (
            {**here, **{k: v for k, v in body.items() if k != "$ref"}}
            if isinstance(here, dict)
            else body
        )
    choices = body.get("anyOf") or body.get("oneOf")
    if isinstance(choices, list):
        kept = [c for c in choices if isinstance(c, dict) and c.get("type") != "null"]
        if kept:
            return {**body, **kept[0], "description": body.get("description", "")}
    return body


def parameter_type(name: str, description: str, body: JsonObject) -> SinkType:
    """What one argument is for: by its own name first, then by what is said of it."""
    kind, enumerated = body.get("type"), body.get("enum")
    if kind == "boolean":
        return SinkType.OTHER
    own = [stem(word) for word in words(name)]
    told = {stem(word) for word in words(description[:400])}
    if told & {"iban"} or ("bank" in told and "account" in told):
        return SinkType.ACCOUNT if not set(own) & {"amount", "password"} else _by_name(own)
    guess = _by_name(own)
    if kind in {"integer", "number"} and guess not in {SinkType.NAME, SinkType.DATE, SinkType.CODE}:
        return SinkType.AMOUNT
    if enumerated and guess is not SinkType.PERMISSION:
        return SinkType.OTHER
    if own and own[-1] in dict(_PARAMETERS)[SinkType.OTHER]:
        return SinkType.OTHER
    if guess is SinkType.OTHER:
        guess = _by_words(told)
    # What nobody can place is a target: of all that a text may be, the type that must be grounded.
    return SinkType.NAME if guess is SinkType.OTHER and kind in _TEXTS else guess


_TEXTS: Final = (None, "string", "array", "integer", "number")


def _by_name(own: list[str]) -> SinkType:
    """By the words of the name; the last word is its head (`file_id` is an id)."""
    if not own:
        return SinkType.OTHER
    if own[-1] == "id":
        return SinkType.NAME
    for kind, names in _PARAMETERS:
        if own[-1] in names:
            if kind is SinkType.NAME and own[-1] == "name":
                return _qualified(own)
            return kind
    for kind, names in _PARAMETERS:
        if names & set(own):
            return kind
    return SinkType.OTHER


def _qualified(own: list[str]) -> SinkType:
    """`file_name` is a path and `user_name` a person; other names are names."""
    if len(own) > 1:
        for kind in (SinkType.PATH, SinkType.RECIPIENT):
            if own[-2] in dict(_PARAMETERS)[kind]:
                return kind
    return SinkType.NAME


def _by_words(told: set[str]) -> SinkType:
    for kind, names in _PARAMETERS:
        if names & told and kind in {*HARD, SinkType.PATH, SinkType.NAME, SinkType.TEXT}:
            return kind
    return SinkType.OTHER


def _documented(description: str) -> dict[str, str]:
    """`:param x: text` and `x: text` lines of a docstring."""
    found: dict[str, str] = {}
    for line in description.splitlines()[:200]:
        head, mark, rest = line.strip().removeprefix(":param").strip().partition(":")
        name = head.split("(", 1)[0].strip()
        if mark and name.isidentifier():
            found.setdefault(name, rest.strip())
    return found
