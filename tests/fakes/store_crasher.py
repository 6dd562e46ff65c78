"""Kill a writer again and again, and count what it had acknowledged and the database lost.

Run as a program: `python store_crasher.py FOLDER KILLS SEED [MUTANT]` prints one line of JSON.
The parent forks a child per cycle (imports are paid once), reads its acknowledgements from a
pipe and kills it with SIGKILL at a random moment. A mutant shows that the rig can fail:
`early-ack` answers before the commit.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from actfor.audit import AuditLog, Event, EventType, NoteSigner
from actfor.store import Database
from actfor.store.sequencer import Job, Sequencer, _answer

ORIGIN = "log.example/crash"
RECORD = 8  # one acknowledgement: the leaf index, the number that was logged


def now() -> datetime:
    return datetime.now(UTC)


def open_log(url: str, signer: NoteSigner) -> tuple[Database, AuditLog]:
    database = Database.open(url, clock=now, create_all=True)
    return database, AuditLog(database, signer, ORIGIN, now)


async def write_until_killed(url: str, signer: NoteSigner, cycle: int, acks: int) -> None:
    database, log = open_log(url, signer)
    await log.start()

    async def client(k: int) -> None:
        n = 0
        while True:
            n += 1
            number = cycle << 20 | k << 14 | n & 0x3FFF
            event = Event(EventType.DECIDE, "t", {"n": number}, {"secret": number})
            index = await database.write(lambda tx: log.append(tx, event))  # noqa: B023
            os.write(acks, index.to_bytes(4, "big") + number.to_bytes(4, "big"))
            if n % 16 == 0:
                await log.checkpoint()

    await asyncio.gather(*[client(k) for k in range(8)])


def one_kill(url: str, signer: NoteSigner, cycle: int, after: float) -> list[tuple[int, int]]:
    """Fork, let it acknowledge something, wait, kill; return what it acknowledged."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        asyncio.run(write_until_killed(url, signer, cycle, sending))
        os._exit(1)
    os.close(sending)
    data = os.read(receiving, RECORD)
    signal.setitimer(signal.ITIMER_REAL, after)
    signal.sigwait({signal.SIGALRM})
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while part := os.read(receiving, 1 << 16):
        data += part
    os.close(receiving)
    whole = len(data) // RECORD * RECORD
    return [
        (int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 8], "big"))
        for at in range(0, whole, RECORD)
    ]


def acknowledge_early(sequencer: Sequencer, batch: list[Job]) -> None:
    """The mutant: units are answered, and only then committed."""
    begin, commit = sequencer._writer.begin, sequencer._writer.commit

    def answer_then_commit() -> None:
        _answer(batch)
        batch[:] = []
        time.sleep(0.02)  # a slow disk
        commit()

    sequencer._writer.begin, sequencer._writer.commit = begin, answer_then_commit  # type: ignore[method-assign]
    try:
        HONEST(sequencer, batch)
    finally:
        sequencer._writer.begin, sequencer._writer.commit = begin, commit  # type: ignore[method-assign]


HONEST = Sequencer._commit


def main(folder: Path, kills: int, seed: int, mutant: str = "") -> None:
    url = f"sqlite:///{folder}/crash.db"
    signer = NoteSigner.generate(ORIGIN)
    rng = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    if mutant == "early-ack":
        Sequencer._commit = acknowledge_early  # type: ignore[method-assign,assignment]
    acked: dict[int, int] = {}
    for cycle in range(kills):
        acked.update(one_kill(url, signer, cycle, rng.uniform(0.002, 0.06)))
    database, log = open_log(url, signer)
    size = asyncio.run(log.head()).size
    lost = sum(
        index >= size or asyncio.run(log.event(index)).facts["n"] != number
        for index, number in acked.items()
    )
    problems: list[str] = []
    try:
        asyncio.run(log.start())
        problems += asyncio.run(log.verify()).problems
    except Exception as cause:
        problems.append(str(cause))
    database.close_sync()
    print(json.dumps({"acked": len(acked), "lost": lost, "size": size, "problems": problems}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
