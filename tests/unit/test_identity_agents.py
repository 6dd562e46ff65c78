"""Agents: registration, attestation of real processes, SVIDs, watching. The attacker is local."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes.identity_authenticator import SoftAuthenticator
from tests.fakes.identity_process import PYTHON, SLEEPER, code_tree, draft, running

from actfor.audit import AuditLog, NoteSigner
from actfor.errors import Kind, Refused
from actfor.identity import (
    Agent,
    AgentService,
    AgentState,
    Evidence,
    LocalProcessAttestor,
    PeopleService,
    Person,
    Svid,
    Wanted,
)
from actfor.identity.model import parse_name, skeleton
from actfor.sdk.attest import attestation_proof
from actfor.store import Database, Tx
from actfor.wire import jose
from actfor.wire.canonical import digest
from actfor.wire.jose import SigningKey, VerifyKey
from actfor.wire.spiffe import PRIVATE_CLAIM

ISSUER = "http://localhost:8700"
ORIGIN = ISSUER


@dataclass
class World:
    """The services, an operator, a code tree and one agent's key."""

    agents: AgentService
    people: PeopleService
    owner: Person
    clock: Clock
    code: Path
    database: Database
    audit: AuditLog
    svid_key: SigningKey
    key: SigningKey

    async def attest(
        self, pid: int, *, name: str = "bookkeeper", key: SigningKey | None = None
    ) -> Svid:
        evidence = Evidence(os.getpid(), os.getuid(), pid)
        return await self.present(evidence, name=name, key=key or self.key)

    async def present(self, evidence: Evidence, *, name: str, key: SigningKey) -> Svid:
        challenge = await self.agents.challenge(name, evidence.peer_pid)
        proof = await self.proof(challenge.nonce, evidence.pid, name=name, key=key)
        return await self.agents.attest(name, evidence, proof, key.public.jwk)

    async def proof(self, nonce: str, pid: int, *, name: str, key: SigningKey) -> str:
        agent = await self.agents.show(name)
        return attestation_proof(
            key, agent=str(agent.id), audience=ISSUER, nonce=nonce, pid=pid, now=self.clock.now()
        )

    async def log(self) -> list[str]:
        events = await self.audit.search(limit=100)
        return [f"{event.type}:{event.facts.get('action')}" for event in reversed(events)]


@pytest.fixture
async def world(database: Database, clock: Clock, tmp_path: Path) -> World:
    audit = AuditLog(database, NoteSigner.generate("test.example"), "test.example", clock.now)
    people = PeopleService(database, audit, "localhost", [ORIGIN], clock.now)
    passkey = SoftAuthenticator(ORIGIN, "localhost")
    begun = await people.register_options(await people.create_setup_link(), "Ada")
    owner = (await people.register(begun.id, passkey.create(dict(begun.options)))).person
    svid_key = SigningKey.generate()
    agents = AgentService(
        database, audit, "example.org", ISSUER, svid_key, [LocalProcessAttestor()], clock.now
    )
    code = code_tree(tmp_path / "code")
    return World(
        agents, people, owner, clock, code, database, audit, svid_key, SigningKey.generate()
    )


@pytest.fixture
def process(world: World) -> Iterator[subprocess.Popen[str]]:
    with running(PYTHON, "agent.py", cwd=world.code) as child:
        yield child


async def refused(kind: Kind, call, said: str | None = None) -> Refused:
    with pytest.raises(Refused, match=said) as caught:
        await call
    assert caught.value.kind is kind, caught.value.detail
    return caught.value


async def registered(world: World) -> Agent:
    return await world.agents.register(world.owner, draft(world.code))


# -- registration ------------------------------------------------------------------------------


async def test_a_registered_agent_is_bound_to_its_manifest(world: World) -> None:
    agent = await registered(world)
    assert str(agent.id) == "spiffe://example.org/agent/bookkeeper"
    assert agent.state is AgentState.REGISTERED
    manifest: Any = agent.reference.manifest(str(agent.id))
    assert agent.manifest_digest == digest(manifest)
    assert manifest["model"] == {
        "id": "vendor/model",
        "version": "2026-10-01",
        "assurance": "declared",
    }
    assert manifest["code"]["assurance"] == "measured"
    assert manifest["image"] is None
    assert await world.agents.show("bookkeeper") == agent
    assert "agent:registered" in await world.log()
    with pytest.raises(Refused, match="never attested; `actfor run` starts it"):
        agent.require_live()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "p\u0430yroll",
        "-a",
        ".a",
        "..",
        "a/b",
        "a b",
        "a%2Fb",
        "a" * 64,
        "\uff41",
        "a\n",
        "a\0",
    ],
)
async def test_a_name_that_is_no_plain_segment_is_refused(world: World, name: str) -> None:
    await refused(Kind.MALFORMED, world.agents.register(world.owner, draft(world.code, name)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("payroll", "payroll"),
        ("payroll", "payro1l"),
        ("pay-roll", "pay_roll"),
        ("pay-roll", "pay.roll"),
        ("bot0", "boto"),
        ("modern", "modem"),
        ("vvorker", "worker"),
    ],
)
async def test_a_name_that_looks_like_another_is_refused(
    world: World, first: str, second: str
) -> None:
    await world.agents.register(world.owner, draft(world.code, first))
    await refused(Kind.CONFLICT, world.agents.register(world.owner, draft(world.code, second)))


async def test_a_retired_name_is_never_given_out_again(world: World) -> None:
    await registered(world)
    await world.agents.retire(world.owner, "bookkeeper", "no longer needed")
    await refused(Kind.CONFLICT, registered(world))
    await refused(Kind.CONFLICT, world.agents.reinstate(world.owner, "bookkeeper"))


async def test_purpose_and_owner_are_required(world: World) -> None:
    wanted = draft(world.code)
    for purpose in ("", "   ", "x" * 501, "a\u202eb"):
        await refused(
            Kind.MALFORMED, world.agents.register(world.owner, replace(wanted, purpose=purpose))
        )
    nobody = replace(world.owner, id="usr_nobody")
    await refused(Kind.DENIED, world.agents.register(nobody, wanted))


@pytest.mark.parametrize(
    "wanted",
    [
        {"code": Wanted("/nonexistent")},
        {"code": Wanted("relative/path")},
        {"code": Wanted(PYTHON)},
        {"executable": Wanted("/tmp")},
        {"code": Wanted("/tmp", "sha-256:short")},
        {"code": Wanted(digest="sha-256:" + "A" * 43)},
        {"image": "latest"},
        {"image": "sha256:" + "A" * 64},
    ],
)
async def test_reference_values_that_say_nothing_are_refused(world: World, wanted) -> None:
    base = draft(world.code)
    bad = replace(base, reference=replace(base.reference, **wanted))
    await refused(Kind.MALFORMED, world.agents.register(world.owner, bad))


@given(st.text(max_size=80))
def test_only_segments_of_the_grammar_are_names(name: str) -> None:
    try:
        assert parse_name(name) == name
    except Refused:
        return
    assert name.isascii()
    assert 1 <= len(name) <= 63
    assert skeleton(name) == skeleton(skeleton(name))


# -- attestation -------------------------------------------------------------------------------


async def test_an_attested_process_gets_an_svid_bound_to_its_key(
    world: World, process: subprocess.Popen[str]
) -> None:
    agent = await registered(world)
    svid = await world.attest(process.pid)
    claims: Any = jose.unverified(svid.token).claims
    assert jose.unverified(svid.token).header["typ"] == "JWT"
    assert claims["sub"] == "spiffe://example.org/agent/bookkeeper"
    assert claims["aud"] == ISSUER
    assert claims["exp"] - claims["iat"] == 600
    assert claims["cnf"] == {"jkt": world.key.kid}
    assert claims[PRIVATE_CLAIM] == {
        "manifest": agent.manifest_digest,
        "instance": str(svid.instance),
        "assurance": "attested-local",
        "model": {"id": "vendor/model", "version": "2026-10-01"},
    }
    assert str(svid.instance).startswith("spiffe://example.org/agent/bookkeeper/i/")
    seen = await world.agents.verify_svid(svid.token, ISSUER)
    assert seen.agent.state is AgentState.ACTIVE
    assert (seen.instance, seen.jkt, seen.manifest) == (
        svid.instance,
        world.key.kid,
        agent.manifest_digest,
    )
    assert "attest:svid-issued" in await world.log()


async def test_a_renewal_keeps_the_instance_and_measures_again(
    world: World, process: subprocess.Popen[str]
) -> None:
    await registered(world)
    first = await world.attest(process.pid)
    world.clock.advance(300)
    second = await world.attest(process.pid)
    assert second.instance == first.instance
    assert second.expires_at == first.expires_at + timedelta(seconds=300)
    other = await world.attest(process.pid, key=SigningKey.generate())
    assert other.instance != first.instance


async def test_a_nonce_works_once_within_a_minute_for_whom_it_was_made(
    world: World, process: subprocess.Popen[str]
) -> None:
    await registered(world)
    me, jwk = Evidence(os.getpid(), os.getuid(), process.pid), world.key.public.jwk
    made = await world.agents.challenge("bookkeeper", os.getpid())
    proof = await world.proof(made.nonce, process.pid, name="bookkeeper", key=world.key)
    await world.agents.attest("bookkeeper", me, proof, jwk)
    await refused(Kind.REPLAYED, world.agents.attest("bookkeeper", me, proof, jwk))

    made = await world.agents.challenge("bookkeeper", os.getpid())
    proof = await world.proof(made.nonce, process.pid, name="bookkeeper", key=world.key)
    stranger = replace(me, peer_pid=1)
    await refused(Kind.UNAUTHENTICATED, world.agents.attest("bookkeeper", stranger, proof, jwk))
    await refused(Kind.REPLAYED, world.agents.attest("bookkeeper", me, proof, jwk))

    made = await world.agents.challenge("bookkeeper", os.getpid())
    world.clock.advance(60)
    proof = await world.proof(made.nonce, process.pid, name="bookkeeper", key=world.key)
    await refused(Kind.EXPIRED, world.agents.attest("bookkeeper", me, proof, jwk))


async def test_a_proof_by_another_key_or_about_another_process_is_refused(
    world: World, process: subprocess.Popen[str]
) -> None:
    await registered(world)
    me, thief = Evidence(os.getpid(), os.getuid(), process.pid), SigningKey.generate()
    made = await world.agents.challenge("bookkeeper", os.getpid())
    proof = await world.proof(made.nonce, process.pid, name="bookkeeper", key=world.key)
    await refused(
        Kind.UNAUTHENTICATED, world.agents.attest("bookkeeper", me, proof, thief.public.jwk)
    )
    made = await world.agents.challenge("bookkeeper", os.getpid())
    proof = await world.proof(made.nonce, os.getpid(), name="bookkeeper", key=world.key)
    await refused(
        Kind.UNAUTHENTICATED, world.agents.attest("bookkeeper", me, proof, world.key.public.jwk)
    )


async def test_changed_code_is_refused_and_the_identity_invalidated(
    world: World, process: subprocess.Popen[str]
) -> None:
    await registered(world)
    (world.code / "helper.py").write_text("answer = 43\n")
    said = "`helper.py` was changed"
    await refused(Kind.DENIED, world.attest(process.pid), said)
    agent = await world.agents.show("bookkeeper")
    assert (agent.state, agent.cause, agent.epoch) == (AgentState.INVALIDATED, said, 2)
    (world.code / "helper.py").write_text("answer = 42\n")
    await refused(Kind.DENIED, world.attest(process.pid), said)  # a person must look at it
    await world.agents.reinstate(world.owner, "bookkeeper")
    await world.attest(process.pid)


async def test_another_program_is_refused_and_invalidates_nothing(world: World) -> None:
    await registered(world)
    with running("/bin/sleep", "60", cwd=world.code, wait=False) as other:
        await refused(Kind.DENIED, world.attest(other.pid), "which is not the registered")
    assert (await world.agents.show("bookkeeper")).state is AgentState.REGISTERED
    assert "attest:svid-refused" in await world.log()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["-c", SLEEPER], "runs what is not measured"),
        (["-u", "-c", SLEEPER], "runs what is not measured"),
        (["-uc", SLEEPER], "runs what is not measured"),
        (["/dev/stdin"], "is not in the code tree"),
        (["-"], "runs what is not measured"),
        ([], "runs what is not measured"),
        (["../evil.py"], "is not in the code tree"),
        (["-i", "agent.py"], "runs what is not measured"),
        (["-m", "http.server"], "is not in the code tree"),
        # isolated, Python does not find it and ends: whichever is seen first, it is refused
        (["-I", "-m", "agent"], "would not come from the code tree|there is no process"),
        (["-E", "agent.py"], "unmeasured bytecode"),
        (["-X", "pycache_prefix=", "agent.py"], "unmeasured bytecode"),
    ],
)
async def test_python_running_something_else_is_refused(
    world: World, argv: list[str], said: str
) -> None:
    (world.code.parent / "evil.py").write_text(SLEEPER)
    await registered(world)
    with running(PYTHON, *argv, cwd=world.code, wait=False) as child:
        time.sleep(0.05)
        await refused(Kind.DENIED, world.attest(child.pid), said)


@pytest.mark.parametrize(
    "argv",
    [["-u", "agent.py"], ["-m", "agent"], ["-W", "error", "-Xutf8", "-B", "./agent.py", "-c", "x"]],
)
async def test_python_running_the_code_tree_is_attested(world: World, argv: list[str]) -> None:
    await registered(world)
    with running(PYTHON, *argv, cwd=world.code) as child:
        await world.attest(child.pid)


@pytest.mark.parametrize(
    "env",
    [
        {"LD_PRELOAD": "/tmp/evil.so"},
        {"PYTHONPATH": "/tmp"},
        {"PYTHONINSPECT": "1"},
        {"PYTHONPYCACHEPREFIX": ""},
        {"NODE_OPTIONS": "--require /tmp/evil.js"},
    ],
)
async def test_an_environment_that_injects_code_is_refused(
    world: World, env: dict[str, str]
) -> None:
    await registered(world)
    with running(PYTHON, "agent.py", cwd=world.code, env=env) as child:
        await refused(Kind.DENIED, world.attest(child.pid), "measured|PYTHONPATH")


async def test_bytecode_in_the_tree_is_not_what_runs(world: World) -> None:
    """A planted .pyc with the source's own stamp would run instead of the source."""
    import importlib.util
    import py_compile

    source = world.code / "helper.py"
    stamp = source.stat()
    planted = Path(importlib.util.cache_from_source(str(source)))
    source.write_text("answer = 66\n")
    os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    py_compile.compile(str(source), str(planted))
    source.write_text("answer = 42\n")
    os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    (world.code / "agent.py").write_text(
        "import helper, time\nprint(helper.answer, flush=True)\ntime.sleep(60)\n"
    )
    await registered(world)
    plain = subprocess.run(
        [PYTHON, "-c", "import helper; print(helper.answer)"],
        cwd=world.code,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert plain.stdout.strip() == "66"  # the attack works outside
    with running(PYTHON, "agent.py", cwd=world.code, wait=False) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "42"
        await world.attest(child.pid)


async def test_only_what_the_peer_started_is_attested(
    world: World, process: subprocess.Popen[str]
) -> None:
    await registered(world)
    with running("/bin/sleep", "60", cwd=world.code, wait=False) as sibling:
        stranger = Evidence(sibling.pid, os.getuid(), process.pid)
        await refused(
            Kind.DENIED,
            world.present(stranger, name="bookkeeper", key=world.key),
            "not started by whoever asks",
        )
    other_user = Evidence(os.getpid(), os.getuid() + 1, process.pid)
    await refused(
        Kind.DENIED, world.present(other_user, name="bookkeeper", key=world.key), "another user"
    )
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    await refused(Kind.DENIED, world.attest(gone.pid), "not started by|no process")


@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's")
async def test_a_process_with_a_mount_namespace_of_its_own_is_refused(world: World) -> None:
    await registered(world)
    argv = ["unshare", "--map-root-user", "--mount", PYTHON, "agent.py"]
    probe = subprocess.run([*argv[:3], "true"], capture_output=True)
    if probe.returncode:
        pytest.skip("this machine has no user namespaces")
    with running(*argv, cwd=world.code) as child:
        await refused(Kind.DENIED, world.attest(child.pid), "mount namespace|another user")


# -- verification ------------------------------------------------------------------------------


async def test_an_svid_is_refused_when_anything_about_it_is_wrong(
    world: World, process: subprocess.Popen[str]
) -> None:
    await registered(world)
    svid = await world.attest(process.pid)
    claims: dict[str, Any] = dict(jose.unverified(svid.token).claims)

    async def check(kind: Kind, token: str, audience: str = ISSUER) -> None:
        await refused(kind, world.agents.verify_svid(token, audience))

    await check(Kind.UNAUTHENTICATED, svid.token, ISSUER + "/")
    forged = jose.sign(claims, typ="JWT", key=SigningKey.generate())
    await check(Kind.UNAUTHENTICATED, forged)
    wrong = {
        "aud": [ISSUER, "https://other.example"],
        "sub": "spiffe://other.org/agent/bookkeeper",
        "cnf": {"jkt": "short"},
        "exp": None,
    }
    for name, value in wrong.items():
        token = jose.sign({**claims, name: value}, typ="JWT", key=world.svid_key)
        await check(Kind.UNAUTHENTICATED, token)
    await check(Kind.UNAUTHENTICATED, jose.sign(claims, typ="at+jwt", key=world.svid_key))
    private = dict(claims[PRIVATE_CLAIM])
    for change, kind in (
        ({"manifest": "sha-256:" + "A" * 43}, Kind.DENIED),
        ({"instance": str(svid.instance) + "x"}, Kind.DENIED),
        ({"instance": "spiffe://example.org/agent/other/i/1"}, Kind.UNAUTHENTICATED),
        ({"assurance": None}, Kind.UNAUTHENTICATED),
    ):
        token = jose.sign(
            {**claims, PRIVATE_CLAIM: {**private, **change}}, typ="JWT", key=world.svid_key
        )
        await check(kind, token)
    for cut in (svid.token[:-1], svid.token + "A", "", "a.b.c", "\ud800"):
        with pytest.raises(Refused):
            await world.agents.verify_svid(cut, ISSUER)


async def test_an_svid_ends_to_the_second_even_when_it_was_seen_before(
    world: World, process: subprocess.Popen[str]
) -> None:
    await registered(world)
    svid = await world.attest(process.pid)
    world.clock.advance(599)
    await world.agents.verify_svid(svid.token, ISSUER)
    world.clock.advance(1)
    await refused(Kind.EXPIRED, world.agents.verify_svid(svid.token, ISSUER))


@pytest.mark.parametrize("action", ["quarantine", "retire", "update", "invalidate", "reinstate"])
async def test_an_svid_dies_with_its_agents_standing(
    world: World, process: subprocess.Popen[str], action: str
) -> None:
    await registered(world)
    svid = await world.attest(process.pid)
    agent = (await world.agents.verify_svid(svid.token, ISSUER)).agent
    world.database.read_sync(lambda tx: world.agents.check_live(tx, agent.name, agent.epoch))
    if action == "quarantine":
        await world.agents.quarantine(world.owner, "bookkeeper", "looks odd")
    elif action == "retire":
        await world.agents.retire(world.owner, "bookkeeper", "done")
    elif action == "update":
        await world.agents.update_reference(world.owner, "bookkeeper", draft(world.code).reference)
    elif action == "invalidate":
        await world.agents.invalidate(agent, "`x` was changed")
    else:
        await world.agents.quarantine(world.owner, "bookkeeper", "looks odd")
        await world.agents.reinstate(world.owner, "bookkeeper")
        await world.attest(process.pid)  # a new SVID; the old one must not come back to life
    await refused(Kind.DENIED, world.agents.verify_svid(svid.token, ISSUER))
    with pytest.raises(Refused) as stale:
        world.database.read_sync(lambda tx: world.agents.check_live(tx, agent.name, agent.epoch))
    assert stale.value.kind is Kind.DENIED


async def test_hooks_run_in_the_transaction_that_invalidates(
    world: World, process: subprocess.Popen[str]
) -> None:
    await registered(world)
    await world.attest(process.pid)
    seen: list[tuple[str, str | None]] = []

    def hook(tx: Tx, agent: Agent) -> None:
        seen.append((agent.state.value, agent.cause))
        raise RuntimeError("cancelling approvals failed")

    world.agents.on_invalidated.append(hook)
    with pytest.raises(RuntimeError):
        await world.agents.quarantine(world.owner, "bookkeeper", "looks odd")
    assert seen == [("quarantined", "looks odd")]
    assert (await world.agents.show("bookkeeper")).state is AgentState.ACTIVE
    world.agents.on_invalidated.clear()
    notified: list[str] = []
    world.agents.after_invalidated.append(lambda agent: notified.append(agent.name))
    await world.agents.quarantine(world.owner, "bookkeeper", "looks odd")
    assert notified == ["bookkeeper"]


async def test_who_may_do_what(world: World) -> None:
    await registered(world)
    link = await world.people.invite(world.owner, "Eve", [])
    begun = await world.people.register_options(link)
    key = SoftAuthenticator(ORIGIN, "localhost")
    eve = (await world.people.register(begun.id, key.create(dict(begun.options)))).person
    await refused(Kind.DENIED, world.agents.quarantine(eve, "bookkeeper", "x"))
    await refused(Kind.DENIED, world.agents.retire(eve, "bookkeeper", "x"))
    await refused(Kind.DENIED, world.agents.reinstate(eve, "bookkeeper"))
    await refused(
        Kind.DENIED, world.agents.update_reference(eve, "bookkeeper", draft(world.code).reference)
    )
    await world.agents.register(eve, draft(world.code, "eves-own"))
    await world.agents.quarantine(eve, "eves-own", "x")
    await refused(Kind.DENIED, world.agents.reinstate(eve, "eves-own"))
    await refused(Kind.NOT_FOUND, world.agents.quarantine(world.owner, "nobody", "x"))


# -- watching ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda code: (code / "helper.py").write_text("answer = 4\n"), "`helper.py` was changed"),
        (lambda code: (code / "new.py").write_text(""), "`new.py` was added"),
        (lambda code: (code / "helper.py").unlink(), "`helper.py` was removed"),
        (lambda code: code.rename(code.with_name("gone")), "cannot be measured"),
        (lambda code: (code.parent / "prompt.md").write_text("be evil"), "prompt `.*` was changed"),
    ],
)
async def test_the_watch_finds_a_change_and_names_it(
    world: World, process: subprocess.Popen[str], change, cause: str
) -> None:
    prompt = world.code.parent / "prompt.md"
    prompt.write_text("be kind")
    await world.agents.register(world.owner, draft(world.code, prompt=Wanted(str(prompt))))
    svid = await world.attest(process.pid)
    await world.agents.watch_once()
    assert (await world.agents.verify_svid(svid.token, ISSUER)).agent.state is AgentState.ACTIVE
    change(world.code)
    await world.agents.watch_once()
    await refused(Kind.DENIED, world.agents.verify_svid(svid.token, ISSUER), cause)
    assert (await world.log())[-1] == "agent:invalidated"


async def test_a_process_that_ended_takes_its_svid_along(world: World) -> None:
    await registered(world)
    with running(PYTHON, "agent.py", cwd=world.code) as child:
        svid = await world.attest(child.pid)
    await world.agents.watch_once()
    await refused(
        Kind.DENIED, world.agents.verify_svid(svid.token, ISSUER), "the process has ended"
    )
    assert (await world.agents.show("bookkeeper")).state is AgentState.ACTIVE
    assert (await world.log())[-1] == "attest:instance-ended"


async def test_a_process_on_another_machine_is_left_to_the_node_there(world: World) -> None:
    """Its pid means nothing here, and its code lies in files that are not here."""
    await registered(world)
    with running(PYTHON, "agent.py", cwd=world.code) as child:
        svid = await world.attest(child.pid)
    elsewhere = sa.text("UPDATE agent_instance SET host = 'another machine'")
    world.database.write_sync(lambda tx: tx.changed(elsewhere))
    (world.code / "agent.py").unlink()
    await world.agents.watch_once()
    assert (await world.agents.verify_svid(svid.token, ISSUER)).agent.state is AgentState.ACTIVE


@pytest.mark.skipif(sys.platform != "linux", reason="tells an exec by /proc")
async def test_a_process_that_executes_something_else_loses_its_svid(world: World) -> None:
    (world.code / "agent.py").write_text(
        "import os, signal, sys\n"
        "signal.signal(signal.SIGUSR1, lambda *_: os.execv(sys.executable,\n"
        "    [sys.executable, 'agent.py', 'again']))\n"
        "print('up', flush=True)\n"
        "while True: signal.pause()\n"
    )
    await registered(world)
    with running(PYTHON, "agent.py", cwd=world.code) as child:
        svid = await world.attest(child.pid)
        await world.agents.watch_once()
        await world.agents.verify_svid(svid.token, ISSUER)
        child.send_signal(signal.SIGUSR1)
        assert child.stdout is not None
        child.stdout.readline()
        await world.agents.watch_once()
        await refused(
            Kind.DENIED,
            world.agents.verify_svid(svid.token, ISSUER),
            "the process executes another program",
        )


async def test_an_agent_that_moved_to_another_folder_can_renew(world: World) -> None:
    (world.code / "agent.py").write_text("import os\nos.chdir('/')\n" + SLEEPER)
    await registered(world)
    (world.code / "go").write_text("")
    await world.agents.update_reference(world.owner, "bookkeeper", draft(world.code).reference)
    child = subprocess.Popen(
        [PYTHON, str(world.code / "agent.py")],
        env={**os.environ, "PYTHONPYCACHEPREFIX": "/nonexistent"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        first = await world.attest(child.pid)
        world.clock.advance(10)
        assert (await world.attest(child.pid)).instance == first.instance
    finally:
        child.kill()
        child.communicate()


def test_keys_of_svids_are_es256(world: World) -> None:
    assert isinstance(world.svid_key.public, VerifyKey)
    assert world.svid_key.public.published["alg"] == "ES256"
