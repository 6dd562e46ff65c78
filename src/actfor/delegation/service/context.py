"""What every use case of the authorization server is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from actfor.audit import AuditLog
from actfor.delegation.model import Delegation, Mandate
from actfor.delegation.repository import mandates as rows
from actfor.delegation.service.memory import Remembered
from actfor.delegation.service.tokens import Subject
from actfor.errors import Kind, Refused
from actfor.identity import AgentService, PeopleService
from actfor.store import Database, Tx
from actfor.wire import jose
from actfor.wire.canonical import JsonValue
from actfor.wire.jose import SigningKey


class Context:
    """The services and settings that the use cases share.

    ``keys`` sign and verify access tokens: the first signs, all verify. ``check_key`` refuses, in
    the transaction that relies on it, what a key signed that was revoked (on any node).
    ``audiences`` gives the governed servers' names by their URL, ``<issuer>/mcp/<server>``; it is
    asked each time.
    """

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        people: PeopleService,
        agents: AgentService,
        *,
        keys: Sequence[SigningKey],
        issuer: str,
        trust_domain: str,
        clock: Callable[[], datetime],
        audiences: Callable[[], Mapping[str, str]],
        policy_version: Callable[[], str],
        check_key: Callable[[Tx, str], None] | None = None,
    ) -> None:
        if issuer.endswith("/"):
            raise ValueError("the issuer is written without a trailing slash")
        self._database = database
        self._audit = audit
        self._texts = audit.texts
        self._people = people
        self._agents = agents
        self._issuer = issuer
        self._trust_domain = trust_domain
        self._now = clock
        self._audiences = audiences
        self._policy_version = policy_version
        # Run in the transaction that revokes a mandate, with its id: others end what hangs on it.
        self.on_revoked: list[Callable[[Tx, str], None]] = []
        self._mandates: Remembered[Mandate] = Remembered()
        self._check_key = check_key or self._check_known
        self.use_keys(keys)

    @property
    def issuer(self) -> str:
        """The issuer identifier (RFC 8414 §2)."""
        return self._issuer

    @property
    def resources(self) -> str:
        """The URL below which the governed servers are."""
        return f"{self._issuer}/mcp"

    @property
    def management_audience(self) -> str:
        """The audience of the command line's tokens."""
        return f"{self._issuer}/v1"

    def now(self) -> datetime:
        """The time as the use cases see it (UTC), for the edge's own checks."""
        return self._now()

    def jwks(self) -> dict[str, JsonValue]:
        """The public keys of access tokens (RFC 7517 §5)."""
        return jose.jwks(self._verify_keys.values())

    def use_keys(self, keys: Sequence[SigningKey]) -> None:
        """Sign with the first of ``keys`` and verify with all of them, from now on.

        What was remembered as verified is forgotten: a key may be gone.
        """
        if not keys:
            raise ValueError("there is no key to sign access tokens with")
        self._signing_key = keys[0]
        self._verify_keys = jose.key_map(key.public for key in keys)
        self._delegations: Remembered[Delegation] = Remembered()
        self._subjects: Remembered[Subject] = Remembered()

    def _check_known(self, _tx: Tx, kid: str) -> None:
        """``check_key`` where nobody else keeps the keys: those that verify are those that live."""
        if kid not in self._verify_keys:
            raise Refused(Kind.UNAUTHENTICATED, "the token's signing key was revoked")

    def _forget_mandates(self) -> None:
        """What is remembered of mandates and tokens may be about somebody who was erased."""
        self._mandates = Remembered()
        self._delegations = Remembered()
        self._subjects = Remembered()

    async def _committed(self, mandate_id: str) -> Mandate:
        """A mandate as committed. Its standing may be out of date: see ``_standing``.

        Raises:
            Refused: NOT_FOUND.
        """
        known = self._mandates.get(mandate_id)
        if known is None:
            known = await self._database.read(
                lambda tx: rows.by_id(tx, self._texts, mandate_id, self.resources)
            )
            if known is None:
                raise Refused(Kind.NOT_FOUND, "there is no such mandate")
            self._mandates.put(mandate_id, known)
        return known

    def _check_agents(self, tx: Tx, delegation: Delegation) -> None:
        """Refuse unless the acting agent, and each that it acts through, may act as at issuance."""
        self._agents.check_live(tx, delegation.agent_name, delegation.agent_epoch)
        for link in delegation.through:
            self._agents.check_live(tx, link.agent_name, link.agent_epoch)

    def _standing(self, tx: Tx, mandate: Mandate) -> Mandate:
        """The mandate as it stands in this transaction: state, epoch and what was used."""
        found = rows.standing(tx, self._texts, mandate)
        if found is None:
            raise Refused(Kind.NOT_FOUND, "there is no such mandate")
        return found
