"""A witness over HTTP: C2SP tlog-witness, the client's side."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from actfor.audit.witnesses.base import Cosigned, Misfit, NotCosigned, Prove
from actfor.errors import Refused
from actfor.wire.checkpoint import NUMBER, Checkpoint
from actfor.wire.note import Note, NoteVerifier
from actfor.wire.witness import AddCheckpoint, cosignatures

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_SECONDS: Final = 5.0
_MAX_ANSWER: Final = 64 * 1024
_TRIES: Final = 3


class HttpWitness:
    """``url`` is the submission prefix, from configuration only. Redirects are not followed."""

    def __init__(
        self, name: str, key: NoteVerifier, url: str, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self.name = name
        self.pending: int | None = None
        self._key = key
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._timeout = timeout_seconds
        self._session: aiohttp.ClientSession | None = None
        self._size = 0  # the size it cosigned last, as far as we know

    async def cosign(self, note: str, prove: Prove) -> Cosigned:
        """See ``Witness``."""
        text = Note.parse(note).text
        checkpoint = Checkpoint.parse(text)
        for _ in range(_TRIES):
            old = self._size
            proof = await prove(old, checkpoint.size)
            status, answer = await self._post(AddCheckpoint(old, tuple(proof), note))
            if status == 200:
                self._size = checkpoint.size
                return Cosigned(note, tuple(self._lines(answer, text)))
            if status != 409:
                raise self._no(status)
            # tlog-witness: its body tells the size of the latest checkpoint cosigned there.
            known = _size(answer)
            if known is None:
                raise NotCosigned(f"witness `{self.name}` does not say what size it knows")
            if known == old == checkpoint.size:
                raise Misfit(f"witness `{self.name}` cosigned another tree of size {old}")
            if known > checkpoint.size:
                raise Misfit(
                    f"witness `{self.name}` cosigned {known} entries; this log has"
                    f" {checkpoint.size}",
                    known,
                )
            self._size = known
        raise NotCosigned(f"witness `{self.name}` keeps changing what it knows")

    async def close(self) -> None:
        """See ``Witness``."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _lines(self, answer: str, text: str) -> list[str]:
        try:
            return cosignatures(answer, text, self._key)
        except Refused as refused:
            raise NotCosigned(f"witness `{self.name}`: {refused.detail}") from refused

    def _no(self, status: int) -> Exception:
        if status == 422:
            return Misfit(f"witness `{self.name}` saw entries that this log does not have")
        reasons = {
            400: "does not read our request",
            403: "does not trust our key",
            404: "does not know our log",
        }
        return NotCosigned(f"witness `{self.name}` {reasons.get(status, f'answers {status}')}")

    async def _post(self, request: AddCheckpoint) -> tuple[int, str]:
        import aiohttp

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._timeout)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.post(
                self._url,
                data=request.text().encode(),
                headers={"content-type": "text/plain; charset=utf-8"},
                allow_redirects=False,
            ) as answer:
                body = bytearray()
                async for chunk in answer.content.iter_chunked(8192):
                    body += chunk
                    if len(body) > _MAX_ANSWER:
                        raise NotCosigned(f"witness `{self.name}` answers at too great a length")
                return answer.status, body.decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as cause:
            raise NotCosigned(
                f"witness `{self.name}` cannot be reached: {type(cause).__name__}"
            ) from cause


def _size(answer: str) -> int | None:
    text = answer.removesuffix("\n")
    with suppress(ValueError):
        return int(text) if NUMBER.fullmatch(text) else None
    return None
