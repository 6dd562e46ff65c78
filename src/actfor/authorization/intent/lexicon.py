"""English words of requests and of tools: verbs by what they do, nouns by what they are about.

One table serves both sides, so a tool called `transfer_funds` and a person who writes "pay the
rent" meet in it. These are words of the language, not of any server: a test holds that no product
is named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final

from actfor.authorization.intent.text import stem


class Deed(StrEnum):
    """What a verb does, coarser than verbs and finer than effects."""

    LOOK = "look"
    CREATE = "create"
    CHANGE = "change"
    MOVE = "move"
    DELETE = "delete"
    SEND = "send"
    POST = "post"
    PAY = "pay"
    BOOK = "book"
    ADMIT = "admit"
    FETCH = "fetch"
    UPLOAD = "upload"
    RUN = "run"
    LOGIN = "login"
    RATE = "rate"
    ACCEPT = "accept"
    ANY = "any"


_VERBS: Final = {
    Deed.LOOK: "get read list search find check view show look browse open retrieve query see"
    " describe summarize summarise tell calculate compute compare count review inspect examine"
    " watch lookup identify determine analyze explore recommend suggest visit is are what which"
    " who when where how translate extract know scan monitor track filter",
    Deed.CREATE: "create make add new schedule plan write insert append put generate compose draft"
    " register build arrange setup start set note record open organize organise initialize init"
    " store save log prepare enter",
    Deed.CHANGE: "update change edit modify adjust set rename reschedule replace extend postpone"
    " correct fix mark switch increase decrease reset revise amend alter toggle enable disable"
    " configure turn convert address resolve solve patch bump shift swap renew rotate scale resize"
    " freeze unfreeze exchange migrate lock reassign assign note record enter log fill escalate"
    " merge pin mute dim tag label upgrade downgrade reduce lower raise cut halve double trim"
    " shorten lengthen pause resume snooze skip activate reserve"
    " restore rollback revert undo close reopen",
    Deed.MOVE: "move copy relocate rename transfer archive put place duplicate replicate",
    Deed.DELETE: "delete remove cancel erase clear drop destroy purge unsubscribe trash discard"
    " revoke uninvite kick ban unlink wipe empty uninstall detach unstar unfollow unlike leave"
    " return reject decline terminate kill deactivate suspend close end evict stop waive forgive",
    Deed.SEND: "send email mail message forward reply notify inform text dm respond write remind"
    " share contact tell warn alert thank congratulate ask answer invite pass ping call give let"
    " report deliver message nudge chase phone",
    Deed.POST: "post publish announce comment tweet blog propose submit write share review report"
    " file raise broadcast release apply",
    Deed.PAY: "pay transfer send buy purchase order checkout refund repay reimburse donate tip"
    " settle deposit withdraw remit wire subscribe charge spend topup give split cover",
    Deed.BOOK: "book reserve rent hire order schedule arrange get make",
    Deed.ADMIT: "invite add grant allow permit share authorize authorise assign promote transfer"
    " give enroll admit onboard unlock unblock",
    Deed.FETCH: "download clone pull import save fetch copy get sync obtain grab install checkout"
    " put",
    Deed.UPLOAD: "upload push sync publish export backup synchronize synchronise commit add put"
    " update save release deploy submit",
    Deed.RUN: "run execute eval evaluate deploy install launch start invoke trigger click press"
    " restart stop shutdown reboot fill enter input type submit retry rerun",
    Deed.LOGIN: "login logout verify authenticate confirm validate signin signup register log sign",
    Deed.RATE: "star like follow upvote rate bookmark react favorite favourite unstar unlike"
    " unfollow review vote endorse remove give subscribe add",
    Deed.ACCEPT: "accept confirm approve agree join acknowledge sell redeem claim",
    # Words that ask for whatever the thing named needs.
    Deed.ANY: "do handle complete finish follow perform act process manage help achieve fulfil"
    " fulfill take execute carry accomplish implement satisfy arrange proceed"
    " comply sort deal solve resolve address work",
}

_PRIMARY: Final = {  # of verbs that stand in several groups: what it is when a tool bears it
    "get": Deed.LOOK, "set": Deed.CHANGE, "transfer": Deed.PAY, "invite": Deed.ADMIT,
    "share": Deed.ADMIT, "add": Deed.CREATE, "copy": Deed.MOVE, "submit": Deed.POST,
    "open": Deed.LOOK, "write": Deed.CREATE, "schedule": Deed.CREATE, "put": Deed.CREATE,
    "make": Deed.CREATE, "save": Deed.CREATE, "move": Deed.MOVE, "rename": Deed.CHANGE,
    "order": Deed.PAY, "subscribe": Deed.PAY, "review": Deed.POST, "report": Deed.POST,
    "install": Deed.RUN, "deploy": Deed.RUN, "checkout": Deed.PAY, "sync": Deed.UPLOAD,
    "publish": Deed.POST, "accept": Deed.ACCEPT, "confirm": Deed.LOGIN, "register": Deed.LOGIN,
    "start": Deed.RUN, "unstar": Deed.RATE, "unfollow": Deed.RATE, "unlike": Deed.RATE,
    "give": Deed.ADMIT, "place": Deed.CREATE, "file": Deed.POST, "log": Deed.LOGIN,
    "update": Deed.CHANGE, "book": Deed.BOOK, "return": Deed.DELETE, "tell": Deed.SEND,
}  # fmt: skip

_PHRASES: Final = {
    # verb and what follows it within a few words → the verb that is meant
    "tell": "let know,drop line,drop note,get back,fill in,loop in,pass on,pass along,give heads",
    "delete": "get rid,take off,take away,take down,throw away,throw out,clear out,call off,"
    "cut off,tear down,opt out,strike off,clean out",
    "assign": "hand over,pass over,give over",
    "rollback": "roll back,go back",
    "return": "send back,give back,bring back",
    "reschedule": "push back,put off,bring forward,pull forward,move up",
    "note": "jot down,write down,note down,put down,take note",
    "play": "put on",
    "backup": "back up",
    "topup": "top up",
    "start": "kick off,set off,spin up,bring up,fire up,turn on,switch on",
    "stop": "shut down,shut off,turn off,switch off,bring down",
    "setup": "set up",
    "create": "come up,put together,make up",
    "repay": "pay back,pay off",
    "grant": "give access,let in,let edit,let view,let see,let read,let access,let use,let join,"
    "let collect,let pick",
    "find": "find out,look up,look for,look into",
    "login": "log in,sign in",
    "subscribe": "sign up",
    "submit": "hand in,turn in,send in",
    "publish": "put live,go live,make live,make public,make available,make visible",
    "answer": "say yes,say no,write back,mail back",
    "send": "get out",
}
PHRASES: Final = {
    tuple(phrase.split(" ")): meant
    for meant, phrases in _PHRASES.items()
    for phrase in phrases.split(",")
}
"""Two words that are one verb: `let … know`, `get rid`, `roll back`."""

PAST: Final = frozenset(
    "sent paid bought made wrote told asked gave given got found shared posted mentioned said was"
    " were had been did done went seen left kept met forgot spent received invited assigned"
    " written taken came".split()
)
"""Forms that tell of what has happened, and ask for nothing."""


def _forms(verb: str) -> set[str]:
    """The forms of a verb that can ask: itself, `-s`, `-ing`."""
    doubled = f"{verb}{verb[-1]}ing" if len(verb) <= 4 and verb[-1] in "tpgnm" else f"{verb}ing"
    if verb.endswith("e"):
        doubled = f"{verb[:-1]}ing"
    return {verb, f"{verb}s", f"{verb}es", f"{verb}ing", doubled}


def _table() -> Mapping[str, tuple[str, frozenset[Deed]]]:
    found: dict[str, tuple[str, set[Deed]]] = {}
    for deed, verbs in _VERBS.items():
        for verb in verbs.split():
            for form in _forms(verb):
                found.setdefault(form, (verb, set()))[1].add(deed)
    return {form: (verb, frozenset(deeds)) for form, (verb, deeds) in found.items()}


VERBS: Final = _table()
"""Form of a verb → its base and what it may do."""
_IRREGULAR: Final = {
    "sent": "send", "paid": "pay", "repaid": "repay", "given": "give", "told": "tell",
    "bought": "buy", "made": "make", "written": "write", "put": "put", "set": "set",
    "reset": "reset", "shut": "stop", "built": "build", "found": "find", "read": "read",
    "seen": "see", "taken": "take", "got": "get", "lent": "rent", "frozen": "freeze",
    "unfrozen": "unfreeze", "withdrawn": "withdraw", "done": "do", "run": "run", "left": "leave",
    "forgiven": "forgive", "overwritten": "replace", "let": "let", "split": "split",
}  # fmt: skip


def _participles() -> Mapping[str, tuple[str, frozenset[Deed]]]:
    found: dict[str, tuple[str, frozenset[Deed]]] = {}
    for base, deeds in VERBS.values():
        ending = f"{base}d" if base.endswith("e") else f"{base}ed"
        if base.endswith("y") and base[-2:-1] not in "aeou":
            ending = f"{base[:-1]}ied"
        found |= {ending: (base, deeds), f"{base}{base[-1]}ed": (base, deeds)}
    return found | {form: VERBS[base] for form, base in _IRREGULAR.items() if base in VERBS}


PARTICIPLES: Final = _participles()
"""What has been done to a thing → the verb: `paid`, `cancelled`, `frozen`."""


@lru_cache(maxsize=1024)
def primary(verb: str) -> Deed | None:
    """What a verb does in a tool's name; None if it is no verb we know."""
    known = VERBS.get(verb)
    if known is None:
        return None
    base, deeds = known
    if base in _PRIMARY:
        return _PRIMARY[base]
    return next(deed for deed in Deed if deed in deeds)


MEETS: Final[Mapping[Deed, frozenset[Deed]]] = {
    # what a tool does → which words, about the same thing, ask for it
    Deed.LOOK: frozenset({Deed.LOOK}),
    Deed.CREATE: frozenset({Deed.CREATE, Deed.BOOK, Deed.POST}),
    Deed.CHANGE: frozenset({Deed.CHANGE, Deed.MOVE}),
    Deed.MOVE: frozenset({Deed.MOVE, Deed.FETCH, Deed.UPLOAD}),
    Deed.DELETE: frozenset({Deed.DELETE}),
    Deed.SEND: frozenset({Deed.SEND, Deed.POST}),
    Deed.POST: frozenset({Deed.POST, Deed.SEND, Deed.RATE}),
    Deed.PAY: frozenset({Deed.PAY, Deed.BOOK, Deed.CREATE}),
    Deed.BOOK: frozenset({Deed.BOOK, Deed.ACCEPT}),
    Deed.ADMIT: frozenset({Deed.ADMIT}),
    Deed.FETCH: frozenset({Deed.FETCH}),
    Deed.UPLOAD: frozenset({Deed.UPLOAD}),
    Deed.RUN: frozenset({Deed.RUN, Deed.ACCEPT}),
    Deed.LOGIN: frozenset({Deed.LOGIN}),
    Deed.RATE: frozenset({Deed.RATE}),
    Deed.ACCEPT: frozenset({Deed.ACCEPT}),
    Deed.ANY: frozenset(),
}

_NOUNS: Final = {
    "mail": "email mail inbox message e-mail letter correspondence",
    "message": "message dm chat text sms reply",
    "event": "event meeting appointment calendar lunch dinner session invite reminder",
    "money": "money payment transaction bill rent invoice fee debt funds refund salary"
    " subscription iban cash balance expense dollar euro charge payout unpaid overdue",
    "file": "file document folder directory drive doc spreadsheet attachment report note notes pdf",
    "web": "web webpage website page url link site article internet online blog",
    "credential": "password credential passcode passphrase login",
    "key": "key ssh token secret",
    "person": "user member collaborator participant attendee guest contact people person someone"
    " everyone everybody friend colleague teammate employee customer client buyer seller vendor"
    " landlord landlady tenant neighbour neighbor teacher tutor doctor dentist boss manager"
    " assistant sender uncle aunt brother sister mother father mum mom dad son daughter cousin"
    " grandmother grandfather wife husband",
    "channel": "channel",
    "repo": "repo repository project codebase",
    "issue": "issue ticket bug",
    "profile": "address street city profile detail info information account name phone settings",
    "stay": "hotel accommodation room stay apartment hostel",
    "food": "restaurant dinner lunch table meal",
    "car": "car vehicle rental",
    "flight": "flight plane airline ticket",
    "shop": "product item cart order shop shopping purchase basket store delivery",
    "task": "task todo reminder instruction request action work job step errand",
    "role": "permission role access privilege ownership owner right",
}
_CONCEPTS: dict[str, set[str]] = {}
for _concept, _members in _NOUNS.items():
    for _member in _members.split():
        _CONCEPTS.setdefault(stem(_member), set()).add(f"~{_concept}")

STOP: Final = frozenset(
    stem(word)
    for word in (
        "a an the of to in on at by for from with and or not no as is are was were be been am it"
        " its this that these those i me my mine we us our you your he him his she her they them"
        " their there then than so if can could would should will shall may might must do does did"
        " have has had please just also too very all any each every some one two about into onto"
        " up out over under after before when where who what which how why here now want need like"
        " make sure let know thanks thank hi hello new using use used given return returns string"
        " int bool true false none dict optional default value parameter param args tool"
        " function specified following e.g i.e etc"
    ).split()
)


def concepts(words_stemmed: frozenset[str]) -> frozenset[str]:
    """What these stems are about: each by itself and by its group; no filler words."""
    found: set[str] = set()
    for word in words_stemmed:
        if word in STOP or len(word) < 2:
            continue
        found.add(word)
        found |= _CONCEPTS.get(word, set())
    return frozenset(found)
