"""Sign the command line in: the device authorization grant (RFC 8628), bound to a key made here."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import httpx2

from actfor.cli.api import Api, send
from actfor.cli.profile import Profile, save_profile
from actfor.errors import Refused
from actfor.wire.dpop import build_proof
from actfor.wire.jose import SigningKey

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True)
class Started:
    """A login that waits for a person in the browser."""

    server: str
    issuer: str
    token_endpoint: str
    device_code: str
    user_code: str
    link: str
    interval: float
    key: SigningKey


def begin(server: str) -> Started:
    """Ask the server for a code.

    Raises:
        Refused: BUSY when it cannot be reached.
    """
    with httpx2.Client(base_url=server, timeout=10) as client:
        metadata = send(client, "GET", "/.well-known/oauth-authorization-server").json()
        given = send(
            client,
            "POST",
            metadata["device_authorization_endpoint"],
            data={"client_id": "actfor-cli", "scope": "manage"},
        ).json()
    return Started(
        server=server,
        issuer=metadata["issuer"],
        token_endpoint=metadata["token_endpoint"],
        device_code=given["device_code"],
        user_code=given["user_code"],
        link=given["verification_uri_complete"],
        interval=float(given.get("interval", 5)),
        key=SigningKey.generate(),
    )


def finish(started: Started) -> bool:
    """Ask once whether the person confirmed; if so, keep the login and answer True.

    Raises:
        Refused: the person said no, or the code has expired.
    """
    proof = build_proof(
        key=started.key,
        method="POST",
        url=started.token_endpoint,
        now=datetime.now(UTC),
        jti=secrets.token_urlsafe(16),
    )
    form = {
        "grant_type": DEVICE_GRANT,
        "device_code": started.device_code,
        "client_id": "actfor-cli",
    }
    with httpx2.Client(timeout=10) as client:
        try:
            answer = send(
                client, "POST", started.token_endpoint, data=form, headers={"dpop": proof}
            )
        except Refused as refused:
            if refused.code in {"authorization_pending", "slow_down"}:
                return False
            raise
    token = answer.json()
    profile = Profile(
        server=started.server,
        issuer=started.issuer,
        access_token=token["access_token"],
        key=started.key,
        expires_at=datetime.now(UTC) + timedelta(seconds=token["expires_in"]),
    )
    # Where agents on this machine attest; said only to who is signed in.
    socket = Api(profile).get("/v1/server")["attest_socket"]
    save_profile(replace(profile, attest_socket=socket))
    return True
