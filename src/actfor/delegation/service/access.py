"""Access tokens presented and spent: who calls, and taking what may be taken once.

``authenticate`` is on the path of every call. What cannot change about a token (signature, claims)
is remembered by the token's digest; its end, its proof and the standing of person, agent and
mandate are looked at each time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime, timedelta
from typing import Final

from actfor.delegation.model import Delegation, Level, Proved
from actfor.delegation.repository import grants, usage, wishes
from actfor.delegation.repository import mandates as rows
from actfor.delegation.service import spending, tokens
from actfor.delegation.service.context import Context
from actfor.delegation.service.steady import Steady
from actfor.delegation.usage import CALLED, HISTORY, Remembered, Standing, Use
from actfor.errors import Kind, Refused
from actfor.store import Ask, Tx
from actfor.wire import dpop, jose
from actfor.wire.rar import Authority, Money

logger = logging.getLogger(__name__)

INVALID_TOKEN: Final = "invalid_token"  # noqa: S105 - an error code
_SWEEP_SECONDS: Final = 60.0
_KEPT: Final = timedelta(days=1)
ONE_CALL: Final = Use()
"""A call of which nothing else is known: counted against every grant that limits its calls."""


class Access(Context):
    """The resource server's half: verify, check, consume."""

    _steady: Steady | None = None

    async def authenticate(
        self,
        token: str,
        *,
        audience: str,
        scheme: str,
        proof: str | None,
        method: str,
        url: str,
    ) -> Proved:
        """Who calls ``audience`` with this token, and the proof that is to be spent.

        ``url`` is what we are called, without query. Checks signature, audience, life, key binding,
        proof, and that nothing was revoked. Does not spend the proof nor count a call:
        ``consume`` or ``spend`` does, in the transaction that records what came of it.

        Raises:
            Refused: UNAUTHENTICATED or EXPIRED with `invalid_token` or `invalid_dpop_proof`;
                MALFORMED if it is no token; BUSY if the standing cannot be read.
        """
        if scheme.lower() != "dpop":
            # RFC 9449 §7.2: a bound token is never accepted as Bearer, and all of ours are bound.
            raise _invalid("the token is bound to a key; send it with the DPoP scheme")
        if proof is None:
            raise _invalid("a DPoP proof is required", dpop.INVALID_PROOF)
        now = self._now()
        known = await self._known(token, audience, now)
        seen = dpop.verify_proof(
            proof, method=method, url=url, now=now, access_token=token, jkt=known.jkt
        )
        live = await self._database.read(lambda tx: self._live(tx, known, now))
        return Proved(live, seen.once)

    async def shown(self, token: str, *, audience: str) -> Delegation:
        """What a token for ``audience`` says that somebody else was shown, if it holds now.

        Nobody proved to us that they hold its key: whoever relies on this vouches for who asks.

        Raises:
            Refused: as ``authenticate``, but for the proof.
        """
        now = self._now()
        known = await self._known(token, audience, now)
        return await self._database.read(lambda tx: self._live(tx, known, now))

    def check_live(self, tx: Tx, delegation: Delegation) -> None:
        """Refuse unless person, agent, mandate and grant may act now, unchanged since issuance.

        For the transaction that records a decision: nothing is permitted after a revocation.

        Raises:
            Refused: DENIED with the cause, EXPIRED, NOT_FOUND.
        """
        self._check_key(tx, delegation.kid)
        self._people.require_live(tx, delegation.person_id, delegation.person_epoch)
        self._check_agents(tx, delegation)
        mandate = self._standing(tx, delegation.mandate)
        mandate.require_active(tx.now, delegation.mandate_epoch)
        if tx.now >= delegation.expires_at or not grants.is_live(tx, delegation.grant_id, tx.now):
            raise Refused(Kind.EXPIRED, "token has expired")
        _require_not_revoked(tx, delegation)

    def spend(self, tx: Tx, proof: str) -> None:
        """Take a proof, once.

        Raises:
            Refused: REPLAYED with `invalid_dpop_proof`.
        """
        # Verified at most a moment ago, with an `iat` at most one window ahead.
        if not grants.spend(tx, proof, tx.now + 2 * dpop.WINDOW):
            raise Refused(Kind.REPLAYED, "DPoP proof was already used", code=dpop.INVALID_PROOF)

    def ahead(self, delegation: Delegation, proof: str | None) -> list[Ask]:
        """What ``consume`` and ``spend`` will ask about this token, for ``Database.write``."""
        asks = [
            self._people.asked(delegation.person_id),
            self._agents.asked(delegation.agent_name),
            rows.budget(delegation.mandate.id),
            grants.budget(delegation.grant_id),
        ]
        for link in delegation.through:
            asks += [self._agents.asked(link.agent_name), grants.budget(link.grant_id)]
        return asks if proof is None else [grants.spent(proof), *asks]

    def consume(
        self,
        tx: Tx,
        delegation: Delegation,
        use: Use = ONE_CALL,
        *,
        proof: str | None = None,
    ) -> None:
        """Take one call from grant and mandate, if everything is still as it was.

        ``use`` says which grant covers the call and what it spends, reaches and takes. All or
        nothing: the unit that calls this must not go on after a refusal.

        Raises:
            Refused: REPLAYED (proof), DENIED with the cause (revoked, over budget), EXPIRED;
                CONFLICT if more was spent unasked than when the call was decided.
        """
        if proof is not None:
            self.spend(tx, proof)
        self._check_key(tx, delegation.kid)
        self._people.require_live(tx, delegation.person_id, delegation.person_epoch)
        self._check_agents(tx, delegation)
        mandate = delegation.mandate
        taken = rows.take(
            tx,
            mandate.id,
            epoch=delegation.mandate_epoch,
            now=tx.now,
            calls=1,
            amount=_minor(mandate.authority, use.amount),
        )
        if not taken:
            self._standing(tx, mandate).require_active(tx.now, delegation.mandate_epoch)
            raise Refused(Kind.DENIED, "the mandate's budget is used up")
        for level in delegation.levels[:-1]:
            _take_of_token(tx, delegation, level, use.amount)
        if len(delegation.chain) > 1:
            _require_not_revoked(tx, delegation)
        _take_slots(tx, delegation, use.grant_index)
        spending.take(tx, self._texts, delegation, use)

    async def standing(self, delegation: Delegation, use: Use) -> Standing:
        """What is left of the mandate for a call like this one; for deciding, not for taking.

        Raises:
            Refused: BUSY.
        """
        return await self._database.read(
            lambda tx: spending.standing(tx, self._texts, delegation, use)
        )

    async def remembered(self, mandate_id: str) -> Remembered:
        """What the database remembers of a mandate's calls, wherever they were made.

        Raises:
            Refused: BUSY.
        """
        return await self._database.read(lambda tx: spending.remembered(tx, mandate_id))

    def blind_old(self, tx: Tx, most: int) -> int:
        """Blind values that an older release kept in clear; how many, at most ``most``."""
        return spending.blind_old(tx, self._texts, most)

    @staticmethod
    def is_no_value(name: str) -> bool:
        """Whether a set of ``usage_set`` has no values of calls in it, only digests of whole ones
        and marks.
        """
        return name == HISTORY or name.startswith(f"{CALLED}:")

    async def sweep(self) -> int:
        """Forget stale proofs and logins and grants that ended a day ago; how many rows went."""
        now = self._now()

        def unit(tx: Tx) -> int:
            usage.forget(tx, now - _KEPT)
            wishes.forget(tx, now)
            return grants.forget(tx, now, now - _KEPT)

        return await self._database.write(unit)

    async def tidy(self, passed: float) -> int:
        """``sweep``, unless the clock was set a while ago; ``passed`` as in ``Steady``."""
        if self._steady is None:
            self._steady = Steady(self._now(), passed)
        return await self.sweep() if self._steady.look(self._now(), passed) else 0

    async def run(self) -> None:
        """Sweep once a minute, until cancelled."""
        while True:
            try:
                await self.tidy(time.monotonic())
            except Refused as refused:
                logger.warning("could not sweep spent proofs: %s", refused.detail)
            await asyncio.sleep(_SWEEP_SECONDS)

    async def _known(self, token: str, audience: str, now: datetime) -> Delegation:
        """What cannot change about a token, for ``audience`` and not yet over."""
        known = self._delegations.get(token)
        if known is None:
            known = await self._verified(token, audience, now)
        if known.audience != audience:
            raise _invalid("token is for another audience")
        if now >= known.expires_at:
            self._delegations.drop(token)
            raise Refused(Kind.EXPIRED, "token has expired", code=INVALID_TOKEN)
        return known

    async def _verified(self, token: str, audience: str, now: datetime) -> Delegation:
        claims = jose.verify(
            token,
            typ=tokens.ACCESS_TOKEN_TYPE,
            keys=self._verify_keys,
            issuer=self._issuer,
            audience=audience,
            now=now,
        )
        try:
            mandate = await self._committed(tokens.mandate_id_of(claims))
        except Refused as refused:
            if refused.kind is not Kind.NOT_FOUND:
                raise
            raise _invalid("the token's mandate is unknown") from refused
        known = tokens.delegation_of(
            claims, mandate, resources=self.resources, kid=jose.kid_of(token)
        )
        self._delegations.put(token, known)
        return known

    def _live(self, tx: Tx, known: Delegation, now: datetime) -> Delegation:
        """The delegation with its mandate as it stands; revoked means the token is not valid."""
        try:
            self._check_key(tx, known.kid)
            self._people.require_live(tx, known.person_id, known.person_epoch)
            self._check_agents(tx, known)
            mandate = self._standing(tx, known.mandate)
            mandate.require_active(now, known.mandate_epoch)
            _require_not_revoked(tx, known)
        except Refused as refused:
            if refused.kind is Kind.BUSY:
                raise
            raise _invalid(refused.detail) from refused
        return known.under(mandate)


def _minor(authority: Authority, amount: Money | None) -> int:
    """What a call takes from a budget of money, in its minor units; 0 where none is set."""
    budget = authority.budget.amount
    if budget is None or amount is None:
        return 0
    if amount.currency != budget.currency:
        raise Refused(Kind.DENIED, f"the budget is in {budget.currency}, not in {amount.currency}")
    return amount.minor


def _require_not_revoked(tx: Tx, delegation: Delegation) -> None:
    if grants.is_revoked(tx, delegation.grant_id):
        raise Refused(Kind.DENIED, "the token was revoked")


def _take_of_token(tx: Tx, delegation: Delegation, level: Level, amount: Money | None) -> None:
    """One call from the totals of a token: the one that is used, and each that it comes from."""
    spent = _minor(level.authority, amount)
    if grants.take(tx, level.owner, now=tx.now, calls=1, amount=spent):
        return
    if not grants.is_live(tx, level.owner, tx.now):
        raise Refused(Kind.EXPIRED, "token has expired")
    _require_not_revoked(tx, delegation)
    if level.owner != delegation.grant_id:
        raise Refused(Kind.DENIED, "the budget of the token that was passed on is used up")
    raise Refused(Kind.DENIED, "the token's budget is used up")


def _take_slots(tx: Tx, delegation: Delegation, grant_index: int | None) -> None:
    """One call from each limited grant that covers it: the token's own, and those above it."""
    used = range(len(delegation.authority.grants)) if grant_index is None else (grant_index,)
    slots = {
        (level.owner, level.origins[i])
        for level in delegation.levels
        for i in used
        if level.grant(i).max_calls is not None
    }
    for owner, index in sorted(slots):
        if not rows.take_slot(tx, owner, index):
            raise Refused(Kind.DENIED, "the grant's number of calls is used up")


def _invalid(detail: str, code: str = INVALID_TOKEN) -> Refused:
    return Refused(Kind.UNAUTHENTICATED, detail, code=code)
