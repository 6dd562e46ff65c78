"""The part of R11 that is over HTTP: `actfor serve` has no file descriptors left, for a while.

Far more clients come than the process may have descriptors, and stay. Each connection is answered,
closed or refused in time; none waits for ever. When they are gone, the server answers as before,
it is the same process, and it ends in order.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.faults.harness import Tally

from actfor.cli.demo.stage import Stage, free_port
from actfor.cli.demo.world import World

CLIENTS = 40
ROOM = 12  # descriptors that are left when the crowd comes
PATIENCE = 30.0  # seconds: idle connections are closed after five, and make room
MUTANTS = 8.0  # seconds that a mutant is given: far more than the product takes
SOON = 5.0
WRONG = Path(__file__).parent / "wrong_server"
OVER_HTTP = "lets-them-wait"
"""The mutant that is caught here; the others are not started over HTTP."""


def without_descriptors(tally: Tally, mutant: str | None = None) -> None:
    """One server, one crowd; a wrong server where a mutant is named. Only Linux lets us limit another process; elsewhere it says so."""
    if not hasattr(resource, "prlimit"):
        print("  over HTTP: not run, this system limits no other process", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="actfor-r11-") as short:  # sockets want short paths
        _one_crowd(Path(short), tally, mutant)


def _one_crowd(folder: Path, tally: Tally, mutant: str | None) -> None:
    stage = Stage(World(folder), free_port())
    if mutant is not None:
        stage.environment["PYTHONPATH"] = str(WRONG)
    stage.start()
    try:
        process = stage._server
        assert process is not None
        patience = PATIENCE if mutant is None else MUTANTS
        asyncio.run(_crowded(process.pid, int(stage.url.rpartition(":")[2]), tally, patience))
        if process.poll() is not None:
            tally.problems.append("the server ended for want of descriptors")
        process.send_signal(signal.SIGTERM)
        if process.wait(15) != 0:
            tally.problems.append("the server did not end in order afterwards")
    finally:
        stage.stop()


async def _crowded(pid: int, port: int, tally: Tally, patience: float) -> None:
    over = asyncio.Event()
    over.set()
    before = await _asked(port, over, patience)
    if before != "200":
        tally.problems.append(f"before anything: {before}")
    used = len([*Path(f"/proc/{pid}/fd").iterdir()])
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + ROOM, hard))
    gone = asyncio.Event()
    asked = [asyncio.create_task(_asked(port, gone, patience)) for _ in range(CLIENTS)]
    began = time.monotonic()
    answers = Counter(await asyncio.gather(*asked))
    tally.worst("http_slowest_seconds", time.monotonic() - began)
    most = len([*Path(f"/proc/{pid}/fd").iterdir()])
    tally.worst("http_descriptors_most", most - used)
    for answer, how_many in answers.items():
        tally.count(f"http_{answer}".replace(" ", "_"), how_many)
    if answers["no answer"]:
        tally.problems.append(f"{answers['no answer']} connections were left waiting")
    gone.set()
    began = time.monotonic()
    while (
        after := await _asked(port, gone, patience)
    ) != "200" and time.monotonic() < began + SOON:
        await asyncio.sleep(0.1)
    if after != "200":
        tally.problems.append(f"the crowd is gone, and the server says {after}")
    tally.worst("http_back_seconds", time.monotonic() - began)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


async def _asked(port: int, gone: asyncio.Event, patience: float) -> str:
    """The status of an answer, or how the connection ended. It stays open until all have theirs."""
    writer = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            host = f"Host: localhost:{port}"
            writer.write(f"GET /log/checkpoint HTTP/1.1\r\n{host}\r\n\r\n".encode())
            line = await reader.readline()
            return line.split()[1].decode() if line.count(b" ") > 1 else "closed"
    except TimeoutError:
        return "no answer"
    except OSError:
        return "refused"
    finally:
        if writer is not None:
            _held.append(asyncio.create_task(_hold(writer, gone)))


_held: list[asyncio.Task[None]] = []


async def _hold(writer: asyncio.StreamWriter, gone: asyncio.Event) -> None:
    await gone.wait()
    with suppress(OSError):
        writer.close()
        await writer.wait_closed()
