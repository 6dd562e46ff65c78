"""Signing the command line in: the device grant (RFC 8628), and the token it gets.

The person confirms in a signed-in browser a code that the command line shows. The token is bound
to the key the command line polls with, so a stolen device code or token is of no use.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from hashlib import sha256
from typing import Final

from actfor.audit import Event, EventType
from actfor.delegation.model import (
    DEVICE_CODE_LIFE,
    DEVICE_POLL,
    LOGIN_LIFE,
    DeviceLogin,
    DeviceStart,
    DeviceState,
    integer,
    member,
)
from actfor.delegation.repository import devices as rows
from actfor.delegation.repository import grants
from actfor.delegation.service import tokens
from actfor.delegation.service.context import Context
from actfor.errors import Kind, Refused
from actfor.identity import Person
from actfor.store import Tx, new_id
from actfor.wire import dpop, jose
from actfor.wire.base64_text import base64url
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.dpop import DpopProof
from actfor.wire.spiffe import PRIVATE_CLAIM, confirmation
from actfor.wire.token_exchange import TokenResponse

# RFC 8628 §6.1: letters that make no words and are not mistaken for each other.
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
_CODE_LENGTH: Final = 8


class Logins(Context):
    """The device grant and the command line's tokens."""

    async def start_device(self, proof: DpopProof | None = None) -> DeviceStart:
        """Begin a login: codes for the command line and for the person.

        With a ``proof``, only its key can finish; without, whichever key polls first with success.
        """
        device_code = secrets.token_urlsafe(32)
        letters = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LENGTH))
        login = DeviceLogin(
            code_hash=_hash(device_code),
            user_code=letters,
            state=DeviceState.PENDING,
            expires_at=self._now() + DEVICE_CODE_LIFE,
            jkt=None if proof is None else proof.jkt,
        )
        await self._database.write(lambda tx: rows.add(tx, login))
        return DeviceStart(
            device_code=device_code,
            user_code=f"{letters[:4]}-{letters[4:]}",
            verification_uri=f"{self._issuer}/device",
            expires_in=int(DEVICE_CODE_LIFE.total_seconds()),
            interval=int(DEVICE_POLL.total_seconds()),
        )

    async def approve_device(self, person: Person, user_code: str, *, approve: bool = True) -> None:
        """The person's answer to the code they see in their own terminal.

        Raises:
            Refused: MALFORMED, NOT_FOUND, EXPIRED; CONFLICT if it was answered before.
        """
        code = _user_code(user_code)
        answer = DeviceState.APPROVED if approve else DeviceState.DENIED

        def unit(tx: Tx) -> None:
            now = self._now()
            current = self._people.check_live(tx, person.id, person.epoch)
            login = rows.by_user_code(tx, code)
            if login is None:
                raise Refused(Kind.NOT_FOUND, "no command line waits with that code")
            if now >= login.expires_at:
                raise Refused(Kind.EXPIRED, "the code has expired; start again")
            answered = rows.answer(
                tx, code, answer, person_id=current.id, epoch=current.epoch, now=now
            )
            if not answered:
                raise Refused(Kind.CONFLICT, "the code was answered already")
            self._log_login(tx, f"device-{answer.value}", login.code_hash, current.id)

        await self._database.write(unit)

    async def poll_device(self, device_code: str, proof: DpopProof) -> TokenResponse:
        """The command line asks whether the person answered (RFC 8628 §3.4).

        Raises:
            Refused: with `authorization_pending`, `slow_down`, `access_denied`, `expired_token`,
                `invalid_grant` or `invalid_dpop_proof`.
        """
        now, code_hash, jti = self._now(), _hash(device_code), new_id("at")

        def unit(tx: Tx) -> Person | Refused:
            # Returned, not raised: that it was asked now must be kept.
            try:
                self._spend_proof(tx, proof)
                return self._redeemed(tx, code_hash, proof.jkt, now)
            except Refused as refused:
                rows.polled(tx, code_hash, now)
                return refused

        outcome = await self._database.write(unit)
        if isinstance(outcome, Refused):
            raise outcome
        until = now + LOGIN_LIFE
        claims = tokens.login_claims(
            self._issuer, outcome, jkt=proof.jkt, jti=jti, now=now, until=until
        )
        return TokenResponse(
            access_token=jose.sign(claims, typ=tokens.ACCESS_TOKEN_TYPE, key=self._signing_key),
            expires_in=int(LOGIN_LIFE.total_seconds()),
            scope=tokens.MANAGE,
            issued_token_type=None,
        )

    async def authenticate_person(
        self, authorization: str, *, proof: str | None, method: str, url: str
    ) -> Person:
        """Who calls the management API with a command line's token.

        ``authorization`` is the header's value; ``url`` is what we are called, without query. The
        proof is spent before anything is done.

        Raises:
            Refused: UNAUTHENTICATED; DENIED if the person may not act any more.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "dpop" or not token or proof is None:
            raise _signed_out("a DPoP-bound token and a proof are required")
        try:
            claims, seen = self._login(token, proof, method, url)
        except Refused as refused:
            raise _signed_out(refused.detail, refused.code) from refused
        epoch = integer(member(claims, PRIVATE_CLAIM), "person_epoch")

        def unit(tx: Tx) -> Person:
            if not grants.spend(tx, seen.once, seen.expires_at):
                raise _signed_out("DPoP proof was already used", dpop.INVALID_PROOF)
            self._check_key(tx, jose.kid_of(token))
            return self._people.check_live(tx, jose.text(claims, "sub"), epoch)

        return await self._database.write(unit)

    def _login(self, token: str, proof: str, method: str, url: str) -> tuple[JsonObject, DpopProof]:
        now = self._now()
        claims = jose.verify(
            token,
            typ=tokens.ACCESS_TOKEN_TYPE,
            keys=self._verify_keys,
            issuer=self._issuer,
            audience=self.management_audience,
            now=now,
        )
        seen = dpop.verify_proof(
            proof,
            method=method,
            url=url,
            now=now,
            access_token=token,
            jkt=confirmation(claims),
        )
        return claims, seen

    def _redeemed(self, tx: Tx, code_hash: str, jkt: str, now: datetime) -> Person:
        login = rows.by_code_hash(tx, code_hash)
        if login is None:
            raise Refused(
                Kind.UNAUTHENTICATED, "the device code is not known", code="invalid_grant"
            )
        login.poll(now, jkt)
        if login.person_id is None or not rows.redeem(tx, code_hash):
            raise Refused(Kind.REPLAYED, "the device code was already used", code="invalid_grant")
        try:
            person = self._people.check_live(tx, login.person_id, login.person_epoch)
        except Refused as refused:
            raise Refused(refused.kind, refused.detail, code="invalid_grant") from refused
        self._log_login(tx, "device-login", code_hash, person.id)
        return person

    def _spend_proof(self, tx: Tx, proof: DpopProof) -> None:
        if not grants.spend(tx, proof.once, proof.expires_at):
            raise Refused(Kind.REPLAYED, "DPoP proof was already used", code=dpop.INVALID_PROOF)

    def _log_login(self, tx: Tx, action: str, code_hash: str, person_id: str) -> None:
        facts: dict[str, JsonValue] = {"action": action, "login": code_hash, "client": tokens.CLI}
        self._audit.append(tx, Event(EventType.SESSION, code_hash, facts, {"person": person_id}))


def _signed_out(detail: str, code: str | None = None) -> Refused:
    return Refused(Kind.UNAUTHENTICATED, f"{detail}; run `actfor login`", code=code)


def _hash(device_code: str) -> str:
    """How a 256-bit code is kept; a copy of the database redeems nothing."""
    return base64url(sha256(device_code.encode(errors="surrogatepass")).digest())


def _user_code(text: str) -> str:
    letters = "".join(char for char in text.upper() if char not in {"-", " "})
    if len(letters) != _CODE_LENGTH or any(char not in _LETTERS for char in letters):
        raise Refused(Kind.MALFORMED, "a code is eight letters such as `BCDF-GHJK`")
    return letters
