"""The log sent on: every leaf at least once, in order, to real receivers; never anywhere else."""

import asyncio
import contextlib
import json
import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from starlette.testclient import TestClient
from tests.conftest import Clock
from tests.fakes.audit_log import AGENT, grow, open_log

from actfor.audit import AuditLog, Event, EventType, LoggedEvent
from actfor.audit.export import Destination, Exporter, Format, batch
from actfor.audit.export.http import router
from actfor.audit.export.model import BATCH, LEASE_SECONDS, pause
from actfor.audit.export.senders import NotDelivered
from actfor.errors import Kind, Refused
from actfor.store import Database
from actfor.wire.canonical import JsonObject

NASTY = "x\r\nCEF:0|evil|a=b\\ \u2028\u202e tool|deny\x1b[2J"


@pytest.fixture
def log(database: Database, clock: Clock) -> AuditLog:
    return open_log(database, clock)


def exporter(database: Database, log: AuditLog, *destinations: Destination, node: str = "a"):
    return Exporter(database, log, destinations, node=node)


def to_file(path: Path, form: str = "jsonl", **more: bool) -> Destination:
    return Destination.parse(name="siem", format=form, to=path.as_uri(), **more)


async def deliver(sending: Exporter) -> int:
    """Send until nothing is left; how many leaves went."""
    total = 0
    for destination, sender in sending._senders:
        while sent := await sending.step(destination, sender):
            total += sent
        await sender.close()
    return total


async def write(database: Database, log: AuditLog, *events: Event) -> None:
    await database.write(lambda tx: [log.append(tx, event) for event in events])


# -- delivery --------------------------------------------------------------------------------------


async def test_every_leaf_reaches_a_file_once_and_in_order(database, log, tmp_path) -> None:
    grow(database, log, BATCH + 40)
    target = tmp_path / "siem.jsonl"
    assert await deliver(exporter(database, log, to_file(target))) == BATCH + 40
    grow(database, log, 5)
    assert await deliver(exporter(database, log, to_file(target))) == 5  # a restart goes on
    indexes = [json.loads(line)["index"] for line in target.read_text().splitlines()]
    assert indexes == list(range(BATCH + 45))
    assert target.stat().st_mode & 0o777 == 0o600


async def test_a_line_torn_by_a_crash_is_not_glued_to_the_next(database, log, tmp_path) -> None:
    target = tmp_path / "siem.jsonl"
    target.write_text('{"index":0,"half')
    grow(database, log, 2)
    await deliver(exporter(database, log, to_file(target)))
    torn, *whole = target.read_text().splitlines()
    assert torn == '{"index":0,"half'
    assert [json.loads(line)["index"] for line in whole] == [0, 1]


async def test_a_file_that_is_a_link_is_not_followed(database, log, tmp_path) -> None:
    (tmp_path / "victim").write_text("")
    (tmp_path / "siem.jsonl").symlink_to(tmp_path / "victim")
    grow(database, log, 1)
    with pytest.raises(NotDelivered):
        await deliver(exporter(database, log, to_file(tmp_path / "siem.jsonl")))
    assert (tmp_path / "victim").read_text() == ""


class Collector:
    """A real HTTP server that keeps what it gets, and answers as it is told to."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bodies.append(await request.read())
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"location": "/elsewhere"})


@pytest.fixture
async def collector():
    found = Collector()
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/{path:.*}", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    found.url = f"http://127.0.0.1:{port}/in"  # type: ignore[attr-defined]
    yield found
    await runner.cleanup()


async def test_a_refused_delivery_is_counted_and_sent_again_from_the_same_leaf(
    database, log, collector, tmp_path
) -> None:
    grow(database, log, 3)
    token = tmp_path / "token"
    token.write_text("first\n")
    destination = Destination.parse(name="siem", format="jsonl", to=collector.url, token_file=token)
    sending = exporter(database, log, destination)
    collector.answers = [503, 302]
    for _ in range(2):
        with pytest.raises(NotDelivered):
            await deliver(sending)
    (status,) = await sending.status()
    assert (status.failures, status.next_index, status.behind) == (2, 0, 3)
    assert status.error == "the destination answered 302"
    token.write_text("second\n")
    assert await deliver(sending) == 3
    assert collector.bodies[0] == collector.bodies[1] == collector.bodies[2]
    assert {h["idempotency-key"] for h in collector.headers} == {"0-2"}
    assert [h["authorization"] for h in collector.headers] == ["Bearer first"] * 2 + [
        "Bearer second"
    ]
    (status,) = await sending.status()
    assert (status.failures, status.error, status.behind) == (0, None, 0)


async def test_a_destination_that_is_down_delays_no_other(database, log, tmp_path) -> None:
    grow(database, log, 10)
    dead = Destination.parse(name="dead", format="jsonl", to="http://127.0.0.1:9/in")
    target = tmp_path / "siem.jsonl"
    sending = exporter(database, log, dead, to_file(target))
    running = asyncio.create_task(sending.run())
    async with asyncio.timeout(20):
        while not target.exists() or target.read_text().count("\n") < 10:
            await asyncio.sleep(0.02)
        while (await sending.status())[0].error is None:  # it has been tried, and failed
            await asyncio.sleep(0.02)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    dead_status, _ = await sending.status()
    assert dead_status.behind == 10
    assert dead_status.error is not None


async def test_of_two_nodes_one_sends_and_the_other_takes_over_when_it_is_gone(
    database, log, clock, tmp_path
) -> None:
    target = tmp_path / "siem.jsonl"
    first = exporter(database, log, to_file(target), node="a")
    second = exporter(database, log, to_file(target), node="b")
    grow(database, log, 2)
    assert await deliver(first) == 2
    grow(database, log, 2)
    assert await deliver(second) == 0
    clock.advance(LEASE_SECONDS + 1)
    assert await deliver(second) == 2
    assert await deliver(first) == 0
    assert target.read_text().count("\n") == 4


async def test_a_new_destination_may_begin_with_what_comes_after_it(
    database, log, tmp_path
) -> None:
    grow(database, log, 7)
    target = tmp_path / "siem.jsonl"
    sending = exporter(database, log, to_file(target, from_start=False))
    assert await deliver(sending) == 0
    grow(database, log, 1)
    assert await deliver(sending) == 1
    assert json.loads(target.read_text())["index"] == 7


async def test_syslog_messages_are_framed_by_their_length(database, log) -> None:
    got = bytearray()
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            got.extend(data)
        writer.close()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    facts: JsonObject = {"agent": AGENT, "tool": NASTY, "decision": "deny"}
    await write(
        database, log, Event(EventType.DECIDE, "dec_x", facts), Event(EventType.KEY, "k", {})
    )
    destination = Destination.parse(name="siem", format="cef", to=f"syslog+tcp://127.0.0.1:{port}")
    await deliver(exporter(database, log, destination))
    await asyncio.wait_for(done.wait(), 5)
    server.close()
    rest, messages = bytes(got), []
    while rest:
        size, _, rest = rest.partition(b" ")
        messages.append(rest[: int(size)].decode())
        rest = rest[int(size) :]
    assert len(messages) == 2
    assert messages[0].startswith("<108>1 ")  # log audit, warning: a refused call
    assert messages[1].startswith("<110>1 ")
    assert " actfor - decide - CEF:0|actfor|actfor|" in messages[0]


async def test_syslog_over_tls_refuses_a_certificate_nobody_vouches_for(
    database, log, tmp_path
) -> None:
    certificate, key = _self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("nothing may be sent here")

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    grow(database, log, 1)
    destination = Destination.parse(name="siem", format="cef", to=f"syslog+tls://127.0.0.1:{port}")
    with pytest.raises(NotDelivered, match="SSLCertVerificationError"):
        await deliver(exporter(database, log, destination))
    server.close()


async def test_opentelemetry_records_reach_a_collector(database, log, collector) -> None:
    facts: JsonObject = {"agent": AGENT, "decision": "deny", "policies": ["outside-mandate"]}
    await write(database, log, Event(EventType.DECIDE, "dec_x", facts, {"person": "usr_secret"}))
    destination = Destination.parse(name="otel", format="otel", to=collector.url)
    assert await deliver(exporter(database, log, destination)) == 1
    body = collector.bodies[0]
    if collector.headers[0].get("content-encoding") == "gzip":
        import gzip

        body = gzip.decompress(body)
    sent = ExportLogsServiceRequest.FromString(body)
    (record,) = sent.resource_logs[0].scope_logs[0].log_records
    found = {item.key: item.value for item in record.attributes}
    assert record.severity_text == "WARN"
    assert found["actfor.agent"].string_value == AGENT
    assert found["actfor.policies"].string_value == '["outside-mandate"]'
    assert found["actfor.log.index"].int_value == 0
    assert b"usr_secret" not in body


async def test_a_collector_that_refuses_is_not_taken_for_delivered(
    database, log, collector
) -> None:
    grow(database, log, 1)
    collector.answers = [400]
    destination = Destination.parse(name="otel", format="otel", to=collector.url)
    sending = exporter(database, log, destination)
    with pytest.raises(NotDelivered):
        await deliver(sending)
    assert await deliver(sending) == 1


# -- formats ---------------------------------------------------------------------------------------


async def one_of_each(database: Database, log: AuditLog) -> list[LoggedEvent]:
    for kind in EventType:
        facts: JsonObject = {
            "agent": AGENT,
            "action": "did",
            "decision": "deny",
            "effect": "delete",
            "server": "crm",
            "tool": NASTY,
            "mandate": "mdt_1",
            "epochs": {"agent": 1},
        }
        await write(database, log, Event(kind, f"t-{kind}", facts, {"person": "usr_secret"}))
        await write(database, log, Event(kind, f"u-{kind}", {}))
    return await log.events(0, 500)


async def test_every_kind_of_event_is_valid_by_the_published_ocsf_schema(database, log) -> None:
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.5.0"))
    validators: dict[int, Draft202012Validator] = {}
    for event, line in zip(
        (events := await one_of_each(database, log)),
        batch(events, Format.OCSF, private=False),
        strict=True,
    ):
        body = json.loads(line)
        uid = body["class_uid"]
        if uid not in validators:
            name = schema.lookup_class_name_from_uid(uid)
            validators[uid] = Draft202012Validator(schema.get_class_schema(name))
        problems = [error.message for error in validators[uid].iter_errors(body)]
        assert problems == [], (event.type, problems)
        assert body["type_uid"] == uid * 100 + body["activity_id"]
    assert set(validators) == {6003, 3003, 3002, 3005, 3004}


@pytest.mark.parametrize("form", ["jsonl", "ocsf", "cef"])
async def test_private_members_leave_only_where_asked_for(database, log, form) -> None:
    events = await one_of_each(database, log)
    assert "usr_secret" not in "".join(batch(events, Format(form), private=False))
    assert "usr_secret" in "".join(batch(events, Format(form), private=True))


@pytest.mark.parametrize("form", ["jsonl", "ocsf", "cef"])
async def test_what_an_agent_wrote_cannot_begin_a_line_or_a_field(database, log, form) -> None:
    for line in batch(await one_of_each(database, log), Format(form), private=True):
        assert line == "".join(char for char in line if char.isprintable())
        if form == "cef":
            head, extension = re.split(r"(?<!\\)\|", line, maxsplit=7)[:7], line
            assert head[0] == "CEF:0"
            assert "act=deny" in extension or "act=" not in extension
            assert not re.search(r"(?<!\\)\|evil", extension.partition("rt=")[0])
            assert " a=b" not in extension


def test_a_cef_field_keeps_what_it_escapes() -> None:
    from actfor.audit.export.formats import _cef_head, _cef_value

    assert _cef_value("a=b\\c\nd") == "a\\=b\\\\c d"
    assert _cef_head("a|b\\c\nd") == "a\\|b\\\\c d"


# -- over HTTP -------------------------------------------------------------------------------------


async def test_the_api_shows_destinations_and_lines_but_adds_none(database, log, tmp_path) -> None:
    grow(database, log, 3)
    target = tmp_path / "siem.jsonl"
    app = FastAPI()
    app.include_router(router(log, exporter(database, log, to_file(target)), lambda: None))
    with TestClient(app) as client:
        (shown,) = client.get("/v1/audit/exports").json()["exports"]
        assert (shown["name"], shown["behind"], shown["error"]) == ("siem", 3, None)
        for method in ("post", "put", "delete", "patch"):  # threats-and-faults D20
            assert client.request(method, "/v1/audit/exports").status_code == 405
        page = client.get("/v1/audit/lines?format=ocsf&from=1&limit=1")
        assert page.headers["next-index"] == "2"
        assert json.loads(page.text)["metadata"]["sequence"] == 1
        assert client.get("/v1/audit/lines?from=3").text == ""
        assert client.get("/v1/audit/lines?format=otel").status_code == 422


# -- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "given", "said"),
    [
        ("name", "Siem!", "`name`"),
        ("format", "xml", "`format` is one of"),
        ("to", "ftp://x/y", "begins with one of"),
        ("to", "http://siem.example/in", "must be encrypted"),
        ("to", "syslog+tcp://10.0.0.1:514", "must be encrypted"),
        ("to", "https://user:pw@siem.example/in", "no credentials"),
        ("to", "https:///in", "names a host"),
        ("to", "syslog+tls://siem.example", "names a port"),
        ("to", "file://host/x", "absolute/path"),
        ("to", "file:relative", "absolute/path"),
        ("to", "https://siem.example:99999/", "not an address"),
        ("token_file", Path("relative"), "absolute path"),
    ],
)
def test_a_destination_that_is_wrong_is_refused_by_name(member, given, said) -> None:
    right = {"name": "siem", "format": "jsonl", "to": "https://siem.example/in"}
    Destination.parse(**right)  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        Destination.parse(**{**right, member: given})
    assert refused.value.kind is Kind.MALFORMED
    assert said in refused.value.detail


def test_a_format_goes_only_where_it_can_be_read() -> None:
    with pytest.raises(Refused, match="`otel` cannot be sent to `file:`"):
        Destination.parse(name="x", format="otel", to="file:///tmp/x")
    with pytest.raises(Refused, match="`cef` cannot be sent to `https:`"):
        Destination.parse(name="x", format="cef", to="https://siem.example/")


def test_two_destinations_may_not_share_a_cursor(database, log, tmp_path) -> None:
    with pytest.raises(Refused, match="share a name"):
        exporter(database, log, to_file(tmp_path / "a"), to_file(tmp_path / "b"))


def test_a_dead_destination_is_asked_less_and_less_often() -> None:
    assert [pause(n) for n in (1, 2, 3, 7, 1000)] == [1, 2, 4, 60, 60]


def _self_signed(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(*pem, serialization.NoEncryption()))
    return certificate, secret
