"""The SDK and `actfor run` must work where only the base dependencies are installed."""

import subprocess
import sys

import pytest

BLOCKED = (
    "sqlalchemy", "starlette", "fastapi", "cedarpy", "mcp", "pydantic", "pydantic_settings",
    "webauthn", "uvicorn", "alembic", "jinja2", "structlog", "orjson", "aiohttp", "sqlglot",
    "prometheus_client", "multipart", "actfor.server", "actfor.store", "actfor.audit",
    "actfor.identity", "actfor.delegation", "actfor.authorization", "actfor.approval",
    "actfor.gateway", "actfor.console",
)  # fmt: skip

PROGRAM = """
import importlib, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name in {blocked!r} or name.split(".")[0] in {blocked!r}:
            raise ImportError("not in the base install: " + name)
sys.meta_path.insert(0, Block())
for name in {names!r}:
    importlib.import_module(name)
"""


@pytest.mark.parametrize(
    "name",
    [
        "actfor.sdk",
        "actfor.sdk.agent",
        "actfor.sdk.auth",
        "actfor.sdk.sidecar",
        "actfor.sdk.attest",
        "actfor.cli.profile",
        "actfor.cli.run",
    ],
)
def test_it_imports_with_the_base_dependencies_only(name: str) -> None:
    program = PROGRAM.format(blocked=BLOCKED, names=(name,))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
