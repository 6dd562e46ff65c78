"""What the tests of whole installations share: a tool server, and a PostgreSQL of their own."""

import os
from collections.abc import Iterator

import pytest
from tests.fakes import postgres
from tests.fakes.gateway_world import counting_http

from actfor.gateway.model import Http


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    with counting_http(tmp_path_factory.mktemp("counting") / "journal") as url:
        yield Http(url)


@pytest.fixture(scope="module")
def own(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[postgres.Cluster]:
    """A PostgreSQL whose folder nobody else writes to."""
    test, run = request.module.__name__.rpartition(".")[2], tmp_path_factory.getbasetemp().name
    cluster = postgres.Cluster(postgres.base() / f"actfor-{test[5:12]}-{run}-{os.getpid()}")
    cluster.create().start()
    yield cluster
    cluster.remove()
