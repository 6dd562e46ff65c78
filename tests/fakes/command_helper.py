"""Forks a process for each `actfor …` that it is asked for: a line of JSON each, answered by its code.

It has loaded the libraries that commands use, and nothing of actfor's own. The child does what
`python -m actfor` does: what a command loads of actfor, and in which order, is as it is for whoever
types it. Only what runs at an interpreter's exit does not run.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

LIBRARIES = (
    "aiohttp", "alembic", "asyncpg", "cedarpy", "cel", "cryptography.x509", "fastapi", "httpx2",
    "jinja2", "joserfc", "mcp", "psutil", "rich.table", "sqlalchemy", "sqlglot", "structlog",
    "typer", "uvicorn", "webauthn", "yaml",
)  # fmt: skip


def main() -> None:
    """Until nobody asks any more."""
    for name in LIBRARIES:
        importlib.import_module(name)
    assert not any(name.partition(".")[0] == "actfor" for name in sys.modules)
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(
    arguments: Sequence[str], out: str, err: str, environment: Mapping[str, str]
) -> NoReturn:
    os.environ.clear()
    os.environ.update(environment)
    for number, (path, how) in enumerate([(os.devnull, "r"), (out, "w"), (err, "w")]):
        with Path(path).open(how) as file:
            os.dup2(file.fileno(), number)
    sys.stdin = open(0, closefd=False)
    sys.argv = ["actfor", *arguments]
    code = 1
    try:
        runpy.run_module("actfor", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        else:
            code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
