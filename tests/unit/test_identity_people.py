"""People: setup link, passkeys, sessions, roles. The attacker holds old links and old answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes.identity_authenticator import SoftAuthenticator

from actfor.audit import AuditLog, NoteSigner
from actfor.errors import Kind, Refused
from actfor.identity import PeopleService, Person, PersonState, Role, SignedIn
from actfor.store import Database

ORIGIN = "http://localhost:8700"


@pytest.fixture
def people(database: Database, clock: Clock) -> PeopleService:
    audit = AuditLog(database, NoteSigner.generate("test.example"), "test.example", clock.now)
    return PeopleService(database, audit, "localhost", [ORIGIN], clock.now)


@pytest.fixture
def passkey() -> SoftAuthenticator:
    return SoftAuthenticator(ORIGIN, "localhost")


async def operator(people: PeopleService, passkey: SoftAuthenticator) -> SignedIn:
    return await join(people, passkey, await people.create_setup_link(), "Ada")


async def join(
    people: PeopleService, passkey: SoftAuthenticator, link: str, name: str | None = None
) -> SignedIn:
    begun = await people.register_options(link, name)
    return await people.register(begun.id, passkey.create(dict(begun.options)))


async def refused(kind: Kind, call: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await call
    assert caught.value.kind is kind, caught.value.detail
    return caught.value


async def test_the_setup_link_makes_the_first_operator_and_signs_them_in(
    people: PeopleService, passkey: SoftAuthenticator
) -> None:
    assert not await people.has_operator()
    signed_in = await operator(people, passkey)
    assert signed_in.person.name == "Ada"
    assert signed_in.person.roles == {Role.ADMIN, Role.APPROVER, Role.MEMBER}
    person, session = await people.session(signed_in.cookie)
    assert person == signed_in.person
    assert session == signed_in.session
    assert await people.has_operator()


async def test_the_setup_link_works_once(people: PeopleService, passkey: SoftAuthenticator) -> None:
    link = await people.create_setup_link()
    begun = await people.register_options(link, "Ada")
    second = await people.register_options(link, "Eve")
    await people.register(begun.id, passkey.create(dict(begun.options)))
    thief = SoftAuthenticator(ORIGIN, "localhost")
    await refused(
        Kind.UNAUTHENTICATED, people.register(second.id, thief.create(dict(second.options)))
    )
    await refused(Kind.UNAUTHENTICATED, people.register_options(link, "Eve"))
    await refused(Kind.CONFLICT, people.create_setup_link())
    assert [person.name for person in await people.people()] == ["Ada"]


async def test_the_setup_link_dies_after_fifteen_minutes(
    people: PeopleService, passkey: SoftAuthenticator, clock: Clock
) -> None:
    link = await people.create_setup_link()
    clock.advance(15 * 60 - 1)
    begun = await people.register_options(link, "Ada")
    clock.advance(1)
    await refused(Kind.UNAUTHENTICATED, people.register_options(link, "Ada"))
    await refused(
        Kind.UNAUTHENTICATED, people.register(begun.id, passkey.create(dict(begun.options)))
    )


async def test_a_new_setup_link_voids_the_one_before(people: PeopleService) -> None:
    old = await people.create_setup_link()
    new = await people.create_setup_link()
    await refused(Kind.UNAUTHENTICATED, people.link(old))
    assert (await people.link(new)).name is None


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "\ud800", "' OR 1=1 --"])
async def test_a_guessed_link_is_refused(people: PeopleService, token: str) -> None:
    await people.create_setup_link()
    await refused(Kind.UNAUTHENTICATED, people.link(token))
    await refused(Kind.UNAUTHENTICATED, people.register_options(token, "Eve"))


@pytest.mark.sqlite
async def test_no_secret_is_in_the_database(
    people: PeopleService, passkey: SoftAuthenticator, tmp_path: Path
) -> None:
    link = await people.create_setup_link()
    signed_in = await join(people, passkey, link, "Ada")
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("actfor.db*"))
    assert signed_in.session.id.encode() in stored
    assert link.encode() not in stored
    assert signed_in.cookie.encode() not in stored


async def test_signing_in_needs_a_fresh_challenge_each_time(
    people: PeopleService, passkey: SoftAuthenticator
) -> None:
    await operator(people, passkey)
    begun = await people.signin_options()
    answer = passkey.get(dict(begun.options))
    assert (await people.signin(begun.id, answer)).person.name == "Ada"
    await refused(Kind.UNAUTHENTICATED, people.signin(begun.id, answer))
    other = await people.signin_options()
    await refused(Kind.UNAUTHENTICATED, people.signin(other.id, answer))


async def test_a_wrong_answer_spends_the_challenge(
    people: PeopleService, passkey: SoftAuthenticator
) -> None:
    await operator(people, passkey)
    begun = await people.signin_options()
    good = passkey.get(dict(begun.options))
    bad = {**good, "response": {**good["response"], "signature": good["response"]["userHandle"]}}
    await refused(Kind.UNAUTHENTICATED, people.signin(begun.id, bad))
    await refused(Kind.UNAUTHENTICATED, people.signin(begun.id, good))


async def test_a_challenge_dies_after_five_minutes(
    people: PeopleService, passkey: SoftAuthenticator, clock: Clock
) -> None:
    await operator(people, passkey)
    begun = await people.signin_options()
    clock.advance(300)
    await refused(Kind.EXPIRED, people.signin(begun.id, passkey.get(dict(begun.options))))


async def test_a_registration_answer_is_no_sign_in(
    people: PeopleService, passkey: SoftAuthenticator
) -> None:
    link = await people.create_setup_link()
    begun = await people.register_options(link, "Ada")
    await refused(
        Kind.UNAUTHENTICATED, people.signin(begun.id, passkey.create(dict(begun.options)))
    )


def without_user_verification(passkey: SoftAuthenticator) -> None:
    passkey.user_verified = False


def from_another_site(passkey: SoftAuthenticator) -> None:
    passkey.origin = "http://localhost:8701"


def now_backup_eligible(passkey: SoftAuthenticator) -> None:
    passkey.backup_eligible = True


def backed_up_without_being_eligible(passkey: SoftAuthenticator) -> None:
    passkey.backed_up = True


def with_another_key(passkey: SoftAuthenticator) -> None:
    other = SoftAuthenticator(ORIGIN, "localhost")
    other.create(
        {
            "rp": {"id": "localhost"},
            "user": {"id": "eA"},
            "challenge": "eA",
            "pubKeyCredParams": [{"alg": -7}],
        }
    )
    passkey.credentials[0].key = other.credentials[0].key


@pytest.mark.parametrize(
    "twist",
    [
        without_user_verification,
        from_another_site,
        now_backup_eligible,
        backed_up_without_being_eligible,
        with_another_key,
    ],
)
async def test_an_assertion_is_refused(
    people: PeopleService,
    passkey: SoftAuthenticator,
    twist: Callable[[SoftAuthenticator], None],
) -> None:
    await operator(people, passkey)
    twist(passkey)
    begun = await people.signin_options()
    await refused(Kind.UNAUTHENTICATED, people.signin(begun.id, passkey.get(dict(begun.options))))


@pytest.mark.parametrize("twist", [without_user_verification, from_another_site])
async def test_a_registration_is_refused(
    people: PeopleService,
    passkey: SoftAuthenticator,
    twist: Callable[[SoftAuthenticator], None],
) -> None:
    twist(passkey)
    await refused(Kind.UNAUTHENTICATED, operator(people, passkey))
    assert not await people.has_operator()


async def test_a_counter_that_does_not_rise_is_a_clone(people: PeopleService) -> None:
    passkey = SoftAuthenticator(ORIGIN, "localhost", counter=7)
    await operator(people, passkey)
    begun = await people.signin_options()
    await people.signin(begun.id, passkey.get(dict(begun.options)))
    passkey.counter = 7
    begun = await people.signin_options()
    await refused(Kind.REPLAYED, people.signin(begun.id, passkey.get(dict(begun.options))))


async def test_a_session_ends_when_idle_and_after_eight_hours(
    people: PeopleService, passkey: SoftAuthenticator, clock: Clock
) -> None:
    first = await operator(people, passkey)
    clock.advance(30 * 60)
    await refused(Kind.UNAUTHENTICATED, people.session(first.cookie))
    begun = await people.signin_options()
    second = await people.signin(begun.id, passkey.get(dict(begun.options)))
    for _ in range(23):
        clock.advance(20 * 60)
        await people.session(second.cookie)
        people._database.write_sync(lambda tx: None)  # the touch is posted, not awaited
    clock.advance(20 * 60)
    await refused(Kind.UNAUTHENTICATED, people.session(second.cookie))


async def test_a_session_that_was_signed_out_is_gone(
    people: PeopleService, passkey: SoftAuthenticator
) -> None:
    signed_in = await operator(people, passkey)
    await people.end(signed_in.session)
    await refused(Kind.UNAUTHENTICATED, people.session(signed_in.cookie))
    await people.end(signed_in.session)


@pytest.mark.parametrize("cookie", ["", "x" * 43, "x" * 101, "\ud800" * 30])
async def test_a_guessed_cookie_is_refused(people: PeopleService, cookie: str) -> None:
    await refused(Kind.UNAUTHENTICATED, people.session(cookie))


async def invited(people: PeopleService, admin: Person, name: str, *roles: str) -> SignedIn:
    link = await people.invite(admin, name, roles)
    return await join(people, SoftAuthenticator(ORIGIN, "localhost"), link, "somebody else")


async def test_an_invitation_fixes_name_and_roles(
    people: PeopleService, passkey: SoftAuthenticator
) -> None:
    admin = (await operator(people, passkey)).person
    grace = (await invited(people, admin, "Grace", "approver")).person
    assert grace.name == "Grace"
    assert grace.roles == {Role.APPROVER, Role.MEMBER}
    await refused(Kind.DENIED, people.invite(grace, "Eve", ["admin"]))
    await refused(Kind.MALFORMED, people.invite(admin, "Eve", ["root"]))


async def test_taking_a_role_away_ends_sessions_and_raises_the_epoch(
    people: PeopleService, passkey: SoftAuthenticator, database: Database
) -> None:
    admin = (await operator(people, passkey)).person
    grace = await invited(people, admin, "Grace", "approver")
    changed = await people.change(admin, grace.person.id, roles=[])
    assert changed.roles == {Role.MEMBER}
    assert changed.epoch == grace.person.epoch + 1
    await refused(Kind.UNAUTHENTICATED, people.session(grace.cookie))
    with pytest.raises(Refused):
        database.read_sync(lambda tx: people.check_live(tx, grace.person.id, grace.person.epoch))
    assert (
        database.read_sync(lambda tx: people.check_live(tx, changed.id, changed.epoch)) == changed
    )


async def test_a_disabled_person_cannot_come_in_by_any_door(
    people: PeopleService, passkey: SoftAuthenticator, database: Database
) -> None:
    admin = (await operator(people, passkey)).person
    key = SoftAuthenticator(ORIGIN, "localhost")
    eve = await join(people, key, await people.invite(admin, "Eve", ["admin"]))
    invitation = await people.invite_passkey(eve.person, eve.person.id)
    await people.change(admin, eve.person.id, state=PersonState.DISABLED)
    await refused(Kind.UNAUTHENTICATED, people.session(eve.cookie))
    begun = await people.signin_options()
    await refused(Kind.DENIED, people.signin(begun.id, key.get(dict(begun.options))))
    await refused(Kind.DENIED, people.invite(eve.person, "Mallory", ["admin"]))
    begun = await people.register_options(invitation)
    fresh = SoftAuthenticator(ORIGIN, "localhost")
    await refused(Kind.DENIED, people.register(begun.id, fresh.create(dict(begun.options))))
    with pytest.raises(Refused):
        database.read_sync(lambda tx: people.check_live(tx, eve.person.id))


async def test_the_last_admin_cannot_be_taken_away(
    people: PeopleService, passkey: SoftAuthenticator
) -> None:
    admin = (await operator(people, passkey)).person
    await refused(Kind.CONFLICT, people.change(admin, admin.id, roles=["member"]))
    await refused(Kind.CONFLICT, people.change(admin, admin.id, state=PersonState.DISABLED))
    await invited(people, admin, "Grace", "admin")
    assert not (await people.change(admin, admin.id, roles=[])).may(Role.ADMIN)


async def test_an_assertion_over_a_given_challenge_is_evidence(
    people: PeopleService, passkey: SoftAuthenticator
) -> None:
    admin = (await operator(people, passkey)).person
    challenge = b"\x07" * 32
    answer = passkey.get(dict(await people.assertion_options(admin, challenge)))
    assertion = await people.verify_assertion(admin, challenge, answer)
    assert assertion.person_id == admin.id
    assert assertion.evidence["signature"] == answer["response"]["signature"]
    await refused(Kind.UNAUTHENTICATED, people.verify_assertion(admin, b"\x08" * 32, answer))


async def test_nobody_signs_for_somebody_else(
    people: PeopleService, passkey: SoftAuthenticator
) -> None:
    admin = (await operator(people, passkey)).person
    key = SoftAuthenticator(ORIGIN, "localhost")
    grace = (await join(people, key, await people.invite(admin, "Grace", ["approver"]))).person
    options = dict(await people.assertion_options(grace, b"\x07" * 32))
    answer = key.get(options)
    await refused(Kind.DENIED, people.verify_assertion(admin, b"\x07" * 32, answer))
    forged = {
        **answer,
        "response": {**answer["response"], "userHandle": "dXNyX2V2ZQ"},
    }
    await refused(Kind.UNAUTHENTICATED, people.verify_assertion(grace, b"\x07" * 32, forged))


async def test_a_second_passkey_belongs_to_the_same_person(
    people: PeopleService, passkey: SoftAuthenticator
) -> None:
    admin = (await operator(people, passkey)).person
    spare = SoftAuthenticator(ORIGIN, "localhost")
    again = await join(people, spare, await people.invite_passkey(admin, admin.id))
    assert again.person == admin
    begun = await people.signin_options()
    assert (await people.signin(begun.id, spare.get(dict(begun.options)))).person == admin
    grace = (await invited(people, admin, "Grace")).person
    await refused(Kind.DENIED, people.invite_passkey(grace, admin.id))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_a_mangled_response_is_refused_and_never_an_error(
    people: PeopleService, passkey: SoftAuthenticator, data: st.DataObject
) -> None:
    if not await people.has_operator():
        await operator(people, passkey)
    begun = await people.signin_options()
    answer = passkey.get(dict(begun.options))
    inner = dict(answer["response"])
    place = data.draw(st.sampled_from([*inner, "id", "rawId", "type", "response"]))
    value = data.draw(JSON | st.binary(max_size=80).map(lambda raw: raw.hex()))
    if place in inner:
        if place == "userHandle" and value is None:
            return  # an absent user handle is allowed
        mangled = {**answer, "response": {**inner, place: value}}
    else:
        mangled = {**answer, place: value}
    if mangled == answer:
        return
    with pytest.raises(Refused):
        await people.signin(begun.id, mangled)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_a_mangled_registration_is_refused_and_never_an_error(
    people: PeopleService, data: st.DataObject
) -> None:
    begun = await people.register_options(await people.create_setup_link(), "Ada")
    answer = SoftAuthenticator(ORIGIN, "localhost").create(dict(begun.options))
    inner = dict(answer["response"])
    place = data.draw(st.sampled_from(["clientDataJSON", "attestationObject"]))
    raw = bytearray(inner[place].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position] = data.draw(st.sampled_from(b"ABCxyz019-_"))
    if bytes(raw) == inner[place].encode():
        return
    mangled = {**answer, "response": {**inner, place: raw.decode()}}
    try:
        signed_in = await people.register(begun.id, mangled)
    except Refused:
        return
    # What is not signed by attestation "none" (a byte of the key id, say) may pass: then it is
    # simply another passkey, and the one operator exists. Nothing else may have happened.
    assert signed_in.person.name == "Ada"
    await people._database.write(_forget_everyone)


def _forget_everyone(tx: Any) -> None:
    from sqlalchemy import delete

    from actfor.identity.repository import tables

    for table in (tables.web_session, tables.setup_link, tables.passkey, tables.person):
        tx.run(delete(table))
