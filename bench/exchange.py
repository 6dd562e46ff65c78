"""Token exchanges: RFC 8693 with an attested agent's SVID and DPoP, beside oidc-provider's tokens.

Ours checks three signatures (the human's token, the agent's SVID, the proof; the first two may
come from a bounded cache of what was verified before, the proof never), spends the proof once in
the database, records the exchange durably and signs one ES256 token. The peer keeps all in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from actfor.wire.jose import header_of
from bench.harness import NotRun, Run, Samples, ask, drive, note, running
from bench.peers.oidc_provider import OidcProvider
from bench.world import World

CONNECTIONS = 8
WARM_SECONDS = 1.5
_PEERS = ("peer_tokens_plain_per_core_s", "peer_tokens_bound_per_core_s")
_EXPECTED_PER_S = 2500  # how many requests are prepared for a second; running out only ends a run


class ExchangeBench:
    """One contender beside the other; `round` measures both once."""

    def __init__(self, world: World, peer: OidcProvider | None, samples: Samples) -> None:
        self._world = world
        self._peer = peer
        self._samples = samples

    def check(self) -> None:
        """Look at one answer of ours before anything is timed; then let both get warm."""
        body, headers = self._world.one("exchange")
        answer = json.loads(ask(self._world.token_url, body, headers))
        header = header_of(answer["access_token"].split(".")[0])
        if (header["alg"], header["typ"], answer["token_type"]) != ("ES256", "at+jwt", "DPoP"):
            raise NotRun(f"not a DPoP-bound ES256 access token: {header}")
        self._ours(CONNECTIONS, WARM_SECONDS)
        if self._peer is not None:
            self._theirs(self._peer, WARM_SECONDS)

    def round(self, seconds: float) -> None:
        """Both, at 8 connections and at one."""
        crowd = self._ours(CONNECTIONS, seconds)
        self._samples.add("exchanges_per_core_s", crowd.per_core)
        self._samples.add("exchange_c8_p99_ms", crowd.p99)
        self._samples.add("exchange_p50_ms", self._ours(1, seconds / 2).p50)
        if self._peer is not None:
            plain, bound = self._theirs(self._peer, seconds)
            for name, run in zip(_PEERS, (plain, bound), strict=True):
                self._samples.add(name, run.per_core)
            self._samples.add("peer_tokens_bound_c8_p99_ms", bound.p99)

    def _ours(self, connections: int, seconds: float) -> Run:
        requests = self._world.prepare("exchange", int(seconds * _EXPECTED_PER_S))
        return drive(
            self._world.token_url,
            requests,
            server=self._world.server.pid,
            connections=connections,
            seconds=seconds,
            expect="access_token",
        )

    def _theirs(self, peer: OidcProvider, seconds: float) -> tuple[Run, Run]:
        plain = drive(
            peer.url,
            islice(peer.plain(), 1),
            server=peer.process.pid,
            connections=CONNECTIONS,
            seconds=seconds,
            expect="access_token",
            repeat=True,
        )
        bound = drive(
            peer.url,
            islice(peer.bound(), int(seconds * 1500)),
            server=peer.process.pid,
            connections=CONNECTIONS,
            seconds=seconds,
            expect="access_token",
        )
        return plain, bound


@contextmanager
def peer(samples: Samples) -> Iterator[OidcProvider | None]:
    """oidc-provider, running, or None (said aloud) where it cannot be had."""
    try:
        found = OidcProvider()
    except NotRun as reason:
        _lose(samples, reason)
        yield None
        return
    with running(found.process):
        started = True
        try:
            found.start()
        except NotRun as reason:
            _lose(samples, reason)
            started = False
        yield found if started else None


def _lose(samples: Samples, reason: NotRun) -> None:
    note(f"oidc-provider is NOT RUN: {reason}")
    for name in _PEERS:
        samples.lose(name, str(reason))
