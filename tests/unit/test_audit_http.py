"""The log over HTTP: what anyone may fetch, and what only signed-in people may read."""

from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.testclient import TestClient
from tests.conftest import Clock
from tests.fakes.audit_log import SIGNER, grow, open_log

from actfor.audit import AuditLog
from actfor.audit.http import log_routes, router
from actfor.errors import Kind, Refused
from actfor.sdk.receipt import verify_export, verify_receipt
from actfor.store import Database
from actfor.wire.tiles import tiles_of

KEY = str(SIGNER.verifier)
STATUS = {Kind.UNAUTHENTICATED: 401, Kind.NOT_FOUND: 404}


@pytest.fixture
def client(database: Database, clock: Clock):
    log: AuditLog = open_log(database, clock)
    app = FastAPI(routes=log_routes(log))

    def person(request: Request) -> None:
        if "authorization" not in request.headers:
            raise Refused(Kind.UNAUTHENTICATED, "sign in")

    app.include_router(router(log, person))

    @app.exception_handler(Refused)
    async def problem(_: Request, refused: Exception) -> JSONResponse:
        assert isinstance(refused, Refused)
        return JSONResponse({"detail": refused.detail}, STATUS[refused.kind])

    grow(database, log, 300)
    with TestClient(app) as connected:
        connected.headers["authorization"] = "yes"
        yield connected


def test_a_mirror_of_the_public_log_verifies_offline(client: TestClient, tmp_path: Path) -> None:
    client.get("/v1/audit/events/299/receipt")  # signs what is there
    del client.headers["authorization"]
    note = client.get("/log/checkpoint")
    assert note.headers["content-type"] == "text/plain; charset=utf-8"
    assert "no-cache" in note.headers["cache-control"]
    (tmp_path / "checkpoint").write_text(note.text)
    for tile in tiles_of(300):
        answer = client.get("/log/" + tile.path())
        assert answer.headers["content-type"] == "application/octet-stream"
        assert ("immutable" in answer.headers["cache-control"]) == (tile.width == 256)
        zipped = tile.level is None
        assert (answer.headers.get("content-encoding") == "gzip") == zipped
        path = tmp_path / tile.path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(answer.content)
    assert verify_export(tmp_path, KEY).checkpoint.size == 300


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/000", "tile/x", "tile/0/../../checkpoint"])
def test_before_a_checkpoint_and_off_the_grid_there_is_nothing(
    client: TestClient, path: str
) -> None:
    assert client.get("/log/" + path).status_code == 404


@pytest.mark.parametrize(
    "path", ["events", "events/1", "events/1/receipt", "traces/x", "key", "verify"]
)
def test_plaintext_needs_a_signed_in_person(client: TestClient, path: str) -> None:
    del client.headers["authorization"]
    answer = client.get("/v1/audit/" + path)
    assert answer.status_code == 401
    assert "usr_" not in answer.text


def test_events_and_receipts_are_served(client: TestClient) -> None:
    events = client.get("/v1/audit/events", params={"limit": 2, "type": "decide"}).json()["events"]
    assert [event["index"] for event in events] == [299, 298]
    assert events[0]["private"] == {"person": "usr_299"}
    trace = client.get(f"/v1/audit/traces/{events[0]['trace']}").json()["events"]
    assert trace == [events[0]]
    text = client.get("/v1/audit/events/299/receipt").json()["receipt"]
    assert verify_receipt(text, client.get("/v1/audit/key").json()["key"]).entry.seq == 299
    assert client.get("/v1/audit/events/299").json()["event"] == events[0]
    sealed = client.get("/v1/audit/events/299/receipt?reveal=nothing").json()["receipt"]
    assert "usr_299" not in sealed
    assert client.get("/v1/audit/verify").json()["ok"] is True


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("events/300", 404),
        ("events/-1/receipt", 404),
        ("events/99999999999999999999/receipt", 404),
        ("events/x", 422),
        ("events?limit=0", 422),
        ("events?limit=501", 422),
        ("events?before=-1", 422),
        ("events?type=unknown", 422),
    ],
)
def test_bad_questions_get_clear_answers(client: TestClient, path: str, status: int) -> None:
    assert client.get("/v1/audit/" + path).status_code == status
