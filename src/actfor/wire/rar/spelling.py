"""What the wire form and the draft form of authority have in common, and where they differ.

Both say the limits of a grant, a budget, rates and rules of approval in the same way; money is
``max_amount`` of `amount` and `currency` on the wire (the mission draft's words) and ``amount`` of
`value` and `currency` in a draft (what people write).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar.authority import MAX_ARGS, Approval, Grant
from actfor.wire.rar.budget import MAX_WINDOWS, Budget, Rate, Windowed
from actfor.wire.rar.composite import Constraint, constraint_from_json
from actfor.wire.rar.flow import MAX_FLOWS, Flow, flow_from_json
from actfor.wire.rar.money import Money
from actfor.wire.rar.window import period, window_from_json


@dataclass(frozen=True, slots=True)
class Asking:
    """When a grant itself wants a person asked: see ``Grant``."""

    approval: Approval = "policy"
    above: Money | None = None
    new_recipient: bool = False


@dataclass(frozen=True, slots=True)
class Spelling:
    """``limit`` is the member that holds a limit of money, ``number`` its member for the number.

    ``args`` and ``window`` are the members of a grant with its limits of arguments and of time.
    """

    limit: str
    number: str
    args: str
    window: str

    @property
    def members(self) -> frozenset[str]:
        """What a grant says beside its server, its tools and when it asks."""
        same = {"effects", "max_calls", "rates", "purpose_bound"}
        return frozenset({*same, self.args, self.window, self.limit})

    def grant(self, server: str, tools: tuple[str, ...], body: JsonObject, asking: Asking) -> Grant:
        """A grant with the limits that ``body`` has; members beyond ``members`` are not looked at.

        Raises:
            Refused: MALFORMED, naming the member.
        """
        window = body.get(self.window)
        return Grant(
            server=server,
            tools=tools,
            effects=texts(body.get("effects"), "effects"),
            args=arguments(body.get(self.args, {})),
            max_calls=count(body.get("max_calls"), "max_calls"),
            amount=self.money(body.get(self.limit)),
            approval=asking.approval,
            rates=rates(body.get("rates", [])),
            window=None if window is None else window_from_json(window),
            ask_above=asking.above,
            ask_new_recipient=asking.new_recipient,
            purpose_bound=flag(body.get("purpose_bound"), "purpose_bound"),
        )

    def of_grant(self, grant: Grant) -> dict[str, JsonValue]:
        """A grant's ``members`` in this spelling; what is unlimited is left out."""
        body: dict[str, JsonValue] = {"effects": list(grant.effects)}
        if grant.args:
            body[self.args] = {name: limit.to_json() for name, limit in grant.args.items()}
        if grant.max_calls is not None:
            body["max_calls"] = grant.max_calls
        if grant.rates:
            body["rates"] = of_rates(grant.rates)
        if grant.window is not None:
            body[self.window] = grant.window.to_json()
        if grant.amount is not None:
            body[self.limit] = self.of_money(grant.amount)
        if grant.purpose_bound:
            body["purpose_bound"] = True
        return body

    def money(self, value: JsonValue) -> Money | None:
        """An amount, or nothing.

        Raises:
            Refused: MALFORMED.
        """
        return None if value is None else Money.from_json(value, amount_member=self.number)

    def of_money(self, money: Money) -> dict[str, JsonValue]:
        """An amount in this spelling."""
        return {self.number: money.text, "currency": money.currency}

    def budget(self, body: JsonValue) -> Budget:
        """A budget.

        Raises:
            Refused: MALFORMED, naming the member.
        """
        if not isinstance(body, Mapping):
            raise Refused(Kind.MALFORMED, "`budget` is an object")
        only(body, {"calls", self.limit, "recipients", "windows"}, "budget member")
        windows = items(body.get("windows", []), "windows", MAX_WINDOWS)
        return Budget(
            count(body.get("calls"), "calls"),
            self.money(body.get(self.limit)),
            count(body.get("recipients"), "recipients"),
            tuple(self._window(window) for window in windows),
        )

    def _window(self, body: JsonValue) -> Windowed:
        if not isinstance(body, Mapping):
            raise Refused(Kind.MALFORMED, "each of a budget's `windows` is an object")
        only(body, {"per", "calls", self.limit, "recipients"}, "budget member")
        return Windowed(
            period(body.get("per")),
            count(body.get("calls"), "calls"),
            self.money(body.get(self.limit)),
            count(body.get("recipients"), "recipients"),
        )

    def of_budget(self, budget: Budget) -> dict[str, JsonValue]:
        """A budget in this spelling; what is unlimited is left out."""
        body = self._limits(budget)
        if budget.windows:
            body["windows"] = [{"per": w.per.value, **self._limits(w)} for w in budget.windows]
        return body

    def _limits(self, limits: Budget | Windowed) -> dict[str, JsonValue]:
        body: dict[str, JsonValue] = {}
        if limits.calls is not None:
            body["calls"] = limits.calls
        if limits.amount is not None:
            body[self.limit] = self.of_money(limits.amount)
        if limits.recipients is not None:
            body["recipients"] = limits.recipients
        return body

    def asking(self, body: Mapping[str, JsonValue]) -> Asking:
        """A rule of approval that is neither `policy` nor `always`.

        Raises:
            Refused: MALFORMED.
        """
        only(body, {"above", "new_recipient"}, "approval rule")
        new = flag(body.get("new_recipient"), "new_recipient")
        above = self.money(body.get("above"))
        if above is None and not new:
            raise Refused(Kind.MALFORMED, "an approval rule has `above` or `new_recipient`")
        return Asking("policy", above, new)

    def of_asking(self, grant: Grant) -> dict[str, JsonValue]:
        """The rule of approval of a grant in this spelling, empty if it is the policy's."""
        body: dict[str, JsonValue] = {}
        if grant.ask_above is not None:
            body["above"] = self.of_money(grant.ask_above)
        if grant.ask_new_recipient:
            body["new_recipient"] = True
        return body


WIRE = Spelling(limit="max_amount", number="amount", args="arguments", window="time_window")
DRAFT = Spelling(limit="amount", number="value", args="args", window="window")


def rates(value: JsonValue) -> tuple[Rate, ...]:
    """Rates, from ``[{"calls": 5, "per": "hour"}]``.

    Raises:
        Refused: MALFORMED.
    """
    made: list[Rate] = []
    for body in items(value, "rates", MAX_WINDOWS):
        if not isinstance(body, Mapping) or body.keys() != {"calls", "per"}:
            raise Refused(Kind.MALFORMED, "a rate is an object of `calls` and `per`")
        if body["calls"] is None:
            raise Refused(Kind.MALFORMED, "a rate says how many `calls`")
        made.append(Rate(count(body["calls"], "calls") or 0, period(body["per"])))
    return tuple(made)


def of_rates(limits: Sequence[Rate]) -> list[JsonValue]:
    """The JSON form of rates."""
    return [{"calls": rate.calls, "per": rate.per.value} for rate in limits]


def flows(value: JsonValue) -> tuple[Flow, ...]:
    """Flow rules from their list.

    Raises:
        Refused: MALFORMED.
    """
    return tuple(flow_from_json(body) for body in items(value, "flows", MAX_FLOWS))


def arguments(value: JsonValue) -> dict[str, Constraint]:
    """Limits by pointer, from ``{"/to": {"enum": […]}}``.

    Raises:
        Refused: MALFORMED.
    """
    if not isinstance(value, Mapping):
        raise Refused(Kind.MALFORMED, "argument limits are an object of pointers")
    if len(value) > MAX_ARGS:
        raise Refused(Kind.MALFORMED, f"a grant limits at most {MAX_ARGS} arguments")
    made: dict[str, Constraint] = {}
    for name, limit in value.items():
        with within(f"argument `{name[:80].encode('unicode_escape').decode('ascii')}`"):
            made[name] = constraint_from_json(limit)
    return made


@contextmanager
def within(place: str) -> Iterator[None]:
    """Whatever is refused inside is refused with its place."""
    try:
        yield
    except Refused as refused:
        raise Refused(refused.kind, f"{place}: {refused.detail}", code=refused.code) from None


def texts(value: JsonValue, name: str) -> tuple[str, ...]:
    """A list of text.

    Raises:
        Refused: MALFORMED.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        found = [item for item in value if isinstance(item, str)]
        if len(found) == len(value):
            return tuple(found)
    raise Refused(Kind.MALFORMED, f"`{name}` is a list of text")


def items(value: JsonValue, name: str, most: int) -> Sequence[JsonValue]:
    """A list of at most ``most`` things.

    Raises:
        Refused: MALFORMED.
    """
    if not isinstance(value, list | tuple) or len(value) > most:
        raise Refused(Kind.MALFORMED, f"`{name}` is a list of at most {most}")
    return value


def flag(value: JsonValue, name: str) -> bool:
    """True or false; nothing is false.

    Raises:
        Refused: MALFORMED.
    """
    if value is not None and not isinstance(value, bool):
        raise Refused(Kind.MALFORMED, f"`{name}` is true or false")
    return value is True


def count(value: JsonValue, name: str) -> int | None:
    """A whole number or nothing.

    Raises:
        Refused: MALFORMED.
    """
    if value is None:
        return None
    if type(value) is not int:
        raise Refused(Kind.MALFORMED, f"`{name}` is a whole number")
    return value


def only(body: JsonObject, known: frozenset[str] | set[str], what: str) -> None:
    """Refuse any member beyond ``known``.

    Raises:
        Refused: MALFORMED, naming the first unknown member.
    """
    unknown = sorted(body.keys() - known)
    if unknown:
        shown = unknown[0][:64].encode("unicode_escape").decode("ascii")
        raise Refused(Kind.MALFORMED, f"{what} `{shown}` is not known")
