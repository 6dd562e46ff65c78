"""Changing the policies: compared first, by two people where that is demanded, taken back at once.

Where ``four_eyes`` is set nothing comes into force by one person's word: what they publish, roll
back or take from a pack becomes a proposal, which another administrator approves from a session
signed in with a passkey (the caller proves that). The setting is the server's own configuration:
no request can turn it off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from actfor.audit import AuditLog, Event, EventType
from actfor.authorization.model import PolicySet
from actfor.authorization.model.diff import Diff, difference
from actfor.authorization.model.publication import Proposal, Publication
from actfor.authorization.model.template import Value
from actfor.authorization.policies import pack_source
from actfor.authorization.repository import proposals
from actfor.authorization.service.authorization import AuthorizationService
from actfor.errors import Kind, Refused
from actfor.store import Database, Tx, new_id
from actfor.wire.canonical import JsonValue

MAX_NOTE = 500
_SHORTEST_PREFIX = 6
_LATEST = 200


class PolicyChanges:
    """``people`` are ids of authenticated administrators; that they are is checked by callers."""

    def __init__(
        self,
        authorization: AuthorizationService,
        database: Database,
        audit: AuditLog,
        clock: Callable[[], datetime],
        *,
        four_eyes: bool,
    ) -> None:
        self._authorization = authorization
        self._database = database
        self._audit = audit
        self._texts = audit.texts
        self._clock = clock
        self.four_eyes = four_eyes

    # -- looking ----------------------------------------------------------------------------

    async def version(self, given: str) -> str:
        """The version that a person means: its whole name, its beginning, or ``#7``, its number.

        Raises:
            Refused: NOT_FOUND; MALFORMED where several begin so.
        """
        history = await self._authorization.history()
        if given.startswith("#") and given[1:].isdecimal():
            named = {made.version for made in history if made.seq == int(given[1:])}
        else:
            bare = given.removeprefix("sha-256:")
            if len(bare) < _SHORTEST_PREFIX:
                raise Refused(Kind.MALFORMED, "name a version by `#N` or by 6 characters or more")
            named = {
                made.version
                for made in history
                if made.version.removeprefix("sha-256:").startswith(bare)
            }
        if len(named) > 1:
            raise Refused(Kind.MALFORMED, f"several versions begin with `{given[:64]}`")
        if not named:
            raise Refused(Kind.NOT_FOUND, f"there is no policy version `{given[:64]}`")
        return named.pop()

    async def compare(self, before: str, after: str | None = None) -> Diff:
        """Two published versions; from one to what is in force where only one is named.

        Raises:
            Refused: NOT_FOUND; MALFORMED where an old text does not fit today's schema.
        """
        now = await self._authorization.published(None if after is None else after)
        _, then = await self._authorization.published(before)
        schema = self._authorization.schema
        return difference(PolicySet.compile(then, schema), PolicySet.compile(now[1], schema))

    async def compare_text(self, source: str) -> Diff:
        """From what is in force to a candidate, which must be fit to be published.

        Raises:
            Refused: MALFORMED with line and policy.
        """
        candidate = await self._authorization.compile(source)
        return difference(self._authorization.snapshot, candidate)

    # -- changing ---------------------------------------------------------------------------

    async def publish(
        self,
        author: str,
        source: str,
        *,
        replaces: str | None = None,
        cause: str = "published",
        note: str = "",
    ) -> Publication | Proposal:
        """Put a policy text in force, or propose it where two people are needed.

        Raises:
            Refused: MALFORMED with line and policy; CONFLICT; BUSY.
        """
        require_note(note)
        if self.four_eyes:
            return await self._propose(author, source, replaces, cause, note)
        return await self._authorization.publish(
            author, source, replaces=replaces, cause=cause, note=note
        )

    async def roll_back(
        self, author: str, to: str | None = None, *, note: str = ""
    ) -> Publication | Proposal:
        """Publish an earlier version again; without ``to``, the one before the one in force.

        Raises:
            Refused: NOT_FOUND; CONFLICT when it is in force or there is none before it;
                MALFORMED when it does not fit today's schema any more.
        """
        history = await self._authorization.history()
        if not history:
            raise Refused(Kind.NOT_FOUND, "no policy set was ever published")
        in_force = history[0].version
        if to is None:
            earlier = [made for made in history if made.version != in_force]
            if not earlier:
                raise Refused(Kind.CONFLICT, "there is no version before the one in force")
            wanted = earlier[0].version
        else:
            wanted = await self.version(to)
        if wanted == in_force:
            raise Refused(Kind.CONFLICT, "that version is in force")
        made, source = await self._authorization.published(wanted)
        return await self.publish(
            author, source, replaces=in_force, cause=f"rolled back to {made.seq}", note=note
        )

    async def use_pack(
        self,
        author: str,
        name: str,
        values: Mapping[str, Value],
        *,
        replaces: str | None = None,
        note: str = "",
    ) -> Publication | Proposal:
        """Publish the default pack with one of the packaged packs on top of it.

        Raises:
            Refused: NOT_FOUND; MALFORMED for a parameter it has not; CONFLICT; BUSY.
        """
        text = pack_source(name, values)
        return await self.publish(author, text, replaces=replaces, cause=f"pack {name}", note=note)

    # -- two people -------------------------------------------------------------------------

    async def proposals(self) -> list[Proposal]:
        """The last proposals, newest first."""
        now = self._clock()

        def unit(tx: Tx) -> list[Proposal]:
            in_force = self._authorization.version_in_force(tx)
            found = proposals.latest(tx, self._texts, _LATEST)
            return [one.seen(in_force, now) for one in found]

        return await self._database.read(unit)

    async def proposal(self, proposal_id: str) -> tuple[Proposal, str]:
        """One proposal and its text.

        Raises:
            Refused: NOT_FOUND.
        """
        now = self._clock()

        def unit(tx: Tx) -> tuple[Proposal, str]:
            found, source = self._find(tx, proposal_id)
            return found.seen(self._authorization.version_in_force(tx), now), source

        return await self._database.read(unit)

    async def difference(self, proposal_id: str) -> Diff:
        """From the version that a proposal was made against to the proposal.

        Raises:
            Refused: NOT_FOUND.
        """
        proposal, source = await self.proposal(proposal_id)
        _, then = await self._authorization.published(proposal.replaces)
        schema = self._authorization.schema
        return difference(PolicySet.compile(then, schema), PolicySet.compile(source, schema))

    async def approve(self, person: str, proposal_id: str) -> Publication:
        """A second administrator's yes: the proposal is in force when this returns.

        Raises:
            Refused: NOT_FOUND; DENIED for its author; CONFLICT when it is settled, or was made
                against another version; EXPIRED; MALFORMED after a change of the schema.
        """
        # Compiled again: what was valid when it was proposed may not be in this release.
        _, source = await self.proposal(proposal_id)
        policies = await self._authorization.compile(source)
        now = self._clock()

        def unit(tx: Tx) -> Publication:
            proposal, stored = self._find(tx, proposal_id)
            in_force = self._authorization.version_in_force(tx)
            approved = proposal.approve(person, in_force, now)
            if stored != source or policies.version != proposal.version:
                raise Refused(Kind.CONFLICT, "the schema changed since, propose the change again")
            _settle(tx, approved)
            made = Publication(
                0, policies.version, proposal.author, proposal.cause, now, person, proposal.note
            )
            return self._authorization.put_in_force(tx, policies, made, proposal=proposal.id)

        return await self._database.write(unit)

    async def reject(self, person: str, proposal_id: str, *, reason: str = "") -> Proposal:
        """Somebody's no: the author withdraws, any other administrator rejects.

        Raises:
            Refused: NOT_FOUND; CONFLICT when it is settled.
        """
        now = self._clock()

        def unit(tx: Tx) -> Proposal:
            closed = self._find(tx, proposal_id)[0].close(person, now)
            _settle(tx, closed)
            self._audit.append(tx, _event(closed, {"by": person, "reason": reason[:MAX_NOTE]}))
            return closed

        return await self._database.write(unit)

    def _find(self, tx: Tx, proposal_id: str) -> tuple[Proposal, str]:
        found = proposals.find(tx, self._texts, proposal_id)
        if found is None:
            raise Refused(Kind.NOT_FOUND, "there is no such proposal")
        return found

    async def _propose(
        self, author: str, source: str, replaces: str | None, cause: str, note: str
    ) -> Proposal:
        policies = await self._authorization.compile(source)
        now = self._clock()

        def unit(tx: Tx) -> Proposal:
            in_force = self._authorization.version_in_force(tx)
            if replaces is not None and replaces != in_force:
                raise Refused(Kind.CONFLICT, f"version `{replaces[:64]}` is not in force any more")
            if policies.version == in_force:
                raise Refused(Kind.CONFLICT, "that version is in force")
            made = Proposal(new_id("prp"), policies.version, in_force, author, cause, note, now)
            proposals.add(tx, self._texts, made, policies.source)
            self._audit.append(tx, _event(made, {"author": author, "note": note}))
            return made

        return await self._database.write(unit)


def require_note(note: str) -> None:
    """Refuse what no database stores, or nobody reads.

    Raises:
        Refused: MALFORMED.
    """
    if len(note) > MAX_NOTE:
        raise Refused(Kind.MALFORMED, f"the note is longer than {MAX_NOTE} characters")
    if "\0" in note:
        raise Refused(Kind.MALFORMED, "the note holds a NUL character")


def _settle(tx: Tx, proposal: Proposal) -> None:
    if not proposals.settle(tx, proposal):
        raise Refused(Kind.CONFLICT, "the proposal was settled meanwhile")


def _event(proposal: Proposal, private: dict[str, JsonValue]) -> Event:
    state = "proposed" if proposal.settled_at is None else proposal.state.value
    facts: dict[str, JsonValue] = {
        "proposal": proposal.id,
        "state": state,
        "policy_version": proposal.version,
        "replaces": proposal.replaces,
        "cause": proposal.cause,
    }
    return Event(EventType.POLICY, proposal.id, facts, private)
